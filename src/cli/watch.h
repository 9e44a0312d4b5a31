/*
 * Stopping a running guest from outside: on a deadline, after a delay, or on SIGUSR2.
 *
 * A watcher is a thread that waits for these and calls arena_interrupt. The guest's thread asks
 * afterwards what was wanted.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include "engine/instance.h"

struct watch_settings {
    int64_t timeout_ns;    /* from now; 0 = none */
    int64_t checkpoint_ns; /* from now; 0 = none */
    bool on_signal;        /* SIGUSR2 asks for a checkpoint */
};

struct watch;

/* Keeps SIGUSR2 from ending the process until a watcher takes it; call before threads exist. */
void watch_block_signal(void);
/* *out is NULL when there is nothing to watch for. */
int watch_start(struct arena *, const struct watch_settings *, struct watch **out, struct error *);
/* What was wanted so far. All accept NULL. */
bool watch_timed_out(const struct watch *);
bool watch_checkpoint_wanted(const struct watch *);
/* The wish was met, or could not be. */
void watch_checkpoint_done(struct watch *);
/* Ends the thread; afterwards the arena may be destroyed. */
void watch_stop(struct watch *);

#endif
