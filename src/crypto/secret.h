/*
 * A signing key (Ed25519) that is kept in a file, plain or under a passphrase, and in memory that
 * is locked and erased. The file (mode 0600):
 *
 *   0  u8[8]  "ATOLLKEY"
 *   8  u32    1: plain; 2: sealed
 *   plain    12 u8[32] seed                                        44 bytes
 *   sealed   12 u32 passes | 16 u32 KiB of memory | 20 u8[16] salt | 36 u8[24] nonce
 *            60 u8[32] seed and u8[16] tag, XChaCha20-Poly1305     108 bytes
 *            under Argon2id(passphrase, salt); bytes 0 … 59 are authenticated too
 */
#ifndef CRYPTO_SECRET_H
#define CRYPTO_SECRET_H

#include "base/error.h"
#include "crypto/key.h"

#include <stddef.h>
#include <stdint.h>

#define SECRET_SEED_LEN 32

/* Owned by whoever made it; its pages are locked where the limit on that allows. */
struct secret;

/* A new key from the kernel's randomness. ATOLL_ENOMEM, ATOLL_EUNAVAIL. */
int secret_generate(struct secret **, struct error *);
/* The key of a seed, for tests and derived keys. */
int secret_from_seed(const uint8_t seed[static SECRET_SEED_LEN], struct secret **, struct error *);
void secret_destroy(struct secret *);
const uint8_t *secret_public(const struct secret *); /* KEY_PUBLIC_LEN bytes, its own */

void secret_sign(const struct secret *, const void *data, size_t len,
                 uint8_t out[static SIGNATURE_LEN]);
/* Another secret for another purpose: HKDF of the seed under the label. */
void secret_derive(const struct secret *, const char *label, uint8_t *out, size_t out_len);

/* Writes a file that must not exist yet (ATOLL_EEXIST). passphrase NULL: plain. */
int secret_write(const struct secret *, const char *path, const char *passphrase, struct error *);
/* ATOLL_EPERM when others than the owner may read the file; ATOLL_ESIGNATURE when the passphrase is
 * wrong (or absent for a sealed key), or the file damaged; ATOLL_ECORRUPT when it is no key file.
 */
int secret_read(const char *path, const char *passphrase, struct secret **, struct error *);

#endif
