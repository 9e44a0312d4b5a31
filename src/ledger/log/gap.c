/*
 * Jumps, and the gaps that they leave (log.h).
 *
 * A replica that takes over a checkpoint of others goes on far beyond the end of its ledger. The
 * entries between come in the background, oldest first, into a PART: a log of its own among the
 * same files, under names with the prefix part-FROM-, that begins with the frontier at which the
 * gap begins. Nothing in it was signed, and all of it can be had again: so it has neither votes nor
 * a state file, and segments, recovery and reading are those of any log.
 *
 *   segments   | 0 … from - 1 |          gap          | until … end |
 *   part-from-                | from … its end - 1 |    (whole when its end is `until`, with the
 *                                                        frontier of the segment that jumped)
 *
 * Only the oldest gap in which something is missing has a part that is written to, with a thread, a
 * spare segment and buffers. When its last entry is there and leads to what is behind it, the part
 * is sealed: its last segment is closed, and only when that is on the disk does the tail say so (a
 * power cut could leave the tail and take what is before it). Then it is a log no more; its
 * segments are read like the log's own old ones. So a gap that was filled costs what its entries
 * do, and there may be as many as there are segments; LEDGER_LOG_GAPS_MAX bounds those with
 * something missing.
 *
 * After a stop the segments of a part are gone through as those of the log are. Does a part end at
 * `until`, closed, it is filled. Otherwise it is opened like a log and goes on behind what is
 * whole: what was lost, or is damaged, is asked for again, and whether a stop came before, during
 * or after the sealing makes no difference. One that cannot be opened is removed. When a rollback
 * undoes a jump, its part stays, and serves if the next jump leaves from the same place; when the
 * log is opened with entries of its own there, it goes.
 */
#define _GNU_SOURCE
#include "ledger/log/core.h"
#include "ledger/log/part.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for what fills the log's gaps");
}

/* Nothing is missing in it. */
static bool gap_is_whole(const struct log_gap *gap)
{
    return gap->filled || (gap->part && gap->part->end == gap->until);
}

/* What fills it leads to what is behind it. */
static bool gap_fits(const struct log_gap *gap)
{
    return merkle_frontier_equal(&gap->part->frontier, &gap->behind->frontier);
}

/* What is there begins where the gap begins, in this history, and leads to what is behind it. */
static bool part_serves(const struct log_gap *gap)
{
    const struct ledger_log *part = gap->part;
    return merkle_frontier_equal(&part->segments[0]->frontier, gap->behind->origin) &&
           part->end >= gap->from && part->end <= gap->until &&
           (!gap_is_whole(gap) || gap_fits(gap));
}

/* ---- parts ---- */

static void part_close(struct log_gap *gap, bool orderly)
{
    struct error ignored;
    ledger_log_close(gap->part, orderly, &ignored);
    gap->part = NULL;
    log_part_close(&gap->files);
}

static int part_open(struct ledger_log *log, struct log_gap *gap, const struct log_names *names,
                     bool read_only, struct error *e)
{
    struct ledger_log_found found;
    int rc = log_part_open(&log->files, gap->from, &gap->files, e);
    if (rc < 0)
        return rc;
    struct log_part_of of = {gap->behind->origin, gap->until, names};
    struct ledger_log_config config = {.files = &gap->files,
                                       .pipeline = log->config.pipeline,
                                       .mode = LEDGER_LOG_ASYNC,
                                       .segment_bytes = log->config.segment_bytes,
                                       .machine = log->machine,
                                       .threadless = log->config.threadless,
                                       .read_only = read_only,
                                       .check_from = log->config.check_from,
                                       .part = &of};
    memcpy(config.genesis, log->config.genesis, sizeof config.genesis);
    rc = ledger_log_open(&config, &gap->part, &found, e);
    if (rc == 0 && !part_serves(gap))
        rc = error_set(e, ATOLL_ECORRUPT, "what is there does not belong into the gap");
    if (rc < 0)
        part_close(gap, false);
    return rc;
}

