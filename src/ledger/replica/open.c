/*
 * Opening, recovering, closing a replica; events that are only passed on; looking in.
 *
 * Recovery. The log gives entries, rollbacks and marks in the order of their writing, and the vote
 * log's records among or behind them. Entries are executed anew (replay.c), so that what is in
 * memory afterwards is what was there before. A batch or a NewView of which the last entries are
 * missing was never signed: it is taken back. A batch in the ledger without its SIGNED mark is
 * marked now. A ViewChange that was signed is sent again as it was.
 */
#include "ledger/replica/core.h"

void replica_stop(struct ledger_replica *r, const char *why)
{
    if (r->stopped)
        return;
    r->stopped = why;
    if (r->env.stopped)
        r->env.stopped(r->env.context, why);
}

/* ---- opening ---- */

static int config_check(const struct ledger_config *config, struct ledger_replica *r,
                        struct error *e)
{
    if (!buffer_append(&r->genesis_bytes, config->genesis.data, config->genesis.len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the genesis");
    int rc = ledger_genesis_decode(slice_of_buffer(&r->genesis_bytes), &r->genesis, e);
    if (rc)
        return rc;
    r->configuration = &r->genesis.configuration;
    if (config->replica >= r->configuration->replica_count)
        return error_set(e, ATOLL_EINVAL, "replica %u of %u does not exist", config->replica,
                         r->configuration->replica_count);
    r->self = config->replica;
    r->n = r->configuration->replica_count;
    r->f = ledger_faulty_max(r->configuration);
    r->quorum = ledger_quorum(r->configuration);
    r->pipeline = r->genesis.pipeline;
    r->terms = (struct choice_terms){.config = r->configuration->number,
                                     .replicas = r->n,
                                     .pipeline = r->pipeline,
                                     .genesis = r->genesis.hash};
    r->interval = r->configuration->checkpoint_interval;
    ledger_configuration_hash(r->genesis.configuration_bytes, r->configuration_hash);
    memcpy(r->nonce_key, config->nonce_key, sizeof r->nonce_key);
    memcpy(r->table_key, config->table_key, sizeof r->table_key);
    r->pool_bytes_max = config->pool_bytes ? config->pool_bytes : LEDGER_POOL_BYTES;
    r->pool_per_client = config->pool_per_client ? config->pool_per_client : LEDGER_POOL_PER_CLIENT;
    r->quarantine = config->quarantine;
    return 0;
}

/* dC of the state that we start from. */
static int digest_first(struct ledger_replica *r, const struct ledger_config *config,
                        struct error *e)
{
    struct kv_snapshot *snapshot;
    int rc = kv_snapshot_take(config->kv, &snapshot, e);
    if (rc)
        return rc;
    uint64_t s = config->checkpoint ? config->checkpoint->s : 0;
    struct checkpoint_digest *d = &r->digests[(s / r->interval) % 4];
    *d = (struct checkpoint_digest){.known = true, .s = s};
    kv_snapshot_digest(snapshot, d->digest);
    kv_snapshot_release(snapshot);
    if (s) {
        d = &r->digests[(config->checkpoint->before_s / r->interval) % 4];
        *d = (struct checkpoint_digest){.known = true, .s = config->checkpoint->before_s};
        memcpy(d->digest, config->checkpoint->before_digest, HASH_LEN);
    }
    return 0;
}

/* The ledger ends at a checkpoint: what stands before it is not known here. */
bool start_at_checkpoint(struct ledger_replica *r, const struct ledger_checkpoint *c)
{
    r->last = c->s; /* so that the slot is within reach */
    struct slot *slot = slot_make(r, c->s, c->view);
    if (!slot)
        return false;
    slot->in_ledger = slot->prepared = slot->committed = slot->certain = true;
    slot->pp.kind = LEDGER_KIND_CHECKPOINT;
    slot->pp.seqno = c->s;
    slot->pp.view = c->view;
    slot->after = c->frontier;
    slot->end = c->position;
    slot->next_index = c->next_index;
    memcpy(slot->pp_hash, c->pp_hash, HASH_LEN);
    memcpy(r->previous, c->pp_hash, HASH_LEN);
    r->hollow_view = c->view;
    r->hollow = r->prepared = r->committed = r->floor = c->s;
    r->frontier = c->frontier;
    r->position = r->replay_start = c->position;
    r->checkpoint_seen = false;
    r->next_index = c->next_index;
    r->gov_index = c->gov_index;
    r->silent = c->silent;
    r->view = c->view > r->view ? c->view : r->view;
    r->view_change_sent = c->view > r->view_change_sent ? c->view : r->view_change_sent;
    return true;
}

static bool replica_allocate(struct ledger_replica *r)
{
    r->slots = calloc(SLOTS, sizeof *r->slots);
    r->floor_g = calloc(SLOTS, sizeof *r->floor_g);
    r->early = calloc(r->n, sizeof *r->early);
    r->peers = calloc(r->n, sizeof *r->peers);
    r->view_changes = calloc(r->n, sizeof *r->view_changes);
    r->run = calloc(LEDGER_BATCH_MAX, sizeof *r->run);
    return r->slots && r->floor_g && r->early && r->peers && r->view_changes && r->run &&
           pool_open(r);
}

int ledger_open(const struct ledger_config *config, const struct ledger_env *env,
                struct ledger_replica **out, struct error *e)
{
    struct ledger_replica *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(e, ATOLL_ENOMEM, "no memory for a replica");
    r->env = *env;
    r->abstain_view = UINT64_MAX;
    r->checkpoint_seen = true;
    r->retransmit_wait = RETRANSMIT_FIRST_US;
    int rc = config_check(config, r, e);
    if (!rc && !replica_allocate(r))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a replica");
    if (!rc)
        rc = procedure_table_create(r->genesis.procedures, &r->procedures, e);
    if (!rc)
        rc = digest_first(r, config, e);
    if (!rc) {
        struct merkle_hash leaf =
            ledger_entry_leaf(LEDGER_ENTRY_GENESIS, slice_of_buffer(&r->genesis_bytes));
        rc = merkle_frontier_append(&r->genesis_frontier, &leaf, e);
        r->next_index = 1;
        memcpy(r->previous, r->genesis.hash, HASH_LEN);
    }
    if (!rc && config->checkpoint && !start_at_checkpoint(r, config->checkpoint))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a checkpoint");
    if (rc) {
        ledger_close(r);
        return rc;
    }
    r->kv = config->kv;
    *out = r;
    return 0;
}

static void slot_free(struct slot *slot)
{
    buffer_free(&slot->entries);
    buffer_free(&slot->evidence);
    merkle_tree_destroy(slot->g);
    free(slot->txs);
    free(slot->votes);
}

static void job_subjects_free(struct ledger_replica *r)
{
    for (struct job *job = r->jobs_out; job; job = job->next) {
        if (job->kind == JOB_VIEW_CHANGE)
            free(job->subject);
        else if (job->kind == JOB_NEW_VIEW)
            new_view_check_free(job->subject);
        else if (job->kind == JOB_EVIDENCE || job->kind == JOB_TRANSFER)
            evidence_check_free(job->subject);
        else if (job->kind == JOB_CONFLICT)
            conflict_free(job->subject);
    }
}

void ledger_close(struct ledger_replica *r)
{
    if (!r)
        return;
    if (r->pool.buckets)
        pool_close(r);
    incoming_free_all(r);
    job_subjects_free(r);
    job_free_all(r);
    early_free(r);
    stashes_free(r);
    executed_free(r);
    abandoned_free(r);
    install_stop(r);
    buffer_free(&r->search_read);
    buffer_free(&r->backlog.fragment.entries);
    slot_free(&r->old);
    for (unsigned i = 0; r->slots && i < SLOTS; i++)
        slot_free(&r->slots[i]);
    for (unsigned i = 0; r->view_changes && i < r->n; i++) {
        buffer_free(&r->view_changes[i].bytes);
        buffer_free(&r->view_changes[i].checking);
    }
    for (unsigned i = 0; i < LEDGER_PIPELINE_MAX; i++) {
        buffer_free(&r->tip.certificates[i]);
        buffer_free(&r->tip_read.certificates[i]);
    }
    struct buffer *buffers[] = {&r->genesis_bytes,   &r->new_view,
                                &r->new_view_vcset,  &r->own_view_change,
                                &r->tip.new_view,    &r->tip_read.new_view,
                                &r->pending.vcset,   &r->transfer.fragment.entries,
                                &r->replay.evidence, &r->replay.vcset,
                                &r->replay.txs,      &r->scratch,
                                &r->scratch_reply,   &r->scratch_read,
                                &r->logged_new_view};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        buffer_free(buffers[i]);
    procedure_table_destroy(r->procedures);
    kv_destroy(r->kv);
    free(r->slots);
    free(r->floor_g);
    free(r->peers);
    free(r->view_changes);
    free((void *)r->run);
    free(r->positions);
    free(r->view_entries);
    free(r->waiters);
    free(r->run_connections);
    free(r->bundle_ends);
    free(r);
}

/* ---- recovering ---- */

static int corrupt(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the replica's log: %s", what);
}

/* A ROLLBACK record: the ledger ends at a batch or a NewView that is in it. */
static int recover_rollback(struct ledger_replica *r, uint64_t position, struct error *e)
{
    replay_reset(r);
    abandoned_recover_rollback(r, position);
    if (position == r->position)
        return 0;
    for (size_t i = r->view_entry_count; i-- > 0;) {
        struct view_entry entry = r->view_entries[i];
        if (entry.end == position && entry.base >= final_batch(r)) {
            rollback_to_batch(r, entry.base, &entry);
            return 0;
        }
    }
    for (uint64_t s = r->last + 1; s-- > final_batch(r);) {
        uint64_t end;
        if (ledger_end_at(r, s, &end) == 0 && end == position) {
            rollback_to_batch(r, s, NULL);
            return 0;
        }
    }
    return corrupt(e, "a rollback to where no batch ends");
}

static int recover_signed(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_signed mark;
    if (ledger_signed_decode(payload, &mark, e))
        return corrupt(e, "a SIGNED record that does not decode");
    if (mark.what == LEDGER_SIGNED_NEW_VIEW && mark.view + 1 > r->signed_new_view)
        r->signed_new_view = mark.view + 1;
    if (mark.what == LEDGER_SIGNED_VIEW_CHANGE && mark.view > r->view_change_sent)
        r->view_change_sent = r->signed_view_change = mark.view;
    if (mark.what != LEDGER_SIGNED_PP && mark.what != LEDGER_SIGNED_PREPARE)
        return 0;
    /* A damaged log begins with the last mark of the part that was set aside: lower ones follow. */
    if (mark.view > r->signed_view || (mark.view == r->signed_view && mark.seqno >= r->signed_s)) {
        r->signed_view = mark.view;
        r->signed_s = mark.seqno;
        memcpy(r->signed_hash, mark.hash, HASH_LEN);
    }
    struct slot *slot = slot_in_ledger(r, mark.seqno);
    if (slot && slot->view == mark.view && !memcmp(slot->pp_hash, mark.hash, HASH_LEN))
        slot->marked = true;
    return 0;
}

static int recover_view_change(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_view_change *vc = calloc(1, sizeof *vc);
    int rc = vc ? 0 : error_set(e, ATOLL_ENOMEM, "no memory");
    if (!rc && ledger_view_change_decode_signed(payload, vc, e))
        rc = corrupt(e, "a ViewChange that does not decode");
    if (!rc && vc->new_view >= r->view_change_sent) {
        r->view_change_sent = r->own_view_change_view = vc->new_view;
        r->own_view_change.len = 0;
        if (!buffer_append(&r->own_view_change, payload.data, payload.len))
            rc = error_set(e, ATOLL_ENOMEM, "no memory");
    }
    free(vc);
    return rc;
}

static int recover_new_view(struct ledger_replica *r, struct slice payload, struct error *e)
{
    struct ledger_new_view nv;
    if (ledger_new_view_decode_signed(payload, &nv, e))
        return corrupt(e, "a NewView that does not decode");
    r->logged_view = nv.view;
    if (primary_of(r, nv.view) == r->self && nv.view >= r->signed_new_view)
        r->signed_new_view = nv.view + 1; /* ours; the mark may be lost */
    if (nv.view > r->view_change_sent)
        r->view_change_sent = nv.view; /* nothing is signed below a view that was entered */
    r->logged_new_view.len = 0;
    return buffer_append(&r->logged_new_view, payload.data, payload.len)
               ? 0
               : error_set(e, ATOLL_ENOMEM, "no memory");
}

/*
 * Behind a checkpoint only what follows its batch is replayed. The log may also hold entries of
 * histories that were taken back: the checkpoint is found where its very pp ends at its position,
 * and lost again when the ledger is rolled back below it.
 */
static void recover_find_checkpoint(struct ledger_replica *r, const struct ledger_pp *pp,
                                    uint64_t position)
{
    uint8_t hash[HASH_LEN];
    if (position + 1 != r->replay_start)
        return;
    ledger_pp_hash(pp, hash);
    r->checkpoint_seen = !memcmp(hash, slot_find(r, r->hollow)->pp_hash, HASH_LEN);
}

/* An entry before the checkpoint: only where things are is noted. */
static void recover_skipped(struct ledger_replica *r, uint8_t type, uint64_t position,
                            struct slice payload)
{
    struct error e;
    struct ledger_pp pp;
    struct ledger_tx tx;
    struct ledger_body body;
    struct ledger_new_view nv;
    uint8_t req_hash[HASH_LEN];
    if (type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(payload, &pp, &e) &&
        pp.seqno <= r->hollow && positions_set(r, pp.seqno, position)) {
        r->skipped_s = pp.seqno;
        slot_make_hollow(r, &pp);
        recover_find_checkpoint(r, &pp, position);
    } else if (type == LEDGER_ENTRY_VCSET) {
        r->new_view_vcset.len = 0;
        buffer_append(&r->new_view_vcset, payload.data, payload.len);
    } else if (type == LEDGER_ENTRY_NEW_VIEW && !ledger_new_view_decode_signed(payload, &nv, &e)) {
        r->new_view.len = 0; /* the checkpoint's own view's is the last one */
        if (nv.view == r->view)
            buffer_append(&r->new_view, payload.data, payload.len);
    } else if (type == LEDGER_ENTRY_TX && !ledger_tx_decode(payload, &tx, &e) &&
               !ledger_body_decode(tx.body, &body, &e)) {
        ledger_request_hash(body.fields, req_hash);
        executed_note(r, r->skipped_s, req_hash, &body.request);
    }
}

static int recover_entry(struct ledger_replica *r, uint8_t type, uint64_t position,
                         struct slice payload, struct error *e)
{
    if (!r->checkpoint_seen) {
        recover_skipped(r, type, position, payload);
        return 0;
    }
    if (type == LEDGER_ENTRY_GENESIS) {
        if (position != 0 || r->position != 0 ||
            !slice_equal(payload, slice_of_buffer(&r->genesis_bytes)))
            return corrupt(e, "another service's genesis");
        return append_entry(r, LEDGER_ENTRY_GENESIS, payload, NULL)
                   ? 0
                   : error_set(e, ATOLL_ENOMEM, "no memory");
    }
    if (r->recover_hole)
        return 0;
    if (position > r->position + r->replay.held) {
        r->recover_hole = true; /* behind a gap, without the checkpoint that it led to */
        return 0;
    }
    if (position != r->position + r->replay.held)
        return corrupt(e, "an entry is missing");
    int rc = replay_entry(r, type, payload, e);
    if (!rc)
        abandoned_recover_entry(r, type, position, payload);
    return rc;
}

int ledger_recover(struct ledger_replica *r, enum ledger_record_kind kind, uint8_t entry_type,
                   uint64_t position, const void *bytes, size_t len, struct error *e)
{
    struct slice payload = slice_of(bytes, len);
    assert(!r->started);
    switch (kind) {
    case LEDGER_RECORD_ENTRY: return recover_entry(r, entry_type, position, payload, e);
    case LEDGER_RECORD_ROLLBACK:
        if (len && ledger_rollback_decode(payload, &position, e))
            return corrupt(e, "a ROLLBACK record that does not decode");
        if (r->recover_hole && position > r->position)
            return 0;
        r->recover_hole = false;
        if (position >= r->replay_start)
            return r->checkpoint_seen ? recover_rollback(r, position, e) : 0;
        r->checkpoint_seen = false;
        return recover_rollback(r, r->replay_start, e);
    case LEDGER_RECORD_SIGNED: return recover_signed(r, payload, e);
    case LEDGER_RECORD_CERTIFICATE:
        return tip_recover(r, payload) ? 0 : corrupt(e, "a certificate that does not decode");
    case LEDGER_RECORD_VIEW_CHANGE: return recover_view_change(r, payload, e);
    case LEDGER_RECORD_NEW_VIEW: return recover_new_view(r, payload, e);
    default: return corrupt(e, "a record of an unknown kind");
    }
}

/* ---- starting ---- */

/* A checkpoint that was taken over stands for all before it, also when so much of what followed is
 * lost that the rest alone does not say so, and the gap before it is filled. */
static void start_rooted(struct ledger_replica *r)
{
    uint64_t end, position = r->env.jumped ? r->env.jumped(r->env.context) : 0;
    for (uint64_t s = r->last; s > 0 && !ledger_end_at(r, s, &end); s--) {
        if (end > position)
            continue;
        r->rooted = s;
        return;
    }
}

/* What our certificates and the evidence in the ledger say about the last batches. */
static void start_batches(struct ledger_replica *r)
{
    struct error e;
    uint64_t known = r->floor > r->plan_base ? r->floor : r->plan_base;
    r->committed = r->prepared = known > r->last ? r->last : known;
    for (unsigned i = 0; i < r->tip.count; i++) {
        struct ledger_certificate c;
        uint8_t hash[HASH_LEN];
        if (ledger_certificate_decode(slice_of_buffer(&r->tip.certificates[i]), &c, &e))
            continue;
        ledger_pp_hash(&c.pp, hash);
        struct slot *slot = slot_in_ledger(r, c.pp.seqno);
        if (!slot || memcmp(slot->pp_hash, hash, HASH_LEN))
            continue;
        slot->prepared = slot->certain = true;
        vote_take_certificate(r, slot, &c);
    }
    for (uint64_t s = r->prepared + 1; s <= r->last; s++) {
        struct slot *slot = slot_in_ledger(r, s);
        if (!slot || !slot->prepared)
            break;
        r->prepared = s;
    }
}

/* Signs again what was signed, and marks what was not. */
static void start_votes(struct ledger_replica *r)
{
    for (uint64_t s = r->committed + 1; s <= r->last; s++) {
        struct slot *slot = slot_in_ledger(r, s);
        if (!slot || slot->view != r->view || !rule_may_vote(r, slot->view) || rule_is_silent(r, s))
            continue;
        bool primary = primary_of(r, slot->view) == r->self;
        if (!slot->marked && (!rule_may_sign_batch(r, s) || !accept_holds(r, slot)))
            continue;
        if (!slot->marked)
            rule_mark_signed(r, primary ? LEDGER_SIGNED_PP : LEDGER_SIGNED_PREPARE, slot->view, s,
                             slot->pp_hash);
        slot->marked = true;
        wait_durable(r, WAITING_SIGNED, slot->view, s, slot->pp_hash);
        if (slot->certain)
            wait_durable(r, WAITING_CERTIFICATE, slot->view, s, slot->pp_hash);
    }
}

int ledger_start(struct ledger_replica *r, struct error *e)
{
    assert(!r->started);
    bool whole = replay_is_whole(r);
    replay_reset(r);
    if (r->stopped)
        return error_set(e, ATOLL_ECORRUPT, "the replica's log: %s", r->stopped);
    if (!r->checkpoint_seen || (r->hollow && r->last < r->hollow + 2 * r->pipeline))
        return corrupt(e, "its ledger does not hold the batch of this checkpoint for good");
    abandoned_start(r);
    r->started = true;
    if (r->position == 0)
        append_entry(r, LEDGER_ENTRY_GENESIS, slice_of_buffer(&r->genesis_bytes), NULL);
    /* What is not whole was never signed. A jump may be there with nothing behind it, or without
     * the checkpoint that it led to. */
    bool jumped = r->env.jumped && r->env.jumped(r->env.context) > r->position;
    if (!whole || r->recover_hole || jumped) {
        uint8_t payload[LEDGER_ROLLBACK_LEN];
        ledger_rollback_encode(r->position, payload);
        append_record(r, LEDGER_RECORD_ROLLBACK, r->position, slice_of(payload, sizeof payload));
    }
    start_rooted(r);
    digests_compare(r);
    rule_abstain(r, r->view);
    start_batches(r);
    start_votes(r);
    if (r->view && is_primary(r))
        wait_durable(r, WAITING_NEW_VIEW, r->view, 0, r->previous);
    if (r->view_change_sent > r->view && r->own_view_change_view == r->view_change_sent)
        wait_durable(r, WAITING_VIEW_CHANGE, r->view_change_sent, 0, NULL);
    else if (r->view_change_sent > r->view && r->signed_view_change == r->view_change_sent)
        view_leave(r, r->view_change_sent + 1); /* signed, perhaps, and lost: never signed anew */
    r->quarantine_view = r->view > r->view_change_sent ? r->view : r->view_change_sent;
    r->catching_up = true;
    backlog_start(r);
    fetch_status(r, -1);
    ledger_settle(r);
    return 0;
}

/* ---- events ---- */

/* The view of a message that belongs to one, as far as its length lets it be read. */
static bool message_view(struct slice m, uint64_t *view)
{
    size_t at = ledger_message_type(m) == LEDGER_MESSAGE_COMMIT ? 1 : 1 + 4;
    if (m.len < at + 8)
        return false;
    *view = load_u64(m.data + at);
    return true;
}

static void message_of_view(struct ledger_replica *r, uint16_t from, struct slice m)
{
    struct error e;
    struct ledger_prepare prepare;
    struct ledger_commit commit;
    uint64_t view;
    if (!message_view(m, &view)) {
        r->counters.messages_dropped++;
        return;
    }
    if (view > r->view) {
        early_hold(r, from, m);
        return;
    }
    switch (ledger_message_type(m)) {
    case LEDGER_MESSAGE_PRE_PREPARE: accept_pre_prepare(r, from, m); break;
    case LEDGER_MESSAGE_PREPARE:
        if (!ledger_prepare_message_decode(m, &prepare, &e))
            vote_prepare(r, from, &prepare);
        else
            r->counters.messages_dropped++;
        break;
    default:
        if (!ledger_commit_message_decode(m, &commit, &e))
            vote_commit(r, &commit);
        else
            r->counters.messages_dropped++;
        break;
    }
}

static void message_content(struct ledger_replica *r, struct slice m)
{
    struct error e;
    struct ledger_content content;
    if (ledger_content_decode(m, &content, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    accept_content(r, &content);
    if (plan_wants(r, content.batch_root))
        stash_content(r, &content);
}

static void message_relay(struct ledger_replica *r, uint16_t from, struct slice m)
{
    struct error e;
    struct ledger_list bodies;
    struct slice body;
    if (!pool_hears_relays(r, from) || ledger_bodies_decode(m, &bodies, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    while (ledger_list_next_bytes(&bodies, &body))
        pool_admit(r, body, 0, from);
}

void ledger_on_message(struct ledger_replica *r, uint16_t from, const void *message, size_t len)
{
    struct slice m = slice_of(message, len);
    if (!r->started || from >= r->n || from == r->self)
        return;
    unsigned type = ledger_message_type(m);
    if (type >= LEDGER_MESSAGE_FETCH_BATCH && type <= LEDGER_MESSAGE_FETCH_CHECKPOINT) {
        fetch_answer(r, from, m); /* also when stopped: reads go on */
        return;
    }
    if (r->stopped)
        return;
    switch (type) {
    case LEDGER_MESSAGE_PRE_PREPARE:
    case LEDGER_MESSAGE_PREPARE:
    case LEDGER_MESSAGE_COMMIT: message_of_view(r, from, m); break;
    case LEDGER_MESSAGE_VIEW_CHANGE: view_change_message(r, from, m); break;
    case LEDGER_MESSAGE_NEW_VIEW: new_view_message(r, from, m); break;
    case LEDGER_MESSAGE_EVIDENCE: fetch_evidence_heard(r, from, m); break;
    case LEDGER_MESSAGE_CONTENT: message_content(r, m); break;
    case LEDGER_MESSAGE_LEDGER: transfer_message(r, from, m); break;
    case LEDGER_MESSAGE_CHECKPOINT: install_chunk(r, from, m); break;
    case LEDGER_MESSAGE_STATUS: fetch_status_heard(r, from, m); break;
    case LEDGER_MESSAGE_RELAY: message_relay(r, from, m); break;
    default: r->counters.messages_dropped++; break;
    }
}

void ledger_settle(struct ledger_replica *r)
{
    if (!r->started)
        return;
    ledger_on_durable(r, r->lsn_durable); /* what waited for nothing new */
    search_run(r);
    if (!r->stopped) {
        pool_settle(r);
        view_run(r);
        accept_run(r);
        propose(r);
        vote_settle(r);
        gather_settle(r);
    }
    /* Who signs nothing waits for nothing, and would keep what it follows in memory. */
    if (r->lsn_last > r->lsn_asked &&
        (r->waiter_count || r->quarantine || r->abstain_view == r->view)) {
        r->lsn_asked = r->lsn_last;
        r->env.sync(r->env.context, r->lsn_last);
    }
    timers_settle(r);
}

/* ---- looking in ---- */

void ledger_status(const struct ledger_replica *r, struct ledger_status *out)
{
    *out = r->counters;
    out->phase = !r->started                               ? LEDGER_RECOVERING
                 : r->stopped                              ? LEDGER_STOPPED
                 : r->quarantine                           ? LEDGER_QUARANTINE
                 : r->view_change_sent > r->view           ? LEDGER_VIEW_CHANGE
                 : r->transfer.active || r->install.active ? LEDGER_TRANSFER
                 : r->astray                               ? LEDGER_ASTRAY
                 : r->abstain_view == r->view              ? LEDGER_ABSTAINING
                                                           : LEDGER_NORMAL;
    out->config = r->configuration->number;
    out->view = r->view;
    out->view_change_sent = r->view_change_sent;
    out->s_last = r->last;
    out->s_prepared = r->prepared;
    out->s_committed = r->committed;
    out->next_position = r->position;
    out->next_index = r->next_index;
    out->pool_requests = r->pool.count;
    out->pool_bytes = r->pool.bytes;
    out->why = r->stopped ? r->stopped : r->refusal;
}

int ledger_batch_at(const struct ledger_replica *r, uint64_t s, struct ledger_batch_info *out,
                    struct error *e)
{
    uint64_t position;
    struct ledger_pp pp;
    int rc = batch_locate(r, s, &position, &pp, e);
    if (rc)
        return rc;
    *out = (struct ledger_batch_info){.view = pp.view,
                                      .s = s,
                                      .first_index = pp.first_index,
                                      .position = position,
                                      .count = pp.count,
                                      .kind = (uint8_t)pp.kind};
    ledger_pp_hash(&pp, out->pp_hash);
    memcpy(out->g, pp.batch_root, HASH_LEN);
    return 0;
}

void ledger_root(const struct ledger_replica *r, uint8_t root[static 32])
{
    struct merkle_hash hash = merkle_frontier_root(&r->frontier);
    memcpy(root, hash.bytes, HASH_LEN);
}
