/* B = 1.5 At B with A unit lower triangular. */
#include "kernel.h"

enum { ROWS = 120, COLUMNS = 140 };
static double a[ROWS][ROWS], b[ROWS][COLUMNS];

static void triangle_multiply(void)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) {
            for (int k = i + 1; k < ROWS; k++)
                b[i][j] += a[k][i] * b[k][j];
            b[i][j] = 1.5 * b[i][j];
        }
}

static void matrices_fill(void)
{
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < ROWS; j++)
            a[i][j] = j < i ? (double)((i + j) % ROWS) / (ROWS * ROWS) : (i == j);
        for (int j = 0; j < COLUMNS; j++)
            b[i][j] = (double)((COLUMNS + i - j) % COLUMNS) / COLUMNS;
    }
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        matrices_fill();
        triangle_multiply();
        sum = checksum_add(sum, b[r % ROWS][r % COLUMNS]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(&b[0][0], ROWS * COLUMNS)));
}