static int part_remove(const struct ledger_log *log, uint64_t from, struct error *e)
{
    struct log_files files;
    int rc = log_part_open(&log->files, from, &files, e);
    if (rc < 0)
        return rc;
    rc = log_part_remove(&files, e);
    log_part_close(&files);
    return rc;
}

/* All of the part's segments are closed, and nothing is missing: they are the gap's now. */
static void part_dissolve(struct log_gap *gap)
{
    struct ledger_log *part = gap->part;
    log_writer_end(part);
    for (size_t i = 0; i < part->segment_count; i++) {
        struct segment *s = part->segments[i];
        log_segment_shut(part, s);
        segment_free(s);
        s->of_part = true;
        s->part_from = gap->from;
    }
    gap->filled = part->segments;
    gap->filled_count = part->segment_count;
    part->segments = NULL;
    part->segment_count = 0;
    part_close(gap, false);
}

/* Whether its segments need nothing that only a log that is written to has. */
static bool part_is_closed(const struct ledger_log *part)
{
    for (size_t i = 0; i < part->segment_count; i++)
        if (part->segments[i]->close_at == 0)
            return false;
    return part->segment_count > 0;
}

/* Nothing is missing any more: its last segment is closed. */
static int gap_seal(struct log_gap *gap, struct error *e)
{
    return gap->part->sealed ? 0 : log_segments_seal(gap->part, e);
}

/* Opens the part of the gap to go on in it, or makes it. */
static int gap_begin(struct ledger_log *log, struct log_gap *gap, struct error *e)
{
    if (gap->part)
        return 0;
    int rc = part_open(log, gap, NULL, false, e);
    if (rc == -ATOLL_ECORRUPT || rc == -ATOLL_EINVAL) {
        rc = part_remove(log, gap->from, e);
        if (rc == 0)
            rc = part_open(log, gap, NULL, false, e);
    }
    if (rc == 0 && gap_is_whole(gap))
        rc = gap_seal(gap, e);
    return rc;
}

/* Takes what is there of a gap as it is, if nothing is missing, or if nothing may be changed.
 * False: something is missing, or cannot be read. */
static bool gap_look(struct ledger_log *log, struct log_gap *gap, const struct log_names *names)
{
    struct error ignored;
    if (names->count == 0 || part_open(log, gap, names, true, &ignored) < 0)
        return false;
    if (gap_is_whole(gap) && part_is_closed(gap->part))
        part_dissolve(gap);
    else if (!log->config.read_only)
        part_close(gap, false);
    return gap_is_whole(gap);
}

void log_gaps_settle(struct ledger_log *log)
{
    struct error ignored;
    for (; log->gaps_filled < log->gap_count; log->gaps_filled++) {
        struct log_gap *gap = &log->gaps[log->gaps_filled];
        struct ledger_log *part = gap->part;
        if (gap->filled)
            continue;
        if (!part || part->config.read_only || !gap_is_whole(gap) || gap_seal(gap, &ignored) < 0)
            return;
        if (part->config.threadless)
            ledger_log_work(part);
        pthread_mutex_lock(&part->mutex);
        bool failed = part->failure < 0, done = part->durable == part->appended;
        pthread_mutex_unlock(&part->mutex);
        if (failed)
            part_close(gap, false); /* what is on the disk is found out when it is opened again */
        if (failed || !done)
            return;
        gap->files.remove(gap->files.context, SEGMENT_NEW, &ignored); /* if there is one */
        part_dissolve(gap);
    }
}

/* ---- which there are ---- */

static bool gaps_reserve(struct ledger_log *log)
{
    if (log->gap_count < log->gap_capacity)
        return true;
    size_t capacity = log->gap_capacity ? 2 * log->gap_capacity : 4;
    struct log_gap *gaps = realloc(log->gaps, capacity * sizeof *gaps);
    if (!gaps)
        return false;
    log->gaps = gaps;
    log->gap_capacity = capacity;
    return true;
}

static void gap_add(struct ledger_log *log, const struct segment *behind)
{
    log->gaps[log->gap_count++] =
        (struct log_gap){.from = behind->jumped_from, .until = behind->position, .behind = behind};
}

