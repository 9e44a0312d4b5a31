/* Snapshots, copy-on-write instances, reset, and shared regions in the window. */
#define _GNU_SOURCE
#include "../guest/guest.h"

#include "base/file.h"
#include "engine/arena.h"
#include "sandbox/region.h"
#include "sandbox/snapshot.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct arena *basics(void)
{
    struct artefact *artefact = guest_artefact("basics", TIER_OPT, MODE_FAST);
    struct arena *arena = guest_arena(artefact, NULL);
    artefact_release(artefact);
    return arena;
}

static int32_t call(struct arena *arena, const char *name, int64_t a, int64_t b, int64_t c)
{
    union host_slot slots[4];
    struct run_result r = guest_call(arena, name, slots, a, b, c);
    assert_int_equal(r.status, RUN_DONE);
    return slots[0].i32;
}

static struct snapshot *take(struct arena *arena)
{
    struct error e = {0};
    struct snapshot *snapshot;
    if (snapshot_take(arena, &snapshot, &e) < 0)
        fail_msg("%s", e.text);
    return snapshot;
}

static struct arena *restore(struct snapshot *snapshot)
{
    struct error e = {0};
    struct arena *arena;
    if (snapshot_restore(snapshot, SLOT_ANY, &arena, &e) < 0)
        fail_msg("%s", e.text);
    return arena;
}

static void instances_of_a_snapshot_start_where_it_was_taken_and_do_not_meet(void **state)
{
    (void)state;
    struct arena *origin = basics();
    call(origin, "grow", 2, 0, 0);
    call(origin, "store", 150000, 77, 0);
    call(origin, "count", 0, 0, 0);
    struct snapshot *snapshot = take(origin);
    struct arena *a = restore(snapshot), *b = restore(snapshot);
    assert_int_equal(call(a, "load", 150000, 0, 0), 77);
    assert_int_equal(call(a, "size", 0, 0, 0), 3);
    assert_int_equal(call(a, "count", 0, 0, 0), 9);
    call(a, "store", 150000, 1, 0);
    assert_int_equal(call(b, "load", 150000, 0, 0), 77);
    assert_int_equal(call(b, "count", 0, 0, 0), 9);
    assert_int_equal(call(origin, "load", 150000, 0, 0), 77);
    assert_int_equal(call(b, "host_add", 2, 3, 0), 5);
    assert_int_equal(call(b, "indirect", 0, 0, 0), 42);
    arena_destroy(origin);
    arena_destroy(a);
    assert_int_equal(call(b, "load", 150000, 0, 0), 77);
    arena_destroy(b);
    snapshot_release(snapshot);
}

static void memory_matches(struct arena *arena, const uint8_t *expected, uint64_t len)
{
    assert_int_equal(instance_memory_bytes(arena_primary(arena)), len);
    assert_memory_equal(instance_memory(arena_primary(arena)), expected, len);
}

static void a_reset_leaves_no_byte_of_the_call_before(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *origin = basics();
    call(origin, "store", 4096, 0x11223344, 0);
    struct snapshot *snapshot = take(origin);
    uint64_t len = instance_memory_bytes(arena_primary(origin));
    uint8_t *expected = malloc(len);
    memcpy(expected, instance_memory(arena_primary(origin)), len);
    struct arena *a = restore(snapshot);
    srand(1);
    for (int round = 0; round < 200; round++) {
        int writes = rand() % 40;
        snapshot_keep_pages(snapshot, (uint32_t)(round % 3) * 4);
        for (int k = 0; k < writes; k++)
            call(a, "store", rand() % 65532, rand(), 0);
        if (round % 3 == 0) {
            call(a, "grow", 2 + rand() % 5, 0, 0);
            call(a, "fill", 70000, rand(), 50000);
        }
        call(a, "count", 0, 0, 0);
        assert_int_equal(snapshot_reset(snapshot, a, &e), 0);
        memory_matches(a, expected, len);
        assert_int_equal(call(a, "count", 0, 0, 0), 8);
        assert_int_equal(snapshot_reset(snapshot, a, &e), 0);
        union host_slot slots[4];
        assert_int_equal(guest_call(a, "load", slots, (int64_t)len, 0, 0).status, RUN_TRAP);
        call(a, "grow", 1, 0, 0);
        for (uint32_t at = 0; at < 65536; at += 4096)
            assert_int_equal(call(a, "load", (int64_t)len + at, 0, 0), 0);
        assert_int_equal(snapshot_reset(snapshot, a, &e), 0);
    }
    free(expected);
    arena_destroy(a);
    arena_destroy(origin);
    snapshot_release(snapshot);
}

