/*
 * What replicas sign about a batch, and what executing it left (spec/ledger §3). Little-endian.
 *
 *   PrePrepare (pp), 209 bytes         offset
 *     config u32                          0   configuration in force
 *     view u64                            4   v
 *     seqno u64                          12   s, from 1
 *     kind u8                            20
 *     ledger_root 32                     21   M: ledger tree before this pp
 *     batch_root 32                      53   G: tree over the batch's TxEntries (see below)
 *     first_index u64                    85   index of the first transaction
 *     count u32                          93   transactions
 *     nonce_commit 32                    97   H("atoll.nonce.v1", nonce)
 *     evidence_bits u64                 129   replicas in the evidence for s - P; 0 when s <= P
 *     gov_index u64                     137   last governance transaction before this batch
 *     kv_digest 32                      145   dC
 *     previous 32                       177   prev_pp, or the hash of the NewView right before
 *   signed: fields | signature 64 over pp_hash = H("atoll.pp.v1", fields)
 *
 *   G of NORMAL: RFC 6962 tree whose leaves are merkle_leaf(H("atoll.tx.v1", TxEntry)); EMPTY: the
 *   tree without leaves; the other kinds: one leaf merkle_leaf(H("atoll.cfg.v1", Configuration)).
 *   NORMAL has 1 … LEDGER_BATCH_MAX transactions, all other kinds none.
 *
 *   Prepare, 86 bytes
 *     config u32 | view u64 | seqno u64 | replica u16 | nonce_commit 32 | pp_hash 32
 *   signed: fields | signature 64 over H("atoll.prepare.v1", fields)
 *
 *   Commit, 50 bytes: view u64 | seqno u64 | replica u16 | nonce 32
 *
 *   Evidence: view u64 | seqno u64 | bits u64 | list of signature 64 | list of nonce 32
 *     of the Prepares for pp(view, seqno), in ascending order of replicas, the primary's left out;
 *     and the nonces, the primary's with them. bits: who, the primary among them.
 *
 *   TxEntry: index u64 | body bytes | status i32 | output bytes | writeset_hash 32
 *
 * Replicas are numbered by their place in the configuration; bit i of a bitmap is replica i; the
 * primary of view v is replica v mod N.
 */
#ifndef LEDGER_OBJECT_BATCH_H
#define LEDGER_OBJECT_BATCH_H

#include "ledger/object/request.h"

#define LEDGER_PP_LEN             209
#define LEDGER_PP_SIGNED_LEN      (LEDGER_PP_LEN + ED25519_SIGNATURE_LEN)
#define LEDGER_PREPARE_LEN        86
#define LEDGER_PREPARE_SIGNED_LEN (LEDGER_PREPARE_LEN + ED25519_SIGNATURE_LEN)
#define LEDGER_COMMIT_LEN         50
#define LEDGER_NONCE_LEN          32
/* Bytes of a TxEntry without its body and output. */
#define LEDGER_TX_FIXED_LEN (8 + 4 + 4 + 4 + HASH_LEN)

enum ledger_kind {
    LEDGER_KIND_NORMAL = 1,
    LEDGER_KIND_EMPTY = 2,
    LEDGER_KIND_CHECKPOINT = 3,
    LEDGER_KIND_END_CFG = 4,
    LEDGER_KIND_START_CFG = 5,
};

/* "normal", "empty", …; "unknown" for another number. */
const char *ledger_kind_name(enum ledger_kind);

/* ---- pre-prepare ---- */

struct ledger_pp {
    uint32_t config;
    uint64_t view;
    uint64_t seqno;
    enum ledger_kind kind;
    uint8_t ledger_root[HASH_LEN];
    uint8_t batch_root[HASH_LEN];
    uint64_t first_index;
    uint32_t count;
    uint8_t nonce_commit[HASH_LEN];
    uint64_t evidence_bits;
    uint64_t gov_index;
    uint8_t kv_digest[HASH_LEN];
    uint8_t previous[HASH_LEN];
    uint8_t signature[ED25519_SIGNATURE_LEN]; /* not among the fields */
};

