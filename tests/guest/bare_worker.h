/*
 * A worker without threads in this process, and the supervisor's end of its link: what guests do
 * becomes deterministic, and a sanitizer sees it.
 */
#ifndef TESTS_BARE_WORKER_H
#define TESTS_BARE_WORKER_H

#include "node/worker/process.h"

#define BARE_FUNCTION 1u /* version that bare_worker_create loads */
#define BARE_NOOP     2u /* "acme/noop" */

struct bare_worker {
    struct worker worker;
    struct guest_thread thread;
    struct link *supervisor;
    uint64_t next_id;
    struct message_result result; /* of the last root call that ended */
    uint64_t results;             /* how many */
    uint8_t output[64];           /* its first bytes */
    uint32_t requests;            /* that were answered */
};

/* A worker with this function of tests/guest/functions and "noop". Ends the program with a message
 * when it cannot be. */
struct bare_worker *bare_worker_create(const char *function, const char *manifest);
/* Runs a call to its end; one that waits for something that never comes is cancelled. head: of an
 * HTTP request, or NULL. */
void bare_worker_run(struct bare_worker *, const void *input, size_t len, const char *head);

#endif
