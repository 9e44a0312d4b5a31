/*
 * bench-start: what does an instance cost? Creating one from a mapped artefact or from a snapshot
 * up to its first instruction, its first writes, resetting and destroying it; how that grows with
 * the image; and what an idle instance occupies. The peer is a process: posix_spawn of a static
 * native program that does nothing, in the same run. Wall time, and CPU time of the measuring
 * thread (for the process it leaves the child's share out).
 */
#include "cli/bench/measure.h"
#include "guest.h"
#include "sandbox/snapshot.h"

#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ROUNDS       1000
#define IMAGE_ROUNDS 100
#define IDLE         2000
#define PAGE_KIB     4

extern char **environ;

static void row_print(const char *what, struct timings *t)
{
    printf("%-52s %9.1f %9.1f %9.1f\n", what, samples_median(&t->wall_us),
           samples_quantile(&t->wall_us, 0.99), samples_median(&t->thread_us));
    timings_free(t);
}

/* ---- one small instance ---- */

static void fresh_measure(struct artefact *artefact, struct timings *start)
{
    for (int i = 0; i < ROUNDS; i++) {
        struct stopwatch watch = stopwatch_start();
        struct instance *instance = guest_instance(artefact);
        guest_call(instance, guest_function(instance, "nothing"), 0);
        stopwatch_lap(&watch, start);
        arena_destroy(instance_arena(instance));
    }
}

static struct snapshot *snapshot_make(struct artefact *artefact, int32_t kib)
{
    struct error e = {0};
    struct snapshot *snapshot;
    struct instance *instance = guest_instance(artefact);
    if (guest_call(instance, guest_function(instance, "prepare"), kib) != 0)
        bench_fail(1, "the guest cannot make an image of %d KiB", (int)kib);
    bench_check(snapshot_take(instance_arena(instance), &snapshot, &e), &e);
    arena_destroy(instance_arena(instance));
    return snapshot;
}

struct lifetimes {
    struct timings start, touch, reset, again, destroy;
};

/* Restore and first instruction; first writes; reset; the same writes again; destroy. */
static void lifetimes_measure(struct snapshot *snapshot, int rounds, int32_t pages,
                              struct lifetimes *out)
{
    for (int i = 0; i < rounds; i++) {
        struct error e = {0};
        struct arena *arena;
        struct stopwatch watch = stopwatch_start();
        bench_check(snapshot_restore(snapshot, SLOT_ANY, &arena, &e), &e);
        struct instance *instance = arena_primary(arena);
        uint32_t touch = guest_function(instance, "touch");
        guest_call(instance, guest_function(instance, "nothing"), 0);
        stopwatch_lap(&watch, &out->start);
        int32_t first = guest_call(instance, touch, pages);
        stopwatch_lap(&watch, &out->touch);
        bench_check(snapshot_reset(snapshot, arena, &e), &e);
        stopwatch_lap(&watch, &out->reset);
        int32_t second = guest_call(instance, touch, pages);
        stopwatch_lap(&watch, &out->again);
        arena_destroy(arena);
        stopwatch_lap(&watch, &out->destroy);
        if (first != second)
            bench_fail(1, "after a reset the guest computed %d, before it %d", (int)second,
                       (int)first);
    }
}

static void process_measure(struct timings *spawn)
{
    char here[4000], path[4096];
    executable_directory(here, sizeof here);
    snprintf(path, sizeof path, "%s/guests/noop", here);
    char *arguments[] = {path, NULL};
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid;
        int status;
        struct stopwatch watch = stopwatch_start();
        int failure = posix_spawn(&pid, path, NULL, NULL, arguments, environ);
        if (failure || waitpid(pid, &status, 0) != pid || status != 0)
            bench_fail(1, "cannot run %s", path);
        stopwatch_lap(&watch, spawn);
    }
}

static void small_table(struct artefact *artefact)
{
    struct timings fresh = {0}, spawn = {0};
    struct lifetimes times = {0};
    struct snapshot *snapshot = snapshot_make(artefact, 64);
    printf("%-52s %9s %9s %9s\n", "one instance, image of 64 KiB, microseconds", "p50", "p99",
           "CPU p50");
    fresh_measure(artefact, &fresh);
    lifetimes_measure(snapshot, ROUNDS, 10, &times);
    process_measure(&spawn);
    double ratio = samples_median(&spawn.wall_us) / samples_median(&times.start.wall_us);
    row_print("mapped artefact to first instruction", &fresh);
    row_print("snapshot to first instruction", &times.start);
    row_print("first call that writes 10 pages", &times.touch);
    row_print("reset", &times.reset);
    row_print("the same call after a reset", &times.again);
    row_print("destroy", &times.destroy);
    row_print("peer: spawn and reap a static native process", &spawn);
    printf("starting from a snapshot is %.1f times as fast as the process\n\n", ratio);
    snapshot_release(snapshot);
}

