/* Puts out the first five lines. */
#include <stdio.h>
int main(void)
{
    char line[1024];
    for (int i = 0; i < 5 && fgets(line, sizeof line, stdin); i++)
        fputs(line, stdout);
    return 0;
}
