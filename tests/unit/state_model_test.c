/*
 * The local tiers of two nodes against models of them.
 *
 * The first test does one operation after the other and compares every answer, every byte that a
 * guest may see and every byte of the global tier with a model that keeps a flag per byte. The
 * second has many operations under way at once, over a store that fails now and then and answers in
 * any order, while calls end and workers die; it looks at what must hold whatever happened.
 *
 * STATE_MODEL_SEED=n runs one seed, STATE_MODEL_SEEDS=n that many.
 */
#define _GNU_SOURCE
#include "state_world.h"

#define NODES  2
#define KEYS   2
#define CALLS  4 /* of a node; even ones are run by its first worker */
#define MAX    (4 * CHUNK)
#define CHUNKS 4
#define SIZES  6

static const char *const key_names[KEYS] = {"a", "key/b"};
static const uint64_t sizes[SIZES] = {100, CHUNK - 8, CHUNK, CHUNK + 16, 2 * CHUNK + 4096, MAX};

/* ---- the model ---- */

struct model_global {
    bool exists;
    uint64_t size, version, gen;
    uint8_t bytes[MAX];
};

struct model_copy {
    int opens;
    bool gone, stale, resized, exclusive;
    uint64_t size, base, gen, global_size;
    uint8_t bytes[MAX];
    bool written[MAX], present[CHUNKS];
};

struct model_view {
    bool open;
    struct view view;
    struct model_copy *copy;
};

static struct model_global globals[KEYS];
static struct model_copy *copies[NODES][KEYS]; /* in the table */
static struct model_view views[NODES][CALLS][KEYS];
static uint64_t call_ids[NODES][CALLS], last_call;

static uint32_t worker_of(int node, int call)
{
    return (uint32_t)(node * 10 + 1 + call % 2);
}

static uint64_t below(uint64_t n)
{
    return double_random(gt) % n;
}

static void copy_close(int node, int key, struct model_copy *c)
{
    if (--c->opens == 0 && copies[node][key] != c)
        free(c);
}

static void copy_forget(int node, int key)
{
    struct model_copy *c = copies[node][key];
    copies[node][key] = NULL;
    if (c && !c->opens)
        free(c);
}

static void model_stale(int node, int key, struct model_copy *c)
{
    c->stale = true;
    if (copies[node][key] == c)
        copies[node][key] = NULL;
}

/* Changes the size; new chunks are missing when they follow the global value. */
static void model_resize(struct model_copy *c, uint64_t size, bool fill)
{
    uint64_t old = c->size;
    for (uint64_t i = size; i < MAX; i++)
        c->written[i] = false;
    if (size < old)
        memset(c->bytes + size, 0, old - size);
    for (uint64_t i = old; fill && i < size && i < c->global_size; i++)
        c->written[i] = true;
    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (i * CHUNK >= size)
            c->present[i] = false;
        else if (i * CHUNK >= (old + CHUNK - 1) / CHUNK * CHUNK)
            c->present[i] = fill;
    }
    c->size = size;
}

static uint8_t global_byte(const struct model_global *g, uint64_t i)
{
    return i < g->size ? g->bytes[i] : 0;
}

/* Pulls what is missing; a value that is gone is found out by that. */
static int64_t model_ensure(int node, int key, struct model_copy *c, uint64_t off, uint64_t len)
{
    const struct model_global *g = &globals[key];
    bool missing = false;
    if (c->stale)
        return -ATOLL_ESTALE;
    if (off > c->size || len > c->size - off)
        return -ATOLL_ERANGE;
    for (uint64_t i = off / CHUNK; i <= (off + len - 1) / CHUNK; i++)
        missing |= !c->present[i];
    if (missing && (!g->exists || g->gen != c->gen)) {
        model_stale(node, key, c);
        return -ATOLL_ESTALE;
    }
    for (uint64_t i = off / CHUNK; i <= (off + len - 1) / CHUNK; i++) {
        for (uint64_t j = i * CHUNK; !c->present[i] && j < (i + 1) * CHUNK && j < c->size; j++)
            c->bytes[j] = global_byte(g, j);
        c->present[i] = true;
    }
    return 0;
}

