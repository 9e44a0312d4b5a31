/*
 * The ledger's log in trouble: a disk that is full when the vote log needs room, damage whose
 * repair is cut off in its turn, more files than a process may have open.
 */
#define _GNU_SOURCE
#include "ledger_disk.h"

#include "ledger/log/log.h"
#include "ledger/log/segment.h"

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

static const uint8_t genesis[32] = "a service";
static struct error e;
static struct ledger_log_found found;

static int open_sized(struct disk *d, struct ledger_log **log, uint64_t segment_bytes,
                      bool read_only)
{
    struct log_files files = disk_files(d);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = segment_bytes,
                                       .machine = "m",
                                       .threadless = true,
                                       .read_only = read_only};
    memcpy(config.genesis, genesis, sizeof config.genesis);
    return ledger_log_open(&config, log, &found, &e);
}

static int open_log(struct disk *d, struct ledger_log **log, bool read_only)
{
    return open_sized(d, log, SEGMENT_SIZE, read_only);
}

static int entry_append(struct ledger_log *log, size_t len)
{
    uint8_t bytes[2000] = {0};
    struct slice part = {bytes, len};
    uint64_t at = ledger_log_end(log), lsn;
    uint8_t type = at ? LEDGER_ENTRY_TX : LEDGER_ENTRY_GENESIS;
    store_u64(bytes, at);
    return ledger_log_append(log, LEDGER_RECORD_ENTRY, type, at, NULL, &part, 1, &lsn, &e);
}

static int rollback_append(struct ledger_log *log, uint64_t position)
{
    uint8_t payload[LEDGER_ROLLBACK_LEN];
    uint64_t lsn;
    ledger_rollback_encode(position, payload);
    struct slice part = slice_of(payload, sizeof payload);
    return ledger_log_append(log, LEDGER_RECORD_ROLLBACK, 0, position, NULL, &part, 1, &lsn, &e);
}

static int mark_append(struct ledger_log *log, uint64_t s)
{
    struct ledger_signed mark = {.what = LEDGER_SIGNED_PREPARE, .view = 3, .seqno = s};
    uint8_t payload[LEDGER_SIGNED_LEN];
    uint64_t lsn;
    ledger_signed_encode(&mark, payload);
    struct slice part = slice_of(payload, sizeof payload);
    return ledger_log_append(log, LEDGER_RECORD_SIGNED, 0, 0, NULL, &part, 1, &lsn, &e);
}

static int vote_append(struct ledger_log *log, enum ledger_record_kind kind, uint64_t s, size_t len,
                       uint64_t *lsn)
{
    uint8_t bytes[1000] = {0};
    struct slice part = {bytes, len};
    store_u64(bytes + 4, 1);
    store_u64(bytes + 12, s);
    return ledger_log_append(log, kind, 0, 0, NULL, &part, 1, lsn, &e);
}

static void assert_durable(struct ledger_log *log, uint64_t lsn)
{
    uint64_t durable;
    ledger_log_sync(log, lsn);
    ledger_log_work(log);
    assert_int_equal(ledger_log_complete(log, &durable, &e), 0);
    assert_true(durable >= lsn);
}

/* What a replay tells of marks and votes. */
struct told {
    uint64_t mark, certificate;
    unsigned votes;
};

static int tell(void *context, enum ledger_record_kind kind, uint8_t type, uint64_t position,
                const void *payload, size_t len, struct error *why)
{
    struct told *t = context;
    struct ledger_signed mark;
    (void)type, (void)position, (void)why;
    if (kind == LEDGER_RECORD_SIGNED) {
        assert_int_equal(ledger_signed_decode(slice_of(payload, len), &mark, &e), 0);
        t->mark = mark.seqno > t->mark ? mark.seqno : t->mark;
    }
    if (kind == LEDGER_RECORD_CERTIFICATE)
        t->certificate = load_u64((const uint8_t *)payload + 12);
    t->votes += kind >= LEDGER_RECORD_CERTIFICATE;
    return 0;
}

static struct told replayed(struct ledger_log *log)
{
    struct told t = {0};
    if (ledger_log_replay(log, 0, tell, &t, &e))
        fail_msg("%s", e.text);
    return t;
}

