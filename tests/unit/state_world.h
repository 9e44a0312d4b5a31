/*
 * A local tier over the double of the global tier, workers that ask it, and the memory that their
 * guests would see. Included by the tests of state, once per program.
 */
#ifndef TESTS_STATE_WORLD_H
#define TESTS_STATE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "gt_double.h"
#include "state/segment.h"
#include "state/state.h"

#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define KIB    1024u
#define CHUNK  GT_CHUNK_BYTES
#define SECOND 1000000000ll
#define BIG    (1ull << 30)

static struct gt_double *gt;
static struct state_tier *tier,
    *node_two; /* two nodes over one global tier; the second on demand */
static int64_t timer_at, timer_two;
static uint32_t grants; /* what owner "other" granted to "acme" */

static inline int64_t world_now(void *context)
{
    (void)context;
    return gt->now;
}

static inline void world_timer(void *context, int64_t at_ns)
{
    *(int64_t *)(context ? context : &timer_at) = at_ns;
}

static inline uint32_t world_granted(void *context, const char *tenant, const char *owner,
                                     const void *key, size_t key_len)
{
    (void)context, (void)key, (void)key_len;
    return !strcmp(tenant, "acme") && !strcmp(owner, "other") ? grants : 0;
}

/* Workers 1 and 2 serve acme, worker 3 serves other. */
static inline void world_begin(uint64_t seed, uint64_t local_max)
{
    struct error e;
    gt = double_create(seed);
    timer_at = timer_two = STATE_NEVER;
    grants = 0;
    struct state_options options = {.gt = &gt->gt,
                                    .local_max = local_max,
                                    .now = world_now,
                                    .timer = world_timer,
                                    .granted = world_granted};
    assert_int_equal(state_create(&options, &tier, &e), 0);
    assert_int_equal(state_worker_join(tier, 1, "acme", &e), 0);
    assert_int_equal(state_worker_join(tier, 2, "acme", &e), 0);
    assert_int_equal(state_worker_join(tier, 3, "other", &e), 0);
}

/* Workers 11 and 12 serve acme on another node. */
static inline void world_second_node(uint64_t local_max)
{
    struct error e;
    struct state_options options = {.gt = &gt->gt,
                                    .owner_base = 1ull << 48,
                                    .local_max = local_max,
                                    .context = &timer_two,
                                    .now = world_now,
                                    .timer = world_timer};
    assert_int_equal(state_create(&options, &node_two, &e), 0);
    assert_int_equal(state_worker_join(node_two, 11, "acme", &e), 0);
    assert_int_equal(state_worker_join(node_two, 12, "acme", &e), 0);
}

static inline struct state_tier *tier_of(uint32_t worker)
{
    return worker > 10 ? node_two : tier;
}

static inline bool world_due(void)
{
    return timer_at <= gt->now || timer_two <= gt->now;
}

static inline void world_tick(void)
{
    if (timer_at <= gt->now) {
        timer_at = STATE_NEVER;
        state_tick(tier);
    }
    if (timer_two <= gt->now) {
        timer_two = STATE_NEVER;
        state_tick(node_two);
    }
}

/* Everything that can happen without time passing has happened. */
static inline void world_settle(void)
{
    do {
        while (double_step(gt))
            world_tick();
        world_tick();
    } while (gt->waiting || world_due());
}

static inline void world_advance(int64_t ns)
{
    int64_t end = gt->now + ns;
    world_settle();
    while (gt->now < end) {
        int64_t step = 100000000 < end - gt->now ? 100000000 : end - gt->now;
        double_advance(gt, step);
        world_settle();
    }
}

static inline void world_end(void)
{
    world_settle();
    state_destroy(tier);
    state_destroy(node_two);
    double_destroy(gt);
    gt = NULL;
    tier = node_two = NULL;
}

/* Of state/tier.h, which is not included: its names would meet those of the tests. */
void tier_check(const struct state_tier *);

static inline void world_check(void)
{
    tier_check(tier);
    if (node_two)
        tier_check(node_two);
}

/* ---- asking ---- */

struct asked {
    bool done;
    int64_t result;
    struct state_reply reply;
    char error[512];
    int fd;
    uint8_t data[STATE_BYTES_MAX];
    uint64_t lens[64];
};

