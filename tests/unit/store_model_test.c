/*
 * The store against a model of it: random operations, many on their way at once, each compared with
 * what the same sequence does to plain memory. Between rounds the store is closed and opened, and
 * compared as a whole.
 *
 * STORE_MODEL_SEED and STORE_MODEL_STEPS repeat a run and make it longer.
 */
#define _GNU_SOURCE
#include "store_calls.h"

#include "store/merge.h"

#define KEYS        12
#define VALUE_MAX   (3 * GT_CHUNK_BYTES)
#define ENTRIES     64
#define OUTSTANDING 64

struct model_key {
    bool exists;
    uint64_t version, gen;
    size_t size;
    uint8_t bytes[VALUE_MAX];
    uint64_t entries;
    uint32_t entry_lens[ENTRIES];
};

static struct model_key model[KEYS];
static uint64_t random_state;

/* xorshift64 */
static uint64_t dice(uint64_t sides)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % sides;
}

/* An operation on its way and what the model says about it. */
struct expectation {
    bool used;
    int key;
    struct answer answer;
    int code;
    uint64_t version, size, entries;
    int64_t value;
    bool made;       /* the key's gen is new */
    uint8_t *merged; /* what comes back */
    size_t merged_len;
    uint8_t *got, *expected; /* a read */
    size_t got_len;
};

static struct expectation expectations[OUTSTANDING];

static void expectation_settle(struct expectation *x)
{
    assert_int_equal(answer_wait(&x->answer), x->code);
    const struct gt_result *r = &x->answer.result;
    if (x->code == 0) {
        assert_int_equal(r->version, x->version);
        assert_int_equal(r->size, x->size);
        assert_int_equal(r->entries, x->entries);
        assert_int_equal(r->value, x->value);
        if (x->made)
            assert_true(r->gen > 0);
        assert_int_equal(r->len, x->merged_len);
        if (x->merged_len > 0)
            assert_memory_equal(r->data, x->merged, x->merged_len);
        if (x->got)
            assert_memory_equal(x->got, x->expected, x->got_len);
    }
    free(x->merged);
    free(x->got);
    free(x->expected);
    answer_free(&x->answer);
    *x = (struct expectation){0};
}

static struct expectation *expectation_new(int key)
{
    struct expectation *x = &expectations[dice(OUTSTANDING)];
    if (x->used)
        expectation_settle(x);
    x->used = true;
    x->key = key;
    return x;
}

static void all_settle(void)
{
    for (int i = 0; i < OUTSTANDING; i++) {
        if (expectations[i].used)
            expectation_settle(&expectations[i]);
    }
}

static void expect_key(struct expectation *x)
{
    const struct model_key *m = &model[x->key];
    x->version = m->version;
    x->size = m->size;
    x->entries = m->entries;
}

static struct gt_key model_key_name(int key)
{
    static char names[KEYS][8];
    snprintf(names[key], sizeof names[key], "key%d", key);
    return key_of(names[key]);
}

/* ---- commits ---- */

static void range_random(struct gt_range *range, uint8_t *bytes, size_t most)
{
    static const enum gt_merge merges[] = {GT_SET, GT_SET, GT_SET, GT_ADD_I32, GT_ADD_I64, GT_XOR};
    range->merge = merges[dice(sizeof merges / sizeof *merges)];
    size_t unit = merge_unit(range->merge);
    range->len = dice(dice(8) == 0 ? most : 200) / unit * unit;
    range->off = dice(VALUE_MAX - range->len) / unit * unit;
    if (dice(4) == 0) /* at a chunk's border */
        range->off = dice(3) * GT_CHUNK_BYTES;
    if (range->off + range->len > VALUE_MAX)
        range->len = (VALUE_MAX - range->off) / unit * unit;
    for (size_t i = 0; i < range->len; i++)
        bytes[i] = (uint8_t)dice(256);
    range->bytes = bytes;
}

static int model_commit(struct model_key *m, const struct gt_commit *c, struct expectation *x)
{
    uint64_t end = 0, size = c->size != GT_SIZE_KEEP ? c->size : m->size;
    for (uint32_t i = 0; i < c->range_count; i++) {
        if (c->ranges[i].off + c->ranges[i].len > end)
            end = c->ranges[i].off + c->ranges[i].len;
    }
    if (c->expect_version != GT_VERSION_ANY && c->expect_version != m->version)
        return -ATOLL_ESTALE;
    if (c->size == GT_SIZE_KEEP && end > size && (!m->exists || c->flags & GT_GROW))
        size = end;
    if (end > size)
        return -ATOLL_ERANGE;
    x->made = !m->exists;
    m->exists = true;
    if (size < m->size)
        memset(m->bytes + size, 0, m->size - size);
    m->size = size;
    m->version++;
    for (uint32_t i = 0; i < c->range_count; i++)
        merge_apply(c->ranges[i].merge, m->bytes + c->ranges[i].off, c->ranges[i].bytes,
                    c->ranges[i].len);
    for (uint32_t i = 0; c->flags & GT_RETURN_MERGED && i < c->range_count; i++) {
        if (c->ranges[i].merge == GT_SET)
            continue;
        x->merged = realloc(x->merged, x->merged_len + c->ranges[i].len + 1);
        memcpy(x->merged + x->merged_len, m->bytes + c->ranges[i].off, c->ranges[i].len);
        x->merged_len += c->ranges[i].len;
    }
    return 0;
}

