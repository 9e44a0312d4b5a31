/*
 * Jumps, and the gaps that they leave (log.h).
 *
 * A replica that takes over a checkpoint of others goes on far beyond the end of its ledger. The
 * entries between come in the background, oldest first, into a PART: a log of its own among the
 * same files, under names with the prefix part-FROM-, that begins with the frontier at which the
 * gap begins. It has marks, votes and a state file like any log, and no use for them; what it does
 * need, segments, recovery, reading, is there already.
 *
 *   segments   | 0 … from - 1 |          gap          | until … end |
 *   part-from-                | from … its end - 1 |    (whole when its end is `until`, with the
 *                                                        frontier of the segment that jumped)
 *
 * After a stop the part is opened like a log: what of it was lost, or is damaged, is asked for
 * again. One that cannot be opened is removed: nothing in it is of this replica's own making. When
 * a rollback undoes a jump, its part stays, and serves if the next jump leaves from the same place.
 */
#define _GNU_SOURCE
#include "ledger/log/core.h"
#include "ledger/log/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool gap_is_filled(const struct log_gap *gap)
{
    return gap->part && gap->part->end == gap->until;
}

/* What fills it leads to what is behind it. */
static bool gap_fits(const struct log_gap *gap)
{
    return merkle_frontier_equal(&gap->part->frontier, &gap->goal);
}

/* What is there begins where the gap begins, in this history, and leads to what is behind it. */
static bool part_serves(const struct log_gap *gap, const struct merkle_frontier *origin)
{
    const struct ledger_log *part = gap->part;
    return merkle_frontier_equal(&part->segments[0]->frontier, origin) && part->end >= gap->from &&
           part->end <= gap->until && (!gap_is_filled(gap) || gap_fits(gap));
}

/* ---- parts ---- */

static void part_close(struct log_gap *gap, bool orderly)
{
    struct error ignored;
    ledger_log_close(gap->part, orderly, &ignored);
    gap->part = NULL;
    log_part_close(&gap->files);
}

/* Opens the part of a gap, or makes it; its frontier is given for that. */
static int part_open(struct ledger_log *log, struct log_gap *gap,
                     const struct merkle_frontier *origin, struct error *e)
{
    char prefix[LOG_PART_PREFIX_MAX];
    struct ledger_log_found found;
    snprintf(prefix, sizeof prefix, "part-%020" PRIu64 "-", gap->from);
    int rc = log_part_open(&log->files, prefix, &gap->files, e);
    if (rc < 0)
        return rc;
    struct ledger_log_config config = {.files = &gap->files,
                                       .pipeline = log->config.pipeline,
                                       .mode = LEDGER_LOG_ASYNC,
                                       .segment_bytes = log->config.segment_bytes,
                                       .machine = log->machine,
                                       .threadless = log->config.threadless,
                                       .read_only = log->config.read_only,
                                       .origin = origin};
    memcpy(config.genesis, log->config.genesis, sizeof config.genesis);
    rc = ledger_log_open(&config, &gap->part, &found, e);
    bool useless =
        rc == -ATOLL_ECORRUPT || rc == -ATOLL_EINVAL || (rc == 0 && !part_serves(gap, origin));
    if (rc < 0 || useless)
        part_close(gap, false);
    if (log->config.read_only) /* who only looks misses what is not there */
        return useless || rc == -ATOLL_ENOENT ? 0 : rc;
    if (!useless)
        return rc;
    rc = log_part_open(&log->files, prefix, &gap->files, e);
    if (rc == 0)
        rc = log_part_remove(&gap->files, e);
    if (rc == 0)
        rc = ledger_log_open(&config, &gap->part, &found, e);
    if (rc < 0)
        part_close(gap, false);
    return rc;
}

/* ---- finding them ---- */

static void gap_add(struct ledger_log *log, const struct segment *s)
{
    log->gaps[log->gap_count++] =
        (struct log_gap){.from = s->jumped_from, .until = s->position, .goal = s->frontier};
}

int log_gaps_open(struct ledger_log *log, struct error *e)
{
    for (size_t i = 1; i < log->segment_count; i++) {
        if (!log->segments[i]->jumped || log->segments[i]->undone)
            continue;
        if (log->gap_count == LEDGER_LOG_GAPS_MAX)
            return error_set(e, ATOLL_ECORRUPT, "the log has more than %d gaps",
                             LEDGER_LOG_GAPS_MAX);
        gap_add(log, log->segments[i]);
    }
    for (unsigned i = 0; i < log->gap_count; i++) {
        struct log_gap *gap = &log->gaps[i];
        struct merkle_frontier origin;
        int rc = log_frontier_at(log, gap->from, &origin, e);
        if (rc == 0)
            rc = part_open(log, gap, &origin, e);
        if (rc < 0)
            return rc;
        if (!gap_is_filled(gap))
            break; /* those behind it wait for their turn */
    }
    return 0;
}

