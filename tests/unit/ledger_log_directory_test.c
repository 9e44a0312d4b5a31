/*
 * The log in a directory, with the thread that writes it: what it asks of the kernel, and what it
 * costs when its gaps were filled.
 */
#define _GNU_SOURCE
#include "ledger/log/state_file.h"
#include "ledger_log_run.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int removed(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

static void wake(void *context)
{
    uint64_t one = 1;
    if (write(*(int *)context, &one, sizeof one) < 0)
        abort();
}

/* Whatever is durable already needs no wake. */
static void durable_wait(struct ledger_log *log, int fd, uint64_t lsn)
{
    uint64_t durable, woken;
    assert_int_equal(ledger_log_complete(log, &durable, &e), 0);
    while (durable < lsn) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 60000), 1);
        assert_int_equal(read(fd, &woken, sizeof woken), sizeof woken);
        assert_int_equal(ledger_log_complete(log, &durable, &e), 0);
    }
}

static void a_directory_holds_a_log_that_a_thread_writes(void **state)
{
    (void)state;
    char path[] = "/tmp/atoll-log-XXXXXX";
    struct run *r = calloc(1, sizeof *r);
    struct log_files files, more;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_non_null(mkdtemp(path));
    r->random = 9;
    for (int life = 0; life < 3; life++) {
        assert_int_equal(log_directory_open(path, false, &files, &e), 0);
        assert_int_equal(log_directory_open(path, false, &more, &e), -ATOLL_EBUSY);
        struct ledger_log_config config = {.files = &files,
                                           .pipeline = PIPELINE,
                                           .segment_bytes = 16 * SEGMENT_SIZE,
                                           .wake = wake,
                                           .wake_context = &fd};
        memcpy(config.genesis, genesis, sizeof genesis);
        assert_int_equal(ledger_log_open(&config, &r->log, &r->found, &e), 0);
        assert_int_equal(r->found.clean, life > 0);
        for (int i = 0; i < 600; i++) {
            size_t before = r->count;
            uint64_t kind = draw(&r->random) % 10;
            if (kind < 8 || r->end == 0)
                append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 2000);
            else
                append(r, LEDGER_RECORD_CERTIFICATE, 0, 0, 900);
            assert_int_equal(r->count, before + 1);
            if (i % 50 == 7)
                ledger_log_sync(r->log, r->lsns[r->count - 1]);
            if (i % 100 == 3)
                check_ledger(r->log, r, r->count);
        }
        ledger_log_sync(r->log, r->lsns[r->count - 1]);
        durable_wait(r->log, fd, r->lsns[r->count - 1]);
        check_ledger(r->log, r, r->count);
        /* Somebody looks while it is in use. */
        struct ledger_log *look;
        struct ledger_log_found found;
        assert_int_equal(log_directory_open(path, true, &more, &e), 0);
        struct ledger_log_config reading = config;
        reading.files = &more;
        reading.read_only = true;
        assert_int_equal(ledger_log_open(&reading, &look, &found, &e), 0);
        check_ledger(look, r, r->count);
        assert_int_equal(ledger_log_close(look, true, &e), 0);
        log_directory_close(&more);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        log_directory_close(&files);
        memset(r->lsns, 0, sizeof r->lsns);
    }
    close(fd);
    nftw(path, removed, 8, FTW_DEPTH | FTW_PHYS);
    free(r);
}

/* ---- what is asked of the kernel ---- */

static bool watched; /* nobody else writes then */
static uint64_t pushed_to, pushes;

int __real_sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags);
int __wrap_sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags);

int __wrap_sync_file_range(int fd, off_t offset, off_t bytes, unsigned flags)
{
    if (!watched)
        return __real_sync_file_range(fd, offset, bytes, flags);
    assert_int_equal(flags, SYNC_FILE_RANGE_WRITE); /* nobody waits for it */
    assert_true((uint64_t)offset <= pushed_to);     /* nothing is left out */
    pushed_to = (uint64_t)(offset + bytes);
    pushes++;
    return __real_sync_file_range(fd, offset, bytes, flags);
}

/* Long before somebody waits for it: a synchronisation of a segment that nobody asked for while it
 * filled up took 200 ms. */
