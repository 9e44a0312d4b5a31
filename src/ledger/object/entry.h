/*
 * The entries of the ledger (spec/ledger §4), counted from 0, the genesis. Each is one leaf of the
 * ledger tree M: merkle_leaf(entry hash), where the entry hash has a tag of the entry's type:
 *
 *   type           payload                          entry hash
 *   GENESIS   1    Genesis                          H("atoll.genesis.v1", …)
 *   EVIDENCE  2    Evidence                         H("atoll.ev.v1", …)
 *   PP        3    pp fields and signature, 273     H("atoll.e.pp.v1", fields)
 *   TX        4    TxEntry                          H("atoll.tx.v1", …), the same leaf as in G
 *   VCSET     5    VCSet                            H("atoll.vcset.v1", …)
 *   NEW_VIEW  6    NewView fields and signature     H("atoll.e.nv.v1", fields)
 *
 * The signature of a pp or NewView is not part of its hash: who signs may make several that are
 * valid, and ledgers that say the same must have the same root, whichever of them each holds. So a
 * root does not vouch for these signatures; they are checked by themselves.
 *
 * A replica's log holds entries and records about them:
 *
 *   ROLLBACK      position u64        entries from there on are void
 *   SIGNED        what u8 | config u32 | view u64 | seqno u64 | hash 32        53 bytes
 *                 written before a signature leaves: what and how far this replica has signed.
 *                 seqno and hash are those of the pp (PP, PREPARE: pp_hash); of a ViewChange or
 *                 NewView seqno is 0 and hash what was signed
 *   CERTIFICATE, VIEW_CHANGE, NEW_VIEW   objects of view_change.h (the latter two signed)
 */
#ifndef LEDGER_OBJECT_ENTRY_H
#define LEDGER_OBJECT_ENTRY_H

#include "ledger/object/view_change.h"

enum ledger_entry_type {
    LEDGER_ENTRY_GENESIS = 1,
    LEDGER_ENTRY_EVIDENCE = 2,
    LEDGER_ENTRY_PP = 3,
    LEDGER_ENTRY_TX = 4,
    LEDGER_ENTRY_VCSET = 5,
    LEDGER_ENTRY_NEW_VIEW = 6,
};

/* Kinds of records of the log. */
enum ledger_record_kind {
    LEDGER_RECORD_ENTRY = 1,
    LEDGER_RECORD_ROLLBACK = 2,
    LEDGER_RECORD_SIGNED = 3,
    LEDGER_RECORD_CERTIFICATE = 4,
    LEDGER_RECORD_VIEW_CHANGE = 5,
    LEDGER_RECORD_NEW_VIEW = 6,
};

/* Longest payload of an entry: a VCSet of 64 replicas. */
#define LEDGER_ENTRY_MAX LEDGER_MESSAGE_MAX

/* "genesis", "evidence", …; "unknown" for another number. */
const char *ledger_entry_name(enum ledger_entry_type);
/* The leaf of M (and of G, of a TX). */
struct merkle_hash ledger_entry_leaf(enum ledger_entry_type, struct slice payload);
/* Decodes the payload by its type and throws the result away: 0 when it is well formed. TX: its
 * body, too. ATOLL_ECORRUPT also for an unknown type. */
int ledger_entry_check(enum ledger_entry_type, struct slice payload, struct error *);

#define LEDGER_ROLLBACK_LEN 8
#define LEDGER_SIGNED_LEN   53

enum ledger_signed_what {
    LEDGER_SIGNED_PP = 1,
    LEDGER_SIGNED_PREPARE = 2,
    LEDGER_SIGNED_VIEW_CHANGE = 3,
    LEDGER_SIGNED_NEW_VIEW = 4,
};

struct ledger_signed {
    enum ledger_signed_what what;
    uint32_t config;
    uint64_t view;
    uint64_t seqno;
    uint8_t hash[HASH_LEN];
};

void ledger_signed_encode(const struct ledger_signed *, uint8_t out[static LEDGER_SIGNED_LEN]);
int ledger_signed_decode(struct slice bytes, struct ledger_signed *, struct error *);
void ledger_rollback_encode(uint64_t position, uint8_t out[static LEDGER_ROLLBACK_LEN]);
int ledger_rollback_decode(struct slice bytes, uint64_t *position, struct error *);

#endif
