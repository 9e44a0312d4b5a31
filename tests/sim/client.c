/*
 * A simulated client: the product's client core (src/ledger/client), its receipt store, and what is
 * around them in a process, simulated. It asks for SmallBank transactions, a few at a time, and
 * keeps what it asked and heard for the judge.
 *
 *   think ──▶ ledger_client_call ──▶ settle ──▶ lines ──▶ replicas
 *                                                │
 *   history ◀── finished ◀── ledger_client_… ◀───┘
 *
 * What the core promises is held against it here: a call that it calls executed has a receipt that
 * verifies and is of this very call; none ends in a way that only a broken service or a broken key
 * explains. A client that crashes forgets its calls (they may be executed or not) and goes on with
 * its receipt store, a real file in memory; when its machine lost power, what was not synced of it
 * is gone.
 */
#include "ledger/client/client.h"
#include "cluster.h"
#include "ledger/client/receipt_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUNDLE_MAX     7
#define IDENTITIES_MAX 2

struct ask {
    uint64_t reqno, invoked_us, returned_us, min_index;
    unsigned identity, group, life;
    bool ended; /* answered, or given up */
    bool known; /* req_hash and min_index: it was sent */
    uint8_t req_hash[HASH_LEN];
    struct sim_bank_call call;
    struct buffer receipt;
};

struct sim_client {
    struct sim_cluster *cluster;
    unsigned number, endpoint, identities, bundle_max, window, pace;
    uint64_t deadline_us;
    uint64_t highest_index;     /* in any receipt of this life, or of its store */
    bool syncs;                 /* every receipt before it counts as heard */
    struct ledger_client *core; /* NULL: it is down */
    unsigned life, timer_version;
    bool settle_planned, think_planned, restart_planned;
    struct ask *ask;
    unsigned asks, ask_max;
    /* The receipt store, when it has one. */
    bool stores;
    char path[64];
    struct ledger_receipt_store *store;
    uint64_t synced_bytes;
};

static struct sim_world *world_of(const struct sim_client *c)
{
    return &c->cluster->world;
}

static struct sim_random *random_of(const struct sim_client *c)
{
    return sim_world_random(world_of(c), SIM_STREAM_CLIENT);
}

static const struct sim_key *key_of(const struct sim_client *c, unsigned identity)
{
    return sim_key(SIM_KEY_CLIENTS + c->number + identity * 2 * SIM_CLIENTS_MAX);
}

static unsigned asks_open(const struct sim_client *c)
{
    unsigned open = 0;

    for (unsigned i = 0; i < c->asks; i++)
        open += !c->ask[i].ended;
    return open;
}

bool sim_client_done(const struct sim_client *c)
{
    return c->asks == c->ask_max && asks_open(c) == 0;
}

bool sim_client_is_up(const struct sim_client *c)
{
    return c->core != NULL;
}

/* ---- the receipt store ---- */

static void store_note(struct sim_client *c)
{
    struct ledger_receipt_store_status status;

    ledger_receipt_store_status(c->store, &status);
    c->synced_bytes = status.bytes;
}

static void store_add(struct sim_client *c, struct slice receipt)
{
    struct error e;

    if (!c->store)
        return;
    if (ledger_receipt_store_add(c->store, receipt, &e) != 0) {
        sim_world_violated(world_of(c), "client %u cannot keep a receipt: %s", c->number, e.text);
        return;
    }
    if (!c->syncs && !sim_random_chance(random_of(c), 200))
        return;
    if (ledger_receipt_store_sync(c->store, &e) != 0)
        sim_world_violated(world_of(c), "client %u cannot sync its receipts: %s", c->number,
                           e.text);
    store_note(c);
}

static void store_open(struct sim_client *c)
{
    struct error e;

    if (ledger_receipt_store_open(c->path, c->cluster->genesis.hash, &c->store, &e) != 0) {
        sim_world_violated(world_of(c), "client %u cannot open its receipt store: %s", c->number,
                           e.text);
        c->store = NULL;
        return;
    }
    store_note(c);
}

