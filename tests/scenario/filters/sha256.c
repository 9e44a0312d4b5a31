/* Computes the SHA-256. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
static uint32_t h[8], k[64];
static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}
static void block(const unsigned char *p)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
                     ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t u = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
                     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}
/* The first 32 bits behind the point. */
static uint32_t fraction(double x)
{
    return (uint32_t)((x - floor(x)) * 4294967296.0);
}
int main(void)
{
    unsigned char b[128] = {0};
    uint64_t len = 0;
    size_t n;
    int primes = 0;
    for (int i = 2; primes < 64; i++) {
        int prime = 1;
        for (int d = 2; d * d <= i; d++)
            prime &= i % d != 0;
        if (!prime)
            continue;
        if (primes < 8)
            h[primes] = fraction(sqrt(i));
        k[primes++] = fraction(cbrt(i));
    }
    while ((n = fread(b, 1, 64, stdin)) == 64) {
        block(b);
        len += 64;
    }
    len += n;
    memset(b + n, 0, sizeof b - n);
    b[n] = 0x80;
    size_t end = n < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++)
        b[end - 1 - (size_t)i] = (unsigned char)(len * 8 >> 8 * i);
    block(b);
    if (end == 128)
        block(b + 64);
    for (int i = 0; i < 8; i++)
        printf("%08x", h[i]);
    putchar('\n');
    return 0;
}
