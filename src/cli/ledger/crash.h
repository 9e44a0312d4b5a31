/*
 * The crash of the primary, measured (spec/ledger §15, L10): it is killed with SIGKILL while
 * clients keep calls under way, and what counts is the time from there to the first answer that the
 * next view gave.
 */
#ifndef CLI_LEDGER_CRASH_H
#define CLI_LEDGER_CRASH_H

#include "cli/ledger/cluster.h"
#include "cli/ledger/load.h"

struct crash {
    uint16_t victim, next; /* the primary before and after, as the clients see it */
    uint64_t under_way;    /* calls without an answer when it died */
    double outage_ms;      /* from the kill to the end of the pause in the answers */
    double pause_ms;       /* that pause: it begins with the last answer of the old view */
};

/* Kills the primary that the load sees, and waits until another one answers. ATOLL_ETIMEDOUT: none
 * did within a minute; victim is set. The latencies of the load are forgotten. */
int crash_primary(struct cluster *, struct load *, struct crash *, struct error *);

/* Waits until a replica follows normally and has what the others had when this was called.
 * ATOLL_ETIMEDOUT. */
int crash_caught_up(const struct cluster *, uint32_t number, int64_t patience_ns, struct error *);

/* The whole of it: `rounds` crashes under a load of its own, each primary brought back and caught
 * up before the next; a table, or one JSON object. */
int crash_bench(struct cluster *, const struct load_settings *, unsigned rounds, bool json,
                struct error *);

#endif
