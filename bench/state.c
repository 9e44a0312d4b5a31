/*
 * bench-state: what the tiers of state cost, against each other and against their limits.
 *
 * Attach: a value of 1 GiB that is here is opened (the supervisor's part), mapped into an arena and
 * touched, beside a value of one page; and 100 arenas that have read all of one value, in memory.
 * Tiers: the same bytes copied in shared memory, read and written with bare LMDB, and pulled and
 * pushed through the local tier over the store. Medians in microseconds, with the spread.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"
#include "guest.h"

#include "sandbox/region.h"
#include "state/state.h"
#include "store/store.h"

#include <fcntl.h>
#include <ftw.h>
#include <lmdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define GIB     (1ull << 30)
#define ATTACHS 400
#define SHARED  (16u << 20) /* read by all of ARENAS */
#define ARENAS  100
#define SIZES   4
#define ROUNDS  60

static const size_t sizes[SIZES] = {8, 4096, 65536, 1 << 20};
static const struct state_client me = {1, 1};

static struct store *store;
static struct state_tier *tier;
static int wake_fd;
static int64_t timer_at = STATE_NEVER;

/* ---- a supervisor's loop ---- */

static void wake(void *context)
{
    uint64_t one = 1;
    (void)context;
    if (write(wake_fd, &one, sizeof one) < 0)
        bench_fail(1, "cannot wake");
}

static int64_t now(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static void timer(void *context, int64_t at_ns)
{
    (void)context;
    timer_at = at_ns;
}

static void turn(void)
{
    struct pollfd p = {.fd = wake_fd, .events = POLLIN};
    uint64_t count;
    int64_t left = timer_at == STATE_NEVER ? 1000000000 : timer_at - clock_monotonic_ns();
    if (!store_complete(store) && left > 0) {
        poll(&p, 1, (int)(left / 1000000 + 1));
        if (read(wake_fd, &count, sizeof count) > 0)
            store_complete(store);
    }
    if (timer_at <= clock_monotonic_ns()) {
        timer_at = STATE_NEVER;
        state_tick(tier);
    }
}

struct asked {
    bool done;
    int64_t result;
    uint32_t slot, gen;
    int fd;
};

static void asked_done(void *context, const struct state_answer *a)
{
    *(struct asked *)context = (struct asked){true, a->result, a->reply.slot, a->reply.gen, a->fd};
    if (a->result < 0)
        bench_fail(1, "%s", a->error->text);
}

static struct asked ask(const struct state_request *r)
{
    struct asked asked = {0};
    state_submit(tier, me, r, asked_done, &asked);
    while (state_op_answers(r->op) && !asked.done)
        turn();
    return asked;
}

static struct asked value_open(const char *key, uint64_t size, uint32_t flags)
{
    return ask(&(struct state_request){.op = STATE_OP_OPEN,
                                       .key = (const uint8_t *)key,
                                       .key_len = (uint32_t)strlen(key),
                                       .len = size,
                                       .flags = STATE_OPEN_READ | STATE_OPEN_WRITE | flags});
}

static void value_do(const struct asked *v, enum state_op op, uint32_t flags)
{
    ask(&(struct state_request){.op = op, .slot = v->slot, .gen = v->gen, .flags = flags});
}

/* ---- attach ---- */

static void row(const char *what, struct samples *s)
{
    printf("%-52s %10.2f %10.2f %10.2f\n", what, samples_median(s), samples_quantile(s, 0.1),
           samples_quantile(s, 0.9));
}

static void attach_measure(struct arena *arena, const struct asked *v, uint64_t len,
                           struct samples *map, struct samples *touch)
{
    for (int i = 0; i < ATTACHS; i++) {
        struct error e;
        uint32_t address;
        int64_t begin = clock_monotonic_ns();
        bench_check(
            region_map(arena, "state", v->fd, 0, len, GUEST_READ | GUEST_WRITE, &address, &e), &e);
        int64_t mapped = clock_monotonic_ns();
        uint8_t byte;
        bench_check(guest_read(arena, &byte, address, 1), &e);
        int64_t touched = clock_monotonic_ns();
        bench_check(region_unmap(arena, address, &e), &e);
        samples_add(map, (double)(mapped - begin) / 1e3);
        samples_add(touch, (double)(touched - begin) / 1e3);
    }
}

static uint64_t memory_pss(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "Pss: %llu kB", &kib);
    if (f)
        fclose(f);
    return kib << 10;
}