/* Of what was not synced a prefix is there. */
static void store_power_cut(const struct sim_client *c)
{
    struct stat status;

    if (stat(c->path, &status) != 0 || (uint64_t)status.st_size <= c->synced_bytes)
        return;
    if (truncate(c->path, (off_t)sim_random_range(random_of(c), c->synced_bytes,
                                                  (uint64_t)status.st_size)) != 0)
        abort();
}

/* ---- what the core asks for ---- */

static uint64_t env_now_us(void *context)
{
    return world_of(context)->now_us + 5000000;
}

static void settle_plan(struct sim_client *c);

static void timer_due(void *ctx, void *payload)
{
    struct sim_client *c = ctx;

    if (!c->core || *(unsigned *)payload != c->timer_version)
        return;
    ledger_client_on_timer(c->core);
    settle_plan(c);
}

static void event_plan(struct sim_client *c, uint64_t delay_us, sim_action *action, unsigned number)
{
    unsigned *payload = sim_allocate(sizeof *payload);

    *payload = number;
    sim_world_after(world_of(c), delay_us, action, c, payload);
}

static void env_timer_set(void *context, uint64_t at_us)
{
    struct sim_client *c = context;
    uint64_t now = env_now_us(c);

    event_plan(c, at_us > now ? at_us - now : 0, timer_due, ++c->timer_version);
}

static struct ask *ask_of_hash(const struct sim_client *c, const uint8_t *req_hash)
{
    for (unsigned i = c->asks; i--;)
        if (c->ask[i].known && memcmp(c->ask[i].req_hash, req_hash, HASH_LEN) == 0)
            return &c->ask[i];
    return NULL;
}

/* Notes what a request that leaves says of itself. */
static void body_note(struct sim_client *c, struct slice bytes)
{
    struct ledger_body body;
    struct error e;

    if (ledger_body_decode(bytes, &body, &e) != 0) {
        sim_world_violated(world_of(c), "client %u sends a body that does not decode: %s",
                           c->number, e.text);
        return;
    }
    for (unsigned i = c->asks; i--;) {
        struct ask *a = &c->ask[i];

        if (a->known || a->life != c->life || a->reqno != body.request.reqno ||
            memcmp(key_of(c, a->identity)->public_key, body.request.client, ED25519_KEY_LEN) != 0)
            continue;
        a->known = true;
        a->min_index = body.request.min_index;
        if (a->min_index < c->highest_index)
            sim_world_violated(world_of(c), "client %u signs min_index %llu, yet it has seen %llu",
                               c->number, (unsigned long long)a->min_index,
                               (unsigned long long)c->highest_index);
        ledger_request_hash(body.fields, a->req_hash);
        return;
    }
}

static void bundle_note(struct sim_client *c, struct slice message)
{
    size_t ends[BUNDLE_MAX];
    struct ledger_bundle bundle;
    struct buffer bodies = {0};
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_bundle_message_decode(message, &bundle, &e) != 0 || bundle.count > BUNDLE_MAX ||
        ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e) != 0)
        sim_world_violated(world_of(c), "client %u sends a bad bundle", c->number);
    else
        for (uint32_t i = 0; i < bundle.count; i++) {
            size_t from = i ? ends[i - 1] : 0;

            body_note(c, slice_of(bodies.data + from, ends[i] - from));
        }
    buffer_free(&bodies);
}

static void requests_note(struct sim_client *c, struct slice message)
{
    struct ledger_list bodies;
    struct slice body;
    struct error e;

    if (ledger_message_type(message) == LEDGER_MESSAGE_BUNDLE)
        bundle_note(c, message);
    if (ledger_message_type(message) == LEDGER_MESSAGE_REQUEST &&
        ledger_bodies_decode(message, &bodies, &e) == 0)
        while (ledger_list_next_bytes(&bodies, &body))
            body_note(c, body);
}

static void env_send(void *context, uint16_t to, struct slice message)
{
    struct sim_client *c = context;

    sim_world_log(world_of(c), ledger_message_name(ledger_message_type(message)), c->endpoint, to,
                  message.len);
    requests_note(c, message);
    for (unsigned m = 0; m < c->cluster->machines; m++)
        if (c->cluster->machine[m].replica == to)
            sim_line_ask(c->cluster, c->number, m, message);
}

