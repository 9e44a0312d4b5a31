/*
 * Which requests of a client were executed (spec/ledger §5, duplicate requests): a table of the
 * store, and so part of the replicated state, of every digest and of what rollback takes back.
 *
 *   key     client's public key, 32 bytes, in KV_TABLE_CLIENTS
 *   value   highest u64 | window 128 bytes
 *           bit i of the window: the request numbered highest - i was executed
 *
 * A request below the window can no longer be told from a new one and is refused.
 */
#ifndef LEDGER_KV_CLIENT_TABLE_H
#define LEDGER_KV_CLIENT_TABLE_H

#include "ledger/kv/kv.h"

#define CLIENT_WINDOW  1024
#define CLIENT_KEY_LEN 32

enum client_verdict { CLIENT_NEW, CLIENT_DUPLICATE, CLIENT_TOO_OLD };

enum client_verdict client_table_check(const struct kv *,
                                       const uint8_t client[static CLIENT_KEY_LEN], uint64_t reqno);
/* Notes a request that client_table_check calls new, in the open batch, outside of a transaction.
 * ATOLL_ENOMEM. */
int client_table_insert(struct kv *, const uint8_t client[static CLIENT_KEY_LEN], uint64_t reqno,
                        struct error *);

#endif
