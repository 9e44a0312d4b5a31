/* Solves a lower triangular system by forward substitution. */
#include "kernel.h"

enum { N = 400 };
static double l[N][N], x[N], b[N];

static void system_solve(void)
{
    for (int i = 0; i < N; i++) {
        x[i] = b[i];
        for (int j = 0; j < i; j++)
            x[i] -= l[i][j] * x[j];
        x[i] = x[i] / l[i][i];
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++) {
        b[i] = 1.0 + (double)i / N;
        for (int j = 0; j < N; j++)
            l[i][j] = (double)(i + N - j + 1) * 2 / N;
    }
    for (int r = 0; r < repeat; r++) {
        system_solve();
        b[r % N] += 1e-3;
    }
    return checksum_doubles(x, N);
}
