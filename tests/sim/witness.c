/*
 * The witness sees everything that correct machines sign, write, send and commit, over all their
 * lives, and holds it against the invariants of the specification (§6) at that very moment:
 *
 *   I1  One pp or Prepare a replica and (view, s), one ViewChange and one NewView a view; and what
 *       it signed within a view lies on one chain of prev_pp back to one NewView: what no auditor
 *       could ever hold against it (EQUIV).
 *
 *   I2  No Prepare or pp is signed in a view below that of a ViewChange signed before.
 *
 *   I4  A nonce leaves only when its certificate and NewView are durable (or P certificates in a
 *       row, which need none); every ViewChange of a higher view reports at least that batch
 *       (VC_OMIT).
 *
 *   I6  One content for each committed batch, on every correct replica and in every receipt.
 *
 *   I7  What a replica committed it never changes.
 *
 *   I8  dC of a batch that it takes in is the digest that the correct found.
 *
 *   I9  A signature leaves only when the mark and, of a batch, its PP entry are durable.
 *
 * I3 and I5 are judged at the end (judge.c) and asserted by the core itself.
 */
#include "cluster.h"
#include "table.h"

#include <stdlib.h>

struct pp_seen {
    uint64_t view, seqno;
    uint8_t previous[HASH_LEN];
};

/* A pp or Prepare that a correct replica sent. */
struct statement {
    uint64_t view, seqno;
    uint8_t pp_hash[HASH_LEN];
};

struct view_vote {
    uint64_t view;
    uint8_t hash[HASH_LEN];
    uint64_t tip_view, tip_seqno; /* effective, of a ViewChange */
    bool relied; /* on a NewView that is followed: something was sent in its view */
};

/* What a replica did with a hash. */
struct act {
    uint64_t signed_order;        /* 0: never signed */
    uint64_t mark_lsn, entry_lsn; /* SIGNED record, PP entry; 0: none */
    uint64_t certificate_lsn;     /* of a pp_hash */
};

struct watched {
    struct sim_table act;
    uint64_t order;
    struct statement *statement;
    size_t statements, statement_capacity;
    struct view_vote *change, *follow; /* ViewChanges and NewViews sent, NEW_VIEW records follow */
    size_t changes, follows;
    struct view_vote *lead;
    size_t leads;
    uint64_t change_order; /* of the highest ViewChange: when it was signed */
    uint64_t change_view;
    uint64_t nonce_view, nonce_seqno; /* the greatest (view, s) whose nonce left */
    uint64_t committed;               /* by any of its lives */
    uint8_t (*floor)[HASH_LEN];       /* G of what it committed, by s */
    size_t floors;
};

struct content {
    bool settled;
    uint8_t g[HASH_LEN];
    uint64_t first_index;
    uint32_t count;
    uint8_t kind;
};

struct sim_witness {
    struct sim_cluster *cluster;
    struct sim_table pp;
    struct watched watched[LEDGER_REPLICAS_MAX];
    struct content *content; /* by s */
    size_t contents;
};

struct sim_witness *sim_witness_create(struct sim_cluster *c)
{
    struct sim_witness *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    w->cluster = c;
    w->pp.value_len = sizeof(struct pp_seen);
    for (unsigned i = 0; i < LEDGER_REPLICAS_MAX; i++)
        w->watched[i].act.value_len = sizeof(struct act);
    return w;
}

void sim_witness_destroy(struct sim_witness *w)
{
    if (!w)
        return;
    sim_table_close(&w->pp);
    for (unsigned i = 0; i < LEDGER_REPLICAS_MAX; i++) {
        sim_table_close(&w->watched[i].act);
        free(w->watched[i].statement);
        free(w->watched[i].change);
        free(w->watched[i].follow);
        free(w->watched[i].lead);
        free(w->watched[i].floor);
    }
    free(w->content);
    free(w);
}

static struct act *act_of(struct watched *r, const uint8_t *hash)
{
    bool fresh;

    return sim_table_put(&r->act, hash, &fresh);
}

void sim_witness_signed(struct sim_witness *w, const struct sim_machine *m, const uint8_t hash[32])
{
    struct watched *r = &w->watched[m->replica];
    struct act *act = act_of(r, hash);

    if (!act->signed_order)
        act->signed_order = ++r->order;
}

/* ---- records ---- */

