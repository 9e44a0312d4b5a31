/*
 * Domain tags (spec/ledger §2): H(tag, x) = SHA-256(tag as 16 zero-padded bytes ‖ x). Every object
 * that is hashed or signed has a tag of its own, so that no bytes can be taken for two objects.
 * Signatures are over such hashes, never over the bytes.
 */
#ifndef LEDGER_OBJECT_TAG_H
#define LEDGER_OBJECT_TAG_H

#include "crypto/hash.h"
#include "ledger/object/slice.h"

#define LEDGER_TAG_LEN 16

enum ledger_tag {
    LEDGER_TAG_REQUEST, /* atoll.req.v1      fields of a request */
    LEDGER_TAG_BUNDLE,  /* atoll.bundle.v1   genesis ‖ client ‖ count ‖ root */
    LEDGER_TAG_BODY,    /* atoll.body.v1     request with signature (and path) as it is logged */
    LEDGER_TAG_TX,      /* atoll.tx.v1       TxEntry; leaf of G and of M */
    LEDGER_TAG_PP,      /* atoll.pp.v1       fields of a pre-prepare */
    LEDGER_TAG_PREPARE, /* atoll.prepare.v1  fields of a prepare */
    LEDGER_TAG_NONCE,   /* atoll.nonce.v1    nonce, for the commitment */
    LEDGER_TAG_VIEW_CHANGE,   /* atoll.vc.v1       fields of a view change */
    LEDGER_TAG_NEW_VIEW,      /* atoll.nv.v1       fields of a new view */
    LEDGER_TAG_GENESIS,       /* atoll.genesis.v1  genesis; the service's identity */
    LEDGER_TAG_CONFIGURATION, /* atoll.cfg.v1      configuration */
    /* Entries of the ledger whose bytes are more than a signed object's fields. */
    LEDGER_TAG_ENTRY_EVIDENCE, /* atoll.ev.v1 */
    LEDGER_TAG_ENTRY_PP,       /* atoll.e.pp.v1     fields and signature */
    LEDGER_TAG_ENTRY_VCSET,    /* atoll.vcset.v1 */
    LEDGER_TAG_ENTRY_NEW_VIEW, /* atoll.e.nv.v1     fields and signature */
    LEDGER_TAGS,
};

/* The 16 bytes of a tag, to hash in parts. */
const uint8_t *ledger_tag(enum ledger_tag);
void ledger_hash(enum ledger_tag, const void *data, size_t len, uint8_t out[static HASH_LEN]);
/* Of two parts, one after the other; the second may be empty. */
void ledger_hash_two(enum ledger_tag, struct slice first, struct slice second,
                     uint8_t out[static HASH_LEN]);

#endif