static void what_is_written_begins_its_way_to_the_disk_as_it_fills_a_mebibyte(void **state)
{
    (void)state;
    enum { PIECE = 300000, PIECES = 40, MEBIBYTE = 1 << 20 };
    char path[] = "/tmp/atoll-log-XXXXXX";
    static uint8_t bytes[PIECE];
    struct log_files files;
    assert_non_null(mkdtemp(path));
    assert_int_equal(log_directory_open(path, false, &files, &e), 0);
    int file = files.open(files.context, "segment", true, &e);
    assert_true(file >= 0);
    assert_int_equal(files.allocate(files.context, file, PIECE * PIECES, &e), 0);
    pushed_to = pushes = 0;
    watched = true;
    for (uint64_t i = 0; i < PIECES; i++) {
        assert_int_equal(files.write(files.context, file, i * PIECE, bytes, PIECE, &e), 0);
        uint64_t end = (i + 1) * PIECE;
        assert_true(pushed_to <= end && end - pushed_to < MEBIBYTE);
    }
    watched = false;
    assert_true(pushes <= PIECES * PIECE / MEBIBYTE);
    files.close(files.context, file);
    log_directory_close(&files);
    nftw(path, removed, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- gaps that were filled ---- */

static unsigned threads(void)
{
    unsigned count = 0;
    char line[128];
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Threads: %u", &count) == 1)
            break;
    fclose(f);
    return count;
}

static uint64_t taken; /* bytes of the disk */

static int taken_add(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)path, (void)kind, (void)place;
    taken += (uint64_t)status->st_blocks * 512;
    return 0;
}

static struct slice history_entry(uint64_t position, uint8_t bytes[static 200])
{
    memset(bytes, (int)position, 200);
    return slice_of(bytes, 200);
}

static void history_follow(struct merkle_frontier *f, uint64_t end)
{
    uint8_t bytes[200];
    while (f->size < end) {
        struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, history_entry(f->size, bytes));
        assert_int_equal(merkle_frontier_append(f, &leaf, &e), 0);
    }
}

static void a_gap_that_was_filled_keeps_neither_thread_nor_room(void **state)
{
    (void)state;
    enum { JUMPS = 3 * LEDGER_LOG_GAPS_MAX, FEW = 20, SEGMENT_BYTES = 4 << 20 };
    char path[] = "/tmp/atoll-log-XXXXXX";
    struct log_files files;
    struct ledger_log *log;
    struct ledger_log_found found;
    struct merkle_frontier truth = {0}, from, goal;
    uint8_t bytes[200];
    uint64_t lsn;
    unsigned before = threads();
    assert_non_null(mkdtemp(path));
    assert_int_equal(log_directory_open(path, false, &files, &e), 0);
    struct ledger_log_config config = {
        .files = &files, .pipeline = PIPELINE, .segment_bytes = SEGMENT_BYTES};
    memcpy(config.genesis, genesis, sizeof genesis);
    assert_int_equal(ledger_log_open(&config, &log, &found, &e), 0);
    for (unsigned jump = 0; jump < JUMPS; jump++) {
        for (unsigned i = 0; i < FEW; i++) {
            struct slice part = history_entry(truth.size, bytes);
            assert_int_equal(ledger_log_append(log, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX,
                                               truth.size, NULL, &part, 1, &lsn, &e),
                             0);
            history_follow(&truth, truth.size + 1);
        }
        history_follow(&truth, truth.size + FEW);
        if (ledger_log_jump(log, &truth, &e))
            fail_msg("jump %u: %s", jump, e.text);
        while (ledger_log_gap(log, &from, &goal))
            assert_int_equal(
                ledger_log_fill(log, LEDGER_ENTRY_TX, history_entry(from.size, bytes), &e), 0);
    }
    /* Its own thread at the end; that of the last gap takes what time it needs. */
    for (int i = 0; i < 6000 && threads() > before + 1; i++) {
        uint64_t durable;
        usleep(10000);
        assert_int_equal(ledger_log_complete(log, &durable, &e), 0);
    }
    assert_int_equal(threads(), before + 1);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    taken = 0;
    nftw(path, taken_add, 8, FTW_PHYS);
    /* Some kilobytes a segment, one that is open, one in reserve, and the votes. */
    assert_true(taken < 2 * JUMPS * UINT64_C(65536) + 3 * SEGMENT_BYTES);
    assert_int_equal(ledger_log_open(&config, &log, &found, &e), 0);
    assert_false(ledger_log_gap(log, &from, &goal));
    assert_int_equal(threads(), before + 1);
    struct buffer out = {0};
    for (uint64_t at = 0; at < ledger_log_end(log); at++) {
        uint8_t type;
        assert_int_equal(ledger_log_read(log, at, &out, &type, &e), 0);
        assert_true(slice_equal(slice_of_buffer(&out), history_entry(at, bytes)));
    }
    buffer_free(&out);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    log_directory_close(&files);
    nftw(path, removed, 8, FTW_DEPTH | FTW_PHYS);
}

