/* Where the entries of a ledger come from: a replica's directory (running or not) or a fragment. */
#ifndef CLI_LEDGER_SOURCE_H
#define CLI_LEDGER_SOURCE_H

#include "ledger/check/fragment.h"
#include "ledger/object/genesis.h"

struct source {
    const char *path;
    bool directory;
    struct buffer genesis_bytes; /* of a directory */
};

/* Looks what `path` is. A directory's genesis is read. */
int source_open(const char *path, struct source *, struct error *);
void source_close(struct source *);
/* Gives the entries from..to-1 in order (to: UINT64_MAX for the end). *head tells where they begin;
 * it may be NULL. */
int source_visit(const struct source *, uint64_t from, uint64_t to, struct fragment_head *head,
                 fragment_visit *, void *context, struct error *);

#endif