static void env_sign(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                     uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    struct sim_client *c = context;

    sim_sign(&c->cluster->signatures, key_of(c, identity), hash, signature);
}

static int env_reserve(void *context, unsigned identity, uint64_t end, struct error *e)
{
    struct sim_client *c = context;
    int rc = ledger_receipt_store_reserve(c->store, key_of(c, identity)->public_key, end, e);

    if (rc == 0)
        store_note(c);
    return rc;
}

/* ---- how calls end ---- */

static void receipt_take(struct sim_client *c, struct ask *a, const struct ledger_outcome *outcome)
{
    struct ledger_keys keys = ledger_keys_of(&c->cluster->genesis);
    struct ledger_verifier verifier = sim_verifier(&c->cluster->signatures);
    struct ledger_receipt_info info;
    const struct ledger_tx *tx = &info.receipt.tx;
    const struct ledger_request *request = &info.receipt.body.request;
    struct error e;

    if (ledger_receipt_verify(outcome->receipt, &keys, &verifier, &info, &e) != 0) {
        sim_world_violated(world_of(c), "client %u was given no receipt for its request %llu: %s",
                           c->number, (unsigned long long)a->reqno, e.text);
        return;
    }
    if (!info.receipt.of_transaction || request->reqno != a->reqno || tx->index != outcome->index ||
        memcmp(request->client, key_of(c, a->identity)->public_key, ED25519_KEY_LEN) != 0 ||
        !slice_equal(request->args, slice_of(a->call.args, a->call.args_len))) {
        sim_world_violated(world_of(c),
                           "client %u was given another's receipt for its request %llu", c->number,
                           (unsigned long long)a->reqno);
        return;
    }
    if (!buffer_append(&a->receipt, outcome->receipt.data, outcome->receipt.len))
        abort();
    a->returned_us = world_of(c)->now_us;
    a->call.status = tx->status;
    a->call.index = tx->index;
    c->highest_index = tx->index > c->highest_index ? tx->index : c->highest_index;
    a->call.output_len = (uint32_t)(tx->output.len < 9 ? tx->output.len : 9);
    memcpy(a->call.output, tx->output.data, tx->output.len < 8 ? tx->output.len : 8);
    sim_covered(&c->cluster->coverage, SIM_SECTION_EVENT, SIM_EVENT_RECEIPT);
    sim_world_log(world_of(c), "receipt", c->number, a->reqno, tx->index);
    sim_witness_receipt(c->cluster->witness, &info.receipt);
    store_add(c, outcome->receipt);
}

static void env_finished(void *context, const struct ledger_outcome *outcome)
{
    struct sim_client *c = context;
    struct ask *a = &c->ask[(uintptr_t)outcome->tag];

    assert(a->life == c->life && a->reqno == outcome->reqno && !a->ended);
    a->ended = true;
    if (outcome->result == 0) {
        receipt_take(c, a, outcome);
        return;
    }
    sim_world_log(world_of(c), "failed", c->number, a->reqno, (uint64_t)-outcome->result);
    if (outcome->result == -ATOLL_ETIMEDOUT && c->deadline_us) /* it may still be executed */
        sim_covered(&c->cluster->coverage, SIM_SECTION_EVENT, SIM_EVENT_TIMEOUT);
    else if (!sim_cluster_overrun(c->cluster))
        sim_world_violated(world_of(c), "client %u's request %llu ended with %d: %s", c->number,
                           (unsigned long long)a->reqno, outcome->result, outcome->text);
}

/* ---- life ---- */