static void a_reset_clears_the_guest_stack(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *origin = basics();
    struct snapshot *snapshot = take(origin);
    struct arena *a = restore(snapshot);
    union host_slot slots[4];
    for (int deep = 0; deep < 2; deep++) {
        if (deep)
            assert_int_equal(guest_call(a, "descend", slots, 0, 0, 0).status, RUN_TRAP);
        else
            call(a, "fib", 12, 0, 0);
        assert_int_equal(snapshot_reset(snapshot, a, &e), 0);
        for (const uint8_t *at = a->stack_low; at < a->stack_high; at++)
            if (*at)
                fail_msg("stack byte %zd below the top is 0x%02x", a->stack_high - at, *at);
    }
    arena_destroy(a);
    arena_destroy(origin);
    snapshot_release(snapshot);
}

static void a_snapshot_of_a_busy_arena_is_refused_with_the_reason(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = basics();
    struct snapshot *snapshot;
    arena_externref(a, 5);
    assert_int_equal(snapshot_take(a, &snapshot, &e), -ATOLL_EBUSY);
    assert_non_null(strstr(e.text, "references"));
    arena_destroy(a);
    a = basics();
    arena_interrupt(a);
    union host_slot slots[4];
    assert_int_equal(guest_call(a, "spin", slots, 0, 0, 0).status, RUN_INTERRUPTED);
    assert_int_equal(snapshot_take(a, &snapshot, &e), -ATOLL_EBUSY);
    assert_non_null(strstr(e.text, "suspended"));
    arena_destroy(a);
}

/* ---- regions ---- */

