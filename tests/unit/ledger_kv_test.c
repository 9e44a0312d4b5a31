/* The ledger's key-value store: contents, digests, batches, transactions, snapshots. */
#define _GNU_SOURCE
#include "ledger/kv/kv.h"

#include "base/bytes.h"
#include "ledger/kv/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "public, as all";
static struct error e;

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static struct kv *store(uint32_t bits)
{
    struct kv *kv;
    assert_int_equal(kv_create(bits, bucket_key, &kv, &e), 0);
    return kv;
}

static void digest_of(struct kv *kv, uint8_t digest[static HASH_LEN])
{
    struct kv_snapshot *s;
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    kv_snapshot_digest(s, digest);
    kv_snapshot_release(s);
}

static void assert_digest(struct kv *kv, const uint8_t digest[static HASH_LEN])
{
    uint8_t now[HASH_LEN];
    digest_of(kv, now);
    assert_memory_equal(now, digest, HASH_LEN);
}

/* A value of a length that a number decides: short, longer than a page takes in, or long. */
static size_t value_of(uint64_t number, uint8_t *value)
{
    static const size_t lengths[] = {0, 1, 8, 8, 20, KV_VALUE_MAX / 64, 256, 257, 300, 5000};
    size_t len = lengths[number % 10];
    for (size_t i = 0; i < len; i++)
        value[i] = (uint8_t)(number + i * 7);
    return len;
}

static size_t key_of(uint64_t number, uint8_t *key)
{
    size_t len = number % 5 == 0 ? 200 : 8;
    memset(key, 0x55, len);
    store_u64(key, number);
    return len;
}

static void change(struct kv *kv, uint64_t number, uint64_t value_number)
{
    static uint8_t value[KV_VALUE_MAX];
    uint8_t key[256];
    size_t key_len = key_of(number, key);
    kv_transaction_begin(kv);
    if (value_number == 0)
        assert_int_equal(kv_transaction_remove(kv, KV_TABLE_USER, key, key_len, &e), 0);
    else
        assert_int_equal(kv_transaction_put(kv, KV_TABLE_USER, key, key_len, value,
                                            value_of(value_number, value), &e),
                         0);
    uint8_t hash[HASH_LEN];
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
}

static void assert_value(const struct kv *kv, uint64_t number, uint64_t value_number)
{
    static uint8_t value[KV_VALUE_MAX];
    uint8_t key[256];
    struct kv_value got;
    size_t key_len = key_of(number, key);
    bool there = kv_get(kv, KV_TABLE_USER, key, key_len, &got);
    assert_int_equal(there, value_number != 0);
    if (!there)
        return;
    size_t len = value_of(value_number, value);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, value, len);
}

/* A store with so many pairs, put in the order that a seed gives. */
static struct kv *filled(uint32_t bits, uint64_t count, uint64_t seed)
{
    struct kv *kv = store(bits);
    uint64_t *order = malloc(count * sizeof *order);
    for (uint64_t i = 0; i < count; i++)
        order[i] = i;
    for (uint64_t i = count; i > 1 && seed; i--) {
        uint64_t other = draw(&seed) % i, kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    for (uint64_t i = 0; i < count; i++)
        change(kv, order[i], 1000 + order[i]);
    free(order);
    return kv;
}

static void contents_are_those_of_a_plain_table(void **state)
{
    (void)state;
    enum { KEYS = 700, STEPS = 12000 };
    static uint64_t model[KEYS];
    static const uint32_t bits[] = {0, 1, 4, 6, 16};
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        struct kv *kv = store(bits[b]);
        uint64_t random = 17 + b, pairs = 0;
        memset(model, 0, sizeof model);
        for (uint64_t step = 1; step <= STEPS; step++) {
            uint64_t number = draw(&random) % KEYS;
            /* Grows, then shrinks, then grows again. */
            bool remove = draw(&random) % 10 < (step / 3000 % 2 ? 8u : 2u);
            uint64_t value = remove ? 0 : 1 + draw(&random) % 100000;
            if (step % 100 == 1) {
                assert_int_equal(kv_batch_begin(kv, step, &e), 0);
                kv_commit(kv, step);
            }
            if (step % 100 == 1)
                assert_int_equal(kv_batch_begin(kv, step + 1, &e), 0);
            change(kv, number, value);
            pairs = pairs + (model[number] == 0 && value != 0) - (model[number] != 0 && value == 0);
            model[number] = value;
            assert_value(kv, number, value);
            assert_value(kv, step % KEYS, model[step % KEYS]);
            assert_int_equal(kv_pairs(kv), pairs);
        }
        for (uint64_t i = 0; i < KEYS; i++)
            assert_value(kv, i, model[i]);
        kv_destroy(kv);
    }
}

