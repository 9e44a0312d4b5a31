/*
 * The ledger's log: what it holds, and what is left of it when power, process or disk fail after
 * any operation of a scripted run.
 */
#define _GNU_SOURCE
#include "ledger_disk.h"

#include "ledger/log/log.h"
#include "ledger/log/vote_log.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define SEGMENT_SIZE 16384u
#define PIPELINE     2
#define RECORDS_MAX  4096
#define PAYLOAD_MAX  3000

static const uint8_t genesis[32] = "a service";
static struct error e;

/* What a run appended. */
struct appended {
    enum ledger_record_kind kind;
    uint8_t type;
    uint64_t position;
    uint64_t seed; /* of the payload */
    size_t len;
};

struct run {
    struct ledger_log *log;
    struct ledger_log_found found;
    struct appended records[RECORDS_MAX];
    size_t count;
    uint64_t lsns[RECORDS_MAX];
    size_t durable; /* records that the log called durable */
    uint64_t end, random;
};

static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The payload of a record: marks and votes say in their first bytes what they are about. */
static void payload_make(const struct appended *a, uint8_t *out)
{
    uint64_t seed = a->seed;
    for (size_t i = 0; i < a->len; i++)
        out[i] = (uint8_t)(draw(&seed) >> 3);
    if (a->kind == LEDGER_RECORD_SIGNED) {
        struct ledger_signed s = {
            .what = LEDGER_SIGNED_PREPARE, .config = 0, .view = 3, .seqno = a->seed};
        ledger_signed_encode(&s, out);
    } else if (a->kind >= LEDGER_RECORD_CERTIFICATE) {
        store_u32(out, 0);
        store_u64(out + 4, a->seed / 50);
        store_u64(out + 12, a->seed);
    }
}

static int run_open_from(struct run *r, struct disk *d, enum ledger_log_mode mode,
                         const char *machine, uint64_t check_from)
{
    struct log_files files = disk_files(d);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = PIPELINE,
                                       .mode = mode,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = machine,
                                       .threadless = true,
                                       .check_from = check_from};
    memcpy(config.genesis, genesis, sizeof genesis);
    return ledger_log_open(&config, &r->log, &r->found, &e);
}

static int run_open(struct run *r, struct disk *d, enum ledger_log_mode mode, const char *machine)
{
    return run_open_from(r, d, mode, machine, 0);
}

static int append(struct run *r, enum ledger_record_kind kind, uint8_t type, uint64_t position,
                  size_t len)
{
    uint8_t payload[PAYLOAD_MAX];
    struct appended *a = &r->records[r->count];
    *a = (struct appended){kind, type, position, r->count + 1, len};
    payload_make(a, payload);
    size_t cut = len / 3;
    struct slice parts[2] = {{payload, cut}, {payload + cut, len - cut}};
    uint64_t lsn;
    int rc = ledger_log_append(r->log, kind, type, position, NULL, parts, 2, &lsn, &e);
    if (rc < 0)
        return rc;
    assert_true(r->count == 0 || lsn > r->lsns[r->count - 1]);
    r->lsns[r->count++] = lsn;
    r->end = kind == LEDGER_RECORD_ENTRY ? position + 1
                                         : (kind == LEDGER_RECORD_ROLLBACK ? position : r->end);
    return 0;
}

/* Asks for everything and does it. */
static int make_durable(struct run *r)
{
    uint64_t durable;
    if (r->count > 0)
        ledger_log_sync(r->log, r->lsns[r->count - 1]);
    ledger_log_work(r->log);
    int rc = ledger_log_complete(r->log, &durable, &e);
    while (r->durable < r->count && r->lsns[r->durable] <= durable)
        r->durable++;
    return rc;
}

/* One step of a replica's life. */
static int step(struct run *r)
{
    uint64_t what = draw(&r->random) % 100;
    size_t len = 20 + draw(&r->random) % (what % 7 == 0 ? 2500 : 300);
    if (r->end == 0)
        return append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, len);
    if (what < 50)
        return append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, len);
    if (what < 62)
        return append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_PP, r->end, 273);
    if (what < 66)
        return append(r, LEDGER_RECORD_ROLLBACK, 0, r->end - draw(&r->random) % (r->end % 60 + 1),
                      0);
    if (what < 76)
        return append(r, LEDGER_RECORD_SIGNED, 0, 0, LEDGER_SIGNED_LEN);
    if (what < 86)
        return append(r, LEDGER_RECORD_CERTIFICATE, 0, 0, len);
    if (what < 88)
        return append(r, LEDGER_RECORD_VIEW_CHANGE, 0, 0, len);
    if (what < 90)
        return append(r, LEDGER_RECORD_NEW_VIEW, 0, 0, len);
    return make_durable(r);
}

