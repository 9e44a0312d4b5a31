/* The simulator itself: its clock, network, disks and the linearizability checker. */
#include "bank.h"
#include "disk.h"
#include "ledger/kv/procedure.h"
#include "ledger/kv/smallbank.h"
#include "linearize.h"
#include "network.h"
#include "signature.h"
#include "table.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- the world ---- */

struct ticks {
    uint64_t at[8];
    size_t count;
    struct sim_world *world;
};

static void tick(void *ctx, void *payload)
{
    struct ticks *t = ctx;

    (void)payload;
    t->at[t->count++] = t->world->now_us;
}

static void events_run_in_the_order_of_time_and_then_of_planning(void **state)
{
    struct sim_world world;
    struct ticks ticks = {.world = &world};
    static const uint64_t delay[] = {50, 10, 30, 10, 0};

    (void)state;
    sim_world_open(&world, 1, false);
    for (size_t i = 0; i < 5; i++)
        sim_world_after(&world, delay[i], tick, &ticks, NULL);
    sim_world_run(&world, 40);
    assert_int_equal(ticks.count, 4);
    assert_int_equal(ticks.at[0], 0);
    assert_int_equal(ticks.at[1], 10);
    assert_int_equal(ticks.at[3], 30);
    assert_int_equal(world.now_us, 40);
    sim_world_run(&world, 1000);
    assert_int_equal(ticks.at[4], 50);
    sim_world_close(&world);
}

static void a_violation_stops_the_world_and_the_first_is_kept(void **state)
{
    struct sim_world world;
    struct ticks ticks = {.world = &world};

    (void)state;
    sim_world_open(&world, 1, false);
    sim_world_after(&world, 5, tick, &ticks, NULL);
    sim_world_violated(&world, "the %s", "first");
    sim_world_violated(&world, "the second");
    sim_world_run(&world, 100);
    assert_int_equal(ticks.count, 0);
    assert_string_equal(world.violation, "the first");
    sim_world_close(&world);
}

static void the_log_hash_tells_seeds_and_events_apart(void **state)
{
    struct sim_world a, b;

    (void)state;
    sim_world_open(&a, 1, false);
    sim_world_open(&b, 1, false);
    sim_world_log(&a, "send", 1, 2, 3);
    sim_world_log(&b, "send", 1, 2, 3);
    assert_memory_equal(a.log_hash, b.log_hash, sizeof a.log_hash);
    sim_world_log(&a, "send", 1, 2, 3);
    sim_world_log(&b, "send", 1, 2, 4);
    assert_memory_not_equal(a.log_hash, b.log_hash, sizeof a.log_hash);
    sim_world_open(&b, 2, false);
    assert_true(sim_random_word(&a.random[0]) != sim_random_word(&b.random[0]));
    assert_true(sim_random_word(&a.random[0]) != sim_random_word(&a.random[1]));
    sim_world_close(&a);
    sim_world_close(&b);
}

/* ---- the network ---- */

struct arrivals {
    uint8_t first[4096];
    size_t count;
};

static void arrive(void *ctx, unsigned from, unsigned to, const uint8_t *bytes, size_t len)
{
    struct arrivals *a = ctx;

    (void)from;
    (void)to;
    assert_int_equal(len, 1);
    a->first[a->count++] = bytes[0];
}

/* Sends 0 … 199 from 0 to 1 and says how many of those that arrived come before a smaller one. */
static size_t network_pass(struct sim_network *n, struct arrivals *arrivals)
{
    size_t inversions = 0;

    arrivals->count = 0;
    for (unsigned i = 0; i < 200; i++) {
        uint8_t byte = (uint8_t)i;

        sim_network_send(n, 0, 1, &byte, 1);
    }
    sim_world_run(n->world, n->world->now_us + 10000000);
    for (size_t i = 1; i < arrivals->count; i++)
        inversions += arrivals->first[i] < arrivals->first[i - 1];
    return inversions;
}

