/*
 * See caller.h. Signatures on replies are the same for all clients of a process, so what was
 * verified lately is remembered.
 */
#include "ledger/service/caller.h"

#include "base/clock.h"
#include "ledger/object/known_verifier.h"
#include "ledger/service/connection.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS       50u
#define BACKOFF_FIRST 1u /* ticks */
#define BACKOFF_LAST  20u
#define OUTGOING_MAX  (64u << 20)

/* The way to one replica: a connection after the other. */
struct line {
    struct caller *caller;
    uint16_t replica;
    struct connection connection; /* while `open` */
    bool open;
    uint32_t wait, backoff; /* ticks */
};

struct caller {
    uv_loop_t *loop;
    struct caller_settings settings;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    struct channel_identity identity;
    struct line lines[LEDGER_REPLICAS_MAX];
    struct secret **keys;
    struct ledger_client *client;
    struct ledger_known_verifier *verifier;
    struct connection_host host;
    uv_timer_t tick, alarm;
    uv_prepare_t settle;
    unsigned open; /* handles that are not closed */
    bool closing;
    void (*closed)(void *);
    void *closed_context;
};

/* ---- what the client asks for ---- */

static uint64_t env_now(void *context)
{
    (void)context;
    return uv_hrtime() / 1000;
}

static void alarm_rings(uv_timer_t *timer)
{
    struct caller *c = timer->data;
    ledger_client_on_timer(c->client);
}

static void env_timer_set(void *context, uint64_t at_us)
{
    struct caller *c = context;
    uint64_t now = env_now(c);
    uv_update_time(c->loop);
    uv_timer_start(&c->alarm, alarm_rings, at_us > now ? (at_us - now + 999) / 1000 : 0, 0);
}

static void env_send(void *context, uint16_t to, struct slice message)
{
    struct caller *c = context;
    struct line *l = &c->lines[to];
    if (l->open)
        connection_send(&l->connection, &message, 1, OUTGOING_MAX); /* what is lost is sent again */
}

static void env_sign(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                     uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    const struct caller *c = context;
    secret_sign(c->keys[identity], hash, HASH_LEN, signature);
}

static int env_reserve(void *context, unsigned identity, uint64_t end, struct error *e)
{
    const struct caller *c = context;
    return ledger_receipt_store_reserve(c->settings.store, secret_public(c->keys[identity]), end,
                                        e);
}

static void env_finished(void *context, const struct ledger_outcome *outcome)
{
    const struct caller *c = context;
    struct ledger_outcome told = *outcome;
    struct error e;
    if (c->settings.store && outcome->receipt.len > 0 &&
        ledger_receipt_store_add(c->settings.store, outcome->receipt, &e) != 0 &&
        outcome->result == 0)
        told.text = e.text;
    c->settings.finished(c->settings.context, &told);
}

/* ---- lines ---- */

static void caller_free(struct caller *c)
{
    void (*closed)(void *) = c->closed;
    void *context = c->closed_context;
    ledger_known_verifier_destroy(c->verifier);
    buffer_free(&c->genesis_bytes);
    free(c->keys);
    free(c);
    if (closed)
        closed(context);
}

static void handle_gone(struct caller *c)
{
    if (--c->open == 0)
        caller_free(c);
}

static bool line_known(struct connection *connection)
{
    struct line *l = connection->owner;
    l->backoff = BACKOFF_FIRST;
    ledger_client_on_connected(l->caller->client, l->replica);
    return true;
}

static void line_message(struct connection *connection, struct slice message)
{
    struct line *l = connection->owner;
    ledger_client_on_message(l->caller->client, l->replica, message);
}

static void line_closing(struct connection *connection, bool bad)
{
    const struct line *l = connection->owner;
    (void)bad;
    if (connection->known && !l->caller->closing)
        ledger_client_on_disconnected(l->caller->client, l->replica);
}

static void line_closed(struct connection *connection)
{
    struct line *l = connection->owner;
    l->open = false;
    handle_gone(l->caller);
}

static void line_dial(struct line *l)
{
    struct caller *c = l->caller;
    struct error e;
    l->wait = l->backoff;
    l->backoff = 2 * l->backoff < BACKOFF_LAST ? 2 * l->backoff : BACKOFF_LAST;
    c->open++;
    l->open = true;
    if (connection_dial(&l->connection, &c->host, l, l->replica, &e) == 0)
        return;
    l->open = false;
    c->open--;
}

static void tick(uv_timer_t *timer)
{
    struct caller *c = timer->data;
    for (uint32_t i = 0; i < c->genesis.configuration.replica_count; i++) {
        struct line *l = &c->lines[i];
        if (l->open)
            continue;
        if (l->wait > 0)
            l->wait--;
        else
            line_dial(l);
    }
}

static void settle(uv_prepare_t *prepare)
{
    struct caller *c = prepare->data;
    ledger_client_settle(c->client);
    for (uint32_t i = 0; i < c->genesis.configuration.replica_count; i++)
        if (c->lines[i].open)
            connection_flush(&c->lines[i].connection);
}

/* ---- life ---- */

