/* Shows bytes as numbers. */
#include <stdio.h>
int main(void)
{
    unsigned char row[16];
    size_t n, at = 0;
    while ((n = fread(row, 1, sizeof row, stdin)) > 0) {
        printf("%08zx", at);
        for (size_t i = 0; i < n; i++)
            printf(" %02x", row[i]);
        putchar('\n');
        at += n;
    }
    return 0;
}
