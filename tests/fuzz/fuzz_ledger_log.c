/*
 * A log whose files somebody changed. The input is a row of steps on the files of a log that was
 * closed in order: bytes written anywhere; records that are well formed and say anything, at the
 * end of the last segment, of a part that fills a gap, or of the vote log; a segment's head whose
 * checksum is right and that says anything, of jumps above all; a state file that says anything;
 * places that the disk does not give; files that are gone. The log jumped twice: one gap is filled,
 * in the other something is missing. Whatever comes of it, the log opens or refuses, every entry it
 * claims to have is read, and a log that opened goes on, jumps, fills what is missing as far as its
 * history is the one that fits, and is whole when it is opened again.
 */
#include "../unit/ledger_disk.h"

#include "ledger/log/log.h"
#include "ledger/log/segment.h"
#include "ledger/log/state_file.h"
#include "ledger/log/vote_log.h"
#include "store/checksum.h"

#define SEGMENT_SIZE 8192u
#define READ_MAX     5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t genesis[32] = "a service";
static struct disk *original;
static struct error e;

static int log_open(struct disk *d, struct ledger_log **log)
{
    struct log_files files = disk_files(d);
    struct ledger_log_found found;
    struct ledger_log_config config = {.files = &files,
                                       .pipeline = 2,
                                       .segment_bytes = SEGMENT_SIZE,
                                       .machine = "m",
                                       .threadless = true};
    memcpy(config.genesis, genesis, sizeof genesis);
    return ledger_log_open(&config, log, &found, &e);
}

static void entries_append(struct ledger_log *log, int count)
{
    uint8_t bytes[200] = {0};
    struct slice part = {bytes, sizeof bytes};
    uint64_t lsn;
    for (int i = 0; i < count; i++) {
        store_u64(bytes + 12, (uint64_t)i);
        uint8_t type = i % 5 ? LEDGER_ENTRY_TX : LEDGER_ENTRY_PP;
        if (ledger_log_append(log, LEDGER_RECORD_ENTRY, type, ledger_log_end(log), NULL, &part, 1,
                              &lsn, &e) < 0 ||
            ledger_log_append(log, LEDGER_RECORD_CERTIFICATE, 0, 0, NULL, &part, 1, &lsn, &e) < 0)
            abort();
    }
    ledger_log_sync(log, lsn);
    ledger_log_work(log);
}

/* What lies in gaps. */
static struct slice missing_entry(uint64_t position, uint8_t bytes[static 120])
{
    memset(bytes, (int)position, 120);
    return slice_of(bytes, 120);
}

static void jump(struct ledger_log *log, unsigned gap)
{
    struct merkle_frontier at;
    uint8_t bytes[120];
    ledger_log_frontier(log, &at);
    for (unsigned i = 0; i < gap; i++) {
        struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, missing_entry(at.size, bytes));
        if (merkle_frontier_append(&at, &leaf, &e) < 0)
            return; /* as long as a ledger can be */
    }
    int rc = ledger_log_jump(log, &at, &e);
    if (rc < 0 && rc != -ATOLL_ELIMIT)
        abort();
}

/* Fills what is missing: entries that may not be those that were there. */
static void gaps_fill(struct ledger_log *log, unsigned entries)
{
    struct merkle_frontier from, goal;
    uint8_t bytes[120];
    while (entries-- > 0 && ledger_log_gap(log, &from, &goal)) {
        if (from.size >= goal.size)
            abort();
        int rc = ledger_log_fill(log, LEDGER_ENTRY_TX, missing_entry(from.size, bytes), &e);
        if (rc < 0 && rc != -ATOLL_ECORRUPT && rc != -ATOLL_EAGAIN)
            abort();
        if (rc == -ATOLL_ECORRUPT)
            return; /* not what leads to what is behind it: again and again */
    }
}

static void original_make(void)
{
    struct ledger_log *log;
    original = calloc(1, sizeof *original);
    if (!original || log_open(original, &log) < 0)
        abort();
    entries_append(log, 60);
    jump(log, 50);
    entries_append(log, 10);
    gaps_fill(log, 50);
    jump(log, 90);
    entries_append(log, 10);
    gaps_fill(log, 60);
    if (ledger_log_close(log, true, &e) < 0)
        abort();
    disk_restart(original, DISK_CUT_KILLED);
}

static void disk_copy(struct disk *to, const struct disk *from)
{
    *to = (struct disk){0};
    for (int i = 0; i < from->file_count; i++) {
        int place = disk_place(to);
        struct disk_file *f = &to->files[place];
        *f = from->files[i];
        f->now = f->durable = (struct buffer){0};
        if (!f->used)
            continue;
        if (!buffer_append(&f->now, from->files[i].now.data, from->files[i].now.len) ||
            !buffer_append(&f->durable, f->now.data, f->now.len))
            abort();
    }
}

/* The last file whose name begins so. */
static struct buffer *file_named(struct disk *d, const char *prefix)
{
    struct disk_file *last = disk_file_named(d, prefix);
    return last ? &last->now : NULL;
}

/* Puts a well-formed record where the good ones end. */
static void record_forge(struct buffer *file, size_t salt_at, uint16_t kind, uint16_t type,
                         uint64_t position, struct slice payload)
{
    uint64_t at = SEGMENT_HEAD;
    struct buffer record = {0};
    struct log_record r;
    if (!file || file->len < SEGMENT_HEAD)
        return;
    uint64_t salt = load_u64(file->data + salt_at);
    while (at < file->len && log_record_read(file->data + at, file->len - at, salt, &r))
        at += log_record_size(r.len);
    if (!log_record_append(&record, salt, kind, type, position, &payload, 1))
        abort();
    if (at + record.len <= file->len)
        memcpy(file->data + at, record.data, record.len);
    buffer_free(&record);
}

