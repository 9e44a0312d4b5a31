/*
 * bench-coldstart: how long until a call runs, by where its instance is? hot: idle in a pool; warm:
 * its image is mapped, an instance is made; cold: code and image lie in files. Each against what
 * starting a process costs in the same run: fork, posix_spawn of a static native program that does
 * nothing, and that program in namespaces of its own. Wall time; ratios are of medians, with the
 * spread that medians of tenths of the run have.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "guest.h"
#include "sandbox/proto_image.h"
#include "sandbox/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS        4000
#define PROCESSES     300
#define FRESH_SLOTS   1000
#define LADDER_ROUNDS 200
#define COLD_ROUNDS   10
#define OBJECT_ROUNDS 30
#define TENTHS        10

extern char **environ;

/* What a function gets unless it asks for other limits. */
static const struct arena_limits limits = {.memory_bytes = 128ull << 20, .stack_bytes = 256u << 10};

static double since_us(int64_t start)
{
    return (double)(clock_monotonic_ns() - start) / 1e3;
}

static struct arena *arena_new(struct artefact *artefact)
{
    struct error e = {0};
    struct arena *arena;
    struct instance *instance;
    bench_check(arena_create(SLOT_ANY, &limits, &arena, &e), &e);
    bench_check(instance_create(arena, artefact, NULL, 0, &instance, &e), &e);
    return arena;
}

/* A snapshot behind prepare(kib); kib 0: of the instance as it was linked. */
static struct snapshot *snapshot_make(struct artefact *artefact, int32_t kib)
{
    struct error e = {0};
    struct snapshot *snapshot;
    struct arena *arena = arena_new(artefact);
    struct instance *instance = arena_primary(arena);
    if (kib && guest_call(instance, guest_function(instance, "prepare"), kib) != 0)
        bench_fail(1, "the guest cannot make an image of %d KiB", (int)kib);
    bench_check(snapshot_take(arena, &snapshot, &e), &e);
    arena_destroy(arena);
    return snapshot;
}

static struct arena *restore(struct snapshot *snapshot)
{
    struct error e = {0};
    struct arena *arena;
    bench_check(snapshot_restore(snapshot, SLOT_ANY, &arena, &e), &e);
    return arena;
}

static void reset(struct snapshot *snapshot, struct arena *arena)
{
    struct error e = {0};
    bench_check(snapshot_reset(snapshot, arena, &e), &e);
}

static void call(struct arena *arena, const char *name, int32_t argument)
{
    struct instance *instance = arena_primary(arena);
    guest_call(instance, guest_function(instance, name), argument);
}

/* ---- one call of a function that does nothing ---- */

static void hot_measure(struct snapshot *snapshot, struct samples *out)
{
    struct arena *arena = restore(snapshot);
    uint32_t nothing = guest_function(arena_primary(arena), "nothing");
    for (int k = 0; k < ROUNDS; k++) {
        int64_t start = clock_monotonic_ns();
        guest_call(arena_primary(arena), nothing, 0);
        reset(snapshot, arena);
        samples_add(out, since_us(start));
    }
    arena_destroy(arena);
}

/* Restore, first instruction, reset. With another function's snapshot, the slot was that one's just
 * before. */
static void warm_measure(struct snapshot *snapshot, struct snapshot *other, struct samples *out)
{
    for (int k = 0; k < ROUNDS; k++) {
        if (other) {
            struct arena *before = restore(other);
            call(before, "nothing", 0);
            arena_destroy(before);
        }
        int64_t start = clock_monotonic_ns();
        struct arena *arena = restore(snapshot);
        call(arena, "nothing", 0);
        reset(snapshot, arena);
        samples_add(out, since_us(start));
        arena_destroy(arena);
    }
}

static void fresh_measure(struct snapshot *snapshot, struct samples *out)
{
    static struct arena *arenas[FRESH_SLOTS];
    for (int k = 0; k < FRESH_SLOTS; k++) {
        int64_t start = clock_monotonic_ns();
        arenas[k] = restore(snapshot);
        call(arenas[k], "nothing", 0);
        reset(snapshot, arenas[k]);
        samples_add(out, since_us(start));
    }
    for (int k = 0; k < FRESH_SLOTS; k++)
        arena_destroy(arenas[k]);
}

