/*
 * Requests that wait to be executed, by their hash.
 *
 *   taken → CHECKING (its signature) → READY, or PARKED while its min_index is not below the next
 *   index → executed in a batch, or found to be a duplicate, or dropped
 *
 * Anybody can send a request with a false signature, also before its client does. So a request has
 * an entry for every body of it that is being checked, and its sender is told about that body
 * alone; the first valid one stays. Who sent a false one is checked apart and last from then on,
 * and a replica that relays some is not heard for a while: a correct one relays none.
 *
 * Bounds (§5, flow control): bytes in all, and of each source while they are checked; bodies of one
 * request; requests per client; PARKED_MAX parked. A full pool drops parked requests first, then
 * refuses. Parked requests arm no timer. A request whose signature is being checked cannot be
 * dropped: the job points into it.
 */
#include "crypto/siphash.h"
#include "ledger/replica/core.h"

#define POOL_BUCKETS_FIRST 256
#define SLAB_REQUESTS      64

bool pool_open(struct ledger_replica *r)
{
    r->pool.buckets = calloc(POOL_BUCKETS_FIRST, sizeof(struct pooled *));
    r->pool.bucket_count = POOL_BUCKETS_FIRST;
    return r->pool.buckets;
}

static size_t pool_bucket(const struct ledger_replica *r, const uint8_t *req_hash)
{
    return siphash(r->table_key, req_hash, HASH_LEN) & (r->pool.bucket_count - 1);
}

static void pooled_free(struct pooled *p)
{
    if (p->bytes != p->room)
        free(p->bytes);
}

void pool_close(struct ledger_replica *r)
{
    for (size_t i = 0; r->pool.buckets && i < r->pool.bucket_count; i++)
        for (struct pooled *p = r->pool.buckets[i]; p; p = p->chain)
            pooled_free(p);
    for (size_t i = 0; i < r->pool.slab_count; i++)
        free(r->pool.slabs[i]);
    free(r->pool.slabs);
    free(r->pool.buckets);
    listeners_close(r);
}

/* ---- entries ---- */

static struct pooled *pooled_take(struct ledger_replica *r)
{
    struct pool *pool = &r->pool;
    if (!pool->spare) {
        struct pooled **slabs = realloc(pool->slabs, (pool->slab_count + 1) * sizeof *slabs);
        if (!slabs)
            return NULL;
        pool->slabs = slabs;
        struct pooled *slab = malloc(SLAB_REQUESTS * sizeof *slab);
        if (!slab)
            return NULL;
        slabs[pool->slab_count++] = slab;
        for (size_t i = 0; i < SLAB_REQUESTS; i++) {
            slab[i].chain = pool->spare;
            pool->spare = &slab[i];
        }
    }
    struct pooled *p = pool->spare;
    pool->spare = p->chain;
    memset(p, 0, offsetof(struct pooled, room));
    return p;
}

static void pooled_give(struct ledger_replica *r, struct pooled *p)
{
    pooled_free(p);
    p->chain = r->pool.spare;
    r->pool.spare = p;
}

static struct queue *queue_of(struct ledger_replica *r, const struct pooled *p)
{
    switch (p->state) {
    case POOLED_CHECKING: return &r->pool.checking;
    case POOLED_READY: return &r->pool.ready;
    default: return &r->pool.parked;
    }
}

static void queue_out(struct queue *q, struct pooled *p)
{
    *(p->previous ? &p->previous->next : &q->first) = p->next;
    *(p->next ? &p->next->previous : &q->last) = p->previous;
    q->count--;
}

static void queue_in(struct queue *q, struct pooled *p)
{
    p->next = NULL;
    p->previous = q->last;
    *(q->last ? &q->last->next : &q->first) = p;
    q->last = p;
    q->count++;
}

static void pooled_move(struct ledger_replica *r, struct pooled *p, enum pooled_state state)
{
    queue_out(queue_of(r, p), p);
    p->state = state;
    queue_in(queue_of(r, p), p);
}

/* The entry of the request whose signature is valid; without one, an entry that is being checked.
 */
