/* C = 1.5 A B + 0.5 C with A symmetric and only its lower triangle stored. */
#include "kernel.h"

enum { ROWS = 120, COLUMNS = 140 };
static double a[ROWS][ROWS], b[ROWS][COLUMNS], c[ROWS][COLUMNS];

static void matrices_fill(void)
{
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
            c[i][j] = (double)((i + j) % 100) / ROWS;
            b[i][j] = (double)((COLUMNS + i - j) % 100) / ROWS;
        }
        for (int j = 0; j < ROWS; j++)
            a[i][j] = j <= i ? (double)((i + j) % 100) / ROWS : -999;
    }
}

static void symmetric_multiply(void)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) {
            double upper = 0;
            for (int k = 0; k < i; k++) {
                c[k][j] += 1.5 * b[i][j] * a[i][k];
                upper += b[k][j] * a[i][k];
            }
            c[i][j] = 0.5 * c[i][j] + 1.5 * b[i][j] * a[i][i] + 1.5 * upper;
        }
}

double run(int repeat)
{
    matrices_fill();
    for (int r = 0; r < repeat; r++)
        symmetric_multiply();
    return checksum_doubles(&c[0][0], ROWS * COLUMNS);
}
