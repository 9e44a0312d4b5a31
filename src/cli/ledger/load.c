/* See load.h. The thread runs a loop of its own; counters are read under a lock now and then. */
#define _GNU_SOURCE
#include "cli/ledger/load.h"

#include "ledger/kv/smallbank.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS       1u
#define LATENCIES     (1u << 20) /* kept; later ones replace earlier ones */
#define PUBLISH_TICKS 20u
#define PAUSE_MIN_NS  5000000 /* that are looked at */

/* A call under way. */
struct flight {
    struct flight *next; /* spare */
    int64_t begun_ns;
};

struct client {
    struct smallbank_mix mix;
    unsigned under_way;
};

struct load {
    struct load_settings settings;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, up to the line */
    struct load_counts counts;
    float *latencies;
    uint64_t latency_count;
    int64_t pause_ns, pause_end_ns;
    bool stopping;
    int64_t stop_at_ns;
    uint64_t left; /* after the end */
    /* ---- the thread's own ---- */
    uv_loop_t loop;
    uv_timer_t tick;
    uv_async_t poke;
    struct caller *caller;
    struct secret **keys;
    struct client *clients;
    struct flight *spare;
    float *fresh; /* latencies since they were last published */
    size_t fresh_count, fresh_capacity;
    uint64_t done, refused, under_way, submitted;
    int64_t begun_ns;
    int64_t answer_ns; /* the last one came then */
    unsigned turn, ticks;
};

/* ---- calls ---- */

/* When the next call begins: in an open loop when it is due, however late it is made, so that a
 * service that stands still is not asked less meanwhile. */
static int64_t call_due_ns(const struct load *l)
{
    if (l->settings.rate <= 0)
        return clock_monotonic_ns();
    return l->begun_ns + (int64_t)((double)l->submitted * 1e9 / l->settings.rate);
}

static bool call_make(struct load *l, unsigned i)
{
    struct client *c = &l->clients[i];
    uint8_t args[SMALLBANK_ARGS_MAX];
    uint64_t reqno;
    struct error e;
    struct smallbank_call call = smallbank_mix_next(&c->mix);
    struct flight *f = l->spare;
    if (f)
        l->spare = f->next;
    else if ((f = malloc(sizeof *f)) == NULL)
        return false;
    f->begun_ns = call_due_ns(l);
    size_t len = smallbank_args_encode(&call, args);
    if (ledger_client_call(caller_client(l->caller), i, call.proc, slice_of(args, len), f, &reqno,
                           &e) != 0) {
        f->next = l->spare;
        l->spare = f;
        return false;
    }
    c->under_way++;
    l->under_way++;
    l->submitted++;
    return true;
}

static void clients_fill(struct load *l)
{
    bool stopping;
    pthread_mutex_lock(&l->lock);
    stopping = l->stopping;
    pthread_mutex_unlock(&l->lock);
    if (stopping)
        return;
    const struct load_settings *s = &l->settings;
    uint64_t due = UINT64_MAX;
    if (s->rate > 0)
        due = (uint64_t)((double)(clock_monotonic_ns() - l->begun_ns) * 1e-9 * s->rate);
    for (unsigned full = 0; full < s->clients && l->submitted < due;) {
        unsigned i = l->turn++ % s->clients;
        if (l->clients[i].under_way < s->in_flight && call_make(l, i))
            full = 0;
        else
            full++;
    }
}

static void latency_add(struct load *l, double us)
{
    if (l->fresh_count == l->fresh_capacity) {
        size_t capacity = l->fresh_capacity ? 2 * l->fresh_capacity : 4096;
        float *grown = realloc(l->fresh, capacity * sizeof *grown);
        if (grown == NULL)
            return;
        l->fresh = grown;
        l->fresh_capacity = capacity;
    }
    l->fresh[l->fresh_count++] = (float)us;
}

/* Answers come in bursts: the lock is taken only after a pause that may be the longest. */
static void pause_note(struct load *l, int64_t now)
{
    if (now - l->answer_ns > PAUSE_MIN_NS) {
        pthread_mutex_lock(&l->lock);
        if (now - l->answer_ns > l->pause_ns) {
            l->pause_ns = now - l->answer_ns;
            l->pause_end_ns = now;
        }
        pthread_mutex_unlock(&l->lock);
    }
    l->answer_ns = now;
}

static void finished(void *context, const struct ledger_outcome *o)
{
    struct load *l = context;
    struct flight *f = o->tag;
    l->clients[o->identity].under_way--;
    l->under_way--;
    if (o->result == 0) {
        int64_t now = clock_monotonic_ns();
        l->done++;
        pause_note(l, now);
        latency_add(l, (double)(now - f->begun_ns) / 1e3);
        if (l->settings.receipt_every && l->done % l->settings.receipt_every == 0)
            l->settings.receipt(l->settings.context, o);
    } else {
        l->refused++;
    }
    f->next = l->spare;
    l->spare = f;
}

/* ---- the thread ---- */

static void publish(struct load *l)
{
    struct ledger_client_status status;
    ledger_client_status(caller_client(l->caller), &status);
    pthread_mutex_lock(&l->lock);
    l->counts = (struct load_counts){.done = l->done,
                                     .refused = l->refused,
                                     .primary = status.primary,
                                     .under_way = l->under_way,
                                     .pause_ns = l->pause_ns,
                                     .pause_end_ns = l->pause_end_ns,
                                     .cpu_ns = measure_thread_ns(),
                                     .connected = caller_connected(l->caller)};
    for (size_t i = 0; i < l->fresh_count; i++)
        l->latencies[l->latency_count++ % LATENCIES] = l->fresh[i];
    pthread_mutex_unlock(&l->lock);
    l->fresh_count = 0;
}

