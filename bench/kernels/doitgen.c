/* A three-dimensional tensor times a matrix, through a row buffer. */
#include "kernel.h"

enum { R = 40, Q = 40, P = 50 };
static double tensor[R][Q][P], matrix[P][P], row[P];

static void tensor_multiply(void)
{
    for (int r = 0; r < R; r++)
        for (int q = 0; q < Q; q++) {
            for (int p = 0; p < P; p++) {
                row[p] = 0.0;
                for (int s = 0; s < P; s++)
                    row[p] += tensor[r][q][s] * matrix[s][p];
            }
            for (int p = 0; p < P; p++)
                tensor[r][q][p] = row[p];
        }
}

double run(int repeat)
{
    for (int i = 0; i < R; i++)
        for (int j = 0; j < Q; j++)
            for (int k = 0; k < P; k++)
                tensor[i][j][k] = (double)((i * j + k) % P) / P;
    /* Rows sum to one: repeated products stay bounded. */
    for (int i = 0; i < P; i++)
        for (int j = 0; j < P; j++)
            matrix[i][j] = 2.0 * ((i + j) % P) / (P * (P - 1.0));
    for (int r = 0; r < repeat; r++)
        tensor_multiply();
    return checksum_doubles(&tensor[0][0][0], R * Q * P);
}