static inline void asked_done(void *context, const struct state_answer *a)
{
    struct asked *to = context;
    assert_false(to->done);
    to->done = true;
    to->result = a->result;
    to->reply = a->reply;
    to->fd = a->fd < 0 ? -1 : dup(a->fd);
    if (a->reply.data_len)
        memcpy(to->data, a->reply.data, a->reply.data_len);
    if (a->reply.count)
        memcpy(to->lens, a->reply.lens, a->reply.count * 8ull);
    assert_true((a->result < 0) == (a->error != NULL));
    snprintf(to->error, sizeof to->error, "%s", a->error ? a->error->text : "");
}

/* Sends a request and returns at once; the encoding is part of what is tested. */
static inline void ask_begin(uint32_t worker, uint64_t call, struct state_request r,
                             struct asked *to)
{
    static uint8_t record[STATE_REQUEST_MAX];
    struct state_request decoded;
    struct error e;
    *to = (struct asked){.fd = -1};
    uint32_t len = state_request_encode(&r, record);
    int code = state_request_decode(record, len, &decoded, &e);
    if (code < 0)
        fail_msg("%s", e.text);
    state_submit(tier_of(worker), (struct state_client){worker, call}, &decoded, asked_done, to);
}

static inline int64_t ask(uint32_t worker, uint64_t call, struct state_request r, struct asked *to)
{
    ask_begin(worker, call, r, to);
    for (int i = 0; i < 100000 && !to->done && (gt->waiting || world_due()); i++) {
        double_step(gt);
        world_tick();
    }
    if (state_op_answers(r.op) && !to->done)
        fail_msg("request %d was not answered", r.op);
    return to->result;
}

/* ---- guests ---- */

/* A value that a call has open, and its bytes as the call's guest maps them. */
struct view {
    uint32_t worker, slot, gen;
    uint64_t call, mapped;
    int fd;
    uint8_t *bytes;
};

static struct asked last;

static inline int64_t view_open_as(struct view *v, uint32_t worker, uint64_t call, const char *key,
                                   uint64_t size, uint32_t flags)
{
    *v = (struct view){.worker = worker, .call = call, .fd = -1};
    int64_t result = ask(worker, call,
                         (struct state_request){.op = STATE_OP_OPEN,
                                                .key = (const uint8_t *)key,
                                                .key_len = (uint32_t)strlen(key),
                                                .len = size,
                                                .flags = flags},
                         &last);
    if (result < 0)
        return result;
    v->slot = last.reply.slot;
    v->gen = last.reply.gen;
    v->fd = last.fd;
    assert_true(v->fd >= 0);
    v->mapped = 16u << 20;
    v->bytes = mmap(NULL, v->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, v->fd, 0);
    if (v->bytes == MAP_FAILED) /* a descriptor for reading only */
        v->bytes = mmap(NULL, v->mapped, PROT_READ, MAP_SHARED | MAP_NORESERVE, v->fd, 0);
    assert_true(v->bytes != MAP_FAILED);
    return result;
}

static inline void view_drop(struct view *v)
{
    if (v->bytes)
        munmap(v->bytes, v->mapped);
    if (v->fd >= 0)
        close(v->fd);
    *v = (struct view){.fd = -1};
}

#define RW  (STATE_OPEN_READ | STATE_OPEN_WRITE)
#define NEW (RW | STATE_OPEN_CREATE)

static inline struct view view_open(uint32_t worker, uint64_t call, const char *key, uint64_t size,
                                    uint32_t flags)
{
    struct view v;
    int64_t result = view_open_as(&v, worker, call, key, size, flags);
    if (result < 0)
        fail_msg("open %s: %s", key, last.error);
    return v;
}

static inline struct state_request view_request(const struct view *v, enum state_op op,
                                                uint64_t off, uint64_t len, uint32_t flags)
{
    return (struct state_request){
        .op = op, .slot = v->slot, .gen = v->gen, .off = off, .len = len, .flags = flags};
}

static inline int64_t view_ask(const struct view *v, enum state_op op, uint64_t off, uint64_t len,
                               uint32_t flags)
{
    return ask(v->worker, v->call, view_request(v, op, off, len, flags), &last);
}

