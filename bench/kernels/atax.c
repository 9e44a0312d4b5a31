/* y = At (A x): one pass over a matrix by rows, used twice. */
#include "kernel.h"

enum { ROWS = 390, COLUMNS = 410 };
static double a[ROWS][COLUMNS], x[COLUMNS], y[COLUMNS];

static void vector_transform(void)
{
    for (int j = 0; j < COLUMNS; j++)
        y[j] = 0;
    for (int i = 0; i < ROWS; i++) {
        double dot = 0.0;
        for (int j = 0; j < COLUMNS; j++)
            dot += a[i][j] * x[j];
        for (int j = 0; j < COLUMNS; j++)
            y[j] += a[i][j] * dot;
    }
}

double run(int repeat)
{
    for (int j = 0; j < COLUMNS; j++)
        x[j] = 1.0 + (double)j / COLUMNS;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            a[i][j] = (double)((i + j) % COLUMNS) / (5 * ROWS);
    for (int r = 0; r < repeat; r++) {
        vector_transform();
        x[r % COLUMNS] += 1e-3 * y[0] / (1.0 + y[0]);
    }
    return checksum_doubles(y, COLUMNS);
}