static void links_keep_order_and_lose_nothing_unless_told_to(void **state)
{
    static struct sim_network network;
    struct sim_world world;
    struct arrivals arrivals = {0};

    (void)state;
    sim_world_open(&world, 7, false);
    sim_network_open(&network, &world, 3, 100, 50000, arrive, &arrivals);
    assert_int_equal(network_pass(&network, &arrivals), 0);
    assert_int_equal(arrivals.count, 200);

    sim_network_faults(&network, 0, 0, 500);
    assert_true(network_pass(&network, &arrivals) > 10);
    assert_int_equal(arrivals.count, 200);

    sim_network_faults(&network, 300, 0, 0);
    assert_int_equal(network_pass(&network, &arrivals), 0);
    assert_in_range(arrivals.count, 100, 180);

    sim_network_faults(&network, 0, 300, 0);
    network_pass(&network, &arrivals);
    assert_in_range(arrivals.count, 220, 320);
    sim_world_close(&world);
}

static void a_partition_cuts_both_ways_or_one_and_heals(void **state)
{
    static struct sim_network network;
    struct sim_world world;
    struct arrivals arrivals = {0};

    (void)state;
    sim_world_open(&world, 7, false);
    sim_network_open(&network, &world, 3, 100, 200, arrive, &arrivals);
    sim_network_partition(&network, 1, true);
    network_pass(&network, &arrivals);
    assert_int_equal(arrivals.count, 0);
    sim_network_heal(&network);
    sim_network_partition(&network, 2, false); /* 1 cannot send; 0 still reaches it */
    network_pass(&network, &arrivals);
    assert_int_equal(arrivals.count, 200);
    assert_true(network.link[1][0].cut && network.link[1][2].cut && !network.link[2][1].cut);
    sim_network_heal(&network);
    sim_network_slow(&network, 1, 1000);
    for (unsigned i = 0; i < 1; i++)
        sim_network_send(&network, 0, 1, (const uint8_t *)"x", 1);
    arrivals.count = 0;
    sim_world_run(&world, world.now_us + 90000);
    assert_int_equal(arrivals.count, 0);
    sim_world_run(&world, world.now_us + 200000);
    assert_int_equal(arrivals.count, 1);
    sim_world_close(&world);
}

/* ---- the disk ---- */

static void a_power_cut_leaves_what_is_durable_and_a_prefix_of_each_file(void **state)
{
    struct sim_world world;
    bool whole = false, bare = false, apart = false;

    (void)state;
    sim_world_open(&world, 3, false);
    for (unsigned round = 0; round < 200; round++) {
        struct sim_disk disk;
        uint64_t last[SIM_FILE_COUNT] = {0, 0};

        sim_disk_open(&disk, &world, 1, 2);
        for (unsigned i = 1; i <= 12; i++)
            assert_int_equal(sim_disk_append(&disk, i % 2, 0, 0, i, (const uint8_t *)"abc", 3), i);
        sim_disk_synced(&disk, 4);
        sim_disk_power_cut(&disk);
        for (size_t i = 0; i < disk.count; i++) {
            struct sim_record *r = &disk.record[i];

            /* No gap: every other record is of this file. */
            assert_int_equal(r->lsn, last[r->file] ? last[r->file] + 2 : r->file ? 1 : 2);
            assert_memory_equal(r->bytes, "abc", 3);
            last[r->file] = r->lsn;
        }
        assert_true(last[0] >= 4 && last[1] >= 3);
        whole |= disk.count == 12;
        bare |= disk.count == 4;
        apart |= last[0] == 12 && last[1] < 9;
        assert_int_equal(sim_disk_append(&disk, 0, 0, 0, 0, NULL, 0), 13);
        sim_disk_close(&disk);
    }
    assert_true(whole && bare && apart);
    sim_world_close(&world);
}

