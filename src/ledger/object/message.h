/*
 * Messages between replicas, and between clients and replicas (spec/ledger §5, §6). What a message
 * rides in (authenticated links, frames with a checksum) is not known here. Little-endian; `bytes`
 * is u32 length and data, `list` u32 count and items. A message is its type, one byte, and then:
 *
 *   between replicas
 *    1 PRE_PREPARE       signed pp 273 | evidence bytes | list of item    the batch's bodies
 *                        evidence: Evidence of s - P; empty when s <= P
 *                        item: 0 u8 | body_hash 32    or    1 u8 | body bytes
 *    2 PREPARE           signed Prepare 150
 *    3 COMMIT            Commit 50                    (2 and 3 may be passed on by others)
 *    4 VIEW_CHANGE       signed ViewChange
 *    5 NEW_VIEW          signed NewView bytes | vcset bytes (payload of the VCSET entry)
 *    6 EVIDENCE          signed pp 273 | Evidence of it      proves by itself that s is committed
 *    7 CONTENT           batch_root 32 | seqno u64 | kind u8 | first_index u64 | count u32
 *                        | list of bytes (TxEntry)           checked by computing batch_root
 *    8 LEDGER            from u64 | end u64 | list of { entry type u8 | payload bytes }
 *                        entries from position `from` on; the sender's ledger ends at `end`
 *    9 CHECKPOINT        seqno u64 | chunk u32 | chunks u32 | data bytes
 *   10 STATUS            view u64 | vc_sent u64 | last u64 | committed u64 | final position u64
 *                        a hint, not signed
 *   11 FETCH_BATCH       seqno u64                           -> PRE_PREPARE, PREPARE, COMMIT held
 *   12 FETCH_CONTENT     batch_root 32                       -> CONTENT
 *   13 FETCH_EVIDENCE    seqno u64 | link 32                 -> EVIDENCE
 *   14 FETCH_NEW_VIEW    view u64                            -> NEW_VIEW
 *   15 FETCH_LEDGER      from u64 | until u64 | max_bytes u32 | link 32  -> LEDGER
 *   16 FETCH_CHECKPOINT  seqno u64 | chunk u32               -> CHECKPOINT
 *   17 RELAY             list of bytes (Body)                requests on their way to the primary
 *   18 LIFE              Life of the sender | Life of the receiver, as far as the sender knows it
 *                        Life: starts u64 | mark 16; zeros: unknown. The first on every connection
 *
 *   client to replica
 *   32 HELLO             list of client key 32               who listens on this connection
 *   33 REQUEST           list of bytes (Body)                requests; members of bundles, too
 *   34 BUNDLE            Bundle
 *   35 FETCH_RECEIPT     req_hash 32                         -> RECEIPT or REFUSAL; the whole
 *                        request gets the receipt also when it was executed long ago
 *
 *   replica to client
 *   48 REPLY             config u32 | view u64 | seqno u64 | replica u16 | signature 64 | nonce 32
 *                        signature of its pp (primary) or Prepare; for all the client's requests in
 *                        the batch
 *   49 REPLYX            pp fields 209 | list of { TxEntry bytes | position u32 | path list of 32 }
 *   50 RECEIPT           Receipt (receipt.h)
 *   51 REFUSAL           req_hash 32 | reason u8 | retry_after_ms u32 | primary u16
 *
 * Decoders allocate nothing and check every item before they return: walking a list afterwards
 * cannot fail. They take the whole message, with its type. Their errors: ATOLL_ECORRUPT,
 * ATOLL_ELIMIT. Writers append a whole message to a buffer that may already hold something; false
 * means that memory is exhausted.
 */
#ifndef LEDGER_OBJECT_MESSAGE_H
#define LEDGER_OBJECT_MESSAGE_H

#include "ledger/object/entry.h"