static void core_open(struct sim_client *c)
{
    struct ledger_client_identity identities[IDENTITIES_MAX];
    struct ledger_receipt_store_status status = {0};
    const struct ledger_client_env env = {
        .context = c,
        .now_us = env_now_us,
        .timer_set = env_timer_set,
        .send = env_send,
        .sign = env_sign,
        .reserve = c->store ? env_reserve : NULL,
        .finished = env_finished,
    };
    struct ledger_client_settings settings = {
        .genesis = &c->cluster->genesis,
        .identities = identities,
        .identity_count = c->identities,
        .bundle_max = c->bundle_max,
        .window = c->window,
        .retry_us = c->cluster->genesis.configuration.view_timeout_us / 2,
        .deadline_us = c->deadline_us,
        .verifier = sim_verifier(&c->cluster->signatures),
    };
    struct error e;

    for (unsigned i = 0; i < c->identities; i++) {
        memcpy(identities[i].public_key, key_of(c, i)->public_key, ED25519_KEY_LEN);
        identities[i].first_reqno =
            c->store ? ledger_receipt_store_next(c->store, identities[i].public_key) : 1;
    }
    if (c->store)
        ledger_receipt_store_status(c->store, &status);
    settings.min_index = c->highest_index = status.highest_index;
    if (ledger_client_open(&settings, &env, &c->core, &e) != 0)
        sim_world_violated(world_of(c), "client %u does not open: %s", c->number, e.text);
}

/* The file of client `number` of a process: in memory, if there is such a place. */
static void path_make(char *path, size_t len, long process, unsigned number)
{
    snprintf(path, len, "%s/ledger-sim-%ld-%u", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
             process, number);
}

void sim_client_sweep(long process)
{
    char path[64];

    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++) {
        path_make(path, sizeof path, process, i);
        unlink(path);
    }
}

struct sim_client *sim_client_create(struct sim_cluster *cluster, unsigned number,
                                     unsigned requests)
{
    struct sim_random *random = sim_world_random(&cluster->world, SIM_STREAM_SETUP);
    struct sim_client *c = calloc(1, sizeof *c);

    assert(requests <= SIM_REQUESTS_MAX);
    if (!c)
        abort();
    c->cluster = cluster;
    c->number = number;
    c->endpoint = cluster->machines + number;
    c->ask_max = requests;
    c->ask = calloc(requests, sizeof *c->ask);
    if (!c->ask)
        abort();
    c->pace = (unsigned)sim_random_range(random, 1, 6);
    c->window = sim_random_chance(random, 300) ? (uint32_t)sim_random_range(random, 1, 4) : 0;
    c->bundle_max =
        sim_random_chance(random, 300) ? (uint32_t)sim_random_range(random, 2, BUNDLE_MAX) : 1;
    c->identities = sim_random_chance(random, 250) ? IDENTITIES_MAX : 1;
    if (sim_random_chance(random, 150))
        c->deadline_us = sim_random_range(random, 100000, 3000000);
    c->syncs = sim_random_chance(random, 500);
    c->stores = sim_random_chance(random, 400);
    if (c->stores) {
        path_make(c->path, sizeof c->path, (long)getpid(), number);
        unlink(c->path);
    }
    return c;
}

static void core_close(struct sim_client *c)
{
    ledger_client_close(c->core);
    ledger_receipt_store_close(c->store);
    c->core = NULL;
    c->store = NULL;
}

void sim_client_destroy(struct sim_client *c)
{
    if (!c)
        return;
    core_close(c);
    if (c->stores)
        unlink(c->path);
    for (unsigned i = 0; i < c->asks; i++)
        buffer_free(&c->ask[i].receipt);
    free(c->ask);
    free(c);
}

static void settle_due(void *ctx, void *payload)
{
    struct sim_client *c = ctx;

    if (!c->core || *(unsigned *)payload != c->life)
        return;
    c->settle_planned = false;
    ledger_client_settle(c->core);
}

static void settle_plan(struct sim_client *c)
{
    if (c->settle_planned)
        return;
    c->settle_planned = true;
    event_plan(c, sim_random_skewed(random_of(c), 0, 200), settle_due, c->life);
}

/* ---- asking ---- */

static void ask_begin(struct sim_client *c)
{
    struct ask *a = &c->ask[c->asks];
    struct slice args;
    struct error e;

    a->identity = (unsigned)sim_random_below(random_of(c), c->identities);
    sim_bank_draw(&a->call, random_of(c), c->cluster->bank_groups, &a->group);
    args = slice_of(a->call.args, a->call.args_len);
    if (ledger_client_call(c->core, a->identity, a->call.proc, args, (void *)(uintptr_t)c->asks,
                           &a->reqno, &e) != 0) {
        sim_world_violated(world_of(c), "client %u cannot call: %s", c->number, e.text);
        return;
    }
    a->life = c->life;
    a->invoked_us = world_of(c)->now_us;
    a->returned_us = SIM_NEVER;
    c->asks++;
    sim_world_log(world_of(c), "ask", c->number, a->reqno, a->call.proc);
}

