/*
 * The judge looks at a run that has ended: the ledgers of the correct machines, entry by entry, the
 * clients' receipts, and the history of what they asked and heard.
 *
 *   ledgers   One pp at (view, s) on two machines: all entries before it are equal. Every pp's M is
 *             the root of what stands before it (I5), its G that of its transactions; s and indices
 *             have no gaps, views never fall, prev_pp chains, evidence opens its commitments. The
 *             longest passes the product's own check.
 *
 *   money     Replaying a committed ledger in the simulator's own bank gives every status and
 *             output; the sum of all accounts changes by what the calls brought.
 *
 *   receipts  Every one stands in the ledger of each correct machine that committed its batch.
 *
 *   history   Linearizable, and in the order of the indices: what ended before another began has
 *             the smaller index.
 *
 * What a machine left out when it went on from a checkpoint of others is looked at where it is.
 */
#include "cluster.h"
#include "ledger/check/checker.h"
#include "table.h"

#include <stdlib.h>

/* Steps of the search for a linearization; histories here take a few thousand. */
#define JUDGE_BUDGET 3000000

static bool is_judged(const struct sim_machine *m)
{
    return m->correct && m->core;
}

static uint64_t committed_of(const struct sim_machine *m)
{
    return m->status.s_committed;
}

/* ---- two ledgers ---- */

/* The greatest batch that stands with one pp on both; its position. 0: none. */
static uint64_t batch_shared(const struct sim_machine *a, const struct sim_machine *b,
                             uint64_t *position)
{
    uint64_t last = a->status.s_last < b->status.s_last ? a->status.s_last : b->status.s_last;

    for (uint64_t s = last; s; s--) {
        struct sim_batch of_a, of_b;

        if (sim_machine_batch(a, s, &of_a) && sim_machine_batch(b, s, &of_b) &&
            memcmp(of_a.pp_hash, of_b.pp_hash, HASH_LEN) == 0) {
            *position = of_a.position;
            return s;
        }
    }
    return 0;
}

static void ledgers_compare(struct sim_cluster *c, const struct sim_machine *a,
                            const struct sim_machine *b)
{
    uint64_t position, s = batch_shared(a, b, &position);

    for (uint64_t i = 0; s && i <= position; i++) {
        const struct sim_record *x = sim_machine_entry(a, i), *y = sim_machine_entry(b, i);

        if (!x || !y)
            continue;
        /* Of a pp or NewView each may hold another valid signature. */
        size_t told = x->len;
        if (x->type == LEDGER_ENTRY_PP || x->type == LEDGER_ENTRY_NEW_VIEW)
            told -= ED25519_SIGNATURE_LEN;
        if (x->type != y->type || x->len != y->len || memcmp(x->bytes, y->bytes, told) != 0) {
            sim_world_violated(&c->world,
                               "replicas %u and %u share the pp of batch %llu, yet entry %llu "
                               "before it differs",
                               a->replica, b->replica, (unsigned long long)s,
                               (unsigned long long)i);
            return;
        }
    }
}

/* ---- one ledger, entry by entry ---- */

struct walk {
    struct sim_cluster *cluster;
    const struct sim_machine *machine;
    struct merkle_frontier tree, batch; /* M so far; G so far */
    struct ledger_pp pp;                /* the last */
    uint8_t pp_hash[HASH_LEN], new_view_hash[HASH_LEN];
    bool after_new_view;
    uint64_t view, seqno, next_index, in_batch;
    struct sim_bank bank;
    int64_t total;                                    /* that the calls so far account for */
    bool replay;                                      /* within what is committed */
    struct ledger_pp recent[2 * LEDGER_PIPELINE_MAX]; /* by s, for the evidence that follows */
    struct sim_table executed;                        /* (reqno, client) */
};

static void walk_bad(struct walk *w, uint64_t position, const char *why)
{
    sim_world_violated(&w->cluster->world, "the ledger of replica %u breaks at entry %llu: %s",
                       w->machine->replica, (unsigned long long)position, why);
}

/* The batch is complete: G is what its transactions make. */
static const char *walk_batch_end(struct walk *w)
{
    struct merkle_hash root;

    if (!w->seqno)
        return NULL;
    if (w->in_batch != w->pp.count)
        return "a batch has another number of transactions than its pp says";
    if (w->pp.kind != LEDGER_KIND_NORMAL)
        return NULL;
    root = merkle_frontier_root(&w->batch);
    return memcmp(root.bytes, w->pp.batch_root, HASH_LEN) == 0
               ? NULL
               : "G is not the root of the batch's transactions";
}