static void pp_note(struct sim_witness *w, const struct ledger_pp *pp)
{
    uint8_t hash[HASH_LEN];
    struct pp_seen *seen;
    bool fresh;

    ledger_pp_hash(pp, hash);
    seen = sim_table_put(&w->pp, hash, &fresh);
    seen->view = pp->view;
    seen->seqno = pp->seqno;
    memcpy(seen->previous, pp->previous, HASH_LEN);
}

static struct view_vote *votes_add(struct view_vote **votes, size_t *count)
{
    if ((*count & (*count - 1)) == 0)
        *votes = sim_reallocate(*votes, (*count ? 2 * *count : 1) * sizeof **votes);
    memset(&(*votes)[*count], 0, sizeof **votes);
    return &(*votes)[(*count)++];
}

static struct view_vote *votes_find(struct view_vote *votes, size_t count, uint64_t view)
{
    for (size_t i = count; i--;)
        if (votes[i].view == view)
            return &votes[i];
    return NULL;
}

/* Notes that a NewView is on the disk. Which one is followed is seen after the event: on the way to
 * a later view others may pass. */
static void new_view_wrote(struct sim_witness *w, const struct sim_machine *m,
                           const struct sim_record *record)
{
    struct watched *r = &w->watched[m->replica];
    struct ledger_new_view nv;
    struct error e;
    uint8_t hash[HASH_LEN];
    struct act *act;

    if (ledger_new_view_decode_signed(slice_of(record->bytes, record->len), &nv, &e) != 0)
        return;
    ledger_new_view_hash(&nv, hash);
    act = act_of(r, hash);
    if (!act->mark_lsn)
        act->mark_lsn = record->lsn;
    if (record->kind == LEDGER_RECORD_ENTRY)
        act->entry_lsn = record->lsn;
}

/* A replica follows one NewView of a view (I1): it takes part in the view under that one alone. */
static void follow_check(struct sim_witness *w, const struct sim_machine *m, uint64_t view)
{
    struct watched *r = &w->watched[m->replica];
    struct view_vote *vote;
    struct ledger_new_view nv;
    struct error e;
    uint8_t hash[HASH_LEN];

    for (uint64_t position = m->entries; position--;) {
        const struct sim_record *record = sim_machine_entry(m, position);

        if (!record)
            return;
        if (record->type != LEDGER_ENTRY_NEW_VIEW ||
            ledger_new_view_decode_signed(slice_of(record->bytes, record->len), &nv, &e) != 0)
            continue;
        if (nv.view != view)
            return;
        ledger_new_view_hash(&nv, hash);
        vote = votes_find(r->follow, r->follows, view);
        if (vote && memcmp(vote->hash, hash, HASH_LEN) != 0)
            sim_world_violated(&w->cluster->world,
                               "I1: replica %u follows two NewViews of view %llu", m->replica,
                               (unsigned long long)view);
        if (!vote) {
            vote = votes_add(&r->follow, &r->follows);
            vote->view = view;
            memcpy(vote->hash, hash, HASH_LEN);
        }
        return;
    }
}

/* I8: dC of a batch that it takes in is the digest of the newest checkpoint that is C batches back
 * at least (§7), as who is correct found it. */
static void digest_check(struct sim_witness *w, const struct sim_machine *m,
                         const struct ledger_pp *pp)
{
    uint64_t interval = w->cluster->genesis.configuration.checkpoint_interval;
    uint64_t c = pp->seqno / interval ? (pp->seqno / interval - 1) * interval : 0;
    struct sim_batch checkpoint = {0};
    const uint8_t *digest;

    if (c && !sim_machine_batch(m, c, &checkpoint))
        return;
    digest = sim_checkpoint_digest(w->cluster, checkpoint.pp_hash);
    if (digest && memcmp(digest, pp->kv_digest, HASH_LEN) != 0)
        sim_world_violated(&w->cluster->world,
                           "I8: replica %u took in batch (%llu, %llu), whose dC is not the digest "
                           "of checkpoint %llu",
                           m->replica, (unsigned long long)pp->view, (unsigned long long)pp->seqno,
                           (unsigned long long)c);
}

