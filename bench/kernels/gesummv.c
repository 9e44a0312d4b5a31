/* y = 1.5 A x + 1.2 B x: two matrices streamed side by side. */
#include "kernel.h"

enum { N = 350 };
static double a[N][N], b[N][N], x[N], y[N];

static void products_sum(void)
{
    for (int i = 0; i < N; i++) {
        double first = 0.0, second = 0.0;
        for (int j = 0; j < N; j++) {
            first += a[i][j] * x[j];
            second += b[i][j] * x[j];
        }
        y[i] = 1.5 * first + 1.2 * second;
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++) {
        x[i] = (double)(i % N) / N;
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * j + 1) % N) / N;
            b[i][j] = (double)((i * j + 2) % N) / N;
        }
    }
    for (int r = 0; r < repeat; r++) {
        products_sum();
        x[r % N] = y[0] / (1.0 + y[0]);
    }
    return checksum_doubles(y, N);
}
