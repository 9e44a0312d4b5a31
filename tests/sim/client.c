/*
 * A simulated client: asks for SmallBank transactions, one batch of thoughts after the other, and
 * puts its receipts together itself, from the replies and the objects' codecs alone: Q replies of
 * one (view, s) that verify against one pp_hash, and the transaction with its path. A receipt that
 * is put together this way and does not pass ledger_receipt_verify is a violation.
 *
 *   draw a call ──▶ send to the primary ──▶ REPLY × Q, REPLYX ──▶ receipt
 *                         └─ timeout ──▶ send to all, ask for the receipt
 */
#include "cluster.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWERS    64 /* batches whose replies are remembered */
#define BUNDLE_MAX 7

/* The replies of one (view, s). */
struct answer {
    uint64_t view, seqno, used; /* used: 0 = free; else for finding the oldest */
    uint64_t heard;             /* bitmap of replicas */
    uint8_t signature[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN];
    uint8_t nonce[LEDGER_REPLICAS_MAX][LEDGER_NONCE_LEN];
};

/* What one machine says about one request: where it stands. */
struct claim {
    bool there;
    struct ledger_pp pp;
    struct buffer tx;
    uint32_t position, path_len;
    struct merkle_hash path[LEDGER_BATCH_PATH_MAX];
};

struct ask {
    uint64_t reqno, invoked_us, returned_us, min_index;
    unsigned group, tries;
    struct sim_bank_call call;
    struct buffer body;
    struct buffer bundle; /* of the first member: how it is sent at first; else empty */
    bool rides;           /* another member brings it along at first */
    struct slice fields;
    struct claim claim[SIM_MACHINES_MAX];
    struct buffer receipt;
};

struct sim_client {
    struct sim_cluster *cluster;
    unsigned number, endpoint;
    const struct sim_key *key;
    uint64_t highest_index; /* in any receipt seen */
    uint64_t view;          /* of the newest reply */
    unsigned asks, ask_max, window;
    struct ask *ask;
    bool pass_min_index, bundles;
    uint64_t patience_us;
    uint64_t answers_used;
    struct answer answer[ANSWERS];
};

static struct sim_world *world_of(struct sim_client *c)
{
    return &c->cluster->world;
}

struct sim_client *sim_client_create(struct sim_cluster *cluster, unsigned number,
                                     unsigned requests)
{
    struct sim_random *random = sim_world_random(&cluster->world, SIM_STREAM_SETUP);
    struct sim_client *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    c->cluster = cluster;
    c->number = number;
    c->endpoint = cluster->machines + number;
    c->key = sim_key(SIM_KEY_CLIENTS + number);
    c->ask_max = requests;
    c->ask = calloc(requests + 1, sizeof *c->ask);
    c->window = (unsigned)sim_random_range(random, 1, 6);
    c->pass_min_index = sim_random_chance(random, 700);
    c->bundles = sim_random_chance(random, 250);
    c->patience_us =
        cluster->genesis.configuration.view_timeout_us / 2 + sim_random_below(random, 100000);
    if (!c->ask)
        abort();
    return c;
}

void sim_client_destroy(struct sim_client *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < c->asks; i++) {
        buffer_free(&c->ask[i].body);
        buffer_free(&c->ask[i].bundle);
        buffer_free(&c->ask[i].receipt);
        for (unsigned m = 0; m < SIM_MACHINES_MAX; m++)
            buffer_free(&c->ask[i].claim[m].tx);
    }
    free(c->ask);
    free(c);
}

static bool ask_open(const struct ask *a)
{
    return a->returned_us == SIM_NEVER;
}

static unsigned client_open_asks(const struct sim_client *c)
{
    unsigned open = 0;

    for (unsigned i = 0; i < c->asks; i++)
        open += ask_open(&c->ask[i]);
    return open;
}

bool sim_client_done(const struct sim_client *c)
{
    return c->asks == c->ask_max && client_open_asks(c) == 0;
}

