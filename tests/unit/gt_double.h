/*
 * A global tier in memory that answers when it is told to, in an order drawn by a seed: for tests
 * of the local tier. Writes take effect when they are called, reads at some moment between call and
 * answer, as store/gt.h allows. Time stands still but for double_advance.
 */
#ifndef TESTS_GT_DOUBLE_H
#define TESTS_GT_DOUBLE_H

#include "store/gt.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DOUBLE_VALUES  64
#define DOUBLE_CHUNK   GT_CHUNK_BYTES
#define DOUBLE_CHUNKS  64
#define DOUBLE_ENTRIES 64
#define DOUBLE_LOCKS   256

struct double_entry {
    uint8_t *bytes;
    size_t len;
};

struct double_value {
    char tenant[GT_TENANT_MAX + 1];
    uint8_t key[GT_KEY_MAX];
    size_t key_len;
    bool exists;
    uint8_t *bytes; /* DOUBLE_CHUNKS chunks */
    uint64_t size, version, gen;
    uint64_t chunk_version[DOUBLE_CHUNKS];
    struct double_entry entries[DOUBLE_ENTRIES];
    uint32_t entry_count;
};

struct double_lock {
    struct double_value *value;
    enum gt_lock_mode mode;
    uint64_t owner, token, lease_ns;
    int64_t until, deadline;
    struct gt_callback callback;
    bool held, waits;
};

struct gt_double;

struct double_answer {
    struct gt_callback callback;
    struct gt_result result;
    struct error error;
    uint8_t *data;
    uint64_t *lens;
    struct gt_extent *extents;
    void (*release)(void *);
    void *release_context;
    /* A read that takes place when it is answered. */
    void (*late)(struct gt_double *, struct double_answer *);
    struct double_value *value;
    uint64_t since;
    struct gt_span *spans;
    uint32_t span_count;
};

struct gt_double {
    struct gt gt;
    struct double_value values[DOUBLE_VALUES];
    struct double_lock locks[DOUBLE_LOCKS];
    struct double_answer *answers[65536];
    uint32_t waiting;
    bool in_order; /* answers come in the order of the calls */
    uint64_t random, gens, tokens;
    int64_t now;
    int fail_reads, fail_commits, fail_renewals; /* so many more fail with ATOLL_EUNAVAIL */
    uint64_t reads, read_bytes, commits, ranges, commit_bytes, owners_ended;
};

static inline uint64_t double_random(struct gt_double *d)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return d->random;
}

static inline struct gt_double *double_of(struct gt *gt)
{
    return (struct gt_double *)gt;
}

static inline struct double_value *double_find(struct gt_double *d, const struct gt_key *k)
{
    struct double_value *empty = NULL;
    for (int i = 0; i < DOUBLE_VALUES; i++) {
        struct double_value *v = &d->values[i];
        if (v->key_len == k->key_len && k->key_len && !memcmp(v->key, k->key, k->key_len) &&
            !strcmp(v->tenant, k->tenant))
            return v;
        if (!v->key_len && !empty)
            empty = v;
    }
    assert(empty && k->key_len <= GT_KEY_MAX);
    strcpy(empty->tenant, k->tenant);
    memcpy(empty->key, k->key, k->key_len);
    empty->key_len = k->key_len;
    empty->bytes = calloc(DOUBLE_CHUNKS, DOUBLE_CHUNK);
    return empty;
}

static inline struct double_answer *double_answer(struct gt_double *d, struct gt_callback callback)
{
    struct double_answer *a = calloc(1, sizeof *a);
    assert(a && d->waiting < 65536);
    a->callback = callback;
    d->answers[d->waiting++] = a;
    return a;
}

static inline void double_fail(struct double_answer *a, int code, const char *why)
{
    a->result.code = error_set(&a->error, code, "%s", why);
}

static inline void double_describe(struct double_answer *a, const struct double_value *v)
{
    a->result.size = v->size;
    a->result.version = v->version;
    a->result.gen = v->exists ? v->gen : 0;
    a->result.entries = v->entry_count;
}