static void byte_spoil(struct disk_file *f, uint64_t at)
{
    assert_true(f && at < f->now.len);
    f->now.data[at] ^= 0x10;
    f->durable.data[at] ^= 0x10;
}

/* Where the last record of the newest segment lies. */
static uint64_t last_record(struct disk *d)
{
    const struct buffer *bytes = &disk_file_named(d, "segment-")->now;
    uint64_t salt = load_u64(bytes->data + 64), last = 0, at = SEGMENT_HEAD;
    struct log_record r;
    while (log_record_read(bytes->data + at, bytes->len - at, salt, &r)) {
        last = at;
        at += log_record_size(r.len);
    }
    return last;
}

/* ---- the vote log and its room ---- */

static void votes_that_find_no_room_leave_the_log_at_rest(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    uint64_t lsn, s = 0;
    assert_int_equal(open_log(d, &log, false), 0);
    assert_int_equal(entry_append(log, 100), 0);
    d->room = 1;
    int rc = 0;
    while (rc == 0 && s < 1000)
        rc = vote_append(log, LEDGER_RECORD_CERTIFICATE, ++s, 900, &lsn);
    assert_int_equal(rc, -ATOLL_ELIMIT);
    /* It does what it was asked, and then nothing: it does not ask the disk again and again. */
    uint64_t before = d->operations;
    d->fail_at = before + 500;
    assert_durable(log, lsn);
    assert_true(d->operations < before + 50);
    d->fail_at = 0;
    assert_int_equal(vote_append(log, LEDGER_RECORD_CERTIFICATE, s, 900, &lsn), -ATOLL_ELIMIT);
    d->room = 0;
    assert_int_equal(vote_append(log, LEDGER_RECORD_CERTIFICATE, s, 900, &lsn), 0);
    assert_durable(log, lsn);
    assert_int_equal(replayed(log).certificate, s);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* What a new vote log makes superfluous is not on its way to the disk any more: otherwise the log
 * would come to think that much is, and write without end. */
static void what_a_new_vote_log_leaves_out_is_not_waited_for(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    uint64_t lsn = 0;
    assert_int_equal(open_sized(d, &log, LEDGER_LOG_PUSH, false), 0);
    for (uint64_t s = 1; s < 1500; s++)
        assert_int_equal(vote_append(log, LEDGER_RECORD_CERTIFICATE, s, 900, &lsn), 0);
    assert_durable(log, lsn);
    uint64_t before = d->operations;
    for (int i = 0; i < 30; i++)
        assert_int_equal(entry_append(log, 1900), 0);
    ledger_log_work(log);
    assert_int_equal(d->operations, before); /* nobody asked for it, and it is not much */
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    disk_free(d);
    free(d);
}

/* ---- repair ---- */

/* A log with a mark at its end, and the state file's mark behind it or not. */
static void marked_log(struct disk *d, bool orderly)
{
    struct ledger_log *log;
    uint64_t lsn = 0;
    memset(d, 0, sizeof *d);
    assert_int_equal(open_log(d, &log, false), 0);
    for (uint64_t s = 1; s <= 60; s++) {
        assert_int_equal(entry_append(log, 700), 0);
        assert_int_equal(mark_append(log, s), 0);
        assert_int_equal(vote_append(log, LEDGER_RECORD_CERTIFICATE, s, 300, &lsn), 0);
        assert_durable(log, lsn);
    }
    assert_int_equal(ledger_log_close(log, orderly, &e), 0);
    disk_restart(d, DISK_CUT_NOTHING);
}

/* Damage, then a stop at every operation of the repair: what was signed last is known afterwards,
 * or it is known that it is not. */
static void repair_is_cut_anywhere(bool orderly, const char *file, uint64_t at)
{
    struct disk *d = malloc(sizeof *d);
    bool whole = false;
    for (uint64_t again = 1; !whole; again++) {
        struct ledger_log *log;
        marked_log(d, orderly);
        byte_spoil(disk_file_named(d, file), at ? at : last_record(d) + LOG_RECORD_HEAD);
        d->random = again;
        d->fail_at = d->operations + again;
        whole = open_log(d, &log, false) == 0;
        if (whole)
            assert_int_equal(ledger_log_close(log, false, &e), 0);
        disk_restart(d, again % 2 ? DISK_CUT_NOTHING : DISK_CUT_KILLED);
        if (open_log(d, &log, false))
            fail_msg("%s", e.text);
        if (!found.quarantine && replayed(log).mark != 60)
            fail_msg("%s at %llu: after operation %llu it is forgotten", file,
                     (unsigned long long)at, (unsigned long long)again);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
    }
    free(d);
}

static void a_repair_that_is_cut_off_forgets_nothing_that_was_signed(void **state)
{
    (void)state;
    for (int orderly = 0; orderly < 2; orderly++) {
        repair_is_cut_anywhere(orderly, "segment-00000003", 8000);
        repair_is_cut_anywhere(orderly, "segment-00000002", 100);
        repair_is_cut_anywhere(orderly, "segment-", 100);
        repair_is_cut_anywhere(orderly, "segment-", 4200);
    }
    repair_is_cut_anywhere(true, "segment-", 0);
}

/* ---- damage in the vote log ---- */

/* What certificates there were is nowhere else; which views were signed in, the segments say. */
static void a_damaged_vote_log_makes_the_replica_wait_for_the_others(void **state)
{
    (void)state;
    static const uint64_t places[] = {3, 100, 4100, 5000};
    struct disk *d = malloc(sizeof *d);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        bool whole = false;
        for (uint64_t again = 1; !whole; again++) {
            struct ledger_log *log;
            uint64_t lsn;
            marked_log(d, true);
            byte_spoil(disk_file_named(d, "votes-"), places[i]);
            d->random = again;
            d->fail_at = d->operations + again;
            whole = open_log(d, &log, false) == 0;
            if (whole) {
                assert_true(found.votes_damaged && found.quarantine && !found.corrupt);
                assert_non_null(disk_file_named(d, "damaged-votes-"));
                assert_int_equal(ledger_log_close(log, false, &e), 0);
            }
            disk_restart(d, again % 2 ? DISK_CUT_NOTHING : DISK_CUT_KILLED);
            /* From there on it is a log like any other, but for the quarantine. */
            for (int life = 0; life < 2; life++) {
                if (open_log(d, &log, false))
                    fail_msg("%llu: %s", (unsigned long long)again, e.text);
                assert_true(found.quarantine);
                assert_int_equal(ledger_log_end(log), 60);
                assert_int_equal(replayed(log).mark, 60);
                assert_int_equal(vote_append(log, LEDGER_RECORD_CERTIFICATE, 70, 50, &lsn), 0);
                assert_durable(log, lsn);
                assert_int_equal(replayed(log).certificate, 70);
                if (life)
                    assert_int_equal(ledger_log_rejoined(log, &e), 0);
                assert_int_equal(ledger_log_close(log, true, &e), 0);
            }
            assert_int_equal(open_log(d, &log, false), 0);
            assert_false(found.quarantine || found.votes_damaged);
            assert_int_equal(ledger_log_close(log, true, &e), 0);
            disk_free(d);
        }
    }
    free(d);
}