struct pooled *pool_find(const struct ledger_replica *r, const uint8_t req_hash[static HASH_LEN])
{
    struct pooled *found = NULL;
    for (struct pooled *p = r->pool.buckets[pool_bucket(r, req_hash)]; p; p = p->chain) {
        if (memcmp(p->candidate.req_hash, req_hash, HASH_LEN))
            continue;
        if (p->state != POOLED_CHECKING)
            return p;
        found = p;
    }
    return found;
}

/* The entry of this very body while it is being checked; *bodies: of the request that are, from
 * suspects or from others. Suspects wait for everyone else: they must not fill the others' places.
 */
static struct pooled *pool_find_checking(const struct ledger_replica *r, const uint8_t *req_hash,
                                         struct slice bytes, bool suspect, unsigned *bodies)
{
    struct pooled *same = NULL;
    *bodies = 0;
    for (struct pooled *p = r->pool.buckets[pool_bucket(r, req_hash)]; p; p = p->chain) {
        if (p->state != POOLED_CHECKING || memcmp(p->candidate.req_hash, req_hash, HASH_LEN))
            continue;
        *bodies += p->suspect == suspect;
        if (slice_equal(p->candidate.body.bytes, bytes) && (suspect || !p->suspect))
            same = p;
    }
    return same;
}

static void pool_grow(struct ledger_replica *r)
{
    size_t old = r->pool.bucket_count;
    struct pooled **before = r->pool.buckets;
    struct pooled **buckets = calloc(2 * old, sizeof(struct pooled *));
    if (!buckets)
        return;
    r->pool.buckets = buckets;
    r->pool.bucket_count = 2 * old;
    for (size_t i = 0; i < old; i++) {
        for (struct pooled *p = before[i], *next; p; p = next) {
            next = p->chain;
            size_t b = pool_bucket(r, p->candidate.req_hash);
            p->chain = buckets[b];
            buckets[b] = p;
        }
    }
    free(before);
}

void pool_remove(struct ledger_replica *r, struct pooled *p)
{
    assert(p->state != POOLED_CHECKING);
    struct pooled **at = &r->pool.buckets[pool_bucket(r, p->candidate.req_hash)];
    while (*at != p)
        at = &(*at)->chain;
    *at = p->chain;
    queue_out(queue_of(r, p), p);
    r->pool.count--;
    r->pool.bytes -= sizeof *p + p->candidate.body.bytes.len;
    p->client->waiting--;
    p->client->checked--;
    client_unuse(r, p->client);
    pooled_give(r, p);
}

/* The request was executed. One that is being checked leaves when its job is back. */
void pool_forget(struct ledger_replica *r, const uint8_t req_hash[static HASH_LEN])
{
    struct pooled *p = pool_find(r, req_hash);
    if (p && p->state != POOLED_CHECKING)
        pool_remove(r, p);
}

/* ---- taking requests ---- */

static bool pool_has_room(struct ledger_replica *r, size_t bytes)
{
    while (r->pool.bytes + bytes > r->pool_bytes_max && r->pool.parked.first)
        pool_remove(r, r->pool.parked.first);
    return r->pool.bytes + bytes <= r->pool_bytes_max;
}

/* ---- who sends them ---- */

/* The bytes that the source of an entry has under check. NULL: its connection is gone. */
static size_t *source_checking(struct ledger_replica *r, uint64_t connection, uint16_t peer)
{
    struct connection *c = connection ? connection_find(r, connection) : NULL;
    if (connection)
        return c ? &c->checking : NULL;
    return &r->peers[peer].checking;
}

static bool source_is_suspect(const struct ledger_replica *r, uint64_t connection, uint16_t peer)
{
    const struct connection *c = connection ? connection_find(r, connection) : NULL;
    return connection ? c && c->suspect : r->peers[peer].relays_bad > 0;
}

/* The source of an entry sent a false signature. */
static void source_blame(struct ledger_replica *r, const struct pooled *p)
{
    struct connection *c = p->connection ? connection_find(r, p->connection) : NULL;
    r->counters.signatures_bad++;
    if (c)
        c->suspect = true;
    if (p->connection || ++r->peers[p->peer].relays_bad < RELAYS_BAD_MAX)
        return;
    r->peers[p->peer].relays_from = r->env.now_us(r->env.context) + RELAYS_PENALTY_US;
    r->peers[p->peer].relays_bad = 0;
}

