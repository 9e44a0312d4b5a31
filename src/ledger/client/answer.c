/*
 * Replies of replicas, put together into receipts.
 *
 * A Reply says: this is my signature and my nonce for batch (view, seqno). Without the batch's
 * pre-prepare it means nothing; a ReplyX names one. Anyone may lie about either, so for every
 * (view, seqno) the replies (one of each replica) and the candidates (one pre-prepare named by each
 * replica) are kept apart, and checked against each other once Q replies are there. When Q of them,
 * the primary among them, fit one candidate, that is the batch, and the calls whose transactions
 * lead to its root are answered. Replies of different views are never mixed.
 */
#include "ledger/client/core.h"

#include "ledger/object/tag.h"

#include <assert.h>
#include <stdlib.h>

/* ---- keeping ---- */

static void candidate_free(struct candidate *c)
{
    for (uint32_t i = 0; i < c->attached_capacity; i++)
        buffer_free(&c->attached[i].bytes);
    free(c->attached);
    free(c);
}

static void answers_free(struct answers *a)
{
    for (struct candidate *c = a->candidates, *next; c; c = next) {
        next = c->next;
        candidate_free(c);
    }
    free(a);
}

void answers_close(struct ledger_client *client)
{
    for (struct answers *a = client->answers, *next; a; a = next) {
        next = a->next;
        answers_free(a);
    }
    client->answers = NULL;
}

/* Forgets the oldest of those that a replica began, when it began too many. */
static void answers_bound(struct ledger_client *client, uint16_t origin)
{
    struct answers **oldest = NULL;
    unsigned count = 0;
    for (struct answers **at = &client->answers; *at; at = &(*at)->next) {
        if ((*at)->origin == origin) {
            count++;
            oldest = at;
        }
    }
    if (count < ANSWERS_PER_REPLICA)
        return;
    struct answers *gone = *oldest;
    *oldest = gone->next;
    answers_free(gone);
}

/* What was heard about a batch, new if need be. NULL: no memory. */
static struct answers *answers_of(struct ledger_client *client, uint16_t from, uint64_t view,
                                  uint64_t seqno)
{
    for (struct answers *a = client->answers; a; a = a->next)
        if (a->view == view && a->seqno == seqno)
            return a;
    answers_bound(client, from);
    struct answers *a = calloc(1, sizeof *a + client->replicas * sizeof(struct ledger_reply));
    if (!a)
        return NULL;
    a->origin = from;
    a->view = view;
    a->seqno = seqno;
    a->next = client->answers;
    client->answers = a;
    return a;
}

/* The candidate with this pre-prepare, new if the replica has named none yet. */
static struct candidate *candidate_of(struct ledger_client *client, struct answers *a,
                                      uint16_t from, const struct ledger_pp *pp)
{
    uint8_t pp_hash[HASH_LEN];
    ledger_pp_hash(pp, pp_hash);
    bool named = false;
    for (struct candidate *c = a->candidates; c; c = c->next) {
        if (memcmp(c->pp_hash, pp_hash, HASH_LEN) == 0)
            return c;
        named |= c->origin == from;
    }
    struct candidate *c = named ? NULL : calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->serial = ++client->candidates_made;
    c->origin = from;
    c->pp = *pp;
    memcpy(c->pp_hash, pp_hash, HASH_LEN);
    c->next = a->candidates;
    a->candidates = c;
    return c;
}

/* ---- the quorum ---- */

/* The signature that a reply claims for a candidate; false when its nonce cannot fit. */
static bool reply_work(const struct ledger_client *client, const struct candidate *c,
                       const struct ledger_reply *reply, uint16_t replica,
                       struct ledger_signature *work)
{
    uint8_t commitment[HASH_LEN];
    ledger_nonce_hash(reply->nonce, commitment);
    work->public_key = client->configuration->replicas[replica].public_key;
    work->signature = reply->signature;
    if (replica == ledger_primary(client->configuration, c->pp.view)) {
        memcpy(work->hash, c->pp_hash, HASH_LEN);
        return hash_equal(commitment, c->pp.nonce_commit);
    }
    struct ledger_prepare prepare = {
        .config = c->pp.config, .view = c->pp.view, .seqno = c->pp.seqno, .replica = replica};
    memcpy(prepare.nonce_commit, commitment, HASH_LEN);
    memcpy(prepare.pp_hash, c->pp_hash, HASH_LEN);
    ledger_prepare_hash(&prepare, work->hash);
    return true;
}

