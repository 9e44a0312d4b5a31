/* Symmetric rank-k update, C = 1.5 A At + 0.5 C on the lower triangle. */
#include "kernel.h"

enum { N = 150, K = 130 };
static double a[N][K], c[N][N];

static void triangle_update(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            c[i][j] *= 0.5;
        for (int k = 0; k < K; k++)
            for (int j = 0; j <= i; j++)
                c[i][j] += 1.5 * a[i][k] * a[j][k];
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < K; k++)
            a[i][k] = (double)((i * k + 1) % N) / N;
        for (int j = 0; j < N; j++)
            c[i][j] = (double)((i * j + 2) % K) / K;
    }
    for (int r = 0; r < repeat; r++)
        triangle_update();
    return checksum_doubles(&c[0][0], N * N);
}
