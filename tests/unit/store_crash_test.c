/*
 * The store when its process is killed: a child writes as fast as it can and notes in shared memory
 * what was acknowledged as durable; the parent kills it at a random moment, opens the store and
 * looks for everything noted, and for halves of anything.
 *
 * STORE_CRASH_ROUNDS makes it longer.
 */
#define _GNU_SOURCE
#include "store_calls.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>

#define ROUNDS    60
#define STAMPS    5 /* of one commit, in different chunks */
#define IN_FLIGHT 40
#define PADDING   3000

/* What the child knows to be on disk. Operations take effect in order, so the last one suffices. */
struct notes {
    _Atomic uint64_t version, entries, count, record, token;
};

static struct notes *notes;

enum subject { SUBJECT_VALUE, SUBJECT_ENTRIES, SUBJECT_COUNTER, SUBJECT_RECORDS, SUBJECT_LOCK };

struct flight {
    enum subject subject;
    bool flying, durable;
    uint64_t number;
};

static struct flight flights[IN_FLIGHT];
static uint64_t next_value, next_record;

static void flight_land(void *context, const struct gt_result *r)
{
    struct flight *f = context;
    f->flying = false;
    if (r->code < 0)
        _exit(3);
    if (f->subject == SUBJECT_LOCK)
        notes->token = (uint64_t)r->value;
    if (!f->durable)
        return;
    switch (f->subject) {
    case SUBJECT_VALUE: notes->version = r->version; break;
    case SUBJECT_ENTRIES: notes->entries = (uint64_t)r->value + 1; break;
    case SUBJECT_COUNTER: notes->count = (uint64_t)r->value; break;
    case SUBJECT_RECORDS: notes->record = f->number; break;
    case SUBJECT_LOCK: break;
    }
}

/* The same number at the begin of five chunks. */
static int value_call(struct gt *gt, uint32_t flags, struct gt_callback back, struct error *e)
{
    struct gt_key k = key_of("value");
    struct gt_range ranges[STAMPS];
    uint64_t number = ++next_value;
    for (uint64_t i = 0; i < STAMPS; i++)
        ranges[i] = (struct gt_range){i * 2 * GT_CHUNK_BYTES, &number, 8, GT_SET};
    struct gt_commit c = {.expect_version = number - 1,
                          .size = GT_SIZE_KEEP,
                          .flags = flags | GT_GROW,
                          .range_count = STAMPS,
                          .ranges = ranges};
    return gt->ops->commit(gt, &k, &c, back, e);
}

/* The same number in two tables. */
static int records_call(struct flight *f, uint32_t flags, struct gt_callback back, struct error *e)
{
    static uint8_t bytes[PADDING];
    f->number = ++next_record;
    memcpy(bytes, &f->number, 8);
    struct store_write w[] = {{STORE_PUT, STORE_FUNCTION, "f", 1, &f->number, 8},
                              {STORE_PUT, STORE_ALIAS, "a", 1, bytes, sizeof bytes}};
    return store_write(store, w, 2, flags, back, e);
}

static void flight_start(struct flight *f)
{
    struct gt *gt = store_gt(store);
    struct gt_callback back = {flight_land, f};
    struct gt_key log = key_of("log"), counter = key_of("counter"), lock = key_of("lock");
    struct gt_object_call add = {.op = GT_COUNTER_ADD, .a = 1};
    struct error e;
    int rc = -1;
    f->subject = (enum subject)(rand() % 5);
    f->durable = rand() % 4 == 0;
    f->flying = true;
    uint32_t flags = add.flags = f->durable ? GT_DURABLE : 0;
    switch (f->subject) {
    case SUBJECT_VALUE: rc = value_call(gt, flags, back, &e); break;
    case SUBJECT_ENTRIES: rc = gt->ops->append(gt, &log, "entry", 5, flags, back, &e); break;
    case SUBJECT_COUNTER: rc = gt->ops->object(gt, &counter, GT_COUNTER, &add, back, &e); break;
    case SUBJECT_RECORDS: rc = records_call(f, flags, back, &e); break;
    case SUBJECT_LOCK:
        rc = gt->ops->lock(gt, &lock, GT_LOCK_READ, next_value * 1000 + (uint64_t)rand(), 1000000,
                           GT_FOREVER, back, &e);
        break;
    }
    if (rc < 0)
        _exit(2);
}

