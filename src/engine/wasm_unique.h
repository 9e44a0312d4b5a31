/*
 * A set of byte strings in pairs, for finding equal ones among many: names of exports, and the
 * parameters and results of function types. Keys come from outside, so the hash is keyed (SipHash)
 * with bytes no module knows; the result does not depend on the key.
 */
#ifndef ENGINE_WASM_UNIQUE_H
#define ENGINE_WASM_UNIQUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct byte_pair {
    const uint8_t *first, *second;
    uint32_t first_len, second_len;
};

/* The user keeps the strings, numbered; the set remembers numbers and asks for the strings. */
struct unique_set {
    struct byte_pair (*pair)(const void *context, uint32_t number);
    const void *context;
    uint64_t key[2];
    uint32_t *slots; /* number + 1; 0 = free */
    uint32_t mask, count;
};

/* Its memory grows with the number of different strings. False when memory is exhausted. The owner
 * calls unique_set_destroy. */
bool unique_set_create(struct unique_set *,
                       struct byte_pair (*pair)(const void *context, uint32_t number),
                       const void *context);
/* Adds a number unless a number with equal strings is there; returns the one that is in the set, or
 * UNIQUE_SET_FULL when memory is exhausted. */
#define UNIQUE_SET_FULL UINT32_MAX
uint32_t unique_set_add(struct unique_set *, uint32_t number);
void unique_set_destroy(struct unique_set *);

#endif
