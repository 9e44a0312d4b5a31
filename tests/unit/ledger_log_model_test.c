/*
 * The ledger's log against a plain array: entries, rollbacks, jumps, what fills their gaps, stops
 * in order and power cuts, in any order. After a cut the log is what it was at some moment, not
 * before the last of which it said that it is durable.
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
#define ENTRIES_MAX  600
#define MOMENTS_MAX  400
#define STEPS        60

static const uint8_t genesis[32] = "a service";
static struct error e;

/* The ledger at some moment. */
struct moment {
    uint64_t end, jumped; /* jumped: where it goes on behind its last gap; 0: no gap */
    uint8_t history[ENTRIES_MAX];
    bool between[ENTRIES_MAX]; /* in a gap: to be filled */
};

struct run {
    struct disk *disk;
    struct ledger_log *log;
    struct ledger_log_found found;
    struct moment moments[MOMENTS_MAX]; /* since the last start; the last is now */
    size_t count, durable;              /* durable: number of one that must not be lost */
    uint64_t lsn, durable_lsn;
    uint64_t lsns[MOMENTS_MAX]; /* of what made each; 0: no record of its own */
    unsigned jumps, refused;    /* refused: at the bound of what may be missing */
    bool restless;              /* jumps more often, and not far */
    uint8_t next_history;
    uint64_t random;
};

static uint64_t draw(struct run *r, uint64_t below)
{
    uint64_t z = r->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % below;
}

static struct moment *now(struct run *r)
{
    return &r->moments[r->count - 1];
}

static struct slice entry_make(uint64_t position, uint8_t history, uint8_t out[static 400])
{
    size_t len = 20 + (size_t)(position * 37 % 380);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(position * 131 + i + history * 7u);
    return slice_of(out, len);
}

static uint8_t type_of(uint64_t position)
{
    return position == 0 ? LEDGER_ENTRY_GENESIS : position % 9 ? LEDGER_ENTRY_TX : LEDGER_ENTRY_PP;
}

/* The frontier of the first so many entries of the ledger of that moment. */
static struct merkle_frontier frontier_of(const struct moment *m, uint64_t end)
{
    struct merkle_frontier f = {0};
    uint8_t bytes[400];
    for (uint64_t at = 0; at < end; at++) {
        struct merkle_hash leaf =
            ledger_entry_leaf(type_of(at), entry_make(at, m->history[at], bytes));
        assert_int_equal(merkle_frontier_append(&f, &leaf, &e), 0);
    }
    return f;
}

/* ---- what there is ---- */

/* Whether the log is the ledger of that moment; what is in a gap may be there or not. */
static bool is_moment(struct ledger_log *log, const struct moment *m)
{
    struct merkle_frontier told, wanted;
    if (ledger_log_end(log) != m->end || ledger_log_jumped(log) != m->jumped)
        return false;
    ledger_log_frontier(log, &told);
    wanted = frontier_of(m, m->end);
    if (!merkle_frontier_equal(&told, &wanted))
        return false;
    struct buffer out = {0};
    bool same = true, missing = false;
    for (uint64_t at = 0; at < m->end && same; at++) {
        uint8_t bytes[400], type;
        int rc = ledger_log_read(log, at, &out, &type, &e);
        if (m->between[at] && rc == -ATOLL_ERANGE) {
            missing = true;
            continue;
        }
        same = rc == 0 && type == type_of(at) &&
               slice_equal(slice_of_buffer(&out), entry_make(at, m->history[at], bytes));
    }
    buffer_free(&out);
    struct merkle_frontier from, goal;
    return same && ledger_log_gap(log, &from, &goal) == missing;
}

struct replay {
    struct moment m;
    bool broken;
};

/* Replaying tells the same ledger. */
static int replay_see(void *context, enum ledger_record_kind kind, uint8_t type, uint64_t position,
                      const void *payload, size_t len, struct error *why)
{
    struct replay *p = context;
    uint8_t bytes[400];
    (void)why;
    if (kind != LEDGER_RECORD_ENTRY && kind != LEDGER_RECORD_ROLLBACK)
        return 0;
    for (; p->m.end < position && position < ENTRIES_MAX; p->m.end++)
        p->m.history[p->m.end] = 255; /* not told: a jump */
    if (kind == LEDGER_RECORD_ROLLBACK) {
        p->m.end = position;
        return 0;
    }
    p->broken |= position != p->m.end || type != type_of(position);
    if (p->broken)
        return 0;
    uint8_t history = 0;
    while (history < 255 &&
           !slice_equal(slice_of(payload, len), entry_make(position, history, bytes)))
        history++;
    p->m.history[p->m.end++] = history;
    return 0;
}