/* The expected result. */
static int64_t model_pull(int node, int key, struct model_copy *c, bool discard)
{
    struct model_global *g = &globals[key];
    if (c->stale)
        return -ATOLL_ESTALE;
    if ((!g->exists && (c->base || c->gen)) || (g->exists && c->gen && c->gen != g->gen)) {
        model_stale(node, key, c);
        return -ATOLL_ESTALE;
    }
    if (!g->exists) {
        memset(c->bytes, 0, discard ? MAX : 0);
        memset(c->written, 0, discard ? sizeof c->written : 0);
        return 0;
    }
    c->gen = g->gen;
    c->global_size = g->size;
    c->exclusive = false;
    if (g->size != c->size && (!c->resized || discard))
        model_resize(c, g->size, false);
    for (uint64_t i = 0; i < c->size; i++) {
        if (c->present[i / CHUNK] && (discard || !c->written[i]))
            c->bytes[i] = global_byte(g, i);
        c->written[i] = c->written[i] && !discard;
    }
    if (discard)
        c->resized = false;
    c->base = g->version;
    return 0;
}

static int64_t model_push(int node, int key, struct model_copy *c, uint32_t flags, uint64_t expect)
{
    struct model_global *g = &globals[key];
    bool something = c->resized || flags & STATE_PUSH_IFVER, beyond = false;
    if (c->stale)
        return -ATOLL_ESTALE;
    for (uint64_t i = 0; i < c->size; i++) {
        if (c->present[i / CHUNK] && (!(flags & STATE_PUSH_DIRTY) || c->written[i])) {
            something = true;
            beyond |= !c->resized && i >= g->size;
        }
    }
    if (!something)
        return (int64_t)c->base;
    bool refused = false;
    if (flags & STATE_PUSH_IFVER)
        refused = expect ? !g->exists || g->version != expect : g->exists;
    else if (c->exclusive || (c->resized && c->base))
        refused = c->base ? !g->exists || g->version != c->base : g->exists;
    bool gone = c->gen && (!g->exists || g->gen != c->gen);
    if (gone) {
        model_stale(node, key, c);
        return -ATOLL_ESTALE;
    }
    if (refused)
        return c->exclusive && !(flags & STATE_PUSH_IFVER) ? -ATOLL_EEXIST : -ATOLL_ESTALE;
    if (g->exists && beyond)
        return -ATOLL_ESTALE;
    if (!g->exists) {
        uint64_t gen = gt->gens; /* the double has just given it */
        *g = (struct model_global){.exists = true, .gen = gen};
    }
    g->version++;
    uint64_t size = c->resized ? c->size : g->size;
    for (uint64_t i = size; i < MAX; i++)
        g->bytes[i] = 0;
    g->size = size;
    for (uint64_t i = 0; i < c->size; i++) {
        if (c->present[i / CHUNK] && (!(flags & STATE_PUSH_DIRTY) || c->written[i]))
            g->bytes[i] = c->bytes[i];
        c->written[i] = false;
    }
    if (g->version == c->base + 1)
        c->base = g->version;
    if (c->resized)
        c->global_size = c->size;
    c->resized = c->exclusive = false;
    c->gen = g->gen;
    return (int64_t)g->version;
}

/* ---- one operation on both ---- */

static void expect(int64_t result, int64_t expected, const char *what)
{
    if (result != expected)
        fail_msg("%s: %lld instead of %lld (%s)", what, (long long)result, (long long)expected,
                 last.error);
}

