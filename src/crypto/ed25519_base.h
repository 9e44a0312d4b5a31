/*
 * Multiples of the base point in constant time, for signing: eight additions in each of the eight
 * lanes of AVX-512 vectors, then the sum of the lanes.
 *
 *   s = Σ e[p]·16^p, e[p] in [-8, 8], p = 0 … 63:   lane l sums e[8l + j]·16^(8l + j)·B, j = 0 … 7
 *
 * The scalar is secret: no branch and no address depends on it. Of a table of all 8·64 multiples
 * every entry is read, and the right one kept, for every digit. What is public is that a scalar is
 * multiplied at all.
 */
#ifndef CRYPTO_ED25519_BASE_H
#define CRYPTO_ED25519_BASE_H

#include <stdint.h>

/* The canonical encoding of s·B for a little-endian s below 2^255. Only where ifma_available()
 * (ed25519_ifma.h). Any thread; the first call makes the table (60 KiB, 0.3 ms). */
void ifma_base_multiply(const uint8_t s[static 32], uint8_t out[static 32]);

#endif
