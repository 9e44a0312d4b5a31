/* Maxwell's equations in two dimensions by finite differences in time. */
#include "kernel.h"

enum { ROWS = 200, COLUMNS = 240, STEPS = 8 };
static double ex[ROWS][COLUMNS], ey[ROWS][COLUMNS], hz[ROWS][COLUMNS];

static void fields_fill(void)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++) {
            ex[i][j] = ((double)i * (j + 1)) / ROWS;
            ey[i][j] = ((double)i * (j + 2)) / COLUMNS;
            hz[i][j] = ((double)i * (j + 3)) / ROWS;
        }
}

static void fields_step(double source)
{
    for (int j = 0; j < COLUMNS; j++)
        ey[0][j] = source;
    for (int i = 1; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            ey[i][j] -= 0.5 * (hz[i][j] - hz[i - 1][j]);
    for (int i = 0; i < ROWS; i++)
        for (int j = 1; j < COLUMNS; j++)
            ex[i][j] -= 0.5 * (hz[i][j] - hz[i][j - 1]);
    for (int i = 0; i < ROWS - 1; i++)
        for (int j = 0; j < COLUMNS - 1; j++)
            hz[i][j] -= 0.7 * (ex[i][j + 1] - ex[i][j] + ey[i + 1][j] - ey[i][j]);
}

double run(int repeat)
{
    fields_fill();
    for (int r = 0; r < repeat * STEPS; r++)
        fields_step(r % STEPS);
    return checksum_doubles(&hz[0][0], ROWS * COLUMNS);
}