static void equal_contents_have_equal_digests_whatever_the_order(void **state)
{
    (void)state;
    static const uint32_t bits[] = {0, 2, 5, 16};
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        uint8_t digest[HASH_LEN];
        struct kv *a = filled(bits[b], 1500, 0), *other = filled(bits[b], 1500, 99);
        digest_of(a, digest);
        assert_digest(other, digest);
        /* Far more, and gone again. */
        for (uint64_t i = 1500; i < 4000; i++)
            change(other, i, i);
        uint8_t more[HASH_LEN];
        digest_of(other, more);
        assert_memory_not_equal(more, digest, HASH_LEN);
        for (uint64_t i = 4000; i-- > 1500;)
            change(other, i, 0);
        assert_digest(other, digest);
        kv_destroy(a);
        kv_destroy(other);
    }
}

static void a_digest_names_every_bit_of_the_contents(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN], now[HASH_LEN];
    struct kv *kv = filled(3, 300, 0);
    digest_of(kv, digest);
    for (uint64_t i = 0; i < 300; i += 13) {
        change(kv, i, 7 + i);
        digest_of(kv, now);
        assert_memory_not_equal(now, digest, HASH_LEN);
        change(kv, i, 1000 + i);
        assert_digest(kv, digest);
    }
    /* The same bytes, cut differently into key and value. */
    struct kv *one = store(0), *other = store(0);
    assert_int_equal(kv_preload(one, 20, "ab", 2, "c", 1, &e), 0);
    assert_int_equal(kv_preload(other, 20, "a", 1, "bc", 2, &e), 0);
    digest_of(one, digest);
    digest_of(other, now);
    assert_memory_not_equal(now, digest, HASH_LEN);
    kv_destroy(one);
    kv_destroy(other);
    kv_destroy(kv);
}

static void the_digest_of_few_pairs_is_as_the_format_says(void **state)
{
    (void)state;
    struct kv *kv = store(1);
    uint8_t empty[HASH_LEN], page[HASH_LEN], node[1 + 2 * HASH_LEN] = {1}, digest[HASH_LEN];
    uint8_t text[64] = "atoll.kvpage.v1";
    hash_sha256(text, 20, empty);
    /* One pair: table 16, key "k", value "val". */
    text[16] = 1;
    uint8_t record[] = {2, 0, 3, 0, 0, 0, 16, 'k', 'v', 'a', 'l'};
    memcpy(text + 20, record, sizeof record);
    hash_sha256(text, 20 + sizeof record, page);
    unsigned bucket = siphash(bucket_key, "\x10k", 2) & 1;
    memcpy(node + 1 + HASH_LEN * bucket, page, HASH_LEN);
    memcpy(node + 1 + HASH_LEN * (1 - bucket), empty, HASH_LEN);
    uint8_t whole[60] = "atoll.kv.v1";
    whole[16] = 1;
    whole[20] = 1;
    hash_sha256(node, sizeof node, whole + 28);
    hash_sha256(whole, sizeof whole, digest);
    assert_int_equal(kv_preload(kv, 16, "k", 1, "val", 3, &e), 0);
    assert_digest(kv, digest);
    kv_destroy(kv);
}