enum ledger_message_type {
    LEDGER_MESSAGE_PRE_PREPARE = 1,
    LEDGER_MESSAGE_PREPARE = 2,
    LEDGER_MESSAGE_COMMIT = 3,
    LEDGER_MESSAGE_VIEW_CHANGE = 4,
    LEDGER_MESSAGE_NEW_VIEW = 5,
    LEDGER_MESSAGE_EVIDENCE = 6,
    LEDGER_MESSAGE_CONTENT = 7,
    LEDGER_MESSAGE_LEDGER = 8,
    LEDGER_MESSAGE_CHECKPOINT = 9,
    LEDGER_MESSAGE_STATUS = 10,
    LEDGER_MESSAGE_FETCH_BATCH = 11,
    LEDGER_MESSAGE_FETCH_CONTENT = 12,
    LEDGER_MESSAGE_FETCH_EVIDENCE = 13,
    LEDGER_MESSAGE_FETCH_NEW_VIEW = 14,
    LEDGER_MESSAGE_FETCH_LEDGER = 15,
    LEDGER_MESSAGE_FETCH_CHECKPOINT = 16,
    LEDGER_MESSAGE_RELAY = 17,
    LEDGER_MESSAGE_LIFE = 18,
    LEDGER_MESSAGE_HELLO = 32,
    LEDGER_MESSAGE_REQUEST = 33,
    LEDGER_MESSAGE_BUNDLE = 34,
    LEDGER_MESSAGE_FETCH_RECEIPT = 35,
    LEDGER_MESSAGE_REPLY = 48,
    LEDGER_MESSAGE_REPLYX = 49,
    LEDGER_MESSAGE_RECEIPT = 50,
    LEDGER_MESSAGE_REFUSAL = 51,
};

/* The type's name in lower case; "unknown" for another number (also 0, of an empty message). */
const char *ledger_message_name(unsigned type);
/* The first byte; 0 of an empty message. Unknown types are dropped and counted by whoever reads. */
static inline unsigned ledger_message_type(struct slice message)
{
    return message.len ? message.data[0] : 0;
}

/* ---- lists ---- */

/* Walks the items of a decoded list: `rest` is what is left of them, `left` how many. Copy it to
 * walk again. */
struct ledger_list {
    struct slice rest;
    uint32_t left;
};

/* The next of a list of bytes; false at the end. */
bool ledger_list_next_bytes(struct ledger_list *, struct slice *item);

/* One body of a PRE_PREPARE. */
struct ledger_batch_item {
    const uint8_t *hash; /* HASH_LEN bytes, when the body is only named; else NULL */
    struct slice body;   /* when it is inlined */
};
bool ledger_list_next_item(struct ledger_list *, struct ledger_batch_item *);

/* One entry of LEDGER. Its payload is not looked into (ledger_entry_check). */
struct ledger_list_entry {
    uint8_t type;
    struct slice payload;
};
bool ledger_list_next_entry(struct ledger_list *, struct ledger_list_entry *);

/* One transaction of a REPLYX. The TxEntry is not looked into. */
struct ledger_reply_tx {
    struct slice tx;
    uint32_t position;
    uint32_t path_len;
    const struct merkle_hash *path;
};
bool ledger_list_next_reply_tx(struct ledger_list *, struct ledger_reply_tx *);

/* ---- between replicas ---- */

struct ledger_pre_prepare_message {
    struct ledger_pp pp;
    struct slice evidence; /* encoded Evidence, decoded well; or empty */
    struct ledger_list items;
};

/* To write one: begin, then every item, then end (which sets the count). */
struct ledger_message_writer {
    struct buffer *out;
    size_t count_at;
    uint32_t count;
};
bool ledger_pre_prepare_begin(struct ledger_message_writer *, struct buffer *out,
                              const struct ledger_pp *, struct slice evidence);
bool ledger_pre_prepare_body(struct ledger_message_writer *, struct slice body);
bool ledger_pre_prepare_hash(struct ledger_message_writer *,
                             const uint8_t body_hash[static HASH_LEN]);
void ledger_message_end(struct ledger_message_writer *);
int ledger_pre_prepare_decode(struct slice message, struct ledger_pre_prepare_message *,
                              struct error *);

bool ledger_prepare_write(struct buffer *, const struct ledger_prepare *);
int ledger_prepare_message_decode(struct slice message, struct ledger_prepare *, struct error *);

bool ledger_commit_write(struct buffer *, const struct ledger_commit *);
int ledger_commit_message_decode(struct slice message, struct ledger_commit *, struct error *);

