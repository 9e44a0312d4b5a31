/*
 * The genesis: entry 0 of the ledger, all that a verifier must know beforehand (spec/ledger §3).
 * Little-endian; `bytes` is u32 length and data.
 *
 *   Genesis
 *     suite u32 = 1                     Ed25519 (ZIP-215), SHA-256, X25519
 *     name bytes
 *     nonce 32                          random: no two services share a genesis
 *     pipeline u32                      P; can never change
 *     bucket_bits u32                   the key-value store has 2^this buckets
 *     bucket_key 16                     public key of the SipHash that finds a bucket
 *     procedures u32                    family of native procedures, see procedure.h
 *     state bytes                       what that family preloads
 *     configuration bytes               number 0
 *   Its hash H("atoll.genesis.v1", Genesis) is the identity of the service, part of every request.
 */
#ifndef LEDGER_OBJECT_GENESIS_H
#define LEDGER_OBJECT_GENESIS_H

#include "ledger/object/configuration.h"

struct ledger_genesis {
    struct slice name;
    uint8_t nonce[32];
    uint32_t pipeline;
    uint32_t bucket_bits;
    uint8_t bucket_key[16];
    uint32_t procedures;
    struct slice state;
    struct slice configuration_bytes;
    struct ledger_configuration configuration;
    uint8_t hash[HASH_LEN]; /* filled in by decoding */
};

/* Encodes configuration, not configuration_bytes. False: no memory. */
bool ledger_genesis_encode(const struct ledger_genesis *, struct buffer *out);
/* As ledger_configuration_decode; configuration number 0, C >= 2P. */
int ledger_genesis_decode(struct slice bytes, struct ledger_genesis *, struct error *);

#endif