static void a_full_disk_takes_nothing_and_rot_strikes_durable_records_only(void **state)
{
    struct sim_world world;
    struct sim_disk disk;

    (void)state;
    sim_world_open(&world, 3, false);
    sim_disk_open(&disk, &world, 1, 2);
    disk.records_max = 3;
    for (unsigned i = 0; i < 3; i++)
        assert_true(sim_disk_append(&disk, SIM_FILE_SEGMENT, 0, 0, i, NULL, 0) != 0);
    assert_int_equal(sim_disk_append(&disk, SIM_FILE_SEGMENT, 0, 0, 9, NULL, 0), 0);
    assert_null(sim_disk_rot(&disk, SIM_FILE_SEGMENT, 0));
    sim_disk_synced(&disk, 1);
    assert_null(sim_disk_rot(&disk, SIM_FILE_SEGMENT, 1));
    assert_int_equal(sim_disk_rot(&disk, SIM_FILE_SEGMENT, 0)->lsn, 1);
    assert_null(sim_disk_rot(&disk, SIM_FILE_VOTE, 0));
    sim_disk_close(&disk);
    sim_world_close(&world);
}

/* ---- linearizability: a register per group ---- */

struct access {
    bool write;
    int64_t value;
};

static void register_initial(void *ctx, unsigned group, void *state)
{
    (void)ctx;
    (void)group;
    memset(state, 0, sizeof(int64_t));
}

static bool register_step(void *ctx, void *state, const void *call, bool answered)
{
    const struct access *a = call;
    int64_t now;

    (void)ctx;
    if (a->write) {
        memcpy(state, &a->value, sizeof a->value);
        return true;
    }
    memcpy(&now, state, sizeof now);
    return !answered || now == a->value;
}

static const struct sim_model register_model = {
    .state_len = sizeof(int64_t), .initial = register_initial, .step = register_step};

#define WRITE(from, to, v)                                                        \
    {                                                                             \
        .invoked_us = (from), .returned_us = (to), .call = &(const struct access) \
        {                                                                         \
            true, (v)                                                             \
        }                                                                         \
    }
#define READ(from, to, v)                                                         \
    {                                                                             \
        .invoked_us = (from), .returned_us = (to), .call = &(const struct access) \
        {                                                                         \
            false, (v)                                                            \
        }                                                                         \
    }

static enum sim_linearizable judge(const struct sim_operation *operations, size_t count)
{
    unsigned group;

    return sim_linearize(operations, count, &register_model, 1000000, &group);
}

#define JUDGE(...)                                     \
    judge((const struct sim_operation[]){__VA_ARGS__}, \
          sizeof((const struct sim_operation[]){__VA_ARGS__}) / sizeof(struct sim_operation))

static void good_histories_are_found_linearizable(void **state)
{
    (void)state;
    assert_int_equal(JUDGE(WRITE(0, 10, 1), READ(11, 12, 1)), SIM_LINEARIZABLE);
    /* A read beside a write may see it or not. */
    assert_int_equal(JUDGE(WRITE(0, 10, 1), READ(2, 3, 0), READ(4, 5, 1)), SIM_LINEARIZABLE);
    /* Later in the list, earlier in effect. */
    assert_int_equal(JUDGE(WRITE(0, 100, 1), WRITE(0, 100, 2), READ(10, 20, 2), READ(30, 40, 1)),
                     SIM_LINEARIZABLE);
    /* An unanswered write may have happened late, or never. */
    assert_int_equal(JUDGE(WRITE(0, SIM_NEVER, 1), READ(50, 60, 0), READ(70, 80, 1)),
                     SIM_LINEARIZABLE);
    assert_int_equal(JUDGE(WRITE(0, SIM_NEVER, 1), READ(50, 60, 0)), SIM_LINEARIZABLE);
}

