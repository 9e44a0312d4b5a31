/*
 * See caller.h. Signatures on replies are the same for all clients of a process, so what was
 * verified lately is remembered.
 */
#define _GNU_SOURCE
#include "ledger/service/caller.h"

#include "base/clock.h"
#include "ledger/service/address.h"
#include "ledger/service/channel.h"

#include <stdlib.h>
#include <string.h>

#define READ_BYTES    (256u << 10)
#define TICK_MS       50u
#define BACKOFF_FIRST 1u /* ticks */
#define BACKOFF_LAST  20u
#define OUTGOING_MAX  (64u << 20)

/* A connection to one replica; its handle lives from caller_open to the end, reopened at need. */
struct line {
    struct caller *caller;
    uint16_t replica;
    uv_tcp_t socket;
    uv_connect_t connecting;
    uv_write_t write;
    struct buffer writing; /* with the kernel */
    struct channel *channel;
    struct sockaddr_storage address;
    bool open, connected, known, busy, closing;
    uint32_t wait, backoff;
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
    uint8_t *room;
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
    struct error e;
    if (l->known && channel_outgoing(l->channel)->len + l->writing.len < OUTGOING_MAX)
        channel_send(l->channel, &message, 1, &e); /* what is lost is sent again */
}

static void env_sign(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                     uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    const struct caller *c = context;
    secret_sign(c->keys[identity], hash, HASH_LEN, signature);
}

static void env_finished(void *context, const struct ledger_outcome *outcome)
{
    const struct caller *c = context;
    c->settings.finished(c->settings.context, outcome);
}

/* ---- lines ---- */

static void caller_free(struct caller *c)
{
    void (*closed)(void *) = c->closed;
    void *context = c->closed_context;
    for (unsigned i = 0; i < LEDGER_REPLICAS_MAX; i++)
        buffer_free(&c->lines[i].writing);
    buffer_free(&c->genesis_bytes);
    free(c->keys);
    free(c->room);
    free(c);
    if (closed)
        closed(context);
}

static void handle_gone(struct caller *c)
{
    if (--c->open == 0)
        caller_free(c);
}

static void line_closed(uv_handle_t *handle)
{
    struct line *l = handle->data;
    channel_destroy(l->channel);
    l->channel = NULL;
    l->writing.len = 0;
    l->open = l->connected = l->known = l->busy = l->closing = false;
    handle_gone(l->caller);
}

static void line_close(struct line *l)
{
    if (!l->open || l->closing)
        return;
    l->closing = true;
    l->known = false;
    uv_close((uv_handle_t *)&l->socket, line_closed);
}

static void line_flush(struct line *l);

static void write_done(uv_write_t *write, int status)
{
    struct line *l = write->data;
    l->busy = false;
    l->writing.len = 0;
    if (status < 0)
        line_close(l);
    else
        line_flush(l);
}

static void line_flush(struct line *l)
{
    if (!l->connected || l->busy || l->closing)
        return;
    const struct buffer *out = channel_outgoing(l->channel);
    if (out->len == 0)
        return;
    uv_buf_t piece = uv_buf_init((char *)out->data, (unsigned)out->len);
    int sent = uv_try_write((uv_stream_t *)&l->socket, &piece, 1);
    if (sent > 0)
        channel_sent(l->channel, (size_t)sent);
    if (out->len == 0)
        return;
    if ((sent < 0 && sent != UV_EAGAIN) || !buffer_append(&l->writing, out->data, out->len)) {
        line_close(l);
        return;
    }
    channel_sent(l->channel, out->len);
    piece = uv_buf_init((char *)l->writing.data, (unsigned)l->writing.len);
    l->write.data = l;
    l->busy = true;
    if (uv_write(&l->write, (uv_stream_t *)&l->socket, &piece, 1, write_done) != 0) {
        l->busy = false;
        line_close(l);
    }
}

static void read_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct line *l = handle->data;
    *out = uv_buf_init((char *)l->caller->room, READ_BYTES);
}

static void message_take(void *context, struct slice message)
{
    struct line *l = context;
    ledger_client_on_message(l->caller->client, l->replica, message);
}