/* Whether requests that this peer relays are looked at now. */
bool pool_hears_relays(struct ledger_replica *r, uint16_t peer)
{
    return r->env.now_us(r->env.context) >= r->peers[peer].relays_from;
}

/* `known`: what ledger_body_check said about these bytes. */
static struct pooled *pool_insert(struct ledger_replica *r, struct slice body,
                                  const uint8_t req_hash[static HASH_LEN],
                                  const struct ledger_signature *known, struct client *client,
                                  uint64_t connection, uint16_t peer)
{
    struct error e;
    struct ledger_signature left;
    struct pooled *p = pooled_take(r);
    if (!p)
        return NULL;
    p->connection = connection;
    p->peer = peer;
    p->suspect = source_is_suspect(r, connection, peer);
    p->bytes = body.len <= sizeof p->room ? p->room : malloc(body.len);
    if (!p->bytes) {
        p->bytes = p->room;
        pooled_give(r, p);
        return NULL;
    }
    memcpy(p->bytes, body.data, body.len);
    int decoded = ledger_body_decode(slice_of(p->bytes, body.len), &p->candidate.body, &e);
    assert(decoded == 0); /* as it was before it was copied */
    (void)decoded;
    memcpy(p->candidate.req_hash, req_hash, HASH_LEN);
    ledger_body_signature(&p->candidate.body, known->hash, &left);
    if (!gather_add(r, p, &left)) {
        pooled_give(r, p);
        return NULL;
    }
    if (r->pool.count >= r->pool.bucket_count)
        pool_grow(r);
    size_t b = pool_bucket(r, p->candidate.req_hash);
    p->chain = r->pool.buckets[b];
    r->pool.buckets[b] = p;
    r->pool.count++;
    r->pool.bytes += sizeof *p + body.len;
    p->client = client;
    client->waiting++;
    *source_checking(r, connection, peer) += body.len;
    p->state = POOLED_CHECKING;
    queue_in(&r->pool.checking, p);
    return p;
}

/* What is wrong with a request before its signature is looked at, or 0. `bodies` of it are being
 * checked. */
static unsigned pool_objection(struct ledger_replica *r, const struct ledger_body *body,
                               unsigned bodies, const size_t *checking, struct client **client)
{
    const struct ledger_request *q = &body->request;
    if (!ledger_configuration_admits(r->configuration, q->client))
        return LEDGER_REFUSAL_STRANGER;
    switch (client_table_check(r->kv, q->client, q->reqno)) {
    case CLIENT_NEW: break;
    case CLIENT_DUPLICATE: return LEDGER_REFUSAL_DUPLICATE;
    default: return LEDGER_REFUSAL_TOO_OLD;
    }
    if (bodies >= BODIES_CHECKING_MAX || !checking ||
        *checking + body->bytes.len > SOURCE_CHECKING_MAX ||
        !pool_has_room(r, sizeof(struct pooled) + body->bytes.len))
        return LEDGER_REFUSAL_BUSY;
    if (!(*client = client_make(r, q->client)))
        return LEDGER_REFUSAL_BUSY;
    return (*client)->checked >= r->pool_per_client ? LEDGER_REFUSAL_QUOTA : 0;
}

/* The request waits already, or this very body is being checked. */
static void pooled_again(struct ledger_replica *r, struct pooled *p, struct slice bytes,
                         uint64_t connection)
{
    if (p->state != POOLED_CHECKING && p->relayed && connection) {
        p->relayed = false; /* its client misses an answer: it may have been lost on its way */
        r->pool.relay_again = true;
    }
    if (!connection || !slice_equal(p->candidate.body.bytes, bytes))
        return;
    if (p->state != POOLED_CHECKING) {
        p->connection = connection;
        client_listen(r, p->client, connection, true);
        return;
    }
    if (p->connection == connection)
        return;
    if (p->connection && connection_find(r, p->connection)) {
        p->again = connection;
        return;
    }
    size_t *from = source_checking(r, p->connection, p->peer);
    size_t *to = source_checking(r, connection, p->peer);
    if (from)
        *from -= bytes.len;
    if (to)
        *to += bytes.len;
    p->connection = connection;
}