/* ---- by size of the image ---- */

static void size_row(struct artefact *artefact, int32_t size_kib, uint32_t keep_pages)
{
    struct lifetimes t = {0};
    int32_t pages = size_kib / PAGE_KIB / 10;
    struct snapshot *snapshot = snapshot_make(artefact, size_kib);
    snapshot_keep_pages(snapshot, keep_pages);
    lifetimes_measure(snapshot, IMAGE_ROUNDS, pages > 0 ? pages : 1, &t);
    printf("%-12d %10u %10.1f %14.1f %10.1f %14.1f %10.1f\n", (int)size_kib, keep_pages,
           samples_median(&t.start.thread_us), samples_median(&t.touch.thread_us),
           samples_median(&t.reset.thread_us), samples_median(&t.again.thread_us),
           samples_median(&t.destroy.thread_us));
    snapshot_release(snapshot);
    timings_free(&t.start), timings_free(&t.touch), timings_free(&t.reset);
    timings_free(&t.again), timings_free(&t.destroy);
}

static void sizes_table(struct artefact *artefact)
{
    static const int32_t sizes[] = {64, 1024, 16384, 65536};
    printf("%-12s %10s %10s %14s %10s %14s %10s   (CPU p50 us, %d rounds)\n", "image KiB",
           "keep pages", "start", "write 10 %", "reset", "again 10 %", "destroy", IMAGE_ROUNDS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_row(artefact, sizes[i], SNAPSHOT_KEEP_PAGES);
        if (sizes[i] / PAGE_KIB / 10 > SNAPSHOT_KEEP_PAGES)
            size_row(artefact, sizes[i], UINT32_MAX);
    }
    putchar('\n');
}

/* ---- idle footprint ---- */

struct footprint {
    double private_kib, tables_kib, maps;
};

static void footprint_read(struct footprint *out)
{
    int byte;
    out->private_kib = proc_kib("/proc/self/smaps_rollup", "Private_Dirty:") +
                       proc_kib("/proc/self/smaps_rollup", "Private_Clean:");
    out->tables_kib = proc_kib("/proc/self/status", "VmPTE:");
    out->maps = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    while (file && (byte = fgetc(file)) != EOF)
        out->maps += byte == '\n';
    if (file)
        fclose(file);
}

static void footprint_table(struct artefact *artefact)
{
    static struct arena *arenas[IDLE];
    struct footprint before, after;
    struct snapshot *snapshot = snapshot_make(artefact, 1024);
    footprint_read(&before);
    for (int i = 0; i < IDLE; i++) {
        struct error e = {0};
        bench_check(snapshot_restore(snapshot, SLOT_ANY, &arenas[i], &e), &e);
        struct instance *instance = arena_primary(arenas[i]);
        guest_call(instance, guest_function(instance, "touch"), 2);
    }
    footprint_read(&after);
    double pages = (after.private_kib - before.private_kib) / IDLE;
    double tables = (after.tables_kib - before.tables_kib) / IDLE;
    printf("%d idle instances, image of 1 MiB, 2 pages written\n", IDLE);
    printf("%-52s %9.1f\n", "private pages, KiB each", pages);
    printf("%-52s %9.1f\n", "page tables, KiB each", tables);
    printf("%-52s %9.1f\n", "together, KiB each", pages + tables);
    printf("%-52s %9.1f\n", "mappings each", (after.maps - before.maps) / IDLE);
    printf("%-52s %9.2f\n", "limit: the two pages alone, share of it",
           2.0 * PAGE_KIB / (pages + tables));
    for (int i = 0; i < IDLE; i++)
        arena_destroy(arenas[i]);
    snapshot_release(snapshot);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-start [ATOLL-CC]");
    environment_print();
    bench_check(engine_initialize(&e), &e);
    struct artefact *artefact = guest_artefact(argc == 2 ? argv[1] : NULL, "pages");
    small_table(artefact);
    sizes_table(artefact);
    footprint_table(artefact);
    artefact_release(artefact);
    return 0;
}
