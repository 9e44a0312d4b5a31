/*
 * The network in a plain program: what the function is compared with.
 *
 *   native [RUNS] [SEED]      prints the five best classes of the image of SEED, and, on standard
 *                             error, the time of each of RUNS runs
 *   native image SEED         writes that image to standard output
 */
#define _GNU_SOURCE
#include "mobilenet.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static float a[SCRATCH], b[SCRATCH], logits[CLASSES];
static uint8_t image[IMAGE_BYTES];

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static int classify(long runs)
{
    struct ranked best[SHOWN];
    float *weights = malloc(weights_count() * sizeof *weights);
    if (!weights)
        return 1;
    weights_make(weights);
    for (long i = 0; i < runs; i++) {
        double began = milliseconds();
        network_run(weights, image, a, b, logits);
        fprintf(stderr, "%.2f ms\n", milliseconds() - began);
    }
    logits_rank(logits, best);
    for (uint32_t i = 0; i < SHOWN; i++)
        printf("%u %.6f\n", best[i].class_number, (double)best[i].logit);
    free(weights);
    return 0;
}

int main(int argc, char **argv)
{
    image_make(argc > 2 ? strtoull(argv[2], NULL, 10) : 1, image);
    if (argc > 1 && strcmp(argv[1], "image") == 0)
        return fwrite(image, 1, sizeof image, stdout) != sizeof image;
    long runs = argc > 1 ? atol(argv[1]) : 1;
    if (runs < 1) {
        fprintf(stderr, "usage: native [RUNS] [SEED], or native image SEED\n");
        return 2;
    }
    return classify(runs);
}
