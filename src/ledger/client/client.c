/* The client's life, its identities and their calls; see client.h. */
#include "ledger/client/core.h"

#include <assert.h>
#include <stdlib.h>

#define RING_FIRST    64   /* calls of an identity; grows */
#define RESERVE_BLOCK 4096 /* numbers reserved at a time */

/* Arguments that fit a body as a member of the largest bundle. */
#define ARGS_MAX                                                                   \
    (LEDGER_BODY_MAX - 1 - LEDGER_REQUEST_FIXED_LEN - ED25519_SIGNATURE_LEN - 12 - \
     LEDGER_BUNDLE_PATH_MAX * HASH_LEN)

/* ---- life ---- */

static int settings_check(const struct ledger_client_settings *s, struct error *e)
{
    if (s->identity_count == 0 || s->identity_count > LEDGER_CLIENT_IDENTITIES_MAX)
        return error_set(e, ATOLL_EINVAL, "a client has 1 to %d identities, not %u",
                         LEDGER_CLIENT_IDENTITIES_MAX, s->identity_count);
    if (s->window > LEDGER_CLIENT_WINDOW)
        return error_set(
            e, ATOLL_EINVAL,
            "the replicas remember %d numbers of a client: a window of %u is too large",
            LEDGER_CLIENT_WINDOW, s->window);
    if (s->bundle_max == 0 || s->bundle_max > LEDGER_CLIENT_WINDOW)
        return error_set(e, ATOLL_EINVAL, "a client signs bundles of 1 to %d requests, not of %u",
                         LEDGER_CLIENT_WINDOW, s->bundle_max);
    if (s->queue_max > LEDGER_CLIENT_QUEUE_MAX)
        return error_set(e, ATOLL_EINVAL, "a client's queue holds at most %d calls",
                         LEDGER_CLIENT_QUEUE_MAX);
    return 0;
}

static void settings_complete(struct ledger_client_settings *s)
{
    s->identities = NULL; /* the caller's, and copied */
    if (!s->window)
        s->window = LEDGER_CLIENT_WINDOW;
    if (!s->queue_max)
        s->queue_max = LEDGER_CLIENT_QUEUE_MAX;
    if (!s->retry_us)
        s->retry_us = s->genesis->configuration.view_timeout_us;
    if (!s->verifier.verify)
        s->verifier = LEDGER_VERIFIER_SINGLE;
}

static size_t power_at_least(size_t n)
{
    size_t power = 1;
    while (power < n)
        power *= 2;
    return power;
}

static bool rooms_make(struct ledger_client *c, const struct ledger_client_settings *s)
{
    size_t places = power_at_least((size_t)s->identity_count * 2);
    size_t calls = power_at_least((size_t)s->identity_count * 256);
    c->place_mask = places - 1;
    c->hash_mask = calls - 1;
    c->identities = calloc(s->identity_count, sizeof *c->identities);
    c->places = calloc(places, sizeof *c->places);
    c->hashed = calloc(calls, sizeof(struct call *));
    c->requests = calloc(s->bundle_max, sizeof *c->requests);
    c->ends = calloc(s->bundle_max, sizeof *c->ends);
    c->req_hashes = calloc(s->bundle_max, sizeof *c->req_hashes);
    return c->identities && c->places && c->hashed && c->requests && c->ends && c->req_hashes;
}

static size_t place_of(const struct ledger_client *c, const uint8_t *key)
{
    return load_u64(key) & c->place_mask;
}

struct identity *identity_find(struct ledger_client *c, const uint8_t *key)
{
    for (size_t at = place_of(c, key); c->places[at]; at = (at + 1) & c->place_mask) {
        struct identity *who = &c->identities[c->places[at] - 1];
        if (memcmp(who->public_key, key, ED25519_KEY_LEN) == 0)
            return who;
    }
    return NULL;
}

static int identity_add(struct ledger_client *c, unsigned i,
                        const struct ledger_client_identity *given, struct error *e)
{
    struct identity *who = &c->identities[i];
    if (ed25519_key_is_small(given->public_key))
        return error_set(e, ATOLL_EINVAL, "a client's key has small order: no replica takes it");
    if (identity_find(c, given->public_key))
        return error_set(e, ATOLL_EINVAL, "two identities of a client have the same key");
    who->ring = calloc(RING_FIRST, sizeof(struct call *));
    if (!who->ring)
        return error_set(e, ATOLL_ENOMEM, "no memory for a client of the ledger");
    memcpy(who->public_key, given->public_key, ED25519_KEY_LEN);
    who->capacity = RING_FIRST;
    who->oldest = who->unsent = who->next_reqno = who->reserved = given->first_reqno;
    size_t at = place_of(c, who->public_key);
    while (c->places[at])
        at = (at + 1) & c->place_mask;
    c->places[at] = (uint16_t)(i + 1);
    return 0;
}