static void gap_drop(struct ledger_log *log, struct log_gap *gap, bool orderly)
{
    for (size_t i = 0; i < gap->filled_count; i++) {
        if (log->reading == gap->filled[i])
            log->reading = NULL;
        log_segment_shut(log, gap->filled[i]);
        segment_destroy(gap->filled[i]);
    }
    free(gap->filled);
    if (gap->part)
        part_close(gap, orderly);
}

/* The names of the part that begins at `from`, which come one after the other. */
static struct log_names names_of(const struct log_names *all, uint64_t from)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->list[middle].part < from)
            low = middle + 1;
        else
            high = middle;
    }
    struct log_names own = {.list = low < all->count ? all->list + low : NULL};
    while (low + own.count < all->count && own.list[own.count].part == from)
        own.count++;
    return own;
}

static bool gap_begins(const struct ledger_log *log, uint64_t from)
{
    for (size_t low = 0, high = log->gap_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (log->gaps[middle].from == from)
            return true;
        if (log->gaps[middle].from < from)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Parts that no jump will need: the ledger has, or can never come to have, other entries there. */
static int parts_forget(const struct ledger_log *log, const struct log_names *parts,
                        struct error *e)
{
    int rc = 0;
    for (size_t i = 0; i < parts->count && rc == 0; i++) {
        uint64_t from = parts->list[i].part;
        bool same = i > 0 && parts->list[i - 1].part == from;
        if (!same && from != log->end && !gap_begins(log, from))
            rc = part_remove(log, from, e);
    }
    return rc;
}

int log_gaps_open(struct ledger_log *log, const struct log_names *parts, struct error *e)
{
    for (size_t i = 1; i < log->segment_count; i++) {
        const struct segment *s = log->segments[i];
        if (!s->jumped || s->undone)
            continue;
        if (!gaps_reserve(log))
            return no_memory(e);
        gap_add(log, s);
    }
    bool begun = log->config.read_only; /* then nothing is */
    int rc = log->config.read_only ? 0 : parts_forget(log, parts, e);
    for (size_t i = 0; i < log->gap_count && rc == 0; i++) {
        struct log_gap *gap = &log->gaps[i];
        const struct log_names names = names_of(parts, gap->from);
        if (gap_look(log, gap, &names) || begun)
            continue;
        begun = true; /* those behind it wait for their turn */
        if (names.count > 0)
            rc = gap_begin(log, gap, e);
    }
    if (rc == 0)
        log_gaps_settle(log);
    return rc;
}

void log_gaps_close(struct ledger_log *log, bool orderly)
{
    for (size_t i = 0; i < log->gap_count; i++)
        gap_drop(log, &log->gaps[i], orderly);
    free(log->gaps);
    log->gaps = NULL;
    log->gap_count = log->gap_capacity = log->gaps_filled = 0;
}

void log_gaps_rollback(struct ledger_log *log, uint64_t position)
{
    while (log->gap_count > 0 && log->gaps[log->gap_count - 1].until > position)
        gap_drop(log, &log->gaps[--log->gap_count], true);
    if (log->gaps_filled > log->gap_count)
        log->gaps_filled = log->gap_count;
}

const struct log_gap *log_gap_of(const struct ledger_log *log, uint64_t position)
{
    for (size_t low = 0, high = log->gap_count; low < high;) {
        size_t middle = low + (high - low) / 2;
        const struct log_gap *gap = &log->gaps[middle];
        if (position >= gap->from && position < gap->until)
            return gap;
        if (gap->until <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

struct segment *log_gap_segment(const struct log_gap *gap, uint64_t position)
{
    size_t low = 0, high = gap->filled_count;
    while (high - low > 1) { /* the last that begins at or before it */
        size_t middle = low + (high - low) / 2;
        if (gap->filled[middle]->position <= position)
            low = middle;
        else
            high = middle;
    }
    return gap->filled[low];
}

const struct log_gap *log_gap_before(const struct ledger_log *log, const struct segment *s)
{
    if (!s->jumped || s->undone || s->position == 0)
        return NULL;
    const struct log_gap *gap = log_gap_of(log, s->position - 1);
    return gap && gap->behind == s && gap_is_whole(gap) ? gap : NULL;
}

/* ---- making and filling them ---- */

/* The oldest gap with something missing, its part open if anything of it is there. */
static struct log_gap *gap_oldest(struct ledger_log *log)
{
    for (size_t i = log->gaps_filled; i < log->gap_count; i++)
        if (!gap_is_whole(&log->gaps[i]))
            return &log->gaps[i];
    return NULL;
}

static size_t gaps_missing(const struct ledger_log *log)
{
    size_t missing = 0;
    for (size_t i = log->gaps_filled; i < log->gap_count; i++)
        missing += !gap_is_whole(&log->gaps[i]);
    return missing;
}

int ledger_log_jump(struct ledger_log *log, const struct merkle_frontier *at, struct error *e)
{
    if (at->size <= log->end || at->size > MERKLE_SIZE_MAX)
        return error_set(e, ATOLL_EINVAL, "the log cannot jump to entry %" PRIu64 " from %" PRIu64,
                         at->size, log->end);
    log_gaps_settle(log);
    if (gaps_missing(log) >= LEDGER_LOG_GAPS_MAX)
        return error_set(e, ATOLL_ELIMIT, "something is missing in %d gaps of the log already",
                         LEDGER_LOG_GAPS_MAX);
    if (!gaps_reserve(log))
        return no_memory(e);
    int rc = log_segment_turn(log, 0, at, e);
    if (rc == 0)
        gap_add(log, log->segments[log->segment_count - 1]);
    return rc;
}

bool ledger_log_gap(struct ledger_log *log, struct merkle_frontier *from,
                    struct merkle_frontier *goal)
{
    struct error ignored;
    log_gaps_settle(log);
    struct log_gap *gap = gap_oldest(log);
    /* A part that is there from earlier may fill the gap, and the next one's turn comes. */
    while (gap && gap_begin(log, gap, &ignored) == 0 && gap_is_whole(gap))
        gap = gap_oldest(log);
    if (!gap)
        return false;
    *goal = gap->behind->frontier;
    *from = gap->part ? gap->part->frontier : *gap->behind->origin;
    return true;
}

uint64_t ledger_log_jumped(const struct ledger_log *log)
{
    return log->gap_count ? log->gaps[log->gap_count - 1].until : 0;
}

/* The gap's last entry is there. */
static int gap_end(struct ledger_log *log, struct log_gap *gap, struct error *e)
{
    if (gap_fits(gap)) {
        int rc = gap_seal(gap, e);
        log_gaps_settle(log);
        return rc;
    }
    part_close(gap, false);
    int rc = part_remove(log, gap->from, e);
    return rc < 0 ? rc
                  : error_set(e, ATOLL_ECORRUPT,
                              "what filled the log's gap from entry %" PRIu64
                              " on does not lead to what is behind it",
                              gap->from);
}

int ledger_log_fill(struct ledger_log *log, uint8_t entry_type, struct slice payload,
                    struct error *e)
{
    struct log_gap *gap = gap_oldest(log);
    uint64_t lsn;
    if (!gap)
        return error_set(e, ATOLL_ERANGE, "nothing is missing in the log");
    bool begun = gap->part;
    int rc = gap_begin(log, gap, e);
    if (rc == 0 && !begun && gap->part->end > gap->from)
        return error_set(e, ATOLL_EAGAIN, "this entry is there already");
    if (rc == 0)
        rc = ledger_log_append(gap->part, LEDGER_RECORD_ENTRY, entry_type, gap->part->end, NULL,
                               &payload, 1, &lsn, e);
    if (rc < 0 && rc != -ATOLL_ELIMIT && rc != -ATOLL_ENOMEM && gap->part)
        part_close(gap, false); /* its files have failed: they are opened again */
    return rc < 0 || !gap_is_whole(gap) ? rc : gap_end(log, gap, e);
}
