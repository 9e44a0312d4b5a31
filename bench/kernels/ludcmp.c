/* Solves a system by LU decomposition and two substitutions, sums kept in registers. */
#include "kernel.h"

enum { N = 130 };
static double a[N][N], b[N], x[N], y[N];

static void system_fill(int turn)
{
    for (int i = 0; i < N; i++) {
        b[i] = (double)(i + 1) / N / 2.0 + 4;
        for (int j = 0; j < N; j++)
            a[i][j] = i == j ? N + turn % 5 : (double)((i * 5 + j * 11) % N) / N;
    }
}

static void matrix_decompose(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            double w = a[i][j];
            for (int k = 0; k < j; k++)
                w -= a[i][k] * a[k][j];
            a[i][j] = w / a[j][j];
        }
        for (int j = i; j < N; j++) {
            double w = a[i][j];
            for (int k = 0; k < i; k++)
                w -= a[i][k] * a[k][j];
            a[i][j] = w;
        }
    }
}

static void system_substitute(void)
{
    for (int i = 0; i < N; i++) {
        double w = b[i];
        for (int j = 0; j < i; j++)
            w -= a[i][j] * y[j];
        y[i] = w;
    }
    for (int i = N - 1; i >= 0; i--) {
        double w = y[i];
        for (int j = i + 1; j < N; j++)
            w -= a[i][j] * x[j];
        x[i] = w / a[i][i];
    }
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        system_fill(r);
        matrix_decompose();
        system_substitute();
        sum = checksum_add(sum, x[r % N]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(x, N)));
}
