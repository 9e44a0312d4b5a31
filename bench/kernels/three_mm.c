/* Three matrix products, G = (A B) (C D). */
#include "kernel.h"

enum { N = 112 };
static double a[N][N], b[N][N], c[N][N], d[N][N], left[N][N], right[N][N], g[N][N];

static void matrices_fill(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * j + 1) % N) / (5 * N);
            b[i][j] = (double)((i * (j + 1) + 2) % N) / (5 * N);
            c[i][j] = (double)(i * (j + 3) % N) / (5 * N);
            d[i][j] = (double)((i * (j + 2) + 2) % N) / (5 * N);
        }
}

static void product_set(double to[N][N], double x[N][N], double y[N][N])
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            to[i][j] = 0.0;
            for (int k = 0; k < N; k++)
                to[i][j] += x[i][k] * y[k][j];
        }
}

double run(int repeat)
{
    matrices_fill();
    for (int r = 0; r < repeat; r++) {
        product_set(left, a, b);
        product_set(right, c, d);
        product_set(g, left, right);
        a[r % N][0] = g[0][r % N]; /* no repetition equals the one before */
    }
    return checksum_doubles(&g[0][0], N * N);
}
