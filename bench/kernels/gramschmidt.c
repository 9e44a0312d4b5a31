/* QR decomposition by modified Gram-Schmidt: dot products down the columns of row-major matrices.
 */
#include "kernel.h"

#include <math.h>

enum { ROWS = 110, COLUMNS = 120 };
static double a[ROWS][COLUMNS], q[ROWS][COLUMNS], r[COLUMNS][COLUMNS];

static void matrix_fill(int turn)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            a[i][j] = (double)((i * j + turn) % ROWS) / ROWS * 100 + 10 + (i == j ? 400 : 0);
}

static void matrix_orthogonalise(void)
{
    for (int k = 0; k < COLUMNS; k++) {
        double square = 0.0;
        for (int i = 0; i < ROWS; i++)
            square += a[i][k] * a[i][k];
        r[k][k] = sqrt(square);
        for (int i = 0; i < ROWS; i++)
            q[i][k] = a[i][k] / r[k][k];
        for (int j = k + 1; j < COLUMNS; j++) {
            r[k][j] = 0.0;
            for (int i = 0; i < ROWS; i++)
                r[k][j] += q[i][k] * a[i][j];
            for (int i = 0; i < ROWS; i++)
                a[i][j] -= q[i][k] * r[k][j];
        }
    }
}

double run(int repeat)
{
    uint64_t sum = 1;
    for (int turn = 0; turn < repeat; turn++) {
        matrix_fill(turn);
        matrix_orthogonalise();
        sum = checksum_add(sum, r[turn % COLUMNS][COLUMNS - 1]);
    }
    return checksum_bits(checksum_add(sum, checksum_doubles(&q[0][0], ROWS * COLUMNS)));
}
