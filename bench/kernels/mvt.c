/* Two matrix-vector products, one with the matrix transposed: a friendly and an unfriendly walk. */
#include "kernel.h"

enum { N = 400 };
static double a[N][N], x1[N], x2[N], y1[N], y2[N];

static void products_add(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x1[i] += a[i][j] * y1[j];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x2[i] += a[j][i] * y2[j];
}

double run(int repeat)
{
    for (int i = 0; i < N; i++) {
        x1[i] = (double)i / N;
        x2[i] = (double)(i + 1) / N;
        y1[i] = (double)(i + 3) / N;
        y2[i] = (double)(i + 4) / N;
        for (int j = 0; j < N; j++)
            a[i][j] = (double)(i * j % N) / N;
    }
    for (int r = 0; r < repeat; r++)
        products_add();
    uint64_t sum = (uint64_t)checksum_doubles(x1, N);
    return checksum_bits(checksum_add(sum, checksum_doubles(x2, N)));
}
