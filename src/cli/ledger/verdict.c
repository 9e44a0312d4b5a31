/* See verdict.h. */
#include "cli/ledger/verdict.h"

#include "cli/bench/measure.h"
#include "cli/ledger/interruption.h"
#include "cli/ledger/source.h"
#include "ledger/check/checker.h"
#include "ledger/kv/client_table.h"
#include "ledger/kv/smallbank.h"
#include "ledger/object/bare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int source_of(const struct cluster *c, uint32_t number, char path[static 640],
                     struct source *s, struct error *e)
{
    snprintf(path, 640, "%s/replica-%u", c->directory, number);
    return source_open(path, s, e);
}

/* ---- the rules ---- */

static int checker_take(void *context, uint64_t position, uint8_t type, struct slice payload,
                        struct error *e)
{
    (void)position;
    int rc = interruption_check(e);
    return rc == 0 ? ledger_checker_entry(context, type, payload, e) : rc;
}

static int rules_check(const struct source *s, struct verdict *v, struct error *e)
{
    struct ledger_checker *checker;
    struct ledger_checker_counts counts;
    int rc = ledger_checker_create(slice_of_buffer(&s->genesis_bytes), &checker, e);
    if (rc != 0)
        return rc;
    int64_t begin = measure_thread_ns();
    rc = source_visit(s, 0, UINT64_MAX, NULL, checker_take, checker, e);
    if (rc == 0)
        rc = ledger_checker_finish(checker, e);
    ledger_checker_counts(checker, &counts);
    ledger_checker_destroy(checker);
    v->entries = counts.entries;
    v->transactions = counts.transactions;
    v->check_per_s = (double)counts.transactions * 1e9 / (double)(measure_thread_ns() - begin);
    return rc;
}

/* ---- executing again ---- */

struct replay {
    struct kv *kv;
    struct procedure_table *procedures;
    uint64_t batch, transactions, full_batches;
    uint64_t in_batch; /* transactions of the batch at hand */
    int64_t money;     /* as the transactions' results say */
};

static int replay_tx(struct replay *r, struct slice payload, struct error *e)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct smallbank_call call;
    struct procedure_result result;
    int rc = ledger_tx_decode(payload, &tx, e);
    if (rc == 0)
        rc = ledger_body_decode(tx.body, &body, e);
    if (rc != 0)
        return rc;
    const struct ledger_request *q = &body.request;
    const struct procedure_call wanted = {.proc = q->proc,
                                          .args = q->args.data,
                                          .args_len = q->args.len,
                                          .client = q->client,
                                          .index = tx.index};
    if (client_table_check(r->kv, q->client, q->reqno) != CLIENT_NEW)
        return error_set(e, ATOLL_ECORRUPT, "transaction %" PRIu64 " was executed before",
                         tx.index);
    rc = procedure_execute(r->procedures, &wanted, r->kv, &result, e);
    if (rc == 0)
        rc = client_table_insert(r->kv, q->client, q->reqno, e);
    if (rc != 0)
        return rc;
    if (result.status != tx.status || result.output_len != tx.output.len ||
        memcmp(result.output, tx.output.data, tx.output.len) != 0 ||
        memcmp(result.writeset_hash, tx.writeset_hash, HASH_LEN) != 0)
        return error_set(e, ATOLL_ECORRUPT,
                         "executing transaction %" PRIu64 " again gives another result", tx.index);
    if (smallbank_args_decode(q->proc, q->args.data, q->args.len, &call, e) == 0)
        r->money += smallbank_total_change(&call, tx.status);
    r->transactions++;
    r->full_batches += r->in_batch++ == 0;
    return 0;
}

static int replay_take(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    struct replay *r = context;
    (void)position;
    int rc = interruption_check(e);
    if (rc != 0)
        return rc;
    if (type == LEDGER_ENTRY_TX)
        return replay_tx(r, payload, e);
    if (type != LEDGER_ENTRY_PP)
        return 0;
    r->in_batch = 0;
    kv_commit(r->kv, r->batch);
    return kv_batch_begin(r->kv, ++r->batch, e);
}