static void do_open(int node, int call, int key)
{
    struct model_view *m = &views[node][call][key];
    struct model_global *g = &globals[key];
    struct model_copy *c = copies[node][key];
    uint64_t size = below(2) ? sizes[below(SIZES)] : 0;
    uint32_t flags = RW | (below(2) ? (uint32_t)STATE_OPEN_CREATE : 0);
    if (flags & STATE_OPEN_CREATE && below(8) == 0)
        flags |= STATE_OPEN_EXCLUSIVE;
    if (below(8) == 0)
        flags |= STATE_OPEN_TRUNCATE;
    if (m->open) {
        view_drop(&m->view);
        m->open = false;
        /* The call keeps its hold on the value; opening it again only adds to that. */
        copy_close(node, key, m->copy);
    }
    int64_t result = view_open_as(&m->view, worker_of(node, call), call_ids[node][call],
                                  key_names[key], size, flags);
    int64_t expected = 0;
    bool fresh = !c && !g->exists;
    if (fresh && !(flags & STATE_OPEN_CREATE))
        expected = -ATOLL_ENOENT;
    else if (!fresh && flags & STATE_OPEN_EXCLUSIVE)
        expected = -ATOLL_EEXIST;
    else if (!fresh && !(flags & STATE_OPEN_TRUNCATE) && size && size != (c ? c->size : g->size))
        expected = -ATOLL_ESIZE;
    expect(result, expected, "open");
    if (!c && (!fresh || !expected)) {
        c = copies[node][key] = calloc(1, sizeof *c);
        assert_non_null(c);
        if (fresh) {
            c->resized = true;
            c->exclusive = flags & STATE_OPEN_EXCLUSIVE;
            model_resize(c, size, true);
        } else {
            c->gen = g->gen;
            c->base = g->version;
            c->global_size = g->size;
            model_resize(c, g->size, false);
        }
    } else if (!expected && c && !fresh && flags & STATE_OPEN_TRUNCATE) {
        model_resize(c, 0, true);
    }
    if (expected) {
        if (m->copy)
            m->copy = NULL;
        state_call_ended(tier_of(worker_of(node, call)), worker_of(node, call),
                         call_ids[node][call]);
        for (int k = 0; k < KEYS; k++) {
            if (views[node][call][k].open) {
                view_drop(&views[node][call][k].view);
                copy_close(node, k, views[node][call][k].copy);
                views[node][call][k].open = false;
            }
        }
        call_ids[node][call] = ++last_call;
        return;
    }
    if (!fresh && flags & STATE_OPEN_TRUNCATE) {
        if (c->size)
            model_resize(c, 0, true);
        model_resize(c, size, true);
        c->resized = true;
    }
    c->opens++;
    m->open = true;
    m->copy = c;
}

static void do_end(int node, int call)
{
    state_call_ended(tier_of(worker_of(node, call)), worker_of(node, call), call_ids[node][call]);
    for (int k = 0; k < KEYS; k++) {
        struct model_view *m = &views[node][call][k];
        if (m->open) {
            view_drop(&m->view);
            copy_close(node, k, m->copy);
        }
        *m = (struct model_view){.view.fd = -1};
    }
    call_ids[node][call] = ++last_call;
    world_settle();
}

static void do_worker_loss(int node, uint32_t worker)
{
    bool suspect[KEYS] = {false};
    struct error e;
    for (int call = 0; call < CALLS; call++) {
        for (int k = 0; k < KEYS && worker_of(node, call) == worker; k++)
            suspect[k] |= views[node][call][k].open && !views[node][call][k].copy->stale;
    }
    state_worker_lost(tier_of(worker), worker);
    assert_int_equal(state_worker_join(tier_of(worker), worker, "acme", &e), 0);
    world_settle();
    for (int call = 0; call < CALLS; call++) {
        if (worker_of(node, call) != worker)
            continue;
        for (int k = 0; k < KEYS; k++) {
            struct model_view *m = &views[node][call][k];
            if (m->open) {
                view_drop(&m->view);
                copy_close(node, k, m->copy);
            }
            *m = (struct model_view){.view.fd = -1};
        }
        call_ids[node][call] = ++last_call;
    }
    for (int k = 0; k < KEYS; k++) {
        struct model_copy *c = copies[node][k];
        if (suspect[k] && c && !c->opens)
            copy_forget(node, k);
        else if (suspect[k] && c)
            (void)model_pull(node, k, c, true);
    }
}

