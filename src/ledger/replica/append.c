/*
 * Writing: entries of the ledger and records about them, and what waits until they are durable.
 *
 * The signing rule (§4.1): an object is signed and sent only by the waiter of its record. lsns
 * ascend over all records, so the waiters form a queue.
 */
#include "ledger/replica/core.h"

static bool append(struct ledger_replica *r, enum ledger_record_kind kind, uint8_t type,
                   uint64_t position, const struct merkle_hash *leaf, struct slice payload)
{
    struct error e;
    uint64_t lsn = 0;
    if (r->stopped)
        return false;
    int rc = r->env.append(r->env.context, kind, type, position, leaf, &payload, 1, &lsn, &e);
    if (rc) {
        replica_stop(r, rc == -ATOLL_ELIMIT   ? "the disk is full"
                        : rc == -ATOLL_ENOMEM ? "there is no memory for the log"
                                              : "the log cannot be written");
        return false;
    }
    assert(lsn >= r->lsn_last);
    r->lsn_last = lsn;
    return true;
}

bool append_record(struct ledger_replica *r, enum ledger_record_kind kind, uint64_t position,
                   struct slice payload)
{
    return append(r, kind, 0, position, NULL, payload);
}

/* `leaf` may be NULL: then it is computed. While records are recovered nothing is written. */
bool append_entry(struct ledger_replica *r, enum ledger_entry_type type, struct slice payload,
                  const struct merkle_hash *leaf)
{
    struct error e;
    struct merkle_hash computed;
    if (!leaf) {
        computed = ledger_entry_leaf(type, payload);
        leaf = &computed;
    }
    if (r->started && !append(r, LEDGER_RECORD_ENTRY, (uint8_t)type, r->position, leaf, payload))
        return false;
    if (merkle_frontier_append(&r->frontier, leaf, &e)) {
        replica_stop(r, "the ledger is as long as it can be");
        return false;
    }
    r->position++;
    return true;
}

void wait_durable(struct ledger_replica *r, enum waiting what, uint64_t view, uint64_t s,
                  const uint8_t *pp_hash)
{
    if (r->waiter_count == r->waiter_capacity) {
        size_t capacity = r->waiter_capacity ? 2 * r->waiter_capacity : 64;
        struct waiter *grown = calloc(capacity, sizeof *grown);
        if (!grown) {
            replica_stop(r, "no memory");
            return;
        }
        for (size_t i = 0; i < r->waiter_count; i++)
            grown[i] = r->waiters[(r->waiter_first + i) % r->waiter_capacity];
        free(r->waiters);
        r->waiters = grown;
        r->waiter_first = 0;
        r->waiter_capacity = capacity;
    }
    struct waiter *w = &r->waiters[(r->waiter_first + r->waiter_count) % r->waiter_capacity];
    *w = (struct waiter){
        .lsn = MUTATED(SIGN_EARLY) ? 0 : r->lsn_last, .what = what, .view = view, .s = s};
    if (pp_hash)
        memcpy(w->pp_hash, pp_hash, HASH_LEN);
    r->waiter_count++;
}

static void waiter_done(struct ledger_replica *r, const struct waiter *w)
{
    struct slot *slot = slot_in_ledger(r, w->s);
    if (w->s && (!slot || slot->view != w->view || memcmp(slot->pp_hash, w->pp_hash, HASH_LEN)))
        return; /* taken back meanwhile */
    switch (w->what) {
    case WAITING_SIGNED: vote_own(r, slot); break;
    case WAITING_CERTIFICATE:
        if (slot->prepared) /* and not taken back and put in again meanwhile */
            vote_certain(r, slot);
        break;
    case WAITING_VIEW_CHANGE: view_change_sent_durable(r, w->view); break;
    case WAITING_NEW_VIEW:
        if (r->view == w->view) {
            r->new_view_ready = true;
            if (is_primary(r))
                new_view_send(r, -1);
        }
        break;
    }
}

void ledger_on_durable(struct ledger_replica *r, uint64_t lsn)
{
    if (lsn > r->lsn_durable)
        r->lsn_durable = lsn;
    while (r->waiter_count && r->waiters[r->waiter_first].lsn <= r->lsn_durable && !r->stopped) {
        struct waiter w = r->waiters[r->waiter_first];
        r->waiter_first = (r->waiter_first + 1) % r->waiter_capacity;
        r->waiter_count--;
        waiter_done(r, &w);
    }
}

/* A batch was executed and is about to be appended. */
void append_begin(struct ledger_replica *r)
{
    r->frontier_before = r->frontier;
    r->position_before = r->position;
}

/* The log does not take the batch (and the replica has stopped): it is in neither store nor ledger.
 */
void append_failed(struct ledger_replica *r)
{
    struct error e;
    assert(r->stopped);
    r->frontier = r->frontier_before;
    r->position = r->position_before;
    kv_rollback(r->kv, r->last, &e);
}

/*
 * Puts an executed batch whose slot has its pp, pp_hash and TxEntries at the end of the ledger. The
 * Evidence entry, if it has one, is there already (its root is in the pp).
 */
void append_batch(struct ledger_replica *r, struct slot *slot)
{
    uint8_t payload[LEDGER_PP_SIGNED_LEN];
    ledger_pp_encode_signed(&slot->pp, payload);
    slot->pp_position = r->position;
    if (!append_entry(r, LEDGER_ENTRY_PP, slice_of(payload, sizeof payload), NULL)) {
        append_failed(r);
        return;
    }
    for (uint32_t i = 0; i < slot->pp.count; i++) {
        const struct slot_tx *tx = &slot->txs[i];
        if (!append_entry(r, LEDGER_ENTRY_TX, slice_of(slot->entries.data + tx->start, tx->len),
                          &tx->leaf)) {
            append_failed(r);
            return;
        }
    }
    assert(slot->s == r->last + 1);
    slot->in_ledger = true;
    slot->end = r->position;
    slot->after = r->frontier;
    slot->next_index = slot->pp.first_index + slot->pp.count;
    r->next_index = slot->next_index;
    r->last = slot->s;
    memcpy(r->previous, slot->pp_hash, HASH_LEN);
    /* Its evidence is Q opened nonces; whoever reads the log raises the floor as high. */
    if (slot->s > r->pipeline && !LEDGER_BARE)
        floor_raise(r, slot->s - r->pipeline);
    if (!positions_set(r, slot->s, slot->pp_position))
        replica_stop(r, "no memory");
    r->counters.batches++;
    r->counters.transactions += slot->pp.count;
}
