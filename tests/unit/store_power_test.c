/*
 * The store when the power goes. This program stands between LMDB and the kernel: it records every
 * write to the store's file and every synchronisation, and what was acknowledged when. Afterwards
 * it makes the files that a power cut could have left: what was synchronised is there; of what was
 * written since, any sectors are there and any are not. Each such file must open, hold everything
 * that was acknowledged as durable before the cut, and no half of any operation.
 *
 * STORE_POWER_CUTS makes it longer.
 */
#define _GNU_SOURCE
#include "store_calls.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SECTOR     512
#define FILE_MAX   (8u << 20)
#define OPERATIONS 400
#define STAMPS     4

enum event_kind { EVENT_WRITE, EVENT_SYNC, EVENT_NOTE };

struct event {
    enum event_kind kind;
    bool synchronous; /* a write that is on disk when it returns */
    uint64_t at;      /* of a write; the number that a note is about */
    size_t len;
    uint8_t *bytes;
};

static struct event *events;
static size_t event_count, event_capacity;
static pthread_mutex_t events_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool recording;
static ino_t recorded_file;

/* Called beneath LMDB: no assertions of the test library here. */
static void event_add(struct event event, const void *bytes)
{
    pthread_mutex_lock(&events_mutex);
    if (event_count == event_capacity) {
        event_capacity = event_capacity ? 2 * event_capacity : 1024;
        events = realloc(events, event_capacity * sizeof *events);
        assert(events);
    }
    if (event.len > 0) {
        event.bytes = malloc(event.len);
        assert(event.bytes);
        memcpy(event.bytes, bytes, event.len);
    }
    events[event_count++] = event;
    pthread_mutex_unlock(&events_mutex);
}

static bool is_recorded(int fd)
{
    struct stat status;
    return recording && fstat(fd, &status) == 0 && status.st_ino == recorded_file;
}

static void write_record(int fd, const void *bytes, ssize_t len, off_t at)
{
    if (len > 0 && is_recorded(fd))
        event_add((struct event){.kind = EVENT_WRITE,
                                 .at = (uint64_t)at,
                                 .len = (size_t)len,
                                 .synchronous = fcntl(fd, F_GETFL) & O_DSYNC},
                  bytes);
}

/* ---- in the kernel's place ---- */

/* By both names: which of them LMDB calls is a matter of how it was compiled. */
ssize_t between_pwrite(int fd, const void *bytes, size_t len, off_t at) __asm__("pwrite");
ssize_t between_pwrite64(int fd, const void *bytes, size_t len, off_t at) __asm__("pwrite64")
    __attribute__((alias("pwrite")));

ssize_t between_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, len, at);
    write_record(fd, bytes, n, at);
    return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    off_t at = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_write, fd, bytes, len);
    write_record(fd, bytes, n, at);
    return n;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    off_t at = is_recorded(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t n = syscall(SYS_writev, fd, parts, count), left = n;
    for (int i = 0; i < count && left > 0; i++) {
        ssize_t len = left < (ssize_t)parts[i].iov_len ? left : (ssize_t)parts[i].iov_len;
        write_record(fd, parts[i].iov_base, len, at);
        at += len;
        left -= len;
    }
    return n;
}

int fdatasync(int fd)
{
    int rc = (int)syscall(SYS_fdatasync, fd);
    if (rc == 0 && is_recorded(fd))
        event_add((struct event){.kind = EVENT_SYNC}, NULL);
    return rc;
}

/* ---- the run ---- */

static void stamp_note(void *context, const struct gt_result *r)
{
    assert_int_equal(r->code, 0);
    event_add((struct event){.kind = EVENT_NOTE, .at = (uint64_t)(uintptr_t)context}, NULL);
}

/* Operation n writes n into four chunks, appends an entry, and keeps a record in two tables; every
 * third is durable. The values around them change size, so that pages come and go. */
static void operation_run(uint64_t n)
{
    struct gt *gt = store_gt(store);
    struct gt_key k = key_of("value");
    struct gt_range ranges[STAMPS];
    struct error e;
    static uint8_t filling[3000];
    uint32_t flags = n % 3 == 0 ? GT_DURABLE : 0;
    for (uint64_t i = 0; i < STAMPS; i++)
        ranges[i] = (struct gt_range){i * GT_CHUNK_BYTES, &n, 8, GT_SET};
    struct gt_commit c = {.expect_version = n - 1,
                          .size = GT_SIZE_KEEP,
                          .flags = GT_GROW,
                          .range_count = STAMPS,
                          .ranges = ranges};
    assert_int_equal(gt->ops->commit(gt, &k, &c, (struct gt_callback){0}, &e), 0);
    memset(filling, (int)n, sizeof filling);
    assert_int_equal(gt->ops->append(gt, &k, filling, 1 + n * 37 % sizeof filling, 0,
                                     (struct gt_callback){0}, &e),
                     0);
    struct store_write w[] = {{STORE_PUT, STORE_FUNCTION, "f", 1, &n, 8},
                              {STORE_PUT, STORE_ALIAS, "a", 1, &n, 8}};
    struct gt_callback note = {stamp_note, (void *)(uintptr_t)n};
    assert_int_equal(store_write(store, w, 2, flags, flags ? note : (struct gt_callback){0}, &e),
                     0);
    if (n % 50 == 0) {
        struct gt_key scratch_key = key_of("scratch");
        c = (struct gt_commit){.expect_version = GT_VERSION_ANY, .size = n % 100 ? 300000 : 10};
        assert_int_equal(gt->ops->commit(gt, &scratch_key, &c, (struct gt_callback){0}, &e), 0);
        assert_int_equal(gt->ops->clear(gt, &k, 0, (struct gt_callback){0}, &e), 0);
    }
}

