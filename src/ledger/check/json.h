/*
 * The ledger's objects as JSON, for people and for HTTP (spec/ledger §3, §11): hex for hashes, keys
 * and signatures, decimal strings for 64-bit numbers. A view: nothing of it is signed or hashed.
 *
 * What a verifier can compute is left out (the batch's root and the commitments of a receipt), so
 * that nobody compares with what he was given instead of computing it.
 *
 * All return NULL when memory is exhausted; the caller deletes what they return.
 */
#ifndef LEDGER_CHECK_JSON_H
#define LEDGER_CHECK_JSON_H

#include "ledger/object/genesis.h"
#include "ledger/object/receipt.h"

#include <cjson/cJSON.h>

cJSON *ledger_json_receipt(const struct ledger_receipt *, const uint8_t genesis[static HASH_LEN]);
/* A well-formed entry is told in words, any with its bytes ("payload"). */
cJSON *ledger_json_entry(uint64_t position, uint8_t type, struct slice payload);
cJSON *ledger_json_genesis(const struct ledger_genesis *);

/* Members of an object, in the forms above. */
void ledger_json_hex(cJSON *, const char *name, const uint8_t *bytes, size_t len);
void ledger_json_number(cJSON *, const char *name, uint64_t);

#endif
