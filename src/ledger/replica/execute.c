/*
 * Executing a batch: the store, the TxEntries, G, and the digests of checkpoints (dC).
 *
 * Invariant I8: whatever a batch does to the store depends on the ledger before it and on the batch
 * alone, so that every replica that executes it gets the same TxEntries and the same G.
 */
#include "ledger/replica/core.h"

#define AHEAD 12 /* transactions */

/* Whether the ledger may hold this request at this index; the reason why not is for people. */
static const char *execute_objection(const struct ledger_replica *r, const struct candidate *c,
                                     uint64_t index)
{
    const struct ledger_request *q = &c->body.request;
    if (q->min_index >= index && !MUTATED(MIN_INDEX))
        return "its min_index is not below its index";
    if (!ledger_configuration_admits(r->configuration, q->client))
        return "its client is not on the access list";
    switch (MUTATED(TWICE) ? CLIENT_NEW : client_table_check(r->kv, q->client, q->reqno)) {
    case CLIENT_NEW: return NULL;
    case CLIENT_DUPLICATE: return "its reqno was used before";
    default: return "its reqno is below the window";
    }
}

/* Runs one transaction and puts its TxEntry and leaf into the slot. */
static int execute_one(struct ledger_replica *r, struct slot *slot, uint32_t i, uint64_t index,
                       const struct candidate *c, struct error *e)
{
    const struct ledger_request *q = &c->body.request;
    struct procedure_call call = {.proc = q->proc,
                                  .args = q->args.data,
                                  .args_len = q->args.len,
                                  .client = q->client,
                                  .index = index};
    struct procedure_result result;
    int rc = procedure_execute(r->procedures, &call, r->kv, &result, e);
    if (!rc)
        rc = client_table_insert(r->kv, q->client, q->reqno, e);
    if (rc)
        return rc;
    struct ledger_tx tx = {.index = index,
                           .body = c->body.bytes,
                           .status = result.status,
                           .output = slice_of(result.output, result.output_len)};
    memcpy(tx.writeset_hash, result.writeset_hash, HASH_LEN);
    struct slot_tx *st = &slot->txs[i];
    size_t start = slot->entries.len;
    if (!ledger_tx_encode(&tx, &slot->entries))
        return error_set(e, ATOLL_ENOMEM, "no memory for a transaction");
    st->start = (uint32_t)start;
    st->len = (uint32_t)(slot->entries.len - start);
    memcpy(st->req_hash, c->req_hash, HASH_LEN);
    executed_note(r, slot->s, c->req_hash, q);
    st->leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of(slot->entries.data + start, st->len));
    return merkle_tree_append(slot->g, &st->leaf, e);
}

/* A state of some size lies in no cache: its memory is asked for some transactions ahead. */
static void execute_prefetch(struct ledger_replica *r, const struct candidate *c)
{
    const struct ledger_request *q = &c->body.request;
    const struct procedure_call call = {
        .proc = q->proc, .args = q->args.data, .args_len = q->args.len};
    procedure_prefetch(r->procedures, &call, r->kv);
}

/* The bytes of the batch's TxEntries with this one, whatever its output. */
static size_t execute_room(const struct slot *slot, const struct candidate *c)
{
    return slot->entries.len + LEDGER_TX_MAX - LEDGER_BODY_MAX + c->body.bytes.len;
}

/*
 * Opens batch s in the store and executes the candidates; *done is how many are in the batch. With
 * skip_bad those that the ledger may not hold are left out (the primary picks); without, the first
 * such ends it with ATOLL_EREJECTED. On failure, and when nothing was done of something, the store
 * is as before. ATOLL_ENOMEM stops the replica.
 */
int execute_batch(struct ledger_replica *r, struct slot *slot, uint64_t s, enum ledger_kind kind,
                  uint64_t first_index, const struct candidate *const *candidates, uint32_t count,
                  uint32_t *done, bool skip_bad, struct error *e)
{
    *done = 0;
    int rc = 0;
    if (!slot_prepare_room(slot, count))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a batch");
    if (!rc)
        rc = kv_batch_begin(r->kv, s, e);
    for (uint32_t i = 0; i < count && i < AHEAD; i++)
        execute_prefetch(r, candidates[i]);
    for (uint32_t i = 0; !rc && i < count; i++) {
        if (i + AHEAD < count)
            execute_prefetch(r, candidates[i + AHEAD]);
        const char *objection = execute_objection(r, candidates[i], first_index + *done);
        if (objection && skip_bad)
            continue;
        if (objection)
            rc = error_set(e, ATOLL_EREJECTED, "transaction %u of batch %llu cannot stand: %s", i,
                           (unsigned long long)s, objection);
        if (!rc && execute_room(slot, candidates[i]) > LEDGER_BATCH_BYTES_MAX && skip_bad)
            break;
        if (!rc)
            rc = execute_one(r, slot, *done, first_index + *done, candidates[i], e);
        *done += !rc;
    }
    if (rc || (!*done && kind == LEDGER_KIND_NORMAL)) {
        struct error undo;
        if (kv_rollback(r->kv, s - 1, &undo))
            replica_stop(r, "the store cannot be taken back");
        if (rc == -ATOLL_ENOMEM)
            replica_stop(r, "no memory");
    }
    return rc;
}

