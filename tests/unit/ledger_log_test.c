/*
 * The ledger's log: what it holds, and what is left of it when power, process or disk fail after
 * any operation of a scripted run.
 */
#define _GNU_SOURCE
#include "ledger_log_run.h"

static void records_come_back_in_order_after_a_clean_stop(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_true(r->found.fresh);
    assert_int_equal(r->found.starts, 1);
    for (int life = 2; life < 6; life++) {
        for (int i = 0; i < 250; i++)
            assert_int_equal(step(r), 0);
        check_ledger(r->log, r, r->count);
        check_all(r);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        r->durable = r->count;
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        assert_true(r->found.clean && !r->found.fresh && !r->found.corrupt);
        assert_int_equal(r->found.starts, life);
        memset(r->lsns, 0, sizeof r->lsns);
        check_all(r);
        assert_int_equal(ledger_log_end(r->log), r->end);
    }
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

/* The run of a seed, with the power gone at an operation (0: never). True: it came to its end. */
static bool scripted(struct run *r, struct disk *d, enum ledger_log_mode mode, uint64_t fail_at)
{
    d->fail_at = fail_at;
    int rc = run_open(r, d, mode, "m");
    for (int i = 0; i < 220 && rc == 0; i++)
        rc = step(r);
    if (r->log)
        ledger_log_close(r->log, false, &e);
    r->log = NULL;
    return rc == 0;
}

static void cut_after_every_operation(enum disk_cut cut)
{
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    bool whole = false;
    for (uint64_t fail_at = 1; !whole; fail_at++) {
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        d->random = fail_at;
        r->random = 42 + fail_at % 3;
        whole = scripted(r, d, LEDGER_LOG_STRICT, fail_at);
        disk_restart(d, cut);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        assert_false(r->found.clean);
        /* Only what reached the disk out of order can look like damage. */
        if (cut != DISK_CUT_SECTORS)
            assert_false(r->found.corrupt);
        go_on(r, d, check_all(r));
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    free(d);
    free(r);
}

static void a_killed_process_loses_nothing_durable(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_KILLED);
}

static void a_power_cut_leaves_a_prefix(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_PREFIX);
}

static void a_power_cut_loses_all_that_was_not_synchronised(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_NOTHING);
}

static void a_power_cut_leaves_any_sectors(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_SECTORS);
}

/* Opening itself is cut off, again and again. */
static void a_cut_during_recovery_is_recovered_from(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (uint64_t seed = 1; seed < 60; seed++) {
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        d->random = seed;
        r->random = seed;
        scripted(r, d, LEDGER_LOG_STRICT, 100 + seed * 7);
        disk_restart(d, seed % 2 ? DISK_CUT_SECTORS : DISK_CUT_PREFIX);
        for (uint64_t again = 1; again < 12; again++) {
            d->fail_at = d->operations + again;
            if (run_open(r, d, LEDGER_LOG_STRICT, "m") == 0)
                ledger_log_close(r->log, false, &e);
            disk_restart(d, again % 2 ? DISK_CUT_SECTORS : DISK_CUT_NOTHING);
        }
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        go_on(r, d, check_all(r));
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    free(d);
    free(r);
}

static void a_full_disk_refuses_records_and_keeps_the_rest(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    d->room = 10 * SEGMENT_SIZE;
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    int rc = 0;
    for (int i = 0; i < 2000 && rc == 0; i++)
        rc = append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400);
    assert_int_equal(rc, -ATOLL_ELIMIT);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400), -ATOLL_ELIMIT);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, r->count);
    check_ledger(r->log, r, r->count);
    /* With room again it goes on. */
    d->room = 0;
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400), 0);
    assert_int_equal(make_durable(r), 0);
    check_ledger(r->log, r, r->count);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

