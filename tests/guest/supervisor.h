/*
 * A worker process for tests and benchmarks, and the least that a supervisor does for it: loads
 * versions, sends calls, gives out call ids, resolves names, connects sockets, and remembers what
 * the worker says.
 *
 * Whatever goes wrong with the worker itself ends the program with a message.
 */
#ifndef TESTS_SUPERVISOR_H
#define TESTS_SUPERVISOR_H

#include "node/worker/worker.h"

#include <sys/types.h>

#define SUPERVISOR_NAMES 16
#define SUPERVISOR_ENDED 65536
#define SUPERVISOR_LEAK  98 /* exit status of a worker that has not given back all its memory */

struct ended {
    uint64_t id;
    struct message_result result;
    char text[MESSAGE_TEXT_MAX + 1];
    uint8_t *output; /* NUL-terminated; malloc'ed */
    char head[1024];
    uint32_t head_len;
};

struct supervisor {
    struct link *link;
    pid_t pid;
    uint64_t next_id;
    int32_t loaded_code; /* of the last MESSAGE_LOADED, 1 = none yet */
    uint32_t loaded_stage;
    char loaded_text[MESSAGE_TEXT_MAX + 1];
    int image; /* the last proto image, -1 */
    struct {
        const char *name;
        uint32_t version;
        uint64_t rights;
    } names[SUPERVISOR_NAMES];
    struct ended *ended;
    uint32_t ended_count;
    uint32_t log_lines, children, resolves, connects;
    char log[4096];             /* all lines, one after the other, cut */
    struct message_tally tally; /* sums */
    struct message_hello hello;
    /* Called for requests that are not handled here; true when it has answered. NULL = none. */
    bool (*request)(struct supervisor *, const struct message *, int fd);
    bool gone; /* the worker has ended */
};

struct supervisor *supervisor_start(const struct worker_settings *);
/* Tells the worker to stop and returns its exit status as waitpid gives it. */
int supervisor_stop(struct supervisor *, int64_t grace_ns);
/* For one whose worker has been waited for. */
void supervisor_free(struct supervisor *);

/* Loads a module of the build (see tests/guest/functions), or wasm at a path; manifest: JSON.
 * image: -1 = none. Waits for the answer: its code. */
int supervisor_load(struct supervisor *, uint32_t version, const char *wasm_path,
                    const char *manifest, int image);
void supervisor_name(struct supervisor *, const char *name, uint32_t version, uint64_t rights);

struct call_options {
    uint32_t flags, depth, priority;
    uint64_t parent;    /* another tenant's call that chained it, 0 = none */
    int64_t timeout_ns; /* 0 = none */
    const char *head;
    const char *arguments;
    uint32_t arguments_len;
    bool as_file; /* the input travels in a memory file */
};
/* Sends a call; its id. */
uint64_t supervisor_call(struct supervisor *, uint32_t version, const void *input, size_t len,
                         const struct call_options *);
void supervisor_cancel(struct supervisor *, uint64_t id);
void supervisor_send(struct supervisor *, struct message *, const int *fds, uint32_t count);
void supervisor_answer(struct supervisor *, uint64_t request, int64_t result, const void *payload,
                       uint32_t len);
/* Waits for its end; valid until the next supervisor_forget. NULL after 60 s. */
const struct ended *supervisor_wait(struct supervisor *, uint64_t id);
/* A call and its end. */
const struct ended *supervisor_run(struct supervisor *, uint32_t version, const char *input);
/* Handles what the worker says now, or waits for something at most timeout_ns. */
void supervisor_listen(struct supervisor *, int64_t timeout_ns);
void supervisor_forget(struct supervisor *);

#endif
