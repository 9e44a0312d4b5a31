/*
 * Damage to WebAssembly modules that leaves many of them nearly valid. Used by differential.c.
 */
#ifndef CONFORMANCE_MUTATION_H
#define CONFORMANCE_MUTATION_H

#include "base/bytes.h"
#include "random.h"

/* Replaces, inserts, removes or repeats a few bytes. Where it can it works inside the payload of
 * one section and repairs the section's size, so that the damage gets past the outermost checks. */
void module_mutate(struct random *, const uint8_t *wasm, size_t len, struct buffer *out);

#endif