static const char *walk_pp(struct walk *w, struct slice payload)
{
    struct merkle_hash root = merkle_frontier_root(&w->tree);
    const char *bad = walk_batch_end(w);
    struct ledger_pp pp;
    struct error e;

    if (bad)
        return bad;
    if (ledger_pp_decode_signed(payload, &pp, &e) != 0)
        return "a pp that does not decode";
    if (pp.seqno != w->seqno + 1)
        return "batches are not consecutive";
    if (pp.view < w->view)
        return "views fall";
    if (memcmp(pp.ledger_root, root.bytes, HASH_LEN) != 0)
        return "I5: M is not the root of what stands before it";
    if (pp.first_index != w->next_index)
        return "indices are not consecutive";
    if (w->seqno &&
        memcmp(pp.previous, w->after_new_view ? w->new_view_hash : w->pp_hash, HASH_LEN) != 0)
        return "prev_pp is not the hash of what stands before";
    w->pp = pp;
    w->recent[pp.seqno % (2 * LEDGER_PIPELINE_MAX)] = pp;
    w->view = pp.view;
    w->seqno = pp.seqno;
    w->in_batch = 0;
    w->after_new_view = false;
    memset(&w->batch, 0, sizeof w->batch);
    ledger_pp_hash(&pp, w->pp_hash);
    w->replay = w->seqno <= committed_of(w->machine);
    return NULL;
}

static const char *walk_call(struct walk *w, const struct ledger_tx *tx,
                             const struct ledger_body *body)
{
    struct sim_bank_call call = {.proc = body->request.proc};

    if (body->request.proc == PROCEDURE_NO_OP)
        return NULL;
    if (body->request.args.len > sizeof call.args)
        return "a call that no client made";
    call.args_len = (uint32_t)body->request.args.len;
    memcpy(call.args, body->request.args.data, call.args_len);
    sim_bank_apply(&w->bank, &call);
    w->total += sim_bank_brought(&call);
    if (tx->status != call.status || tx->output.len != call.output_len ||
        memcmp(tx->output.data, call.output, call.output_len) != 0)
        return "a transaction's status or output is not what executing it gives";
    return sim_bank_total(&w->bank) == w->total ? NULL : "money was made or lost";
}

static const char *walk_tx(struct walk *w, struct slice payload)
{
    struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, payload);
    struct ledger_body body;
    struct ledger_tx tx;
    struct error e;
    uint8_t asked[HASH_LEN];
    bool fresh;

    if (ledger_tx_decode(payload, &tx, &e) != 0 || ledger_body_decode(tx.body, &body, &e) != 0)
        return "a transaction that does not decode";
    if (tx.index != w->next_index || !w->seqno)
        return "a transaction out of place";
    if (body.request.min_index >= tx.index)
        return "min_index is not below the index";
    memcpy(asked, &body.request.reqno, 8);
    memcpy(asked + 8, body.request.client, 24);
    sim_table_put(&w->executed, asked, &fresh);
    if (!fresh)
        return "a request was executed twice";
    w->next_index++;
    w->in_batch++;
    if (merkle_frontier_append(&w->batch, &leaf, &e) != 0)
        return "a batch too large";
    return w->replay ? walk_call(w, &tx, &body) : NULL;
}

static const char *walk_evidence(struct walk *w, struct slice payload)
{
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    struct ledger_evidence evidence;
    struct error e;
    int count;

    if (ledger_evidence_decode(payload, &evidence, &e) != 0)
        return "evidence that does not decode";
    if (evidence.seqno + w->cluster->genesis.pipeline != w->seqno + 1)
        return "evidence for another batch than s - P";
    count = ledger_evidence_check(&w->cluster->genesis.configuration,
                                  &w->recent[evidence.seqno % (2 * LEDGER_PIPELINE_MAX)], &evidence,
                                  work, &e);
    if (count < 0)
        return "evidence that does not fit its batch";
    for (int i = 0; i < count; i++)
        if (!sim_verify(&w->cluster->signatures, work[i].public_key, work[i].hash,
                        work[i].signature))
            return "evidence with a signature that is not valid";
    return NULL;
}

