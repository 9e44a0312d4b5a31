/* The longest Collatz sequence below a number. */
#include <stdint.h>
#include <stdio.h>
int main(void)
{
    int bytes = 0, best = 0;
    uint64_t of = 0;
    while (getchar() != EOF)
        bytes++;
    for (uint64_t i = 1; i < (uint64_t)bytes * 100; i++) {
        int steps = 0;
        for (uint64_t n = i; n != 1; steps++)
            n = n % 2 ? 3 * n + 1 : n / 2;
        if (steps > best) {
            best = steps;
            of = i;
        }
    }
    printf("%llu %d\n", (unsigned long long)of, best);
    return 0;
}