static void a_failed_sync_is_final(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
    d->sync_fails_at = d->syncs + 1;
    assert_int_equal(make_durable(r), -ATOLL_EIO);
    assert_int_equal(r->durable, 0);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, 1, 50), -ATOLL_EIO);
    assert_int_equal(make_durable(r), -ATOLL_EIO);
    assert_int_equal(r->durable, 0);
    assert_int_equal(ledger_log_close(r->log, true, &e), -ATOLL_EIO);
    disk_restart(d, DISK_CUT_NOTHING);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_false(r->found.clean);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

static void async_mode_synchronises_view_changes_only(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_ASYNC, "m"), 0);
    uint64_t syncs = d->syncs;
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
    assert_int_equal(append(r, LEDGER_RECORD_CERTIFICATE, 0, 0, 50), 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, 2);
    assert_int_equal(d->syncs, syncs);
    assert_int_equal(append(r, LEDGER_RECORD_VIEW_CHANGE, 0, 0, 50), 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, 3);
    assert_int_equal(d->syncs, syncs + 1);
    ledger_log_close(r->log, false, &e);
    disk_free(d);
    free(d);
    free(r);
}

static void only_an_unclean_stop_of_the_machine_in_async_mode_quarantines(void **state)
{
    (void)state;
    static const struct {
        enum ledger_log_mode mode;
        bool orderly;
        const char *machine;
        bool quarantine;
    } cases[] = {
        {LEDGER_LOG_ASYNC, false, "other", true},
        {LEDGER_LOG_ASYNC, false, "m", false},
        {LEDGER_LOG_ASYNC, true, "other", false},
        {LEDGER_LOG_STRICT, false, "other", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run *r = calloc(1, sizeof *r);
        struct disk *d = calloc(1, sizeof *d);
        assert_int_equal(run_open(r, d, cases[i].mode, "m"), 0);
        assert_false(r->found.quarantine);
        assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
        assert_int_equal(make_durable(r), 0);
        ledger_log_close(r->log, cases[i].orderly, &e);
        for (int again = 0; again < 2; again++) {
            /* It stays until the replica has rejoined, whatever the later stops were like. */
            assert_int_equal(run_open(r, d, cases[i].mode, cases[i].machine), 0);
            assert_int_equal(r->found.quarantine, cases[i].quarantine);
            if (again == 1)
                assert_int_equal(ledger_log_rejoined(r->log, &e), 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        }
        assert_int_equal(run_open(r, d, cases[i].mode, cases[i].machine), 0);
        assert_false(r->found.quarantine);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
        free(d);
        free(r);
    }
}

static void a_log_of_another_ledger_is_told_from_a_damaged_one(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    struct log_files files = disk_files(d);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = PIPELINE,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true,
                                       .genesis = "another service"};
    for (int read_only = 0; read_only < 2; read_only++) {
        config.read_only = read_only;
        assert_int_equal(ledger_log_open(&config, &r->log, &r->found, &e), -ATOLL_EINVAL);
        assert_non_null(strstr(e.text, "of another ledger"));
    }
    /* And nothing has happened to it. */
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_true(r->found.clean);
    check_ledger(r->log, r, r->count);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_order_after_a_clean_stop),
        cmocka_unit_test(a_killed_process_loses_nothing_durable),
        cmocka_unit_test(a_power_cut_leaves_a_prefix),
        cmocka_unit_test(a_power_cut_loses_all_that_was_not_synchronised),
        cmocka_unit_test(a_power_cut_leaves_any_sectors),
        cmocka_unit_test(a_cut_during_recovery_is_recovered_from),
        cmocka_unit_test(a_full_disk_refuses_records_and_keeps_the_rest),
        cmocka_unit_test(a_failed_sync_is_final),
        cmocka_unit_test(async_mode_synchronises_view_changes_only),
        cmocka_unit_test(only_an_unclean_stop_of_the_machine_in_async_mode_quarantines),
        cmocka_unit_test(a_log_of_another_ledger_is_told_from_a_damaged_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