static void think_plan(struct sim_client *c, uint64_t delay_us);

static void think_due(void *ctx, void *payload)
{
    struct sim_client *c = ctx;
    uint64_t count = 1;

    (void)payload;
    c->think_planned = false;
    if (c->asks == c->ask_max || !c->core)
        return;
    think_plan(c, sim_random_skewed(random_of(c), 0, 40000));
    if (asks_open(c) >= c->pace)
        return;
    if (c->bundle_max > 1)
        count = sim_random_range(random_of(c), 1, BUNDLE_MAX);
    while (count-- && c->asks < c->ask_max && !world_of(c)->stopped)
        ask_begin(c);
    settle_plan(c);
}

static void think_plan(struct sim_client *c, uint64_t delay_us)
{
    if (c->think_planned)
        return;
    c->think_planned = true;
    sim_world_after(world_of(c), delay_us, think_due, c, NULL);
}

void sim_client_start(struct sim_client *c)
{
    c->life++;
    c->settle_planned = false;
    if (c->stores)
        store_open(c);
    if (!world_of(c)->stopped)
        core_open(c);
    if (!c->core)
        return;
    sim_line_dial(c->cluster, c->number);
    think_plan(c, sim_random_below(random_of(c), 20000));
}

static void restart_due(void *ctx, void *payload)
{
    struct sim_client *c = ctx;

    (void)payload;
    c->restart_planned = false;
    if (!c->core)
        sim_client_start(c);
}

bool sim_client_crash(struct sim_client *c, bool power, uint64_t restart_us)
{
    /* Without a receipt store it could not know which numbers it used. */
    if (!c->stores || !c->core)
        return false;
    sim_world_log(world_of(c), "client crash", c->number, c->life, restart_us);
    core_close(c);
    if (power)
        store_power_cut(c);
    for (unsigned i = 0; i < c->asks; i++)
        c->ask[i].ended = true;
    for (unsigned m = 0; m < c->cluster->machines; m++) {
        sim_line_break(c->cluster, c->number, m);
        sim_machine_hang_up(&c->cluster->machine[m], c->endpoint);
    }
    c->restart_planned = true;
    sim_world_after(world_of(c), restart_us, restart_due, c, NULL);
    return true;
}

/* ---- hearing ---- */

/* A correct replica hands out no receipt that does not verify. */
static void receipt_look(struct sim_client *c, unsigned from, struct slice message)
{
    struct ledger_keys keys = ledger_keys_of(&c->cluster->genesis);
    struct ledger_verifier verifier = sim_verifier(&c->cluster->signatures);
    struct ledger_receipt_info info;
    struct slice receipt;
    struct error e;

    if (ledger_receipt_message_decode(message, &receipt, &e) != 0 ||
        ledger_receipt_verify(receipt, &keys, &verifier, &info, &e) != 0)
        sim_world_violated(world_of(c), "machine %u, correct, gave client %u a bad receipt: %s",
                           from, c->number, e.text);
}

/* A correct replica has no reason to refuse for good what an honest client asks. */
static void refusal_look(struct sim_client *c, unsigned from, struct slice message)
{
    struct ledger_refusal refusal;
    const struct ask *a;
    struct error e;

    if (ledger_refusal_decode(message, &refusal, &e) != 0)
        return;
    sim_world_log(world_of(c), "refused", c->number, from, refusal.reason);
    a = ask_of_hash(c, refusal.req_hash);
    /* What it asked before it died may have become too old. */
    if (!a || a->life != c->life)
        return;
    switch (refusal.reason) {
    case LEDGER_REFUSAL_TOO_OLD:
    case LEDGER_REFUSAL_MALFORMED:
    case LEDGER_REFUSAL_SIGNATURE:
    case LEDGER_REFUSAL_STRANGER:
    case LEDGER_REFUSAL_DUPLICATE:
        sim_world_violated(world_of(c), "machine %u, correct, refused client %u's request %llu: %s",
                           from, c->number, (unsigned long long)a->reqno,
                           ledger_refusal_name(refusal.reason));
        break;
    default: break;
    }
}