static void read_done(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes)
{
    struct line *l = stream->data;
    struct caller *c = l->caller;
    struct error e;
    if (got == 0 || l->closing || c->closing)
        return;
    if (got < 0 ||
        channel_receive(l->channel, bytes->base, (size_t)got, message_take, l, &e) != 0) {
        line_close(l);
        return;
    }
    if (l->known || !channel_ready(l->channel))
        return;
    l->known = true;
    l->backoff = BACKOFF_FIRST;
    ledger_client_on_connected(c->client, l->replica);
}

static void dialled(uv_connect_t *connecting, int status)
{
    struct line *l = connecting->data;
    if (l->closing)
        return;
    l->connected = status == 0;
    uv_tcp_nodelay(&l->socket, 1);
    if (status != 0 || uv_read_start((uv_stream_t *)&l->socket, read_room, read_done) != 0)
        line_close(l);
    else
        line_flush(l);
}

static void line_dial(struct line *l)
{
    struct caller *c = l->caller;
    struct error e;
    l->wait = l->backoff;
    l->backoff = 2 * l->backoff < BACKOFF_LAST ? 2 * l->backoff : BACKOFF_LAST;
    if (channel_connect(&c->identity, l->replica, &l->channel, &e) != 0)
        return;
    uv_tcp_init(c->loop, &l->socket);
    l->socket.data = l->connecting.data = l;
    l->open = true;
    c->open++;
    if (uv_tcp_connect(&l->connecting, &l->socket, (struct sockaddr *)&l->address, dialled) != 0)
        line_close(l);
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
        line_flush(&c->lines[i]);
}

/* ---- life ---- */

static int client_open(struct caller *c, struct error *e)
{
    const struct caller_settings *s = &c->settings;
    const struct ledger_client_env env = {.context = c,
                                          .now_us = env_now,
                                          .timer_set = env_timer_set,
                                          .send = env_send,
                                          .sign = env_sign,
                                          .finished = env_finished};
    uint64_t first = s->first_reqno ? s->first_reqno : (uint64_t)clock_ns(CLOCK_REALTIME) / 1000;
    struct ledger_client_identity *identities = calloc(s->identities, sizeof *identities);
    if (identities == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    for (unsigned i = 0; i < s->identities; i++) {
        memcpy(identities[i].public_key, secret_public(c->keys[i]), ED25519_KEY_LEN);
        identities[i].first_reqno = first;
    }
    const struct ledger_client_settings settings = {
        .genesis = &c->genesis,
        .identities = identities,
        .identity_count = s->identities,
        .min_index = s->min_index,
        .bundle_max = s->bundle_max ? s->bundle_max : 1,
        .retry_us = s->retry_us ? s->retry_us : c->genesis.configuration.view_timeout_us / 2,
        .deadline_us = s->deadline_us};
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
    c->room = malloc(READ_BYTES);
    if (!c->keys || !c->room || !buffer_append(&c->genesis_bytes, s->genesis.data, s->genesis.len))
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    memcpy(c->keys, s->keys, s->identities * sizeof(struct secret *));
    int rc = ledger_genesis_decode(slice_of_buffer(&c->genesis_bytes), &c->genesis, e);
    c->identity = (struct channel_identity){.genesis = c->genesis.hash,
                                            .configuration = &c->genesis.configuration,
                                            .role = CHANNEL_CLIENT};
    for (uint16_t i = 0; rc == 0 && i < c->genesis.configuration.replica_count; i++) {
        const struct slice *text = &c->genesis.configuration.replicas[i].address;
        c->lines[i] = (struct line){.caller = c, .replica = i, .backoff = BACKOFF_FIRST};
        rc = address_parse((const char *)text->data, text->len, &c->lines[i].address, e);
    }
    return rc;
}

int caller_open(uv_loop_t *loop, const struct caller_settings *settings, struct caller **out,
                struct error *e)
{
    struct caller *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for clients");
    c->loop = loop;
    c->settings = *settings;
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
        line_close(&c->lines[i]);
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

const struct ledger_genesis *caller_genesis(const struct caller *c)
{
    return &c->genesis;
}

unsigned caller_connected(const struct caller *c)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < c->genesis.configuration.replica_count; i++)
        count += c->lines[i].known;
    return count;
}