static void bad_histories_are_found_out(void **state)
{
    (void)state;
    /* Stale. */
    assert_int_equal(JUDGE(WRITE(0, 10, 1), READ(11, 12, 0)), SIM_NOT_LINEARIZABLE);
    /* Seen, then unseen. */
    assert_int_equal(JUDGE(WRITE(0, 100, 1), READ(10, 20, 1), READ(30, 40, 0)),
                     SIM_NOT_LINEARIZABLE);
    /* Never written. */
    assert_int_equal(JUDGE(WRITE(0, 10, 1), READ(5, 12, 7)), SIM_NOT_LINEARIZABLE);
    /* Two readers disagree on the order. */
    assert_int_equal(JUDGE(WRITE(0, 100, 1), WRITE(0, 100, 2), READ(10, 20, 1), READ(30, 40, 2),
                           READ(50, 60, 1)),
                     SIM_NOT_LINEARIZABLE);
    /* An effect before its cause. */
    assert_int_equal(JUDGE(READ(0, 5, 1), WRITE(6, SIM_NEVER, 1)), SIM_NOT_LINEARIZABLE);
}

/* Operations take effect at an instant drawn within their interval: linearizable by construction.
 * One answer altered to a value that was never there is not. */
static void random_histories_are_judged_rightly(void **state)
{
    enum { COUNT = 60, GROUPS = 3 };

    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_operation operation[COUNT];
        struct access access[COUNT];
        int64_t now[GROUPS] = {0};
        struct sim_random random;
        unsigned group;

        sim_random_seed(&random, seed, 0);
        for (unsigned i = 0; i < COUNT; i++) {
            uint64_t effect = 10 * (i + 1);

            group = (unsigned)sim_random_below(&random, GROUPS);
            access[i].write = sim_random_chance(&random, 500);
            access[i].value = access[i].write ? (now[group] = i + 1) : now[group];
            operation[i] = (struct sim_operation){
                .invoked_us = effect - sim_random_below(&random, effect < 40 ? effect : 40),
                .returned_us = effect + sim_random_below(&random, 40),
                .group = group,
                .call = &access[i],
            };
        }
        assert_int_equal(sim_linearize(operation, COUNT, &register_model, 1000000, &group),
                         SIM_LINEARIZABLE);
        for (unsigned i = 0; i < COUNT; i++)
            if (!access[i].write) {
                access[i].value = -1;
                assert_int_equal(sim_linearize(operation, COUNT, &register_model, 1000000, &group),
                                 SIM_NOT_LINEARIZABLE);
                assert_int_equal(group, operation[i].group);
                break;
            }
    }
}

static void a_search_beyond_its_budget_is_undecided(void **state)
{
    const struct sim_operation operation[] = {WRITE(0, 10, 1), READ(11, 12, 1)};
    unsigned group;

    (void)state;
    assert_int_equal(sim_linearize(operation, 2, &register_model, 1, &group), SIM_UNDECIDED);
}

static void a_claimed_order_is_believed_only_when_it_holds(void **state)
{
    struct sim_operation operation[] = {WRITE(0, 100, 1), WRITE(0, 100, 2), READ(10, 20, 2),
                                        READ(110, 120, 1)};
    unsigned group;

    (void)state;
    /* It holds: no search is needed. */
    operation[1].hint = 1;
    operation[2].hint = 2;
    operation[0].hint = 3;
    operation[3].hint = 4;
    assert_int_equal(sim_linearize(operation, 4, &register_model, 0, &group), SIM_LINEARIZABLE);
    /* Another order is right: the search finds it. */
    operation[0].hint = 1;
    operation[1].hint = 3;
    assert_int_equal(sim_linearize(operation, 4, &register_model, 0, &group), SIM_UNDECIDED);
    assert_int_equal(sim_linearize(operation, 4, &register_model, 1000, &group), SIM_LINEARIZABLE);
    /* An order that gives all answers, against real time. */
    operation[3] = (struct sim_operation)READ(2, 5, 1);
    operation[0] = (struct sim_operation)WRITE(6, 100, 1);
    operation[1].hint = 1;
    operation[2].hint = 2;
    operation[0].hint = 3;
    operation[3].hint = 4;
    assert_int_equal(sim_linearize(operation, 4, &register_model, 1000, &group),
                     SIM_NOT_LINEARIZABLE);
}

