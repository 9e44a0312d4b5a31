/*
 * Lives of replicas: which start of each one is known here (spec/ledger §14).
 *
 * Who restores an old image of a replica's disk, or runs a copy of its directory, has a replica
 * that does not know what it signed since: it would sign again, differently, and be provably
 * guilty. So every start is counted in the log and has a random mark, and the first message on a
 * connection between replicas (LIFE, object/message.h) says which start the sender is in, and which
 * one it knows the receiver to have been in. A replica of which more than f others know a later
 * start, or another one of the same count, must not go on: f of them may lie.
 *
 * What it found out is written down: started often enough, it would pass for the newest one else.
 *
 *   DIR/lives   magic "atollliv" | version u32 = 1 | genesis hash 32 | outlived u8 | u32 replicas
 *               | of each: starts u64 | mark 16 | SHA-256 32       what is known of the others
 *
 * What is not in the file yet is known as long as the process lives.
 *
 * One thread at a time.
 */
#ifndef LEDGER_SERVICE_LIVES_H
#define LEDGER_SERVICE_LIVES_H

#include "ledger/object/genesis.h"
#include "ledger/object/message.h"

struct lives;

/* The lives of a ledger's replicas, as DIR/lives has them; `own` is in its `starts`-th. The genesis
 * must last as long. ATOLL_ESTALE: this replica was outlived before. ATOLL_ENOMEM, ATOLL_EUNAVAIL
 * (no random bytes). */
int lives_open(const char *directory, const struct ledger_genesis *, uint16_t own, uint64_t starts,
               struct lives **, struct error *);
/* Writes what is not written yet. NULL is allowed. */
void lives_close(struct lives *);
/* Why nothing was known at the beginning though there is a file; NULL: all is well. */
const char *lives_lost(const struct lives *);

/* Appends the message LIFE for a replica. False: no memory. */
bool lives_write(const struct lives *, uint16_t to, struct buffer *out);
/* One from another replica. Errors as of ledger_life_decode. */
int lives_hear(struct lives *, uint16_t from, struct slice message, struct error *);
/* Whether more than f others know a later life of ours, which is then written down. */
bool lives_outlived(struct lives *, struct error *);

#endif
