/* Gauss-Seidel sweeps with a nine-point stencil, in place: each value waits for its neighbour. */
#include "kernel.h"

enum { N = 200, STEPS = 4 };
static double grid[N][N];

static void grid_sweep(void)
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            grid[i][j] = (grid[i - 1][j - 1] + grid[i - 1][j] + grid[i - 1][j + 1] +
                          grid[i][j - 1] + grid[i][j] + grid[i][j + 1] + grid[i + 1][j - 1] +
                          grid[i + 1][j] + grid[i + 1][j + 1]) /
                         9.0;
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            grid[i][j] = ((double)i * (j + 2) + 2) / N;
    for (int r = 0; r < repeat * STEPS; r++)
        grid_sweep();
    return checksum_doubles(&grid[0][0], N * N);
}
