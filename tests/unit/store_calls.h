/* For tests of the store: a store in the scratch directory, and operations that are called and
 * waited for. */
#ifndef TESTS_STORE_CALLS_H
#define TESTS_STORE_CALLS_H

#include "scratch_directory.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK GT_CHUNK_BYTES

/* What an operation brought back, copied. One that was not waited for yet is not done. */
struct answer {
    bool done;
    struct gt_result result; /* pointers lead to the copies */
    struct buffer data, extents, lens;
    struct error error;
};

static struct store *store;
static _Atomic uint64_t fake_now = 1000000000;

static inline uint64_t fake_clock(void *context)
{
    (void)context;
    return fake_now;
}

static inline void answer_take(void *context, const struct gt_result *r)
{
    struct answer *a = context;
    assert_false(a->done);
    a->done = true;
    a->result = *r;
    a->data.len = a->extents.len = a->lens.len = 0;
    assert_true(buffer_append(&a->data, r->data, r->data ? r->len : 0));
    if (r->extents)
        assert_true(buffer_append(&a->extents, r->extents, r->count * sizeof *r->extents));
    if (r->lens)
        assert_true(buffer_append(&a->lens, r->lens, r->count * 8));
    a->result.data = a->data.data;
    a->result.extents = (const struct gt_extent *)(void *)a->extents.data;
    a->result.lens = (const uint64_t *)(void *)a->lens.data;
    assert_int_equal(r->code != 0, r->error != NULL);
    if (r->error) {
        a->error = *r->error;
        assert_int_equal(r->code, r->error->code);
        assert_true(strlen(r->error->text) > 10);
    }
}

static inline struct gt_callback answer_to(struct answer *a)
{
    a->done = false;
    return (struct gt_callback){answer_take, a};
}

static inline void answer_free(struct answer *a)
{
    buffer_free(&a->data);
    buffer_free(&a->extents);
    buffer_free(&a->lens);
}

/* Runs callbacks until this one ran. Returns its code. */
static inline int answer_wait(struct answer *a)
{
    while (!a->done) {
        if (store_wait(store) == 0 && !a->done)
            fail_msg("the operation waits for ever");
    }
    return a->result.code;
}

/* For calls whose results are looked at before the next. */
static struct answer last;

static inline int call_wait(int rc, struct error *e)
{
    if (rc == 0)
        return answer_wait(&last);
    assert_int_equal(rc, e->code);
    assert_true(strlen(e->text) > 10);
    return rc;
}

static inline struct gt_key key_of(const char *key)
{
    return (struct gt_key){"tenant", key, strlen(key)};
}

#define GT(name, ...)                                                                    \
    ({                                                                                   \
        struct error error_;                                                             \
        struct gt *gt_ = store_gt(store);                                                \
        call_wait(gt_->ops->name(gt_, __VA_ARGS__, answer_to(&last), &error_), &error_); \
    })

/* As GT, but brings its result to an answer later. */
#define GT_LATER(answer, name, ...)                                           \
    do {                                                                      \
        struct error error_;                                                  \
        struct gt *gt_ = store_gt(store);                                     \
        if (gt_->ops->name(gt_, __VA_ARGS__, answer_to(answer), &error_) < 0) \
            fail_msg("%s", error_.text);                                      \
    } while (0)

#define RECORD(name, ...)                                                        \
    ({                                                                           \
        struct error error_;                                                     \
        call_wait(name(store, __VA_ARGS__, answer_to(&last), &error_), &error_); \
    })

static inline void store_start(const struct store_options *options)
{
    struct error e;
    struct store_options o = options ? *options : (struct store_options){0};
    if (!o.directory)
        o.directory = scratch_path("store");
    if (store_open(&o, &store, &e) < 0)
        fail_msg("%s", e.text);
}

static inline void store_stop(void)
{
    struct error e;
    if (store_close(store, &e) < 0)
        fail_msg("%s", e.text);
    store = NULL;
}

static inline int store_setup(void **state)
{
    (void)state;
    store_start(NULL);
    return 0;
}

/* By a clock that only tests move. */
static inline int store_setup_fake_clock(void **state)
{
    (void)state;
    store_start(&(struct store_options){.clock = fake_clock});
    return 0;
}

static inline int store_teardown(void **state)
{
    (void)state;
    store_stop();
    scratch_remove(scratch_path("store"));
    answer_free(&last);
    last = (struct answer){0};
    return 0;
}

/* Until everything called has ended or waits. */
static inline void store_settle(void)
{
    store_tick(store);
    while (store_wait(store) > 0)
        ;
}

/* What waits began to wait before. */
static inline void clock_move(uint64_t ns)
{
    store_settle();
    fake_now += ns;
    store_tick(store);
}

static inline int commit_range(const char *key, uint64_t off, const void *bytes, size_t len,
                               enum gt_merge merge, uint32_t flags)
{
    struct gt_key k = key_of(key);
    struct gt_range range = {.off = off, .bytes = bytes, .len = len, .merge = merge};
    struct gt_commit commit = {.expect_version = GT_VERSION_ANY,
                               .size = GT_SIZE_KEEP,
                               .flags = flags,
                               .range_count = 1,
                               .ranges = &range};
    return GT(commit, &k, &commit);
}

static inline int commit_bytes(const char *key, uint64_t off, const void *bytes, size_t len)
{
    return commit_range(key, off, bytes, len, GT_SET, GT_GROW);
}

static inline int get_bytes(const char *key, uint64_t off, void *to, size_t len)
{
    struct gt_key k = key_of(key);
    struct gt_span span = {off, to, len};
    return GT(getrange, &k, 0, &span, 1);
}

/* Bytes that differ from their neighbours and from chunk to chunk. */
static inline void fill(uint8_t *bytes, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i * 31 + seed) ^ i >> 8);
}

static inline void assert_get(const char *key, uint64_t off, const void *bytes, size_t len)
{
    uint8_t *got = malloc(len);
    memset(got, 0x5a, len);
    assert_int_equal(get_bytes(key, off, got, len), 0);
    assert_memory_equal(got, bytes, len);
    free(got);
}

/* One change of a record. */
static inline struct store_write put(enum store_write_kind kind, enum store_table table,
                                     const char *key, const char *value)
{
    return (struct store_write){kind, table, key, strlen(key), value, value ? strlen(value) : 0};
}

#endif