static int replay_run(const struct source *s, const struct ledger_genesis *g, struct verdict *v,
                      struct error *e)
{
    struct replay r = {0};
    int rc = kv_create(g->bucket_bits, g->bucket_key, &r.kv, e);
    if (rc == 0)
        rc = procedure_preload(g->procedures, g->state.data, g->state.len, r.kv, e);
    if (rc == 0)
        rc = procedure_table_create(g->procedures, &r.procedures, e);
    if (rc == 0)
        r.money = smallbank_total(r.kv);
    int64_t begin = measure_thread_ns();
    if (rc == 0)
        rc = source_visit(s, 0, UINT64_MAX, NULL, replay_take, &r, e);
    v->replay_per_s = (double)r.transactions * 1e9 / (double)(measure_thread_ns() - begin);
    v->transactions = r.transactions;
    v->full_batches = r.full_batches;
    v->money = rc == 0 ? smallbank_total(r.kv) : 0;
    if (rc == 0 && v->money != r.money)
        rc = error_set(e, ATOLL_ECORRUPT,
                       "the accounts hold %" PRId64 " cents, but should hold %" PRId64, v->money,
                       r.money);
    procedure_table_destroy(r.procedures);
    kv_destroy(r.kv);
    return rc;
}

/* ---- all alike ---- */

struct fold {
    struct merkle_frontier frontier;
};

static int fold_take(void *context, uint64_t position, uint8_t type, struct slice payload,
                     struct error *e)
{
    struct fold *f = context;
    (void)position;
    struct merkle_hash leaf = ledger_entry_leaf((enum ledger_entry_type)type, payload);
    int rc = interruption_check(e);
    return rc == 0 ? merkle_frontier_append(&f->frontier, &leaf, e) : rc;
}

static int ledger_fold(const struct cluster *c, uint32_t number, uint64_t end, struct fold *f,
                       struct error *e)
{
    char path[640];
    struct source s;
    *f = (struct fold){0};
    int rc = source_of(c, number, path, &s, e);
    if (rc == 0)
        rc = source_visit(&s, 0, end, NULL, fold_take, f, e);
    source_close(&s);
    return rc;
}

/* The roots at the end of the shortest ledger. */
static int ledgers_compare(const struct cluster *c, struct verdict *v, struct error *e)
{
    struct fold folds[LEDGER_REPLICAS_MAX];
    uint64_t shortest = UINT64_MAX;
    uint32_t count = c->settings.replicas;
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = ledger_fold(c, i, UINT64_MAX, &folds[i], e);
        if (rc == 0 && folds[i].frontier.size < shortest)
            shortest = folds[i].frontier.size;
    }
    for (uint32_t i = 0; i < count && rc == 0; i++)
        if (folds[i].frontier.size > shortest)
            rc = ledger_fold(c, i, shortest, &folds[i], e);
    for (uint32_t i = 1; i < count && rc == 0; i++) {
        struct merkle_hash ours = merkle_frontier_root(&folds[0].frontier);
        struct merkle_hash theirs = merkle_frontier_root(&folds[i].frontier);
        if (memcmp(ours.bytes, theirs.bytes, HASH_LEN) != 0)
            rc = error_set(e, ATOLL_ECORRUPT, "the ledgers of replicas 0 and %u differ", i);
    }
    v->shared = shortest;
    return rc;
}

int verdict_reach(const struct cluster *c, uint64_t receipts, uint64_t open, struct verdict *v,
                  struct error *e)
{
    char path[640];
    struct source s;
    struct ledger_genesis *g = malloc(sizeof *g);
    *v = (struct verdict){0};
    int rc = source_of(c, 0, path, &s, e);
    if (rc == 0)
        rc = g ? ledger_genesis_decode(slice_of_buffer(&s.genesis_bytes), g, e)
               : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    if (rc == 0)
        rc = LEDGER_BARE ? 0 : rules_check(&s, v, e);
    if (rc == 0)
        rc = replay_run(&s, g, v, e);
    if (rc == 0)
        rc = ledgers_compare(c, v, e);
    if (rc == 0 && (v->transactions < receipts || v->transactions > receipts + open))
        rc = error_set(e, ATOLL_ECORRUPT,
                       "the ledger has %" PRIu64 " transactions, but clients hold %" PRIu64
                       " receipts and wait for %" PRIu64,
                       v->transactions, receipts, open);
    source_close(&s);
    free(g);
    return rc;
}