/* Says no to all whom its entry knows to have sent this body. */
static void pooled_refuse(struct ledger_replica *r, const struct pooled *p,
                          enum ledger_refusal_reason reason)
{
    client_refuse(r, p->connection, p->candidate.req_hash, reason);
    if (p->again)
        client_refuse(r, p->again, p->candidate.req_hash, reason);
}

/* A request from a client's connection, or (0) relayed by a peer. */
void pool_admit(struct ledger_replica *r, struct slice bytes, uint64_t connection, uint16_t peer)
{
    struct error e;
    struct ledger_body body;
    struct ledger_signature left;
    uint8_t req_hash[HASH_LEN] = {0};
    struct client *client = NULL;
    if (ledger_body_decode(bytes, &body, &e) ||
        ledger_body_check_after(&r->memo, &body, r->genesis.hash, req_hash, &left, &e)) {
        client_refuse(r, connection, req_hash, LEDGER_REFUSAL_MALFORMED);
        return;
    }
    unsigned bodies;
    struct pooled *p = pool_find(r, req_hash);
    struct pooled *same =
        pool_find_checking(r, req_hash, bytes, source_is_suspect(r, connection, peer), &bodies);
    if (same || (p && p->state != POOLED_CHECKING)) {
        pooled_again(r, same ? same : p, bytes, connection);
        return;
    }
    unsigned objection =
        pool_objection(r, &body, bodies, source_checking(r, connection, peer), &client);
    if (client && connection && !client->connection)
        client_listen(r, client, connection, false);
    if (objection == LEDGER_REFUSAL_DUPLICATE && reply_receipt(r, connection, req_hash))
        return;
    if (objection == LEDGER_REFUSAL_DUPLICATE && !executed_otherwise(r, &body.request, req_hash)) {
        if (search_begin(r, connection, &body.request, req_hash))
            return;
        objection = LEDGER_REFUSAL_UNKNOWN; /* executed long ago: others may have the receipt */
    }
    if (objection) {
        client_refuse(r, connection, req_hash, objection);
        return;
    }
    if (!pool_insert(r, bytes, req_hash, &left, client, connection, peer)) {
        client_unuse(r, client);
        client_refuse(r, connection, req_hash, LEDGER_REFUSAL_BUSY);
    }
}

/* The signature of an entry has been checked. */
static void pooled_verified(struct ledger_replica *r, struct pooled *p, bool valid)
{
    const struct ledger_request *q = &p->candidate.body.request;
    size_t *checking = source_checking(r, p->connection, p->peer);
    const struct pooled *other = pool_find(r, p->candidate.req_hash);
    bool known = other && other->state != POOLED_CHECKING;
    if (checking)
        *checking -= p->candidate.body.bytes.len;
    pooled_move(r, p,
                q->min_index < r->next_index || MUTATED(MIN_INDEX) ? POOLED_READY : POOLED_PARKED);
    p->client->checked++;
    if (!valid) {
        source_blame(r, p);
        pooled_refuse(r, p, LEDGER_REFUSAL_SIGNATURE);
        pool_remove(r, p);
        return;
    }
    if (p->connection)
        client_listen(r, p->client, p->connection, true);
    if (p->again)
        client_listen(r, p->client, p->again, true);
    if (known || client_table_check(r->kv, q->client, q->reqno) != CLIENT_NEW) {
        pool_remove(r, p); /* waits with another valid signature, or was executed meanwhile: its
                            * replies go to the connection */
    } else if (p->client->checked > r->pool_per_client) {
        pooled_refuse(r, p, LEDGER_REFUSAL_QUOTA);
        pool_remove(r, p);
    } else if (p->state == POOLED_PARKED && r->pool.parked.count > PARKED_MAX) {
        pool_remove(r, r->pool.parked.first);
    }
}

