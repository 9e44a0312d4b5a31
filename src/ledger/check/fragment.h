/*
 * Pieces of a ledger as files (.lfrag), to hand on and to check elsewhere (spec/ledger §9.2).
 * Little-endian:
 *
 *   magic "atollfrg" | version u32 = 1 | genesis hash 32 | first position u64
 *   | frontier of the ledger tree before it: size u64, hashes 32 each, ascending
 *   | entries: type u8, length u32, payload | 0 u8 | SHA-256 of all that stands before it
 *
 * Written and read as streams, in the memory of one entry.
 */
#ifndef LEDGER_CHECK_FRAGMENT_H
#define LEDGER_CHECK_FRAGMENT_H

#include "crypto/merkle.h"
#include "ledger/object/entry.h"

/* ---- writing ---- */

struct fragment_writer;

/* Makes the file; one that exists is replaced when the writer closes, not before. first: position
 * of the first entry, which is the frontier's size. */
int fragment_create(const char *path, const uint8_t genesis[static HASH_LEN],
                    const struct merkle_frontier *before, struct fragment_writer **,
                    struct error *);
int fragment_append(struct fragment_writer *, uint8_t type, struct slice payload, struct error *);
/* Completes the file and makes it durable, or (`keep` false) throws it away. Frees the writer. */
int fragment_close(struct fragment_writer *, bool keep, struct error *);

/* ---- reading ---- */

struct fragment_head {
    uint8_t genesis[HASH_LEN];
    uint64_t first;
    struct merkle_frontier before;
};

/* One entry; a negative code ends the reading with that code. */
typedef int fragment_visit(void *context, uint64_t position, uint8_t type, struct slice payload,
                           struct error *);
/* Reads the head, then gives the entries in order. The checksum is known only at the end: what was
 * visited is to be believed when this returns 0. ATOLL_ECORRUPT: not such a file, or damaged. */
int fragment_read(const char *path, struct fragment_head *, fragment_visit *, void *context,
                  struct error *);

#endif
