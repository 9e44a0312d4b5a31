/*
 * See checker.h. The entries of a batch come as [EVIDENCE] PP TX…; `expect` says what may come
 * next. Rules that need other entries look into a ring of the last batches; signatures gather until
 * a batch of them is worth verifying.
 */
#include "ledger/check/checker.h"

#include "crypto/ed25519_batch.h"
#include "ledger/check/signatures.h"
#include "ledger/check/view_rules.h"
#include "ledger/kv/client_table.h"
#include "ledger/object/quorum.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum expect {
    EXPECT_GENESIS,
    EXPECT_BATCH, /* EVIDENCE, or PP when there is none to come, or VCSET */
    EXPECT_PP,    /* its evidence was there */
    EXPECT_TX,
    EXPECT_NEW_VIEW, /* a VCSET was there */
};

/* The last batches: one more than P, so that the batch P before the next is there. */
#define RING 32u
_Static_assert(RING > LEDGER_PIPELINE_MAX, "a ring of batches");

struct batch {
    struct ledger_pp pp;
    uint8_t hash[HASH_LEN];
};

struct ledger_checker {
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    const struct ledger_configuration *configuration;
    struct check_signatures *signatures;
    struct kv *clients; /* nothing in it but the table of clients */
    enum expect expect;
    bool failed;
    struct merkle_frontier frontier;
    uint64_t view, next_index;
    struct batch ring[RING]; /* batch s at s mod RING */
    uint64_t last;           /* s of the last pp */
    uint8_t previous[HASH_LEN];
    /* the batch at hand */
    uint64_t evidence_bits;
    uint32_t left; /* transactions of it still to come */
    struct merkle_frontier batch_frontier;
    /* the view at hand */
    struct buffer vcset;
    struct ledger_new_view nv; /* whose plan is to be followed up to its tip */
    struct ledger_checker_counts counts;
};

