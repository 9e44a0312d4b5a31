/*
 * Objects of the view change (spec/ledger §3, §6). Little-endian; `bytes` is u32 length and data,
 * `list` u32 count and items.
 *
 *   Certificate  signed pp 273 | bits u64 | list of { nonce_commit 32 | signature 64 }
 *     Makes pp prepared: the Prepares of the backups in bits, ascending. What else a Prepare says
 *     is in the pp, so a certificate names one batch only. The decoder does not know N: a quorum is
 *     the checker's business.
 *
 *   ViewChange   config u32 | new_view u64 | replica u16 | list of Certificate | has_new_view u8
 *                | [ signed NewView ] | Stable
 *     Its certificates are of one (config, view), seqno ascending without gap, at most
 *     LEDGER_PIPELINE_MAX.
 *   signed: fields | signature 64 over H("atoll.vc.v1", fields)
 *   Stable       seqno u64 | ledger_root 32 (after that batch) | pp_hash 32
 *
 *   NewView      config u32 | view u64 | base_seqno u64 | base_pp_hash 32 | tip_view u64
 *                | tip_seqno u64 | list of Plan (base_seqno + 1 … tip_seqno) | ledger_root 32
 *                | vcset_hash 32
 *   signed: fields | signature 64 over H("atoll.nv.v1", fields)
 *   Plan         seqno u64 | kind u8 | first_index u64 | count u32 | batch_root 32       53 bytes
 *
 *   VCSet        view u64 | list of bytes (signed ViewChange)     ascending replicas
 *     vcset_hash = H("atoll.vcset.v1", VCSet)
 */
#ifndef LEDGER_OBJECT_VIEW_CHANGE_H
#define LEDGER_OBJECT_VIEW_CHANGE_H

#include "ledger/object/batch.h"

#define LEDGER_CERTIFICATE_VOTE_LEN (HASH_LEN + ED25519_SIGNATURE_LEN)
#define LEDGER_PLAN_LEN             53
#define LEDGER_NEW_VIEW_LEN_MAX \
    (4 + 8 + 8 + 32 + 8 + 8 + 4 + LEDGER_PIPELINE_MAX * LEDGER_PLAN_LEN + 32 + 32)

/* ---- certificate ---- */

struct ledger_certificate {
    struct ledger_pp pp;
    uint64_t bits;       /* backups */
    uint32_t vote_count; /* of them */
    const uint8_t
        *votes; /* nonce_commit and signature of each, LEDGER_CERTIFICATE_VOTE_LEN bytes */
};

/* False: no memory. */
bool ledger_certificate_encode(const struct ledger_certificate *, struct buffer *out);
int ledger_certificate_decode(struct slice bytes, struct ledger_certificate *, struct error *);

/* ---- new view ---- */

struct ledger_plan {
    uint64_t seqno;
    enum ledger_kind kind;
    uint64_t first_index;
    uint32_t count;
    uint8_t batch_root[HASH_LEN];
};

struct ledger_new_view {
    uint32_t config;
    uint64_t view;
    uint64_t base_seqno;
    uint8_t base_pp_hash[HASH_LEN];
    uint64_t tip_view;
    uint64_t tip_seqno;
    uint32_t plan_count; /* tip_seqno - base_seqno */
    struct ledger_plan plan[LEDGER_PIPELINE_MAX];
    uint8_t ledger_root[HASH_LEN];
    uint8_t vcset_hash[HASH_LEN];
    uint8_t signature[ED25519_SIGNATURE_LEN];
};

/* False: no memory. */
bool ledger_new_view_encode_signed(const struct ledger_new_view *, struct buffer *out);
int ledger_new_view_decode_signed(struct slice bytes, struct ledger_new_view *, struct error *);
/* What the new primary signs; also prev_pp of the first pp after it. */
void ledger_new_view_hash(const struct ledger_new_view *, uint8_t out[static HASH_LEN]);

/* ---- view change ---- */

struct ledger_stable {
    uint64_t seqno;
    uint8_t ledger_root[HASH_LEN];
    uint8_t pp_hash[HASH_LEN];
};

struct ledger_view_change {
    uint32_t config;
    uint64_t new_view;
    uint16_t replica;
    uint32_t certificate_count;
    struct ledger_certificate certificates[LEDGER_PIPELINE_MAX]; /* oldest first */
    bool has_new_view;
    struct ledger_new_view nv; /* when has_new_view */
    struct ledger_stable stable;
    uint8_t signature[ED25519_SIGNATURE_LEN];
};

/* False: no memory. */
bool ledger_view_change_encode_signed(const struct ledger_view_change *, struct buffer *out);
/* bytes: exactly a signed ViewChange. ATOLL_ECORRUPT, ATOLL_ELIMIT. The binding (§6), quorums and
 * signatures are the checker's business. */
int ledger_view_change_decode_signed(struct slice bytes, struct ledger_view_change *,
                                     struct error *);
/* What the sender signs. False: no memory. */
bool ledger_view_change_hash(const struct ledger_view_change *, uint8_t out[static HASH_LEN]);
/* The same of encoded, signed bytes (which decoded well), without memory. */
void ledger_view_change_hash_bytes(struct slice signed_bytes, uint8_t out[static HASH_LEN]);

/* ---- the set of view changes on which a new view rests ---- */

struct ledger_vcset {
    uint64_t view;
    uint32_t count;
    struct slice view_changes[LEDGER_REPLICAS_MAX]; /* signed ViewChange, not looked into */
};

/* False: no memory. */
bool ledger_vcset_encode(const struct ledger_vcset *, struct buffer *out);
int ledger_vcset_decode(struct slice bytes, struct ledger_vcset *, struct error *);
void ledger_vcset_hash(struct slice bytes, uint8_t out[static HASH_LEN]);

#endif
