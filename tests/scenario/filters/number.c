/* Numbers lines. */
#include <stdio.h>
int main(void)
{
    char line[1024];
    for (int n = 1; fgets(line, sizeof line, stdin); n++)
        printf("%6d  %s", n, line);
    return 0;
}