static void check_replay(struct run *r)
{
    static struct replay p;
    const struct moment *m = now(r);
    memset(&p, 0, sizeof p);
    if (ledger_log_replay(r->log, 0, replay_see, &p, &e))
        fail_msg("%s", e.text);
    assert_false(p.broken);
    /* A jump with nothing behind it is not told. */
    assert_true(p.m.end == m->end || (p.m.end < m->end && m->jumped == m->end));
    for (uint64_t at = 0; at < p.m.end; at++)
        assert_true(p.m.history[at] == m->history[at] ||
                    (m->between[at] && p.m.history[at] == 255));
}

/* ---- what happens ---- */

static struct moment *moment_add(struct run *r)
{
    assert_true(r->count < MOMENTS_MAX);
    r->moments[r->count] = r->moments[r->count - 1];
    r->lsns[r->count] = 0;
    return &r->moments[r->count++];
}

static int run_append(struct run *r)
{
    uint64_t at = now(r)->end;
    uint8_t bytes[400], history = (uint8_t)(draw(r, 2) ? 0 : r->next_history);
    struct slice part = entry_make(at, history, bytes);
    if (at >= ENTRIES_MAX - 1)
        return 0;
    int rc = ledger_log_append(r->log, LEDGER_RECORD_ENTRY, type_of(at), at, NULL, &part, 1,
                               &r->lsn, &e);
    if (rc < 0)
        return rc;
    struct moment *m = moment_add(r);
    m->history[m->end] = history;
    m->between[m->end++] = false;
    r->lsns[r->count - 1] = r->lsn;
    return 0;
}

static int run_rollback(struct run *r)
{
    const struct moment *before = now(r);
    uint64_t end = before->end,
             to = draw(r, 3) ? end - draw(r, end < 30 ? end + 1 : 30) : draw(r, end + 1);
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    ledger_rollback_encode(to, payload);
    struct slice part = slice_of(payload, sizeof payload);
    /* Within a gap it is refused, but at its beginning and at its end. */
    bool within = to > 0 && to < end && before->between[to] && before->between[to - 1];
    int rc = ledger_log_append(r->log, LEDGER_RECORD_ROLLBACK, 0, to, NULL, &part, 1, &r->lsn, &e);
    if (within && rc == -ATOLL_EINVAL)
        return 0;
    if (rc < 0)
        return rc;
    assert_false(within);
    struct moment *m = moment_add(r);
    m->end = to;
    m->jumped = 0;
    for (uint64_t at = 0; at < to; at++)
        if (m->between[at])
            m->jumped = at + 1;
    r->lsns[r->count - 1] = r->lsn;
    r->next_history = (uint8_t)(1 + draw(r, 100));
    return 0;
}

static int run_jump(struct run *r)
{
    const struct moment *before = now(r);
    struct moment after = *before;
    uint64_t to = before->end + 1 + draw(r, r->restless ? 6 : 60);
    /* Two gaps without anything between them would be one to this model. */
    if (to >= ENTRIES_MAX || before->end == 0 || before->jumped == before->end)
        return 0;
    for (; after.end < to; after.end++) {
        after.history[after.end] = 0;
        after.between[after.end] = true;
    }
    after.jumped = to;
    struct merkle_frontier at = frontier_of(&after, to);
    int rc = ledger_log_jump(r->log, &at, &e);
    if (rc == -ATOLL_ELIMIT && r->jumps >= LEDGER_LOG_GAPS_MAX) {
        r->refused++;
        return 0;
    }
    if (rc < 0)
        return rc;
    *moment_add(r) = after;
    r->jumps++;
    return 0;
}

static int run_fill(struct run *r)
{
    struct merkle_frontier from, goal;
    uint8_t bytes[400];
    int rc = 0;
    for (uint64_t i = draw(r, 40); i > 0 && rc == 0 && ledger_log_gap(r->log, &from, &goal); i--) {
        struct merkle_frontier wanted = frontier_of(now(r), from.size);
        assert_true(now(r)->between[from.size] && merkle_frontier_equal(&from, &wanted));
        rc = ledger_log_fill(r->log, type_of(from.size), entry_make(from.size, 0, bytes), &e);
    }
    return rc;
}

static int run_sync(struct run *r)
{
    if (r->lsn > 0)
        ledger_log_sync(r->log, r->lsn);
    ledger_log_work(r->log);
    int rc = ledger_log_complete(r->log, &r->durable_lsn, &e);
    for (size_t i = r->durable; rc == 0 && i < r->count; i++)
        if (r->lsns[i] > 0 && r->lsns[i] <= r->durable_lsn)
            r->durable = i;
    return rc;
}