static void give(void *context, uint64_t number, struct kv_pair *pair)
{
    static uint8_t key[256], value[KV_VALUE_MAX];
    (void)context;
    *pair = (struct kv_pair){.table = KV_TABLE_USER, .key = key, .value = value};
    pair->key_len = key_of(number, key);
    pair->value_len = value_of(1000 + number, value);
}

static void a_bulk_load_gives_what_single_writes_give(void **state)
{
    (void)state;
    uint8_t digest[HASH_LEN];
    struct kv *single = filled(8, 3000, 5), *bulk = store(8);
    assert_int_equal(kv_preload_all(bulk, 3000, give, NULL, &e), 0);
    digest_of(single, digest);
    assert_digest(bulk, digest);
    assert_int_equal(kv_bytes(bulk), kv_bytes(single));
    kv_destroy(single);
    kv_destroy(bulk);
}

/* Names that all fall into 16 of 65,536 buckets, which anybody can compute. */
static void flooded_buckets_hold_what_was_put(void **state)
{
    (void)state;
    enum { FLOOD = 3000 };
    struct kv *kv = store(16);
    uint64_t found = 0;
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    static uint64_t names[FLOOD];
    for (uint64_t i = 0; found < FLOOD; i++) {
        uint8_t name[9] = {KV_TABLE_USER};
        store_u64(name + 1, i);
        if ((siphash(bucket_key, name, sizeof name) & 0xfff) != 0x123)
            continue;
        names[found++] = i;
    }
    uint8_t digest[HASH_LEN], hash[HASH_LEN];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < FLOOD; i++) {
            kv_transaction_begin(kv);
            assert_int_equal(kv_transaction_put(kv, KV_TABLE_USER, &names[i], 8, &i, 4, &e), 0);
            assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
        }
        if (round == 1)
            assert_digest(kv, digest);
        digest_of(kv, digest);
    }
    for (int i = 0; i < FLOOD; i++) {
        struct kv_value value;
        assert_true(kv_get(kv, KV_TABLE_USER, &names[i], 8, &value));
        assert_int_equal(load_u32(value.data), i);
    }
    kv_destroy(kv);
}

/* ---- batches ---- */

static void a_rollback_leaves_no_trace_of_the_batches_taken_back(void **state)
{
    (void)state;
    enum { BATCHES = 12 };
    static const uint32_t bits[] = {0, 4, 16};
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        uint8_t digests[BATCHES + 1][HASH_LEN];
        struct kv *kv = store(bits[b]);
        uint64_t random = 3;
        for (uint64_t s = 1; s <= BATCHES; s++) {
            assert_int_equal(kv_batch_begin(kv, s, &e), 0);
            for (int i = 0; i < 300; i++)
                change(kv, draw(&random) % 400, draw(&random) % 4 ? draw(&random) % 50 : 0);
            digest_of(kv, digests[s]);
        }
        kv_commit(kv, 5);
        for (uint64_t s = BATCHES; s-- > 5;) {
            assert_int_equal(kv_rollback(kv, s, &e), 0);
            assert_digest(kv, digests[s]);
            /* What comes instead is taken back as well. */
            assert_int_equal(kv_batch_begin(kv, s + 1, &e), 0);
            change(kv, 1, s + 77);
            kv_transaction_begin(kv);
            assert_int_equal(kv_transaction_put(kv, 16, "x", 1, "y", 1, &e), 0);
            assert_int_equal(kv_rollback(kv, s, &e), 0);
            assert_digest(kv, digests[s]);
        }
        assert_int_equal(kv_rollback(kv, 4, &e), -ATOLL_ERANGE);
        assert_digest(kv, digests[5]);
        kv_destroy(kv);
    }
}

static void batches_that_are_not_released_are_limited(void **state)
{
    (void)state;
    struct kv *kv = store(0);
    for (uint64_t s = 1; s <= KV_BATCHES_MAX; s++)
        assert_int_equal(kv_batch_begin(kv, s, &e), 0);
    assert_int_equal(kv_batch_begin(kv, KV_BATCHES_MAX + 1, &e), -ATOLL_ELIMIT);
    kv_commit(kv, 1);
    assert_int_equal(kv_batch_begin(kv, KV_BATCHES_MAX + 1, &e), 0);
    kv_destroy(kv);
}

