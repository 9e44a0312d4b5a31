/*
 * The only source of chance in the simulator: xoshiro256** (Blackman and Vigna, 2018), seeded
 * through splitmix64. A run has one 64-bit seed; every concern (network, disks, clients, faults …)
 * draws from a stream of its own, so that a change in one does not reshuffle the others.
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sim_random {
    uint64_t state[4];
};

/* splitmix64: advances *x and returns a well mixed word. */
static inline uint64_t sim_mix_next(uint64_t *x)
{
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline void sim_random_seed(struct sim_random *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed;

    x = sim_mix_next(&x) ^ stream * UINT64_C(0xd1342543de82ef95);
    for (int i = 0; i < 4; i++)
        r->state[i] = sim_mix_next(&x);
}

static inline uint64_t sim_random_rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline uint64_t sim_random_word(struct sim_random *r)
{
    uint64_t *s = r->state, out = sim_random_rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = sim_random_rotate(s[3], 45);
    return out;
}

/* 0 … bound - 1; 0 for bound 0. The bias (below 2^-32 for the bounds used here) does not matter. */
static inline uint64_t sim_random_below(struct sim_random *r, uint64_t bound)
{
    return bound ? (uint64_t)((unsigned __int128)sim_random_word(r) * bound >> 64) : 0;
}

/* low … high, both included. */
static inline uint64_t sim_random_range(struct sim_random *r, uint64_t low, uint64_t high)
{
    return low + sim_random_below(r, high - low + 1);
}

/* True in `per_mille` of a thousand draws. */
static inline bool sim_random_chance(struct sim_random *r, unsigned per_mille)
{
    return per_mille && sim_random_below(r, 1000) < per_mille;
}

/* Mostly near `low`, now and then up to `high`: what delays look like. */
static inline uint64_t sim_random_skewed(struct sim_random *r, uint64_t low, uint64_t high)
{
    uint64_t span = high - low, draws = sim_random_below(r, 4);

    while (draws-- && span)
        span = sim_random_below(r, span + 1);
    return low + span;
}

static inline void sim_random_fill(struct sim_random *r, void *to, size_t len)
{
    uint8_t *out = to;

    while (len) {
        uint64_t word = sim_random_word(r);
        size_t n = len < sizeof word ? len : sizeof word;

        memcpy(out, &word, n);
        out += n;
        len -= n;
    }
}

#endif
