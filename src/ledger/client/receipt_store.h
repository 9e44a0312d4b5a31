/*
 * Where a client keeps its receipts, and the numbers that it must not use again: one file that only
 * grows, with an index in memory.
 *
 *   file    magic "atollrst" | version u32 = 1 | crc32c u32 of the genesis | genesis hash 32
 *           then records
 *   record  len u32 | crc32c u32 (of type and payload) | type u8 | payload (len bytes)
 *     1     Receipt (object/receipt.h)
 *     2     key 32 | end u64       numbers below `end` may have been used under this key
 *
 * A receipt is safe once ledger_receipt_store_sync has returned, a reserved number when
 * ledger_receipt_store_reserve has. After a crash the file may end in the middle of a record, or
 * have holes where the system wrote later pages first: what cannot be read is passed over, as far
 * as a whole record follows it; what nothing whole follows is cut off. Receipts prove themselves,
 * so a lost one is a loss and no lie; and should damage have taken a reservation, numbers go on
 * further up (LEDGER_RECEIPT_STORE_SKIP).
 *
 * One process at a time has a file (flock); one thread at a time uses a store.
 */
#ifndef LEDGER_CLIENT_RECEIPT_STORE_H
#define LEDGER_CLIENT_RECEIPT_STORE_H

#include "ledger/object/receipt.h"

/* Added to the next number of a key when damage was found before whole records. */
#define LEDGER_RECEIPT_STORE_SKIP 65536
/* Keys that numbers are reserved for in one file. */
#define LEDGER_RECEIPT_STORE_KEYS_MAX 4096

struct ledger_receipt_store;

/*
 * Opens the file, or makes it. ATOLL_EBUSY when another process has it; ATOLL_EINVAL when it is of
 * another service; ATOLL_ECORRUPT when it is no such file; ATOLL_ENOMEM; what the disk says. The
 * receipts are not checked (whoever shows one to others lets them check it).
 */
int ledger_receipt_store_open(const char *path, const uint8_t genesis[static HASH_LEN],
                              struct ledger_receipt_store **, struct error *);
/* What was not synced may be lost. NULL is allowed. */
void ledger_receipt_store_close(struct ledger_receipt_store *);

/* Puts a transaction's receipt in. ATOLL_ECORRUPT when it is none; what the disk says: the file is
 * then as before, or, when even that fails, the store takes nothing more. */
int ledger_receipt_store_add(struct ledger_receipt_store *, struct slice receipt, struct error *);
/* Makes durable what was put in. After a failure the store takes nothing more: what lies in the
 * file is known only after it is opened again. */
int ledger_receipt_store_sync(struct ledger_receipt_store *, struct error *);
/* Numbers below `end` will be used under the key; durable on return. ATOLL_ELIMIT beyond
 * LEDGER_RECEIPT_STORE_KEYS_MAX keys. */
int ledger_receipt_store_reserve(struct ledger_receipt_store *,
                                 const uint8_t key[static ED25519_KEY_LEN], uint64_t end,
                                 struct error *);

/* The first number that was never used under the key: at least 1. */
uint64_t ledger_receipt_store_next(const struct ledger_receipt_store *,
                                   const uint8_t key[static ED25519_KEY_LEN]);
struct ledger_receipt_store_status {
    uint64_t receipts;
    uint64_t bytes;         /* of the file */
    uint64_t highest_index; /* of a receipt; for a client's min_index */
    uint64_t damaged_bytes; /* passed over when it was opened */
};
void ledger_receipt_store_status(const struct ledger_receipt_store *,
                                 struct ledger_receipt_store_status *);
/* Replaces what is in `out` by the receipt of the transaction with this index. ATOLL_ENOENT;
 * ATOLL_ECORRUPT when it was damaged since; what the disk says. */
int ledger_receipt_store_find(struct ledger_receipt_store *, uint64_t index, struct buffer *out,
                              struct error *);
/* The same by the hash of its request (ledger_request_hash). Looks through the whole index. */
int ledger_receipt_store_find_request(struct ledger_receipt_store *,
                                      const uint8_t req_hash[static HASH_LEN], struct buffer *out,
                                      struct error *);
/* All receipts in the order of their indices; a damaged one as ATOLL_ECORRUPT in `damaged` and no
 * bytes. Ends early, with its code, when `visit` does not return 0. */
int ledger_receipt_store_visit(struct ledger_receipt_store *,
                               int (*visit)(void *context, uint64_t index, struct slice receipt,
                                            const struct error *damaged),
                               void *context, struct error *);

#endif