/* ---- what must be there ---- */

struct check {
    const struct run *r;
    size_t next;            /* of the records, in the segments */
    uint64_t signed_seqno;  /* the greatest mark replayed */
    bool seen[RECORDS_MAX]; /* votes */
};

static bool in_segments(const struct appended *a)
{
    return a->kind == LEDGER_RECORD_ENTRY || a->kind == LEDGER_RECORD_ROLLBACK;
}

static int check_visit(void *context, enum ledger_record_kind kind, uint8_t type, uint64_t position,
                       const void *payload, size_t len, struct error *error)
{
    struct check *c = context;
    uint8_t wanted[PAYLOAD_MAX];
    (void)error;
    if (kind == LEDGER_RECORD_SIGNED) {
        struct ledger_signed s;
        assert_int_equal(ledger_signed_decode(slice_of(payload, len), &s, &e), 0);
        c->signed_seqno = s.seqno > c->signed_seqno ? s.seqno : c->signed_seqno;
        return 0;
    }
    if (kind >= LEDGER_RECORD_CERTIFICATE) {
        uint64_t seed = load_u64((const uint8_t *)payload + 12);
        const struct appended *a = &c->r->records[seed - 1];
        assert_true(seed >= 1 && seed <= c->r->count && a->kind == kind && a->len == len);
        payload_make(a, wanted);
        assert_memory_equal(payload, wanted, len);
        c->seen[seed - 1] = true;
        return 0;
    }
    while (c->next < c->r->count && !in_segments(&c->r->records[c->next]))
        c->next++;
    assert_true(c->next < c->r->count);
    const struct appended *a = &c->r->records[c->next++];
    assert_int_equal(kind, a->kind);
    assert_int_equal(position, a->position);
    assert_int_equal(len, a->len);
    if (kind == LEDGER_RECORD_ENTRY)
        assert_int_equal(type, a->type);
    payload_make(a, wanted);
    assert_memory_equal(payload, wanted, len);
    return 0;
}

/* The votes that must be kept of the first `count` records are there, or something greater is. */
static void check_votes(const struct check *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct appended *a = &c->r->records[i];
        bool overtaken = a->kind < LEDGER_RECORD_CERTIFICATE || c->seen[i];
        for (size_t k = i + 1; k < c->r->count && !overtaken; k++) {
            const struct appended *b = &c->r->records[k];
            if (b->kind != a->kind || !c->seen[k])
                continue;
            /* seed / 50 is the view, the seed itself s. */
            overtaken = a->kind != LEDGER_RECORD_CERTIFICATE || b->seed / 50 > a->seed / 50 ||
                        b->seed - a->seed >= PIPELINE;
        }
        assert_true(overtaken);
    }
}

/* The ledger as the first `count` records left it, and what the log says of it. */
static void check_ledger(struct ledger_log *log, const struct run *r, size_t count)
{
    static size_t at[RECORDS_MAX];
    struct merkle_frontier frontier = {0}, told;
    struct buffer out = {0};
    uint64_t end = 0;
    uint8_t wanted[PAYLOAD_MAX], type;
    for (size_t i = 0; i < count; i++) {
        if (r->records[i].kind == LEDGER_RECORD_ROLLBACK)
            end = r->records[i].position;
        if (r->records[i].kind == LEDGER_RECORD_ENTRY)
            at[end++] = i;
    }
    assert_int_equal(ledger_log_end(log), end);
    for (uint64_t position = 0; position < end; position++) {
        const struct appended *a = &r->records[at[position]];
        payload_make(a, wanted);
        if (ledger_log_read(log, position, &out, &type, &e) < 0)
            fail_msg("%s", e.text);
        assert_int_equal(type, a->type);
        assert_int_equal(out.len, a->len);
        assert_memory_equal(out.data, wanted, a->len);
        struct merkle_hash leaf = ledger_entry_leaf(type, slice_of_buffer(&out));
        assert_int_equal(merkle_frontier_append(&frontier, &leaf, &e), 0);
    }
    assert_int_equal(ledger_log_read(log, end, &out, &type, &e), -ATOLL_ERANGE);
    ledger_log_frontier(log, &told);
    struct merkle_hash a = merkle_frontier_root(&told), b = merkle_frontier_root(&frontier);
    assert_memory_equal(&a, &b, sizeof a);
    buffer_free(&out);
}

