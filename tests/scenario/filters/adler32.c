/* Computes the Adler-32. */
#include <stdint.h>
#include <stdio.h>
int main(void)
{
    uint32_t a = 1, b = 0;
    int c;
    while ((c = getchar()) != EOF) {
        a = (a + (uint32_t)c) % 65521;
        b = (b + a) % 65521;
    }
    printf("%08x\n", b << 16 | a);
    return 0;
}
