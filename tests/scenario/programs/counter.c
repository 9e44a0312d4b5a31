/*
 * Does deterministic work for a while and keeps a file open across it: prints a line per step, with
 * a hash over all work so far, and appends it to the file named by the first argument.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t mix(uint32_t hash, uint32_t value)
{
    hash ^= value;
    hash *= 0x9e3779b1u;
    return hash ^ hash >> 15;
}

/* Recursion, floating point and memory, so that the stack and all kinds of registers matter. */
static double work(int depth, double x, uint32_t *hash)
{
    if (depth == 0)
        return sin(x) * 0.5 + sqrt(x + 2);
    double left = work(depth - 1, x * 0.75 + 0.1, hash);
    *hash = mix(*hash, (uint32_t)(left * 1000));
    return left + work(depth - 1, x * 0.5 + 0.2, hash) / 3;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    FILE *file = fopen(argv[1], "w");
    int steps = atoi(argv[2]);
    uint32_t hash = 1;
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    for (int step = 1; step <= steps; step++) {
        double sum = work(18, step * 0.01, &hash);
        printf("step %d %08x %.12g\n", step, hash, sum);
        fprintf(file, "step %d %08x %.12g\n", step, hash, sum);
        fflush(stdout);
        fflush(file);
    }
    return 0;
}
