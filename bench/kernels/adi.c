/* Alternating-direction implicit integration of a diffusion: tridiagonal solves along columns, then
 * along rows. Divisions and strided walks. */
#include "kernel.h"

enum { N = 120, STEPS = 4 };
static double u[N][N], v[N][N], p[N][N], q[N][N];

/* Solves along the second index of `to`'s transpose: to[j][i] for all j, from rows of `from`. */
static void columns_solve(double a, double b, double d, double f)
{
    for (int i = 1; i < N - 1; i++) {
        v[0][i] = 1.0;
        p[i][0] = 0.0;
        q[i][0] = v[0][i];
        for (int j = 1; j < N - 1; j++) {
            double pivot = a * p[i][j - 1] + b;
            p[i][j] = -a / pivot;
            q[i][j] =
                (-d * u[j][i - 1] + (1.0 + 2.0 * d) * u[j][i] - f * u[j][i + 1] - a * q[i][j - 1]) /
                pivot;
        }
        v[N - 1][i] = 1.0;
        for (int j = N - 2; j >= 1; j--)
            v[j][i] = p[i][j] * v[j + 1][i] + q[i][j];
    }
}

static void rows_solve(double d, double e, double a, double c)
{
    for (int i = 1; i < N - 1; i++) {
        u[i][0] = 1.0;
        p[i][0] = 0.0;
        q[i][0] = u[i][0];
        for (int j = 1; j < N - 1; j++) {
            double pivot = d * p[i][j - 1] + e;
            p[i][j] = -d / pivot;
            q[i][j] =
                (-a * v[i - 1][j] + (1.0 + 2.0 * a) * v[i][j] - c * v[i + 1][j] - d * q[i][j - 1]) /
                pivot;
        }
        u[i][N - 1] = 1.0;
        for (int j = N - 2; j >= 1; j--)
            u[i][j] = p[i][j] * u[i][j + 1] + q[i][j];
    }
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            u[i][j] = (double)(i + N - j) / N;
    const double a = -0.4, d = -0.2;
    for (int r = 0; r < repeat * STEPS; r++) {
        columns_solve(a, 1.0 - 2.0 * a, d, d);
        rows_solve(d, 1.0 - 2.0 * d, a, a);
    }
    return checksum_doubles(&u[0][0], N * N);
}
