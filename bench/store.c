/*
 * bench-store: what the store's operations cost, one owner's thread calling as a node's loop does.
 *
 * Changes: how many per second with many on their way, acknowledged at once or when on disk, and
 * how long one alone takes; beside it the disk's own limit, a page written and synchronised. Reads:
 * against memcpy of as many bytes. Locks and objects: there and back. Everything is measured in
 * rounds that take turns; the table shows the median and the spread of the rounds.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"

#include "store/store.h"

#include <endian.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define ROUNDS     7
#define ASYNC      40000 /* operations of a round */
#define DURABLE    4000
#define ALONE      150
#define FLIGHT     512
#define READ_BYTES (64u << 20) /* copied in a round, at least 200 times */
#define KEYS       1000
#define LARGE      (64u << 20)

static struct store *store;
static struct gt *gt;
static int wake_fd;
static uint64_t flying, failed;
static uint8_t *source, *target;

static void check(int rc, const struct error *e)
{
    if (rc < 0)
        bench_fail(1, "%s", e->text);
}

static void wake(void *context)
{
    uint64_t one = 1;
    (void)context;
    if (write(wake_fd, &one, sizeof one) < 0)
        bench_fail(1, "cannot wake");
}

static void landed(void *context, const struct gt_result *r)
{
    (void)context;
    failed += r->code < 0;
    flying--;
}

static const struct gt_callback back = {landed, NULL};

/* As a loop does: sleep until woken, then run callbacks. */
static void complete(void)
{
    struct pollfd p = {.fd = wake_fd, .events = POLLIN};
    uint64_t count;
    if (store_complete(store) > 0)
        return;
    poll(&p, 1, 1000);
    if (read(wake_fd, &count, sizeof count) > 0)
        store_complete(store);
}

static void land(uint64_t at_most)
{
    while (flying > at_most)
        complete();
}

/* ---- operations ---- */

static uint64_t serial;

static struct gt_key key_number(uint64_t number)
{
    static char name[24];
    snprintf(name, sizeof name, "key-%06llu", (unsigned long long)(number % KEYS));
    return (struct gt_key){"bench", name, strlen(name)};
}

static void commit_start(size_t len, uint32_t flags)
{
    struct error e;
    struct gt_key k = key_number(serial++ * 7919);
    struct gt_range range = {.bytes = source, .len = len};
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = len,
                          .flags = flags,
                          .range_count = 1,
                          .ranges = &range};
    check(gt->ops->commit(gt, &k, &c, back, &e), &e);
}

static void commit_8(uint32_t flags)
{
    commit_start(8, flags);
}

static void commit_4k(uint32_t flags)
{
    commit_start(4096, flags);
}

static void append_100(uint32_t flags)
{
    struct error e;
    struct gt_key k = {"bench", "log", 3};
    check(gt->ops->append(gt, &k, source, 100, flags, back, &e), &e);
}

static void counter_add(uint32_t flags)
{
    struct error e;
    struct gt_key k = {"bench", "counter", 7};
    struct gt_object_call add = {.op = GT_COUNTER_ADD, .flags = flags, .a = 1};
    check(gt->ops->object(gt, &k, GT_COUNTER, &add, back, &e), &e);
}

static void record_put(uint32_t flags)
{
    struct error e;
    uint64_t number = serial++ * 0x9e3779b97f4a7c15u;
    struct store_write w = {STORE_PUT, STORE_CALL, &number, sizeof number, source, 200};
    check(store_write(store, &w, 1, flags, back, &e), &e);
}

static void record_append(uint32_t flags)
{
    struct error e;
    uint64_t key = htobe64(serial++);
    struct store_write w = {STORE_PUT, STORE_FILE, &key, sizeof key, source, 200};
    check(store_write(store, &w, 1, flags, back, &e), &e);
}

static void stat_one(uint32_t flags)
{
    struct error e;
    struct gt_key k = key_number(serial++);
    (void)flags;
    check(gt->ops->stat(gt, &k, back, &e), &e);
}