/* signed_bytes: an encoded, signed ViewChange, as it was signed or received. */
bool ledger_view_change_write(struct buffer *, struct slice signed_bytes);
/* *signed_bytes (may be NULL) are the object's bytes in the message. */
int ledger_view_change_message_decode(struct slice message, struct ledger_view_change *,
                                      struct slice *signed_bytes, struct error *);

bool ledger_new_view_write(struct buffer *, struct slice signed_bytes, struct slice vcset);
struct ledger_new_view_message {
    struct ledger_new_view nv;
    struct slice signed_bytes;
    struct slice vcset_bytes;
    struct ledger_vcset vcset;
};
int ledger_new_view_message_decode(struct slice message, struct ledger_new_view_message *,
                                   struct error *);

bool ledger_evidence_write(struct buffer *, const struct ledger_pp *, struct slice evidence);
struct ledger_evidence_message {
    struct ledger_pp pp;
    struct slice evidence_bytes;
    struct ledger_evidence evidence; /* of pp's view and seqno */
};
int ledger_evidence_message_decode(struct slice message, struct ledger_evidence_message *,
                                   struct error *);

struct ledger_content {
    uint8_t batch_root[HASH_LEN];
    uint64_t seqno;
    enum ledger_kind kind;
    uint64_t first_index;
    uint32_t count;
    struct ledger_list txs; /* of bytes; count of them for NORMAL, else none */
};
/* Begin with txs unset, then one call for every TxEntry, then ledger_message_end. */
bool ledger_content_begin(struct ledger_message_writer *, struct buffer *out,
                          const struct ledger_content *);
bool ledger_content_tx(struct ledger_message_writer *, struct slice tx);
int ledger_content_decode(struct slice message, struct ledger_content *, struct error *);

struct ledger_entries {
    uint64_t from, end;
    struct ledger_list entries;
};
bool ledger_entries_begin(struct ledger_message_writer *, struct buffer *out, uint64_t from,
                          uint64_t end);
bool ledger_entries_entry(struct ledger_message_writer *, uint8_t type, struct slice payload);
int ledger_entries_decode(struct slice message, struct ledger_entries *, struct error *);

struct ledger_chunk {
    uint64_t seqno;
    uint32_t chunk, chunks; /* chunk < chunks */
    struct slice data;
};
bool ledger_chunk_write(struct buffer *, const struct ledger_chunk *);
int ledger_chunk_decode(struct slice message, struct ledger_chunk *, struct error *);

/* A start of a replica: its number among all, and random bytes that only this one has. */
#define LEDGER_LIFE_MARK_LEN 16
struct ledger_life {
    uint64_t starts; /* 0: unknown */
    uint8_t mark[LEDGER_LIFE_MARK_LEN];
};
struct ledger_life_message {
    struct ledger_life sender, receiver;
};
bool ledger_life_write(struct buffer *, const struct ledger_life_message *);
int ledger_life_decode(struct slice message, struct ledger_life_message *, struct error *);

struct ledger_status_message {
    uint64_t view, vc_sent, last, committed, final_position;
};
bool ledger_status_write(struct buffer *, const struct ledger_status_message *);
int ledger_status_decode(struct slice message, struct ledger_status_message *, struct error *);

/* All FETCH messages between replicas; which members count is in the list at the head. */
struct ledger_fetch {
    enum ledger_message_type type;
    uint64_t seqno;               /* BATCH, EVIDENCE, CHECKPOINT */
    uint64_t view;                /* NEW_VIEW */
    uint8_t batch_root[HASH_LEN]; /* CONTENT */
    uint64_t from, until;         /* LEDGER; from < until */
    uint32_t max_bytes;           /* LEDGER */
    /* Zeros: of the ledger as it is now. LEDGER: the pp or NewView, by its hash, to which the
     * history is to lead; EVIDENCE: the pp. Both may be of a history that the ledger left. */
    uint8_t link[HASH_LEN];
    uint32_t chunk; /* CHECKPOINT */
};
bool ledger_fetch_write(struct buffer *, const struct ledger_fetch *);
int ledger_fetch_decode(struct slice message, struct ledger_fetch *, struct error *);

/* ---- bodies: RELAY and REQUEST ---- */

bool ledger_bodies_begin(struct ledger_message_writer *, struct buffer *out,
                         enum ledger_message_type);