static void entry_wrote(struct sim_witness *w, const struct sim_machine *m,
                        const struct sim_record *record)
{
    struct watched *r = &w->watched[m->replica];
    struct ledger_pp pp;
    struct error e;
    uint8_t hash[HASH_LEN];
    struct act *act;

    if (record->type == LEDGER_ENTRY_NEW_VIEW)
        new_view_wrote(w, m, record);
    if (record->type != LEDGER_ENTRY_PP ||
        ledger_pp_decode_signed(slice_of(record->bytes, record->len), &pp, &e) != 0)
        return;
    pp_note(w, &pp);
    digest_check(w, m, &pp);
    ledger_pp_hash(&pp, hash);
    act = act_of(r, hash);
    if (!act->entry_lsn)
        act->entry_lsn = record->lsn;
}

void sim_witness_wrote(struct sim_witness *w, const struct sim_machine *m,
                       const struct sim_record *record)
{
    struct watched *r = &w->watched[m->replica];
    struct slice bytes = slice_of(record->bytes, record->len);
    struct ledger_certificate certificate;
    struct ledger_signed mark;
    struct error e;
    uint8_t hash[HASH_LEN];

    switch (record->kind) {
    case LEDGER_RECORD_ENTRY:
    case SIM_KIND_HISTORY: /* after a restart it may be signed */ entry_wrote(w, m, record); break;
    case LEDGER_RECORD_SIGNED:
        if (ledger_signed_decode(bytes, &mark, &e) == 0)
            act_of(r, mark.hash)->mark_lsn = record->lsn;
        break;
    case LEDGER_RECORD_CERTIFICATE:
        if (ledger_certificate_decode(bytes, &certificate, &e) == 0) {
            struct act *act;

            ledger_pp_hash(&certificate.pp, hash);
            act = act_of(r, hash);
            if (!act->certificate_lsn)
                act->certificate_lsn = record->lsn;
        }
        break;
    case LEDGER_RECORD_VIEW_CHANGE: /* holds what is signed, as good as its mark */
        ledger_view_change_hash_bytes(bytes, hash);
        act_of(r, hash)->mark_lsn = record->lsn;
        break;
    case LEDGER_RECORD_NEW_VIEW: new_view_wrote(w, m, record); break;
    default: break;
    }
}

/* The nonces that committed the last P batches are in nobody's log: after a stop a replica knows of
 * those only whose evidence its ledger holds. */
static void floor_lower(struct watched *r, const struct sim_machine *m)
{
    struct sim_batch later;

    for (uint64_t s = 0; s < r->floors; s++)
        if (!sim_machine_batch(m, s + m->cluster->genesis.pipeline, &later))
            memset(r->floor[s], 0, sizeof r->floor[s]);
}

/* What a stop has taken counts as never written. */
void sim_witness_found(struct sim_witness *w, const struct sim_machine *m)
{
    struct watched *r = &w->watched[m->replica];

    for (size_t i = 0; i < r->act.capacity; i++)
        if (r->act.used[i]) {
            struct act *act = (struct act *)(r->act.value + i * r->act.value_len);

            act->mark_lsn = act->entry_lsn = act->certificate_lsn = 0;
        }
    for (size_t i = 0; i < m->disk.count; i++)
        sim_witness_wrote(w, m, &m->disk.record[i]);
    floor_lower(r, m);
    /* A NewView that was lost before anything left that rests on it was not followed. */
    for (size_t i = 0; i < r->follows; i++)
        if (!r->follow[i].relied && !act_of(r, r->follow[i].hash)->entry_lsn)
            r->follow[i--] = r->follow[--r->follows];
}

/* ---- what is sent ---- */

static bool is_durable(const struct sim_machine *m, uint64_t lsn)
{
    return lsn && lsn <= m->disk.durable_lsn;
}

static struct statement *statement_find(struct watched *r, uint64_t view, uint64_t seqno)
{
    for (size_t i = r->statements; i--;)
        if (r->statement[i].view == view && r->statement[i].seqno == seqno)
            return &r->statement[i];
    return NULL;
}

/* The signer's chain of this view: from pp_hash back it must meet what the replica signed last
 * before s in the view. */
static void chain_check(struct sim_witness *w, unsigned replica, const struct statement *now)
{
    struct watched *r = &w->watched[replica];
    const struct statement *below = NULL;
    const uint8_t *hash = now->pp_hash;
    const struct pp_seen *seen;

    for (size_t i = 0; i < r->statements; i++)
        if (r->statement[i].view == now->view && r->statement[i].seqno < now->seqno &&
            (!below || r->statement[i].seqno > below->seqno))
            below = &r->statement[i];
    if (!below)
        return;
    while ((seen = sim_table_get(&w->pp, hash)) && seen->view == now->view &&
           seen->seqno > below->seqno)
        hash = seen->previous;
    if (memcmp(hash, below->pp_hash, HASH_LEN) != 0)
        sim_world_violated(&w->cluster->world,
                           "I1: replica %u, correct, signed (%llu, %llu) on a chain without its "
                           "own (%llu, %llu)",
                           replica, (unsigned long long)now->view, (unsigned long long)now->seqno,
                           (unsigned long long)below->view, (unsigned long long)below->seqno);
}

