/*
 * Reset isolation: after a reset no byte is left of the call before, whatever it wrote and however
 * the reset is done.
 *
 * Pairs of calls: the first writes at random, or everything it can reach (every page of memory, of
 * memory it grew, of the stack; every global, table entry and segment flag); then a reset; then
 * every byte of the instance is compared with the image, or the second call runs and must come to
 * what it comes to in a fresh instance.
 *
 *   reset_isolation_test                  the tests, some thousands of pairs
 *   reset_isolation_test PAIRS [SEED]     so many pairs, and a line about them
 */
#define _GNU_SOURCE
#include "state_program.h"

#include "sandbox/snapshot_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAIRS       6000
#define ARENAS      9
#define SECOND_RUNS 64 /* different second calls */
#define REPORTS     20

static const struct arena_limits limits = {.memory_bytes = 16u << 20, .stack_bytes = 128u << 10};

/* An instance that is reset in one way. */
struct subject {
    struct snapshot *snapshot;
    struct arena *arena;
};

struct fixture {
    struct subject subjects[ARENAS];
    struct state_calls calls;
    uint64_t expected[SECOND_RUNS]; /* what second calls come to in a fresh instance */
    uint64_t leaks, compared_bytes;
};

static const struct {
    enum reset_mechanism mechanism;
    uint32_t keep;
    bool prepared; /* the image has grown memory and tables */
} ways[ARENAS] = {
    {RESET_CHOOSE, 64, false}, {RESET_CHOOSE, 3, true}, {RESET_REMAP, 64, false},
    {RESET_DROP, 64, true},    {RESET_COPY, 64, false}, {RESET_COPY, 1, false},
    {RESET_COPY, 0, true},     {RESET_COPY, 16, true},  {RESET_COPY, UINT32_MAX, false},
};

static void good(int rc, const struct error *e)
{
    if (rc < 0)
        fail_msg("%s", e->text);
}

static void subject_make(struct fixture *f, struct artefact *artefact, int k)
{
    struct error e = {0};
    struct subject *s = &f->subjects[k];
    struct arena *origin = guest_arena(artefact, &limits);
    f->calls = state_calls_find(origin);
    if (ways[k].prepared)
        state_run(origin, &f->calls, 77, 60);
    good(snapshot_take(origin, &s->snapshot, &e), &e);
    arena_destroy(origin);
    snapshot_reset_by(s->snapshot, ways[k].mechanism);
    snapshot_keep_pages(s->snapshot, ways[k].keep);
    good(snapshot_restore(s->snapshot, SLOT_ANY, &s->arena, &e), &e);
}

static void fixture_make(struct fixture *f)
{
    struct artefact *artefact = guest_artefact("state", TIER_OPT, MODE_FAST);
    *f = (struct fixture){0};
    for (int k = 0; k < ARENAS; k++)
        subject_make(f, artefact, k);
    artefact_release(artefact);
}

static void fixture_free(struct fixture *f)
{
    for (int k = 0; k < ARENAS; k++) {
        arena_destroy(f->subjects[k].arena);
        snapshot_release(f->subjects[k].snapshot);
    }
}

/* ---- the first call ---- */

/* Writes everything that an instance can reach. */
static void write_everything(struct fixture *f, struct arena *a, uint64_t *random)
{
    const struct state_calls *c = &f->calls;
    uint64_t value = random_next(random) | 1;
    state_call(a, c->grow, random_below(random, 8), 0, 0);
    state_call(a, c->table_grow, 2, 1, 0);
    state_call(a, c->fill, 0, value & 0xff, instance_memory_bytes(arena_primary(a)));
    state_call(a, c->set_numbers, value, 0, 0);
    state_call(a, c->set_function, 2, 0, 0);
    for (uint32_t k = 0; k < 5; k++)
        state_call(a, c->keep, k, 1 + (value >> k) % 3, 0);
    for (uint32_t k = 0; k < 10; k++)
        state_call(a, c->put, k, k % 5, 0);
    state_call(a, c->foreign_grow, 1, 0, 0);
    state_call(a, c->drop_data, 0, 0, 0);
    state_call(a, c->drop_elements, 0, 0, 0);
    state_call(a, c->dig, 1u << 20, value, 0); /* until the stack ends */
}

