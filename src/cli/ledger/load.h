/*
 * SmallBank load on a ledger: clients that keep a number of calls under way (closed loop), or make
 * them at a rate (open loop), on a thread of their own. Every request is signed as it is made.
 */
#ifndef CLI_LEDGER_LOAD_H
#define CLI_LEDGER_LOAD_H

#include "cli/bench/measure.h"
#include "ledger/service/caller.h"

struct load;

struct load_settings {
    struct slice genesis;
    unsigned clients;
    unsigned bundle;    /* requests under one signature */
    unsigned in_flight; /* of each client; also the most in an open loop */
    double rate;        /* transactions per second of all clients together; 0: closed loop */
    uint64_t accounts;
    uint64_t seed;
    /* Every so-many-th receipt is given to `receipt`, on the load's thread; 0: none. */
    uint64_t receipt_every;
    void (*receipt)(void *context, const struct ledger_outcome *);
    void *context;
};

struct load_counts {
    uint64_t done, refused;
    uint16_t primary; /* as the clients see it */
    uint64_t under_way;
    /* The longest time without an answer since the mark, and when (clock_monotonic_ns) it ended. */
    int64_t pause_ns, pause_end_ns;
    int64_t cpu_ns; /* of the load's thread */
    unsigned connected;
};

/* Starts the thread; calls begin at once. */
int load_start(const struct load_settings *, struct load **, struct error *);
/* At any time, from any thread. */
void load_counts(struct load *, struct load_counts *);
/* Forgets the latencies and pauses so far: what counts begins now. */
void load_mark(struct load *);
/* Moves the latencies (microseconds, submission to checked receipt) since the mark to `out`. */
void load_latencies(struct load *, struct samples *out);
/* Stops making calls, waits up to `patience_ms` for those under way; frees all. Returns how many
 * were left without an answer. `last` (may be NULL): the counts at the end. */
uint64_t load_stop(struct load *, unsigned patience_ms, struct load_counts *last);

#endif