static const char *walk_entry(struct walk *w, const struct sim_record *r)
{
    struct slice payload = slice_of(r->bytes, r->len);
    struct ledger_new_view nv;
    struct error e;

    switch (r->type) {
    case LEDGER_ENTRY_PP: return walk_pp(w, payload);
    case LEDGER_ENTRY_TX: return walk_tx(w, payload);
    case LEDGER_ENTRY_EVIDENCE: return walk_evidence(w, payload);
    case LEDGER_ENTRY_NEW_VIEW:
        if (ledger_new_view_decode_signed(payload, &nv, &e) != 0)
            return "a NewView that does not decode";
        ledger_new_view_hash(&nv, w->new_view_hash);
        w->after_new_view = true;
        return nv.view > w->view ? NULL : "NewViews do not ascend";
    default: return NULL;
    }
}

static void ledger_walk(struct sim_cluster *c, const struct sim_machine *m)
{
    struct walk *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    *w = (struct walk){.cluster = c, .machine = m, .next_index = 1, .executed = {.value_len = 1}};
    sim_bank_open(&w->bank, c->bank_groups);
    w->total = sim_bank_total(&w->bank);
    for (uint64_t position = 0; position < m->entries && !c->world.violation[0]; position++) {
        const struct sim_record *r = sim_machine_entry(m, position);
        struct merkle_hash leaf =
            ledger_entry_leaf((enum ledger_entry_type)r->type, slice_of(r->bytes, r->len));
        const char *bad;
        struct error e;

        /* Entries of a batch that is being received may be missing at the end only. */
        bad = r->position == position ? walk_entry(w, r) : "a record at another's place";
        if (!bad && merkle_frontier_append(&w->tree, &leaf, &e) != 0)
            bad = "the tree is full";
        if (bad)
            walk_bad(w, position, bad);
    }
    sim_table_close(&w->executed);
    free(w);
}

/* The same by the product's own check (`atoll ledger check`): it knows nothing of replicas, and
 * holds every NewView against the ViewChanges that it rests on. */
static void ledger_check(struct sim_cluster *c, const struct sim_machine *m)
{
    struct ledger_checker *checker;
    struct error e;
    int rc = 0;

    sim_signatures_judge(&c->signatures);
    if (ledger_checker_create(slice_of_buffer(&c->genesis_bytes), &checker, &e) != 0)
        abort();
    for (uint64_t position = 0; position < m->entries && rc == 0; position++) {
        const struct sim_record *r = sim_machine_entry(m, position);

        rc = ledger_checker_entry(checker, r->type, slice_of(r->bytes, r->len), &e);
    }
    if (rc == 0)
        rc = ledger_checker_finish(checker, &e);
    if (rc != 0)
        sim_world_violated(&c->world, "the ledger of replica %u does not pass `ledger check`: %s",
                           m->replica, e.text);
    ledger_checker_destroy(checker);
}

/* ---- receipts ---- */

struct receipt_check {
    struct sim_cluster *cluster;
    const struct sim_machine *machine;
};

static void receipt_find(void *ctx, struct slice bytes)
{
    const struct receipt_check *check = ctx;
    struct ledger_receipt receipt;
    struct sim_batch batch;
    const struct sim_record *entry;
    struct error e;

    if (ledger_receipt_decode(bytes, &receipt, &e) != 0)
        abort();
    if (receipt.pp.seqno > committed_of(check->machine))
        return;
    if (!sim_machine_batch(check->machine, receipt.pp.seqno, &batch)) {
        if (!sim_machine_is_hollow(check->machine))
            sim_world_violated(&check->cluster->world,
                               "replica %u committed batch %llu and lacks it",
                               check->machine->replica, (unsigned long long)receipt.pp.seqno);
        return;
    }
    entry = sim_machine_entry(check->machine, batch.position + 1 + receipt.position);
    if (!entry && sim_machine_is_hollow(check->machine))
        return; /* of the history before a checkpoint the batch has come, but not all of it */
    if (!entry || entry->type != LEDGER_ENTRY_TX || entry->len != receipt.tx_bytes.len ||
        memcmp(entry->bytes, receipt.tx_bytes.data, entry->len) != 0)
        sim_world_violated(&check->cluster->world,
                           "a client holds a receipt for transaction %llu, which is not in the "
                           "ledger of replica %u",
                           (unsigned long long)receipt.tx.index, check->machine->replica);
}

static void receipts_find(struct sim_cluster *c, const struct sim_machine *m)
{
    struct receipt_check check = {.cluster = c, .machine = m};

    for (unsigned i = 0; i < c->clients; i++)
        sim_client_receipts(c->client[i], receipt_find, &check);
}

/* ---- history ---- */

/* What ended before another began stands before it. */
static void order_judge(struct sim_cluster *c, const struct sim_operation *operation, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            const struct sim_bank_call *first = operation[i].call, *second = operation[j].call;

            if (operation[i].returned_us < operation[j].invoked_us &&
                operation[j].returned_us != SIM_NEVER && first->index >= second->index) {
                sim_world_violated(
                    &c->world, "transaction %llu ended before transaction %llu began",
                    (unsigned long long)first->index, (unsigned long long)second->index);
                return;
            }
        }
}