int ledger_client_open(const struct ledger_client_settings *settings,
                       const struct ledger_client_env *env, struct ledger_client **out,
                       struct error *e)
{
    int result = settings_check(settings, e);
    if (result < 0)
        return result;
    struct ledger_client *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ATOLL_ENOMEM, "no memory for a client of the ledger");
    c->settings = *settings;
    settings_complete(&c->settings);
    c->env = *env;
    c->configuration = &settings->genesis->configuration;
    c->keys = ledger_keys_of(settings->genesis);
    c->replicas = c->configuration->replica_count;
    c->quorum = ledger_quorum(c->configuration);
    c->min_index = settings->min_index;
    if (!rooms_make(c, settings))
        result = error_set(e, ATOLL_ENOMEM, "no memory for a client of the ledger");
    for (unsigned i = 0; result == 0 && i < settings->identity_count; i++)
        result = identity_add(c, i, &settings->identities[i], e);
    if (result < 0) {
        ledger_client_close(c);
        return result;
    }
    *out = c;
    return 0;
}

static void call_free(struct call *call)
{
    buffer_free(&call->args);
    buffer_free(&call->body);
    free(call);
}

static void identity_close(struct identity *who)
{
    for (uint64_t i = 0; i < who->capacity; i++)
        if (who->ring[i])
            call_free(who->ring[i]);
    free(who->ring);
}

void ledger_client_close(struct ledger_client *c)
{
    if (!c)
        return;
    for (unsigned i = 0; c->identities && i < c->settings.identity_count; i++)
        identity_close(&c->identities[i]);
    for (struct call *call = c->free_calls, *next; call; call = next) {
        next = call->chain;
        call_free(call);
    }
    answers_close(c);
    free(c->identities);
    free(c->places);
    free(c->hashed);
    free(c->requests);
    free(c->ends);
    free(c->req_hashes);
    buffer_free(&c->message);
    buffer_free(&c->receipt);
    buffer_free(&c->bodies);
    free(c);
}

void ledger_client_status(const struct ledger_client *c, struct ledger_client_status *status)
{
    *status = c->counts;
    status->min_index = c->min_index;
    status->primary = c->primary;
}

void ledger_client_saw(struct ledger_client *c, uint64_t index)
{
    if (index > c->min_index)
        c->min_index = index;
}

/* ---- finding calls ---- */

struct call *call_sent(const struct identity *who, uint64_t reqno)
{
    if (reqno < who->oldest || reqno >= who->unsent)
        return NULL;
    return call_at(who, reqno);
}

static struct call **bucket_of(struct ledger_client *c, const uint8_t *req_hash)
{
    return &c->hashed[load_u64(req_hash) & c->hash_mask];
}

struct call *call_of_hash(struct ledger_client *c, const uint8_t *req_hash)
{
    struct call *call = *bucket_of(c, req_hash);
    while (call && memcmp(call->req_hash, req_hash, HASH_LEN) != 0)
        call = call->chain;
    return call;
}

void call_mark_sent(struct ledger_client *c, struct call *call)
{
    struct identity *who = &c->identities[call->identity];
    assert(call->state == CALL_WAITING && call->reqno == who->unsent);
    call->state = CALL_SENT;
    call->chain = *bucket_of(c, call->req_hash);
    *bucket_of(c, call->req_hash) = call;
    who->unsent++;
    who->waiting--;
    c->counts.waiting--;
    c->counts.sent++;
}

bool call_matches(const struct ledger_client *c, const struct call *call,
                  const struct ledger_body *body)
{
    uint8_t req_hash[HASH_LEN];
    struct ledger_signature left;
    struct error e;
    if (slice_equal(body->bytes, slice_of_buffer(&call->body)))
        return true;
    /* What we signed needs no check. Another signature under the request could be anything. */
    return ledger_body_check(body, c->keys.genesis, req_hash, &left, &e) == 0 &&
           memcmp(req_hash, call->req_hash, HASH_LEN) == 0 &&
           memcmp(left.hash, call->signed_hash, HASH_LEN) == 0 &&
           memcmp(left.signature, call->signature, ED25519_SIGNATURE_LEN) == 0;
}

/* ---- ends of calls ---- */

void identity_trim(struct identity *who)
{
    while (who->unsent < who->next_reqno && !call_at(who, who->unsent))
        who->unsent++;
    while (who->oldest < who->unsent && !call_at(who, who->oldest))
        who->oldest++;
}