/* Everything that was called durable is there; more may be. The number of records replayed. */
static size_t check_all(struct run *r)
{
    static struct check c;
    memset(&c, 0, sizeof c);
    c.r = r;
    if (ledger_log_replay(r->log, 0, check_visit, &c, &e) < 0)
        fail_msg("%s | %s", e.text, r->found.what);
    size_t entries = 0, signed_durable = 0;
    for (size_t i = 0; i < r->durable; i++) {
        if (in_segments(&r->records[i]))
            entries = i + 1;
        if (r->records[i].kind == LEDGER_RECORD_SIGNED)
            signed_durable = r->records[i].seed;
    }
    assert_true(c.next >= entries);
    assert_true(c.signed_seqno >= signed_durable);
    check_votes(&c, r->durable);
    check_ledger(r->log, r, c.next);
    return c.next;
}

/* Goes on from what is there: forgets the records that are not, and makes some more. */
static void go_on(struct run *r, struct disk *d, size_t there)
{
    /* Votes behind the last entry may be there as well; they are never asked for again. */
    struct run *after = calloc(1, sizeof *after);
    assert_non_null(after);
    after->log = r->log;
    after->random = 5;
    for (size_t i = 0; i < there; i++) {
        after->records[i] = r->records[i];
        after->lsns[i] = 0;
    }
    after->count = after->durable = there;
    after->end = ledger_log_end(r->log);
    for (int i = 0; i < 60; i++)
        assert_int_equal(step(after), 0);
    assert_int_equal(make_durable(after), 0);
    assert_int_equal(after->durable, after->count);
    /* Votes of a former life may say things of the records that stand there now. */
    check_ledger(after->log, after, after->count);
    assert_int_equal(ledger_log_close(after->log, true, &e), 0);
    disk_restart(d, DISK_CUT_NOTHING);
    assert_int_equal(run_open(after, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_true(after->found.clean);
    assert_false(after->found.corrupt);
    assert_int_equal(after->found.torn_bytes, 0);
    check_ledger(after->log, after, after->count);
    r->log = after->log;
    free(after);
}

/* ---- the tests ---- */

static void records_come_back_in_order_after_a_clean_stop(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_true(r->found.fresh);
    assert_int_equal(r->found.starts, 1);
    for (int life = 2; life < 6; life++) {
        for (int i = 0; i < 250; i++)
            assert_int_equal(step(r), 0);
        check_ledger(r->log, r, r->count);
        check_all(r);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        r->durable = r->count;
        disk_restart(d, DISK_CUT_NOTHING);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        assert_true(r->found.clean && !r->found.fresh && !r->found.corrupt);
        assert_int_equal(r->found.starts, life);
        memset(r->lsns, 0, sizeof r->lsns);
        check_all(r);
        assert_int_equal(ledger_log_end(r->log), r->end);
    }
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

/* The run of a seed, with the power gone at an operation (0: never). True: it came to its end. */
static bool scripted(struct run *r, struct disk *d, enum ledger_log_mode mode, uint64_t fail_at)
{
    d->fail_at = fail_at;
    int rc = run_open(r, d, mode, "m");
    for (int i = 0; i < 220 && rc == 0; i++)
        rc = step(r);
    if (r->log)
        ledger_log_close(r->log, false, &e);
    r->log = NULL;
    return rc == 0;
}

static void cut_after_every_operation(enum disk_cut cut)
{
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    bool whole = false;
    for (uint64_t fail_at = 1; !whole; fail_at++) {
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        d->random = fail_at;
        r->random = 42 + fail_at % 3;
        whole = scripted(r, d, LEDGER_LOG_STRICT, fail_at);
        disk_restart(d, cut);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        assert_false(r->found.clean);
        /* Only what reached the disk out of order can look like damage. */
        if (cut != DISK_CUT_SECTORS)
            assert_false(r->found.corrupt);
        go_on(r, d, check_all(r));
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    free(d);
    free(r);
}

static void a_killed_process_loses_nothing_durable(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_KILLED);
}

static void a_power_cut_leaves_a_prefix(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_PREFIX);
}

static void a_power_cut_loses_all_that_was_not_synchronised(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_NOTHING);
}

static void a_power_cut_leaves_any_sectors(void **state)
{
    (void)state;
    cut_after_every_operation(DISK_CUT_SECTORS);
}

/* Opening itself is cut off, again and again. */
static void a_cut_during_recovery_is_recovered_from(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (uint64_t seed = 1; seed < 60; seed++) {
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        d->random = seed;
        r->random = seed;
        scripted(r, d, LEDGER_LOG_STRICT, 100 + seed * 7);
        disk_restart(d, seed % 2 ? DISK_CUT_SECTORS : DISK_CUT_PREFIX);
        for (uint64_t again = 1; again < 12; again++) {
            d->fail_at = d->operations + again;
            if (run_open(r, d, LEDGER_LOG_STRICT, "m") == 0)
                ledger_log_close(r->log, false, &e);
            disk_restart(d, again % 2 ? DISK_CUT_SECTORS : DISK_CUT_NOTHING);
        }
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        go_on(r, d, check_all(r));
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    free(d);
    free(r);
}

/* A whole log, closed in order. */
static void closed_log(struct run *r, struct disk *d, uint64_t seed)
{
    memset(r, 0, sizeof *r);
    memset(d, 0, sizeof *d);
    r->random = seed;
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    for (int i = 0; i < 250; i++)
        assert_int_equal(step(r), 0);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    r->durable = r->count;
    disk_restart(d, DISK_CUT_NOTHING);
}

static void a_flipped_bit_never_shortens_the_log_in_silence(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    unsigned votes = 0, damaged = 0, harmless = 0;
    for (uint64_t seed = 1; seed < 1200; seed++) {
        static struct check c;
        closed_log(r, d, seed % 4);
        uint64_t random = seed;
        struct disk_file *f;
        do
            f = &d->files[draw(&random) % DISK_FILES];
        while (!f->used || f->now.len == 0);
        uint64_t bit = draw(&random) % (8 * f->now.len);
        f->now.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        f->durable.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bool segment = strncmp(f->name, "segment-", 8) == 0;
        int rc = run_open(r, d, LEDGER_LOG_STRICT, "m");
        if (rc < 0)
            fail_msg("%s: %s", f->name, e.text);
        if (r->found.votes_damaged) {
            /* What others do not have: they have to be beyond it. */
            assert_true(r->found.quarantine && !r->found.corrupt && !segment);
            check_ledger(r->log, r, r->count);
            votes++;
        } else if (r->found.corrupt) {
            assert_true(segment);
            assert_int_equal(r->found.missing, ledger_log_end(r->log));
            memset(&c, 0, sizeof c);
            c.r = r;
            assert_int_equal(ledger_log_replay(r->log, 0, check_visit, &c, &e), 0);
            check_votes(&c, r->durable);
            /* The marks of what was signed survive, but for one that is itself damaged. */
            uint64_t last = 0, before = 0;
            for (size_t i = 0; i < r->count; i++)
                if (r->records[i].kind == LEDGER_RECORD_SIGNED) {
                    before = last;
                    last = r->records[i].seed;
                }
            assert_true(c.signed_seqno >= before);
            /* … and then nothing is signed before it is known that nothing is signed twice. */
            assert_true(c.signed_seqno >= last || r->found.quarantine);
            check_ledger(r->log, r, c.next);
            damaged++;
        } else {
            check_all(r);
            assert_int_equal(ledger_log_end(r->log), r->end);
            harmless++;
        }
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    assert_true(votes > 5 && damaged > 100 && harmless > 100);
    free(d);
    free(r);
}

/* Segments are cut off, one after the other, or gone. */
static void lost_segments_come_from_others_and_silence_the_replica(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (uint64_t serial = 0; serial < 4; serial++) {
        for (int gone = 0; gone < 2; gone++) {
            closed_log(r, d, 3);
            uint64_t last = 0;
            for (int i = 0; i < DISK_FILES; i++) {
                uint64_t s = 0, position = 0;
                struct disk_file *f = &d->files[i];
                if (!f->used ||
                    sscanf(f->name, "segment-%8" SCNu64 "-%20" SCNu64, &s, &position) < 2)
                    continue;
                last = s > last ? s : last;
                if (serial > 0 && s != serial)
                    continue;
                if (gone)
                    f->used = false; /* serial 0: all of them */
                else
                    f->now.len = f->durable.len = 9000;
            }
            assert_true(last >= 4);
            if (run_open(r, d, LEDGER_LOG_STRICT, "m"))
                fail_msg("segment %d: %s", (int)serial, e.text);
            assert_true(r->found.corrupt);
            assert_int_equal(r->found.missing, ledger_log_end(r->log));
            assert_true(r->found.quarantine == (serial == 0 || serial == last));
            if (serial <= 1)
                assert_int_equal(ledger_log_end(r->log), 0);
            /* It goes on, and knows of it until it has rejoined. */
            uint64_t lsn;
            struct slice part = slice_of((const uint8_t *)"genesis", 7);
            if (serial <= 1)
                assert_int_equal(ledger_log_append(r->log, LEDGER_RECORD_ENTRY,
                                                   LEDGER_ENTRY_GENESIS, 0, NULL, &part, 1, &lsn,
                                                   &e),
                                 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
            disk_restart(d, DISK_CUT_NOTHING);
            assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
            assert_false(r->found.corrupt);
            assert_true(r->found.quarantine == (serial == 0 || serial == last));
            assert_int_equal(ledger_log_rejoined(r->log, &e), 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
            disk_free(d);
        }
    }
    free(d);
    free(r);
}

static void old_segments_are_believed_and_found_out_when_they_are_read(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    unsigned found = 0;
    for (uint64_t seed = 1; seed < 200; seed++) {
        closed_log(r, d, seed % 4);
        assert_int_equal(run_open_from(r, d, LEDGER_LOG_STRICT, "m", UINT64_MAX), 0);
        assert_true(r->found.clean && !r->found.corrupt);
        check_all(r);
        assert_int_equal(ledger_log_end(r->log), r->end);
        go_on(r, d, r->count);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
        /* Entries only, and a bit of the first segment, but for what opening looks at. */
        memset(r, 0, sizeof *r);
        memset(d, 0, sizeof *d);
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
        for (int i = 0; i < 150; i++)
            assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 300), 0);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
        uint64_t random = seed;
        struct disk_file *f = NULL;
        for (int i = 0; i < DISK_FILES; i++)
            if (d->files[i].used && strncmp(d->files[i].name, "segment-00000001", 16) == 0)
                f = &d->files[i];
        assert_non_null(f);
        uint64_t bit = 8 * 4096 + draw(&random) % (8ull * 6000);
        f->now.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(run_open_from(r, d, LEDGER_LOG_STRICT, "m", UINT64_MAX), 0);
        struct buffer out = {0};
        uint8_t type, wanted[PAYLOAD_MAX];
        for (uint64_t position = 0; position < ledger_log_end(r->log); position++) {
            int rc = ledger_log_read(r->log, position, &out, &type, &e);
            found += rc < 0;
            assert_true(rc == 0 || rc == -ATOLL_ECORRUPT);
            for (size_t i = r->count; rc == 0 && i-- > 0;) {
                const struct appended *a = &r->records[i];
                if (a->kind != LEDGER_RECORD_ENTRY || a->position != position)
                    continue;
                payload_make(a, wanted);
                assert_int_equal(out.len, a->len);
                assert_memory_equal(out.data, wanted, a->len);
                break;
            }
        }
        buffer_free(&out);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
    }
    assert_true(found > 100 && found < 200);
    free(d);
    free(r);
}

static void a_lost_state_file_or_vote_log_ends_the_replica(void **state)
{
    (void)state;
    struct run *r = malloc(sizeof *r);
    struct disk *d = malloc(sizeof *d);
    for (int which = 0; which < 2; which++) {
        closed_log(r, d, 1);
        for (int i = 0; i < DISK_FILES; i++)
            if (d->files[i].used &&
                strncmp(d->files[i].name, which ? "votes-" : "state", 5 + (size_t)which) == 0)
                d->files[i].name[0] = '\0';
        assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "new key"));
        disk_free(d);
    }
    free(d);
    free(r);
}

static void a_full_disk_refuses_records_and_keeps_the_rest(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    d->room = 10 * SEGMENT_SIZE;
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    int rc = 0;
    for (int i = 0; i < 2000 && rc == 0; i++)
        rc = append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400);
    assert_int_equal(rc, -ATOLL_ELIMIT);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400), -ATOLL_ELIMIT);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, r->count);
    check_ledger(r->log, r, r->count);
    /* With room again it goes on. */
    d->room = 0;
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, r->end, 400), 0);
    assert_int_equal(make_durable(r), 0);
    check_ledger(r->log, r, r->count);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