/* ---- signatures ---- */

static void signatures_fit_their_key_and_hash_only_in_both_modes(void **state)
{
    (void)state;
    for (int crypto = SIM_CRYPTO_FAST; crypto <= SIM_CRYPTO_REAL; crypto++) {
        struct sim_signatures s;
        uint8_t hash[32] = {1}, one[64], same[64], other[64];
        const uint8_t *key = sim_key(0)->public_key;

        sim_signatures_open(&s, (enum sim_crypto)crypto, 5);
        sim_sign(&s, sim_key(0), hash, one);
        sim_sign(&s, sim_key(0), hash, same);
        sim_sign_again(&s, sim_key(0), hash, other);
        assert_memory_equal(one, same, 64);
        assert_memory_not_equal(one, other, 64);
        assert_true(sim_verify(&s, key, hash, one) && sim_verify(&s, key, hash, other));
        assert_false(sim_verify(&s, sim_key(1)->public_key, hash, one));
        hash[31] ^= 1;
        assert_false(sim_verify(&s, key, hash, one) || sim_verify(&s, key, hash, other));
        hash[31] ^= 1;
        one[3] ^= 1;
        other[40] ^= 1;
        assert_false(sim_verify(&s, key, hash, one) || sim_verify(&s, key, hash, other));
    }
}

/* ---- the oracle ---- */

/* Runs a call in the ledger's own SmallBank. */
static void bank_execute(struct procedure_table *table, struct kv *kv, uint64_t index,
                         struct sim_bank_call *call)
{
    static const uint8_t client[32];
    struct procedure_call procedure = {.proc = call->proc,
                                       .args = call->args,
                                       .args_len = call->args_len,
                                       .client = client,
                                       .index = index};
    struct procedure_result result;
    struct error e;

    assert_int_equal(kv_batch_begin(kv, index, &e), 0);
    assert_int_equal(procedure_execute(table, &procedure, kv, &result, &e), 0);
    kv_commit(kv, index);
    call->status = result.status;
    call->output_len = (uint32_t)result.output_len;
    assert_true(result.output_len <= sizeof call->output);
    memcpy(call->output, result.output, result.output_len);
}

static void the_oracle_and_the_ledgers_smallbank_agree(void **state)
{
    enum { GROUPS = 3, CALLS = 20000 };
    static const uint8_t bucket_key[SIPHASH_KEY_LEN];
    uint8_t initial[SMALLBANK_STATE_LEN];
    struct procedure_table *table;
    struct sim_random random;
    struct sim_bank bank;
    struct error e;
    struct kv *kv;
    unsigned seen = 0;

    (void)state;
    smallbank_state_encode((uint64_t)(SIM_BANK_SLOTS - 1) * GROUPS, SIM_BANK_SAVINGS,
                           SIM_BANK_CHECKING, initial);
    assert_int_equal(kv_create(4, bucket_key, &kv, &e), 0);
    assert_int_equal(procedure_table_create(PROCEDURE_FAMILY_SMALLBANK, &table, &e), 0);
    assert_int_equal(procedure_preload(PROCEDURE_FAMILY_SMALLBANK, initial, sizeof initial, kv, &e),
                     0);
    sim_bank_open(&bank, GROUPS);
    sim_random_seed(&random, 9, 0);
    for (uint64_t i = 0; i < CALLS; i++) {
        struct sim_bank_call call, mine;
        int64_t before = sim_bank_total(&bank);
        unsigned group;

        sim_bank_draw(&call, &random, GROUPS, &group);
        mine = call;
        bank_execute(table, kv, i + 1, &call);
        sim_bank_apply(&bank, &mine);
        assert_int_equal(call.status, mine.status);
        assert_int_equal(call.output_len, mine.output_len);
        assert_memory_equal(call.output, mine.output, mine.output_len);
        assert_int_equal(sim_bank_total(&bank), before + sim_bank_brought(&mine));
        seen |= 1u << (call.proc * 4 + (unsigned)call.status % 4);
        if (i % 500 == 0)
            assert_int_equal(smallbank_total(kv), sim_bank_total(&bank));
    }
    /* Every procedure succeeded once, and failed for want of money or of an account. */
    for (unsigned proc = 1; proc <= 7; proc++)
        assert_true(seen >> (proc * 4) & 1);
    assert_true(seen >> (3 * 4 + SMALLBANK_NO_ACCOUNT) & 1);
    assert_true(seen >> (5 * 4 + SMALLBANK_INSUFFICIENT) & 1);
    procedure_table_destroy(table);
    kv_destroy(kv);
}