static void without_votes_and_marks_it_must_return_under_a_new_key(void **state)
{
    (void)state;
    struct disk *d = malloc(sizeof *d);
    struct ledger_log *log;
    marked_log(d, true);
    byte_spoil(disk_file_named(d, "votes-"), 4100);
    byte_spoil(disk_file_named(d, "segment-"), last_record(d) + LOG_RECORD_HEAD);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(open_log(d, &log, false), -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "new key"));
        disk_restart(d, DISK_CUT_KILLED);
    }
    /* Its ledger can be read all the same. */
    assert_int_equal(open_log(d, &log, true), 0);
    assert_int_equal(ledger_log_end(log), 60);
    assert_int_equal(ledger_log_close(log, false, &e), 0);
    disk_free(d);
    free(d);
}

/* ---- places that the disk does not give ---- */

static void place_spoil(struct disk_file *f, uint64_t from, uint64_t until)
{
    assert_non_null(f);
    f->bad_from = from;
    f->bad_until = until;
}

/* What it finds, and that it is a log to go on in which is whole from then on. */
static void assert_opens(struct disk *d, bool corrupt, bool quarantine)
{
    struct ledger_log *log;
    for (int life = 0; life < 2; life++) {
        if (open_log(d, &log, false))
            fail_msg("%s", e.text);
        assert_true(found.corrupt == (corrupt && life == 0));
        assert_true(found.quarantine == quarantine);
        assert_true(ledger_log_end(log) <= 60u + (unsigned)life);
        assert_int_equal(quarantine || replayed(log).mark == 60, 1);
        struct buffer out = {0};
        uint8_t type;
        for (uint64_t at = 0; at < ledger_log_end(log); at++)
            assert_int_equal(ledger_log_read(log, at, &out, &type, &e), 0);
        buffer_free(&out);
        assert_int_equal(entry_append(log, 100), 0);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_restart(d, DISK_CUT_NOTHING);
    }
}