static void a_failed_sync_is_final(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
    d->sync_fails_at = d->syncs + 1;
    assert_int_equal(make_durable(r), -ATOLL_EIO);
    assert_int_equal(r->durable, 0);
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_TX, 1, 50), -ATOLL_EIO);
    assert_int_equal(make_durable(r), -ATOLL_EIO);
    assert_int_equal(r->durable, 0);
    assert_int_equal(ledger_log_close(r->log, true, &e), -ATOLL_EIO);
    disk_restart(d, DISK_CUT_NOTHING);
    assert_int_equal(run_open(r, d, LEDGER_LOG_STRICT, "m"), 0);
    assert_false(r->found.clean);
    assert_int_equal(ledger_log_close(r->log, true, &e), 0);
    disk_free(d);
    free(d);
    free(r);
}

static void async_mode_synchronises_view_changes_only(void **state)
{
    (void)state;
    struct run *r = calloc(1, sizeof *r);
    struct disk *d = calloc(1, sizeof *d);
    assert_int_equal(run_open(r, d, LEDGER_LOG_ASYNC, "m"), 0);
    uint64_t syncs = d->syncs;
    assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
    assert_int_equal(append(r, LEDGER_RECORD_CERTIFICATE, 0, 0, 50), 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, 2);
    assert_int_equal(d->syncs, syncs);
    assert_int_equal(append(r, LEDGER_RECORD_VIEW_CHANGE, 0, 0, 50), 0);
    assert_int_equal(make_durable(r), 0);
    assert_int_equal(r->durable, 3);
    assert_int_equal(d->syncs, syncs + 1);
    ledger_log_close(r->log, false, &e);
    disk_free(d);
    free(d);
    free(r);
}

