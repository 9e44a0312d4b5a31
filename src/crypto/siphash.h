/* SipHash-2-4 (Aumasson and Bernstein): spreads keys over buckets. With a public key it keeps
 * nobody from choosing keys that meet. */
#ifndef CRYPTO_SIPHASH_H
#define CRYPTO_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_LEN 16

/* Any thread. */
uint64_t siphash(const uint8_t key[static SIPHASH_KEY_LEN], const void *data, size_t len);

#endif