static void a_bad_place_of_the_disk_is_damage_like_any_other(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        uint64_t from, until;
        bool corrupt, quarantine;
    } places[] = {
        {"segment-00000002", 8000, 8001, true, false},    /* an entry of a closed one */
        {"segment-00000002", 100, 200, true, false},      /* its head */
        {"segment-00000002", 0, 12000, true, false},      /* most of it */
        {"segment-00000001", 12000, 16384, true, false},  /* where it was closed */
        {"segment-00000002", 16370, 16384, false, false}, /* only its tail */
        {"segment-", 4100, 4101, true, true}, /* of the newest: who knows what there was */
        {"votes-", 4100, 4101, false, true},
        {"votes-", 0, 1, false, true},
        {"state", 0, 1, false, true}, /* a slot: it may have been the newer one */
        {"state", 4096, 4097, false, true},
    };
    struct disk *d = malloc(sizeof *d);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        marked_log(d, true);
        place_spoil(disk_file_named(d, places[i].file), places[i].from, places[i].until);
        assert_opens(d, places[i].corrupt, places[i].quarantine);
        disk_free(d);
    }
    free(d);
}

/* It is not known whether a record was there: nothing is cut off in silence. */
static void a_bad_place_behind_the_last_record_is_no_torn_write(void **state)
{
    (void)state;
    struct disk *d = malloc(sizeof *d);
    for (int orderly = 0; orderly < 2; orderly++) {
        marked_log(d, orderly);
        struct disk_file *newest = disk_file_named(d, "segment-");
        uint64_t end = last_record(d) + log_record_size(LEDGER_SIGNED_LEN);
        place_spoil(newest, align_up(end, 4096), align_up(end, 4096) + 1);
        /* A log that was closed in order is known to have ended there. */
        assert_opens(d, true, !orderly);
        disk_free(d);
    }
    free(d);
}

/* The disk may be well again later: nothing is set aside, and nothing forgotten. */
static void a_disk_that_gives_nothing_of_a_file_ends_the_opening(void **state)
{
    (void)state;
    static const char *const files[] = {"segment-00000002", "segment-", "votes-", "state"};
    struct disk *d = malloc(sizeof *d);
    struct ledger_log *log;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        marked_log(d, true);
        struct disk_file *f = disk_file_named(d, files[i]);
        place_spoil(f, 0, f->now.len);
        assert_int_equal(open_log(d, &log, false), -ATOLL_EIO);
        assert_null(disk_file_named(d, "damaged-"));
        place_spoil(f, 0, 0);
        assert_int_equal(open_log(d, &log, false), 0);
        assert_false(found.corrupt || found.quarantine || found.votes_damaged);
        assert_int_equal(ledger_log_end(log), 60);
        assert_int_equal(replayed(log).mark, 60);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        disk_free(d);
    }
    free(d);
}

/* ---- looking on ---- */

static unsigned stale_reads; /* so many reads of a whole segment miss a record in it */

static int stale_read(void *context, int file, uint64_t at, void *data, size_t len,
                      struct error *error)
{
    struct disk *d = context;
    int rc = disk_read(context, file, at, data, len, error);
    bool newest = disk_file_named(d, "segment-") == &d->files[file];
    if (rc == 0 && newest && at == 0 && len == SEGMENT_SIZE - SEGMENT_TAIL && stale_reads > 0) {
        memset((uint8_t *)data + SEGMENT_HEAD + 64, 0, 512);
        stale_reads--;
    }
    return rc;
}

