/*
 * Stochastic gradient descent for a linear support vector machine (hinge loss), without locks:
 * several workers update the same weights at once, and sometimes overwrite each other. That is the
 * algorithm (HOGWILD!): with sparse rows they seldom meet. Guests and the native reference share
 * this code.
 *
 * For a row x with label y and step e:  s = y * w.x;  for each i of x: if s < 1, w_i += e * y *
 * x_i; then w_i *= 1 - e / cnt_i, where cnt_i is how many rows have feature i.
 */
#ifndef SGD_H
#define SGD_H

#include <stdint.h>

#define STEP 0.1

/* Rows in columns' order: offs[r] … offs[r + 1] are the items of row r, counted from offs[first].
 */
struct rows {
    const uint64_t *offs;
    const uint32_t *idx;
    const float *val;
    const float *labels; /* of row `first` on */
    uint64_t first, count;
};

/* One pass over the rows. Returns how many were on the wrong side before their own update. */
static inline uint64_t sgd_pass(const struct rows *rows, const uint32_t *cnt, double *w)
{
    uint64_t base = rows->offs[rows->first], wrong = 0;
    for (uint64_t r = 0; r < rows->count; r++) {
        const uint32_t *idx = rows->idx + (rows->offs[rows->first + r] - base);
        const float *val = rows->val + (rows->offs[rows->first + r] - base);
        uint64_t items = rows->offs[rows->first + r + 1] - rows->offs[rows->first + r];
        double y = (double)rows->labels[r], s = 0;
        for (uint64_t i = 0; i < items; i++)
            s += w[idx[i]] * (double)val[i];
        s *= y;
        wrong += s <= 0;
        double push = s < 1 ? STEP * y : 0;
        for (uint64_t i = 0; i < items; i++) {
            double weight = w[idx[i]] + push * (double)val[i];
            w[idx[i]] = weight * (1 - STEP / cnt[idx[i]]);
        }
    }
    return wrong;
}

#endif