static void share_measure(struct artefact *artefact)
{
    struct asked v = value_open("shared", SHARED, STATE_OPEN_CREATE | STATE_OPEN_LOCAL);
    uint8_t *bytes = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, 0);
    uint8_t *copy = malloc(SHARED);
    struct instance *instances[ARENAS];
    uint32_t addresses[ARENAS];
    struct error e;
    if (bytes == MAP_FAILED || !copy)
        bench_fail(1, "no memory");
    memset(bytes, 1, SHARED);
    memset(copy, 1, SHARED);
    for (int i = 0; i < ARENAS; i++)
        instances[i] = guest_instance(artefact);
    uint64_t before = memory_pss();
    for (int i = 0; i < ARENAS; i++) {
        struct arena *arena = instance_arena(instances[i]);
        bench_check(region_map(arena, "state", v.fd, 0, SHARED, GUEST_READ, &addresses[i], &e), &e);
        bench_check(guest_read(arena, copy, addresses[i], SHARED), &e);
    }
    double grown = (double)memory_pss() - (double)before;
    printf("%d arenas that have read all of %u MiB: %+.2f MiB of memory, %.1f %% of one copy\n",
           ARENAS, SHARED >> 20, grown / 1048576, 100.0 * (grown + SHARED) / SHARED);
    for (int i = 0; i < ARENAS; i++)
        arena_destroy(instance_arena(instances[i]));
    munmap(bytes, SHARED);
    free(copy);
}

static void attach_print(void)
{
    struct samples open = {0}, map = {0}, touch = {0}, small_map = {0}, small_touch = {0};
    struct artefact *artefact = guest_artefact(NULL, "pages");
    struct arena *arena = instance_arena(guest_instance(artefact));
    struct asked big = value_open("big", GIB, STATE_OPEN_CREATE | STATE_OPEN_LOCAL);
    struct asked small = value_open("small", 4096, STATE_OPEN_CREATE | STATE_OPEN_LOCAL);
    for (int i = 0; i < ATTACHS; i++) {
        int64_t begin = clock_monotonic_ns();
        value_open("big", GIB, 0);
        samples_add(&open, (double)(clock_monotonic_ns() - begin) / 1e3);
    }
    attach_measure(arena, &big, GIB, &map, &touch);
    attach_measure(arena, &small, 4096, &small_map, &small_touch);
    printf("%-52s %10s %10s %10s\n", "attach, microseconds", "p50", "p10", "p90");
    row("open of a value that is here (supervisor's part)", &open);
    row("map 1 GiB into an arena", &map);
    row("map 1 GiB and touch it", &touch);
    row("limit: map one page", &small_map);
    row("limit: map one page and touch it", &small_touch);
    arena_destroy(arena);
    share_measure(artefact);
    samples_free(&open);
    samples_free(&map);
    samples_free(&touch);
    samples_free(&small_map);
    samples_free(&small_touch);
}

/* ---- tiers ---- */

enum tier_row { COPY, GET, PUT, PUT_SYNC, PULL, PUSH, PUSH_SYNC, TIERS };
static const char *const tier_names[TIERS] = {
    "shared memory copy", "LMDB get and copy", "LMDB put, own transaction, no sync",
    "LMDB put, fsync",    "pull, all changed", "push, acknowledged when it has taken effect",
    "push, durable",
};
static struct samples tiers[TIERS][SIZES];

static void lmdb_check(int rc)
{
    if (rc != 0)
        bench_fail(1, "LMDB: %s", mdb_strerror(rc));
}

static MDB_env *lmdb_open(const char *directory, const char *name, unsigned flags, MDB_dbi *dbi)
{
    char path[512];
    MDB_env *env;
    MDB_txn *txn;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    lmdb_check(mdb_env_create(&env));
    lmdb_check(mdb_env_set_mapsize(env, 1u << 30));
    lmdb_check(mdb_env_open(env, path, flags | MDB_NOSUBDIR, 0600));
    lmdb_check(mdb_txn_begin(env, NULL, 0, &txn));
    lmdb_check(mdb_dbi_open(txn, NULL, 0, dbi));
    lmdb_check(mdb_txn_commit(txn));
    return env;
}

static void lmdb_put(MDB_env *env, MDB_dbi dbi, void *bytes, size_t len)
{
    MDB_txn *txn;
    MDB_val key = {3, "key"}, value = {len, bytes};
    lmdb_check(mdb_txn_begin(env, NULL, 0, &txn));
    lmdb_check(mdb_put(txn, dbi, &key, &value, 0));
    lmdb_check(mdb_txn_commit(txn));
}

static void lmdb_get(MDB_env *env, MDB_dbi dbi, uint8_t *to, size_t len)
{

    MDB_txn *txn;
    MDB_val key = {3, "key"}, value;
    lmdb_check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn));
    lmdb_check(mdb_get(txn, dbi, &key, &value));
    if (value.mv_size != len)
        bench_fail(1, "LMDB: a value of another size");
    memcpy(to, value.mv_data, len);
    __asm__ volatile("" : : "r"(to) : "memory"); /* or the copy is left out */
    mdb_txn_abort(txn);
}

/* Repeats what is quick, so that the clock can see it. */
#define MEASURE(row, s, times, statement)                                                       \
    do {                                                                                        \
        int64_t begin_ns = clock_monotonic_ns();                                                \
        for (int t = 0; t < (times); t++) {                                                     \
            statement;                                                                          \
        }                                                                                       \
        samples_add(&tiers[row][s], (double)(clock_monotonic_ns() - begin_ns) / 1e3 / (times)); \
    } while (0)

