/*
 * A world of the simulator: virtual time, a queue of what will happen, a log of what did, and the
 * verdict. Everything in a run happens in an event of this queue, one at a time; time jumps from
 * event to event. Two runs of one seed with one binary happen identically, which the hash of the
 * log shows.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than this many events waiting mean that something multiplies without end. */
#define SIM_EVENTS_MAX 4000000

enum sim_stream {
    SIM_STREAM_SETUP,
    SIM_STREAM_NETWORK,
    SIM_STREAM_DISK,
    SIM_STREAM_STAGE,
    SIM_STREAM_CLIENT,
    SIM_STREAM_FAULT,
    SIM_STREAM_ADVERSARY,
    SIM_STREAM_CORE,
    SIM_STREAM_COUNT,
};

/* What an event does. payload is what was given to sim_world_after, freed by the world after. */
typedef void sim_action(void *ctx, void *payload);

struct sim_event {
    uint64_t at_us, order; /* order breaks ties: first planned, first run */
    sim_action *action;
    void *ctx, *payload;
};

struct sim_world {
    uint64_t seed, now_us, planned, ran;
    struct sim_event *heap; /* a binary heap by (at_us, order) */
    size_t count, capacity;
    struct sim_random random[SIM_STREAM_COUNT];
    uint64_t log_hash[2];
    bool trace;
    bool stopped;         /* no further event is run */
    char violation[1024]; /* the first violated invariant; empty: none */
};

void sim_world_open(struct sim_world *, uint64_t seed, bool trace);
void sim_world_close(struct sim_world *);

/* Plans an event. payload: NULL or a block of malloc that becomes the world's. */
void sim_world_after(struct sim_world *, uint64_t delay_us, sim_action *, void *ctx, void *payload);
/* Runs events until `until_us` is reached, nothing waits, or the world is stopped. */
void sim_world_run(struct sim_world *, uint64_t until_us);

static inline struct sim_random *sim_world_random(struct sim_world *w, enum sim_stream stream)
{
    return &w->random[stream];
}

/* Enters what happened into the log: a word that names the kind and three that tell it apart. */
void sim_world_log(struct sim_world *, const char *what, uint64_t a, uint64_t b, uint64_t c);
/* Free text, in a trace only; not part of the hash. */
void sim_world_note(struct sim_world *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An invariant does not hold: keeps the first such sentence and stops the world. */
void sim_world_violated(struct sim_world *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* malloc and realloc that end the program when memory is gone: a simulation cannot go on then. */
void *sim_allocate(size_t len);
void *sim_reallocate(void *, size_t len);

#endif