static void run_record(void)
{
    struct stat status;
    store_start(NULL);
    store_stop(); /* the file is there and in order */
    assert_int_equal(stat(scratch_path("store/data.mdb"), &status), 0);
    recorded_file = status.st_ino;
}

/* ---- the files that may be left ---- */

static uint8_t image[FILE_MAX];
static size_t image_len;

static void bytes_apply(uint8_t *to, size_t *len, const struct event *w, bool torn)
{
    assert_true(w->at + w->len <= FILE_MAX);
    for (size_t done = 0; done < w->len; done += SECTOR) {
        size_t part = w->len - done < SECTOR ? w->len - done : SECTOR;
        if (torn && rand() % 2)
            continue;
        memcpy(to + w->at + done, w->bytes + done, part);
        if (w->at + done + part > *len)
            *len = w->at + done + part;
    }
}

static void image_read(void)
{
    FILE *f = fopen(scratch_path("store/data.mdb"), "re");
    assert_non_null(f);
    image_len = fread(image, 1, sizeof image, f);
    assert_true(image_len > 0 && image_len < FILE_MAX);
    fclose(f);
}

static void image_write(const uint8_t *bytes, size_t len)
{
    mkdir(scratch_path("store"), 0700);
    FILE *f = fopen(scratch_path("store/data.mdb"), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static void image_examine(uint64_t acknowledged)
{
    struct gt_key k = key_of("value");
    uint64_t got[STAMPS], record = 0;
    struct gt_span spans[STAMPS];
    store_start(NULL);
    if (RECORD(store_get, STORE_FUNCTION, "f", 1) == 0)
        record = load_u64(last.result.data);
    if (RECORD(store_get, STORE_ALIAS, "a", 1) == 0)
        assert_int_equal(load_u64(last.result.data), record);
    assert_true(record >= acknowledged);
    for (uint64_t i = 0; i < STAMPS; i++)
        spans[i] = (struct gt_span){i * GT_CHUNK_BYTES, &got[i], 8};
    if (GT(getrange, &k, 0, spans, STAMPS) == 0) {
        uint64_t version = last.result.version, entries = last.result.entries;
        assert_true(version == record || version == record + 1);
        for (int i = 0; i < STAMPS; i++)
            assert_int_equal(got[i], version);
        assert_int_equal(GT(entries, &k, 0, 1000, 1 << 20), 0);
        assert_int_equal(last.result.count, entries);
    } else {
        assert_int_equal(record, 0);
    }
    store_stop();
}

/* Cuts the power before event `at`. `synced`: the first event that is not certainly on disk. */
static void power_cut(size_t synced, size_t at, uint64_t acknowledged)
{
    static uint8_t left[FILE_MAX];
    size_t len = image_len;
    memcpy(left, image, image_len);
    memset(left + image_len, 0, FILE_MAX - image_len);
    int how = rand() % 3; /* everything, nothing, or any sectors */
    for (size_t i = synced; i < at; i++) {
        if (events[i].kind == EVENT_WRITE && (events[i].synchronous || how != 1))
            bytes_apply(left, &len, &events[i], how == 2 && !events[i].synchronous);
    }
    image_write(left, len);
    image_examine(acknowledged);
    scratch_remove(scratch_path("store"));
}

static void a_power_cut_leaves_what_was_acknowledged_and_no_halves(void **state)
{
    (void)state;
    const char *setting = getenv("STORE_POWER_CUTS");
    size_t cuts = setting ? strtoull(setting, NULL, 10) : 300, made = 0;
    srand(1);
    run_record();
    image_read();
    recording = true;
    store_start(NULL);
    for (uint64_t n = 1; n <= OPERATIONS; n++) {
        operation_run(n);
        if (n % 7 == 0)
            store_settle();
    }
    store_stop();
    recording = false;
    scratch_remove(scratch_path("store"));
    uint64_t acknowledged = 0;
    size_t synced = 0;
    for (size_t i = 0; i < event_count; i++) {
        size_t here = cuts / event_count + ((size_t)rand() % event_count < cuts % event_count);
        for (; here > 0; here--, made++)
            power_cut(synced, i, acknowledged);
        if (events[i].kind == EVENT_NOTE && events[i].at > acknowledged)
            acknowledged = events[i].at;
        if (events[i].kind != EVENT_SYNC)
            continue;
        for (; synced <= i; synced++) {
            if (events[synced].kind == EVENT_WRITE)
                bytes_apply(image, &image_len, &events[synced], false);
        }
    }
    print_message("# %zu cuts at %zu events, %llu operations acknowledged\n", made, event_count,
                  (unsigned long long)acknowledged);
    assert_true(made > cuts / 2 && acknowledged > OPERATIONS / 2);
    for (size_t i = 0; i < event_count; i++)
        free(events[i].bytes);
    free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_leaves_what_was_acknowledged_and_no_halves),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
