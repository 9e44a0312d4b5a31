/* Dirty tracking sees every written page once, whichever method is used. */
#include "../guest/guest.h"

#include "engine/arena.h"
#include "sandbox/dirty.h"
#include "sandbox/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void store(struct arena *arena, int64_t at)
{
    union host_slot slots[4];
    assert_int_equal(guest_call(arena, "store", slots, at, rand(), 0).status, RUN_DONE);
}

/* The guest pages among the dirty ones, as a bit set of the first 64. */
static uint64_t dirty_pages(struct dirty_tracker *tracker, struct arena *arena)
{
    struct error e = {0};
    struct page_run *runs;
    size_t count;
    uint64_t pages = 0;
    if (dirty_collect(tracker, &runs, &count, &e) < 0)
        fail_msg("%s", e.text);
    for (size_t k = 0; k < count; k++)
        for (uint8_t *at = runs[k].start; at < runs[k].start + runs[k].len; at += PAGE_BYTES)
            if (at >= arena->base)
                pages |= 1ull << ((uint64_t)(at - arena->base) / PAGE_BYTES);
    free(runs);
    return pages;
}

static void track(enum dirty_method method, bool from_snapshot)
{
    struct error e = {0};
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *origin = guest_arena(artefact, NULL), *arena = origin;
    struct snapshot *snapshot = NULL;
    struct dirty_tracker *tracker;
    store(origin, 5 * 4096);
    if (from_snapshot) {
        assert_int_equal(snapshot_take(origin, &snapshot, &e), 0);
        assert_int_equal(snapshot_restore(snapshot, SLOT_ANY, &arena, &e), 0);
        store(arena, 6 * 4096);
    }
    int rc = dirty_start(arena, method, &tracker, &e);
    if (rc == -ATOLL_EUNAVAIL && method == DIRTY_SCAN) {
        print_message("# %s\n", e.text);
        arena_destroy(origin);
        if (from_snapshot)
            arena_destroy(arena);
        snapshot_release(snapshot);
        artefact_release(artefact);
        skip();
    }
    assert_int_equal(rc, 0);
    assert_int_equal(dirty_pages(tracker, arena), 0);
    store(arena, 2 * 4096);
    store(arena, 5 * 4096 + 8);
    assert_int_equal(dirty_pages(tracker, arena), 1u << 2 | 1u << 5);
    assert_int_equal(dirty_pages(tracker, arena), 0);
    store(arena, 2 * 4096);
    /* The kernel's and the host's own writes count too. */
    assert_int_equal(guest_write(arena, 9 * 4096, "host", 4), 0);
    assert_int_equal(dirty_pages(tracker, arena), 1u << 2 | 1u << 9);
    /* So does memory that was not there at the start. */
    union host_slot slots[4];
    guest_call(arena, "grow", slots, 2, 0, 0);
    store(arena, 20 * 4096);
    assert_int_equal(dirty_pages(tracker, arena), 1u << 20);
    store(arena, 20 * 4096);
    store(arena, 21 * 4096);
    assert_int_equal(dirty_pages(tracker, arena), 1u << 20 | 1u << 21);
    dirty_stop(tracker);
    store(arena, 22 * 4096);
    arena_destroy(arena);
    if (from_snapshot)
        arena_destroy(origin);
    snapshot_release(snapshot);
    artefact_release(artefact);
}

static void asynchronous_protection_sees_every_written_page_once(void **state)
{
    (void)state;
    track(DIRTY_SCAN, false);
}

static void asynchronous_protection_works_over_a_snapshot(void **state)
{
    (void)state;
    track(DIRTY_SCAN, true);
}

static void comparison_sees_every_changed_page_once(void **state)
{
    (void)state;
    track(DIRTY_COMPARE, false);
}

static void comparison_works_over_a_snapshot(void **state)
{
    (void)state;
    track(DIRTY_COMPARE, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asynchronous_protection_sees_every_written_page_once),
        cmocka_unit_test(asynchronous_protection_works_over_a_snapshot),
        cmocka_unit_test(comparison_sees_every_changed_page_once),
        cmocka_unit_test(comparison_works_over_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
