/* Turns each line round. */
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        size_t n = strcspn(line, "\n");
        while (n)
            putchar(line[--n]);
        putchar('\n');
    }
    return 0;
}
