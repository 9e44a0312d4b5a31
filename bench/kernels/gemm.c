/* Dense matrix product C = C/2 + A B in double precision, rows of B streamed: the loop that
 * vectorisers are judged by. */
#include "kernel.h"

enum { N = 192 };
static double a[N][N], b[N][N], c[N][N];

static void matrices_fill(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * j + 1) % N) / N;
            b[i][j] = (double)((i * (j + 1)) % N) / N;
            c[i][j] = 0;
        }
}

static void matrices_multiply(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            c[i][j] *= 0.5;
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                c[i][j] += a[i][k] * b[k][j];
    }
}

double run(int repeat)
{
    matrices_fill();
    for (int r = 0; r < repeat; r++)
        matrices_multiply();
    return checksum_doubles(&c[0][0], N * N);
}
