/* Symmetric rank-2k update, C = 1.5 (A Bt + B At) + 0.5 C on the lower triangle. */
#include "kernel.h"

enum { N = 130, K = 110 };
static double a[N][K], b[N][K], c[N][N];

static void triangle_update(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            c[i][j] *= 0.5;
        for (int k = 0; k < K; k++)
            for (int j = 0; j <= i; j++)
                c[i][j] += a[j][k] * 1.5 * b[i][k] + b[j][k] * 1.5 * a[i][k];
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < K; k++) {
            a[i][k] = (double)((i * k + 1) % N) / N;
            b[i][k] = (double)((i * k + 2) % K) / K;
        }
        for (int j = 0; j < N; j++)
            c[i][j] = (double)((i * j + 3) % N) / K;
    }
    for (int r = 0; r < repeat; r++)
        triangle_update();
    return checksum_doubles(&c[0][0], N * N);
}
