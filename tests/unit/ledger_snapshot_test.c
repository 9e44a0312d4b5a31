/*
 * What a store's snapshots cost those who go on meanwhile: memory comes back bit by bit, and
 * hashing and cutting a state into chunks lets others have the processor in between. Counted, not
 * timed: calls of free (this program is linked with --wrap=free), calls of the pace.
 */
#include "ledger/kv/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BITS  12
#define PAIRS 30000u
#define AMONG 3000u /* objects that may be freed between two batches, when none came to wait */

static const uint8_t bucket_key[SIPHASH_KEY_LEN] = "public, as all";
static struct error e;
static uint64_t frees;

void __real_free(void *memory);
void __wrap_free(void *memory);

void __wrap_free(void *memory)
{
    frees++;
    __real_free(memory);
}

static struct kv *filled(void)
{
    struct kv *kv;
    assert_int_equal(kv_create(BITS, bucket_key, &kv, &e), 0);
    uint8_t value[200] = {0};
    for (uint32_t i = 0; i < PAIRS; i++)
        assert_int_equal(kv_preload(kv, KV_TABLE_USER, &i, 4, value, sizeof value, &e), 0);
    return kv;
}

/* Batch s changes every pair once. */
static void change_all(struct kv *kv, uint64_t s)
{
    uint8_t hash[HASH_LEN];
    assert_int_equal(kv_batch_begin(kv, s, &e), 0);
    for (uint32_t i = 0; i < PAIRS; i++) {
        uint64_t value[25] = {i + s};
        kv_transaction_begin(kv);
        assert_int_equal(kv_transaction_put(kv, KV_TABLE_USER, &i, 4, value, sizeof value, &e), 0);
        assert_int_equal(kv_transaction_commit(kv, hash, &e), 0);
    }
    kv_commit(kv, s);
}

static void what_only_an_old_snapshot_reached_is_freed_bit_by_bit(void **state)
{
    (void)state;
    struct kv *kv = filled();
    struct kv_snapshot *s;
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    change_all(kv, 1);
    /* What came to wait counts for the next batch; this one comes long after. */
    assert_int_equal(kv_batch_begin(kv, 2, &e), 0);
    kv_commit(kv, 2);
    kv_snapshot_release(s);
    uint64_t all = 0, last = UINT64_MAX;
    for (uint64_t batch = 3; last > 0; batch++) {
        uint64_t before = frees;
        assert_int_equal(kv_batch_begin(kv, batch, &e), 0);
        kv_commit(kv, batch);
        last = frees - before;
        all += last;
        assert_true(last <= AMONG);
        assert_true(batch < 1000);
    }
    /* All pages of the old state, and of them not everything at once. */
    assert_true(all >= 1u << BITS);
    kv_destroy(kv);
}

/* Taking snapshots and giving them back at once, as a store that is checkpointed does. */
static void the_memory_of_snapshots_comes_back_while_the_store_goes_on(void **state)
{
    (void)state;
    struct kv *kv = filled();
    struct kv_snapshot *s = NULL;
    for (uint64_t batch = 1; batch < 12; batch++) {
        uint64_t before = frees;
        kv_snapshot_release(s);
        assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
        change_all(kv, batch);
        /* As much comes back as was replaced. */
        if (batch > 2)
            assert_true(frees - before >= 1u << BITS);
    }
    kv_snapshot_release(s);
    kv_destroy(kv);
}

static void count(void *context)
{
    uint64_t *calls = context;
    ++*calls;
}

static void hashing_and_cutting_a_state_let_others_work_in_between(void **state)
{
    (void)state;
    struct kv *kv = filled();
    struct kv_snapshot *s;
    struct kv_checkpoint *c;
    uint64_t hashes = 0, cuts = 0;
    const struct kv_pace hash_pace = {count, &hashes}, cut_pace = {count, &cuts};
    assert_int_equal(kv_snapshot_take(kv, &s, &e), 0);
    kv_snapshot_hash(s, &hash_pace);
    /* Every one of the 256 branches two levels below the root is a piece of its own. */
    assert_int_equal(hashes, 256);
    assert_int_equal(kv_checkpoint_open(s, &cut_pace, &c, &e), 0);
    uint64_t opened = cuts;
    assert_true(opened >= 1 + 16); /* the root, and what hangs on it */
    /* … as long as it is opened; whoever asks for a chunk wants it. */
    struct buffer out = {0};
    for (uint32_t i = 0; i < kv_checkpoint_chunks(c); i++)
        assert_int_equal(kv_checkpoint_chunk(c, i, &out, &e), 0);
    assert_int_equal(cuts, opened);
    buffer_free(&out);
    kv_checkpoint_close(c);
    kv_destroy(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_only_an_old_snapshot_reached_is_freed_bit_by_bit),
        cmocka_unit_test(the_memory_of_snapshots_comes_back_while_the_store_goes_on),
        cmocka_unit_test(hashing_and_cutting_a_state_let_others_work_in_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