/* ---- processes ---- */

static const char *noop_path(void)
{
    static char path[4096];
    char here[4000];
    executable_directory(here, sizeof here);
    snprintf(path, sizeof path, "%s/guests/noop", here);
    return path;
}

static pid_t start_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid;
}

static pid_t start_spawn(void)
{
    pid_t pid;
    char *arguments[] = {(char *)noop_path(), NULL};
    return posix_spawn(&pid, noop_path(), NULL, NULL, arguments, environ) == 0 ? pid : -1;
}

static pid_t start_namespaces(void)
{
    long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                 CLONE_NEWUTS | SIGCHLD;
    char *arguments[] = {(char *)noop_path(), NULL};
    pid_t pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        execve(noop_path(), arguments, environ);
        _exit(127);
    }
    return pid;
}

static bool process_measure(pid_t (*start)(void), struct samples *out)
{
    for (int k = 0; k < PROCESSES; k++) {
        int status;
        int64_t begin = clock_monotonic_ns();
        pid_t pid = start();
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
            return false;
        samples_add(out, since_us(begin));
    }
    return true;
}

/* ---- the first table ---- */

/* The medians of the tenths of a run, least and greatest: how steady its median is. */
static void tenths(const struct samples *s, double *least, double *greatest)
{
    size_t part = s->count / TENTHS;
    *least = *greatest = 0;
    for (size_t t = 0; t < TENTHS && part; t++) {
        struct samples some = {0};
        for (size_t k = 0; k < part; k++)
            samples_add(&some, s->values[t * part + k]);
        double median = samples_median(&some);
        *least = t == 0 || median < *least ? median : *least;
        *greatest = t == 0 || median > *greatest ? median : *greatest;
        samples_free(&some);
    }
}

struct row {
    const char *name;
    struct samples samples;
    double least, greatest; /* of the tenths; taken before quantiles sort the samples */
};

static void row_print(struct row *r)
{
    tenths(&r->samples, &r->least, &r->greatest);
    printf("%-58s %9.2f %9.2f   %.2f..%.2f\n", r->name, samples_median(&r->samples),
           samples_quantile(&r->samples, 0.99), r->least, r->greatest);
}

static void ratio_print(struct row *peer, struct row *own, double bar)
{
    double ratio = samples_median(&peer->samples) / samples_median(&own->samples);
    printf("%-58s %8.0fx   %.0f..%.0f", peer->name, ratio, peer->least / own->greatest,
           peer->greatest / own->least);
    if (bar > 0)
        printf("   bar %.0fx: %s", bar, ratio >= bar ? "held" : "MISSED");
    putchar('\n');
}

static void noop_table(struct artefact *artefact, struct artefact *other_artefact)
{
    struct snapshot *snapshot = snapshot_make(artefact, 0);
    struct snapshot *other = snapshot_make(other_artefact, 0);
    struct row hot = {.name = "hot: call and reset"};
    struct row warm = {.name = "warm: restore, first instruction, reset"};
    struct row taken = {.name = "  in a slot that was another function's"};
    struct row fresh = {.name = "  in a slot that was nobody's"};
    struct row forked = {.name = "peer: fork, exit"};
    struct row spawned = {.name = "peer: posix_spawn of a static program"};
    struct row confined = {.name = "peer: that program in six namespaces"};
    hot_measure(snapshot, &hot.samples);
    warm_measure(snapshot, NULL, &warm.samples);
    warm_measure(snapshot, other, &taken.samples);
    fresh_measure(snapshot, &fresh.samples);
    bool fork_works = process_measure(start_fork, &forked.samples);
    bool spawn_works = process_measure(start_spawn, &spawned.samples);
    bool confined_works = process_measure(start_namespaces, &confined.samples);
    printf("%-58s %9s %9s   %s\n", "a function that does nothing, microseconds", "p50", "p99",
           "p50 of tenths");
    row_print(&hot), row_print(&warm), row_print(&taken), row_print(&fresh);
    struct row *peers[] = {&forked, &spawned, &confined};
    const bool works[] = {fork_works, spawn_works, confined_works};
    static const double bars[] = {0, 50, 300};
    for (int k = 0; k < 3; k++)
        if (works[k])
            row_print(peers[k]);
        else
            printf("%-58s skipped: not permitted here\n", peers[k]->name);
    printf("\nhow many times as fast is warm\n");
    for (int k = 0; k < 3; k++)
        if (works[k])
            ratio_print(peers[k], &warm, bars[k]);
    putchar('\n');
    samples_free(&hot.samples), samples_free(&warm.samples), samples_free(&taken.samples);
    samples_free(&fresh.samples), samples_free(&forked.samples), samples_free(&spawned.samples);
    samples_free(&confined.samples);
    snapshot_release(snapshot);
    snapshot_release(other);
}