static int breach(const struct ledger_checker *c, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* At the entry that comes next. */
static int breach(const struct ledger_checker *c, struct error *e, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set_at(e, ATOLL_ECORRUPT, c->counts.entries, UINT32_MAX,
                        "entry %" PRIu64 ", behind batch %" PRIu64 ": %s", c->counts.entries,
                        c->last, text);
}

/* The same with the sentence that a decoder or rule gave. */
static int breach_of(const struct ledger_checker *c, struct error *e, const char *what)
{
    struct error cause = *e;
    return breach(c, e, "%s: %s", what, cause.text);
}

static struct batch *batch_at(struct ledger_checker *c, uint64_t s)
{
    return &c->ring[s % RING];
}

/* ---- signatures ---- */

static int want(struct ledger_checker *c, const struct ledger_signature *one, const char *what,
                struct error *e)
{
    struct check_subject subject = {c->counts.entries, c->last, what};
    c->counts.signatures++;
    return check_signatures_add(c->signatures, one, subject, e);
}

/* ---- transactions ---- */

/* The request is one that may stand at this index. */
static int request_check(struct ledger_checker *c, const struct ledger_tx *tx, struct error *e)
{
    struct ledger_body body;
    struct ledger_signature signature;
    uint8_t hash[HASH_LEN];
    if (ledger_body_decode(tx->body, &body, e) != 0 ||
        ledger_body_check(&body, c->genesis.hash, hash, &signature, e) != 0)
        return breach_of(c, e, "a request");
    const struct ledger_request *q = &body.request;
    if (!ledger_configuration_admits(c->configuration, q->client))
        return breach(c, e, "a request of a client who is not on the access list");
    if (q->min_index >= tx->index)
        return breach(c, e, "a request that wanted an index above %" PRIu64 " stands at %" PRIu64,
                      q->min_index, tx->index);
    if (client_table_check(c->clients, q->client, q->reqno) != CLIENT_NEW)
        return breach(c, e, "request %" PRIu64 " of a client was executed before", q->reqno);
    int rc = client_table_insert(c->clients, q->client, q->reqno, e);
    return rc == 0 ? want(c, &signature, "the client's signature", e) : rc;
}

static int batch_end(struct ledger_checker *c, struct error *e)
{
    struct batch *b = batch_at(c, c->last);
    struct merkle_hash root = merkle_frontier_root(&c->batch_frontier);
    if (memcmp(root.bytes, b->pp.batch_root, HASH_LEN) != 0)
        return breach(c, e, "its transactions are not those that its pp names");
    kv_commit(c->clients, c->last);
    c->next_index += b->pp.count;
    c->counts.batches++;
    c->expect = EXPECT_BATCH;
    return 0;
}

static int tx_check(struct ledger_checker *c, struct slice payload, const struct merkle_hash *leaf,
                    struct error *e)
{
    struct ledger_tx tx;
    const struct batch *b = batch_at(c, c->last);
    if (ledger_tx_decode(payload, &tx, e) != 0)
        return breach_of(c, e, "a transaction");
    uint64_t index = b->pp.first_index + (b->pp.count - c->left);
    if (tx.index != index)
        return breach(c, e, "transaction %" PRIu64 " stands where %" PRIu64 " belongs", tx.index,
                      index);
    int rc = request_check(c, &tx, e);
    if (rc == 0)
        rc = merkle_frontier_append(&c->batch_frontier, leaf, e);
    if (rc != 0)
        return rc;
    c->counts.transactions++;
    return --c->left == 0 ? batch_end(c, e) : 0;
}

/* ---- pre-prepares ---- */

/* Which kinds a batch may have, and G of those without transactions. */
static int kind_check(struct ledger_checker *c, const struct ledger_pp *pp, bool planned,
                      struct error *e)
{
    bool due = pp->seqno % c->configuration->checkpoint_interval == 0;
    struct merkle_hash root = ledger_batch_root_empty();
    uint8_t hash[HASH_LEN];
    if ((pp->kind == LEDGER_KIND_CHECKPOINT) != due)
        return breach(c, e,
                      due ? "a checkpoint is due at batch %" PRIu64
                          : "batch %" PRIu64 " is a checkpoint that is not due",
                      pp->seqno);
    if (pp->kind == LEDGER_KIND_END_CFG || pp->kind == LEDGER_KIND_START_CFG)
        return breach(c, e, "batch %" PRIu64 " changes the configuration, which nothing asked for",
                      pp->seqno);
    if (pp->kind == LEDGER_KIND_NORMAL)
        return pp->count <= c->configuration->max_batch
                   ? 0
                   : breach(c, e, "%u transactions in a batch", pp->count);
    if (pp->kind == LEDGER_KIND_CHECKPOINT) {
        ledger_configuration_hash(c->genesis.configuration_bytes, hash);
        root = ledger_batch_root_configuration(hash);
    } else if (!planned) {
        uint64_t s = pp->seqno, run = 0;
        while (run < c->genesis.pipeline && run + 1 < s &&
               batch_at(c, s - run - 1)->pp.kind == LEDGER_KIND_EMPTY)
            run++;
        if (run == c->genesis.pipeline)
            return breach(c, e, "an empty batch too many");
    }
    return memcmp(root.bytes, pp->batch_root, HASH_LEN) == 0
               ? 0
               : breach(c, e, "the content of a batch without transactions is not its own");
}

/* dC changes only where a newer checkpoint is named: in batch c + C for a checkpoint c. */
static int digest_check(struct ledger_checker *c, const struct ledger_pp *pp, struct error *e)
{
    uint64_t interval = c->configuration->checkpoint_interval;
    bool named = pp->seqno % interval == 0 && pp->seqno >= 2 * interval;
    if (pp->seqno == 1 || named)
        return 0;
    if (memcmp(batch_at(c, pp->seqno - 1)->pp.kv_digest, pp->kv_digest, HASH_LEN) == 0)
        return 0;
    return breach(c, e, "the digest of the store changes where no checkpoint is named");
}

/* What the NewView of this view planned for s is what stands there. */
static int plan_check(struct ledger_checker *c, const struct ledger_pp *pp, bool *planned,
                      struct error *e)
{
    const struct ledger_new_view *nv = &c->nv;
    *planned = nv->plan_count > 0 && pp->seqno > nv->base_seqno && pp->seqno <= nv->tip_seqno;
    if (!*planned)
        return 0;
    const struct ledger_plan *p = &nv->plan[pp->seqno - nv->base_seqno - 1];
    if (p->kind == pp->kind && p->first_index == pp->first_index && p->count == pp->count &&
        memcmp(p->batch_root, pp->batch_root, HASH_LEN) == 0)
        return 0;
    return breach(c, e, "batch %" PRIu64 " is not what the new view planned", pp->seqno);
}

static int chain_check(struct ledger_checker *c, const struct ledger_pp *pp, struct error *e)
{
    struct merkle_hash root = merkle_frontier_root(&c->frontier);
    if (pp->config != 0)
        return breach(c, e, "a batch of configuration %u, which is not known", pp->config);
    if (pp->view != c->view)
        return breach(c, e, "a batch of view %" PRIu64 " in view %" PRIu64, pp->view, c->view);
    if (pp->seqno != c->last + 1)
        return breach(c, e, "batch %" PRIu64 " follows batch %" PRIu64, pp->seqno, c->last);
    if (memcmp(pp->previous, c->previous, HASH_LEN) != 0)
        return breach(c, e, "the pp names another predecessor");
    if (memcmp(pp->ledger_root, root.bytes, HASH_LEN) != 0)
        return breach(c, e, "the pp signs another history than the one before it");
    if (pp->first_index != c->next_index)
        return breach(c, e, "the pp begins at index %" PRIu64 " instead of %" PRIu64,
                      pp->first_index, c->next_index);
    if (pp->gov_index != 0)
        return breach(c, e, "the pp names a governance transaction that there is not");
    if (pp->evidence_bits != c->evidence_bits)
        return breach(c, e, "the pp names other evidence than what stands before it");
    return 0;
}

static int pp_check(struct ledger_checker *c, struct slice payload, struct error *e)
{
    struct ledger_pp pp;
    struct ledger_signature signature;
    bool planned = false;
    if (ledger_pp_decode_signed(payload, &pp, e) != 0)
        return breach_of(c, e, "a pp");
    if (c->expect == EXPECT_BATCH && c->last + 1 > c->genesis.pipeline)
        return breach(c, e, "the evidence for batch %" PRIu64 " is missing",
                      c->last + 1 - c->genesis.pipeline);
    int rc = chain_check(c, &pp, e);
    if (rc == 0)
        rc = plan_check(c, &pp, &planned, e);
    if (rc == 0)
        rc = kind_check(c, &pp, planned, e);
    if (rc == 0)
        rc = digest_check(c, &pp, e);
    if (rc != 0)
        return rc;
    struct batch *b = batch_at(c, pp.seqno);
    b->pp = pp;
    ledger_pp_hash(&pp, b->hash);
    memcpy(signature.hash, b->hash, HASH_LEN);
    signature.public_key =
        c->configuration->replicas[ledger_primary(c->configuration, pp.view)].public_key;
    signature.signature = pp.signature;
    c->last = pp.seqno;
    memcpy(c->previous, b->hash, HASH_LEN);
    c->left = pp.count;
    c->batch_frontier.size = 0;
    c->counts.view = pp.view;
    c->counts.seqno = pp.seqno;
    rc = kv_batch_begin(c->clients, pp.seqno, e);
    if (rc == 0)
        rc = want(c, &signature, "the primary's signature of the pp", e);
    if (rc != 0)
        return rc;
    if (pp.count > 0) {
        c->expect = EXPECT_TX;
        return 0;
    }
    kv_commit(c->clients, c->last);
    c->counts.batches++;
    c->expect = EXPECT_BATCH;
    return 0;
}

static int evidence_check(struct ledger_checker *c, struct slice payload, struct error *e)
{
    struct ledger_evidence evidence;
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    uint64_t next = c->last + 1, of = next - c->genesis.pipeline;
    if (next <= c->genesis.pipeline)
        return breach(c, e, "evidence where there is none to be");
    if (ledger_evidence_decode(payload, &evidence, e) != 0)
        return breach_of(c, e, "evidence");
    if (evidence.seqno != of)
        return breach(c, e, "evidence for batch %" PRIu64 " instead of %" PRIu64, evidence.seqno,
                      of);
    int count = ledger_evidence_check(c->configuration, &batch_at(c, of)->pp, &evidence, work, e);
    if (count < 0)
        return breach_of(c, e, "evidence");
    int rc = 0;
    for (int i = 1; i < count && rc == 0; i++) /* 0: the pp's own, checked with it */
        rc = want(c, &work[i], "a Prepare in the evidence", e);
    c->evidence_bits = evidence.bits;
    c->counts.proven = of;
    c->expect = EXPECT_PP;
    return rc;
}

/* ---- view changes ---- */

static int vcset_take(struct ledger_checker *c, struct slice payload, struct error *e)
{
    c->vcset.len = 0;
    if (!buffer_append(&c->vcset, payload.data, payload.len))
        return error_set(e, ATOLL_ENOMEM, "no memory to check a view change");
    c->expect = EXPECT_NEW_VIEW;
    return 0;
}

static int new_view_check(struct ledger_checker *c, struct slice payload, struct error *e)
{
    struct ledger_new_view nv;
    if (ledger_new_view_decode_signed(payload, &nv, e) != 0)
        return breach_of(c, e, "a new view");
    struct merkle_hash root = merkle_frontier_root(&c->frontier);
    if (nv.view <= c->view)
        return breach(c, e, "view %" PRIu64 " follows view %" PRIu64, nv.view, c->view);
    if (memcmp(nv.ledger_root, root.bytes, HASH_LEN) != 0)
        return breach(c, e, "the new view signs another history than the one before it");
    if (nv.base_seqno != c->last ||
        (c->last > 0 && memcmp(nv.base_pp_hash, batch_at(c, c->last)->hash, HASH_LEN) != 0))
        return breach(c, e, "the new view begins behind batch %" PRIu64 ", not where it stands",
                      nv.base_seqno);
    struct view_rules rules = {
        .configuration = c->configuration,
        .genesis = c->genesis.hash,
        .pipeline = c->genesis.pipeline,
        .signatures = c->signatures,
        .subject = {c->counts.entries, c->last, "a signature of the view change"}};
    int rc = view_rules_check(&rules, slice_of_buffer(&c->vcset), &nv, e);
    if (rc == -ATOLL_ENOMEM)
        return rc;
    if (rc != 0)
        return breach_of(c, e, "a new view");
    if (memcmp(rules.link, c->previous, HASH_LEN) != 0)
        return breach(c, e, "the new view stands behind other batches than its tip demands");
    c->counts.signatures += rules.wanted;
    c->nv = nv;
    c->view = nv.view;
    ledger_new_view_hash(&nv, c->previous);
    c->counts.new_views++;
    c->expect = EXPECT_BATCH;
    return 0;
}

/* ---- life ---- */

int ledger_checker_create(struct slice genesis, struct ledger_checker **out, struct error *e)
{
    static const uint8_t key[SIPHASH_KEY_LEN] = {0};
    struct ledger_checker *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL || !buffer_append(&c->genesis_bytes, genesis.data, genesis.len)) {
        free(c);
        return error_set(e, ATOLL_ENOMEM, "no memory to check a ledger");
    }
    int rc = ledger_genesis_decode(slice_of_buffer(&c->genesis_bytes), &c->genesis, e);
    if (rc == 0)
        rc = kv_create(KV_BUCKET_BITS_MAX, key, &c->clients, e);
    if (rc == 0)
        rc = check_signatures_create(&c->signatures, e);
    if (rc != 0) {
        ledger_checker_destroy(c);
        return rc;
    }
    c->configuration = &c->genesis.configuration;
    memcpy(c->previous, c->genesis.hash, HASH_LEN);
    c->next_index = 1;
    *out = c;
    return 0;
}

