/*
 * The limits of the ledger's objects (spec/ledger §3). Every decoder checks them before it uses
 * what it read, so that whoever got an object decoded need not.
 */
#ifndef LEDGER_OBJECT_LIMITS_H
#define LEDGER_OBJECT_LIMITS_H

#define LEDGER_REPLICAS_MIN 4
#define LEDGER_REPLICAS_MAX 64 /* sets of replicas are u64 bitmaps */
#define LEDGER_MEMBERS_MAX  64
#define LEDGER_CLIENTS_MAX  4096 /* of the access list; an empty list admits everyone */

#define LEDGER_NAME_MAX    64   /* bytes of a service's or member's name */
#define LEDGER_ADDRESS_MAX 255  /* bytes of a replica's address */
#define LEDGER_STATE_MAX   4096 /* bytes that describe the initial state */

/* Requests. A body is what is logged and sent: request, signature and, in a bundle, its path. */
#define LEDGER_BODY_MAX         65536
#define LEDGER_OUTPUT_MAX       65536
#define LEDGER_BUNDLE_MAX       4096 /* members of a bundle */
#define LEDGER_BUNDLE_PATH_MAX  12   /* log2 of that */
#define LEDGER_BUNDLE_BYTES_MAX (4u << 20)

/* Batches. */
#define LEDGER_BATCH_MAX       4096
#define LEDGER_BATCH_PATH_MAX  12
#define LEDGER_BATCH_BYTES_MAX (4u << 20) /* the TxEntries of one batch */
#define LEDGER_INLINE_MAX      4096 /* longer bodies are named by hash in a pre-prepare message */
#define LEDGER_TX_MAX          (8 + 4 + LEDGER_BODY_MAX + 4 + 4 + LEDGER_OUTPUT_MAX + 32)

/* The service. */
#define LEDGER_PIPELINE_MAX     16          /* P */
#define LEDGER_BUCKET_BITS_MAX  16          /* buckets of the key-value store: 65,536 */
#define LEDGER_CHECKPOINT_MAX   1000000     /* C */
#define LEDGER_VIEW_TIMEOUT_MAX 3600000000u /* microseconds */

/* Messages, between replicas and with clients. The largest is a NEW_VIEW of 64 replicas. */
#define LEDGER_MESSAGE_MAX        (8u << 20)
#define LEDGER_MESSAGE_BODIES_MAX 4096       /* bodies, or hashes of bodies, in one message */
#define LEDGER_ENTRIES_MAX        4096       /* ledger entries in one state transfer message */
#define LEDGER_CHUNK_MAX          (1u << 20) /* bytes of a checkpoint chunk */

/* A receipt: fields, 64 signatures and nonces, the TxEntry and its path. */
#define LEDGER_RECEIPT_MAX (LEDGER_TX_MAX + 8192)

#endif