static int shared_file(size_t size)
{
    int fd = memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static void two_arenas_share_a_region_without_copying(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = basics(), *b = basics();
    int fd = shared_file(1 << 20);
    uint32_t at_a, at_b, again;
    assert_int_equal(region_map(a, "state", fd, 0, 1 << 20, GUEST_READ | GUEST_WRITE, &at_a, &e),
                     0);
    assert_int_equal(region_map(b, "state", fd, 4096, 8192, GUEST_READ, &at_b, &e), 0);
    assert_int_equal(at_a, WINDOW_START);
    call(a, "store", (int64_t)at_a + 4100, 1234, 0);
    assert_int_equal(call(b, "load", (int64_t)at_b + 4, 0, 0), 1234);
    assert_int_equal(region_map(a, "state", fd, 0, 1 << 20, GUEST_READ | GUEST_WRITE, &again, &e),
                     0);
    assert_int_equal(again, at_a);
    close(fd);

    /* Bulk operations and host-side checks take a range wholly in memory or wholly in one region.
     */
    call(a, "fill", (int64_t)at_a, 0x5a, 1 << 20);
    call(a, "copy", 0, (int64_t)at_a, 64);
    assert_int_equal(call(a, "load", 60, 0, 0), 0x5a5a5a5a);
    call(a, "init", (int64_t)at_a + 8, 0, 4);
    assert_int_equal(call(a, "load", (int64_t)at_a + 8, 0, 0), 0x66656572); /* "reef" */
    union host_slot slots[4];
    assert_int_equal(guest_call(a, "fill", slots, (int64_t)at_a + 1, 1, 1 << 20).status, RUN_TRAP);
    assert_int_equal(guest_call(a, "fill", slots, 65000, 1, 1000).status, RUN_TRAP);
    uint8_t byte = 0;
    assert_int_equal(guest_read(b, &byte, at_b, 1), 0);
    assert_int_equal(byte, 0x5a);
    assert_int_equal(guest_write(b, at_b, &byte, 1), -ATOLL_EFAULT);
    assert_int_equal(guest_read(b, &byte, at_b + 8192, 1), -ATOLL_EFAULT);

    /* A store to a read-only region traps, and says so. */
    struct run_result r = guest_call(b, "store", slots, (int64_t)at_b, 1, 0);
    assert_int_equal(r.status, RUN_TRAP);
    assert_int_equal(r.trap.kind, TRAP_READ_ONLY_REGION);
    r = guest_call(b, "fill", slots, (int64_t)at_b, 1, 16);
    assert_int_equal(r.status, RUN_TRAP);

    /* Mapped twice, it goes with the second unmapping. */
    assert_int_equal(region_unmap(a, at_a, &e), 0);
    assert_int_equal(call(a, "load", (int64_t)at_a, 0, 0), 0x5a5a5a5a);
    assert_int_equal(region_unmap(a, at_a, &e), 0);
    assert_int_equal(guest_call(a, "load", slots, (int64_t)at_a, 0, 0).status, RUN_TRAP);
    assert_int_equal(region_unmap(a, at_a, &e), -ATOLL_ENOENT);
    arena_destroy(a);
    arena_destroy(b);
}

static void regions_keep_gaps_and_reuse_what_is_freed(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = basics();
    int fd = shared_file(1 << 20);
    uint32_t at[4];
    for (int k = 0; k < 4; k++) {
        char name[8] = {'r', (char)('0' + k), 0};
        assert_int_equal(region_map(a, name, fd, 0, 65536 + 4096, GUEST_READ, &at[k], &e), 0);
        assert_int_equal(at[k] % REGION_ALIGNMENT, 0);
        if (k)
            assert_true(at[k] - at[k - 1] >= 65536 + 4096 + REGION_ALIGNMENT);
    }
    union host_slot slots[4];
    assert_int_equal(guest_call(a, "load", slots, (int64_t)at[0] + 65536 + 4096, 0, 0).status,
                     RUN_TRAP);
    uint32_t reused;
    assert_int_equal(region_unmap(a, at[1], &e), 0);
    assert_int_equal(region_map(a, "x", fd, 0, 4096, GUEST_READ, &reused, &e), 0);
    assert_int_equal(reused, at[1]);
    assert_int_equal(region_map(a, "x", fd, 0, 4095, GUEST_READ, &reused, &e), -ATOLL_EINVAL);
    assert_int_equal(region_map(a, "x", fd, 0, 2 << 20, GUEST_READ, &reused, &e), -ATOLL_ERANGE);
    assert_int_equal(region_map(a, "x", fd, 0, 4096, GUEST_WRITE, &reused, &e), -ATOLL_EINVAL);
    close(fd);
    arena_destroy(a);
}

/* Mappings of this process that lie in the arena's window. */
static int mappings_in_window(const struct arena *a)
{
    char line[512];
    unsigned long low, high;
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        count += sscanf(line, "%lx-%lx", &low, &high) == 2 &&
                 high > (uintptr_t)a->base + WINDOW_START && low < (uintptr_t)a->base + WINDOW_END;
    fclose(maps);
    return count;
}

static void regions_that_come_and_go_leave_few_mappings(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = basics();
    struct region_file file;
    int fd = shared_file(1 << 20);
    uint32_t first, second;
    union host_slot slots[4];
    assert_int_equal(region_file_look(fd, &file, &e), 0);
    int before = mappings_in_window(a);
    for (uint32_t i = 0; i < 400; i++) {
        /* The same for a while, then others, which lie across its place, and beside it. */
        uint64_t len = i % 8 < 5 ? 8 << 16 : (i % 13 + 1) * 4096ull;
        assert_int_equal(region_map_file(a, "r", &file, 0, len, GUEST_READ, &first, &e), 0);
        assert_int_equal(first, WINDOW_START);
        assert_int_equal(
            region_map_file(a, "s", &file, 0, (i % 3 + 1) * 65536ull, GUEST_READ, &second, &e), 0);
        call(a, "load", (int64_t)first + (int64_t)len - 8, 0, 0);
        if (i % 2)
            assert_int_equal(region_unmap(a, first, &e), 0);
        region_unmap_all(a);
        assert_int_equal(guest_call(a, "load", slots, first, 0, 0).status, RUN_TRAP);
        assert_true(mappings_in_window(a) <= before + 2);
    }
    close(fd);
    arena_destroy(a);
}

static void a_region_whose_file_is_cut_off_traps_instead_of_crashing(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = basics();
    int fd = shared_file(65536);
    uint32_t at;
    assert_int_equal(region_map(a, "cut", fd, 0, 65536, GUEST_READ | GUEST_WRITE, &at, &e), 0);
    assert_int_equal(ftruncate(fd, 4096), 0);
    union host_slot slots[4];
    struct run_result r = guest_call(a, "load", slots, (int64_t)at + 8192, 0, 0);
    assert_int_equal(r.status, RUN_TRAP);
    assert_int_equal(r.trap.kind, TRAP_LOST_REGION);
    uint8_t byte;
    assert_int_equal(guest_read(a, &byte, at + 8192, 1), -ATOLL_EFAULT);
    assert_int_equal(guest_call(a, "copy", slots, 0, (int64_t)at + 8192, 16).status, RUN_TRAP);
    assert_int_equal(call(a, "load", at, 0, 0), 0);
    close(fd);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instances_of_a_snapshot_start_where_it_was_taken_and_do_not_meet),
        cmocka_unit_test(a_reset_leaves_no_byte_of_the_call_before),
        cmocka_unit_test(a_reset_clears_the_guest_stack),
        cmocka_unit_test(a_snapshot_of_a_busy_arena_is_refused_with_the_reason),
        cmocka_unit_test(two_arenas_share_a_region_without_copying),
        cmocka_unit_test(regions_keep_gaps_and_reuse_what_is_freed),
        cmocka_unit_test(regions_that_come_and_go_leave_few_mappings),
        cmocka_unit_test(a_region_whose_file_is_cut_off_traps_instead_of_crashing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