/* One entry and a jump, again and again; gaps are filled late. */
static int run_restless_step(struct run *r)
{
    uint64_t what = draw(r, 100);
    int rc = 0;
    if (what < 60) {
        rc = run_append(r);
        return rc < 0 ? rc : run_jump(r);
    }
    return what < 63 ? run_rollback(r) : what < 68 ? run_fill(r) : run_sync(r);
}

static int run_step(struct run *r)
{
    uint64_t what = draw(r, 100);
    int rc = 0;
    if (r->restless)
        return run_restless_step(r);
    if (what < 45)
        for (uint64_t i = draw(r, 12); i > 0 && rc == 0; i--)
            rc = run_append(r);
    else if (what < 55)
        rc = run_rollback(r);
    else if (what < 65)
        rc = run_jump(r);
    else if (what < 80)
        rc = run_fill(r);
    else
        rc = run_sync(r);
    return rc;
}

static int run_open(struct run *r)
{
    struct log_files files = disk_files(r->disk);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true,
                                       .check_from = draw(r, 2) ? UINT64_MAX : 0};
    memcpy(config.genesis, genesis, sizeof config.genesis);
    return ledger_log_open(&config, &r->log, &r->found, &e);
}

/* Finds the moment that the log came back to, and forgets the others. */
static void run_resume(struct run *r, uint64_t seed, bool damage_allowed)
{
    if (run_open(r))
        fail_msg("seed %llu: %s", (unsigned long long)seed, e.text);
    if (r->found.corrupt && !damage_allowed)
        fail_msg("seed %llu: %s", (unsigned long long)seed, r->found.what);
    size_t is = r->count;
    while (is > r->durable && !is_moment(r->log, &r->moments[is - 1]))
        is--;
    if (is == r->durable)
        fail_msg("seed %llu: the log came back to nothing that it was: end %llu of %llu",
                 (unsigned long long)seed, (unsigned long long)ledger_log_end(r->log),
                 (unsigned long long)now(r)->end);
    r->moments[0] = r->moments[is - 1];
    r->count = 1;
    r->lsns[0] = r->lsn = r->durable_lsn = 0;
    r->durable = 0;
    check_replay(r);
}

static void the_log_is_its_model(enum disk_cut cut)
{
    struct run *r = malloc(sizeof *r);
    unsigned refused = 0, most_jumps = 0;
    for (uint64_t seed = 1; seed < 60; seed++) {
        memset(r, 0, sizeof *r);
        r->restless = seed % 3 == 0;
        r->disk = calloc(1, sizeof *r->disk);
        r->disk->random = r->random = seed;
        r->count = 1;
        assert_int_equal(run_open(r), 0);
        for (int life = 0; life < 5; life++) {
            if (life > 0)
                r->disk->fail_at = r->disk->operations + 1 + draw(r, 120);
            int rc = 0;
            for (int i = 0; i < STEPS / (life ? 1 : 4) && rc == 0; i++)
                rc = run_step(r);
            r->disk->fail_at = rc == 0 ? 0 : r->disk->fail_at;
            if (rc == 0 && !is_moment(r->log, now(r)))
                fail_msg("seed %llu: the log is not what it should be", (unsigned long long)seed);
            bool orderly = rc == 0 && draw(r, 2);
            if (orderly && run_sync(r) < 0)
                orderly = false;
            ledger_log_close(r->log, orderly, &e);
            disk_restart(r->disk, cut);
            run_resume(r, seed, cut == DISK_CUT_SECTORS);
        }
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        refused += r->refused;
        most_jumps = r->jumps > most_jumps ? r->jumps : most_jumps;
        disk_free(r->disk);
        free(r->disk);
    }
    /* It came to the bound, and beyond it. */
    assert_true(refused > 10 && most_jumps > LEDGER_LOG_GAPS_MAX * 3 / 2);
    free(r);
}

static void the_log_is_what_it_was_after_a_killed_process(void **state)
{
    (void)state;
    the_log_is_its_model(DISK_CUT_KILLED);
}

static void the_log_is_what_it_was_after_a_power_cut(void **state)
{
    (void)state;
    the_log_is_its_model(DISK_CUT_PREFIX);
}

static void the_log_is_what_it_was_after_losing_all_that_was_not_synchronised(void **state)
{
    (void)state;
    the_log_is_its_model(DISK_CUT_NOTHING);
}

static void the_log_is_what_it_was_after_losing_any_sectors(void **state)
{
    (void)state;
    the_log_is_its_model(DISK_CUT_SECTORS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_is_what_it_was_after_a_killed_process),
        cmocka_unit_test(the_log_is_what_it_was_after_a_power_cut),
        cmocka_unit_test(the_log_is_what_it_was_after_losing_all_that_was_not_synchronised),
        cmocka_unit_test(the_log_is_what_it_was_after_losing_any_sectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
