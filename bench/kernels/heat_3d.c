/* The heat equation on a cube, explicit steps. */
#include "kernel.h"

enum { N = 40, STEPS = 4 };
static double now[N][N][N], next[N][N][N];

static void cube_step(double to[N][N][N], double from[N][N][N])
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            for (int k = 1; k < N - 1; k++)
                to[i][j][k] =
                    0.125 * (from[i + 1][j][k] - 2.0 * from[i][j][k] + from[i - 1][j][k]) +
                    0.125 * (from[i][j + 1][k] - 2.0 * from[i][j][k] + from[i][j - 1][k]) +
                    0.125 * (from[i][j][k + 1] - 2.0 * from[i][j][k] + from[i][j][k - 1]) +
                    from[i][j][k];
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            for (int k = 0; k < N; k++)
                now[i][j][k] = next[i][j][k] = (double)(i * j + (N - k)) * 10 / N;
    for (int r = 0; r < repeat * STEPS; r++) {
        cube_step(next, now);
        cube_step(now, next);
    }
    return checksum_doubles(&now[0][0][0], N * N * N);
}