void pool_verified(struct ledger_replica *r, struct job *job)
{
    if (!job->base.suspect)
        r->request_jobs_out--;
    for (size_t i = 0; i < job->subject_count; i++)
        pooled_verified(r, job->subjects[i], job->valid[job->references[i].s]);
}

/* There is a new primary, or none: whoever is to execute what waits has not heard of it. */
void pool_new_view(struct ledger_replica *r)
{
    for (struct pooled *p = r->pool.ready.first; p; p = p->next)
        p->relayed = p->starving = false;
    for (struct pooled *p = r->pool.parked.first; p; p = p->next)
        p->relayed = p->starving = false;
}

/* Its min_index is not below the next index. */
void pool_park(struct ledger_replica *r, struct pooled *p)
{
    pooled_move(r, p, POOLED_PARKED);
    if (r->pool.parked.count > PARKED_MAX)
        pool_remove(r, r->pool.parked.first);
}

/* The next index has grown. */
void pool_unpark(struct ledger_replica *r)
{
    for (struct pooled *p = r->pool.parked.first, *next; p; p = next) {
        next = p->next;
        if (p->candidate.body.request.min_index < r->next_index)
            pooled_move(r, p, POOLED_READY);
    }
}

/* ---- what waits ---- */

/* Whether a request waits that the primary should execute; duplicates leave here. */
bool pool_has_executable(struct ledger_replica *r)
{
    while (r->pool.ready.first) {
        struct pooled *p = r->pool.ready.first;
        const struct ledger_request *q = &p->candidate.body.request;
        if (q->min_index < r->next_index &&
            client_table_check(r->kv, q->client, q->reqno) == CLIENT_NEW)
            return true;
        if (q->min_index >= r->next_index && !MUTATED(MIN_INDEX))
            pool_park(r, p); /* a rollback took the index back */
        else
            pool_remove(r, p);
    }
    return false;
}

/* Whether the primary starves a request that we passed on (§6): as many batches committed since as
 * four full pools hold. */
bool pool_has_expired(const struct ledger_replica *r)
{
    const struct pooled *p = r->pool.ready.first;
    uint64_t pool_batches =
        r->pool_bytes_max / sizeof(struct pooled) / r->configuration->max_batch + 1;
    return p && p->starving && r->batches_committed - p->relayed_at_batches > 4 * pool_batches;
}

/* ---- passing them on ---- */

/* The first request that the primary is to be sent: new ones stand at the end of the queue. */
static struct pooled *relay_first(struct ledger_replica *r)
{
    uint64_t now = r->env.now_us(r->env.context);
    if (r->pool.relay_again && now >= r->pool.relay_again_at) {
        r->pool.relay_again = false;
        r->pool.relay_again_at = now + RETRANSMIT_FIRST_US;
        return r->pool.ready.first;
    }
    struct pooled *p = r->pool.ready.last;
    if (!p || p->relayed)
        return NULL;
    while (p->previous && !p->previous->relayed)
        p = p->previous;
    return p;
}

/*
 * A backup passes verified requests on to the primary. Who has asked to leave the view passes them
 * on to all: the others may be content with their primary, and a client may speak with us alone.
 * Either they see to it that its requests are executed, or they leave, too.
 */
void pool_settle(struct ledger_replica *r)
{
    bool left = r->view_change_sent > r->view;
    if (is_primary(r) && !left)
        return;
    struct pooled *p = relay_first(r);
    while (p && p->relayed)
        p = p->next;
    if (!p)
        return;
    struct ledger_message_writer w;
    r->scratch.len = 0;
    if (!ledger_bodies_begin(&w, &r->scratch, LEDGER_MESSAGE_RELAY))
        return;
    for (; p && w.count < LEDGER_MESSAGE_BODIES_MAX && r->scratch.len < LEDGER_BATCH_BYTES_MAX;
         p = p->next) {
        if (p->relayed)
            continue;
        if (!ledger_bodies_body(&w, p->candidate.body.bytes))
            break;
        if (!p->starving)
            p->relayed_at_batches = r->batches_committed;
        p->relayed = p->starving = true;
    }
    ledger_message_end(&w);
    send_to(r, left ? -1 : primary_of(r, r->view), slice_of_buffer(&r->scratch));
}
