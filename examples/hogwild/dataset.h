/*
 * The data of the experiment: sparse rows with labels, made up the same way on any machine.
 *
 * Row x of `examples` has m = 46 + U{0..59} items. The feature of an item is Zipf-like:
 * floor(F^u) - 1 with u ~ U(0, 1), then times 2654435761 modulo F, so that the frequent ones lie
 * apart. Its value is 0.2 + U(0, 1); the row is scaled to length 1. The label is the sign of
 * w*.x + U(-0.1, 0.1) for a hidden w* ~ U(-1, 1). With 781,265 rows and 47,236 features these are
 * 59 million items, 472 MB: the shape of RCV1.
 *
 * Every row has a generator of its own, so that any range of rows can be made alone.
 */
#ifndef DATASET_H
#define DATASET_H

#include <math.h>
#include <stdint.h>

#define FEATURES      47236u
#define ROW_ITEMS_MIN 46u
#define ROW_ITEMS_MAX 105u

struct generator {
    uint64_t state;
};

static inline uint64_t generator_next(struct generator *generator) /* splitmix64 */
{
    uint64_t z = (generator->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline double generator_unit(struct generator *generator) /* [0, 1) */
{
    return (double)(generator_next(generator) >> 11) * 0x1p-53;
}

static inline struct generator row_generator(uint64_t seed, uint64_t row)
{
    struct generator generator = {seed ^ (row * UINT64_C(0xd1342543de82ef95))};
    (void)generator_next(&generator);
    return generator;
}

static inline uint32_t row_items(uint64_t seed, uint64_t row)
{
    struct generator generator = row_generator(seed, row);
    return ROW_ITEMS_MIN + (uint32_t)(generator_next(&generator) % 60);
}

static inline double hidden_weight(uint64_t seed, uint32_t feature)
{
    struct generator generator = row_generator(~seed, feature);
    return 2 * generator_unit(&generator) - 1;
}

/* Writes a row's items, row_items of them, and returns its label, 1 or -1. */
static inline float row_make(uint64_t seed, uint64_t row, uint32_t *idx, float *val)
{
    struct generator generator = row_generator(seed, row);
    uint32_t items = ROW_ITEMS_MIN + (uint32_t)(generator_next(&generator) % 60);
    double squares = 0, product = 0;
    for (uint32_t i = 0; i < items; i++) {
        double zipf = exp(generator_unit(&generator) * log((double)FEATURES));
        uint64_t feature = (uint64_t)zipf - 1;
        idx[i] = (uint32_t)(feature * 2654435761u % FEATURES);
        val[i] = (float)(0.2 + generator_unit(&generator));
        squares += (double)val[i] * (double)val[i];
    }
    double scale = 1 / sqrt(squares);
    for (uint32_t i = 0; i < items; i++) {
        val[i] = (float)((double)val[i] * scale);
        product += hidden_weight(seed, idx[i]) * (double)val[i];
    }
    return product + 0.2 * generator_unit(&generator) - 0.1 < 0 ? -1.0f : 1.0f;
}

#endif
