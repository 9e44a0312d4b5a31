/* The correlation matrix of a table of observations. */
#include "kernel.h"

#include <math.h>

enum { POINTS = 140, VARIABLES = 120 };
static double data[POINTS][VARIABLES], mean[VARIABLES], deviation[VARIABLES];
static double result[VARIABLES][VARIABLES];

static void data_fill(int turn)
{
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < VARIABLES; j++)
            data[i][j] = (double)((i * j + turn) % POINTS) / VARIABLES + i;
}

static void data_standardise(void)
{
    for (int j = 0; j < VARIABLES; j++) {
        mean[j] = 0.0;
        for (int i = 0; i < POINTS; i++)
            mean[j] += data[i][j];
        mean[j] /= POINTS;
        deviation[j] = 0.0;
        for (int i = 0; i < POINTS; i++)
            deviation[j] += (data[i][j] - mean[j]) * (data[i][j] - mean[j]);
        deviation[j] = sqrt(deviation[j] / POINTS);
        if (deviation[j] <= 0.1)
            deviation[j] = 1.0;
    }
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < VARIABLES; j++)
            data[i][j] = (data[i][j] - mean[j]) / (11.832159566199232 * deviation[j]);
}

static void correlation_compute(void)
{
    for (int i = 0; i < VARIABLES - 1; i++) {
        result[i][i] = 1.0;
        for (int j = i + 1; j < VARIABLES; j++) {
            result[i][j] = 0.0;
            for (int k = 0; k < POINTS; k++)
                result[i][j] += data[k][i] * data[k][j];
            result[j][i] = result[i][j];
        }
    }
    result[VARIABLES - 1][VARIABLES - 1] = 1.0;
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        data_fill(r);
        data_standardise();
        correlation_compute();
        sum = checksum_add(sum, result[0][VARIABLES - 1]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(&result[0][0], VARIABLES * VARIABLES)));
}
