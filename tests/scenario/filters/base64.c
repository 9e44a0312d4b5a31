/* Writes its input in base 64. */
#include <stdio.h>
int main(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char in[3];
    size_t n;
    while ((n = fread(in, 1, 3, stdin)) > 0) {
        unsigned v = (unsigned)in[0] << 16 | (n > 1 ? in[1] : 0u) << 8 | (n > 2 ? in[2] : 0u);
        putchar(digits[v >> 18]);
        putchar(digits[v >> 12 & 63]);
        putchar(n > 1 ? digits[v >> 6 & 63] : '=');
        putchar(n > 2 ? digits[v & 63] : '=');
    }
    putchar('\n');
    return 0;
}
