/*
 * The same training in plain C with threads: what the functions are compared with.
 *
 *   hogwild-native ROWS EPOCHS THREADS [SEED]
 *
 * Prints what `hogwild` prints, and the time of each epoch on standard error.
 */
#define _GNU_SOURCE
#include "../dataset.h"
#include "../sgd.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAX 256

struct dataset {
    uint64_t rows, items;
    uint64_t *offs;
    uint32_t *idx, *cnt;
    float *val, *labels;
    double *w;
};

struct part {
    pthread_t thread;
    const struct dataset *data;
    uint64_t first, count, seed, wrong;
};

static void *make(void *argument)
{
    const struct part *part = argument;
    const struct dataset *data = part->data;
    for (uint64_t r = part->first; r < part->first + part->count; r++) {
        uint64_t at = data->offs[r];
        data->labels[r] = row_make(part->seed, r, data->idx + at, data->val + at);
    }
    return NULL;
}

static void *train(void *argument)
{
    struct part *part = argument;
    const struct dataset *data = part->data;
    uint64_t from = data->offs[part->first];
    struct rows rows = {data->offs,  data->idx + from, data->val + from, data->labels + part->first,
                        part->first, part->count};
    part->wrong = sgd_pass(&rows, data->cnt, data->w);
    return NULL;
}

/* Runs `work` on `threads` parts of the rows; returns what they counted. */
static uint64_t parts_run(const struct dataset *data, unsigned threads, uint64_t seed,
                          void *(*work)(void *))
{
    static struct part parts[THREADS_MAX];
    uint64_t wrong = 0;
    for (unsigned i = 0; i < threads; i++) {
        uint64_t first = data->rows * i / threads;
        parts[i] = (struct part){.data = data,
                                 .first = first,
                                 .count = data->rows * (i + 1) / threads - first,
                                 .seed = seed};
        if (pthread_create(&parts[i].thread, NULL, work, &parts[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(parts[i].thread, NULL);
        wrong += parts[i].wrong;
    }
    return wrong;
}

static int dataset_make(struct dataset *data, uint64_t rows, unsigned threads, uint64_t seed)
{
    *data = (struct dataset){.rows = rows, .offs = calloc(rows + 1, sizeof *data->offs)};
    if (!data->offs)
        return -1;
    for (uint64_t r = 0; r < rows; r++)
        data->offs[r + 1] = data->offs[r] + row_items(seed, r);
    data->items = data->offs[rows];
    data->idx = malloc(data->items * sizeof *data->idx);
    data->val = malloc(data->items * sizeof *data->val);
    data->labels = malloc(rows * sizeof *data->labels);
    data->cnt = calloc(FEATURES, sizeof *data->cnt);
    data->w = calloc(FEATURES, sizeof *data->w);
    if (!data->idx || !data->val || !data->labels || !data->cnt || !data->w)
        return -1;
    parts_run(data, threads, seed, make);
    for (uint64_t i = 0; i < data->items; i++)
        data->cnt[data->idx[i]]++;
    return 0;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    struct dataset data;
    uint64_t rows = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;
    unsigned epochs = argc > 3 ? (unsigned)atoi(argv[2]) : 0;
    unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    if (rows < 1 || epochs < 1 || threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: hogwild-native ROWS EPOCHS THREADS [SEED]\n");
        return 2;
    }
    if (dataset_make(&data, rows, threads, seed) < 0) {
        fprintf(stderr, "hogwild-native: not enough memory for %llu rows\n",
                (unsigned long long)rows);
        return 1;
    }
    printf("%llu rows, %llu items\n", (unsigned long long)rows, (unsigned long long)data.items);
    for (unsigned epoch = 1; epoch <= epochs; epoch++) {
        double began = seconds();
        uint64_t wrong = parts_run(&data, threads, seed, train);
        fprintf(stderr, "epoch %u: %.3f s\n", epoch, seconds() - began);
        printf("epoch %u: wrong %.2f %%\n", epoch, 100.0 * (double)wrong / (double)rows);
    }
    return 0;
}