void ledger_checker_destroy(struct ledger_checker *c)
{
    if (c == NULL)
        return;
    check_signatures_destroy(c->signatures);
    kv_destroy(c->clients);
    buffer_free(&c->genesis_bytes);
    buffer_free(&c->vcset);
    free(c);
}

static int entry_check(struct ledger_checker *c, uint8_t type, struct slice payload,
                       const struct merkle_hash *leaf, struct error *e)
{
    switch (c->expect) {
    case EXPECT_GENESIS:
        if (type != LEDGER_ENTRY_GENESIS ||
            !slice_equal(payload, slice_of_buffer(&c->genesis_bytes)))
            return breach(c, e, "the ledger does not begin with this genesis");
        c->expect = EXPECT_BATCH;
        return 0;
    case EXPECT_BATCH:
        c->evidence_bits = 0;
        if (type == LEDGER_ENTRY_VCSET)
            return vcset_take(c, payload, e);
        if (type == LEDGER_ENTRY_EVIDENCE)
            return evidence_check(c, payload, e);
        if (type == LEDGER_ENTRY_PP)
            return pp_check(c, payload, e);
        break;
    case EXPECT_PP:
        if (type == LEDGER_ENTRY_PP)
            return pp_check(c, payload, e);
        break;
    case EXPECT_TX:
        if (type == LEDGER_ENTRY_TX)
            return tx_check(c, payload, leaf, e);
        break;
    case EXPECT_NEW_VIEW:
        if (type == LEDGER_ENTRY_NEW_VIEW)
            return new_view_check(c, payload, e);
        break;
    }
    return breach(c, e, "an entry of type %s where it does not belong",
                  ledger_entry_name((enum ledger_entry_type)type));
}