/* ---- transactions ---- */

static void a_transaction_sees_its_writes_and_nobody_else_does(void **state)
{
    (void)state;
    struct kv *kv = store(4);
    struct kv_value value;
    uint8_t hash[HASH_LEN], none[HASH_LEN];
    assert_int_equal(kv_preload(kv, 16, "a", 1, "1", 1, &e), 0);
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    kv_transaction_begin(kv);
    kv_transaction_abort(kv, none);
    kv_transaction_begin(kv);
    assert_true(kv_transaction_get(kv, 16, "a", 1, &value));
    assert_int_equal(kv_transaction_remove(kv, 16, "a", 1, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "b", 1, "2", 1, &e), 0);
    assert_false(kv_transaction_get(kv, 16, "a", 1, &value));
    assert_true(kv_transaction_get(kv, 16, "b", 1, &value));
    assert_memory_equal(value.data, "2", 1);
    assert_true(kv_get(kv, 16, "a", 1, &value));
    assert_false(kv_get(kv, 16, "b", 1, &value));
    kv_transaction_abort(kv, hash);
    assert_memory_equal(hash, none, HASH_LEN);
    assert_true(kv_get(kv, 16, "a", 1, &value));
    assert_false(kv_get(kv, 16, "b", 1, &value));
    kv_destroy(kv);
}

static void a_write_set_is_hashed_in_the_order_of_keys(void **state)
{
    (void)state;
    struct kv *kv = store(4);
    uint8_t hash[HASH_LEN], again[HASH_LEN], wanted[HASH_LEN];
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    kv_transaction_begin(kv);
    assert_int_equal(kv_transaction_put(kv, 17, "a", 1, "xy", 2, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "ab", 2, "old", 3, &e), 0);
    assert_int_equal(kv_transaction_remove(kv, 16, "b", 1, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "ab", 2, "z", 1, &e), 0);
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    static const uint8_t bytes[] = "atoll.ws.v1\0\0\0\0\0\3\0\0\0"
                                   "\x10\1\2\0\0\0\1\0\0\0abz"
                                   "\x10\0\1\0\0\0\0\0\0\0"
                                   "b"
                                   "\x11\1\1\0\0\0\2\0\0\0"
                                   "axy";
    hash_sha256(bytes, sizeof bytes - 1, wanted);
    assert_memory_equal(hash, wanted, HASH_LEN);
    kv_transaction_begin(kv);
    assert_int_equal(kv_transaction_remove(kv, 16, "b", 1, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "ab", 2, "z", 1, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 17, "a", 1, "xy", 2, &e), 0);
    assert_int_equal(kv_transaction_commit(kv, again, &e), 0);
    assert_memory_equal(again, wanted, HASH_LEN);
    kv_destroy(kv);
}

static void the_limits_of_a_transaction_hold(void **state)
{
    (void)state;
    static uint8_t value[KV_VALUE_MAX + 1];
    struct kv *kv = store(16);
    uint8_t hash[HASH_LEN];
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    kv_transaction_begin(kv);
    assert_int_equal(kv_transaction_put(kv, 16, value, KV_KEY_MAX + 1, "", 0, &e), -ATOLL_EINVAL);
    assert_int_equal(kv_transaction_put(kv, 16, "k", 1, value, sizeof value, &e), -ATOLL_EINVAL);
    for (uint32_t i = 0; i < KV_WRITES_MAX; i++)
        assert_int_equal(kv_transaction_put(kv, 16, &i, 4, "", 0, &e), 0);
    uint32_t more = KV_WRITES_MAX, old = 5;
    assert_int_equal(kv_transaction_put(kv, 16, &more, 4, "", 0, &e), -ATOLL_ELIMIT);
    assert_int_equal(kv_transaction_put(kv, 16, &old, 4, "x", 1, &e), 0);
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    assert_int_equal(kv_pairs(kv), KV_WRITES_MAX);
    kv_transaction_begin(kv);
    for (uint32_t i = 0; i < KV_TRANSACTION_BYTES_MAX / KV_VALUE_MAX - 1; i++)
        assert_int_equal(kv_transaction_put(kv, 16, "same", 4, value, KV_VALUE_MAX, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "same", 4, value, KV_VALUE_MAX, &e), -ATOLL_ELIMIT);
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    assert_int_equal(kv_pairs(kv), KV_WRITES_MAX + 1);
    kv_destroy(kv);
}