void log_gaps_close(struct ledger_log *log, bool orderly)
{
    for (unsigned i = 0; i < log->gap_count; i++)
        part_close(&log->gaps[i], orderly);
    log->gap_count = 0;
}

void log_gaps_rollback(struct ledger_log *log, uint64_t position)
{
    while (log->gap_count > 0 && log->gaps[log->gap_count - 1].until > position)
        part_close(&log->gaps[--log->gap_count], true);
}

const struct log_gap *log_gap_of(const struct ledger_log *log, uint64_t position)
{
    for (unsigned i = 0; i < log->gap_count; i++)
        if (position >= log->gaps[i].from && position < log->gaps[i].until)
            return &log->gaps[i];
    return NULL;
}

const struct log_gap *log_gap_before(const struct ledger_log *log, const struct segment *s)
{
    for (unsigned i = 0; i < log->gap_count && s->jumped && !s->undone; i++)
        if (log->gaps[i].until == s->position)
            return gap_is_filled(&log->gaps[i]) ? &log->gaps[i] : NULL;
    return NULL;
}

/* ---- making and filling them ---- */

int ledger_log_jump(struct ledger_log *log, const struct merkle_frontier *at, struct error *e)
{
    if (at->size <= log->end || at->size > MERKLE_SIZE_MAX)
        return error_set(e, ATOLL_EINVAL, "the log cannot jump to entry %" PRIu64 " from %" PRIu64,
                         at->size, log->end);
    if (log->gap_count == LEDGER_LOG_GAPS_MAX)
        return error_set(e, ATOLL_ELIMIT, "the log has %d gaps already", LEDGER_LOG_GAPS_MAX);
    int rc = log_segment_turn(log, 0, at, e);
    if (rc == 0)
        gap_add(log, log->segments[log->segment_count - 1]);
    return rc;
}

/* The oldest gap with something missing, its part open if anything of it is there. */
static struct log_gap *gap_oldest(struct ledger_log *log)
{
    for (unsigned i = 0; i < log->gap_count; i++)
        if (!gap_is_filled(&log->gaps[i]))
            return &log->gaps[i];
    return NULL;
}

/* Opens the part of the gap, or makes it. */
static int gap_begin(struct ledger_log *log, struct log_gap *gap, struct error *e)
{
    struct merkle_frontier origin;
    int rc = gap->part ? 0 : log_frontier_at(log, gap->from, &origin, e);
    return gap->part || rc < 0 ? rc : part_open(log, gap, &origin, e);
}

bool ledger_log_gap(struct ledger_log *log, struct merkle_frontier *from,
                    struct merkle_frontier *goal)
{
    struct error ignored;
    struct log_gap *gap = gap_oldest(log);
    /* A part that is there from earlier may fill the gap, and the next one's turn comes. */
    while (gap && gap_begin(log, gap, &ignored) == 0 && gap_is_filled(gap))
        gap = gap_oldest(log);
    if (!gap)
        return false;
    *goal = gap->goal;
    if (gap->part)
        *from = gap->part->frontier;
    return gap->part || log_frontier_at(log, gap->from, from, &ignored) == 0;
}

uint64_t ledger_log_jumped(const struct ledger_log *log)
{
    return log->gap_count ? log->gaps[log->gap_count - 1].until : 0;
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
    if (rc < 0 || !gap_is_filled(gap))
        return rc;
    if (gap_fits(gap)) {
        ledger_log_sync(gap->part, lsn);
        return 0;
    }
    part_close(gap, false);
    char prefix[LOG_PART_PREFIX_MAX];
    snprintf(prefix, sizeof prefix, "part-%020" PRIu64 "-", gap->from);
    rc = log_part_open(&log->files, prefix, &gap->files, e);
    if (rc == 0)
        rc = log_part_remove(&gap->files, e);
    part_close(gap, false);
    return rc < 0 ? rc
                  : error_set(e, ATOLL_ECORRUPT,
                              "what filled the log's gap from entry %" PRIu64
                              " on does not lead to what is behind it",
                              gap->from);
}