/* ---- values ---- */

static inline void double_read(struct gt_double *d, struct double_answer *a)
{
    const struct double_value *v = a->value;
    if (!v->exists)
        return double_fail(a, ATOLL_ENOENT, "no such value");
    double_describe(a, v);
    a->extents = calloc(DOUBLE_CHUNKS * (a->span_count + 1), sizeof *a->extents);
    for (uint32_t i = 0; i < a->span_count; i++) {
        const struct gt_span *s = &a->spans[i];
        for (uint64_t off = s->off, next; off < s->off + s->len; off = next) {
            next = (off / DOUBLE_CHUNK + 1) * DOUBLE_CHUNK;
            next = next < s->off + s->len ? next : s->off + s->len;
            assert(next <= (uint64_t)DOUBLE_CHUNKS * DOUBLE_CHUNK);
            if (a->since && v->chunk_version[off / DOUBLE_CHUNK] <= a->since)
                continue;
            memcpy((uint8_t *)s->dst + (off - s->off), v->bytes + off, next - off);
            a->extents[a->result.count++] = (struct gt_extent){off, next - off};
            d->read_bytes += next - off;
        }
    }
    a->result.extents = a->extents;
}

static inline int double_getrange(struct gt *gt, const struct gt_key *k, uint64_t since,
                                  const struct gt_span *spans, uint32_t count,
                                  struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    (void)e;
    struct double_answer *a = double_answer(d, callback);
    d->reads++;
    if (d->fail_reads) {
        d->fail_reads--;
        double_fail(a, ATOLL_EUNAVAIL, "the store does not answer");
        return 0;
    }
    a->value = double_find(d, k);
    a->since = since;
    a->spans = calloc(count + 1, sizeof *a->spans);
    if (count)
        memcpy(a->spans, spans, count * sizeof *spans);
    a->span_count = count;
    if (double_random(d) & 1)
        double_read(d, a);
    else
        a->late = double_read;
    return 0;
}

static inline int double_stat(struct gt *gt, const struct gt_key *k, struct gt_callback callback,
                              struct error *e)
{
    return double_getrange(gt, k, 0, NULL, 0, callback, e);
}

static inline void double_add(enum gt_merge merge, uint8_t *to, const uint8_t *from)
{
    double a, b;
    float f, g;
    switch (merge) {
    case GT_ADD_I32: store_u32(to, load_u32(to) + load_u32(from)); break;
    case GT_ADD_I64: store_u64(to, load_u64(to) + load_u64(from)); break;
    case GT_XOR: store_u64(to, load_u64(to) ^ load_u64(from)); break;
    case GT_ADD_F32:
        memcpy(&f, to, sizeof f);
        memcpy(&g, from, sizeof g);
        f += g;
        memcpy(to, &f, sizeof f);
        break;
    default:
        memcpy(&a, to, sizeof a);
        memcpy(&b, from, sizeof b);
        a = merge == GT_ADD_F64 ? a + b : merge == GT_MIN_F64 ? (b < a ? b : a) : b > a ? b : a;
        memcpy(to, &a, sizeof a);
        break;
    }
}

static inline void double_apply(struct double_value *v, const struct gt_range *r)
{
    uint64_t unit = r->merge == GT_SET                                 ? 1
                    : r->merge == GT_ADD_I32 || r->merge == GT_ADD_F32 ? 4
                                                                       : 8;
    assert(r->off % unit == 0 && r->len % unit == 0);
    for (uint64_t i = 0; i < r->len; i += unit) {
        uint8_t *to = v->bytes + r->off + i;
        if (r->merge == GT_SET)
            *to = ((const uint8_t *)r->bytes)[i];
        else
            double_add(r->merge, to, (const uint8_t *)r->bytes + i);
        v->chunk_version[(r->off + i) / DOUBLE_CHUNK] = v->version;
    }
}