/* Writes that count for nothing, or almost: the memory that they take has an end. */
static void what_a_transaction_writes_over_takes_no_more_memory(void **state)
{
    (void)state;
    struct kv *kv = store(16);
    uint8_t hash[HASH_LEN], other[HASH_LEN];
    struct kv_value value;
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    kv_transaction_begin(kv);
    for (int i = 0; i < 300000; i++) {
        assert_int_equal(kv_transaction_put(kv, 16, "", 0, "", 0, &e), 0);
        assert_int_equal(kv_transaction_remove(kv, 17, "", 0, &e), 0);
    }
    assert_true(kv->arena.capacity < 100000);
    assert_int_equal(kv_transaction_put(kv, 16, "", 0, "long", 4, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "", 0, "a", 1, &e), 0);
    assert_true(kv_transaction_get(kv, 16, "", 0, &value) && value.len == 1);
    assert_false(kv_transaction_get(kv, 17, "", 0, &value));
    assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    /* Only the last of them count. */
    kv_transaction_begin(kv);
    assert_int_equal(kv_transaction_remove(kv, 17, "", 0, &e), 0);
    assert_int_equal(kv_transaction_put(kv, 16, "", 0, "a", 1, &e), 0);
    assert_int_equal(kv_transaction_commit(kv, other, &e), 0);
    assert_memory_equal(hash, other, HASH_LEN);
    kv_destroy(kv);
}

/* ---- all of it together ---- */

enum { MODEL_KEYS = 500, MODEL_BATCHES = 40, MODEL_SNAPSHOTS = 4 };

struct model {
    uint64_t value[MODEL_BATCHES + 1][MODEL_KEYS]; /* after each batch; 0: not there */
    uint64_t batch, committed;
    struct kv_snapshot *snapshot[MODEL_SNAPSHOTS];
    uint64_t of[MODEL_SNAPSHOTS][MODEL_KEYS];
    uint64_t random;
};

/* The digest of these pairs, put into a store that never held anything else. */
static void digest_of_model(uint32_t bits, const uint64_t *values, uint8_t digest[static HASH_LEN])
{
    struct kv *kv = store(bits);
    assert_int_equal(kv_batch_begin(kv, 1, &e), 0);
    for (uint64_t i = 0; i < MODEL_KEYS; i++)
        if (values[i])
            change(kv, i, values[i]);
    digest_of(kv, digest);
    kv_destroy(kv);
}

static void batch_run(struct kv *kv, struct model *m)
{
    uint64_t *now = m->value[m->batch + 1];
    memcpy(now, m->value[m->batch], sizeof m->value[0]);
    assert_int_equal(kv_batch_begin(kv, ++m->batch, &e), 0);
    unsigned remove = draw(&m->random) % 2 ? 7 : 2;
    for (int i = 0; i < 120; i++) {
        uint64_t key = draw(&m->random) % MODEL_KEYS;
        now[key] = draw(&m->random) % 10 < remove ? 0 : 1 + draw(&m->random) % 1000;
        change(kv, key, now[key]);
    }
}

static void snapshot_turn(struct kv *kv, struct model *m, uint32_t bits)
{
    unsigned i = (unsigned)(draw(&m->random) % MODEL_SNAPSHOTS);
    uint8_t digest[HASH_LEN], wanted[HASH_LEN];
    if (m->snapshot[i]) {
        kv_snapshot_digest(m->snapshot[i], digest);
        digest_of_model(bits, m->of[i], wanted);
        assert_memory_equal(digest, wanted, HASH_LEN);
        kv_snapshot_release(m->snapshot[i]);
        m->snapshot[i] = NULL;
        return;
    }
    memcpy(m->of[i], m->value[m->batch], sizeof m->of[i]);
    assert_int_equal(kv_snapshot_take(kv, &m->snapshot[i], &e), 0);
}