static void signature_check(struct sim_witness *w, const struct sim_machine *m, const char *what,
                            uint64_t view, uint64_t seqno, const uint8_t *pp_hash,
                            const uint8_t *signed_hash)
{
    struct watched *r = &w->watched[m->replica];
    const struct act *batch = act_of(r, pp_hash);
    uint64_t mark = batch->mark_lsn, entry = batch->entry_lsn;
    const struct act *signature = act_of(r, signed_hash);
    struct sim_world *world = &w->cluster->world;

    if (!signature->signed_order)
        sim_world_violated(world, "replica %u sent a %s (%llu, %llu) that it never signed",
                           m->replica, what, (unsigned long long)view, (unsigned long long)seqno);
    if (r->change_view > view && signature->signed_order > r->change_order)
        sim_world_violated(world,
                           "I2: replica %u signed a %s (%llu, %llu) after its ViewChange for %llu",
                           m->replica, what, (unsigned long long)view, (unsigned long long)seqno,
                           (unsigned long long)r->change_view);
    if (!w->cluster->async && (!is_durable(m, mark) || !is_durable(m, entry)))
        sim_world_violated(world,
                           "I9: replica %u sent a %s (%llu, %llu) before its mark and entry "
                           "(records %llu, %llu) were durable (%llu are)",
                           m->replica, what, (unsigned long long)view, (unsigned long long)seqno,
                           (unsigned long long)mark, (unsigned long long)entry,
                           (unsigned long long)m->disk.durable_lsn);
}

static void statement_sent(struct sim_witness *w, const struct sim_machine *m, const char *what,
                           uint64_t view, uint64_t seqno, const uint8_t *pp_hash,
                           const uint8_t *signed_hash)
{
    struct watched *r = &w->watched[m->replica];
    struct statement *there = statement_find(r, view, seqno);
    struct statement now = {.view = view, .seqno = seqno};

    if (there) {
        if (memcmp(there->pp_hash, pp_hash, HASH_LEN) != 0)
            sim_world_violated(&w->cluster->world,
                               "I1: replica %u, correct, signed two batches at (%llu, %llu)",
                               m->replica, (unsigned long long)view, (unsigned long long)seqno);
        return;
    }
    memcpy(now.pp_hash, pp_hash, HASH_LEN);
    if (votes_find(r->follow, r->follows, view))
        votes_find(r->follow, r->follows, view)->relied = true;
    signature_check(w, m, what, view, seqno, pp_hash, signed_hash);
    chain_check(w, m->replica, &now);
    if (r->statements == r->statement_capacity) {
        r->statement_capacity = r->statement_capacity ? 2 * r->statement_capacity : 64;
        r->statement = sim_reallocate(r->statement, r->statement_capacity * sizeof *r->statement);
    }
    r->statement[r->statements++] = now;
}

static void prepare_sent(struct sim_witness *w, const struct sim_machine *m, struct slice message)
{
    struct ledger_prepare prepare;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_prepare_message_decode(message, &prepare, &e) != 0) {
        sim_world_violated(&w->cluster->world, "replica %u sent a Prepare that does not decode: %s",
                           m->replica, e.text);
        return;
    }
    if (prepare.replica != m->replica)
        return; /* passed on */
    ledger_prepare_hash(&prepare, hash);
    statement_sent(w, m, "Prepare", prepare.view, prepare.seqno, prepare.pp_hash, hash);
}

static void pre_prepare_sent(struct sim_witness *w, const struct sim_machine *m,
                             struct slice message)
{
    struct ledger_pre_prepare_message pre;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_pre_prepare_decode(message, &pre, &e) != 0) {
        sim_world_violated(&w->cluster->world, "replica %u sent a pp that does not decode: %s",
                           m->replica, e.text);
        return;
    }
    pp_note(w, &pre.pp);
    if (pre.pp.view % w->cluster->replicas != m->replica)
        return;
    ledger_pp_hash(&pre.pp, hash);
    statement_sent(w, m, "pp", pre.pp.view, pre.pp.seqno, hash, hash);
}

