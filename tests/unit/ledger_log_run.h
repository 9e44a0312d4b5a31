/*
 * A run of the ledger's log: what a scripted replica appended to it, and whether the log still says
 * so, in memory that can fail like a disk (ledger_disk.h).
 */
#ifndef TESTS_LEDGER_LOG_RUN_H
#define TESTS_LEDGER_LOG_RUN_H

#include "ledger_disk.h"

#include "ledger/log/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static inline uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The payload of a record: marks and votes say in their first bytes what they are about. */
static inline void payload_make(const struct appended *a, uint8_t *out)
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

static inline int run_open_from(struct run *r, struct disk *d, enum ledger_log_mode mode,
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

static inline int run_open(struct run *r, struct disk *d, enum ledger_log_mode mode,
                           const char *machine)
{
    return run_open_from(r, d, mode, machine, 0);
}

static inline int append(struct run *r, enum ledger_record_kind kind, uint8_t type,
                         uint64_t position, size_t len)
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
static inline int make_durable(struct run *r)
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
static inline int step(struct run *r)
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

static inline bool in_segments(const struct appended *a)
{
    return a->kind == LEDGER_RECORD_ENTRY || a->kind == LEDGER_RECORD_ROLLBACK;
}

static inline int check_visit(void *context, enum ledger_record_kind kind, uint8_t type,
                              uint64_t position, const void *payload, size_t len,
                              struct error *error)
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
static inline void check_votes(const struct check *c, size_t count)
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
static inline void check_ledger(struct ledger_log *log, const struct run *r, size_t count)
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
static inline size_t check_all(struct run *r)
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
static inline void go_on(struct run *r, struct disk *d, size_t there)
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

/* A whole log, closed in order. */
static inline void closed_log(struct run *r, struct disk *d, uint64_t seed)
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

#endif
