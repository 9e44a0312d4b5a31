/*
 * A log that gets no memory: whatever it was asked for is refused and changes nothing, and done
 * when it is asked for again. This program is linked with --wrap=malloc and --wrap=realloc.
 */
#define _GNU_SOURCE
#include "ledger_log_run.h"

static uint64_t allocations,
    refuse_at; /* refuse_at: this one and, if `all`, those after; 0: none */
static bool all;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static bool refused(void)
{
    allocations++;
    return refuse_at > 0 && (allocations == refuse_at || (all && allocations > refuse_at));
}

void *__wrap_malloc(size_t bytes)
{
    return refused() ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return refused() ? NULL : __real_realloc(memory, bytes);
}

/* The disk is none of the log's memory. */
static uint64_t disk_refuse_at;

static void memory_pause(void)
{
    disk_refuse_at = refuse_at;
    refuse_at = 0;
}

static void memory_resume(void)
{
    refuse_at = disk_refuse_at;
}

static int undisturbed_write(void *context, int file, uint64_t at, const void *data, size_t len,
                             struct error *why)
{
    uint64_t before = allocations;
    memory_pause();
    int rc = disk_write_bytes(context, file, at, data, len, why);
    memory_resume();
    allocations = before;
    return rc;
}

static int undisturbed_open(void *context, const char *name, bool create, struct error *why)
{
    uint64_t before = allocations;
    memory_pause();
    int rc = disk_open(context, name, create, why);
    memory_resume();
    allocations = before;
    return rc;
}

static int undisturbed_allocate(void *context, int file, uint64_t bytes, struct error *why)
{
    uint64_t before = allocations;
    memory_pause();
    int rc = disk_allocate(context, file, bytes, why);
    memory_resume();
    allocations = before;
    return rc;
}

static int open_undisturbed(struct run *r, struct disk *d)
{
    struct log_files files = disk_files(d);
    files.write = undisturbed_write;
    files.open = undisturbed_open;
    files.allocate = undisturbed_allocate;
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = PIPELINE,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true};
    memcpy(config.genesis, genesis, sizeof genesis);
    return ledger_log_open(&config, &r->log, &r->found, &e);
}

/* The same run, once for each allocation that it makes, and that one fails. */
static void every_refusal_is_orderly_and_the_next_try_succeeds(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    unsigned refusals = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        r->random = 77;
        assert_int_equal(open_undisturbed(r, d), 0);
        allocations = 0;
        refuse_at = nth;
        for (int i = 0; i < 200; i++) {
            uint64_t random = r->random;
            size_t count = r->count;
            int rc = step(r);
            if (rc == 0)
                continue;
            /* make_durable, which steps do, never fails for that. */
            if (rc != -ATOLL_ENOMEM && rc != -ATOLL_ELIMIT)
                fail_msg("allocation %" PRIu64 ": %s", nth, e.text);
            assert_int_equal(r->count, count);
            refusals++;
            r->random = random;
            assert_int_equal(step(r), 0);
        }
        reached = allocations >= nth;
        refuse_at = 0;
        assert_int_equal(make_durable(r), 0);
        assert_int_equal(r->durable, r->count);
        check_all(r);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        assert_true(r->found.clean && !r->found.corrupt);
        check_all(r);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    assert_true(refusals > 20);
    free(d);
    free(r);
}

/* With no memory at all for a while it refuses, and neither ends nor forgets. */
static void a_log_without_any_memory_waits_for_some(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(open_undisturbed(r, d), 0);
    while (r->end < 40)
        assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 100), 0);
    allocations = 0;
    refuse_at = 1;
    all = true;
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++)
        rc = append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 100);
    assert_int_equal(rc, -ATOLL_ENOMEM);
    for (int i = 0; i < 50; i++)
        assert_true(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 100) < 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, r->count);
    refuse_at = 0;
    all = false;
    for (int i = 0; i < 300; i++)
        assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 100), 0);
    assert_int_equal(make_durable(r), 0);
    check_all(r);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_is_orderly_and_the_next_try_succeeds),
        cmocka_unit_test(a_log_without_any_memory_waits_for_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