/* Where the request stands in the ledger of the first machine that has it. */
static void ask_find(struct sim_client *c, const struct ask *a)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct error e;

    for (unsigned m = 0; m < c->cluster->machines; m++)
        for (uint64_t i = 0; i < c->cluster->machine[m].entries; i++) {
            const struct sim_record *r = sim_machine_entry(&c->cluster->machine[m], i);

            if (r->type == LEDGER_ENTRY_TX &&
                ledger_tx_decode(slice_of(r->bytes, r->len), &tx, &e) == 0 &&
                ledger_body_decode(tx.body, &body, &e) == 0 &&
                slice_equal(body.fields, a->fields)) {
                sim_world_note(world_of(c), "  it is transaction %llu of machine %u",
                               (unsigned long long)tx.index, m);
                return;
            }
        }
    sim_world_note(world_of(c), "  no ledger has it");
}

void sim_client_tell(struct sim_client *c)
{
    for (unsigned i = 0; i < c->asks; i++) {
        const struct ask *a = &c->ask[i];

        if (!ask_open(a))
            continue;
        sim_world_note(world_of(c),
                       "client %u waits for its request %llu%s of %.6f s, min_index %llu, "
                       "procedure %u, asked %u times",
                       c->number, (unsigned long long)a->reqno,
                       a->rides || a->bundle.len ? " (of a bundle)" : "",
                       (double)a->invoked_us / 1e6, (unsigned long long)a->min_index, a->call.proc,
                       a->tries);
        ask_find(c, a);
    }
}

/* ---- asking ---- */

static void post(struct sim_client *c, unsigned machine, struct buffer *message)
{
    sim_network_send(&c->cluster->network, c->endpoint, machine, message->data, message->len);
}

static void hello_send(struct sim_client *c, unsigned machine)
{
    struct buffer message = {0};

    if (!ledger_hello_write(&message, (const uint8_t(*)[32])c->key->public_key, 1))
        abort();
    post(c, machine, &message);
    buffer_free(&message);
}

static void ask_send(struct sim_client *c, struct ask *a, unsigned machine)
{
    struct buffer message = {0};
    struct ledger_message_writer writer;

    if (!ledger_bodies_begin(&writer, &message, LEDGER_MESSAGE_REQUEST) ||
        !ledger_bodies_body(&writer, slice_of_buffer(&a->body)))
        abort();
    ledger_message_end(&writer);
    hello_send(c, machine);
    post(c, machine, &message);
    buffer_free(&message);
}

static void bundle_send(struct sim_client *c, struct ask *a, unsigned machine)
{
    struct buffer message = {0};

    if (!ledger_bundle_write(&message, slice_of_buffer(&a->bundle)))
        abort();
    hello_send(c, machine);
    post(c, machine, &message);
    buffer_free(&message);
}

static void receipt_fetch(struct sim_client *c, struct ask *a, unsigned machine)
{
    struct buffer message = {0};
    uint8_t hash[HASH_LEN];

    ledger_request_hash(a->fields, hash);
    if (!ledger_fetch_receipt_write(&message, hash))
        abort();
    post(c, machine, &message);
    buffer_free(&message);
}

static void request_fill(struct sim_client *c, const struct ask *a, struct ledger_request *request)
{
    *request = (struct ledger_request){
        .reqno = a->reqno,
        .min_index = a->min_index,
        .proc = a->call.proc,
        .args = slice_of(a->call.args, a->call.args_len),
    };
    memcpy(request->genesis, c->cluster->genesis.hash, HASH_LEN);
    memcpy(request->client, c->key->public_key, sizeof request->client);
}

static void body_keep(struct ask *a, struct slice bytes)
{
    struct ledger_body body;
    struct error e;

    if (!buffer_append(&a->body, bytes.data, bytes.len) ||
        ledger_body_decode(slice_of_buffer(&a->body), &body, &e) != 0)
        abort();
    a->fields = body.fields;
}