static void store_changed(void *context, const struct gt_result *r)
{
    *(bool *)context = true;
    if (r->code < 0)
        bench_fail(1, "%s", r->error->text);
}

/* Another node pushes. */
static void elsewhere_push(const char *key, const uint8_t *bytes, size_t len)
{
    bool done = false;
    struct error e;
    struct gt_key k = {"bench", key, strlen(key)};
    struct gt_range range = {.bytes = bytes, .len = len};
    struct gt_commit c = {
        .expect_version = GT_VERSION_ANY, .size = GT_SIZE_KEEP, .range_count = 1, .ranges = &range};
    struct gt *gt = store_gt(store);
    bench_check(gt->ops->commit(gt, &k, &c, (struct gt_callback){store_changed, &done}, &e), &e);
    while (!done)
        turn();
}

static void tiers_measure(const char *directory)
{
    static uint8_t bytes[1 << 20], target[1 << 20];
    MDB_dbi fast_dbi, safe_dbi;
    MDB_env *fast = lmdb_open(directory, "nosync", MDB_NOSYNC, &fast_dbi);
    MDB_env *safe = lmdb_open(directory, "sync", 0, &safe_dbi);
    for (int s = 0; s < SIZES; s++) {
        char key[16];
        size_t len = sizes[s];
        snprintf(key, sizeof key, "size-%zu", len);
        struct asked v = value_open(key, len, STATE_OPEN_CREATE);
        uint8_t *shared =
            mmap(NULL, align_up(len, 4096), PROT_READ | PROT_WRITE, MAP_SHARED, v.fd, 0);
        value_do(&v, STATE_OP_PUSH, 0);
        for (int i = 0; i < ROUNDS; i++) {
            int many = len <= 65536 ? 1000 : 20;
            memset(bytes, i, len);
            MEASURE(COPY, s, many, memcpy(shared, bytes, len));
            MEASURE(PUT, s, 10, lmdb_put(fast, fast_dbi, bytes, len));
            MEASURE(PUT_SYNC, s, 1, lmdb_put(safe, safe_dbi, bytes, len));
            MEASURE(GET, s, many / 10, lmdb_get(safe, safe_dbi, target, len));
            MEASURE(PUSH, s, 1, value_do(&v, STATE_OP_PUSH, 0));
            MEASURE(PUSH_SYNC, s, 1, value_do(&v, STATE_OP_PUSH, STATE_PUSH_DURABLE));
            elsewhere_push(key, bytes, len);
            MEASURE(PULL, s, 1, value_do(&v, STATE_OP_PULL, 0));
        }
        munmap(shared, align_up(len, 4096));
    }
    mdb_env_close(fast);
    mdb_env_close(safe);
}

static void tiers_print(void)
{
    printf("\n%-46s", "median microseconds [p10 … p90]");
    for (int s = 0; s < SIZES; s++)
        printf(" %18zu B", sizes[s]);
    putchar('\n');
    for (int r = 0; r < TIERS; r++) {
        printf("%-46s", tier_names[r]);
        for (int s = 0; s < SIZES; s++) {
            struct samples *x = &tiers[r][s];
            char cell[64];
            snprintf(cell, sizeof cell, "%.3g [%.3g … %.3g]", samples_median(x),
                     samples_quantile(x, 0.1), samples_quantile(x, 0.9));
            printf(" %22s", cell);
        }
        putchar('\n');
    }
    printf("%-46s", "push, durable / LMDB put, fsync");
    for (int s = 0; s < SIZES; s++)
        printf(" %20.2f",
               samples_median(&tiers[PUSH_SYNC][s]) / samples_median(&tiers[PUT_SYNC][s]));
    putchar('\n');
}

static int file_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

int main(void)
{
    char directory[] = "/var/tmp/bench-state-XXXXXX";
    struct error e = {0};
    environment_print();
    wake_fd = eventfd(0, EFD_NONBLOCK);
    if (!mkdtemp(directory) || wake_fd < 0)
        bench_fail(1, "cannot make a directory for the store");
    char path[512];
    snprintf(path, sizeof path, "%s/store", directory);
    struct store_options store_options = {.directory = path, .wake = wake};
    bench_check(store_open(&store_options, &store, &e), &e);
    struct state_options options = {
        .gt = store_gt(store), .local_max = 4 * GIB, .now = now, .timer = timer};
    bench_check(state_create(&options, &tier, &e), &e);
    bench_check(state_worker_join(tier, me.worker, "bench", &e), &e);
    attach_print();
    tiers_measure(directory);
    tiers_print();
    (void)store_close(store, &e);
    state_destroy(tier);
    nftw(directory, file_remove, 8, FTW_DEPTH | FTW_PHYS);
    return 0;
}