static inline void double_resize(struct double_value *v, uint64_t size)
{
    assert(size <= (uint64_t)DOUBLE_CHUNKS * DOUBLE_CHUNK);
    uint64_t low = size < v->size ? size : v->size, high = size < v->size ? v->size : size;
    memset(v->bytes + low, 0, high - low);
    for (uint64_t i = low / DOUBLE_CHUNK; low < high && i <= (high - 1) / DOUBLE_CHUNK; i++)
        v->chunk_version[i] = v->version;
    v->size = size;
}

static inline bool double_holds(const struct gt_double *d, const struct double_value *v,
                                uint64_t token)
{
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        if (d->locks[i].held && d->locks[i].value == v && d->locks[i].token == token)
            return d->now < d->locks[i].until;
    }
    return false;
}

static inline bool double_commit_refused(struct gt_double *d, struct double_value *v,
                                         const struct gt_commit *c, struct double_answer *a)
{
    if (d->fail_commits) {
        d->fail_commits--;
        double_fail(a, ATOLL_EUNAVAIL, "the store does not answer");
        return true;
    }
    bool expected = c->expect_version == GT_VERSION_ANY ||
                    (c->expect_version ? v->exists && v->version == c->expect_version : !v->exists);
    if (!expected || (c->expect_gen && (!v->exists || v->gen != c->expect_gen)) ||
        (c->fence && !double_holds(d, v, c->fence))) {
        double_describe(a, v);
        double_fail(a, ATOLL_ESTALE, "another version");
        return true;
    }
    uint64_t size = c->size == GT_SIZE_KEEP ? v->size : c->size;
    if (size > (uint64_t)DOUBLE_CHUNKS * DOUBLE_CHUNK) {
        double_fail(a, ATOLL_ESIZE, "more than the double holds");
        return true;
    }
    for (uint32_t i = 0; i < c->range_count && v->exists; i++) {
        if (c->ranges[i].off + c->ranges[i].len > size && !(c->flags & GT_GROW)) {
            double_fail(a, ATOLL_ERANGE, "beyond the end");
            return true;
        }
    }
    return false;
}

static inline void double_make(struct gt_double *d, struct double_value *v)
{
    if (v->exists)
        return;
    v->exists = true;
    v->gen = ++d->gens;
    v->version = v->size = 0;
    v->entry_count = 0;
    memset(v->bytes, 0, (size_t)DOUBLE_CHUNKS * DOUBLE_CHUNK);
    memset(v->chunk_version, 0, sizeof v->chunk_version);
}

static inline int double_commit(struct gt *gt, const struct gt_key *k, const struct gt_commit *c,
                                struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    (void)e;
    struct double_answer *a = double_answer(d, callback);
    struct double_value *v = double_find(d, k);
    a->release = c->release;
    a->release_context = c->release_context;
    if (double_commit_refused(d, v, c, a))
        return 0;
    double_make(d, v);
    v->version++;
    uint64_t size = c->size == GT_SIZE_KEEP ? v->size : c->size, merged = 0;
    for (uint32_t i = 0; i < c->range_count; i++) {
        uint64_t end = c->ranges[i].off + c->ranges[i].len;
        size = end > size ? end : size;
        merged += c->ranges[i].merge ? c->ranges[i].len : 0;
        d->commit_bytes += c->ranges[i].len;
    }
    double_resize(v, size);
    a->data = malloc(merged + 1);
    for (uint32_t i = 0; i < c->range_count; i++) {
        double_apply(v, &c->ranges[i]);
        if (c->ranges[i].merge && c->flags & GT_RETURN_MERGED) {
            memcpy(a->data + a->result.len, v->bytes + c->ranges[i].off, c->ranges[i].len);
            a->result.len += c->ranges[i].len;
        }
    }
    a->result.data = a->data;
    d->commits++;
    d->ranges += c->range_count;
    double_describe(a, v);
    return 0;
}