static void first_call(struct fixture *f, struct arena *a, uint64_t *random)
{
    uint32_t kind = random_below(random, 16);
    if (kind == 0)
        write_everything(f, a, random);
    else if (kind < 4)
        state_call(a, f->calls.nothing, 0, 0, 0);
    else
        state_run(a, &f->calls, random_next(random), 1 + random_below(random, 12));
}

/* ---- what is left of it ---- */

/* The first byte that differs from the image, as an address; NULL: none. */
static const uint8_t *leak_find(struct fixture *f, const struct subject *s)
{
    const struct snapshot *snapshot = s->snapshot;
    for (uint32_t x = 0; x < snapshot->part_count; x++) {
        const struct snapshot_part *p = &snapshot->parts[x];
        const uint8_t *at = s->arena->base + p->from_b, *image = snapshot->view + p->offset;
        f->compared_bytes += p->len;
        for (uint64_t k = 0; memcmp(at, image, p->len) != 0 && k < p->len; k++)
            if (at[k] != image[k])
                return at + k;
    }
    f->compared_bytes += (uint64_t)(s->arena->stack_high - s->arena->stack_low);
    for (const uint8_t *page = s->arena->stack_low; page < s->arena->stack_high; page += PAGE_BYTES)
        if (!page_is_zero(page))
            return page;
    return NULL;
}

/* What grew must be out of reach, and zero when it comes back. */
static bool growth_is_gone(struct fixture *f, struct arena *a)
{
    uint64_t end = instance_memory_bytes(arena_primary(a)), sum = 0;
    if (state_call(a, f->calls.peek, end, 0, 0) >> 60 != 0xf)
        return false;
    state_call(a, f->calls.grow, 8, 0, 0);
    for (uint32_t page = 0; page < 8 * 16; page++)
        sum |= state_call(a, f->calls.peek, end + page * PAGE_BYTES + 8 * (page % 512), 0, 0);
    return sum == 0;
}

static void leak_report(struct fixture *f, const char *what, int way, uint64_t pair)
{
    if (f->leaks++ < REPORTS)
        print_message("pair %llu, way %d: %s\n", (unsigned long long)pair, way, what);
}

static void pair_run(struct fixture *f, uint64_t pair, uint64_t *random)
{
    struct error e = {0};
    int way = (int)(pair % ARENAS);
    struct subject *s = &f->subjects[way];
    uint32_t second = random_below(random, SECOND_RUNS);
    first_call(f, s->arena, random);
    good(snapshot_reset(s->snapshot, s->arena, &e), &e);
    if (random_below(random, 2)) {
        if (leak_find(f, s))
            leak_report(f, "a byte is left", way, pair);
    } else if (!ways[way].prepared &&
               state_run(s->arena, &f->calls, second, 10) != f->expected[second]) {
        leak_report(f, "the second call came to something else", way, pair);
    }
    if (random_below(random, 32) == 0) {
        good(snapshot_reset(s->snapshot, s->arena, &e), &e);
        if (!growth_is_gone(f, s->arena))
            leak_report(f, "grown memory is left", way, pair);
    }
    good(snapshot_reset(s->snapshot, s->arena, &e), &e);
}