void ledger_pp_encode(const struct ledger_pp *, uint8_t out[static LEDGER_PP_LEN]);
void ledger_pp_encode_signed(const struct ledger_pp *, uint8_t out[static LEDGER_PP_SIGNED_LEN]);
/* bytes: exactly the fields (signature becomes zero), or fields and signature. ATOLL_ECORRUPT. */
int ledger_pp_decode(struct slice bytes, struct ledger_pp *, struct error *);
int ledger_pp_decode_signed(struct slice bytes, struct ledger_pp *, struct error *);
/* pp_hash: what the primary signs and Prepares name. */
void ledger_pp_hash(const struct ledger_pp *, uint8_t out[static HASH_LEN]);

/* ---- prepare and commit ---- */

struct ledger_prepare {
    uint32_t config;
    uint64_t view;
    uint64_t seqno;
    uint16_t replica;
    uint8_t nonce_commit[HASH_LEN];
    uint8_t pp_hash[HASH_LEN];
    uint8_t signature[ED25519_SIGNATURE_LEN];
};

void ledger_prepare_encode_signed(const struct ledger_prepare *,
                                  uint8_t out[static LEDGER_PREPARE_SIGNED_LEN]);
int ledger_prepare_decode_signed(struct slice bytes, struct ledger_prepare *, struct error *);
/* What the backup signs. */
void ledger_prepare_hash(const struct ledger_prepare *, uint8_t out[static HASH_LEN]);

struct ledger_commit {
    uint64_t view;
    uint64_t seqno;
    uint16_t replica;
    uint8_t nonce[LEDGER_NONCE_LEN];
};

void ledger_commit_encode(const struct ledger_commit *, uint8_t out[static LEDGER_COMMIT_LEN]);
int ledger_commit_decode(struct slice bytes, struct ledger_commit *, struct error *);

/* The commitment to a nonce. */
void ledger_nonce_hash(const uint8_t nonce[static LEDGER_NONCE_LEN], uint8_t out[static HASH_LEN]);

/* ---- evidence ---- */

struct ledger_evidence {
    uint64_t view;
    uint64_t seqno;
    uint64_t bits;
    uint32_t prepare_count;    /* replicas in bits but one */
    uint32_t nonce_count;      /* replicas in bits */
    const uint8_t *signatures; /* prepare_count of ED25519_SIGNATURE_LEN bytes */
    const uint8_t *nonces;     /* nonce_count of LEDGER_NONCE_LEN bytes */
};

/* False: no memory. */
bool ledger_evidence_encode(const struct ledger_evidence *, struct buffer *out);
/* bytes: exactly an Evidence; the lists' lengths fit bits. ATOLL_ECORRUPT, ATOLL_ELIMIT. */
int ledger_evidence_decode(struct slice bytes, struct ledger_evidence *, struct error *);

/* ---- transactions ---- */

struct ledger_tx {
    uint64_t index;
    struct slice body; /* decode with ledger_body_decode */
    int32_t status;
    struct slice output;
    uint8_t writeset_hash[HASH_LEN];
};

/* Appends; the body and output fit their limits (asserted). False: no memory. */
bool ledger_tx_encode(const struct ledger_tx *, struct buffer *out);
/* bytes: exactly a TxEntry. The body is not looked into: ledger_body_decode does. */
int ledger_tx_decode(struct slice bytes, struct ledger_tx *, struct error *);
/* H("atoll.tx.v1", bytes), and the leaf of G and M that it makes. */
void ledger_tx_hash(struct slice bytes, uint8_t out[static HASH_LEN]);

/* G of a batch without transactions: of EMPTY, or with the hash of a configuration of the others.
 */
struct merkle_hash ledger_batch_root_empty(void);
struct merkle_hash
ledger_batch_root_configuration(const uint8_t configuration_hash[static HASH_LEN]);

#endif