/* Checks the replies that were not checked against this candidate before. */
static void replies_verify(struct ledger_client *client, const struct answers *a,
                           struct candidate *c)
{
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    uint16_t who[LEDGER_REPLICAS_MAX];
    bool valid[LEDGER_REPLICAS_MAX];
    size_t count = 0;
    uint64_t before = c->refuted;
    struct error e;
    if (LEDGER_BARE) {
        c->verified |= a->reply_bits;
        return;
    }
    for (uint64_t left = a->reply_bits & ~(c->verified | c->refuted); left; left &= left - 1) {
        uint16_t replica = (uint16_t)__builtin_ctzll(left);
        if (reply_work(client, c, &a->replies[replica], replica, &work[count]))
            who[count++] = replica;
        else
            c->refuted |= UINT64_C(1) << replica;
    }
    const struct ledger_verifier *v = &client->settings.verifier;
    if (count == 0 || v->verify(v->context, work, count, valid, &e) < 0)
        return;
    for (size_t i = 0; i < count; i++)
        *(valid[i] ? &c->verified : &c->refuted) |= UINT64_C(1) << who[i];
    client->counts.answers_bad += (unsigned)__builtin_popcountll(c->refuted & ~before);
}

/* Chooses the Q signers of the receipts: the primary and the lowest others. */
static bool candidate_certify(struct ledger_client *client, struct candidate *c)
{
    uint64_t primary = UINT64_C(1) << ledger_primary(client->configuration, c->pp.view);
    if (!(c->verified & primary) || (unsigned)__builtin_popcountll(c->verified) < client->quorum)
        return false;
    c->bits = primary;
    for (uint64_t left = c->verified & ~primary;
         (unsigned)__builtin_popcountll(c->bits) < client->quorum; left &= left - 1)
        c->bits |= left & -left;
    c->certified = true;
    if (c->pp.view >= client->view) {
        client->view = c->pp.view;
        client->primary = ledger_primary(client->configuration, c->pp.view);
    }
    return true;
}

/* ---- answering ---- */

static void attached_answer(struct ledger_client *client, const struct answers *a,
                            const struct candidate *c, const struct attached *t, bool replied)
{
    struct call *call = call_sent(&client->identities[t->identity], t->reqno);
    uint8_t signatures[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN];
    uint8_t nonces[LEDGER_REPLICAS_MAX][LEDGER_NONCE_LEN];
    struct error e;
    if (!call)
        return;
    struct ledger_receipt receipt = {.pp = c->pp,
                                     .bits = c->bits,
                                     .signer_count = client->quorum,
                                     .signatures = signatures[0],
                                     .nonces = nonces[0],
                                     .of_transaction = true,
                                     .tx_bytes = slice_of(t->bytes.data, t->tx_len),
                                     .position = t->position,
                                     .path_len = t->path_len,
                                     .path =
                                         (const struct merkle_hash *)(t->bytes.data + t->tx_len)};
    unsigned n = 0;
    for (uint64_t left = c->bits; left; left &= left - 1, n++) {
        const struct ledger_reply *reply = &a->replies[__builtin_ctzll(left)];
        memcpy(signatures[n], reply->signature, ED25519_SIGNATURE_LEN);
        memcpy(nonces[n], reply->nonce, LEDGER_NONCE_LEN);
    }
    client->receipt.len = 0;
    if (!LEDGER_BARE && !ledger_receipt_encode(&receipt, &client->receipt))
        return; /* asked for again later */
    int good = ledger_tx_decode(receipt.tx_bytes, &receipt.tx, &e);
    assert(good == 0); /* it was decoded when it was attached */
    good = ledger_body_decode(receipt.tx.body, &receipt.body, &e);
    assert(good == 0);
    (void)good;
    if (replied)
        latency_note(client, call);
    call_answer(client, call, &receipt, slice_of_buffer(&client->receipt));
}

/* Answers the calls attached to a certified candidate; replied: by what replicas sent of
 * themselves. */
static void candidate_answer(struct ledger_client *client, const struct answers *a,
                             struct candidate *c, bool replied)
{
    uint32_t count = c->attached_count;
    c->attached_count = 0;
    for (uint32_t i = 0; i < count; i++)
        attached_answer(client, a, c, &c->attached[i], replied);
}

static void candidate_progress(struct ledger_client *client, const struct answers *a,
                               struct candidate *c)
{
    if (!c->certified) {
        if ((unsigned)__builtin_popcountll(a->reply_bits & ~c->refuted) < client->quorum)
            return;
        replies_verify(client, a, c);
        if (!candidate_certify(client, c))
            return;
    }
    candidate_answer(client, a, c, true);
}

/* ---- replies ---- */

void reply_take(struct ledger_client *client, uint16_t from, const struct ledger_reply *reply)
{
    if (reply->replica != from || reply->config != client->configuration->number) {
        client->counts.answers_bad++;
        return;
    }
    struct answers *a = answers_of(client, from, reply->view, reply->seqno);
    if (!a || a->reply_bits >> from & 1)
        return;
    a->replies[from] = *reply;
    a->reply_bits |= UINT64_C(1) << from;
    a->heard_us = client->env.now_us(client->env.context);
    for (struct candidate *c = a->candidates; c; c = c->next)
        candidate_progress(client, a, c);
}

/* ---- transactions ---- */

/* The call of ours that a transaction of a ReplyX answers, if the named batch has it; else NULL.
 * The key is looked at first: with many identities on one link most are somebody else's. */