/* Another store of the same contents takes its place, with a past of its own. */
static void store_replace(struct kv *kv, struct model *m, uint32_t bits)
{
    struct kv *by = store(bits);
    struct kv_snapshot *old;
    const uint64_t *values = m->value[m->batch];
    assert_int_equal(kv_batch_begin(by, 1, &e), 0);
    for (uint64_t i = 0; i < MODEL_KEYS; i++) {
        if (i % 50 == 0) {
            assert_int_equal(kv_snapshot_take(by, &old, &e), 0);
            kv_snapshot_release(old);
        }
        if (values[i])
            change(by, i, values[i]);
    }
    kv_replace(kv, by, m->batch);
    m->committed = m->batch;
}

static void a_store_is_its_model_whatever_happens(void **state)
{
    (void)state;
    static const uint32_t bits[] = {0, 2, 5, 16};
    struct model *m = malloc(sizeof *m);
    uint8_t wanted[HASH_LEN];
    for (uint64_t seed = 1; seed < 25; seed++) {
        uint32_t b = bits[seed % 4];
        struct kv *kv = store(b);
        memset(m, 0, sizeof *m);
        m->random = seed;
        for (int step = 0; step < 60 && m->batch < MODEL_BATCHES; step++) {
            uint64_t what = draw(&m->random) % 100, back = m->batch - m->committed;
            if (what < 45) {
                batch_run(kv, m);
            } else if (what < 60) {
                m->batch -= back ? draw(&m->random) % (back + 1) : 0;
                assert_int_equal(kv_rollback(kv, m->batch, &e), 0);
            } else if (what < 70) {
                m->committed += back ? draw(&m->random) % (back + 1) : 0;
                kv_commit(kv, m->committed);
            } else if (what < 95) {
                snapshot_turn(kv, m, b);
            } else {
                store_replace(kv, m, b);
            }
            for (uint64_t i = 0; i < MODEL_KEYS; i += 7)
                assert_value(kv, i, m->value[m->batch][i]);
            if (step % 5 == 0) {
                digest_of_model(b, m->value[m->batch], wanted);
                assert_digest(kv, wanted);
            }
        }
        for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
            kv_snapshot_release(m->snapshot[i]);
        kv_destroy(kv);
    }
    free(m);
}

/* A store that takes another's place may have seen fewer snapshots than that. */
static void a_store_that_came_in_place_of_another_keeps_its_snapshots(void **state)
{
    (void)state;
    struct kv *kv = store(4), *by = filled(4, 50, 1);
    struct kv_snapshot *s;
    uint8_t digest[HASH_LEN], wanted[HASH_LEN];
    for (int i = 0; i < 10; i++)
        digest_of(by, wanted); /* takes one and gives it back */
    change(by, 3, 4);
    digest_of(by, wanted);
    change(by, 3, 5);
    change(by, 3, 4);
    kv_replace(kv, by, 1);
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    assert_int_equal(kv_batch_begin(kv, 2, &e), 0);
    change(kv, 3, 9);
    kv_snapshot_digest(s, digest);
    assert_memory_equal(digest, wanted, HASH_LEN);
    kv_snapshot_release(s);
    kv_destroy(kv);
}

/* ---- snapshots ---- */