static void loop_end(struct load *l)
{
    l->left = l->under_way;
    publish(l);
    caller_close(l->caller, NULL, NULL);
    uv_close((uv_handle_t *)&l->tick, NULL);
    uv_close((uv_handle_t *)&l->poke, NULL);
}

static void ticked(uv_timer_t *tick)
{
    struct load *l = tick->data;
    clients_fill(l);
    if (l->ticks++ % PUBLISH_TICKS == 0)
        publish(l);
    pthread_mutex_lock(&l->lock);
    bool over = l->stopping && (l->under_way == 0 || clock_monotonic_ns() > l->stop_at_ns);
    pthread_mutex_unlock(&l->lock);
    if (over)
        loop_end(l);
}

static void poked(uv_async_t *poke)
{
    ticked(&((struct load *)poke->data)->tick);
}

/* Calls that ended are followed by new ones before the loop turns again. */
static void *load_run(void *argument)
{
    struct load *l = argument;
    pthread_setname_np(pthread_self(), "clients");
    l->begun_ns = l->answer_ns = clock_monotonic_ns();
    while (uv_run(&l->loop, UV_RUN_ONCE) != 0) {
        if (!uv_is_closing((uv_handle_t *)&l->tick))
            clients_fill(l);
    }
    uv_loop_close(&l->loop);
    return NULL;
}

/* ---- life ---- */

static void load_free(struct load *l)
{
    for (unsigned i = 0; l->keys && i < l->settings.clients; i++)
        secret_destroy(l->keys[i]);
    while (l->spare) {
        struct flight *f = l->spare;
        l->spare = f->next;
        free(f);
    }
    pthread_mutex_destroy(&l->lock);
    free(l->keys);
    free(l->clients);
    free(l->latencies);
    free(l->fresh);
    free(l);
}

static int parts_make(struct load *l, struct error *e)
{
    const struct load_settings *s = &l->settings;
    l->keys = calloc(s->clients, sizeof(struct secret *));
    l->clients = calloc(s->clients, sizeof *l->clients);
    l->latencies = malloc(LATENCIES * sizeof *l->latencies);
    if (!l->keys || !l->clients || !l->latencies)
        return error_set(e, ATOLL_ENOMEM, "no memory for the load");
    for (unsigned i = 0; i < s->clients; i++) {
        smallbank_mix_start(&l->clients[i].mix, s->seed + i, s->accounts);
        int rc = secret_generate(&l->keys[i], e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int load_start(const struct load_settings *s, struct load **out, struct error *e)
{
    struct load *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the load");
    l->settings = *s;
    pthread_mutex_init(&l->lock, NULL);
    int rc = parts_make(l, e);
    if (rc != 0) {
        load_free(l);
        return rc;
    }
    uv_loop_init(&l->loop);
    uv_timer_init(&l->loop, &l->tick);
    uv_async_init(&l->loop, &l->poke, poked);
    l->tick.data = l->poke.data = l;
    uv_timer_start(&l->tick, ticked, TICK_MS, TICK_MS);
    const struct caller_settings settings = {.genesis = s->genesis,
                                             .identities = s->clients,
                                             .keys = l->keys,
                                             .bundle_max = s->bundle,
                                             .finished = finished,
                                             .context = l};
    rc = caller_open(&l->loop, &settings, &l->caller, e);
    if (rc == 0 && pthread_create(&l->thread, NULL, load_run, l) != 0) {
        caller_close(l->caller, NULL, NULL);
        rc = error_set(e, ATOLL_EUNAVAIL, "no thread for the load");
    }
    if (rc != 0) {
        uv_close((uv_handle_t *)&l->tick, NULL);
        uv_close((uv_handle_t *)&l->poke, NULL);
        uv_run(&l->loop, UV_RUN_DEFAULT);
        uv_loop_close(&l->loop);
        load_free(l);
        return rc;
    }
    *out = l;
    return 0;
}

void load_counts(struct load *l, struct load_counts *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->counts;
    pthread_mutex_unlock(&l->lock);
}

void load_mark(struct load *l)
{
    pthread_mutex_lock(&l->lock);
    l->latency_count = 0;
    l->pause_ns = l->pause_end_ns = 0;
    pthread_mutex_unlock(&l->lock);
}

void load_latencies(struct load *l, struct samples *out)
{
    pthread_mutex_lock(&l->lock);
    uint64_t count = l->latency_count < LATENCIES ? l->latency_count : LATENCIES;
    for (uint64_t i = 0; i < count; i++)
        samples_add(out, l->latencies[i]);
    l->latency_count = 0;
    pthread_mutex_unlock(&l->lock);
}

uint64_t load_stop(struct load *l, unsigned patience_ms, struct load_counts *last)
{
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    l->stop_at_ns = clock_monotonic_ns() + (int64_t)patience_ms * 1000000;
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->poke);
    pthread_join(l->thread, NULL);
    uint64_t left = l->left;
    if (last)
        *last = l->counts;
    load_free(l);
    return left;
}