static bool tip_below(uint64_t view, uint64_t seqno, uint64_t than_view, uint64_t than_seqno)
{
    return view != than_view ? view < than_view : seqno < than_seqno;
}

/* Certificates of P batches in a row of one view, this the last of them, are durable: a ViewChange
 * that reports them needs no NewView. */
static bool row_is_durable(struct sim_witness *w, const struct sim_machine *m,
                           const uint8_t *pp_hash, uint64_t view)
{
    for (uint32_t i = 0; i < w->cluster->genesis.pipeline; i++) {
        const struct pp_seen *seen = sim_table_get(&w->pp, pp_hash);

        if (!seen || seen->view != view ||
            !is_durable(m, act_of(&w->watched[m->replica], pp_hash)->certificate_lsn))
            return false;
        pp_hash = seen->previous;
    }
    return true;
}

/* A nonce for (view, s) leaves the replica. */
static void nonce_sent(struct sim_witness *w, const struct sim_machine *m, uint64_t view,
                       uint64_t seqno)
{
    struct watched *r = &w->watched[m->replica];
    struct statement *statement = statement_find(r, view, seqno);
    struct view_vote *follow = votes_find(r->follow, r->follows, view);
    struct sim_world *world = &w->cluster->world;
    uint64_t certificate = 0, new_view = 0;

    if (!statement) {
        sim_world_violated(world,
                           "replica %u opened a nonce at (%llu, %llu), where it sent nothing",
                           m->replica, (unsigned long long)view, (unsigned long long)seqno);
        return;
    }
    certificate = act_of(r, statement->pp_hash)->certificate_lsn;
    new_view = follow ? act_of(r, follow->hash)->mark_lsn : 0;
    if (!w->cluster->async &&
        (!is_durable(m, certificate) ||
         (view && !is_durable(m, new_view) && !row_is_durable(w, m, statement->pp_hash, view))))
        sim_world_violated(world,
                           "I4: replica %u opened its nonce at (%llu, %llu) before the certificate "
                           "(record %llu) and NewView were durable (%llu are)",
                           m->replica, (unsigned long long)view, (unsigned long long)seqno,
                           (unsigned long long)certificate,
                           (unsigned long long)m->disk.durable_lsn);
    for (size_t i = 0; i < r->changes; i++)
        if (r->change[i].view > view &&
            tip_below(r->change[i].tip_view, r->change[i].tip_seqno, view, seqno))
            sim_world_violated(world,
                               "I4: replica %u opened its nonce at (%llu, %llu) after a ViewChange "
                               "for %llu with tip (%llu, %llu): VC_OMIT on a correct replica",
                               m->replica, (unsigned long long)view, (unsigned long long)seqno,
                               (unsigned long long)r->change[i].view,
                               (unsigned long long)r->change[i].tip_view,
                               (unsigned long long)r->change[i].tip_seqno);
    if (tip_below(r->nonce_view, r->nonce_seqno, view, seqno)) {
        r->nonce_view = view;
        r->nonce_seqno = seqno;
    }
}

/* ViewChanges and NewViews of one view are the same bytes each time. False: seen before. */
static bool vote_is_new(struct sim_witness *w, const struct sim_machine *m, const char *what,
                        struct view_vote *votes, size_t count, uint64_t view, const uint8_t *hash)
{
    struct view_vote *vote = votes_find(votes, count, view);

    if (vote && memcmp(vote->hash, hash, HASH_LEN) != 0)
        sim_world_violated(&w->cluster->world,
                           "I1: replica %u, correct, signed two %ss for view %llu", m->replica,
                           what, (unsigned long long)view);
    return !vote;
}

static void vote_durable(struct sim_witness *w, const struct sim_machine *m, const char *what,
                         uint64_t view, const uint8_t *hash)
{
    const struct act *act = act_of(&w->watched[m->replica], hash);

    if (!is_durable(m, act->mark_lsn))
        sim_world_violated(&w->cluster->world,
                           "I9: replica %u sent its %s for view %llu before the mark was durable",
                           m->replica, what, (unsigned long long)view);
}