static void alone_encode(struct sim_client *c, struct ask *a)
{
    struct ledger_request request;
    struct buffer fields = {0}, body = {0};
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];

    request_fill(c, a, &request);
    if (!ledger_request_encode(&request, &fields))
        abort();
    ledger_request_hash(slice_of_buffer(&fields), hash);
    sim_sign(&c->cluster->signatures, c->key, hash, signature);
    if (!ledger_body_encode_alone(slice_of_buffer(&fields), signature, &body))
        abort();
    body_keep(a, slice_of_buffer(&body));
    buffer_free(&fields);
    buffer_free(&body);
}

/* The asks from `first` on under one signature. */
static void bundle_encode(struct sim_client *c, struct ask *first, uint32_t count)
{
    static size_t ends[LEDGER_BUNDLE_MAX]; /* large; one thread */
    struct ledger_request request[BUNDLE_MAX];
    struct ledger_bundle bundle;
    struct buffer bodies = {0};
    struct error e;
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];

    for (uint32_t i = 0; i < count; i++)
        request_fill(c, &first[i], &request[i]);
    if (!ledger_bundle_hash_of(request, count, hash))
        abort();
    sim_sign(&c->cluster->signatures, c->key, hash, signature);
    if (!ledger_bundle_encode(request, count, signature, &first->bundle) ||
        ledger_bundle_decode(slice_of_buffer(&first->bundle), &bundle, &e) != 0 ||
        ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e) != 0)
        abort();
    for (uint32_t i = 0; i < count; i++) {
        size_t from = i ? ends[i - 1] : 0;

        body_keep(&first[i], slice_of(bodies.data + from, ends[i] - from));
        first[i].rides = i > 0;
    }
    buffer_free(&bodies);
}

/* The first try goes to the primary, every later one to all. */
static void ask_due(void *ctx, void *payload)
{
    struct sim_client *c = ctx;
    struct ask *a = &c->ask[*(unsigned *)payload];
    unsigned *number;
    uint64_t wait;

    if (!ask_open(a))
        return;
    if (!a->tries && a->bundle.len) {
        bundle_send(c, a, (unsigned)(c->view % c->cluster->replicas));
    } else if (!a->tries && !a->rides) {
        ask_send(c, a, (unsigned)(c->view % c->cluster->replicas));
    } else if (a->tries) {
        for (unsigned m = 0; m < c->cluster->machines; m++)
            ask_send(c, a, m);
        receipt_fetch(c, a,
                      (unsigned)sim_random_below(sim_world_random(world_of(c), SIM_STREAM_CLIENT),
                                                 c->cluster->machines));
    }
    number = sim_allocate(sizeof *number);
    *number = *(unsigned *)payload;
    wait = c->patience_us << (a->tries < 4 ? a->tries : 4);
    a->tries++;
    sim_world_after(world_of(c), wait, ask_due, c, number);
}

static struct ask *ask_draw(struct sim_client *c)
{
    struct ask *a = &c->ask[c->asks++];

    a->reqno = c->asks;
    a->invoked_us = world_of(c)->now_us;
    a->returned_us = SIM_NEVER;
    a->min_index = c->pass_min_index ? c->highest_index : 0;
    sim_bank_draw(&a->call, sim_world_random(world_of(c), SIM_STREAM_CLIENT),
                  c->cluster->bank_groups, &a->group);
    sim_world_log(world_of(c), "ask", c->number, a->reqno, a->call.proc);
    return a;
}

static void asks_start(struct sim_client *c, unsigned from)
{
    for (unsigned i = from; i < c->asks; i++) {
        unsigned *number = sim_allocate(sizeof *number);

        *number = i;
        sim_world_after(world_of(c), 0, ask_due, c, number);
    }
}

static void client_think(void *ctx, void *payload)
{
    struct sim_client *c = ctx;
    struct sim_random *random = sim_world_random(world_of(c), SIM_STREAM_CLIENT);
    unsigned from = c->asks, count = 1;

    (void)payload;
    if (c->asks == c->ask_max)
        return;
    sim_world_after(world_of(c), sim_random_skewed(random, 0, 40000), client_think, c, NULL);
    if (client_open_asks(c) >= c->window)
        return;
    if (c->bundles)
        count = (unsigned)sim_random_range(random, 1, BUNDLE_MAX);
    while (c->asks < c->ask_max && c->asks < from + count)
        ask_draw(c);
    if (c->asks - from > 1)
        bundle_encode(c, &c->ask[from], c->asks - from);
    else
        alone_encode(c, &c->ask[from]);
    asks_start(c, from);
}