/* G of what was just executed. */
struct merkle_hash execute_root(const struct ledger_replica *r, const struct slot *slot,
                                enum ledger_kind kind, uint32_t count)
{
    if (kind == LEDGER_KIND_NORMAL && count)
        return merkle_tree_root(slot->g);
    if (kind == LEDGER_KIND_EMPTY)
        return ledger_batch_root_empty();
    return ledger_batch_root_configuration(r->configuration_hash);
}

/* ---- digests ---- */

/* dC of batch s: of the newest checkpoint c with c + C <= s, or of the genesis state. False: it is
 * still being computed. */
bool digest_for(const struct ledger_replica *r, uint64_t s, uint8_t digest[static HASH_LEN])
{
    uint64_t c = s / r->interval ? (s / r->interval - 1) * r->interval : 0;
    const struct checkpoint_digest *d = &r->digests[(c / r->interval) % 4];
    if (!d->known || d->s != c)
        return false;
    memcpy(digest, d->digest, HASH_LEN);
    return true;
}

/* Whether the batch names the digest that we found; also while we are still looking for it. */
bool digest_fits(const struct ledger_replica *r, const struct ledger_pp *pp)
{
    uint8_t digest[HASH_LEN];
    return !digest_for(r, pp->seqno, digest) || !memcmp(digest, pp->kv_digest, HASH_LEN);
}

/*
 * History is executed sooner than the states in it are hashed. Once they are, a batch that names
 * another one is what a quorum signed wrongly, as if it executed differently.
 */
void digests_compare(struct ledger_replica *r)
{
    for (uint64_t s = r->last; s > r->hollow; s--) {
        const struct slot *slot = slot_in_ledger(r, s);
        if (!slot)
            return;
        if (!digest_fits(r, &slot->pp))
            replica_stop(r, "history that a quorum signed names a false digest of a checkpoint");
    }
}

/* The CHECKPOINT batch in this slot was executed: its state is hashed in the background. */
void digest_start(struct ledger_replica *r, const struct slot *slot)
{
    struct error e;
    struct kv_snapshot *snapshot;
    if (kv_snapshot_take(r->kv, &snapshot, &e)) {
        replica_stop(r, "no memory");
        return;
    }
    struct checkpoint_digest *d = &r->digests[(slot->s / r->interval) % 4];
    *d = (struct checkpoint_digest){.s = slot->s};
    memcpy(d->pp_hash, slot->pp_hash, HASH_LEN);
    struct ledger_checkpoint c = {.s = slot->s,
                                  .position = slot->end,
                                  .next_index = slot->next_index,
                                  .gov_index = r->gov_index,
                                  .view = slot->view,
                                  .config = r->configuration->number,
                                  .before_s = slot->s - r->interval,
                                  .frontier = slot->after};
    memcpy(c.pp_hash, slot->pp_hash, HASH_LEN);
    const struct slot *oldest =
        slot_in_ledger(r, slot->s > r->pipeline ? slot->s - r->pipeline + 1 : 1);
    c.needed = oldest && oldest->pp_position ? oldest->pp_position : 1;
    if (oldest && oldest->s > r->hollow + 1 && slot_before(r, oldest, &c.origin))
        c.needed = c.origin.size;
    /* Ours may still be being computed while a log or a history is executed anew. */
    memcpy(c.before_digest, slot->pp.kv_digest, HASH_LEN);
    r->env.digest(r->env.context, &c, snapshot);
}

void ledger_on_digest(struct ledger_replica *r, const struct ledger_checkpoint *c,
                      const uint8_t digest[static 32])
{
    struct checkpoint_digest *d = &r->digests[(c->s / r->interval) % 4];
    /* However long it took: the batch's slot may be gone. */
    if (d->s != c->s || memcmp(d->pp_hash, c->pp_hash, HASH_LEN))
        return; /* of a batch that was taken back */
    memcpy(d->digest, digest, HASH_LEN);
    d->known = true;
    if (r->started)
        digests_compare(r);
}