static void step_commit(int key)
{
    static uint8_t bytes[4][VALUE_MAX];
    struct gt_range ranges[4];
    struct model_key *m = &model[key];
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = GT_SIZE_KEEP,
                          .range_count = (uint32_t)dice(5),
                          .ranges = ranges};
    for (uint32_t i = 0; i < c.range_count; i++)
        range_random(&ranges[i], bytes[i], dice(20) == 0 ? VALUE_MAX : 2000);
    c.flags =
        (dice(3) ? GT_GROW : 0) | (dice(4) ? 0 : GT_RETURN_MERGED) | (dice(30) ? 0 : GT_DURABLE);
    if (dice(8) == 0)
        c.size = dice(VALUE_MAX);
    if (dice(4) == 0)
        c.expect_version = m->version + (dice(3) == 0);
    struct expectation *x = expectation_new(key);
    struct gt_key name = model_key_name(key);
    x->code = model_commit(m, &c, x);
    expect_key(x);
    GT_LATER(&x->answer, commit, &name, &c);
}

/* ---- the rest ---- */

static void step_append(int key)
{
    struct model_key *m = &model[key];
    struct gt_key name = model_key_name(key);
    uint8_t bytes[100] = {0};
    if (m->entries == ENTRIES)
        return;
    uint32_t len = (uint32_t)dice(sizeof bytes);
    struct expectation *x = expectation_new(key);
    memset(bytes, (int)m->entries, len);
    m->exists = true;
    x->value = (int64_t)m->entries;
    m->entry_lens[m->entries++] = len;
    expect_key(x);
    GT_LATER(&x->answer, append, &name, bytes, len, 0);
}

static void step_clear(int key)
{
    struct model_key *m = &model[key];
    struct gt_key name = model_key_name(key);
    struct expectation *x = expectation_new(key);
    x->code = m->exists ? 0 : -ATOLL_ENOENT;
    m->entries = 0;
    expect_key(x);
    GT_LATER(&x->answer, clear, &name, 0);
}

static void step_delete(int key)
{
    struct model_key *m = &model[key];
    struct gt_key name = model_key_name(key);
    struct expectation *x = expectation_new(key);
    x->code = m->exists ? 0 : -ATOLL_ENOENT;
    expect_key(x);
    *m = (struct model_key){0};
    GT_LATER(&x->answer, delete, &name, dice(2) ? GT_DURABLE : 0);
}

/* It sees every write before it; nothing is called after it until it is compared. */
static void step_read(int key)
{
    const struct model_key *m = &model[key];
    struct gt_key name = model_key_name(key);
    struct expectation *x = expectation_new(key);
    size_t off = dice(VALUE_MAX), len = dice(VALUE_MAX - off) + 1;
    x->got = malloc(len);
    x->expected = malloc(len);
    x->got_len = len;
    x->code = m->exists ? 0 : -ATOLL_ENOENT;
    memcpy(x->expected, m->bytes + off, len);
    expect_key(x);
    struct gt_span span = {off, x->got, len};
    GT_LATER(&x->answer, getrange, &name, 0, &span, 1);
    expectation_settle(x);
}

static void key_compare(int key)
{
    const struct model_key *m = &model[key];
    static uint8_t bytes[VALUE_MAX];
    struct gt_key name = model_key_name(key);
    struct gt_span span = {0, bytes, VALUE_MAX};
    int rc = GT(getrange, &name, 0, &span, 1);
    assert_int_equal(rc, m->exists ? 0 : -ATOLL_ENOENT);
    if (!m->exists)
        return;
    assert_int_equal(last.result.version, m->version);
    assert_int_equal(last.result.size, m->size);
    assert_memory_equal(bytes, m->bytes, VALUE_MAX);
    assert_int_equal(GT(entries, &name, 0, ENTRIES, 1 << 20), 0);
    assert_int_equal(last.result.count, m->entries);
    const uint8_t *p = last.result.data;
    for (uint64_t i = 0; i < m->entries; p += m->entry_lens[i++]) {
        assert_int_equal(last.result.lens[i], m->entry_lens[i]);
        for (uint32_t k = 0; k < m->entry_lens[i]; k++)
            assert_int_equal(p[k], i);
    }
}

static void list_compare(void)
{
    struct gt_key all = key_of("");
    int expected = 0;
    for (int i = 0; i < KEYS; i++)
        expected += model[i].exists;
    assert_int_equal(GT(list, &all, "", 0, 1 << 20), 0);
    assert_int_equal(last.result.count, expected);
}

static void step(void)
{
    int key = (int)dice(KEYS);
    switch (dice(20)) {
    case 0: step_delete(key); break;
    case 1: step_clear(key); break;
    case 2:
    case 3:
    case 4:
    case 5: step_append(key); break;
    case 6:
    case 7:
    case 8:
    case 9: step_read(key); break;
    default: step_commit(key); break;
    }
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *value = getenv(name);
    return value ? strtoull(value, NULL, 10) : otherwise;
}

static void the_store_does_what_the_model_does(void **state)
{
    (void)state;
    uint64_t seed = setting("STORE_MODEL_SEED", 1), steps = setting("STORE_MODEL_STEPS", 4000);
    random_state = seed * 0x9e3779b97f4a7c15u + 1;
    print_message("# STORE_MODEL_SEED=%llu STORE_MODEL_STEPS=%llu\n", (unsigned long long)seed,
                  (unsigned long long)steps);
    store_stop();
    store_start(&(struct store_options){.map_bytes = 1 << 20});
    for (uint64_t i = 1; i <= steps; i++) {
        step();
        if (i % (steps / 5) != 0)
            continue;
        all_settle();
        if (dice(2)) {
            store_stop();
            store_start(NULL);
        }
        for (int key = 0; key < KEYS; key++)
            key_compare(key);
        list_compare();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_store_does_what_the_model_does, store_setup,
                                        store_teardown),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