int ledger_checker_entry(struct ledger_checker *c, uint8_t type, struct slice payload,
                         struct error *e)
{
    if (c->failed)
        return error_set(e, ATOLL_EINVAL, "the ledger was found to break a rule already");
    if (type < LEDGER_ENTRY_GENESIS || type > LEDGER_ENTRY_NEW_VIEW) {
        c->failed = true;
        return breach(c, e, "an entry of an unknown type, %u", type);
    }
    struct merkle_hash leaf = ledger_entry_leaf((enum ledger_entry_type)type, payload);
    int rc = entry_check(c, type, payload, &leaf, e);
    if (rc == 0)
        rc = merkle_frontier_append(&c->frontier, &leaf, e);
    c->counts.entries++;
    c->failed = rc != 0;
    return rc;
}

int ledger_checker_finish(struct ledger_checker *c, struct error *e)
{
    if (c->failed)
        return error_set(e, ATOLL_EINVAL, "the ledger was found to break a rule already");
    int rc = check_signatures_flush(c->signatures, e);
    if (rc == 0 && c->expect != EXPECT_BATCH)
        rc = breach(c, e, "the ledger ends in the middle of a batch or view change");
    c->failed = rc != 0;
    return rc;
}

void ledger_checker_counts(const struct ledger_checker *c, struct ledger_checker_counts *out)
{
    *out = c->counts;
    struct merkle_hash root = merkle_frontier_root(&c->frontier);
    memcpy(out->root, root.bytes, HASH_LEN);
}
