/* Levinson-Durbin recursion for a Toeplitz system: reversed walks over one vector. */
#include "kernel.h"

enum { N = 400 };
static double r[N], y[N], z[N];

static void toeplitz_solve(void)
{
    y[0] = -r[0];
    double beta = 1.0, alpha = -r[0];
    for (int k = 1; k < N; k++) {
        beta = (1 - alpha * alpha) * beta;
        double sum = 0.0;
        for (int i = 0; i < k; i++)
            sum += r[k - i - 1] * y[i];
        alpha = -(r[k] + sum) / beta;
        for (int i = 0; i < k; i++)
            z[i] = y[i] + alpha * y[k - i - 1];
        for (int i = 0; i < k; i++)
            y[i] = z[i];
        y[k] = alpha;
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        r[i] = 0.4 / (1.0 + i);
    for (int turn = 0; turn < repeat; turn++) {
        toeplitz_solve();
        r[turn % N] += 1e-9;
    }
    return checksum_doubles(y, N);
}