uint64_t caller_next_number(const struct ledger_receipt_store *store, const uint8_t *public_key)
{
    uint64_t next = store ? ledger_receipt_store_next(store, public_key) : 1;
    uint64_t now_us = (uint64_t)clock_ns(CLOCK_REALTIME) / 1000;
    return next > now_us ? next : now_us;
}

static uint64_t first_min_index(const struct caller_settings *s)
{
    struct ledger_receipt_store_status kept = {0};
    if (s->store)
        ledger_receipt_store_status(s->store, &kept);
    return kept.highest_index > s->min_index ? kept.highest_index : s->min_index;
}

static int client_open(struct caller *c, struct error *e)
{
    const struct caller_settings *s = &c->settings;
    const struct ledger_client_env env = {.context = c,
                                          .now_us = env_now,
                                          .timer_set = env_timer_set,
                                          .send = env_send,
                                          .sign = env_sign,
                                          .reserve = s->store ? env_reserve : NULL,
                                          .finished = env_finished};
    struct ledger_client_identity *identities = calloc(s->identities, sizeof *identities);
    if (identities == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    for (unsigned i = 0; i < s->identities; i++) {
        memcpy(identities[i].public_key, secret_public(c->keys[i]), ED25519_KEY_LEN);
        identities[i].first_reqno = caller_next_number(s->store, identities[i].public_key);
    }
    const struct ledger_client_settings settings = {
        .genesis = &c->genesis,
        .identities = identities,
        .identity_count = s->identities,
        .min_index = first_min_index(s),
        .bundle_max = s->bundle_max ? s->bundle_max : 1,
        .retry_us = s->retry_us ? s->retry_us : c->genesis.configuration.view_timeout_us / 2,
        .deadline_us = s->deadline_us,
        .verifier = ledger_known_verifier_of(c->verifier)};
    int rc = ledger_client_open(&settings, &env, &c->client, e);
    free(identities);
    return rc;
}

static int caller_prepare(struct caller *c, struct error *e)
{
    const struct caller_settings *s = &c->settings;
    if (s->identities < 1 || s->identities > LEDGER_CLIENT_IDENTITIES_MAX)
        return error_set(e, ATOLL_EINVAL, "a client has 1 to %d keys",
                         LEDGER_CLIENT_IDENTITIES_MAX);
    c->keys = calloc(s->identities, sizeof(struct secret *));
    if (!c->keys || !buffer_append(&c->genesis_bytes, s->genesis.data, s->genesis.len))
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    memcpy(c->keys, s->keys, s->identities * sizeof(struct secret *));
    int rc = ledger_genesis_decode(slice_of_buffer(&c->genesis_bytes), &c->genesis, e);
    if (rc == 0)
        rc = ledger_known_verifier_create(&c->genesis.configuration, &c->verifier, e);
    c->identity = (struct channel_identity){.genesis = c->genesis.hash,
                                            .configuration = &c->genesis.configuration,
                                            .role = CHANNEL_CLIENT};
    for (uint16_t i = 0; rc == 0 && i < c->genesis.configuration.replica_count; i++)
        c->lines[i] = (struct line){.caller = c, .replica = i, .backoff = BACKOFF_FIRST};
    return rc;
}

int caller_open(uv_loop_t *loop, const struct caller_settings *settings, struct caller **out,
                struct error *e)
{
    static const struct connection_events events = {.known = line_known,
                                                    .message = line_message,
                                                    .closing = line_closing,
                                                    .closed = line_closed};
    struct caller *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    c->loop = loop;
    c->settings = *settings;
    c->host.loop = loop;
    c->host.own = &c->identity;
    c->host.events = &events;
    uv_timer_init(loop, &c->tick);
    uv_timer_init(loop, &c->alarm);
    uv_prepare_init(loop, &c->settle);
    c->tick.data = c->alarm.data = c->settle.data = c;
    c->open = 3;
    int rc = caller_prepare(c, e);
    if (rc == 0)
        rc = client_open(c, e);
    if (rc != 0) {
        caller_close(c, NULL, NULL);
        return rc;
    }
    uv_timer_start(&c->tick, tick, 0, TICK_MS);
    uv_prepare_start(&c->settle, settle);
    *out = c;
    return 0;
}

static void part_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

void caller_close(struct caller *c, void (*closed)(void *), void *context)
{
    c->closing = true;
    c->closed = closed;
    c->closed_context = context;
    for (uint32_t i = 0; i < LEDGER_REPLICAS_MAX; i++)
        if (c->lines[i].open)
            connection_close(&c->lines[i].connection);
    ledger_client_close(c->client);
    c->client = NULL;
    uv_close((uv_handle_t *)&c->alarm, part_closed);
    uv_close((uv_handle_t *)&c->tick, part_closed);
    uv_close((uv_handle_t *)&c->settle, part_closed);
}

struct ledger_client *caller_client(struct caller *c)
{
    return c->client;
}

unsigned caller_connected(const struct caller *c)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < c->genesis.configuration.replica_count; i++)
        count +=
            c->lines[i].open && c->lines[i].connection.known && !c->lines[i].connection.closing;
    return count;
}
