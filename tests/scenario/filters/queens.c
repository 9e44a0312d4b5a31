/* Counts the ways to place queens. */
#include <stdio.h>
static long place(int row, unsigned columns, unsigned left, unsigned right, int n)
{
    if (row == n)
        return 1;
    long ways = 0;
    for (unsigned free = ((1u << n) - 1) & ~(columns | left | right); free; free &= free - 1) {
        unsigned bit = free & -free;
        ways += place(row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1, n);
    }
    return ways;
}
int main(void)
{
    for (int n = 1; n <= 9; n++)
        printf("%d %ld\n", n, place(0, 0, 0, 0, n));
    return 0;
}