/* The place of every request in a ledger. */
static void places_find(const struct sim_machine *m, struct sim_table *places)
{
    for (uint64_t position = 0; position < m->entries; position++) {
        const struct sim_record *r = sim_machine_entry(m, position);
        struct ledger_body body;
        struct ledger_tx tx;
        struct error e;
        uint8_t hash[HASH_LEN];
        bool fresh;

        if (!r || r->type != LEDGER_ENTRY_TX ||
            ledger_tx_decode(slice_of(r->bytes, r->len), &tx, &e) != 0 ||
            ledger_body_decode(tx.body, &body, &e) != 0)
            continue;
        ledger_request_hash(body.fields, hash);
        memcpy(sim_table_put(places, hash, &fresh), &tx.index, sizeof tx.index);
    }
}

static uint64_t place_of(void *ctx, const uint8_t req_hash[static 32])
{
    const void *found = sim_table_get(ctx, req_hash);
    uint64_t index = 0;

    if (found)
        memcpy(&index, found, sizeof index);
    return index;
}

/* The correct machine that committed most; NULL: none is up. */
static const struct sim_machine *machine_ahead(const struct sim_cluster *c)
{
    const struct sim_machine *best = NULL;

    for (unsigned i = 0; i < c->machines; i++)
        if (is_judged(&c->machine[i]) && !sim_machine_is_hollow(&c->machine[i]) &&
            (!best || committed_of(&c->machine[i]) > committed_of(best)))
            best = &c->machine[i];
    return best;
}

static void history_judge(struct sim_cluster *c)
{
    size_t room = (size_t)SIM_CLIENTS_MAX * SIM_REQUESTS_MAX, count = 0;
    struct sim_operation *operations = sim_allocate(room * sizeof *operations);
    struct sim_model model = sim_bank_model();
    struct sim_table places = {.value_len = sizeof(uint64_t)};
    const struct sim_machine *ahead = machine_ahead(c);
    unsigned group = 0;

    if (ahead)
        places_find(ahead, &places);
    for (unsigned i = 0; i < c->clients; i++)
        count +=
            sim_client_history(c->client[i], operations + count, room - count, place_of, &places);
    order_judge(c, operations, count);
    switch (sim_linearize(operations, count, &model, JUDGE_BUDGET, &group)) {
    case SIM_NOT_LINEARIZABLE:
        sim_world_violated(&c->world,
                           "what the clients heard of accounts of group %u is not "
                           "linearizable",
                           group);
        break;
    case SIM_UNDECIDED: sim_covered(&c->coverage, SIM_SECTION_EVENT, SIM_EVENT_UNDECIDED); break;
    default: break;
    }
    sim_table_close(&places);
    free(operations);
}

/* ---- the end ---- */

/* After everything was healed nobody waits, and those who are up have the whole ledger. */
static void liveness_judge(struct sim_cluster *c)
{
    for (unsigned i = 0; i < c->clients; i++)
        if (!sim_client_done(c->client[i])) {
            sim_world_violated(&c->world,
                               "a request of client %u did not finish after all faults "
                               "were healed",
                               i);
            return;
        }
    for (unsigned i = 0; i < c->machines; i++)
        if (is_judged(&c->machine[i]) && sim_machine_is_hollow(&c->machine[i]))
            sim_world_violated(&c->world,
                               "replica %u has not fetched the ledger before the checkpoint that "
                               "it took over",
                               i);
}

void sim_judge(struct sim_cluster *c)
{
    struct sim_machine *m = c->machine;
    const struct sim_machine *ahead = machine_ahead(c);

    for (unsigned i = 0; i < c->machines; i++)
        if (is_judged(&m[i]) && !sim_machine_is_hollow(&m[i]))
            ledger_walk(c, &m[i]);
    if (ahead && !c->world.violation[0])
        ledger_check(c, ahead);
    if (c->world.violation[0] || sim_cluster_overrun(c))
        return;
    for (unsigned i = 0; i < c->machines; i++) {
        if (!is_judged(&m[i]))
            continue;
        receipts_find(c, &m[i]);
        for (unsigned j = 0; j < i; j++)
            if (is_judged(&m[j]))
                ledgers_compare(c, &m[i], &m[j]);
    }
    history_judge(c);
    if (c->options.liveness)
        liveness_judge(c);
}
