/*
 * One shard compiled in one confined child process. The parent believes nothing of what the child
 * says: sizes are bounded, and the object is checked by object_merge.
 */
#ifndef ATOLL_CC_SHARD_PROCESS_H
#define ATOLL_CC_SHARD_PROCESS_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/lower.h"

#include <poll.h>
#include <sys/types.h>

/* What every child gets, by copy-on-write. */
struct shard_input {
    const struct wasm_module *module;
    const struct abi_layout *layout;
    struct compile_options options;
};

#define SHARD_LOG_MAX 400

struct shard_process {
    pid_t pid; /* 0 = none */
    uint32_t number;
    struct shard shard;
    uint8_t tier;
    int answer, log; /* pipes from the child; -1 when at their end */
    int64_t deadline_ns;
    size_t answer_max;
    struct buffer bytes;              /* the answer so far */
    char log_text[SHARD_LOG_MAX + 1]; /* the beginning of what the child wrote to stderr */
    size_t log_len;
};

int shard_start(struct shard_process *, const struct shard_input *, uint32_t number,
                const struct shard *, uint8_t tier, struct error *e);

/* The descriptors to poll; fd -1 is ignored by poll. */
void shard_poll(const struct shard_process *, struct pollfd out[static 2]);
/* Takes what poll reported. True when the child has said everything (or its time is over). */
bool shard_advance(struct shard_process *, const struct pollfd in[static 2]);

/* After shard_advance said so: reaps the child and moves the object to *object, or tells why there
 * is none. The struct is free for the next shard. */
int shard_finish(struct shard_process *, struct buffer *object, struct error *e);
/* Ends a child in any state. */
void shard_kill(struct shard_process *);

#endif