static struct call *tx_call(struct ledger_client *client, const struct ledger_pp *pp,
                            const struct ledger_reply_tx *t)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct merkle_hash root;
    struct error e;
    if (ledger_tx_decode(t->tx, &tx, &e) < 0 || ledger_body_decode(tx.body, &body, &e) < 0)
        return NULL;
    const struct identity *who = identity_find(client, body.request.client);
    struct call *call = who ? call_sent(who, body.request.reqno) : NULL;
    if (!call || t->position >= pp->count || tx.index != pp->first_index + t->position ||
        !call_matches(client, call, &body))
        return NULL;
    if (LEDGER_BARE)
        return call;
    struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, t->tx);
    if (!merkle_path_root_after(&client->walk, &leaf, t->position, pp->count, t->path, t->path_len,
                                &root) ||
        memcmp(root.bytes, pp->batch_root, HASH_LEN) != 0)
        return NULL;
    return call;
}

/* Mostly a call is attached once; only one that liars named in other batches has to be searched. */
static bool is_attached(const struct candidate *c, const struct call *call)
{
    if (call->attached == 0 || call->attached == c->serial)
        return call->attached != 0;
    for (uint32_t i = 0; i < c->attached_count; i++)
        if (c->attached[i].reqno == call->reqno && c->attached[i].identity == call->identity)
            return true;
    return false;
}

/* A place for one more; NULL: no memory. */
static struct attached *attached_place(struct candidate *c)
{
    if (c->attached_count == c->attached_capacity) {
        uint32_t capacity = c->attached_capacity ? 2 * c->attached_capacity : 8;
        struct attached *attached = realloc(c->attached, capacity * sizeof *attached);
        if (!attached)
            return NULL;
        memset(attached + c->attached_capacity, 0,
               (capacity - c->attached_capacity) * sizeof *attached);
        c->attached = attached;
        c->attached_capacity = capacity;
    }
    return &c->attached[c->attached_count];
}

static void tx_attach(struct candidate *c, struct call *call, const struct ledger_reply_tx *t)
{
    struct attached *at = attached_place(c);
    if (!at)
        return;
    at->bytes.len = 0;
    if (!buffer_append(&at->bytes, t->tx.data, t->tx.len) ||
        !buffer_append(&at->bytes, t->path, (size_t)t->path_len * HASH_LEN))
        return;
    at->identity = call->identity;
    at->reqno = call->reqno;
    at->position = t->position;
    at->path_len = t->path_len;
    at->tx_len = t->tx.len;
    call->attached = c->serial;
    c->attached_count++;
}

void replyx_take(struct ledger_client *client, uint16_t from, struct ledger_replyx *reply)
{
    struct ledger_reply_tx t;
    struct candidate *c = NULL;
    struct answers *a = NULL;
    if (reply->pp.config != client->configuration->number || reply->pp.kind != LEDGER_KIND_NORMAL) {
        client->counts.answers_bad++;
        return;
    }
    while (ledger_list_next_reply_tx(&reply->txs, &t)) {
        struct call *call = tx_call(client, &reply->pp, &t);
        if (!call)
            continue; /* answered before, or not ours */
        /* Only what concerns a call of ours is worth remembering. */
        if (!a && !(a = answers_of(client, from, reply->pp.view, reply->pp.seqno)))
            return;
        if (!c && !(c = candidate_of(client, a, from, &reply->pp)))
            return;
        if (!is_attached(c, call))
            tx_attach(c, call, &t);
    }
    if (c)
        candidate_progress(client, a, c);
}

bool answers_want_replyx(const struct ledger_client *client, uint64_t since_us)
{
    for (const struct answers *a = client->answers; a; a = a->next) {
        bool certified = false;
        for (const struct candidate *c = a->candidates; c; c = c->next)
            certified |= c->certified;
        if (!certified && a->heard_us >= since_us &&
            (unsigned)__builtin_popcountll(a->reply_bits) >= client->quorum)
            return true;
    }
    return false;
}

bool receipt_is_known(struct ledger_client *client, const struct ledger_receipt *receipt)
{
    const struct ledger_reply_tx t = {receipt->tx_bytes, receipt->position, receipt->path_len,
                                      receipt->path};
    const struct ledger_pp *pp = &receipt->pp;
    struct answers *a = client->answers;
    while (a && (a->view != pp->view || a->seqno != pp->seqno))
        a = a->next;
    struct candidate *c = a ? a->candidates : NULL;
    uint8_t pp_hash[HASH_LEN];
    ledger_pp_hash(pp, pp_hash);
    while (c && (!c->certified || memcmp(c->pp_hash, pp_hash, HASH_LEN) != 0))
        c = c->next;
    struct call *call = c ? tx_call(client, pp, &t) : NULL;
    if (!call)
        return false;
    tx_attach(c, call, &t);
    candidate_answer(client, a, c, false);
    return true;
}
