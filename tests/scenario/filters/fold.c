/* Breaks lines at 20 columns. */
#include <stdio.h>
int main(void)
{
    int c, column = 0;
    while ((c = getchar()) != EOF) {
        if (c == '\n')
            column = 0;
        else if (++column > 20) {
            putchar('\n');
            column = 1;
        }
        putchar(c);
    }
    return 0;
}