static inline int64_t view_ensure(const struct view *v, uint64_t off, uint64_t len)
{
    return view_ask(v, STATE_OP_ENSURE, off, len, 0);
}

/* What atoll_state_write does. */
static inline void view_write(struct view *v, uint64_t off, const void *bytes, uint64_t len)
{
    assert_int_equal(view_ensure(v, off, len), 0);
    memcpy(v->bytes + off, bytes, len);
    view_ask(v, STATE_OP_DIRTY, off, len, 0);
}

static inline int64_t view_push(const struct view *v, uint32_t flags)
{
    return view_ask(v, STATE_OP_PUSH, 0, 0, flags);
}

static inline int64_t view_push_if(const struct view *v, uint64_t version)
{
    struct state_request r = view_request(v, STATE_OP_PUSH, 0, 0, STATE_PUSH_IFVER);
    r.version = version;
    return ask(v->worker, v->call, r, &last);
}

static inline int64_t view_pull(const struct view *v, uint32_t flags)
{
    return view_ask(v, STATE_OP_PULL, 0, 0, flags);
}

static inline int64_t view_merge(const struct view *v, uint64_t off, uint64_t len, uint32_t op)
{
    struct state_request r = view_request(v, STATE_OP_MERGE, off, len, 0);
    r.mode = op;
    return ask(v->worker, v->call, r, &last);
}

static inline struct state_request view_lock_request(const struct view *v, uint32_t mode,
                                                     uint32_t scope, uint64_t timeout_ns)
{
    struct state_request r = view_request(v, STATE_OP_LOCK, 0, 0, 0);
    r.mode = mode;
    r.number = scope;
    r.timeout_ns = timeout_ns;
    return r;
}

static inline int64_t view_lock(const struct view *v, uint32_t mode, uint32_t scope,
                                uint64_t timeout_ns)
{
    return ask(v->worker, v->call, view_lock_request(v, mode, scope, timeout_ns), &last);
}

static inline int64_t view_unlock(const struct view *v, uint32_t scope)
{
    struct state_request r = view_request(v, STATE_OP_UNLOCK, 0, 0, 0);
    r.number = scope;
    return ask(v->worker, v->call, r, &last);
}

static inline int64_t key_ask(uint32_t worker, uint64_t call, enum state_op op, const char *key)
{
    return ask(worker, call,
               (struct state_request){
                   .op = op, .key = (const uint8_t *)key, .key_len = (uint32_t)strlen(key)},
               &last);
}

/* ---- another node: straight to the global tier ---- */

static inline struct gt_key global_key(const char *key)
{
    return (struct gt_key){"acme", key, strlen(key)};
}

static inline struct double_value *global(const char *key)
{
    struct gt_key k = global_key(key);
    return double_find(gt, &k);
}

static inline uint64_t elsewhere_push(const char *key, uint64_t off, const void *bytes, size_t len,
                                      enum gt_merge merge)
{
    struct gt_key k = global_key(key);
    struct gt_range range = {off, bytes, len, merge};
    struct gt_commit commit = {.expect_version = GT_VERSION_ANY,
                               .size = GT_SIZE_KEEP,
                               .flags = GT_GROW,
                               .range_count = 1,
                               .ranges = &range};
    struct error e;
    assert_int_equal(gt->gt.ops->commit(&gt->gt, &k, &commit, (struct gt_callback){0}, &e), 0);
    return global(key)->version;
}

/* Another node pushes a whole value of bytes that differ from chunk to chunk. */
static inline void pattern(const char *key, uint64_t size)
{
    uint8_t *bytes = malloc(size);
    for (uint64_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + i / CHUNK);
    elsewhere_push(key, 0, bytes, size, GT_SET);
    free(bytes);
}

static inline void elsewhere_delete(const char *key)
{
    struct gt_key k = global_key(key);
    struct error e;
    assert_int_equal(gt->gt.ops->delete(&gt->gt, &k, 0, (struct gt_callback){0}, &e), 0);
}

#define CHECK(result, code) assert_int_equal((result), -(code))

#endif