/* ---- measuring ---- */

static void store_quiet(void)
{
    struct error e;
    flying++;
    check(store_sync(store, back, &e), &e);
    land(0);
}

static double rate_measure(void (*start)(uint32_t), uint32_t flags, int count)
{
    store_quiet();
    int64_t before = clock_monotonic_ns();
    for (int i = 0; i < count; i++) {
        flying++;
        start(flags);
        if (flying >= FLIGHT)
            land(FLIGHT / 2);
    }
    land(0);
    return count * 1e9 / (double)(clock_monotonic_ns() - before);
}

static void alone_measure(void (*start)(uint32_t), uint32_t flags, int count, struct samples *us)
{
    store_quiet();
    for (int i = 0; i < count; i++) {
        int64_t before = clock_monotonic_ns();
        flying++;
        start(flags);
        land(0);
        samples_add(us, (double)(clock_monotonic_ns() - before) / 1e3);
    }
}

static void disk_measure(int fd, struct samples *us)
{
    for (int i = 0; i < ALONE; i++) {
        int64_t before = clock_monotonic_ns();
        if (pwrite(fd, source, 4096, (off_t)(i % 16) * 4096) != 4096 || fdatasync(fd) < 0)
            bench_fail(1, "cannot write to the disk");
        samples_add(us, (double)(clock_monotonic_ns() - before) / 1e3);
    }
}

static void rate_print(const char *name, struct samples *s)
{
    printf("%-46s %11.0f   (%.0f .. %.0f)\n", name, samples_median(s), samples_quantile(s, 0),
           samples_quantile(s, 1));
    samples_free(s);
}

static void latency_print(const char *name, struct samples *s, double limit)
{
    printf("%-46s %9.1f %9.1f", name, samples_median(s), samples_quantile(s, 0.99));
    if (limit > 0)
        printf(" %8.2fx", samples_median(s) / limit);
    printf("\n");
}

static const struct {
    const char *name;
    void (*start)(uint32_t);
} changes[] = {{"commit 8 B, 1,000 keys", commit_8},
               {"commit 4 KiB, 1,000 keys", commit_4k},
               {"append 100 B", append_100},
               {"counter add", counter_add},
               {"record put 200 B, ascending keys", record_append},
               {"record put 200 B, keys anywhere", record_put}};

#define CHANGES (sizeof changes / sizeof *changes)

static void changes_run(int fd)
{
    static struct samples async[CHANGES], durable[CHANGES], stats;
    struct samples alone_async = {0}, alone_durable = {0}, disk = {0}, alone_stat = {0};
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < CHANGES; i++) {
            samples_add(&async[i], rate_measure(changes[i].start, 0, ASYNC));
            samples_add(&durable[i], rate_measure(changes[i].start, GT_DURABLE, DURABLE));
        }
        samples_add(&stats, rate_measure(stat_one, 0, ASYNC));
        disk_measure(fd, &disk);
        alone_measure(commit_8, GT_DURABLE, ALONE, &alone_durable);
        alone_measure(commit_8, 0, ALONE, &alone_async);
        alone_measure(stat_one, 0, ALONE, &alone_stat);
    }
    printf("%-46s %11s   (of %d rounds)\n", "acknowledged at once, 512 on their way", "per second",
           ROUNDS);
    for (size_t i = 0; i < CHANGES; i++)
        rate_print(changes[i].name, &async[i]);
    rate_print("stat, 1,000 keys", &stats);
    printf("\n%-46s %11s\n", "acknowledged on disk, 512 on their way", "per second");
    for (size_t i = 0; i < CHANGES; i++)
        rate_print(changes[i].name, &durable[i]);
    printf("\n%-46s %9s %9s %9s\n", "one alone", "p50 us", "p99 us", "ratio");
    latency_print("limit: write 4 KiB and fdatasync", &disk, 0);
    latency_print("commit 8 B, on disk", &alone_durable, samples_median(&disk));
    latency_print("commit 8 B, at once", &alone_async, 0);
    latency_print("stat", &alone_stat, 0);
}

