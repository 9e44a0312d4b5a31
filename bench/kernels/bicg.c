/* The two products of the biconjugate gradient method, s = At r and q = A p, in one pass. */
#include "kernel.h"

enum { ROWS = 390, COLUMNS = 410 };
static double a[ROWS][COLUMNS], s[COLUMNS], q[ROWS], p[COLUMNS], residual[ROWS];

static void products_compute(void)
{
    for (int j = 0; j < COLUMNS; j++)
        s[j] = 0;
    for (int i = 0; i < ROWS; i++) {
        q[i] = 0.0;
        for (int j = 0; j < COLUMNS; j++) {
            s[j] += residual[i] * a[i][j];
            q[i] += a[i][j] * p[j];
        }
    }
}

double run(int repeat)
{
    for (int j = 0; j < COLUMNS; j++)
        p[j] = (double)(j % COLUMNS) / COLUMNS;
    for (int i = 0; i < ROWS; i++) {
        residual[i] = (double)(i % ROWS) / ROWS;
        for (int j = 0; j < COLUMNS; j++)
            a[i][j] = (double)(i * (j + 1) % ROWS) / ROWS;
    }
    for (int r = 0; r < repeat; r++) {
        products_compute();
        p[r % COLUMNS] = q[0] / (1.0 + q[1]);
    }
    uint64_t sum = (uint64_t)checksum_doubles(s, COLUMNS);
    return checksum_bits(checksum_add(sum, checksum_doubles(q, ROWS)));
}