static void pairs_run(struct fixture *f, uint64_t pairs, uint64_t seed)
{
    struct error e = {0};
    uint64_t random = seed * 2 + 1;
    for (uint32_t k = 0; k < SECOND_RUNS; k++) {
        struct arena *fresh;
        good(snapshot_restore(f->subjects[0].snapshot, SLOT_ANY, &fresh, &e), &e);
        f->expected[k] = state_run(fresh, &f->calls, k, 10);
        arena_destroy(fresh);
    }
    for (uint64_t pair = 0; pair < pairs; pair++) {
        pair_run(f, pair, &random);
        if (random_below(&random, 512))
            continue;
        /* Slots change hands too: what was destroyed must not shine through. */
        struct subject *s = &f->subjects[pair % ARENAS];
        write_everything(f, s->arena, &random);
        arena_destroy(s->arena);
        good(snapshot_restore(s->snapshot, SLOT_ANY, &s->arena, &e), &e);
        if (leak_find(f, s))
            leak_report(f, "a byte is left in the slot", (int)(pair % ARENAS), pair);
    }
}

/* ---- tests ---- */

static void nothing_is_left_of_the_call_before(void **state)
{
    (void)state;
    static struct fixture f;
    fixture_make(&f);
    pairs_run(&f, PAIRS, 1);
    assert_int_equal(f.leaks, 0);
    for (int k = 0; k < ARENAS; k++) {
        struct snapshot_counters c;
        snapshot_counters(f.subjects[k].snapshot, &c);
        uint64_t resets = c.resets[RESET_REMAP] + c.resets[RESET_DROP] + c.resets[RESET_COPY];
        assert_true(resets > 0 && c.reset_ns > 0 && c.restores > 0);
        assert_int_equal(c.resets[RESET_CHOOSE], 0);
        if (ways[k].mechanism == RESET_REMAP || ways[k].mechanism == RESET_DROP)
            assert_int_equal(c.resets[ways[k].mechanism], resets);
        if (ways[k].mechanism == RESET_COPY && pages_scan_available())
            assert_true(c.resets[RESET_COPY] > 0 && c.pages_dropped > 0);
        if (ways[k].mechanism == RESET_COPY && ways[k].keep == 0)
            assert_int_equal(c.pages_kept, 0);
    }
    fixture_free(&f);
}

static uint64_t pages_resident(const struct arena *a, const struct snapshot *s)
{
    struct error e = {0};
    struct page_run runs[512];
    uint64_t pages = 0;
    const struct snapshot_part *last = &s->parts[s->part_count - 1];
    uint8_t *end = a->base + last->from_b + last->len;
    int count = pages_written(a->stack_low, (uint64_t)(end - a->stack_low), runs, 512, &e);
    for (int k = 0; k < count; k++)
        pages += runs[k].len / PAGE_BYTES;
    return pages;
}

static void a_reset_keeps_the_pages_that_calls_write_and_no_more_than_it_may(void **state)
{
    (void)state;
    struct error e = {0};
    static struct fixture f;
    if (!pages_scan_available())
        skip();
    fixture_make(&f);
    struct subject *s = &f.subjects[4];
    uint64_t random = 9;
    const struct state_calls *c = &f.calls;
    /* Two pages are written by every call, others once. */
    for (uint32_t k = 0; k < 300; k++) {
        state_call(s->arena, c->poke, 5 * PAGE_BYTES, random_next(&random), 0);
        state_call(s->arena, c->poke, 9 * PAGE_BYTES, random_next(&random), 0);
        if (k < 40)
            state_call(s->arena, c->poke, k * PAGE_BYTES + 8, 1, 0);
        good(snapshot_reset(s->snapshot, s->arena, &e), &e);
        if (k == 39)
            assert_in_range(pages_resident(s->arena, s->snapshot), 40, 64);
    }
    /* Fields, stack and the two: what was written once has gone. */
    assert_in_range(pages_resident(s->arena, s->snapshot), 4, 8);
    snapshot_keep_pages(s->snapshot, 3);
    for (uint32_t k = 0; k < 4; k++) {
        for (uint32_t page = 0; page < 40; page++)
            state_call(s->arena, c->poke, page * PAGE_BYTES, random_next(&random), 0);
        good(snapshot_reset(s->snapshot, s->arena, &e), &e);
        assert_int_equal(pages_resident(s->arena, s->snapshot), 3);
    }
    fixture_free(&f);
}

