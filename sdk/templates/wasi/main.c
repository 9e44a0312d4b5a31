/*
 * A plain C program that knows nothing of Atoll: numbers the lines of its input. As a function, its
 * standard input is the call's input and its standard output the call's output.
 */
#include <stdio.h>

int main(void)
{
    int c, start = 1;
    unsigned long line = 0;
    while ((c = getchar()) != EOF) {
        if (start)
            printf("%6lu  ", ++line);
        putchar(c);
        start = c == '\n';
    }
    return ferror(stdin) || fflush(stdout) == EOF;
}