static inline int double_append(struct gt *gt, const struct gt_key *k, const void *bytes,
                                size_t len, uint32_t flags, struct gt_callback callback,
                                struct error *e)
{
    struct gt_double *d = double_of(gt);
    struct double_value *v = double_find(d, k);
    struct double_answer *a = double_answer(d, callback);
    (void)flags, (void)e;
    if (v->entry_count == DOUBLE_ENTRIES) {
        double_fail(a, ATOLL_ELIMIT, "more than the double holds");
        return 0;
    }
    double_make(d, v);
    struct double_entry *entry = &v->entries[v->entry_count];
    free(entry->bytes);
    entry->bytes = malloc(len + 1);
    memcpy(entry->bytes, bytes, len);
    entry->len = len;
    a->result.value = v->entry_count++;
    double_describe(a, v);
    return 0;
}

static inline int double_entries(struct gt *gt, const struct gt_key *k, uint64_t from, uint32_t max,
                                 size_t cap, struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    struct double_value *v = double_find(d, k);
    struct double_answer *a = double_answer(d, callback);
    (void)e;
    if (!v->exists) {
        double_fail(a, ATOLL_ENOENT, "no such value");
        return 0;
    }
    double_describe(a, v);
    a->data = malloc(cap + 1);
    a->lens = calloc(DOUBLE_ENTRIES, sizeof *a->lens);
    for (uint64_t i = from; i < v->entry_count && a->result.count < max; i++) {
        if (v->entries[i].len > cap - a->result.len) {
            if (!a->result.count) {
                a->result.value = (int64_t)v->entries[i].len;
                double_fail(a, ATOLL_ESIZE, "does not fit");
            }
            break;
        }
        memcpy(a->data + a->result.len, v->entries[i].bytes, v->entries[i].len);
        a->result.len += v->entries[i].len;
        a->lens[a->result.count++] = v->entries[i].len;
    }
    a->result.data = a->data;
    a->result.lens = a->lens;
    return 0;
}

static inline int double_clear(struct gt *gt, const struct gt_key *k, uint32_t flags,
                               struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    struct double_value *v = double_find(d, k);
    struct double_answer *a = double_answer(d, callback);
    (void)flags, (void)e;
    if (!v->exists)
        double_fail(a, ATOLL_ENOENT, "no such value");
    v->entry_count = 0;
    double_describe(a, v);
    return 0;
}

static inline int double_delete(struct gt *gt, const struct gt_key *k, uint32_t flags,
                                struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    struct double_value *v = double_find(d, k);
    struct double_answer *a = double_answer(d, callback);
    (void)flags, (void)e;
    if (!v->exists)
        double_fail(a, ATOLL_ENOENT, "no such value");
    v->exists = false;
    v->version = v->size = 0;
    return 0;
}

static inline int double_list(struct gt *gt, const struct gt_key *prefix, const void *after,
                              size_t after_len, size_t cap, struct gt_callback callback,
                              struct error *e)
{
    struct gt_double *d = double_of(gt);
    struct double_answer *a = double_answer(d, callback);
    struct buffer b = {0};
    (void)e, (void)cap;
    const void *last = after;
    size_t last_len = after_len;
    for (;;) {
        struct double_value *best = NULL;
        for (int i = 0; i < DOUBLE_VALUES; i++) {
            struct double_value *v = &d->values[i];
            if (!v->exists || strcmp(v->tenant, prefix->tenant) || v->key_len < prefix->key_len ||
                memcmp(v->key, prefix->key, prefix->key_len))
                continue;
            size_t n = v->key_len < last_len ? v->key_len : last_len;
            int order = n ? memcmp(v->key, last, n) : 0;
            if (order < 0 || (!order && v->key_len <= last_len))
                continue;
            n = best && best->key_len < v->key_len ? best->key_len : v->key_len;
            order = best ? memcmp(v->key, best->key, n) : -1;
            if (order < 0 || (!order && v->key_len < best->key_len))
                best = v;
        }
        if (!best)
            break;
        buffer_append_u64(&b, best->size);
        buffer_append_u64(&b, best->version);
        buffer_append_u32(&b, best->entry_count);
        buffer_append_u32(&b, (uint32_t)best->key_len);
        buffer_append(&b, best->key, best->key_len);
        last = best->key;
        last_len = best->key_len;
        a->result.count++;
    }
    a->data = b.data;
    a->result.data = b.data;
    a->result.len = b.len;
    return 0;
}

