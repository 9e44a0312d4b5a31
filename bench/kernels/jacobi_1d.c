/* Jacobi iteration with a three-point stencil on a line. */
#include "kernel.h"

enum { N = 4000, STEPS = 100 };
static double now[N], next[N];

static void line_smooth(double *to, const double *from)
{
    for (int i = 1; i < N - 1; i++)
        to[i] = 0.33333 * (from[i - 1] + from[i] + from[i + 1]);
}

double run(int repeat)
{
    for (int i = 0; i < N; i++)
        now[i] = next[i] = ((double)i + 2) / N;
    for (int r = 0; r < repeat * STEPS; r++) {
        line_smooth(next, now);
        line_smooth(now, next);
    }
    return checksum_doubles(now, N);
}