void sim_client_connected(struct sim_client *c, uint16_t replica)
{
    ledger_client_on_connected(c->core, replica);
    settle_plan(c);
}

void sim_client_receive(struct sim_client *c, unsigned from, const uint8_t *bytes, size_t len)
{
    const struct sim_machine *m = &c->cluster->machine[from];
    struct slice message = slice_of(bytes, len);

    if (!c->core)
        return;
    if (m->correct && ledger_message_type(message) == LEDGER_MESSAGE_RECEIPT)
        receipt_look(c, from, message);
    if (m->correct && ledger_message_type(message) == LEDGER_MESSAGE_REFUSAL)
        refusal_look(c, from, message);
    ledger_client_on_message(c->core, m->replica, message);
    settle_plan(c);
}

/* ---- for a trace ---- */

/* Where the request stands in the ledger of the first machine that has it. */
static void ask_find(struct sim_client *c, const struct ask *a)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct error e;

    for (unsigned m = 0; m < c->cluster->machines; m++)
        for (uint64_t i = 0; i < c->cluster->machine[m].entries; i++) {
            const struct sim_record *r = sim_machine_entry(&c->cluster->machine[m], i);
            uint8_t hash[HASH_LEN];

            if (!r || r->type != LEDGER_ENTRY_TX ||
                ledger_tx_decode(slice_of(r->bytes, r->len), &tx, &e) != 0 ||
                ledger_body_decode(tx.body, &body, &e) != 0)
                continue;
            ledger_request_hash(body.fields, hash);
            if (a->known && memcmp(hash, a->req_hash, HASH_LEN) == 0) {
                sim_world_note(world_of(c), "  it is transaction %llu of machine %u",
                               (unsigned long long)tx.index, m);
                return;
            }
        }
    sim_world_note(world_of(c), "  no ledger has it");
}

void sim_client_tell(struct sim_client *c)
{
    struct ledger_client_status status = {0};

    if (c->core)
        ledger_client_status(c->core, &status);
    sim_world_note(world_of(c), "client %u%s: %u waiting, %u sent, %llu retries, %llu fetches",
                   c->number, c->core ? "" : " is down", status.waiting, status.sent,
                   (unsigned long long)status.retries, (unsigned long long)status.fetches);
    for (unsigned i = 0; i < c->asks; i++) {
        const struct ask *a = &c->ask[i];

        if (a->ended)
            continue;
        sim_world_note(world_of(c),
                       "client %u waits for its request %llu of %.6f s, min_index %llu, "
                       "procedure %u%s",
                       c->number, (unsigned long long)a->reqno, (double)a->invoked_us / 1e6,
                       (unsigned long long)a->min_index, a->call.proc,
                       a->known ? "" : ", not sent yet");
        ask_find(c, a);
    }
}

/* ---- for the judge ---- */

size_t sim_client_history(struct sim_client *c, struct sim_operation *operations, size_t room,
                          sim_place *place, void *ctx)
{
    assert(c->asks <= room);
    for (unsigned i = 0; i < c->asks; i++) {
        struct ask *a = &c->ask[i];

        if (a->returned_us == SIM_NEVER && a->known)
            a->call.index = place(ctx, a->req_hash);
        operations[i] = (struct sim_operation){
            .invoked_us = a->invoked_us,
            .returned_us = a->returned_us,
            .hint = a->call.index,
            .group = a->group,
            .call = &a->call,
        };
    }
    return c->asks;
}

void sim_client_receipts(const struct sim_client *c, void (*visit)(void *ctx, struct slice receipt),
                         void *ctx)
{
    for (unsigned i = 0; i < c->asks; i++)
        if (c->ask[i].returned_us != SIM_NEVER)
            visit(ctx, slice_of_buffer(&c->ask[i].receipt));
}