/* ---- reads ---- */

static void value_make(size_t len)
{
    struct error e;
    struct gt_key k = {"bench", "value", 5};
    struct gt_range range = {.bytes = source, .len = len};
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = len,
                          .flags = GT_DURABLE,
                          .range_count = 1,
                          .ranges = &range};
    flying++;
    check(gt->ops->commit(gt, &k, &c, back, &e), &e);
    land(0);
}

static double get_measure(size_t len, int count)
{
    struct error e;
    struct gt_key k = {"bench", "value", 5};
    struct gt_span span = {0, target, len};
    int64_t before = clock_monotonic_ns();
    for (int i = 0; i < count; i++) {
        flying++;
        check(gt->ops->getrange(gt, &k, 0, &span, 1, back, &e), &e);
        land(len > 65536 ? 0 : 16);
    }
    land(0);
    return (double)(clock_monotonic_ns() - before) / 1e3 / count;
}

static double copy_measure(size_t len, int count)
{
    int64_t before = clock_monotonic_ns();
    for (int i = 0; i < count; i++) {
        memcpy(target, source, len);
        __asm__ volatile("" ::"r"(target) : "memory");
    }
    return (double)(clock_monotonic_ns() - before) / 1e3 / count;
}

static void reads_run(void)
{
    static const size_t sizes[] = {8, 4096, 65536, 1u << 20, LARGE};
    printf("\n%-46s %9s %9s %9s\n", "reading a value, several on their way", "us", "memcpy us",
           "ratio");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct samples get = {0}, copy = {0};
        int count = (int)(READ_BYTES / sizes[i] < 10000 ? READ_BYTES / sizes[i] : 10000);
        char name[40];
        value_make(sizes[i]);
        for (int round = 0; round < ROUNDS; round++) {
            samples_add(&get, get_measure(sizes[i], count));
            samples_add(&copy, copy_measure(sizes[i], count));
        }
        snprintf(name, sizeof name, "%zu bytes", sizes[i]);
        printf("%-46s %9.2f %9.3f %8.2fx   (%.2f .. %.2f us)\n", name, samples_median(&get),
               samples_median(&copy), samples_median(&get) / samples_median(&copy),
               samples_quantile(&get, 0), samples_quantile(&get, 1));
        samples_free(&get);
        samples_free(&copy);
    }
}

/* ---- the program ---- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

int main(int argc, char **argv)
{
    char directory[PATH_MAX], path[PATH_MAX + 8];
    struct error e;
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-store [DIRECTORY]");
    snprintf(directory, sizeof directory, "%s/bench-store-XXXXXX", argc == 2 ? argv[1] : "/tmp");
    if (!mkdtemp(directory))
        bench_fail(1, "cannot make %s", directory);
    snprintf(path, sizeof path, "%s/disk", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    wake_fd = eventfd(0, EFD_CLOEXEC);
    source = malloc(LARGE);
    target = malloc(LARGE);
    if (fd < 0 || wake_fd < 0 || !source || !target)
        bench_fail(1, "cannot begin");
    memset(source, 0x5a, LARGE);
    memset(target, 1, LARGE);
    environment_print();
    struct store_options o = {.directory = directory, .wake = wake};
    check(store_open(&o, &store, &e), &e);
    gt = store_gt(store);
    struct gt_key counter = {"bench", "counter", 7};
    flying = 1;
    check(gt->ops->object_open(gt, &counter, GT_COUNTER, 0, 1, back, &e), &e);
    land(0);
    changes_run(fd);
    reads_run();
    struct store_counters counters;
    store_counters(store, &counters);
    printf("\n%llu operations, %llu commits of %.2f ms\n", (unsigned long long)counters.operations,
           (unsigned long long)counters.commits,
           (double)counters.commit_ns / 1e6 / (double)counters.commits);
    check(store_close(store, &e), &e);
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (failed > 0)
        bench_fail(1, "%llu operations failed", (unsigned long long)failed);
    return 0;
}
