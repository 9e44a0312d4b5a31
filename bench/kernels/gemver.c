/* Vector multiplication and matrix addition: a rank-two update, then two products. */
#include "kernel.h"

enum { N = 400 };
static double a[N][N], u1[N], v1[N], u2[N], v2[N], w[N], x[N], y[N], z[N];

static void vectors_fill(void)
{
    for (int i = 0; i < N; i++) {
        u1[i] = (double)i / N;
        u2[i] = (double)(i + 1) / N / 2.0;
        v1[i] = (double)(i + 1) / N / 4.0;
        v2[i] = (double)(i + 1) / N / 6.0;
        y[i] = (double)(i + 1) / N / 8.0;
        z[i] = (double)(i + 1) / N / 9.0;
        for (int j = 0; j < N; j++)
            a[i][j] = (double)(i * j % N) / N;
    }
}

static void vectors_update(void)
{
    for (int i = 0; i < N; i++)
        x[i] = w[i] = 0.0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = 0.5 * a[i][j] + u1[i] * v1[j] + u2[i] * v2[j];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x[i] += 1.2 * a[j][i] * y[j];
    for (int i = 0; i < N; i++)
        x[i] += z[i];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            w[i] += 1.5 * a[i][j] * x[j];
}

double run(int repeat)
{
    vectors_fill();
    for (int r = 0; r < repeat; r++)
        vectors_update();
    return checksum_doubles(w, N);
}