void sim_client_start(struct sim_client *c)
{
    sim_world_after(world_of(c),
                    sim_random_below(sim_world_random(world_of(c), SIM_STREAM_CLIENT), 20000),
                    client_think, c, NULL);
}

/* ---- hearing ---- */

static struct answer *answer_of(struct sim_client *c, uint64_t view, uint64_t seqno, bool make)
{
    struct answer *oldest = &c->answer[0];

    for (unsigned i = 0; i < ANSWERS; i++) {
        if (c->answer[i].used && c->answer[i].view == view && c->answer[i].seqno == seqno)
            return &c->answer[i];
        if (c->answer[i].used < oldest->used)
            oldest = &c->answer[i];
    }
    if (!make)
        return NULL;
    memset(oldest, 0, sizeof *oldest);
    *oldest = (struct answer){.view = view, .seqno = seqno, .used = ++c->answers_used};
    return oldest;
}

/* Is this request's answer; takes from it what the judge wants to know. */
static bool receipt_take(struct sim_client *c, struct ask *a, struct slice bytes)
{
    struct ledger_keys keys = ledger_keys_of(&c->cluster->genesis);
    struct ledger_verifier verifier = sim_verifier(&c->cluster->signatures);
    struct ledger_receipt_info info;
    const struct ledger_tx *tx = &info.receipt.tx;
    struct error e;

    if (ledger_receipt_verify(bytes, &keys, &verifier, &info, &e) != 0) {
        sim_world_note(world_of(c), "client %u: not a receipt: %s", c->number, e.text);
        return false;
    }
    if (!info.receipt.of_transaction || !slice_equal(info.receipt.body.fields, a->fields))
        return false;
    if (!buffer_append(&a->receipt, bytes.data, bytes.len))
        abort();
    a->returned_us = world_of(c)->now_us;
    a->call.status = tx->status;
    a->call.index = tx->index;
    a->call.output_len = (uint32_t)(tx->output.len < 9 ? tx->output.len : 9);
    memcpy(a->call.output, tx->output.data, tx->output.len < 8 ? tx->output.len : 8);
    if (tx->index > c->highest_index)
        c->highest_index = tx->index;
    c->cluster->receipts++;
    sim_world_log(world_of(c), "receipt", c->number, a->reqno, tx->index);
    sim_witness_receipt(c->cluster->witness, &info.receipt);
    return true;
}

/* The signature that a reply of `replica` must bear: of the pp by its primary, else of its Prepare.
 */
static bool reply_fits(struct sim_client *c, const struct ledger_pp *pp, const uint8_t *pp_hash,
                       const struct answer *answer, unsigned replica)
{
    uint8_t commitment[HASH_LEN], hash[HASH_LEN];
    struct ledger_prepare prepare = {
        .config = pp->config, .view = pp->view, .seqno = pp->seqno, .replica = (uint16_t)replica};

    ledger_nonce_hash(answer->nonce[replica], commitment);
    if (replica == pp->view % c->cluster->replicas) {
        memcpy(hash, pp_hash, HASH_LEN);
        if (memcmp(commitment, pp->nonce_commit, HASH_LEN) != 0)
            return false;
    } else {
        memcpy(prepare.nonce_commit, commitment, HASH_LEN);
        memcpy(prepare.pp_hash, pp_hash, HASH_LEN);
        ledger_prepare_hash(&prepare, hash);
    }
    return sim_verify(&c->cluster->signatures, sim_key(replica)->public_key, hash,
                      answer->signature[replica]);
}