static void do_write(int node, int key, struct model_view *m)
{
    struct model_copy *c = m->copy;
    uint8_t bytes[300];
    uint64_t len = 1 + below(sizeof bytes), off = below(MAX);
    if (below(2))
        off = below(CHUNKS) * CHUNK - (below(2) ? 0 : len / 2);
    for (uint64_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(1 + below(255));
    int64_t expected = model_ensure(node, key, c, off, len);
    expect(view_ensure(&m->view, off, len), expected, "ensure");
    if (expected)
        return;
    memcpy(m->view.bytes + off, bytes, len);
    view_ask(&m->view, STATE_OP_DIRTY, off, len, 0);
    for (uint64_t i = 0; i < len; i++) {
        c->bytes[off + i] = bytes[i];
        c->written[off + i] = true;
    }
}

static void do_resize(int node, int key, struct model_view *m)
{
    struct model_copy *c = m->copy;
    uint64_t size = below(2) ? sizes[below(SIZES)] : below(MAX + 1);
    int64_t expected = c->stale ? -ATOLL_ESTALE : 0;
    if (!expected && size > c->size && c->size < c->global_size && c->size % CHUNK)
        expected = model_ensure(node, key, c, c->size - 1, 1);
    expect(view_ask(&m->view, STATE_OP_RESIZE, 0, size, 0), expected, "resize");
    if (expected || size == c->size)
        return;
    model_resize(c, size, true);
    c->resized = true;
}

static void do_delete(int node, int call, int key)
{
    struct model_global *g = &globals[key];
    struct model_copy *c = copies[node][key];
    int64_t expected = c || g->exists ? 0 : -ATOLL_ENOENT;
    int64_t result =
        key_ask(worker_of(node, call), call_ids[node][call], STATE_OP_DELETE, key_names[key]);
    expect(result, expected, "delete");
    if (c) {
        model_stale(node, key, c);
        if (!c->opens)
            free(c);
    }
    *g = (struct model_global){0};
}

static void do_something(void)
{
    int node = (int)below(NODES), call = (int)below(CALLS), key = (int)below(KEYS);
    struct model_view *m = &views[node][call][key];
    uint64_t what = below(100);
    if (what < 2)
        return do_worker_loss(node, worker_of(node, call));
    if (what < 5)
        return do_end(node, call);
    if (what < 8)
        return do_delete(node, call, key);
    if (!m->open)
        return do_open(node, call, key);
    if (what < 55)
        return do_write(node, key, m);
    if (what < 62)
        return do_resize(node, key, m);
    if (what < 78) {
        bool discard = below(3) == 0;
        int64_t expected = model_pull(node, key, m->copy, discard);
        return expect(view_pull(&m->view, discard ? STATE_PULL_DISCARD : 0), expected, "pull");
    }
    uint32_t flags = below(3) ? STATE_PUSH_DIRTY : 0;
    struct state_request r = view_request(&m->view, STATE_OP_PUSH, 0, 0, flags);
    if (below(3) == 0) {
        r.flags |= STATE_PUSH_IFVER;
        r.version = below(2) ? m->copy->base : globals[key].version;
    }
    int64_t result = ask(m->view.worker, m->view.call, r, &last);
    expect(result, model_push(node, key, m->copy, r.flags, r.version), "push");
}

static void compare_all(void)
{
    world_check();
    for (int k = 0; k < KEYS; k++) {
        struct double_value *v = global(key_names[k]);
        const struct model_global *g = &globals[k];
        assert_int_equal(v->exists, g->exists);
        if (g->exists) {
            assert_int_equal(v->size, g->size);
            assert_int_equal(v->version, g->version);
            assert_memory_equal(v->bytes, g->bytes, MAX);
        }
    }
    for (int n = 0; n < NODES; n++) {
        for (int i = 0; i < CALLS * KEYS; i++) {
            const struct model_view *m = &views[n][i / KEYS][i % KEYS];
            if (!m->open || m->copy->stale)
                continue;
            for (uint64_t c = 0; c * CHUNK < m->copy->size; c++) {
                uint64_t len = m->copy->size - c * CHUNK;
                if (m->copy->present[c])
                    assert_memory_equal(m->view.bytes + c * CHUNK, m->copy->bytes + c * CHUNK,
                                        len < CHUNK ? len : CHUNK);
            }
        }
    }
}

static void model_reset(void)
{
    for (int n = 0; n < NODES; n++) {
        for (int c = 0; c < CALLS; c++)
            do_end(n, c);
        for (int k = 0; k < KEYS; k++)
            copy_forget(n, k);
    }
    memset(globals, 0, sizeof globals);
}

static uint64_t seed_first(uint64_t *count, uint64_t usual)
{
    const char *one = getenv("STATE_MODEL_SEED"), *many = getenv("STATE_MODEL_SEEDS");
    *count = one ? 1 : many ? strtoull(many, NULL, 10) : usual;
    return one ? strtoull(one, NULL, 10) : 1;
}

static void every_answer_and_every_byte_is_as_the_model_says(void **state)
{
    (void)state;
    uint64_t count, seed = seed_first(&count, 12);
    for (; count; seed++, count--) {
        print_message("# STATE_MODEL_SEED=%llu\n", (unsigned long long)seed);
        world_begin(seed, BIG);
        world_second_node(BIG);
        for (int i = 0; i < NODES * CALLS; i++)
            call_ids[i / CALLS][i % CALLS] = ++last_call;
        for (int i = 0; i < 600; i++) {
            do_something();
            if (i % 8 == 0)
                compare_all();
        }
        compare_all();
        model_reset();
        world_end();
    }
}

/* ---- many at once ---- */

#define ASKS 24

static int64_t soup_open(int node, int call, int key)
{
    return view_open_as(&views[node][call][key].view, worker_of(node, call), call_ids[node][call],
                        key_names[key], 2 * CHUNK + 4096, NEW);
}

static void soup_request(struct asked *to)
{
    int node = (int)below(NODES), call = (int)below(CALLS), key = (int)below(KEYS);
    const struct view *v = &views[node][call][key].view;
    static const enum state_op ops[] = {STATE_OP_ENSURE, STATE_OP_PULL,   STATE_OP_PUSH,
                                        STATE_OP_PUSH,   STATE_OP_LOCK,   STATE_OP_UNLOCK,
                                        STATE_OP_RESIZE, STATE_OP_DELETE, STATE_OP_MERGE,
                                        STATE_OP_OPEN,   STATE_OP_CLOSE,  STATE_OP_VERSION};
    struct state_request r = view_request(v, ops[below(sizeof ops / sizeof *ops)], 0, 0, 0);
    if (!v->gen && r.op != STATE_OP_DELETE)
        r.op = STATE_OP_OPEN;
    uint64_t off = below(3 * CHUNK), len = below(CHUNK);
    switch (r.op) {
    case STATE_OP_ENSURE: r.off = off, r.len = len; break;
    case STATE_OP_PULL: r.flags = below(2) ? STATE_PULL_DISCARD : 0; break;
    case STATE_OP_PUSH: r.flags = (uint32_t)below(2) * STATE_PUSH_DIRTY; break;
    case STATE_OP_LOCK:
        r.mode = (uint32_t)below(2), r.number = (uint32_t)below(2), r.timeout_ns = below(SECOND);
        break;
    case STATE_OP_UNLOCK: r.number = (uint32_t)below(2); break;
    case STATE_OP_RESIZE: r.len = sizes[below(SIZES)]; break;
    case STATE_OP_MERGE: r.len = 4096, r.mode = (uint32_t)below(2) * GT_ADD_I64; break;
    case STATE_OP_OPEN:
    case STATE_OP_DELETE:
        r = (struct state_request){.op = r.op,
                                   .key = (const uint8_t *)key_names[key],
                                   .key_len = (uint32_t)strlen(key_names[key])};
        r.flags = r.op == STATE_OP_OPEN ? NEW | (uint32_t)below(2) * STATE_OPEN_TRUNCATE : 0;
        r.len = r.op == STATE_OP_OPEN ? below(2) * (2 * CHUNK + 4096) : 0;
        break;
    default: break;
    }
    ask_begin(worker_of(node, call), call_ids[node][call], r, to);
    if (!state_op_answers(r.op))
        to->done = true;
}

static void whatever_happens_all_is_answered_and_the_copies_agree_in_the_end(void **state)
{
    (void)state;
    uint64_t count, seed = seed_first(&count, 40);
    static struct asked asks[ASKS];
    for (; count; seed++, count--) {
        print_message("# STATE_MODEL_SEED=%llu\n", (unsigned long long)seed);
        world_begin(seed, 16 * CHUNK); /* room is short */
        world_second_node(16 * CHUNK);
        for (int i = 0; i < NODES * CALLS; i++)
            call_ids[i / CALLS][i % CALLS] = ++last_call;
        for (int i = 0; i < ASKS; i++)
            asks[i] = (struct asked){.done = true, .fd = -1};
        for (int i = 0; i < 3000; i++) {
            struct asked *free_one = &asks[below(ASKS)];
            int node = (int)below(NODES), call = (int)below(CALLS);
            uint64_t what = below(400);
            if (free_one->done && what > 40) {
                if (free_one->fd >= 0)
                    close(free_one->fd);
                soup_request(free_one);
            } else if (what < 3) {
                struct error e;
                state_worker_lost(tier_of(worker_of(node, call)), worker_of(node, call));
                state_worker_join(tier_of(worker_of(node, call)), worker_of(node, call), "acme",
                                  &e);
            } else if (what < 12) {
                state_call_ended(tier_of(worker_of(node, call)), worker_of(node, call),
                                 call_ids[node][call]);
                for (int k = 0; k < KEYS; k++)
                    view_drop(&views[node][call][k].view);
                call_ids[node][call] = ++last_call;
            } else if (what < 30) {
                for (int k = 0; k < KEYS; k++) {
                    if (!views[node][call][k].view.gen)
                        (void)soup_open(node, call, k);
                }
            } else if (what < 32) {
                gt->fail_commits = (int)below(3);
                gt->fail_reads = (int)below(3);
                gt->fail_renewals = (int)below(2);
            } else if (what < 36) {
                world_advance((int64_t)below(4 * SECOND));
            }
            for (uint64_t n = below(4); n; n--) {
                double_step(gt);
                world_tick();
            }
            if (i % 16 == 0)
                world_check();
        }
        gt->fail_commits = gt->fail_reads = gt->fail_renewals = 0;
        world_advance(30 * SECOND);
        for (int i = 0; i < ASKS; i++) {
            assert_true(asks[i].done);
            if (asks[i].fd >= 0)
                close(asks[i].fd);
        }
        for (int n = 0; n < NODES * CALLS; n++) {
            int node = n / CALLS, call = n % CALLS;
            state_call_ended(tier_of(worker_of(node, call)), worker_of(node, call),
                             call_ids[node][call]);
            for (int k = 0; k < KEYS; k++)
                view_drop(&views[node][call][k].view);
        }
        world_settle();
        for (int n = 0; n < NODES; n++) {
            for (int k = 0; k < KEYS; k++) {
                struct view v;
                if (view_open_as(&v, worker_of(n, 0), ++last_call, key_names[k], 0, RW) < 0)
                    continue;
                if (view_pull(&v, STATE_PULL_DISCARD) == 0 && global(key_names[k])->exists) {
                    struct double_value *g = global(key_names[k]);
                    assert_int_equal(view_ensure(&v, 0, g->size), 0);
                    assert_memory_equal(v.bytes, g->bytes, g->size);
                }
                state_call_ended(tier_of(v.worker), v.worker, v.call);
                view_drop(&v);
            }
            struct state_counters counters;
            state_counters(n ? node_two : tier, &counters);
            assert_int_equal(counters.waiting, 0);
        }
        world_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_and_every_byte_is_as_the_model_says),
        cmocka_unit_test(whatever_happens_all_is_answered_and_the_copies_agree_in_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