/* ---- locks ---- */

static inline void double_lock_answer(struct gt_double *d, struct double_lock *l, int code)
{
    struct double_answer *a = double_answer(d, l->callback);
    l->waits = false;
    if (code) {
        double_fail(a, -code, "the lock");
        return;
    }
    l->held = true;
    l->token = ++d->tokens;
    l->until = d->now + (int64_t)l->lease_ns;
    a->result.value = (int64_t)l->token;
}

/* First come, first served: entries are in the order of arrival. */
static inline void double_locks_look(struct gt_double *d)
{
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        struct double_lock *l = &d->locks[i];
        if (l->held && d->now >= l->until)
            l->held = false;
    }
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        struct double_lock *l = &d->locks[i];
        bool free_now = l->waits;
        for (int j = 0; j < DOUBLE_LOCKS && free_now; j++) {
            const struct double_lock *o = &d->locks[j];
            if (o == l || o->value != l->value)
                continue;
            bool excludes = l->mode == GT_LOCK_WRITE || o->mode == GT_LOCK_WRITE;
            if ((o->held && excludes) || (o->waits && j < i && excludes))
                free_now = false;
        }
        if (free_now)
            double_lock_answer(d, l, 0);
        else if (l->waits && d->now >= l->deadline)
            double_lock_answer(d, l, -ATOLL_ETIMEDOUT);
    }
}

static inline int double_lock(struct gt *gt, const struct gt_key *k, enum gt_lock_mode mode,
                              uint64_t owner, uint64_t lease_ns, uint64_t timeout_ns,
                              struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    int place = 0;
    (void)e;
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        if (d->locks[i].held || d->locks[i].waits)
            place = i + 1;
    }
    assert(place < DOUBLE_LOCKS);
    d->locks[place] = (struct double_lock){.value = double_find(d, k),
                                           .mode = mode,
                                           .owner = owner,
                                           .lease_ns = lease_ns,
                                           .callback = callback,
                                           .waits = true,
                                           .deadline = !timeout_ns || timeout_ns > INT64_MAX / 2
                                                           ? INT64_MAX
                                                           : d->now + (int64_t)timeout_ns};
    double_locks_look(d);
    if (d->locks[place].waits && !timeout_ns)
        double_lock_answer(d, &d->locks[place], -ATOLL_EAGAIN);
    return 0;
}

static inline struct double_lock *double_lock_by(struct gt_double *d, uint64_t token)
{
    double_locks_look(d);
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        if (d->locks[i].held && d->locks[i].token == token)
            return &d->locks[i];
    }
    return NULL;
}

static inline int double_renew(struct gt *gt, const struct gt_key *k, uint64_t token,
                               uint64_t lease_ns, struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    (void)k, (void)e;
    struct double_lock *l = double_lock_by(d, token);
    struct double_answer *a = double_answer(d, callback);
    if (d->fail_renewals) {
        d->fail_renewals--;
        double_fail(a, ATOLL_EUNAVAIL, "the store does not answer");
    } else if (!l) {
        double_fail(a, ATOLL_ESTALE, "lost");
    } else {
        l->until = d->now + (int64_t)lease_ns;
    }
    return 0;
}

static inline int double_unlock(struct gt *gt, const struct gt_key *k, uint64_t token,
                                struct gt_callback callback, struct error *e)
{
    struct gt_double *d = double_of(gt);
    (void)k, (void)e;
    struct double_lock *l = double_lock_by(d, token);
    struct double_answer *a = double_answer(d, callback);
    if (l)
        l->held = false;
    else
        double_fail(a, ATOLL_ESTALE, "lost");
    double_locks_look(d);
    return 0;
}

