/*
 * What the files of the native shim share: the node, its functions and calls.
 *
 * One mutex guards everything of a node. Each call has a thread; `running` of them, at most
 * `options.parallel`, execute guest code, and the others wait in call_wait for their turn. So what
 * parks in Atoll waits here, without keeping others from running. An import takes the mutex with
 * call_enter, does all its work under it, and gives it back with call_leave. Guest memory is the
 * process's own, hence never checked: the host of a node does that.
 *
 * A call that is cancelled or past its deadline ends inside its next import: call_enter and
 * call_over_end unwind its thread to where it began.
 */
#ifndef ATOLL_NATIVE_NODE_H
#define ATOLL_NATIVE_NODE_H

#include "atoll_native.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NATIVE_HANDLES_MAX      256u
#define NATIVE_FUNCTIONS_MAX    1024u
#define NATIVE_LINES_MAX        256u /* config entries, rights, callees or hosts of a function */
#define NATIVE_METRICS_MAX      100u
#define NATIVE_FAIL_MESSAGE_MAX 4096u
#define NATIVE_STACK_BYTES      (UINT64_C(1) << 20)
#define NATIVE_STACK_BYTES_MAX  (UINT64_C(1) << 30)

struct value;
struct object;

struct buffer {
    uint8_t *data;
    size_t len, capacity;
};
bool buffer_add(struct buffer *, const void *, size_t);
bool buffer_text(struct buffer *, const char *text);

/* A line of a manifest: two strings (name and value, prefix and rights, host) and a number. */
struct manifest_line {
    char *first, *second;
    uint16_t port;
};
struct manifest_lines {
    struct manifest_line *items;
    uint32_t count;
};

struct native_function {
    char name[ATOLL_NAME_MAX + 1]; /* "tenant/name" */
    int32_t (*entry)(void);
    int32_t (*zygote)(void);
    struct manifest_lines config, state, callees, net;
    int32_t break_status;
    uint32_t break_times;
};

enum handle_kind { HANDLE_FREE, HANDLE_VALUE, HANDLE_OBJECT };

struct handle {
    enum handle_kind kind;
    uint32_t flags; /* of state_open */
    struct value *value;
    struct object *object;
};

/* A region of a call: from mmap, or (for results) borrowed from another call's. */
enum region_kind { REGION_INPUT, REGION_OUTPUT, REGION_RESULT, REGION_STATE, REGION_MEMORY };

struct region {
    struct region *next;
    enum region_kind kind;
    uint8_t *base;    /* what was mapped */
    size_t map_bytes; /* how much of it */
    uint8_t *address; /* what the guest was given */
    uint64_t offset, len;
    uint32_t prot, references;
    uint64_t owner; /* RESULT: the child's id; STATE: the value's address */
};

struct native_call {
    struct atoll_native *node;
    struct native_function *function;
    int32_t (*entry)(void);
    uint64_t id, app, parent;
    uint32_t depth, index, count, attempt, retries, children;
    uint32_t flags;
    uint64_t deadline_ns;
    uint64_t queued_ns, started_ns, ended_ns;
    int32_t status, code;
    struct buffer input, output, http_head, http_headers;
    uint32_t http_status;
    struct region *regions, *output_region;
    struct handle *handles; /* NATIVE_HANDLES_MAX, made on first use */
    uint64_t log_bytes;
    uint32_t log_lines;
    bool zygote;    /* its zygote runs */
    bool cancelled; /* to end as CANCELLED */
    bool forgotten;
    uint64_t await_weight; /* how often its parent's await names it */
    uint64_t await_left;   /* weights of children that must end before it is woken */
    struct native_call *first_child, *next_sibling, *next_pending;
    struct native_call *next_waiting, **previous_waiting; /* in call_wait */
    pthread_cond_t wake;
    bool woken;
    pthread_t thread;
    jmp_buf base;
};

struct metric {
    char name[65];
    uint32_t kind;
    double value;
};

struct atoll_native {
    struct atoll_native_options options;
    char tenant[64];
    pthread_mutex_t lock;
    pthread_cond_t turn; /* a turn is free */
    pthread_cond_t idle; /* no call is left */
    uint32_t running, turn_waiting, live;
    uint64_t stack_bytes; /* of a call's thread */
    struct native_call *pending[ATOLL_DEPTH_MAX + 1], **pending_end[ATOLL_DEPTH_MAX + 1];
    struct native_call *waiting;
    pthread_t last_thread; /* ended, to be joined */
    bool has_last_thread;
    struct native_function *functions[NATIVE_FUNCTIONS_MAX];
    uint32_t function_count;
    struct native_call **calls; /* of the run; id - first_id is the index */
    uint32_t call_count, call_capacity;
    uint64_t first_id;
    struct value *values;
    struct object *objects;
    struct metric metrics[NATIVE_METRICS_MAX];
    uint32_t metric_count;
    struct buffer log;
    uint64_t random_state;
    uint64_t clock_offset_ns;
};

/* ---- node.c ---- */
struct native_function *native_function_find(struct atoll_native *, const char *name, size_t len);
uint64_t native_clock_ns(void);

/* ---- call.c ---- */

/* Takes the node's lock for the current call; NULL, without it, when there is none. Ends the call
 * when its time is over. In a zygote, functions that need a call get NULL. */
struct native_call *call_enter(void);
struct native_call *call_enter_any(void); /* also in a zygote */
int64_t call_leave(struct native_call *, int64_t result);

/* Waits until something changed (node_changed, or await_left fell to 0), holding no turn. 0, or
 * -ATOLL_ETIMEDOUT at `until_ns` (ATOLL_FOREVER: the deadline), or -ATOLL_ECANCELED when the call
 * is over: then the caller takes back what it had begun and calls call_over_end. */
int call_wait(struct native_call *, uint64_t until_ns);
void call_yield(struct native_call *); /* lets others have the turn first */
uint64_t wait_end_ns(uint64_t timeout_ns);
void node_changed(struct atoll_native *); /* wakes all that wait, to look again */
_Noreturn void call_over_end(struct native_call *);
_Noreturn void call_end_now(struct native_call *, int32_t status, int32_t code);

/* Puts a call beside the others; the input is copied. NULL: memory is lacking. */
struct native_call *call_new(struct atoll_native *, struct native_function *, const void *input,
                             uint64_t len);
/* Queues a call, or one that is tried again; turns that are free are given out. */
void call_queue(struct native_call *);
void call_cancel(struct native_call *);
bool call_ended(const struct native_call *);
struct native_call *call_find(struct atoll_native *, uint64_t id);
void call_free(struct native_call *);

/* ---- region.c ---- */
struct region *region_new(struct native_call *, enum region_kind, size_t bytes);
struct region *region_at(struct native_call *, enum region_kind, uint64_t owner);
void region_remove(struct native_call *, struct region *);
void regions_drop(struct native_call *);

/* ---- handles, in state.c ---- */
int32_t handle_new(struct native_call *, enum handle_kind, uint32_t flags, void *what);
struct handle *handle_get(struct native_call *, atoll_h, enum handle_kind);
void handles_drop(struct native_call *);
bool key_valid(const void *key, uint32_t len);
/* Whether the call's function may do all of `rights` (of "rwld") to a key. */
bool key_permitted(const struct native_call *, const void *key, uint32_t len, const char *rights);

/* ---- object.c ---- */
void objects_free(struct atoll_native *);
void object_closed(struct native_call *, struct object *); /* by one of its handles */

#endif