/* Writes into the head of a segment, and makes its checksum right. */
static void head_forge(struct buffer *file, uint16_t at, struct slice bytes)
{
    if (!file || file->len < SEGMENT_HEAD)
        return;
    at = (uint16_t)(at % (SEGMENT_HEAD - 4 - 32));
    memcpy(file->data + at, bytes.data, bytes.len);
    store_u32(file->data + SEGMENT_HEAD - 4, checksum_crc32c(0, file->data, SEGMENT_HEAD - 4));
}

static void state_forge(struct disk *d, const uint8_t *bytes, size_t len)
{
    struct buffer *file = file_named(d, STATE_FILE);
    struct state_slot slot = {.generation = 1000};
    uint8_t fields[48] = {0};
    memcpy(fields, bytes, len < sizeof fields ? len : sizeof fields);
    if (!file || file->len < 2 * STATE_SLOT)
        return;
    slot.starts = load_u64(fields);
    slot.segment_serial = load_u64(fields + 8);
    slot.segment_offset = load_u64(fields + 16);
    slot.vote_generation = load_u64(fields + 24);
    slot.vote_offset = load_u64(fields + 32);
    slot.clean = fields[40] & 1;
    slot.async = fields[40] & 2;
    state_slot_make(&slot, genesis, file->data);
}

static void steps_take(struct disk *d, const uint8_t *data, size_t size)
{
    while (size >= 4) {
        uint8_t kind = data[1];
        uint16_t argument = load_u16(data + 2);
        size_t len = data[0] / 8u < size - 4 ? data[0] / 8u : size - 4;
        const uint8_t *bytes = data + 4;
        struct disk_file *any = &d->files[kind % d->file_count];
        bool segment = any->used && strstr(any->name, "segment-");
        switch (data[0] % 8) {
        case 0: state_forge(d, bytes, len); break;
        case 1:
            record_forge(file_named(d, "segment-"), 64, kind % 17, kind / 17, argument,
                         slice_of(bytes, len));
            break;
        case 2:
            record_forge(file_named(d, "part-"), 64, kind % 17, kind / 17, argument,
                         slice_of(bytes, len));
            break;
        case 3:
            if (segment)
                head_forge(&any->now, argument, slice_of(bytes, len));
            break;
        case 4:
            record_forge(file_named(d, "votes-"), 56, kind % 8, 0, argument, slice_of(bytes, len));
            break;
        case 5:
            if (len > 8) {
                any->bad_from = argument;
                any->bad_until = argument + 1u;
            } else if (len > 4) {
                any->name[0] = '\0';
            } else if (any->used && any->now.len > 0) {
                any->now.len -= argument % any->now.len;
            }
            break;
        default:
            if (any->used && any->now.len > argument + len)
                memcpy(any->now.data + argument, bytes, len);
        }
        data += 4 + len;
        size -= 4 + len;
    }
}

static int seen(void *context, enum ledger_record_kind kind, uint8_t type, uint64_t position,
                const void *payload, size_t len, struct error *error)
{
    (void)kind, (void)type, (void)position, (void)error;
    uint8_t *sum = context;
    for (size_t i = 0; i < len; i++)
        *sum ^= ((const uint8_t *)payload)[i];
    return 0;
}

/* What is in a gap may be missing; all else is there. */
static bool read_all(struct ledger_log *log)
{
    struct buffer entry = {0};
    struct merkle_frontier from, goal;
    uint8_t type, sum = 0;
    bool whole = ledger_log_replay(log, 0, seen, &sum, &e) == 0, missing = false;
    uint64_t end = ledger_log_end(log), jumped = ledger_log_jumped(log);
    if (jumped > end)
        abort();
    /* Heads may say that the ledger is longer than anybody can read. */
    for (uint64_t at = 0; at < end && at < READ_MAX; at++) {
        int rc = ledger_log_read(log, at, &entry, &type, &e);
        bool gap = rc == -ATOLL_ERANGE && at < jumped;
        missing |= gap;
        whole &= rc == 0 || gap;
    }
    if (end <= READ_MAX && ledger_log_gap(log, &from, &goal) != missing)
        abort();
    buffer_free(&entry);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct disk d;
    struct ledger_log *log;
    if (!original)
        original_make();
    disk_copy(&d, original);
    steps_take(&d, data, size);
    for (int i = 0; i < d.file_count; i++) {
        d.files[i].durable.len = 0;
        if (d.files[i].used &&
            !buffer_append(&d.files[i].durable, d.files[i].now.data, d.files[i].now.len))
            abort();
    }
    if (log_open(&d, &log) == 0) {
        /* Everything was checked when it was opened. */
        if (!read_all(log))
            abort();
        uint64_t end = ledger_log_end(log);
        entries_append(log, 10);
        jump(log, 5);
        entries_append(log, 2);
        gaps_fill(log, 200);
        uint64_t after = ledger_log_end(log);
        if (after != end + 12 && after != end + 17)
            abort();
        if (ledger_log_close(log, true, &e) < 0 || log_open(&d, &log) < 0 || !read_all(log) ||
            ledger_log_end(log) != after)
            abort();
        ledger_log_close(log, true, &e);
    }
    disk_free(&d);
    return 0;
}