static void who_looks_on_takes_no_write_under_way_for_damage(void **state)
{
    (void)state;
    struct disk *d = malloc(sizeof *d);
    struct log_files files = disk_files(d);
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true,
                                       .read_only = true};
    struct ledger_log *log;
    memcpy(config.genesis, genesis, sizeof config.genesis);
    files.read = stale_read;
    marked_log(d, false);
    for (unsigned reads = 2; reads <= 1000; reads += 998) {
        stale_reads = reads;
        bool damaged = reads > 2; /* it is never there: that is damage */
        if (ledger_log_open(&config, &log, &found, &e))
            fail_msg("%s", e.text);
        assert_true(found.corrupt == damaged);
        assert_true((ledger_log_end(log) == 60) == !damaged);
        assert_int_equal(ledger_log_close(log, false, &e), 0);
    }
    disk_free(d);
    free(d);
}

/* ---- bounds ---- */

static void a_log_of_many_segments_keeps_few_files_open(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    assert_int_equal(open_log(d, &log, false), 0);
    while (!disk_file_named(d, "segment-00000090")) {
        assert_int_equal(entry_append(log, 1500), 0);
        /* One that has no entries, now and then. */
        for (int i = 0; i < 400 && ledger_log_end(log) % 60 == 59; i++)
            assert_int_equal(rollback_append(log, ledger_log_end(log)), 0);
        ledger_log_work(log);
    }
    assert_true(d->most_opened < 10);
    assert_int_equal(ledger_log_close(log, true, &e), 0);
    assert_int_equal(d->opened, 0);
    for (int read_only = 0; read_only < 2; read_only++) {
        d->most_opened = 0;
        assert_int_equal(open_log(d, &log, read_only), 0);
        struct buffer out = {0};
        uint8_t type;
        for (uint64_t at = 0; at < ledger_log_end(log); at++)
            assert_int_equal(ledger_log_read(log, at, &out, &type, &e), 0);
        replayed(log);
        buffer_free(&out);
        assert_true(d->most_opened < 10);
        assert_int_equal(ledger_log_close(log, true, &e), 0);
        assert_int_equal(d->opened, 0);
    }
    disk_free(d);
    free(d);
}

static int too_many(void *context, void (*visit)(void *visitor, const char *name), void *visitor,
                    struct error *error)
{
    char name[LOG_NAME_MAX];
    (void)context, (void)error;
    for (unsigned i = 1; i <= LEDGER_LOG_SEGMENTS_MAX + 1; i++) {
        snprintf(name, sizeof name, "segment-%08u-%020u", i, i);
        visit(visitor, name);
    }
    return 0;
}

static void a_directory_with_too_many_segments_is_refused(void **state)
{
    (void)state;
    struct disk *d = calloc(1, sizeof *d);
    struct ledger_log *log;
    struct log_files files = disk_files(d);
    files.list = too_many;
    struct ledger_log_config config = {
        .files = &files, .pipeline = 2, .machine = "m", .threadless = true};
    assert_int_equal(ledger_log_open(&config, &log, &found, &e), -ATOLL_ELIMIT);
    assert_non_null(strstr(e.text, "segments"));
    disk_free(d);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_that_find_no_room_leave_the_log_at_rest),
        cmocka_unit_test(what_a_new_vote_log_leaves_out_is_not_waited_for),
        cmocka_unit_test(a_repair_that_is_cut_off_forgets_nothing_that_was_signed),
        cmocka_unit_test(a_damaged_vote_log_makes_the_replica_wait_for_the_others),
        cmocka_unit_test(without_votes_and_marks_it_must_return_under_a_new_key),
        cmocka_unit_test(a_bad_place_of_the_disk_is_damage_like_any_other),
        cmocka_unit_test(a_bad_place_behind_the_last_record_is_no_torn_write),
        cmocka_unit_test(a_disk_that_gives_nothing_of_a_file_ends_the_opening),
        cmocka_unit_test(who_looks_on_takes_no_write_under_way_for_damage),
        cmocka_unit_test(a_log_of_many_segments_keeps_few_files_open),
        cmocka_unit_test(a_directory_with_too_many_segments_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