/* Tries to make a receipt of a claim and the replies to its batch. */
static void claim_try(struct sim_client *c, struct ask *a, const struct claim *claim)
{
    const struct answer *answer = answer_of(c, claim->pp.view, claim->pp.seqno, false);
    unsigned primary = (unsigned)(claim->pp.view % c->cluster->replicas), count = 0;
    uint8_t signatures[LEDGER_REPLICAS_MAX][64], nonces[LEDGER_REPLICAS_MAX][32], hash[HASH_LEN];
    struct ledger_receipt receipt = {.pp = claim->pp};
    struct buffer bytes = {0};

    if (!answer || (unsigned)__builtin_popcountll(answer->heard) < c->cluster->quorum ||
        !(answer->heard >> primary & 1))
        return;
    ledger_pp_hash(&claim->pp, hash);
    if (!reply_fits(c, &claim->pp, hash, answer, primary))
        return;
    for (unsigned r = 0, others = 0; r < c->cluster->replicas; r++) {
        if (!(answer->heard >> r & 1) || (r != primary && others == c->cluster->quorum - 1) ||
            !reply_fits(c, &claim->pp, hash, answer, r))
            continue;
        others += r != primary;
        receipt.bits |= UINT64_C(1) << r;
        memcpy(signatures[count], answer->signature[r], 64);
        memcpy(nonces[count++], answer->nonce[r], 32);
    }
    if (count < c->cluster->quorum)
        return;
    receipt.signer_count = count;
    receipt.signatures = signatures[0];
    receipt.nonces = nonces[0];
    receipt.of_transaction = true;
    receipt.tx_bytes = slice_of_buffer(&claim->tx);
    receipt.position = claim->position;
    receipt.path_len = claim->path_len;
    receipt.path = claim->path;
    if (!ledger_receipt_encode(&receipt, &bytes))
        abort();
    receipt_take(c, a, slice_of_buffer(&bytes));
    buffer_free(&bytes);
}

static void asks_try(struct sim_client *c)
{
    for (unsigned i = 0; i < c->asks; i++)
        for (unsigned m = 0; m < c->cluster->machines && ask_open(&c->ask[i]); m++)
            if (c->ask[i].claim[m].there)
                claim_try(c, &c->ask[i], &c->ask[i].claim[m]);
}

static void reply_heard(struct sim_client *c, unsigned from, struct slice message)
{
    struct ledger_reply reply;
    struct answer *answer;
    struct error e;

    if (ledger_reply_decode(message, &reply, &e) != 0 ||
        reply.replica != c->cluster->machine[from].replica)
        return;
    if (c->cluster->machine[from].correct)
        c->view = reply.view > c->view ? reply.view : c->view;
    answer = answer_of(c, reply.view, reply.seqno, true);
    answer->heard |= UINT64_C(1) << reply.replica;
    memcpy(answer->signature[reply.replica], reply.signature, 64);
    memcpy(answer->nonce[reply.replica], reply.nonce, 32);
    asks_try(c);
}

static void claim_heard(struct sim_client *c, unsigned from, const struct ledger_pp *pp,
                        const struct ledger_reply_tx *item)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct error e;

    if (item->path_len > LEDGER_BATCH_PATH_MAX || ledger_tx_decode(item->tx, &tx, &e) != 0 ||
        ledger_body_decode(tx.body, &body, &e) != 0)
        return;
    for (unsigned i = 0; i < c->asks; i++) {
        struct claim *claim = &c->ask[i].claim[from];

        if (!ask_open(&c->ask[i]) || !slice_equal(body.fields, c->ask[i].fields))
            continue;
        claim->there = true;
        claim->pp = *pp;
        claim->tx.len = 0;
        if (!buffer_append(&claim->tx, item->tx.data, item->tx.len))
            abort();
        claim->position = item->position;
        claim->path_len = item->path_len;
        memcpy(claim->path, item->path, item->path_len * sizeof claim->path[0]);
    }
}

