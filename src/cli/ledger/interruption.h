/*
 * Ctrl-C for commands that have something to clear away: `demo` and `bench` stop their replicas,
 * `bench` and `export` remove what is temporary, and all end as the signal would have ended them.
 *
 * One for the process, for its first thread.
 */
#ifndef CLI_LEDGER_INTERRUPTION_H
#define CLI_LEDGER_INTERRUPTION_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* From now on the first SIGINT, SIGTERM or SIGHUP asks for an orderly end; the second takes the
 * process away at once (replicas stop when it is gone: cluster.h). */
void interruption_catch(void);
bool interrupted(void);
/* ATOLL_ECANCELED when interrupted, else 0: for loops that have an error to return. */
int interruption_check(struct error *);
/* Sleeps, but not on when interrupted. */
void interruption_nap(int64_t ns);
/* When interrupted: says so, with what has become of things, and dies of that signal, so that the
 * exit code is 130, 143 or 129. */
void interruption_obey(const char *became);

#endif