static void view_change_sent(struct sim_witness *w, const struct sim_machine *m,
                             struct slice message)
{
    static struct ledger_view_change vc; /* large; one thread */
    struct watched *r = &w->watched[m->replica];
    struct view_vote *vote;
    struct slice bytes;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_view_change_message_decode(message, &vc, &bytes, &e) != 0) {
        sim_world_violated(&w->cluster->world,
                           "replica %u sent a ViewChange that does not decode: %s", m->replica,
                           e.text);
        return;
    }
    if (vc.replica != m->replica)
        return;
    ledger_view_change_hash_bytes(bytes, hash);
    if (!vote_is_new(w, m, "ViewChange", r->change, r->changes, vc.new_view, hash))
        return;
    vote_durable(w, m, "ViewChange", vc.new_view, hash);
    vote = votes_add(&r->change, &r->changes);
    vote->view = vc.new_view;
    memcpy(vote->hash, hash, HASH_LEN);
    if (vc.certificate_count) {
        const struct ledger_pp *tip = &vc.certificates[vc.certificate_count - 1].pp;

        vote->tip_view = tip->view;
        vote->tip_seqno = tip->seqno;
        if (vc.has_new_view && vc.nv.view == tip->view && vc.nv.tip_seqno > tip->seqno)
            vote->tip_seqno = vc.nv.tip_seqno;
    }
    if (vc.new_view > r->change_view) {
        r->change_view = vc.new_view;
        r->change_order = act_of(r, hash)->signed_order;
    }
    if (r->nonce_view < vc.new_view &&
        tip_below(vote->tip_view, vote->tip_seqno, r->nonce_view, r->nonce_seqno))
        sim_world_violated(&w->cluster->world,
                           "I4: the ViewChange of replica %u for view %llu has tip (%llu, %llu), "
                           "yet its nonce at (%llu, %llu) is open: VC_OMIT on a correct replica",
                           m->replica, (unsigned long long)vc.new_view,
                           (unsigned long long)vote->tip_view, (unsigned long long)vote->tip_seqno,
                           (unsigned long long)r->nonce_view, (unsigned long long)r->nonce_seqno);
}

static void new_view_sent(struct sim_witness *w, const struct sim_machine *m, struct slice message)
{
    static struct ledger_new_view_message nv; /* large; one thread */
    struct watched *r = &w->watched[m->replica];
    struct view_vote *vote;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_new_view_message_decode(message, &nv, &e) != 0) {
        sim_world_violated(&w->cluster->world, "replica %u sent a NewView that does not decode: %s",
                           m->replica, e.text);
        return;
    }
    if (nv.nv.view % w->cluster->replicas != m->replica)
        return;
    ledger_new_view_hash(&nv.nv, hash);
    if (!vote_is_new(w, m, "NewView", r->lead, r->leads, nv.nv.view, hash))
        return;
    vote_durable(w, m, "NewView", nv.nv.view, hash);
    vote = votes_add(&r->lead, &r->leads);
    vote->view = nv.nv.view;
    memcpy(vote->hash, hash, HASH_LEN);
}

void sim_witness_sent(struct sim_witness *w, const struct sim_machine *m, struct slice message)
{
    struct ledger_commit commit;
    struct ledger_reply reply;
    struct error e;

    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE: pre_prepare_sent(w, m, message); break;
    case LEDGER_MESSAGE_PREPARE: prepare_sent(w, m, message); break;
    case LEDGER_MESSAGE_COMMIT:
        if (ledger_commit_message_decode(message, &commit, &e) == 0 && commit.replica == m->replica)
            nonce_sent(w, m, commit.view, commit.seqno);
        break;
    case LEDGER_MESSAGE_REPLY:
        if (ledger_reply_decode(message, &reply, &e) == 0 && reply.replica == m->replica)
            nonce_sent(w, m, reply.view, reply.seqno);
        break;
    case LEDGER_MESSAGE_VIEW_CHANGE: view_change_sent(w, m, message); break;
    case LEDGER_MESSAGE_NEW_VIEW: new_view_sent(w, m, message); break;
    default: break;
    }
}

/* ---- what is committed ---- */

static struct content *content_at(struct sim_witness *w, uint64_t s)
{
    if (s >= w->contents) {
        size_t wanted = w->contents ? w->contents : 128;

        while (wanted <= s)
            wanted *= 2;
        w->content = sim_reallocate(w->content, wanted * sizeof *w->content);
        memset(w->content + w->contents, 0, (wanted - w->contents) * sizeof *w->content);
        w->contents = wanted;
    }
    return &w->content[s];
}

