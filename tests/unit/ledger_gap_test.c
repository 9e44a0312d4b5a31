/*
 * A log that jumps: what lies between is missing, comes later, and is found again after a stop,
 * wherever that happens.
 */
#define _GNU_SOURCE
#include "ledger_disk.h"

#include "ledger/log/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEGMENT_SIZE 16384u
#define HAD          40  /* entries before the gap */
#define GOAL         200 /* where the log goes on */
#define END          260

static const uint8_t genesis[32] = "a service";
static struct error e;

#define FORK (HAD - 5)  /* where histories differ, when there are two */
static uint8_t history; /* which of them is told */

/* The entries of the whole ledger are functions of their positions, and of the history. */
static struct slice entry_make(uint64_t position, uint8_t out[static 300])
{
    size_t len = 20 + (size_t)(position * 37 % 280);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(position * 131 + i + (position < FORK ? 0 : history));
    return slice_of(out, len);
}

static uint8_t entry_type(uint64_t position)
{
    return position ? LEDGER_ENTRY_TX : LEDGER_ENTRY_GENESIS;
}

static struct merkle_frontier frontier_at(uint64_t position)
{
    struct merkle_frontier f = {0};
    uint8_t bytes[300];
    for (uint64_t at = 0; at < position; at++) {
        struct merkle_hash leaf = ledger_entry_leaf(entry_type(at), entry_make(at, bytes));
        assert_int_equal(merkle_frontier_append(&f, &leaf, &e), 0);
    }
    return f;
}

static int open_found(struct disk *d, struct ledger_log **log, struct ledger_log_found *found,
                      bool read_only)
{
    struct log_files files = disk_files(d);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true,
                                       .read_only = read_only};
    memcpy(config.genesis, genesis, sizeof config.genesis);
    return ledger_log_open(&config, log, found, &e);
}

static int open_log(struct disk *d, struct ledger_log **log, bool read_only)
{
    struct ledger_log_found found;
    return open_found(d, log, &found, read_only);
}

static int append(struct ledger_log *log, uint64_t *lsn)
{
    uint8_t bytes[300];
    uint64_t at = ledger_log_end(log);
    struct slice part = entry_make(at, bytes);
    return ledger_log_append(log, LEDGER_RECORD_ENTRY, entry_type(at), at, NULL, &part, 1, lsn, &e);
}

static int append_to(struct ledger_log *log, uint64_t end)
{
    uint64_t lsn = 0;
    int rc = 0;
    while (rc == 0 && ledger_log_end(log) < end)
        rc = append(log, &lsn);
    if (rc == 0 && lsn) {
        uint64_t durable;
        ledger_log_sync(log, lsn);
        ledger_log_work(log);
        rc = ledger_log_complete(log, &durable, &e);
    }
    return rc;
}

static int rollback(struct ledger_log *log, uint64_t position)
{
    uint64_t lsn, durable;
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    ledger_rollback_encode(position, payload);
    struct slice part = slice_of(payload, sizeof payload);
    int rc = ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, position, NULL, &part, 1, &lsn, &e);
    if (rc < 0)
        return rc;
    ledger_log_sync(log, lsn);
    ledger_log_work(log);
    return ledger_log_complete(log, &durable, &e);
}

/* Fills up to so many entries of the gap. */
static int fill(struct ledger_log *log, unsigned entries)
{
    struct merkle_frontier from, goal;
    uint8_t bytes[300];
    int rc = 0;
    while (rc == 0 && entries-- && ledger_log_gap(log, &from, &goal)) {
        struct merkle_frontier wanted = frontier_at(from.size);
        assert_true(merkle_frontier_equal(&from, &wanted));
        rc = ledger_log_fill(log, entry_type(from.size), entry_make(from.size, bytes), &e);
    }
    return rc;
}

/* Entries from … to - 1 are what they should be. */
static void assert_there(struct ledger_log *log, uint64_t from, uint64_t to)
{
    struct buffer out = {0};
    uint8_t bytes[300], type;
    for (uint64_t at = from; at < to; at++) {
        if (ledger_log_read(log, at, &out, &type, &e))
            fail_msg("entry %llu: %s", (unsigned long long)at, e.text);
        assert_int_equal(type, entry_type(at));
        assert_true(slice_equal(slice_of_buffer(&out), entry_make(at, bytes)));
    }
    buffer_free(&out);
}

