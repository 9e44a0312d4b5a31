/*
 * The frontier of the ledger tree at the log's end, and at places before it.
 *
 * A rollback needs an earlier one. Those before the last entries that begin something are kept in a
 * ring; others are computed from the nearest segment's head on, which has one.
 */
#include "ledger/log/core.h"

void log_frontier_keep(struct ledger_log *log)
{
    log->frontiers[log->frontier_next++ % FRONTIERS] = log->frontier;
}

/* The newest segment that begins at or before a position, with a frontier that was not overtaken.
 */
static const struct segment *frontier_source(const struct ledger_log *log, uint64_t position)
{
    uint64_t lowest = UINT64_MAX;
    for (size_t i = log->segment_count; i-- > 0;) {
        const struct segment *s = log->segments[i];
        if (s->base < lowest)
            lowest = s->base;
        if (s->position <= position && s->position <= lowest)
            return s;
    }
    return NULL;
}

int log_frontier_find(struct ledger_log *log, uint64_t position, struct merkle_frontier *out,
                      struct error *e)
{
    *out = (struct merkle_frontier){0};
    for (unsigned i = 0; i < FRONTIERS && position > 0; i++) {
        if (log->frontiers[i].size == position) {
            *out = log->frontiers[i];
            return 0;
        }
    }
    return position > 0 ? log_frontier_at(log, position, out, e) : 0;
}

void log_frontier_take(struct ledger_log *log, const struct merkle_frontier *frontier)
{
    log->frontier = *frontier;
    /* What was kept of later ones is void. */
    for (unsigned i = 0; i < FRONTIERS; i++)
        if (log->frontiers[i].size > frontier->size)
            log->frontiers[i].size = 0;
}

int log_frontier_back(struct ledger_log *log, uint64_t position, struct error *e)
{
    struct merkle_frontier frontier;
    int rc = log_frontier_find(log, position, &frontier, e);
    if (rc == 0)
        log_frontier_take(log, &frontier);
    return rc;
}

int log_frontier_at(struct ledger_log *log, uint64_t position, struct merkle_frontier *out,
                    struct error *e)
{
    const struct segment *source = frontier_source(log, position);
    struct buffer entry = {0};
    uint8_t type;
    if (!source)
        return error_set(e, ATOLL_ECORRUPT, "no segment begins before the rollback");
    *out = source->frontier;
    int rc = 0;
    for (uint64_t at = source->position; at < position && rc == 0; at++) {
        rc = ledger_log_read(log, at, &entry, &type, e);
        if (rc < 0)
            break;
        struct merkle_hash leaf = ledger_entry_leaf(type, slice_of_buffer(&entry));
        rc = merkle_frontier_append(out, &leaf, e);
    }
    buffer_free(&entry);
    return rc;
}

void ledger_log_frontier(const struct ledger_log *log, struct merkle_frontier *out)
{
    *out = log->frontier;
}

uint64_t ledger_log_end(const struct ledger_log *log)
{
    return log->end;
}
