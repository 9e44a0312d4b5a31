/* Two matrix products in sequence, D = 1.2 A B C + 0.5 D. */
#include "kernel.h"

enum { N = 128 };
static double a[N][N], b[N][N], c[N][N], d[N][N], product[N][N];

static void matrices_fill(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * j + 1) % N) / N;
            b[i][j] = (double)(i * (j + 1) % N) / N;
            c[i][j] = (double)((i * (j + 3) + 1) % N) / N;
            d[i][j] = (double)(i * (j + 2) % N) / N;
        }
}

static void matrices_multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            product[i][j] = 0.0;
            for (int k = 0; k < N; k++)
                product[i][j] += 1.2 * a[i][k] * b[k][j];
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            d[i][j] *= 0.5;
            for (int k = 0; k < N; k++)
                d[i][j] += product[i][k] * c[k][j];
        }
}

double run(int repeat)
{
    matrices_fill();
    for (int r = 0; r < repeat; r++)
        matrices_multiply();
    return checksum_doubles(&d[0][0], N * N);
}