static void assert_missing(struct ledger_log *log, uint64_t position)
{
    struct buffer out = {0};
    uint8_t type;
    assert_int_equal(ledger_log_read(log, position, &out, &type, &e), -ATOLL_ERANGE);
    buffer_free(&out);
}

struct seen {
    uint64_t next, entries;
    bool jumped;
};

static int see(void *context, enum ledger_record_kind kind, uint8_t type, uint64_t position,
               const void *payload, size_t len, struct error *why)
{
    struct seen *s = context;
    (void)type, (void)payload, (void)len, (void)why;
    if (kind != LEDGER_RECORD_ENTRY)
        return 0;
    s->jumped |= position != s->next;
    s->next = position + 1;
    s->entries++;
    return 0;
}

static struct ledger_log *jumped_log(struct disk *d)
{
    struct ledger_log *log;
    struct merkle_frontier goal = frontier_at(GOAL);
    assert_int_equal(open_log(d, &log, false), 0);
    assert_int_equal(append_to(log, HAD), 0);
    assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
    assert_int_equal(append_to(log, END), 0);
    return log;
}

static void what_lies_between_is_missing_until_it_comes(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    struct merkle_frontier from, goal, end;
    struct seen seen = {0};
    assert_there(log, 0, HAD);
    assert_there(log, GOAL, END);
    assert_missing(log, HAD);
    assert_missing(log, GOAL - 1);
    assert_int_equal(ledger_log_replay(log, 0, see, &seen, &e), 0);
    assert_true(seen.jumped && seen.entries == END - GOAL + HAD);
    assert_int_equal(fill(log, 30), 0);
    assert_there(log, 0, HAD + 30);
    assert_missing(log, HAD + 30);
    assert_int_equal(fill(log, 1000), 0);
    assert_false(ledger_log_gap(log, &from, &goal));
    assert_int_equal(ledger_log_jumped(log), GOAL);
    assert_there(log, 0, END);
    uint64_t lsn;
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    ledger_rollback_encode(GOAL - 1, payload);
    struct slice part = slice_of(payload, sizeof payload);
    assert_int_equal(
        ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, GOAL - 1, NULL, &part, 1, &lsn, &e),
        -ATOLL_EINVAL);
    assert_there(log, 0, END);
    ledger_log_frontier(log, &end);
    from = frontier_at(END);
    assert_true(merkle_frontier_equal(&end, &from));
    seen = (struct seen){0};
    assert_int_equal(ledger_log_replay(log, 0, see, &seen, &e), 0);
    assert_true(!seen.jumped && seen.entries == END);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_restart(d, DISK_CUT_NOTHING);
    assert_int_equal(open_log(d, &log, true), 0); /* as the commands that only look do */
    assert_there(log, 0, END);
    assert_int_equal(ledger_log_close(log, false, &e), 0);
    disk_free(d);
    free(d);
}

