/*
 * Which votes the log keeps, and until when.
 */
#define _GNU_SOURCE
#include "ledger/log/vote_log.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void note(struct vote_log *v, uint16_t kind, uint64_t view, uint64_t s)
{
    uint8_t payload[20];
    store_u32(payload, 0);
    store_u64(payload + 4, view);
    store_u64(payload + 12, s);
    assert_true(vote_log_note(v, kind, payload, sizeof payload));
}

static bool kept(const struct vote_log *v, uint16_t kind, uint64_t view, uint64_t s)
{
    unsigned found = 0;
    for (unsigned i = 0; i < v->count; i++)
        found += v->votes[i].kind == kind && v->votes[i].view == view &&
                 load_u64(v->votes[i].payload + 12) == s;
    assert_true(found <= 1);
    return found == 1;
}

static void votes_are_kept_until_they_are_overtaken(void **state)
{
    (void)state;
    enum { C = LEDGER_RECORD_CERTIFICATE, NV = LEDGER_RECORD_NEW_VIEW };
    struct vote_log v = {.pipeline = 2, .file = -1};
    note(&v, NV, 1, 0);
    note(&v, C, 1, 5);
    note(&v, C, 1, 5);
    note(&v, C, 1, 6);
    assert_true(kept(&v, C, 1, 5) && kept(&v, C, 1, 6) && kept(&v, NV, 1, 0));
    note(&v, C, 1, 7);
    assert_true(!kept(&v, C, 1, 5) && kept(&v, C, 1, 6) && kept(&v, C, 1, 7));
    /* Views without a certificate leave the tip's view alone. */
    note(&v, LEDGER_RECORD_VIEW_CHANGE, 2, 0);
    note(&v, NV, 2, 0);
    note(&v, LEDGER_RECORD_VIEW_CHANGE, 3, 0);
    note(&v, NV, 3, 0);
    assert_true(kept(&v, NV, 1, 0) && !kept(&v, NV, 2, 0) && kept(&v, NV, 3, 0));
    assert_true(kept(&v, C, 1, 6) && kept(&v, C, 1, 7));
    assert_true(!kept(&v, LEDGER_RECORD_VIEW_CHANGE, 2, 0));
    assert_true(kept(&v, LEDGER_RECORD_VIEW_CHANGE, 3, 0));
    /* The first certificate of a view is the tip, though its s is lower; it alone does not overtake
     * what a ViewChange can report. */
    note(&v, C, 3, 6);
    assert_true(kept(&v, C, 1, 6) && kept(&v, C, 1, 7) && kept(&v, C, 3, 6));
    assert_true(kept(&v, NV, 1, 0) && kept(&v, NV, 3, 0));
    note(&v, C, 3, 7);
    assert_true(!kept(&v, C, 1, 6) && !kept(&v, C, 1, 7) && kept(&v, C, 3, 6));
    note(&v, NV, 4, 0);
    assert_true(!kept(&v, NV, 1, 0) && kept(&v, NV, 3, 0) && kept(&v, NV, 4, 0));
    vote_log_free(&v);
}

/* A replica that caught up writes its certificates anew, one by one; whenever it stops, P in a row
 * are there. */
static void a_row_of_certificates_stays_until_the_next_one_is_whole(void **state)
{
    (void)state;
    enum { C = LEDGER_RECORD_CERTIFICATE, NV = LEDGER_RECORD_NEW_VIEW };
    for (uint64_t view = 1; view <= 3; view += 2) { /* in the same view, with a hole, or later */
        struct vote_log v = {.pipeline = 3, .file = -1};
        note(&v, NV, 1, 0);
        for (uint64_t s = 7; s <= 12; s++)
            note(&v, C, 1, s);
        if (view > 1)
            note(&v, NV, view, 0);
        for (uint64_t s = 20; s < 30; s++) {
            note(&v, C, view, s);
            note(&v, NV, 4, 0);
            bool whole = s >= 22;
            for (uint64_t old = 7; old <= 12; old++)
                assert_true(kept(&v, C, 1, old) == (!whole && old >= 10));
            for (uint64_t own = 20; own <= s; own++)
                assert_true(kept(&v, C, view, own) == (own + 3 > s));
            assert_true(kept(&v, NV, 1, 0) == (!whole || view == 1));
            assert_true(kept(&v, NV, 4, 0) && kept(&v, NV, 3, 0) == (view == 3));
        }
        vote_log_free(&v);
    }
}

/* However many rows were begun and left, what is kept is bounded. */
static void many_rows_that_were_never_finished_leave_two(void **state)
{
    (void)state;
    enum { C = LEDGER_RECORD_CERTIFICATE, NV = LEDGER_RECORD_NEW_VIEW };
    struct vote_log v = {.pipeline = LEDGER_PIPELINE_MAX, .file = -1};
    for (uint64_t view = 1; view < 40; view++) {
        note(&v, NV, view, 0);
        note(&v, LEDGER_RECORD_VIEW_CHANGE, view, 0);
        for (uint64_t s = 0; s + 1 < LEDGER_PIPELINE_MAX; s++)
            note(&v, C, view, 100 * view + s);
        assert_true(v.count <= 2 * LEDGER_PIPELINE_MAX + 4);
        assert_true(view < 2 || kept(&v, C, view - 1, 100 * (view - 1)));
        assert_true(view < 3 || !kept(&v, C, view - 2, 100 * (view - 2)));
    }
    vote_log_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_are_kept_until_they_are_overtaken),
        cmocka_unit_test(a_row_of_certificates_stays_until_the_next_one_is_whole),
        cmocka_unit_test(many_rows_that_were_never_finished_leave_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
