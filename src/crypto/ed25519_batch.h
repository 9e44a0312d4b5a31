/*
 * Verifying many Ed25519 signatures at once, several times faster than one by one, with the very
 * verdicts of ed25519_verify (ed25519.h), however the signatures are put together.
 *
 * With random coefficients z of 128 bits, drawn from the kernel for every sum and never zero,
 *
 *   8·( -(Σ z S)·B + Σ z·R + Σ over keys (Σ z k)·A ) = 0
 *
 * holds for valid signatures and, if one is invalid, with a chance below 2^-127. Signatures of one
 * key share a term. When the sum is not zero the batch is halved until groups of at most 8 are
 * left, whose signatures are checked one by one: a bad one costs about log2(count) further sums.
 * Good and bad are told apart exactly, whoever their neighbours are, because the equation with the
 * factor 8 is the one of a single check.
 */
#ifndef CRYPTO_ED25519_BATCH_H
#define CRYPTO_ED25519_BATCH_H

#include "crypto/ed25519.h"

/* More than this many at once gain nothing. Memory: about 900 bytes each. */
#define ED25519_BATCH_MAX 8192

enum ed25519_kernel {
    ED25519_KERNEL_BEST,     /* the fastest that this processor has */
    ED25519_KERNEL_PORTABLE, /* 64-bit arithmetic */
    ED25519_KERNEL_IFMA,     /* AVX-512 IFMA */
};

/* What is pointed to belongs to the caller, for the time of the call. */
struct ed25519_item {
    const uint8_t *public_key; /* ED25519_KEY_LEN bytes */
    const uint8_t *signature;  /* ED25519_SIGNATURE_LEN bytes */
    const void *message;
    size_t message_len;
};

/* The room that verifying takes. One thread at a time uses it; it keeps nothing between calls. */
struct ed25519_batch;

/* Room for batches of `capacity` signatures (1 … ED25519_BATCH_MAX). ATOLL_EINVAL, ATOLL_ENOMEM;
 * ATOLL_ECPU when the processor has no such kernel. */
int ed25519_batch_create(size_t capacity, enum ed25519_kernel, struct ed25519_batch **,
                         struct error *);
void ed25519_batch_destroy(struct ed25519_batch *);

/*
 * valid[i] becomes the verdict on items[i]. Any count: more than the capacity are taken in pieces.
 * Takes up to 100 KiB of stack.
 * 0 whatever the verdicts are; ATOLL_EUNAVAIL when the kernel gives no random bytes, and then every
 * verdict is false.
 */
int ed25519_batch_verify(struct ed25519_batch *, const struct ed25519_item *items, size_t count,
                         bool *valid, struct error *);
/* How many signatures have been checked one by one since it was made. Where all are good and more
 * than a handful, none. */
uint64_t ed25519_batch_singles(const struct ed25519_batch *);

#endif