static void a_snapshot_whose_calls_write_very_much_is_mapped_anew(void **state)
{
    (void)state;
    struct error e = {0};
    struct snapshot *snapshot;
    struct arena *arena;
    struct snapshot_counters counters;
    if (!pages_scan_available())
        skip();
    struct artefact *artefact = guest_artefact("state", TIER_OPT, MODE_FAST);
    struct arena *origin = guest_arena(artefact, &limits);
    struct state_calls c = state_calls_find(origin);
    state_call(origin, c.grow, 60, 0, 0);
    good(snapshot_take(origin, &snapshot, &e), &e);
    good(snapshot_restore(snapshot, SLOT_ANY, &arena, &e), &e);
    for (uint32_t k = 0; k < 64; k++) {
        state_call(arena, c.fill, 0, k + 1, 50 * WASM_PAGE);
        good(snapshot_reset(snapshot, arena, &e), &e);
        if (state_difference(origin, arena))
            fail_msg("%s is left", state_difference(origin, arena));
    }
    snapshot_counters(snapshot, &counters);
    assert_true(counters.resets[RESET_REMAP] > 40);
    assert_true(counters.resets[RESET_COPY] > 1); /* it looks again now and then */
    for (uint32_t k = 0; k < 800; k++) {
        state_call(arena, c.poke, 0, k + 1, 0);
        good(snapshot_reset(snapshot, arena, &e), &e);
    }
    struct snapshot_counters later;
    snapshot_counters(snapshot, &later);
    assert_true(later.resets[RESET_COPY] > counters.resets[RESET_COPY] + 100);
    arena_destroy(arena);
    arena_destroy(origin);
    snapshot_release(snapshot);
    artefact_release(artefact);
}

static bool swapped_out(const uint8_t *page)
{
    uint64_t entry = 0;
    FILE *map = fopen("/proc/self/pagemap", "re");
    bool got = map && fseeko(map, (off_t)((uintptr_t)page / PAGE_BYTES * 8), SEEK_SET) == 0 &&
               fread(&entry, sizeof entry, 1, map) == 1;
    if (map)
        fclose(map);
    return got && entry >> 62 & 1;
}

static void a_written_page_that_was_swapped_out_does_not_survive(void **state)
{
    (void)state;
    struct error e = {0};
    static struct fixture f;
    fixture_make(&f);
    int tried = 0;
    for (int way = 0; way < ARENAS; way++) {
        struct subject *s = &f.subjects[way];
        uint8_t *memory = instance_memory(arena_primary(s->arena));
        state_call(s->arena, f.calls.fill, 0, 0x5a, 8 * PAGE_BYTES);
        (void)madvise(memory, 8 * PAGE_BYTES, MADV_PAGEOUT);
        tried += swapped_out(memory + 3 * PAGE_BYTES);
        good(snapshot_reset(s->snapshot, s->arena, &e), &e);
        assert_null(leak_find(&f, s));
    }
    fixture_free(&f);
    if (!tried) {
        print_message("# skipped: no page can be swapped out here (no swap space)\n");
        skip();
    }
}

static int long_run(uint64_t pairs, uint64_t seed)
{
    static struct fixture f;
    fixture_make(&f);
    pairs_run(&f, pairs, seed);
    printf("%llu pairs, seed %llu: %llu leaks; %.1f GiB compared\n", (unsigned long long)pairs,
           (unsigned long long)seed, (unsigned long long)f.leaks,
           (double)f.compared_bytes / (double)(1u << 30));
    fixture_free(&f);
    return f.leaks != 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_the_call_before),
        cmocka_unit_test(a_reset_keeps_the_pages_that_calls_write_and_no_more_than_it_may),
        cmocka_unit_test(a_snapshot_whose_calls_write_very_much_is_mapped_anew),
        cmocka_unit_test(a_written_page_that_was_swapped_out_does_not_survive),
    };
    if (argc > 1)
        return long_run(strtoull(argv[1], NULL, 10), argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
