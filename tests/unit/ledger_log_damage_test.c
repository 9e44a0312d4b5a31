/*
 * A log of which something was spoilt or lost while nobody used it: it never forgets in silence.
 */
#define _GNU_SOURCE
#include "ledger_log_run.h"

static void a_flipped_bit_never_shortens_the_log_in_silence(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    unsigned votes = 0, damaged = 0, harmless = 0;
    for (uint64_t seed = 1; seed < 1200; seed++) {
        static struct check c;
        closed_log(r, d, seed % 4);
        uint64_t random = seed;
        struct disk_file *f;
        do
            f = &d->files[draw(&random) % (uint64_t)d->file_count];
        while (!f->used || f->now.len == 0);
        uint64_t bit = draw(&random) % (8 * f->now.len);
        f->now.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        f->durable.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bool segment = strncmp(f->name, "segment-", 8) == 0;
        int rc = run_open(r, d, LEDGER_LOG_STRICT, "m");
        if (rc < 0)
            fail_msg("%s: %s", f->name, e.text);
        if (r->found.votes_damaged) {
            /* What others do not have: they have to be beyond it. */
            assert_true(r->found.quarantine && !r->found.corrupt && !segment);
            check_ledger(r->log, r, r->count);
            votes++;
        } else if (r->found.corrupt) {
            assert_true(segment);
            assert_int_equal(r->found.missing, ledger_log_end(r->log));
            memset(&c, 0, sizeof c);
            c.r = r;
            assert_int_equal(ledger_log_replay(r->log, 0, check_visit, &c, &e), 0);
            check_votes(&c, r->durable);
            /* The marks of what was signed survive, but for one that is itself damaged. */
            uint64_t last = 0, before = 0;
            for (size_t i = 0; i < r->count; i++)
                if (r->records[i].kind == LEDGER_RECORD_SIGNED) {
                    before = last;
                    last = r->records[i].seed;
                }
            assert_true(c.signed_seqno >= before);
            /* … and then nothing is signed before it is known that nothing is signed twice. */
            assert_true(c.signed_seqno >= last || r->found.quarantine);
            check_ledger(r->log, r, c.next);
            damaged++;
        } else {
            check_all(r);
            assert_int_equal(ledger_log_end(r->log), r->end);
            harmless++;
        }
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    assert_true(votes > 5 && damaged > 100 && harmless > 100);
    free(d);
    free(r);
}

/* Segments are cut off, one after the other, or gone. */
static void lost_segments_come_from_others_and_silence_the_replica(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (uint64_t serial = 0; serial < 4; serial++) {
        for (int gone = 0; gone < 2; gone++) {
            closed_log(r, d, 3);
            uint64_t last = 0;
            for (int i = 0; i < d->file_count; i++) {
                uint64_t s = 0, position = 0;
                struct disk_file *f = &d->files[i];
                if (!f->used ||
                    sscanf(f->name, "segment-%8" SCNu64 "-%20" SCNu64, &s, &position) < 2)
                    continue;
                last = s > last ? s : last;
                if (serial > 0 && s != serial)
                    continue;
                if (gone)
                    f->used = false; /* serial 0: all of them */
                else
                    f->now.len = f->durable.len = 9000;
            }
            assert_true(last >= 4);
            if (run_open(r, d, LEDGER_LOG_STRICT, "m"))
                fail_msg("segment %d: %s", (int)serial, e.text);
            assert_true(r->found.corrupt);
            assert_int_equal(r->found.missing, ledger_log_end(r->log));
            assert_true(r->found.quarantine == (serial == 0 || serial == last));
            if (serial <= 1)
                assert_int_equal(ledger_log_end(r->log), 0);
            /* It goes on, and knows of it until it has rejoined. */
            uint64_t lsn;
            struct slice part = slice_of((const uint8_t *)"genesis", 7);
            if (serial <= 1)
                assert_int_equal(ledger_log_append(r->log, LEDGER_RECORD_ENTRY,
                                                   LEDGER_ENTRY_GENESIS, 0, NULL, &part, 1, &lsn,
                                                   &e),
                                 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
            disk_restart(d, DISK_CUT_NOTHING);
            assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
            assert_false(r->found.corrupt);
            assert_true(r->found.quarantine == (serial == 0 || serial == last));
            assert_int_equal(ledger_log_rejoined(r->log, &e), 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
            disk_free(d);
        }
    }
    free(d);
    free(r);
}

static void old_segments_are_believed_and_found_out_when_they_are_read(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    unsigned found = 0;
    for (uint64_t seed = 1; seed < 200; seed++) {
        closed_log(r, d, seed % 4);
        assert_int_equal(run_open_from(r, d, LEDGER_LOG_STRICT, "m", UINT64_MAX), 0);
        assert_true(r->found.clean && !r->found.corrupt);
        check_all(r);
        assert_int_equal(ledger_log_end(r->log), r->end);
        go_on(r, d, r->count);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
        /* Entries only, and a bit of the first segment, but for what opening looks at. */
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        for (int i = 0; i < 150; i++)
            assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 300), 0);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        uint64_t random = seed;
        struct disk_file *f = NULL;
        for (int i = 0; i < d->file_count; i++)
            if (d->files[i].used && strncmp(d->files[i].name, "segment-00000001", 16) == 0)
                f = &d->files[i];
        assert_non_null(f);
        uint64_t bit = 8 * 4096 + draw(&random) % (8ull * 6000);
        f->now.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(run_open_from(r, d, LEDGER_LOG_STRICT, "m", UINT64_MAX), 0);
        struct buffer out = {0};
        uint8_t type, wanted[PAYLOAD_MAX];
        for (uint64_t position = 0; position < ledger_log_end(r->log); position++) {
            int rc = ledger_log_read(r->log, position, &out, &type, &e);
            found += rc < 0;
            assert_true(rc == 0 || rc == -ATOLL_ECORRUPT);
            for (size_t i = r->count; rc == 0 && i-- > 0;) {
                const struct appended *a = &r->records[i];
                if (a->kind != LEDGER_RECORD_ENTRY || a->position != position)
                    continue;
                payload_make(a, wanted);
                assert_int_equal(out.len, a->len);
                assert_memory_equal(out.data, wanted, a->len);
                break;
            }
        }
        buffer_free(&out);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    assert_true(found > 100 && found < 200);
    free(d);
    free(r);
}

static void a_lost_state_file_or_vote_log_ends_the_replica(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (int which = 0; which < 2; which++) {
        closed_log(r, d, 1);
        for (int i = 0; i < d->file_count; i++)
            if (d->files[i].used &&
                strncmp(d->files[i].name, which ? "votes-" : "state", 5 + (size_t)which) == 0)
                d->files[i].name[0] = '\0';
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "new key"));
        disk_free(d);
    }
    free(d);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_never_shortens_the_log_in_silence),
        cmocka_unit_test(lost_segments_come_from_others_and_silence_the_replica),
        cmocka_unit_test(old_segments_are_believed_and_found_out_when_they_are_read),
        cmocka_unit_test(a_lost_state_file_or_vote_log_ends_the_replica),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
