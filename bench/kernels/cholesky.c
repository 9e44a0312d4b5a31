/* Cholesky decomposition in place of a positive definite matrix. */
#include "kernel.h"

#include <math.h>

enum { N = 160 };
static double a[N][N];

static void matrix_fill(int turn)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = i == j ? N + turn % 7 : 1.0 / (1 + (i + j) % 17);
}

static void matrix_decompose(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++)
                a[i][j] -= a[i][k] * a[j][k];
            a[i][j] /= a[j][j];
        }
        for (int k = 0; k < i; k++)
            a[i][i] -= a[i][k] * a[i][k];
        a[i][i] = sqrt(a[i][i]);
    }
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        matrix_fill(r);
        matrix_decompose();
        sum = checksum_add(sum, a[N - 1][r % N]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(&a[0][0], N * N)));
}