/* ---- files ---- */

struct files {
    char directory[64], object[96], image[96];
};

static void files_make(struct files *f)
{
    snprintf(f->directory, sizeof f->directory, "/tmp/bench-coldstart-XXXXXX");
    if (!mkdtemp(f->directory))
        bench_fail(1, "cannot make %s: %s", f->directory, strerror(errno));
    snprintf(f->object, sizeof f->object, "%s/object", f->directory);
    snprintf(f->image, sizeof f->image, "%s/image", f->directory);
}

static void files_remove(const struct files *f)
{
    unlink(f->object);
    unlink(f->image);
    rmdir(f->directory);
}

/* Drops a file from the page cache, so that it is read from the disk. */
static void file_evict(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fdatasync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        bench_fail(1, "cannot evict %s: %s", path, strerror(errno));
    close(fd);
}

static void image_write(struct snapshot *snapshot, const char *path)
{
    struct error e = {0};
    struct arena *arena = restore(snapshot);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        bench_fail(1, "cannot write %s: %s", path, strerror(errno));
    bench_check(proto_image_write(arena, NULL, 0, fd, &e), &e);
    close(fd);
    arena_destroy(arena);
}

/* From the files to the end of the first call. */
static double cold_once(const struct files *f, const char *name, int32_t argument)
{
    struct error e = {0};
    struct artefact *artefact;
    struct proto_image *image;
    struct snapshot *snapshot;
    struct arena *arena;
    int64_t start = clock_monotonic_ns();
    bench_check(artefact_load(f->object, &artefact, &e), &e);
    int fd = open(f->image, O_RDONLY | O_CLOEXEC);
    bench_check(proto_image_open(fd, &image, &e), &e);
    close(fd);
    struct proto_module module = {.artefact = artefact};
    bench_check(proto_image_load(image, &limits, proto_link_module, &module, &arena, &e), &e);
    bench_check(snapshot_take(arena, &snapshot, &e), &e);
    proto_image_close(image);
    arena_destroy(arena);
    arena = restore(snapshot);
    call(arena, name, argument);
    double us = since_us(start);
    arena_destroy(arena);
    snapshot_release(snapshot);
    artefact_release(artefact);
    return us;
}

/* ---- the ladder ---- */

struct rung {
    struct samples hot, warm, cached, disk;
};

static void rung_measure(struct snapshot *snapshot, const struct files *f, int32_t pages,
                         struct rung *r)
{
    struct arena *pooled = restore(snapshot);
    uint32_t touch = guest_function(arena_primary(pooled), "touch");
    for (int k = 0; k < LADDER_ROUNDS; k++) {
        int64_t start = clock_monotonic_ns();
        guest_call(arena_primary(pooled), touch, pages);
        reset(snapshot, pooled);
        samples_add(&r->hot, since_us(start));
    }
    arena_destroy(pooled);
    for (int k = 0; k < LADDER_ROUNDS; k++) {
        int64_t start = clock_monotonic_ns();
        struct arena *arena = restore(snapshot);
        guest_call(arena_primary(arena), touch, pages);
        reset(snapshot, arena);
        samples_add(&r->warm, since_us(start));
        arena_destroy(arena);
    }
    for (int k = 0; k < COLD_ROUNDS; k++) {
        samples_add(&r->cached, cold_once(f, "touch", pages));
        file_evict(f->object);
        file_evict(f->image);
        samples_add(&r->disk, cold_once(f, "touch", pages));
    }
}