bool ledger_bodies_body(struct ledger_message_writer *, struct slice body);
/* The bodies are not looked into. At least one, at most LEDGER_MESSAGE_BODIES_MAX. */
int ledger_bodies_decode(struct slice message, struct ledger_list *bodies, struct error *);

/* ---- clients ---- */

#define LEDGER_HELLO_MAX 256 /* keys on one connection */

bool ledger_hello_write(struct buffer *, const uint8_t (*keys)[ED25519_KEY_LEN], uint32_t count);
/* *keys: count of ED25519_KEY_LEN bytes each. */
int ledger_hello_decode(struct slice message, const uint8_t **keys, uint32_t *count,
                        struct error *);

/* bundle: an encoded Bundle. */
bool ledger_bundle_write(struct buffer *, struct slice bundle);
int ledger_bundle_message_decode(struct slice message, struct ledger_bundle *, struct error *);

bool ledger_fetch_receipt_write(struct buffer *, const uint8_t req_hash[static HASH_LEN]);
int ledger_fetch_receipt_decode(struct slice message, uint8_t req_hash[static HASH_LEN],
                                struct error *);

struct ledger_reply {
    uint32_t config;
    uint64_t view, seqno;
    uint16_t replica;
    uint8_t signature[ED25519_SIGNATURE_LEN];
    uint8_t nonce[LEDGER_NONCE_LEN];
};
#define LEDGER_REPLY_MESSAGE_LEN (1 + 4 + 8 + 8 + 2 + 64 + 32)
void ledger_reply_encode(const struct ledger_reply *, uint8_t out[static LEDGER_REPLY_MESSAGE_LEN]);
int ledger_reply_decode(struct slice message, struct ledger_reply *, struct error *);

struct ledger_replyx {
    struct ledger_pp pp; /* without signature */
    struct ledger_list txs;
};
bool ledger_replyx_begin(struct ledger_message_writer *, struct buffer *out,
                         const struct ledger_pp *);
bool ledger_replyx_tx(struct ledger_message_writer *, struct slice tx, uint32_t position,
                      const struct merkle_hash *path, uint32_t path_len);
int ledger_replyx_decode(struct slice message, struct ledger_replyx *, struct error *);

bool ledger_receipt_write(struct buffer *, struct slice receipt);
/* The receipt is not looked into. */
int ledger_receipt_message_decode(struct slice message, struct slice *receipt, struct error *);

enum ledger_refusal_reason {
    LEDGER_REFUSAL_BUSY = 1,        /* the pool is full: send again after retry_after_ms */
    LEDGER_REFUSAL_QUOTA = 2,       /* this client has too many requests waiting */
    LEDGER_REFUSAL_PENDING = 3,     /* on its way; a receipt will follow */
    LEDGER_REFUSAL_UNKNOWN = 4,     /* not among the requests that are known by their hash: those
                                     * that wait and the last executed ones, no older ones */
    LEDGER_REFUSAL_TOO_OLD = 5,     /* reqno below the window: will never be executed (again) */
    LEDGER_REFUSAL_MALFORMED = 6,   /* never acceptable: wrong service, key, size, path */
    LEDGER_REFUSAL_SIGNATURE = 7,   /* its signature is not valid */
    LEDGER_REFUSAL_STRANGER = 8,    /* the client is not on the access list */
    LEDGER_REFUSAL_NOT_PRIMARY = 9, /* passed on, but `primary` is the one to ask */
    LEDGER_REFUSAL_DUPLICATE = 10,  /* reqno was used by another request of this client */
};
#define LEDGER_REFUSAL_LAST LEDGER_REFUSAL_DUPLICATE

struct ledger_refusal {
    uint8_t req_hash[HASH_LEN];
    enum ledger_refusal_reason reason;
    uint32_t retry_after_ms; /* a hint of BUSY, QUOTA, PENDING */
    uint16_t primary;        /* as the sender sees it */
};
bool ledger_refusal_write(struct buffer *, const struct ledger_refusal *);
int ledger_refusal_decode(struct slice message, struct ledger_refusal *, struct error *);
/* "busy", "quota", … */
const char *ledger_refusal_name(enum ledger_refusal_reason);

#endif
