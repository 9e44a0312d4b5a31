/* Jacobi iteration with a five-point stencil on a square grid (PolyBench: jacobi-2d). */
#include "kernel.h"

enum { N = 250, STEPS = 10 };
static double now[N][N], next[N][N];

static void grid_smooth(double to[N][N], double from[N][N])
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            to[i][j] = 0.2 * (from[i][j] + from[i][j - 1] + from[i][j + 1] + from[i + 1][j] +
                              from[i - 1][j]);
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            now[i][j] = next[i][j] = ((double)i * (j + 2) + 2) / N;
    for (int r = 0; r < repeat * STEPS; r++) {
        grid_smooth(next, now);
        grid_smooth(now, next);
    }
    return checksum_doubles(&now[0][0], N * N);
}