static void a_lost_payment_makes_a_history_unlinearizable(void **state)
{
    struct sim_model model = sim_bank_model();
    struct sim_bank bank;
    struct sim_bank_call call[40];
    struct sim_operation operation[40];
    struct sim_random random;
    unsigned group;

    (void)state;
    sim_bank_open(&bank, 1);
    sim_random_seed(&random, 4, 0);
    for (unsigned i = 0; i < 40; i++) {
        sim_bank_draw(&call[i], &random, 1, &group);
        sim_bank_apply(&bank, &call[i]);
        operation[i] = (struct sim_operation){
            .invoked_us = 10 * i, .returned_us = 10 * i + 15, .call = &call[i]};
    }
    assert_int_equal(sim_linearize(operation, 40, &model, 1000000, &group), SIM_LINEARIZABLE);
    for (unsigned i = 0; i < 40; i++)
        if (call[i].output_len && call[i].status == 0 && call[i].proc != SMALLBANK_BALANCE) {
            call[i].output[0] ^= 1;
            break;
        }
    assert_int_equal(sim_linearize(operation, 40, &model, 1000000, &group), SIM_NOT_LINEARIZABLE);
}

static void the_table_keeps_what_was_put(void **state)
{
    struct sim_table table = {.value_len = sizeof(uint64_t)};
    struct sim_random random;
    uint8_t key[1000][32];
    uint64_t *value;
    bool fresh;

    (void)state;
    sim_random_seed(&random, 1, 0);
    for (uint64_t i = 0; i < 1000; i++) {
        sim_random_fill(&random, key[i], 32);
        assert_null(sim_table_get(&table, key[i]));
        value = sim_table_put(&table, key[i], &fresh);
        assert_true(fresh && *value == 0);
        *value = i;
    }
    for (uint64_t i = 0; i < 1000; i++) {
        value = sim_table_put(&table, key[i], &fresh);
        assert_true(!fresh && *value == i);
    }
    sim_table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_run_in_the_order_of_time_and_then_of_planning),
        cmocka_unit_test(a_violation_stops_the_world_and_the_first_is_kept),
        cmocka_unit_test(the_log_hash_tells_seeds_and_events_apart),
        cmocka_unit_test(links_keep_order_and_lose_nothing_unless_told_to),
        cmocka_unit_test(a_partition_cuts_both_ways_or_one_and_heals),
        cmocka_unit_test(a_power_cut_leaves_what_is_durable_and_a_prefix_of_each_file),
        cmocka_unit_test(a_full_disk_takes_nothing_and_rot_strikes_durable_records_only),
        cmocka_unit_test(good_histories_are_found_linearizable),
        cmocka_unit_test(bad_histories_are_found_out),
        cmocka_unit_test(random_histories_are_judged_rightly),
        cmocka_unit_test(a_search_beyond_its_budget_is_undecided),
        cmocka_unit_test(a_claimed_order_is_believed_only_when_it_holds),
        cmocka_unit_test(the_oracle_and_the_ledgers_smallbank_agree),
        cmocka_unit_test(a_lost_payment_makes_a_history_unlinearizable),
        cmocka_unit_test(the_table_keeps_what_was_put),
        cmocka_unit_test(signatures_fit_their_key_and_hash_only_in_both_modes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