static void content_settle(struct sim_witness *w, const char *who, unsigned number, uint64_t s,
                           const struct content *now)
{
    struct content *there = content_at(w, s);

    if (!there->settled) {
        *there = *now;
        there->settled = true;
        return;
    }
    if (memcmp(there->g, now->g, HASH_LEN) != 0 || there->first_index != now->first_index ||
        there->count != now->count || there->kind != now->kind)
        sim_world_violated(&w->cluster->world,
                           "I6: %s %u holds batch %llu with other contents than were committed "
                           "(kind %u, %u transactions from %llu; before: kind %u, %u from %llu)",
                           who, number, (unsigned long long)s, now->kind, now->count,
                           (unsigned long long)now->first_index, there->kind, there->count,
                           (unsigned long long)there->first_index);
}

/* What one replica committed stays, however many others lie. */
static void floor_check(struct sim_witness *w, const struct sim_machine *m, uint64_t s,
                        const uint8_t *g)
{
    static const uint8_t unknown[HASH_LEN];
    struct watched *r = &w->watched[m->replica];

    if (s >= r->floors) {
        r->floor = sim_reallocate(r->floor, (s + 1) * sizeof *r->floor);
        memset(r->floor[r->floors], 0, (s + 1 - r->floors) * sizeof *r->floor);
        r->floors = s + 1;
    }
    if (memcmp(r->floor[s], unknown, HASH_LEN) == 0)
        memcpy(r->floor[s], g, HASH_LEN);
    else if (memcmp(r->floor[s], g, HASH_LEN) != 0)
        sim_world_violated(&w->cluster->world,
                           "I7: replica %u changed the contents of batch %llu, which it had "
                           "committed",
                           m->replica, (unsigned long long)s);
}

static void batch_check(struct sim_witness *w, const struct sim_machine *m, uint64_t s)
{
    struct sim_batch batch;
    struct content now;

    if (!sim_machine_batch(m, s, &batch)) {
        if (!sim_machine_is_hollow(m))
            sim_world_violated(&w->cluster->world,
                               "I7: replica %u committed batch %llu and no longer has it",
                               m->replica, (unsigned long long)s);
        return;
    }
    now = (struct content){.first_index = batch.pp.first_index,
                           .count = batch.pp.count,
                           .kind = (uint8_t)batch.pp.kind};
    memcpy(now.g, batch.pp.batch_root, HASH_LEN);
    if (!w->cluster->async)
        floor_check(w, m, s, now.g);
    if (!sim_cluster_overrun(w->cluster))
        content_settle(w, "replica", m->replica, s, &now);
}

void sim_witness_moved(struct sim_witness *w, const struct sim_machine *m,
                       const struct ledger_status *before)
{
    struct watched *r = &w->watched[m->replica];
    const struct ledger_status *now = &m->status;
    uint64_t from;

    if (now->phase == LEDGER_RECOVERING)
        return;
    /* Who has left the view, abstains in it or takes history over passes through it only: what it
     * follows is seen when it takes part. */
    bool takes_part = now->view_change_sent <= now->view && now->phase == LEDGER_NORMAL;
    if (takes_part && (before->view != now->view || now->s_last < before->s_last ||
                       before->phase != LEDGER_NORMAL))
        follow_check(w, m, now->view);
    /* After a view change the batches that were committed are looked at again. */
    if (before->view != now->view || now->s_last < before->s_last)
        from = r->committed > 16 ? r->committed - 16 : 1;
    else
        from = r->committed + 1;
    for (uint64_t s = from; s <= now->s_committed; s++)
        batch_check(w, m, s);
    if (now->s_committed > r->committed)
        r->committed = now->s_committed;
}

void sim_witness_receipt(struct sim_witness *w, const struct ledger_receipt *receipt)
{
    struct content now = {.first_index = receipt->pp.first_index,
                          .count = receipt->pp.count,
                          .kind = (uint8_t)receipt->pp.kind};

    if (sim_cluster_overrun(w->cluster))
        return;
    memcpy(now.g, receipt->pp.batch_root, HASH_LEN);
    content_settle(w, "a receipt of batch", (unsigned)receipt->pp.seqno, receipt->pp.seqno, &now);
}

bool sim_witness_settled(const struct sim_witness *w, uint64_t s, uint8_t g[static 32])
{
    if (s >= w->contents || !w->content[s].settled)
        return false;
    memcpy(g, w->content[s].g, HASH_LEN);
    return true;
}
