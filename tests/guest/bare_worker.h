/*
 * A worker without threads, in this process, and both ends of its link: for trying host functions
 * one by one on a guest that has stopped in the middle of a call.
 */
#ifndef TESTS_BARE_WORKER_H
#define TESTS_BARE_WORKER_H

#include "node/worker/process.h"

#define BARE_CALLS 1u /* version of "acme/calls" */
#define BARE_NOOP  2u /* version of "acme/noop" */

struct bare_worker {
    struct worker worker;
    struct guest_thread thread;
    struct link *supervisor;
    uint64_t next_id;
    struct call *call; /* the one that has stopped */
    struct faaslet *faaslet;
    struct host_park park;
    uint64_t results; /* of root calls, seen so far */
};

/* A worker with both functions loaded. Ends the program with a message when it cannot be. */
struct bare_worker *bare_worker_create(const char *manifest);
/* Begins a call of "calls" with this input and stops it before its first instruction; host functions
 * may then be called for it. zygote: as _initialize would. http: it came with a head. */
void bare_worker_begin(struct bare_worker *, const void *input, size_t len, bool http);
/* Ends that call, and lets what it has started run. */
void bare_worker_end(struct bare_worker *);
/* The host function of that name. */
const struct import_entry *bare_worker_import(const char *name);
const struct import_entry *bare_worker_imports(uint32_t index); /* NULL beyond the last */
/* Calls it with these slots (at least 8). A call that parks is tried again after answers came, at
 * most a few times; HOST_PARK when it still waits then. */
enum host_status bare_worker_call(struct bare_worker *, host_function, union host_slot *slots);
/* Lets other calls run, until there is nothing to do (at most this many steps). */
void bare_worker_run(struct bare_worker *, int steps);

#endif