static _Noreturn void child_run(unsigned seed)
{
    struct gt_key value = key_of("value"), counter = key_of("counter");
    srand(seed);
    store_start(NULL);
    if (GT(stat, &value) == 0)
        next_value = last.result.version;
    if (GT(object_open, &counter, GT_COUNTER, 0, 1) < 0)
        _exit(4);
    if (RECORD(store_get, STORE_FUNCTION, "f", 1) == 0)
        next_record = load_u64(last.result.data);
    for (;;) {
        for (int i = 0; i < IN_FLIGHT; i++) {
            if (!flights[i].flying)
                flight_start(&flights[i]);
        }
        store_wait(store);
    }
}

/* ---- what is left ---- */

static void value_check(void)
{
    struct gt_key k = key_of("value");
    uint64_t got[STAMPS];
    struct gt_span spans[STAMPS];
    for (uint64_t i = 0; i < STAMPS; i++)
        spans[i] = (struct gt_span){i * 2 * GT_CHUNK_BYTES, &got[i], 8};
    int rc = GT(getrange, &k, 0, spans, STAMPS);
    assert_true(rc == 0 || (rc == -ATOLL_ENOENT && notes->version == 0));
    if (rc < 0)
        return;
    assert_true(last.result.version >= notes->version);
    for (int i = 0; i < STAMPS; i++)
        assert_int_equal(got[i], last.result.version);
}

static void entries_check(void)
{
    struct gt_key k = key_of("log");
    int rc = GT(stat, &k);
    uint64_t entries = rc == 0 ? last.result.entries : 0;
    assert_true(entries >= notes->entries);
    for (uint64_t from = 0; from < entries; from += last.result.count) {
        assert_int_equal(GT(entries, &k, from, 10000, 1 << 20), 0);
        assert_true(last.result.count > 0);
        assert_memory_equal(last.result.data, "entry", 5);
    }
}

static void records_check(void)
{
    uint64_t number = 0;
    if (RECORD(store_get, STORE_FUNCTION, "f", 1) == 0)
        number = load_u64(last.result.data);
    assert_true(number >= notes->record);
    if (RECORD(store_get, STORE_ALIAS, "a", 1) == 0)
        assert_int_equal(load_u64(last.result.data), number);
    else
        assert_int_equal(number, 0);
}

static void everything_check(void)
{
    struct gt_key counter = key_of("counter"), lock = key_of("lock");
    struct gt_object_call get = {.op = GT_COUNTER_GET};
    store_start(NULL);
    value_check();
    entries_check();
    records_check();
    int rc = GT(object, &counter, GT_COUNTER, &get);
    assert_true((rc == 0 ? (uint64_t)last.result.value : 0) >= notes->count);
    assert_int_equal(GT(lock, &lock, GT_LOCK_READ, 1, 1000000, 0), 0);
    assert_true((uint64_t)last.result.value > notes->token);
    store_stop();
}

static void a_killed_store_keeps_what_it_acknowledged_and_no_halves(void **state)
{
    (void)state;
    const char *setting = getenv("STORE_CRASH_ROUNDS");
    int rounds = setting ? atoi(setting) : ROUNDS;
    notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(notes, MAP_FAILED);
    for (int round = 0; round < rounds; round++) {
        uint32_t delay;
        int status;
        assert_int_equal(getrandom(&delay, sizeof delay, 0), sizeof delay);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            child_run(delay);
        usleep(delay % 60000);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        everything_check();
    }
    uint64_t noted = notes->version + notes->entries + notes->count + notes->record;
    print_message("# %d rounds: version %llu, %llu entries, count %llu, record %llu\n", rounds,
                  (unsigned long long)notes->version, (unsigned long long)notes->entries,
                  (unsigned long long)notes->count, (unsigned long long)notes->record);
    assert_true(noted > 0);
    munmap(notes, sizeof *notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_store_keeps_what_it_acknowledged_and_no_halves),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