static void only_an_unclean_stop_of_the_machine_in_async_mode_quarantines(void **state)
{
    (void)state;
    static const struct {
        enum ledger_log_mode mode;
        bool orderly;
        const char *machine;
        bool quarantine;
    } cases[] = {
        {LEDGER_LOG_ASYNC, false, "other", true},
        {LEDGER_LOG_ASYNC, false, "m", false},
        {LEDGER_LOG_ASYNC, true, "other", false},
        {LEDGER_LOG_STRICT, false, "other", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run *r = calloc(1, sizeof *r);
        struct disk *d = calloc(1, sizeof *d);
        assert_int_equal(run_open(r, d, cases[i].mode, "m"), 0);
        assert_false(r->found.quarantine);
        assert_int_equal(append(r, LEDGER_RECORD_ENTRY, LEDGER_ENTRY_GENESIS, 0, 50), 0);
        assert_int_equal(make_durable(r), 0);
        ledger_log_close(r->log, cases[i].orderly, &e);
        for (int again = 0; again < 2; again++) {
            /* It stays until the replica has rejoined, whatever the later stops were like. */
            assert_int_equal(run_open(r, d, cases[i].mode, cases[i].machine), 0);
            assert_int_equal(r->found.quarantine, cases[i].quarantine);
            if (again == 1)
                assert_int_equal(ledger_log_rejoined(r->log, &e), 0);
            assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        }
        assert_int_equal(run_open(r, d, cases[i].mode, cases[i].machine), 0);
        assert_false(r->found.quarantine);
        assert_int_equal(ledger_log_close(r->log, true, &e), 0);
        disk_free(d);
        free(d);
        free(r);
    }
}

/* ---- votes ---- */

static void note(struct vote_log *v, uint16_t kind, uint64_t view, uint64_t s)
{
    uint8_t payload[20];
    store_u32(payload, 0);
    store_u64(payload + 4, view);
    store_u64(payload + 12, s);
    assert_true(vote_log_note(v, kind, payload, sizeof payload));
}

static bool kept(const struct vote_log *v, uint16_t kind, uint64_t view, uint64_t s)
{
    unsigned found = 0;
    for (unsigned i = 0; i < v->count; i++)
        found += v->votes[i].kind == kind && v->votes[i].view == view &&
                 load_u64(v->votes[i].payload + 12) == s;
    assert_true(found <= 1);
    return found == 1;
}

static void votes_are_kept_until_they_are_overtaken(void **state)
{
    (void)state;
    enum { C = LEDGER_RECORD_CERTIFICATE, NV = LEDGER_RECORD_NEW_VIEW };
    struct vote_log v = {.pipeline = 2, .file = -1};
    note(&v, NV, 1, 0);
    note(&v, C, 1, 5);
    note(&v, C, 1, 5);
    note(&v, C, 1, 6);
    assert_true(kept(&v, C, 1, 5) && kept(&v, C, 1, 6) && kept(&v, NV, 1, 0));
    note(&v, C, 1, 7);
    assert_true(!kept(&v, C, 1, 5) && kept(&v, C, 1, 6) && kept(&v, C, 1, 7));
    /* Views without a certificate leave the tip's view alone. */
    note(&v, LEDGER_RECORD_VIEW_CHANGE, 2, 0);
    note(&v, NV, 2, 0);
    note(&v, LEDGER_RECORD_VIEW_CHANGE, 3, 0);
    note(&v, NV, 3, 0);
    assert_true(kept(&v, NV, 1, 0) && !kept(&v, NV, 2, 0) && kept(&v, NV, 3, 0));
    assert_true(kept(&v, C, 1, 6) && kept(&v, C, 1, 7));
    assert_true(!kept(&v, LEDGER_RECORD_VIEW_CHANGE, 2, 0));
    assert_true(kept(&v, LEDGER_RECORD_VIEW_CHANGE, 3, 0));
    /* The first certificate of a view is the tip, though its s is lower. */
    note(&v, C, 3, 6);
    assert_true(!kept(&v, C, 1, 6) && !kept(&v, C, 1, 7) && kept(&v, C, 3, 6));
    assert_true(!kept(&v, NV, 1, 0) && kept(&v, NV, 3, 0));
    vote_log_free(&v);
}

/* ---- the real thing ---- */

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
        uint64_t durable = 0, woken;
        ledger_log_sync(r->log, r->lsns[r->count - 1]);
        while (durable < r->lsns[r->count - 1]) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            assert_int_equal(poll(&p, 1, 60000), 1);
            assert_int_equal(read(fd, &woken, sizeof woken), sizeof woken);
            assert_int_equal(ledger_log_complete(r->log, &durable, &e), 0);
        }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_in_order_after_a_clean_stop),
        cmocka_unit_test(a_killed_process_loses_nothing_durable),
        cmocka_unit_test(a_power_cut_leaves_a_prefix),
        cmocka_unit_test(a_power_cut_loses_all_that_was_not_synchronised),
        cmocka_unit_test(a_power_cut_leaves_any_sectors),
        cmocka_unit_test(a_cut_during_recovery_is_recovered_from),
        cmocka_unit_test(a_flipped_bit_never_shortens_the_log_in_silence),
        cmocka_unit_test(lost_segments_come_from_others_and_silence_the_replica),
        cmocka_unit_test(old_segments_are_believed_and_found_out_when_they_are_read),
        cmocka_unit_test(a_lost_state_file_or_vote_log_ends_the_replica),
        cmocka_unit_test(a_full_disk_refuses_records_and_keeps_the_rest),
        cmocka_unit_test(a_failed_sync_is_final),
        cmocka_unit_test(async_mode_synchronises_view_changes_only),
        cmocka_unit_test(only_an_unclean_stop_of_the_machine_in_async_mode_quarantines),
        cmocka_unit_test(votes_are_kept_until_they_are_overtaken),
        cmocka_unit_test(a_directory_holds_a_log_that_a_thread_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