void call_conclude(struct ledger_client *c, struct call *call, const struct ledger_outcome *outcome)
{
    struct identity *who = &c->identities[call->identity];
    struct ledger_outcome said = *outcome;
    said.identity = call->identity;
    said.reqno = call->reqno;
    said.tag = call->tag;
    if (call->state == CALL_SENT) {
        struct call **at = bucket_of(c, call->req_hash);
        while (*at != call)
            at = &(*at)->chain;
        *at = call->chain;
        c->counts.sent--;
    } else {
        who->waiting--;
        c->counts.waiting--;
    }
    c->counts.finished += said.result == 0;
    c->counts.failed += said.result != 0;
    who->ring[call->reqno & (who->capacity - 1)] = NULL;
    call->state = CALL_FREE;
    call->chain = c->free_calls;
    c->free_calls = call;
    identity_trim(who);
    c->env.finished(c->env.context, &said);
}

void call_answer(struct ledger_client *c, struct call *call, const struct ledger_receipt *receipt,
                 struct slice bytes)
{
    struct ledger_outcome outcome = {.index = receipt->tx.index,
                                     .status = receipt->tx.status,
                                     .output = receipt->tx.output,
                                     .receipt = bytes};
    ledger_client_saw(c, receipt->tx.index);
    if (call->sent_us > c->answered_us)
        c->answered_us = call->sent_us;
    if (receipt->tx.index <= receipt->body.request.min_index) {
        outcome.result = -ATOLL_ERANGE;
        outcome.text = "the request was executed before an index that its client had seen: keep "
                       "the receipt, it proves that its signers broke a rule";
    }
    call_conclude(c, call, &outcome);
}

/* ---- calls ---- */

static bool ring_grow(struct identity *who)
{
    uint64_t capacity = 2 * who->capacity;
    struct call **ring = calloc(capacity, sizeof(struct call *));
    if (!ring)
        return false;
    for (uint64_t reqno = who->oldest; reqno < who->next_reqno; reqno++)
        ring[reqno & (capacity - 1)] = call_at(who, reqno);
    free(who->ring);
    who->ring = ring;
    who->capacity = capacity;
    return true;
}

static int number_reserve(struct ledger_client *c, unsigned identity, struct error *e)
{
    struct identity *who = &c->identities[identity];
    if (who->next_reqno < who->reserved)
        return 0;
    if (who->next_reqno > UINT64_MAX - RESERVE_BLOCK)
        return error_set(e, ATOLL_ELIMIT, "the client's key has no request numbers left");
    uint64_t end = who->next_reqno + RESERVE_BLOCK;
    int result = c->env.reserve ? c->env.reserve(c->env.context, identity, end, e) : 0;
    if (result == 0)
        who->reserved = end;
    return result;
}

/* A free call with these arguments; NULL: no memory. */
static struct call *call_make(struct ledger_client *c, struct slice args)
{
    struct call *call = c->free_calls;
    if (!call && !(call = calloc(1, sizeof *call)))
        return NULL;
    c->free_calls = call->chain;
    call->args.len = 0;
    if (buffer_append(&call->args, args.data, args.len))
        return call;
    call->chain = c->free_calls;
    c->free_calls = call;
    return NULL;
}

int ledger_client_call(struct ledger_client *c, unsigned identity, uint32_t proc, struct slice args,
                       void *tag, uint64_t *reqno, struct error *e)
{
    if (identity >= c->settings.identity_count)
        return error_set(e, ATOLL_EINVAL, "the client has no identity %u", identity);
    struct identity *who = &c->identities[identity];
    if (who->waiting >= c->settings.queue_max)
        return error_set(e, ATOLL_EBUSY, "%u calls are waiting: try again when some have ended",
                         who->waiting);
    if (args.len > ARGS_MAX)
        return error_set(e, ATOLL_ESIZE, "a request takes at most %d bytes of arguments, not %zu",
                         ARGS_MAX, args.len);
    int result = number_reserve(c, identity, e);
    if (result < 0)
        return result;
    if (who->next_reqno - who->oldest == who->capacity && !ring_grow(who))
        return error_set(e, ATOLL_ENOMEM, "no memory for another call");
    struct call *call = call_make(c, args);
    if (!call)
        return error_set(e, ATOLL_ENOMEM, "no memory for the arguments of a call");
    *call = (struct call){.state = CALL_WAITING,
                          .identity = identity,
                          .reqno = who->next_reqno,
                          .tag = tag,
                          .proc = proc,
                          .args = call->args,
                          .body = call->body};
    if (c->settings.deadline_us)
        call->deadline_us = c->env.now_us(c->env.context) + c->settings.deadline_us;
    who->ring[call->reqno & (who->capacity - 1)] = call;
    *reqno = who->next_reqno++;
    who->waiting++;
    c->counts.waiting++;
    return 0;
}