static void a_false_history_does_not_fill_the_gap(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    uint8_t bytes[300];
    assert_int_equal(fill(log, GOAL - HAD - 1), 0);
    assert_int_equal(ledger_log_fill(log, LEDGER_ENTRY_TX, entry_make(7, bytes), &e),
                     -ATOLL_ECORRUPT);
    assert_missing(log, HAD);
    assert_int_equal(fill(log, 1000), 0);
    assert_there(log, 0, END);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* A replica that is killed right after it took over a checkpoint takes over another one. */
static void a_second_jump_from_one_place_goes_on_where_the_first_was(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    struct merkle_frontier from, goal;
    uint64_t lsn;
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    ledger_rollback_encode(HAD, payload);
    struct slice part = slice_of(payload, sizeof payload);
    for (unsigned filled = 30; filled < GOAL - HAD; filled += 30) {
        assert_int_equal(fill(log, 30), 0);
        assert_int_equal(
            ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, HAD, NULL, &part, 1, &lsn, &e), 0);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(open_log(d, &log, false), 0);
        goal = frontier_at(GOAL);
        assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        assert_int_equal(append_to(log, END), 0);
        assert_true(ledger_log_gap(log, &from, &goal));
        assert_int_equal(from.size, HAD + filled);
        assert_there(log, HAD, HAD + filled);
    }
    assert_int_equal(fill(log, 1000), 0);
    assert_there(log, 0, END);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* A stop after a jump, before its first entry: whoever starts again knows of it by where it leads,
 * and takes it back. */
static void a_jump_with_no_entry_behind_it_is_seen_and_taken_back(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    struct merkle_frontier goal = frontier_at(GOAL);
    uint64_t lsn;
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    ledger_rollback_encode(HAD, payload);
    struct slice part = slice_of(payload, sizeof payload);
    assert_int_equal(open_log(d, &log, false), 0);
    assert_int_equal(append_to(log, HAD), 0);
    assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
    uint8_t mark[LEDGER_SIGNED_LEN];
    ledger_signed_encode(&(struct ledger_signed){.what = LEDGER_SIGNED_PREPARE, .seqno = 1}, mark);
    struct slice signed_mark = slice_of(mark, sizeof mark);
    assert_int_equal(
        ledger_log_append(log, LEDGER_RECORD_SIGNED, 0, 0, NULL, &signed_mark, 1, &lsn, &e), 0);
    for (int life = 0; life < 2; life++) {
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(open_log(d, &log, false), 0);
        assert_int_equal(ledger_log_end(log), life ? HAD + 5 : GOAL);
        assert_int_equal(ledger_log_jumped(log), life ? 0 : GOAL);
        assert_int_equal(
            ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, HAD, NULL, &part, 1, &lsn, &e), 0);
        assert_int_equal(append_to(log, HAD + 5), 0);
    }
    assert_there(log, 0, HAD + 5);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

static void a_rollback_undoes_the_jump(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    struct merkle_frontier from, goal;
    uint64_t lsn;
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    assert_int_equal(fill(log, 30), 0);
    ledger_rollback_encode(HAD, payload);
    struct slice part = slice_of(payload, sizeof payload);
    assert_int_equal(
        ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, HAD, NULL, &part, 1, &lsn, &e), 0);
    assert_int_equal(ledger_log_end(log), HAD);
    assert_false(ledger_log_gap(log, &from, &goal));
    assert_int_equal(append_to(log, HAD + 90), 0); /* over several segments */
    for (int life = 0; life < 2; life++) {
        assert_int_equal(ledger_log_close(log, life == 0, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(open_log(d, &log, false), 0);
        assert_int_equal(ledger_log_end(log), HAD + 90);
        assert_there(log, 0, HAD + 90);
        assert_false(ledger_log_gap(log, &from, &goal));
    }
    /* A second jump, from elsewhere. */
    goal = frontier_at(GOAL);
    assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
    assert_int_equal(append_to(log, END), 0);
    assert_int_equal(fill(log, 1000), 0);
    assert_there(log, 0, END);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* … also when nothing of it is on the disk yet. */
static void a_jump_can_be_taken_back_at_once(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    struct ledger_log_found found;
    struct merkle_frontier goal = frontier_at(GOAL);
    for (uint64_t to = HAD - 10; to <= HAD; to += 10) {
        memset(d, 0, sizeof *d);
        assert_int_equal(open_found(d, &log, &found, false), 0);
        assert_int_equal(append_to(log, HAD), 0);
        assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        assert_int_equal(rollback(log, to), 0);
        assert_int_equal(append_to(log, HAD + 5), 0);
        assert_int_equal(ledger_log_close(log, false, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(open_found(d, &log, &found, false), 0);
        if (found.corrupt)
            fail_msg("%s", found.what);
        assert_int_equal(ledger_log_end(log), HAD + 5);
        assert_there(log, 0, HAD + 5);
        assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        assert_int_equal(append_to(log, END), 0);
        assert_int_equal(fill(log, 1000), 0);
        assert_there(log, 0, END);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
    }
    free(d);
}

/* What a part was begun for may have been taken back, and another history jumps from there. */
static void a_part_of_another_history_is_no_part_of_this_one(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (int look = 0; look < 2; look++) {
        struct disk *d = calloc(1, sizeof *d);
        struct ledger_log *log = jumped_log(d);
        assert_int_equal(fill(log, 30), 0);
        assert_int_equal(rollback(log, FORK), 0);
        history = 77;
        assert_int_equal(append_to(log, HAD), 0);
        struct merkle_frontier goal = frontier_at(GOAL);
        assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        assert_int_equal(append_to(log, END), 0);
        if (look) /* whether or not somebody asks what is missing */
            assert_int_equal(ledger_log_fill(log, LEDGER_ENTRY_TX, entry_make(HAD, bytes), &e), 0);
        else
            assert_missing(log, HAD);
        assert_int_equal(fill(log, 1000), 0);
        assert_there(log, 0, END);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
        free(d);
        history = 0;
    }
}

/* Who only looks does not need what fills the gap. */
static void a_part_that_is_damaged_keeps_nobody_from_looking(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    assert_int_equal(fill(log, 1000), 0);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_restart(d, DISK_CUT_NOTHING);
    for (int i = 0; i < d->file_count; i++) {
        struct disk_file *f = &d->files[i];
        if (f->used && strncmp(f->name, "part-", 5) == 0 && strstr(f->name, "-segment-"))
            f->now.data[50] ^= 1;
    }
    assert_int_equal(open_log(d, &log, true), 0);
    assert_there(log, 0, HAD);
    assert_missing(log, HAD);
    assert_there(log, GOAL, END);
    assert_int_equal(ledger_log_close(log, false, &e), 0);
    disk_free(d);
    free(d);
}

/* ---- many of them ---- */

static uint64_t bytes_read;

static int counted_read(void *context, int file, uint64_t at, void *data, size_t len,
                        struct error *why)
{
    bytes_read += len;
    return disk_read(context, file, at, data, len, why);
}

/* As a replica opens its log: what is old is believed. */
static void open_believing(struct disk *d, struct ledger_log **log, bool read_only)
{
    struct log_files files = disk_files(d);
    struct ledger_log_found found;
    files.read = counted_read;
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true,
                                       .read_only = read_only,
                                       .check_from = UINT64_MAX};
    memcpy(config.genesis, genesis, sizeof config.genesis);
    bytes_read = 0;
    if (ledger_log_open(&config, log, &found, &e))
        fail_msg("%s", e.text);
    assert_false(found.corrupt);
}

static unsigned files_named(const struct disk *d, const char *part)
{
    unsigned count = 0;
    for (int i = 0; i < d->file_count; i++)
        count += d->files[i].used && d->files[i].name[0] && strstr(d->files[i].name, part);
    return count;
}

static void step_on(struct merkle_frontier *f)
{
    uint8_t bytes[300];
    struct merkle_hash leaf = ledger_entry_leaf(entry_type(f->size), entry_make(f->size, bytes));
    assert_int_equal(merkle_frontier_append(f, &leaf, &e), 0);
}

/* Fills the oldest gap, or as much of it as is wanted. */
static void fill_some(struct ledger_log *log, unsigned entries)
{
    struct merkle_frontier from, goal;
    uint8_t bytes[300];
    for (uint64_t until = 0; entries > 0 && ledger_log_gap(log, &from, &goal); entries--) {
        if (until > 0 && goal.size != until)
            break;
        until = goal.size;
        if (ledger_log_fill(log, entry_type(from.size), entry_make(from.size, bytes), &e))
            fail_msg("%s", e.text);
    }
}

/* A long life: jump after jump, their gaps filled at once, later, or after a restart. */
static void a_log_that_jumped_a_thousand_times_works_and_opens_quickly(void **state)
{
    (void)state;
    enum { JUMPS = 1050, GAP = 4 };
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    struct merkle_frontier truth = {0}, from, goal;
    open_believing(d, &log, false);
    for (unsigned jump = 1; jump <= JUMPS; jump++) {
        step_on(&truth);
        assert_int_equal(append_to(log, truth.size), 0);
        for (int i = 0; i < GAP; i++)
            step_on(&truth);
        if (ledger_log_jump(log, &truth, &e))
            fail_msg("jump %u: %s", jump, e.text);
        /* Now and then many wait; the part that is begun then waits as it is. */
        if (jump % 100 < 90)
            fill_some(log, GAP);
        if (jump % 100 == 95)
            fill_some(log, 2);
        if (jump % 100 == 3)
            while (ledger_log_gap(log, &from, &goal))
                fill_some(log, GAP);
        if (jump % 97 == 0) {
            assert_int_equal(ledger_log_close(log, jump % 2, &e), 0);
            disk_restart(d, DISK_CUT_NOTHING);
            open_believing(d, &log, false);
        }
        assert_true(d->opened < 12);
    }
    while (ledger_log_gap(log, &from, &goal))
        fill_some(log, GAP);
    assert_there(log, 0, ledger_log_end(log));
    assert_int_equal(append_to(log, truth.size + 3), 0);
    /* What is left of a gap is its entries: no votes, no state, no room for more. */
    assert_int_equal(files_named(d, "votes-"), 1);
    assert_int_equal(files_named(d, "state"), 1);
    assert_true(files_named(d, "segment.new") <= 1);
    assert_true(disk_taken(d) < UINT64_C(2) * JUMPS * 7000);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    assert_int_equal(d->opened, 0);
    for (int look = 0; look < 2; look++) {
        d->most_opened = 0;
        open_believing(d, &log, look);
        /* Heads and ends of segments, in part twice; no entry. */
        assert_true(bytes_read < UINT64_C(2) * JUMPS * (2 * 4096 + 800) + 2 * SEGMENT_SIZE);
        assert_true(d->most_opened < 12);
        assert_false(ledger_log_gap(log, &from, &goal));
        assert_there(log, 0, ledger_log_end(log));
        struct seen seen = {0};
        assert_int_equal(ledger_log_replay(log, 0, see, &seen, &e), 0);
        assert_true(!seen.jumped && seen.entries == truth.size + 3);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
    }
    disk_free(d);
    free(d);
}

static void gaps_with_something_missing_are_bounded_and_filled_ones_do_not_count(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    struct merkle_frontier truth = {0}, next;
    uint8_t type;
    struct buffer out = {0};
    open_believing(d, &log, false);
    for (unsigned jump = 0; jump < 3 * LEDGER_LOG_GAPS_MAX; jump++) {
        step_on(&truth);
        assert_int_equal(append_to(log, truth.size), 0);
        next = truth;
        step_on(&next);
        step_on(&next);
        if (jump >= LEDGER_LOG_GAPS_MAX) {
            uint64_t end = ledger_log_end(log);
            assert_int_equal(ledger_log_jump(log, &next, &e), -ATOLL_ELIMIT);
            assert_int_equal(ledger_log_end(log), end);
            assert_int_equal(ledger_log_read(log, end - 1, &out, &type, &e), 0);
            fill_some(log, 1); /* half of one is not enough */
            assert_int_equal(ledger_log_jump(log, &next, &e), -ATOLL_ELIMIT);
            fill_some(log, 1);
        }
        assert_int_equal(ledger_log_jump(log, &next, &e), 0);
        truth = next;
    }
    for (int life = 0; life < 2; life++) {
        assert_int_equal(ledger_log_close(log, life, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        open_believing(d, &log, false);
        if (life == 0)
            assert_int_equal(append_to(log, truth.size + 1), 0);
    }
    assert_int_equal(fill(log, 10000), 0);
    assert_there(log, 0, truth.size + 1);
    buffer_free(&out);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* Damage in what filled a gap costs what lies behind it in the part, not what lies before. */
static void damage_in_a_filled_gap_is_fetched_again(void **state)
{
    (void)state;
    for (int bad = 0; bad < 2; bad++) { /* a bit, or a place that the disk does not give */
        struct disk *d = calloc(1, sizeof *d);
        struct ledger_log *log = jumped_log(d);
        struct merkle_frontier from, goal;
        assert_int_equal(fill(log, 1000), 0);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        struct disk_file *f = disk_file_named(d, "part-00000000000000000040-segment-00000002-");
        assert_non_null(f);
        if (bad)
            f->bad_from = 9000, f->bad_until = 9001;
        else
            f->now.data[9000] ^= 1, f->durable.data[9000] ^= 1;
        assert_int_equal(open_log(d, &log, false), 0);
        assert_true(ledger_log_gap(log, &from, &goal));
        assert_true(from.size > HAD + 40 && from.size < GOAL);
        assert_int_equal(goal.size, GOAL);
        assert_there(log, 0, from.size);
        assert_missing(log, from.size);
        assert_there(log, GOAL, END);
        assert_int_equal(fill(log, 1000), 0);
        assert_there(log, 0, END);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(open_log(d, &log, false), 0);
        assert_false(ledger_log_gap(log, &from, &goal));
        assert_there(log, 0, END);
        assert_int_equal(files_named(d, "damaged"), 0);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
        free(d);
    }
}

/* A jump that was taken back when its gap was full, and another one from there, further. */
static void what_filled_a_gap_serves_a_longer_jump_from_the_same_place(void **state)
{
    (void)state;
    for (int restart = 0; restart < 2; restart++) {
        struct disk *d = calloc(1, sizeof *d);
        struct ledger_log *log = jumped_log(d);
        struct merkle_frontier from, goal = frontier_at(GOAL + 100);
        assert_int_equal(fill(log, 1000), 0);
        assert_int_equal(rollback(log, HAD), 0);
        if (restart) {
            assert_int_equal(ledger_log_close(log, true, &e), 0);
            disk_restart(d, DISK_CUT_NOTHING);
            assert_int_equal(open_log(d, &log, false), 0);
        }
        assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        assert_true(ledger_log_gap(log, &from, &goal));
        assert_int_equal(from.size, GOAL);
        assert_int_equal(fill(log, 1000), 0);
        assert_int_equal(append_to(log, GOAL + 150), 0);
        assert_there(log, 0, GOAL + 150);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
        free(d);
    }
}

static void a_part_that_no_jump_needs_is_removed(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log = jumped_log(d);
    assert_int_equal(fill(log, 30), 0);
    assert_int_equal(rollback(log, HAD), 0);
    assert_int_equal(append_to(log, END), 0); /* executed instead */
    assert_true(files_named(d, "part-") > 0);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_restart(d, DISK_CUT_NOTHING);
    assert_int_equal(open_log(d, &log, false), 0);
    assert_int_equal(files_named(d, "part-"), 0);
    assert_there(log, 0, END);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* A jump and the filling of its gap, with the power gone at an operation. True: it came through. */
static bool scripted(struct disk *d, uint64_t fail_at)
{
    struct ledger_log *log = NULL;
    struct merkle_frontier goal = frontier_at(GOAL);
    d->fail_at = fail_at;
    int rc = open_log(d, &log, false);
    if (rc == 0)
        rc = append_to(log, HAD);
    if (rc == 0)
        rc = ledger_log_jump(log, &goal, &e);
    if (rc == 0)
        rc = append_to(log, END - 20);
    if (rc == 0)
        rc = fill(log, 100);
    if (rc == 0)
        rc = append_to(log, END);
    if (rc == 0)
        rc = fill(log, 1000);
    if (rc == 0)
        rc = ledger_log_close(log, true, &e);
    else if (log)
        ledger_log_close(log, false, &e);
    return rc == 0;
}

static void after_a_cut_anywhere_it_goes_on(enum disk_cut cut)
{
    struct disk *d = malloc(sizeof *d);
    bool whole = false;
    for (uint64_t fail_at = 1; !whole; fail_at++) {
        struct ledger_log *log;
        struct merkle_frontier goal = frontier_at(GOAL);
        memset(d, 0, sizeof *d);
        d->random = fail_at;
        whole = scripted(d, fail_at);
        disk_restart(d, cut);
        d->fail_at = 0;
        if (open_log(d, &log, false))
            fail_msg("after operation %llu: %s", (unsigned long long)fail_at, e.text);
        uint64_t end = ledger_log_end(log);
        assert_true(end <= HAD || (end >= GOAL && end <= END));
        assert_there(log, 0, end < HAD ? end : HAD);
        assert_there(log, GOAL, end < GOAL ? GOAL : end);
        if (end < GOAL) {
            assert_int_equal(append_to(log, HAD), 0);
            assert_int_equal(ledger_log_jump(log, &goal, &e), 0);
        }
        assert_int_equal(append_to(log, END), 0);
        assert_int_equal(fill(log, 1000), 0);
        assert_there(log, 0, END);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
    }
    free(d);
}

static void a_killed_process_goes_on(void **state)
{
    (void)state;
    after_a_cut_anywhere_it_goes_on(DISK_CUT_KILLED);
}

static void a_machine_that_lost_its_power_goes_on(void **state)
{
    (void)state;
    after_a_cut_anywhere_it_goes_on(DISK_CUT_PREFIX);
    after_a_cut_anywhere_it_goes_on(DISK_CUT_SECTORS);
    after_a_cut_anywhere_it_goes_on(DISK_CUT_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_between_is_missing_until_it_comes),
        cmocka_unit_test(a_false_history_does_not_fill_the_gap),
        cmocka_unit_test(a_second_jump_from_one_place_goes_on_where_the_first_was),
        cmocka_unit_test(a_jump_with_no_entry_behind_it_is_seen_and_taken_back),
        cmocka_unit_test(a_rollback_undoes_the_jump),
        cmocka_unit_test(a_jump_can_be_taken_back_at_once),
        cmocka_unit_test(a_part_of_another_history_is_no_part_of_this_one),
        cmocka_unit_test(a_part_that_is_damaged_keeps_nobody_from_looking),
        cmocka_unit_test(a_log_that_jumped_a_thousand_times_works_and_opens_quickly),
        cmocka_unit_test(gaps_with_something_missing_are_bounded_and_filled_ones_do_not_count),
        cmocka_unit_test(damage_in_a_filled_gap_is_fetched_again),
        cmocka_unit_test(what_filled_a_gap_serves_a_longer_jump_from_the_same_place),
        cmocka_unit_test(a_part_that_no_jump_needs_is_removed),
        cmocka_unit_test(a_killed_process_goes_on),
        cmocka_unit_test(a_machine_that_lost_its_power_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
