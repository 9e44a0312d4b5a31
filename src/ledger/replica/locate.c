/*
 * Where a batch lies in the log when we do not remember it: batches before the checkpoint that we
 * started from. PPs stand in the order of their s and of their indices, so halving finds one; every
 * step reads at most the transactions of one batch.
 */
#include "ledger/replica/core.h"

/* The first PP from `at` on, below `end`. 0; ATOLL_ENOENT: there is none; what the disk says. */
static int pp_from(const struct ledger_replica *r, uint64_t at, uint64_t end, struct buffer *b,
                   uint64_t *position, struct ledger_pp *pp, struct error *e)
{
    uint8_t type;
    for (; at < end; at++) {
        int rc = r->env.read(r->env.context, at, b, &type, e);
        if (rc)
            return rc;
        if (type != LEDGER_ENTRY_PP)
            continue;
        *position = at;
        return ledger_pp_decode_signed(slice_of_buffer(b), pp, e);
    }
    return -ATOLL_ENOENT;
}

/* The pp of batch s, at most the last, and where it is. ATOLL_ENOENT: it is not in the ledger;
 * ATOLL_ERANGE: that part of the ledger is still missing; what the disk says. */
int batch_locate(const struct ledger_replica *r, uint64_t s, uint64_t *position,
                 struct ledger_pp *pp, struct error *e)
{
    struct buffer b = {0};
    bool known =
        r->position_count && s >= r->positions_base && s - r->positions_base < r->position_count;
    uint64_t low = 1, high = r->position_count ? r->positions[0] : r->position;
    int rc = -ATOLL_ENOENT;
    if (known) {
        low = r->positions[s - r->positions_base];
        high = low + 1;
    }
    while (s && s <= r->last && low < high) {
        uint64_t middle = low + (high - low) / 2;
        rc = pp_from(r, middle, high, &b, position, pp, e);
        if (rc && rc != -ATOLL_ENOENT)
            break;
        if (!rc && pp->seqno == s)
            break;
        if (!rc && pp->seqno < s)
            low = *position + 1;
        else
            high = middle;
        rc = -ATOLL_ENOENT;
    }
    buffer_free(&b);
    if (rc == -ATOLL_ENOENT)
        error_set(e, ATOLL_ENOENT, "batch %llu is not in the ledger here", (unsigned long long)s);
    return rc;
}

/* A position at or before the pp of the batch with this transaction index, and not far before. */
uint64_t index_locate(const struct ledger_replica *r, uint64_t index)
{
    struct buffer b = {0};
    struct ledger_pp pp;
    struct error e;
    uint64_t low = 1, high = r->position, position;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int rc = pp_from(r, middle, high, &b, &position, &pp, &e);
        if (rc && rc != -ATOLL_ENOENT)
            break; /* a part is missing: what comes before it is looked through */
        if (!rc && pp.first_index + pp.count <= index)
            low = position + 1;
        else
            high = middle;
    }
    buffer_free(&b);
    return low;
}
