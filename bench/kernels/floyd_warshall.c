/* All shortest paths of a dense graph, with integer distances: minimum in the innermost loop. */
#include "kernel.h"

enum { N = 180 };
static int32_t path[N][N];

static void graph_fill(int turn)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            path[i][j] = i * j % 7 + 1 + turn % 3;
            if ((i + j) % 13 == 0 || (i + j) % 7 == 0 || (i + j) % 11 == 0)
                path[i][j] = 999;
        }
}

static void paths_shorten(void)
{
    for (int k = 0; k < N; k++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                path[i][j] =
                    path[i][j] < path[i][k] + path[k][j] ? path[i][j] : path[i][k] + path[k][j];
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        graph_fill(r);
        paths_shorten();
        for (int i = 0; i < N; i++)
            sum = (sum ^ (uint32_t)path[i][(i * 5 + r) % N]) * 0x9E3779B97F4A7C15u;
    }
    return checksum_bits(sum);
}
