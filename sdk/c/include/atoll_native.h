/*
 * Functions of Atoll in a plain process: for unit tests, debuggers and sanitizers.
 *
 * sdk/c/native implements every declaration of atoll.h without WebAssembly and without a node. A
 * test compiles the function's sources for its own machine, gives each function a name, and runs
 * it:
 *
 *     int32_t greet(void);                      // ATOLL_FUNCTION(greet) in greet.c
 *
 *     struct atoll_native *node = atoll_native_open(NULL);
 *     atoll_native_function(node, "greet", greet);
 *     struct atoll_native_outcome *o = atoll_native_run(node, "greet", "you", 3);
 *     assert(o->status == ATOLL_ST_OK && strcmp(o->output, "hello, you") == 0);
 *     atoll_native_outcome_free(o);
 *     atoll_native_close(node);
 *
 *     cc -Isdk/c/include test.c greet.c sdk/c/native/[a-z]*.c -lpthread
 *
 * What is as in Atoll: results, error codes and limits; two tiers of state with versions, merging,
 * entries and locks; objects; calls that wait without keeping others from running.
 *
 * What is not: a wild pointer is the process's own crash (a debugger shows where), a loop that
 * calls nothing of atoll.h is not stopped by a deadline, and variables at file scope are shared by
 * all calls unless they are ATOLL_PER_CALL. A zygote runs before every call. Calls run one at a
 * time unless `parallel` says otherwise, and change only where one waits, so that a test runs the
 * same way each time.
 *
 * A node may be used by one thread at a time. Functions that return int return 0 or -ATOLL_E….
 */
#ifndef ATOLL_NATIVE_H
#define ATOLL_NATIVE_H

#include <atoll.h>

#ifdef __cplusplus
extern "C" {
#endif

struct atoll_native;

struct atoll_native_options {
    const char *tenant;       /* "test" */
    uint32_t parallel;        /* calls that run at the same time: 1 */
    uint32_t children_max;    /* per call: ATOLL_CHILDREN_MAX */
    uint64_t timeout_ns;      /* of a call: 30 s */
    uint64_t output_max;      /* bytes: 32 MiB */
    uint64_t log_bytes_max;   /* per call: 1 MiB */
    uint32_t log_lines_max;   /* per call: 1,000 */
    uint32_t barrier_loss_ms; /* until a barrier gives a party up: 10,000 */
    uint64_t random_seed;     /* makes atoll_random repeat, for tests only; 0: real randomness */
};

/* One call of a run. Strings live as long as the outcome. */
struct atoll_native_call {
    uint64_t id, parent;
    char function[ATOLL_NAME_MAX + 1]; /* "tenant/name", or "tenant/name#entry" of chain_fn */
    int32_t status, code;
    uint64_t in_len, out_len;
};

struct atoll_native_outcome {
    int32_t status; /* ATOLL_ST_… */
    int32_t code;
    const char *output; /* a NUL follows it */
    uint64_t output_len;
    uint32_t http_status;     /* 200 unless the function set another; 0 without HTTP */
    const char *http_headers; /* lines as the function wrote them, checked; "" */
    const char *log;          /* the lines of all calls, in order: "level function: text\n" */
    uint32_t call_count;      /* the run's calls in the order they were started; the first is it */
    const struct atoll_native_call *calls;
};

/* A node with nothing in it. NULL when memory is lacking. Options that are 0 have their default. */
struct atoll_native *atoll_native_open(const struct atoll_native_options *options);
void atoll_native_close(struct atoll_native *node);

/* Gives a function its name: "name", or "tenant/name". ATOLL_EINVAL, ATOLL_EEXIST, ATOLL_ENOMEM. */
int atoll_native_function(struct atoll_native *node, const char *name, int32_t (*entry)(void));

/* What its manifest and module would say. Without a line of a kind, the function may do everything
 * with its tenant's state, call every function of its tenant, and reach no network. ATOLL_ENOENT
 * when no function has the name. */
int atoll_native_zygote(struct atoll_native *node, const char *name, int32_t (*zygote)(void));
int atoll_native_config(struct atoll_native *node, const char *name, const char *key,
                        const char *value);
int atoll_native_right(struct atoll_native *node, const char *name, const char *prefix,
                       const char *rights); /* of "rwld" */
int atoll_native_callee(struct atoll_native *node, const char *name, const char *pattern);
int atoll_native_host(struct atoll_native *node, const char *name, const char *host, uint16_t port);

/* The next `times` calls of a function end with `status` (TRAPPED, LOST or REJECTED) instead of
 * running: to see how its callers bear that. */
int atoll_native_break(struct atoll_native *node, const char *name, int32_t status, uint32_t times);

/* Runs a function and everything it starts, until all of that has ended. NULL when memory is
 * lacking or no function has the name. */
struct atoll_native_outcome *atoll_native_run(struct atoll_native *node, const char *name,
                                              const void *input, uint64_t len);

/* The same as an HTTP request with this head (as atoll_http_head gives it) and body. */
struct atoll_native_outcome *atoll_native_run_http(struct atoll_native *node, const char *name,
                                                   const char *head, const void *body,
                                                   uint64_t len);
void atoll_native_outcome_free(struct atoll_native_outcome *outcome);

/* The global tier, as another node would see and change it. put makes the bytes the whole value and
 * returns its version; get returns a copy with a NUL behind it, for free(), or NULL when there is
 * no such value. */
int64_t atoll_native_state_put(struct atoll_native *node, const char *key, const void *bytes,
                               uint64_t len);
void *atoll_native_state_get(struct atoll_native *node, const char *key, uint64_t *len);

/* What a guest has measured: a counter's sum, a gauge's last value, how many samples a histogram
 * has. ATOLL_ENOENT. */
int atoll_native_metric(struct atoll_native *node, const char *name, double *value);

/* A main() for one function: its input is standard input or, with arguments, their text joined by
 * blanks; its output goes to standard output and its log to standard error. Returns the exit code:
 * 0, the function's own (at most 119), or 125. */
int atoll_native_main(int argc, char **argv, const char *name, int32_t (*entry)(void));

#ifdef __cplusplus
}
#endif

#endif
