/* Moves letters by thirteen. */
#include <ctype.h>
#include <stdio.h>
int main(void)
{
    int c;
    while ((c = getchar()) != EOF) {
        if (isalpha(c)) {
            int a = islower(c) ? 'a' : 'A';
            c = (c - a + 13) % 26 + a;
        }
        putchar(c);
    }
    return 0;
}
