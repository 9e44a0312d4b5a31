/* The covariance matrix of a table of observations. */
#include "kernel.h"

enum { POINTS = 140, VARIABLES = 120 };
static double data[POINTS][VARIABLES], mean[VARIABLES], result[VARIABLES][VARIABLES];

static void data_centre(int turn)
{
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < VARIABLES; j++)
            data[i][j] = (double)((i * j + turn) % POINTS) / VARIABLES;
    for (int j = 0; j < VARIABLES; j++) {
        mean[j] = 0.0;
        for (int i = 0; i < POINTS; i++)
            mean[j] += data[i][j];
        mean[j] /= POINTS;
    }
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < VARIABLES; j++)
            data[i][j] -= mean[j];
}

static void covariance_compute(void)
{
    for (int i = 0; i < VARIABLES; i++)
        for (int j = i; j < VARIABLES; j++) {
            result[i][j] = 0.0;
            for (int k = 0; k < POINTS; k++)
                result[i][j] += data[k][i] * data[k][j];
            result[i][j] /= POINTS - 1.0;
            result[j][i] = result[i][j];
        }
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int r = 0; r < repeat; r++) {
        data_centre(r);
        covariance_compute();
        sum = checksum_add(sum, result[r % VARIABLES][0]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(&result[0][0], VARIABLES * VARIABLES)));
}