static void replyx_heard(struct sim_client *c, unsigned from, struct slice message)
{
    struct ledger_replyx replyx;
    struct ledger_reply_tx item;
    struct error e;

    if (ledger_replyx_decode(message, &replyx, &e) != 0)
        return;
    while (ledger_list_next_reply_tx(&replyx.txs, &item))
        claim_heard(c, from, &replyx.pp, &item);
    asks_try(c);
}

static void receipt_heard(struct sim_client *c, unsigned from, struct slice message)
{
    struct slice receipt;
    struct error e;
    bool taken = false;

    if (ledger_receipt_message_decode(message, &receipt, &e) != 0)
        return;
    for (unsigned i = 0; i < c->asks && !taken; i++)
        if (ask_open(&c->ask[i]))
            taken = receipt_take(c, &c->ask[i], receipt);
    if (!taken && c->cluster->machine[from].correct) {
        struct ledger_keys keys = ledger_keys_of(&c->cluster->genesis);
        struct ledger_verifier verifier = sim_verifier(&c->cluster->signatures);
        struct ledger_receipt_info info;

        if (ledger_receipt_verify(receipt, &keys, &verifier, &info, &e) != 0)
            sim_world_violated(world_of(c), "machine %u, correct, gave client %u a bad receipt: %s",
                               from, c->number, e.text);
    }
}

/* The number of the request with this hash; 0: none of ours. */
static uint64_t asked_for(const struct sim_client *c, const uint8_t *req_hash)
{
    uint8_t hash[HASH_LEN];

    for (unsigned i = 0; i < c->asks; i++) {
        ledger_request_hash(c->ask[i].fields, hash);
        if (memcmp(hash, req_hash, HASH_LEN) == 0)
            return c->ask[i].reqno;
    }
    return 0;
}

/* A correct replica has no reason to refuse for good what an honest client asks. */
static void refusal_heard(struct sim_client *c, unsigned from, struct slice message)
{
    struct ledger_refusal refusal;
    struct error e;

    if (ledger_refusal_decode(message, &refusal, &e) != 0)
        return;
    sim_world_log(world_of(c), "refused", c->number, from, refusal.reason);
    if (!c->cluster->machine[from].correct || !asked_for(c, refusal.req_hash))
        return;
    switch (refusal.reason) {
    case LEDGER_REFUSAL_TOO_OLD:
    case LEDGER_REFUSAL_MALFORMED:
    case LEDGER_REFUSAL_SIGNATURE:
    case LEDGER_REFUSAL_STRANGER:
    case LEDGER_REFUSAL_DUPLICATE:
        sim_world_violated(world_of(c), "machine %u, correct, refused client %u's request %llu: %s",
                           from, c->number, (unsigned long long)asked_for(c, refusal.req_hash),
                           ledger_refusal_name(refusal.reason));
        break;
    default: break;
    }
}

void sim_client_receive(struct sim_client *c, unsigned from, const uint8_t *bytes, size_t len)
{
    struct slice message = slice_of(bytes, len);

    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_REPLY: reply_heard(c, from, message); break;
    case LEDGER_MESSAGE_REPLYX: replyx_heard(c, from, message); break;
    case LEDGER_MESSAGE_RECEIPT: receipt_heard(c, from, message); break;
    case LEDGER_MESSAGE_REFUSAL: refusal_heard(c, from, message); break;
    default: break;
    }
}

/* ---- for the judge ---- */

size_t sim_client_history(const struct sim_client *c, struct sim_operation *operations, size_t room)
{
    assert(c->asks <= room);
    for (unsigned i = 0; i < c->asks; i++)
        operations[i] = (struct sim_operation){
            .invoked_us = c->ask[i].invoked_us,
            .returned_us = c->ask[i].returned_us,
            .group = c->ask[i].group,
            .call = &c->ask[i].call,
        };
    return c->asks;
}

void sim_client_receipts(const struct sim_client *c, void (*visit)(void *ctx, struct slice receipt),
                         void *ctx)
{
    for (unsigned i = 0; i < c->asks; i++)
        if (!ask_open(&c->ask[i]))
            visit(ctx, slice_of_buffer(&c->ask[i].receipt));
}