static void a_snapshot_stays_as_it_was_taken(void **state)
{
    (void)state;
    enum { SNAPSHOTS = 5 };
    static const uint32_t bits[] = {0, 4, 16};
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        struct kv *kv = store(bits[b]);
        struct kv_snapshot *snapshots[SNAPSHOTS];
        uint8_t wanted[SNAPSHOTS][HASH_LEN], digest[HASH_LEN];
        uint64_t random = 8, s = 0;
        for (int i = 0; i < SNAPSHOTS; i++) {
            assert_int_equal(kv_batch_begin(kv, ++s, &e), 0);
            for (int k = 0; k < 500; k++)
                change(kv, draw(&random) % 600, draw(&random) % 3 ? draw(&random) % 70 : 0);
            digest_of(kv, wanted[i]);
            assert_int_equal(kv_snapshot_take(kv, &snapshots[i], &e), 0);
            /* Also what is taken back and done again. */
            assert_int_equal(kv_batch_begin(kv, ++s, &e), 0);
            for (int k = 0; k < 100; k++)
                change(kv, draw(&random) % 600, draw(&random) % 70);
            assert_int_equal(kv_rollback(kv, s - 1, &e), 0);
        }
        static const int order[SNAPSHOTS] = {2, 4, 0, 3, 1};
        for (int i = 0; i < SNAPSHOTS; i++) {
            kv_snapshot_digest(snapshots[order[i]], digest);
            assert_memory_equal(digest, wanted[order[i]], HASH_LEN);
            kv_snapshot_release(snapshots[order[i]]);
            assert_int_equal(kv_batch_begin(kv, ++s, &e), 0);
            for (int k = 0; k < 200; k++)
                change(kv, draw(&random) % 600, draw(&random) % 3 ? draw(&random) % 70 : 0);
        }
        kv_destroy(kv);
    }
}

struct digesting {
    struct kv_snapshot *snapshot;
    uint8_t digest[HASH_LEN];
};

static void *digest_thread(void *argument)
{
    struct digesting *d = argument;
    kv_snapshot_digest(d->snapshot, d->digest);
    kv_snapshot_release(d->snapshot);
    return NULL;
}

static void digests_are_made_while_the_store_goes_on(void **state)
{
    (void)state;
    enum { ROUNDS = 6 };
    struct kv *kv = filled(10, 4000, 0);
    struct digesting work[2 * ROUNDS];
    pthread_t threads[2 * ROUNDS];
    uint8_t wanted[ROUNDS][HASH_LEN];
    uint64_t random = 21, s = 1;
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < 2; k++) {
            assert_int_equal(kv_snapshot_take(kv, &work[2 * i + k].snapshot, &e), 0);
            assert_int_equal(
                pthread_create(&threads[2 * i + k], NULL, digest_thread, &work[2 * i + k]), 0);
        }
        digest_of(kv, wanted[i]);
        assert_int_equal(kv_batch_begin(kv, ++s, &e), 0);
        for (int k = 0; k < 2000; k++)
            change(kv, draw(&random) % 5000, draw(&random) % 4 ? draw(&random) % 70 : 0);
    }
    for (int i = 0; i < 2 * ROUNDS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_memory_equal(work[i].digest, wanted[i / 2], HASH_LEN);
    }
    kv_destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents_are_those_of_a_plain_table),
        cmocka_unit_test(equal_contents_have_equal_digests_whatever_the_order),
        cmocka_unit_test(a_digest_names_every_bit_of_the_contents),
        cmocka_unit_test(the_digest_of_few_pairs_is_as_the_format_says),
        cmocka_unit_test(a_bulk_load_gives_what_single_writes_give),
        cmocka_unit_test(flooded_buckets_hold_what_was_put),
        cmocka_unit_test(a_rollback_leaves_no_trace_of_the_batches_taken_back),
        cmocka_unit_test(batches_that_are_not_released_are_limited),
        cmocka_unit_test(a_transaction_sees_its_writes_and_nobody_else_does),
        cmocka_unit_test(a_write_set_is_hashed_in_the_order_of_keys),
        cmocka_unit_test(the_limits_of_a_transaction_hold),
        cmocka_unit_test(what_a_transaction_writes_over_takes_no_more_memory),
        cmocka_unit_test(a_store_is_its_model_whatever_happens),
        cmocka_unit_test(a_store_that_came_in_place_of_another_keeps_its_snapshots),
        cmocka_unit_test(a_snapshot_stays_as_it_was_taken),
        cmocka_unit_test(digests_are_made_while_the_store_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