static inline int double_owner_end(struct gt *gt, uint64_t owner, struct gt_callback callback,
                                   struct error *e)
{
    struct gt_double *d = double_of(gt);
    (void)e;
    for (int i = 0; i < DOUBLE_LOCKS; i++) {
        struct double_lock *l = &d->locks[i];
        if (l->owner == owner && l->waits)
            double_lock_answer(d, l, -ATOLL_ECANCELED);
        if (l->owner == owner)
            l->held = false;
    }
    d->owners_ended++;
    double_locks_look(d);
    double_answer(d, callback);
    return 0;
}

/* ---- objects: one counter, enough to see that requests get through ---- */

static inline int double_object_open(struct gt *gt, const struct gt_key *k,
                                     enum gt_object_type type, int64_t arg, uint64_t owner,
                                     struct gt_callback callback, struct error *e)
{
    (void)owner, (void)e, (void)arg;
    struct double_answer *a = double_answer(double_of(gt), callback);
    double_find(double_of(gt), k);
    if (type != GT_COUNTER)
        double_fail(a, ATOLL_ETYPE, "the double has counters only");
    return 0;
}

static inline int double_object(struct gt *gt, const struct gt_key *k, enum gt_object_type type,
                                const struct gt_object_call *call, struct gt_callback callback,
                                struct error *e)
{
    struct double_value *v = double_find(double_of(gt), k);
    struct double_answer *a = double_answer(double_of(gt), callback);
    (void)type, (void)e;
    if (call->op > GT_COUNTER_ADD) {
        double_fail(a, call->timeout_ns ? ATOLL_ENOSYS : ATOLL_EAGAIN, "no such operation");
        return 0;
    }
    v->version += call->op == GT_COUNTER_ADD ? (uint64_t)call->a : 0;
    a->result.value = (int64_t)v->version;
    a->data = malloc(8);
    memcpy(a->data, &v->version, 8);
    a->result.data = a->data;
    a->result.len = 8;
    return 0;
}

static const struct gt_ops double_ops = {
    .name = "double",
    .stat = double_stat,
    .getrange = double_getrange,
    .commit = double_commit,
    .append = double_append,
    .entries = double_entries,
    .clear = double_clear,
    .delete = double_delete,
    .list = double_list,
    .lock = double_lock,
    .renew = double_renew,
    .unlock = double_unlock,
    .owner_end = double_owner_end,
    .object_open = double_object_open,
    .object = double_object,
};

/* ---- the test's side ---- */

static inline struct gt_double *double_create(uint64_t seed)
{
    struct gt_double *d = calloc(1, sizeof *d);
    assert(d);
    d->gt.ops = &double_ops;
    d->random = seed * 0x9e3779b97f4a7c15u + 1;
    d->now = 1000;
    return d;
}

/* Gives one of the answers that wait; false when none does. */
static inline bool double_step(struct gt_double *d)
{
    if (!d->waiting)
        return false;
    uint32_t i = d->in_order ? 0 : (uint32_t)(double_random(d) % d->waiting);
    struct double_answer *a = d->answers[i];
    memmove(d->answers + i, d->answers + i + 1, (d->waiting - i - 1) * sizeof *d->answers);
    d->waiting--;
    if (a->late)
        a->late(d, a);
    a->result.error = a->result.code ? &a->error : NULL;
    if (a->release && double_random(d) & 1) {
        a->release(a->release_context);
        a->release = NULL;
    }
    if (a->callback.done)
        a->callback.done(a->callback.context, &a->result);
    if (a->release) { /* later than the answer: the batch is on disk */
        struct double_answer *r = double_answer(d, (struct gt_callback){0});
        r->release = a->release;
        r->release_context = a->release_context;
    }
    free(a->data);
    free(a->lens);
    free(a->extents);
    free(a->spans);
    free(a);
    return true;
}

static inline void double_advance(struct gt_double *d, int64_t ns)
{
    d->now += ns;
    double_locks_look(d);
}

static inline void double_destroy(struct gt_double *d)
{
    while (double_step(d)) {
    }
    for (int i = 0; i < DOUBLE_VALUES; i++) {
        free(d->values[i].bytes);
        for (int j = 0; j < DOUBLE_ENTRIES; j++)
            free(d->values[i].entries[j].bytes);
    }
    free(d);
}

#endif