/* The thread is needed for the first segment; what then comes in small pieces its owner writes. */
static void in_async_mode_little_is_durable_when_it_is_asked_for(void **state)
{
    (void)state;
    enum { RECORDS = 200 };
    char path[] = "/tmp/atoll-log-XXXXXX";
    struct run *r = calloc(1, sizeof *r);
    struct log_files files, more;
    int fd = eventfd(0, EFD_CLOEXEC), at_once = 0;
    assert_non_null(mkdtemp(path));
    r->random = 3;
    assert_int_equal(log_directory_open(path, false, &files, &e), 0);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = PIPELINE,
                                       .mode = LEDGER_LOG_ASYNC,
                                       .wake = wake,
                                       .wake_context = &fd};
    memcpy(config.genesis, genesis, sizeof genesis);
    assert_int_equal(ledger_log_open(&config, &r->log, &r->found, &e), 0);
    for (int i = 0; i < RECORDS; i++) {
        uint64_t durable = 0;
        append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 300);
        uint64_t wanted = r->lsns[r->count - 1];
        ledger_log_sync(r->log, wanted);
        assert_int_equal(ledger_log_complete(r->log, &durable, &e), 0);
        at_once += durable == wanted;
        durable_wait(r->log, fd, wanted);
    }
    assert_true(at_once > RECORDS / 2);
    /* As after a kill: nothing was closed, and somebody else finds everything. */
    struct ledger_log *look;
    struct ledger_log_found found;
    assert_int_equal(log_directory_open(path, true, &more, &e), 0);
    struct ledger_log_config reading = config;
    reading.files = &more;
    reading.read_only = true;
    assert_int_equal(ledger_log_open(&reading, &look, &found, &e), 0);
    check_ledger(look, r, r->count);
    assert_int_equal(ledger_log_close(look, true, &e), 0);
    log_directory_close(&more);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    log_directory_close(&files);
    close(fd);
    free(r);
    assert_int_equal(nftw(path, removed, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* The state file of a log, once it is another one than before; false: it stayed as it was. */
static bool state_changes(const char *directory, uint8_t state[static 2 * STATE_SLOT])
{
    char path[PATH_MAX];
    uint8_t now[2 * STATE_SLOT];
    snprintf(path, sizeof path, "%s/state", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    bool other = false;
    for (int i = 0; i < 2000 && !other; i++) {
        assert_int_equal(pread(fd, now, sizeof now, 0), sizeof now);
        other = memcmp(now, state, sizeof now) != 0;
        if (!other)
            usleep(10000);
    }
    close(fd);
    memcpy(state, now, sizeof now);
    return other;
}

static void in_async_mode_what_the_owner_wrote_is_marked_when_the_log_rests(void **state)
{
    (void)state;
    char path[] = "/tmp/atoll-log-XXXXXX";
    uint8_t slots[2 * STATE_SLOT] = {0};
    struct run *r = calloc(1, sizeof *r);
    struct log_files files;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_non_null(mkdtemp(path));
    r->random = 4;
    assert_int_equal(log_directory_open(path, false, &files, &e), 0);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = PIPELINE,
                                       .mode = LEDGER_LOG_ASYNC,
                                       .wake = wake,
                                       .wake_context = &fd};
    memcpy(config.genesis, genesis, sizeof genesis);
    assert_int_equal(ledger_log_open(&config, &r->log, &r->found, &e), 0);
    assert_true(state_changes(path, slots)); /* that it was opened */
    for (int rest = 0; rest < 3; rest++) {
        append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 300);
        ledger_log_sync(r->log, r->lsns[r->count - 1]);
        durable_wait(r->log, fd, r->lsns[r->count - 1]);
        assert_true(state_changes(path, slots));
    }
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    log_directory_close(&files);
    close(fd);
    free(r);
    assert_int_equal(nftw(path, removed, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_directory_holds_a_log_that_a_thread_writes),
        cmocka_unit_test(in_async_mode_little_is_durable_when_it_is_asked_for),
        cmocka_unit_test(in_async_mode_what_the_owner_wrote_is_marked_when_the_log_rests),
        cmocka_unit_test(what_is_written_begins_its_way_to_the_disk_as_it_fills_a_mebibyte),
        cmocka_unit_test(a_gap_that_was_filled_keeps_neither_thread_nor_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