static void rung_print(int32_t kib, int32_t pages, struct rung *r)
{
    struct samples *columns[] = {&r->hot, &r->warm, &r->cached, &r->disk};
    printf("%9d %6d ", (int)kib, (int)pages);
    for (int k = 0; k < 4; k++) {
        printf(" %10.1f %10.1f", samples_median(columns[k]), samples_quantile(columns[k], 0.99));
        samples_free(columns[k]);
    }
    putchar('\n');
}

static void ladder_table(struct artefact *artefact)
{
    static const int32_t sizes[] = {64, 1024, 16384, 65536}, dirty[] = {1, 8, 64};
    struct error e = {0};
    struct files f;
    files_make(&f);
    bench_check(artefact_save(artefact, f.object, &e), &e);
    printf("a call that writes so many pages, and reset; microseconds, p50 and p99\n");
    printf("%9s %6s  %21s %21s %21s %21s\n", "image KiB", "pages", "hot", "warm",
           "cold, files cached", "cold, files on disk");
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct snapshot *snapshot = snapshot_make(artefact, sizes[s]);
        image_write(snapshot, f.image);
        for (size_t d = 0; d < sizeof dirty / sizeof *dirty; d++) {
            struct rung r = {0};
            if (dirty[d] * 4 > sizes[s])
                continue; /* the image has fewer pages */
            rung_measure(snapshot, &f, dirty[d], &r);
            rung_print(sizes[s], dirty[d], &r);
        }
        snapshot_release(snapshot);
    }
    files_remove(&f);
    putchar('\n');
}

/* ---- without an image ---- */

static void object_once(const char *path, struct timings *out)
{
    struct error e = {0};
    struct artefact *artefact;
    struct stopwatch watch = stopwatch_start();
    bench_check(artefact_load(path, &artefact, &e), &e);
    struct arena *arena = arena_new(artefact);
    call(arena, "nothing", 0);
    stopwatch_lap(&watch, out);
    arena_destroy(arena);
    artefact_release(artefact);
}

static void object_row(const char *what, struct timings *t)
{
    double wall = samples_median(&t->wall_us) / 1e3;
    printf("%-58s %9.2f %9.2f %9.2f   bar 5: %s\n", what, wall,
           samples_quantile(&t->wall_us, 0.99) / 1e3, samples_median(&t->thread_us) / 1e3,
           wall <= 5 ? "held" : "MISSED");
    timings_free(t);
}

static void object_table(struct artefact *large)
{
    struct error e = {0};
    struct files f;
    struct timings cached = {0}, disk = {0};
    files_make(&f);
    bench_check(artefact_save(large, f.object, &e), &e);
    for (int k = 0; k < OBJECT_ROUNDS; k++) {
        object_once(f.object, &cached);
        file_evict(f.object);
        object_once(f.object, &disk);
    }
    printf("a module of 1 MiB (%u KiB of code), no image: object to first instruction, ms\n",
           large->code_size >> 10);
    printf("%-58s %9s %9s %9s\n", "", "p50", "p99", "CPU p50");
    object_row("file cached", &cached);
    object_row("file on disk", &disk);
    files_remove(&f);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-coldstart [ATOLL-CC]");
    const char *program = argc == 2 ? argv[1] : NULL;
    environment_print();
    environment_verdict();
    bench_check(engine_initialize(&e), &e);
    struct artefact *pages = guest_artefact(program, "pages");
    struct artefact *large = guest_artefact(program, "large");
    noop_table(pages, large);
    ladder_table(pages);
    object_table(large);
    artefact_release(pages);
    artefact_release(large);
    environment_verdict();
    return 0;
}
