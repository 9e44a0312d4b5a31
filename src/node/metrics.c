/*
 * See metrics.h.
 *
 * Every function has one entry (a hash table finds it), with counters since the start, histograms,
 * the calls of each of the last seconds, and two half-minute histograms that take turns: quantiles
 * "of the last minute" are over both.
 */
#define _GNU_SOURCE
#include "node/metrics.h"

#include "atoll/version.h"
#include "base/clock.h"
#include "node/call_graph.h"
#include "node/calls.h"
#include "node/node.h"
#include "node/registry.h"
#include "node/workers.h"
#include "state/state.h"
#include "store/store.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HASH_BUCKETS 1024u
#define BOUNDS       21u /* 1 µs x 2.5^k, the last is 91 s */
#define SECONDS      16u
#define RATE_SECONDS 10u
#define HALF_SECONDS 30
#define REASONS      8u
#define HTTP_CODES   600u
#define WORKERS_MAX  256u
#define NAME_BYTES   64u

struct histogram {
    uint64_t counts[BOUNDS + 1];
    uint64_t sum_ns;
};

struct guest_series {
    struct guest_series *next;
    char name[NAME_BYTES];
    uint32_t kind;
    double value;
    struct histogram *histogram; /* of kind 2; values are taken as seconds */
};

struct entry {
    struct entry *next;
    char tenant[64], function[64];
    uint64_t ended[CALL_STATUSES][CALL_TEMPERATURES];
    struct histogram duration, queue, restore, recent[2];
    uint64_t cpu_ns, reset_ns, resets, direct, chained;
    uint64_t chained_ended[CALL_STATUSES], chained_started[CALL_TEMPERATURES];
    uint64_t memory_peak;
    uint32_t seconds[SECONDS];
    int64_t second; /* the newest of them */
    struct guest_series *guest;
    uint32_t guest_count;
};

struct instances {
    bool used;
    uint32_t worker, active, idle;
};

struct metrics {
    struct node *node;
    struct entry *buckets[HASH_BUCKETS];
    struct entry *other;
    uint32_t entries;
    struct {
        char reason[32];
        uint64_t count;
    } rejected[REASONS];
    uint64_t http[HTTP_CODES];
    struct histogram codegen;
    struct instances instances[WORKERS_MAX];
    int64_t half; /* number of the half minute that recent[half % 2] counts */
};

/* ---- histograms ---- */

static uint64_t bound_ns(uint32_t i)
{
    static uint64_t bounds[BOUNDS];
    if (bounds[0] == 0) {
        double ns = 1000;
        for (uint32_t k = 0; k < BOUNDS; k++, ns *= 2.5)
            bounds[k] = (uint64_t)ns;
    }
    return bounds[i];
}

static void histogram_add(struct histogram *h, uint64_t ns)
{
    uint32_t low = 0, high = BOUNDS;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ns <= bound_ns(middle))
            high = middle;
        else
            low = middle + 1;
    }
    h->counts[low]++;
    h->sum_ns += ns;
}

/* By interpolation within the bucket. */
static uint64_t quantile(const struct histogram *a, const struct histogram *b, double q)
{
    uint64_t total = 0, below = 0;
    for (uint32_t i = 0; i <= BOUNDS; i++)
        total += a->counts[i] + b->counts[i];
    double wanted = q * (double)total;
    for (uint32_t i = 0; total > 0 && i <= BOUNDS; i++) {
        uint64_t here = a->counts[i] + b->counts[i];
        if ((double)(below + here) >= wanted && here > 0) {
            uint64_t from = i > 0 ? bound_ns(i - 1) : 0;
            uint64_t to = i < BOUNDS ? bound_ns(i) : 2 * bound_ns(BOUNDS - 1);
            return from + (uint64_t)((wanted - (double)below) / (double)here * (double)(to - from));
        }
        below += here;
    }
    return 0;
}

/* ---- entries ---- */

static struct entry *entry_get(struct metrics *m, const struct function_version *v)
{
    uint32_t h = 2166136261u;
    for (const char *p = v->manifest.tenant; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    for (const char *p = v->manifest.function; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    struct entry **bucket = &m->buckets[h % HASH_BUCKETS], *e = *bucket;
    while (e && (strcmp(e->tenant, v->manifest.tenant) != 0 ||
                 strcmp(e->function, v->manifest.function) != 0))
        e = e->next;
    if (e)
        return e;
    if (m->entries >= METRICS_FUNCTIONS_MAX || (e = calloc(1, sizeof *e)) == NULL)
        return m->other;
    strcpy(e->tenant, v->manifest.tenant);
    strcpy(e->function, v->manifest.function);
    e->next = *bucket;
    *bucket = e;
    m->entries++;
    return e;
}

static void halves_turn(struct metrics *m, int64_t second)
{
    int64_t half = second / HALF_SECONDS;
    if (half == m->half)
        return;
    bool both = half > m->half + 1;
    m->half = half;
    for (uint32_t i = 0; i < HASH_BUCKETS; i++) {
        for (struct entry *e = m->buckets[i]; e; e = e->next) {
            e->recent[half % 2] = (struct histogram){0};
            if (both)
                e->recent[(half + 1) % 2] = (struct histogram){0};
        }
    }
}

static void seconds_turn(struct entry *e, int64_t second)
{
    for (int64_t s = e->second + 1; s <= second && s <= e->second + SECONDS; s++)
        e->seconds[s % SECONDS] = 0;
    if (second > e->second + SECONDS)
        memset(e->seconds, 0, sizeof e->seconds);
    e->second = second;
}

static void rate_count(struct metrics *m, struct entry *e, uint64_t calls)
{
    int64_t second = clock_monotonic_ns() / 1000000000;
    halves_turn(m, second);
    if (second != e->second)
        seconds_turn(e, second);
    e->seconds[second % SECONDS] += (uint32_t)calls;
}

void metrics_call(struct metrics *m, const struct function_version *v, const struct metrics_call *c)
{
    struct entry *e = entry_get(m, v);
    uint64_t whole = c->queue_ns + c->restore_ns + c->run_ns;
    uint32_t status = (uint32_t)c->status < CALL_STATUSES ? (uint32_t)c->status : CALL_LOST;
    e->ended[status][(uint32_t)c->temperature % CALL_TEMPERATURES]++;
    rate_count(m, e, 1);
    histogram_add(&e->duration, whole);
    histogram_add(&e->queue, c->queue_ns);
    histogram_add(&e->restore, c->restore_ns);
    histogram_add(&e->recent[m->half % 2], whole);
    e->cpu_ns += c->cpu_ns;
    if (c->memory_bytes > e->memory_peak)
        e->memory_peak = c->memory_bytes;
}

void metrics_tally(struct metrics *m, uint32_t worker, const struct function_version *v,
                   const struct message_tally *t)
{
    struct entry *e = entry_get(m, v);
    uint64_t ended = 0;
    for (uint32_t i = 0; i < CALL_STATUSES; i++) {
        e->chained_ended[i] += t->ended[i];
        ended += t->ended[i];
    }
    for (uint32_t i = 0; i < CALL_TEMPERATURES; i++)
        e->chained_started[i] += t->started[i];
    e->chained += ended;
    e->direct += t->direct;
    e->resets += t->resets;
    e->reset_ns += t->reset_ns;
    rate_count(m, e, ended);
    struct instances *place = NULL;
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        struct instances *one = &m->instances[i];
        if (one->used && one->worker == worker) {
            place = one;
            break;
        }
        if (!one->used && place == NULL)
            place = one;
    }
    if (place)
        *place = (struct instances){true, worker, t->active, t->idle};
}

void metrics_worker_gone(struct metrics *m, uint32_t worker)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        if (m->instances[i].used && m->instances[i].worker == worker)
            m->instances[i].used = false;
    }
}

void metrics_rejected(struct metrics *m, const char *reason)
{
    for (uint32_t i = 0; i < REASONS; i++) {
        if (m->rejected[i].reason[0] == 0)
            snprintf(m->rejected[i].reason, sizeof m->rejected[i].reason, "%s", reason);
        if (strcmp(m->rejected[i].reason, reason) == 0) {
            m->rejected[i].count++;
            return;
        }
    }
}

void metrics_http(struct metrics *m, unsigned status)
{
    m->http[status < HTTP_CODES ? status : 0]++;
}

void metrics_codegen(struct metrics *m, uint64_t ns)
{
    histogram_add(&m->codegen, ns);
}

/* ---- what guests measure ---- */

static bool series_name_is_valid(const char *name, size_t len)
{
    if (len == 0 || len >= NAME_BYTES || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_'))
            return false;
    }
    return true;
}

static struct guest_series *series_get(struct entry *e, const char *name, size_t len, uint32_t kind)
{
    struct guest_series *s = e->guest;
    while (s && (strlen(s->name) != len || memcmp(s->name, name, len) != 0))
        s = s->next;
    if (s)
        return s->kind == kind ? s : NULL;
    if (e->guest_count >= METRICS_GUEST_SERIES || (s = calloc(1, sizeof *s)) == NULL)
        return NULL;
    if (kind == 2 && (s->histogram = calloc(1, sizeof *s->histogram)) == NULL) {
        free(s);
        return NULL;
    }
    memcpy(s->name, name, len);
    s->kind = kind;
    s->next = e->guest;
    e->guest = s;
    e->guest_count++;
    return s;
}

void metrics_guest(struct metrics *m, const struct function_version *v, const char *name,
                   size_t len, double value, uint32_t kind)
{
    struct entry *e = entry_get(m, v);
    if (e == m->other || kind > 2 || !isfinite(value) || !series_name_is_valid(name, len))
        return;
    struct guest_series *s = series_get(e, name, len, kind);
    if (s == NULL || (kind != 1 && value < 0))
        return;
    if (kind == 0)
        s->value += value;
    else if (kind == 1)
        s->value = value;
    else
        histogram_add(s->histogram, value < 1e6 ? (uint64_t)(value * 1e9) : (uint64_t)1e15);
}

/* ---- text for Prometheus ---- */

struct text {
    struct buffer *out;
    bool full;
};

static void line(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void line(struct text *t, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (len < 0 ||
        !buffer_append(t->out, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1))
        t->full = true;
}

static void head(struct text *t, const char *name, const char *type, const char *help)
{
    line(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

#define LABELS "tenant=\"%s\",function=\"%s\""

static void histogram_lines(struct text *t, const char *name, const char *labels,
                            const struct histogram *h)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < BOUNDS; i++) {
        total += h->counts[i];
        line(t, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, labels[0] ? "," : "",
             (double)bound_ns(i) / 1e9, (unsigned long long)total);
    }
    total += h->counts[BOUNDS];
    line(t, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, labels[0] ? "," : "",
         (unsigned long long)total);
    line(t, "%s_sum%s%s%s %.9f\n", name, labels[0] ? "{" : "", labels, labels[0] ? "}" : "",
         (double)h->sum_ns / 1e9);
    line(t, "%s_count%s%s%s %llu\n", name, labels[0] ? "{" : "", labels, labels[0] ? "}" : "",
         (unsigned long long)total);
}

static void for_each(struct metrics *m, struct text *t,
                     void (*print)(struct text *, struct entry *))
{
    for (uint32_t i = 0; i < HASH_BUCKETS; i++) {
        for (struct entry *e = m->buckets[i]; e; e = e->next)
            print(t, e);
    }
    if (m->other->second != 0)
        print(t, m->other);
}

static void calls_print(struct text *t, struct entry *e)
{
    for (uint32_t s = 0; s < CALL_STATUSES; s++) {
        for (uint32_t k = 0; k < CALL_TEMPERATURES; k++) {
            if (e->ended[s][k])
                line(t, "atoll_calls_total{" LABELS ",status=\"%s\",temperature=\"%s\"} %llu\n",
                     e->tenant, e->function, call_status_name((enum call_status)s),
                     call_temperature_name((enum call_temperature)k),
                     (unsigned long long)e->ended[s][k]);
        }
    }
}

static void chained_print(struct text *t, struct entry *e)
{
    for (uint32_t s = 0; s < CALL_STATUSES; s++) {
        if (e->chained_ended[s])
            line(t, "atoll_chained_calls_total{" LABELS ",status=\"%s\"} %llu\n", e->tenant,
                 e->function, call_status_name((enum call_status)s),
                 (unsigned long long)e->chained_ended[s]);
    }
}

static void paths_print(struct text *t, struct entry *e)
{
    if (e->chained == 0)
        return;
    line(t, "atoll_chain_total{" LABELS ",path=\"direct\"} %llu\n", e->tenant, e->function,
         (unsigned long long)e->direct);
    line(t, "atoll_chain_total{" LABELS ",path=\"local\"} %llu\n", e->tenant, e->function,
         (unsigned long long)(e->chained > e->direct ? e->chained - e->direct : 0));
}

static void labels_of(const struct entry *e, char out[static 160])
{
    snprintf(out, 160, LABELS, e->tenant, e->function);
}

static void duration_print(struct text *t, struct entry *e)
{
    char labels[160];
    labels_of(e, labels);
    histogram_lines(t, "atoll_call_duration_seconds", labels, &e->duration);
}

static void queue_print(struct text *t, struct entry *e)
{
    char labels[160];
    labels_of(e, labels);
    histogram_lines(t, "atoll_call_queue_seconds", labels, &e->queue);
}

static void restore_print(struct text *t, struct entry *e)
{
    char labels[160];
    labels_of(e, labels);
    histogram_lines(t, "atoll_call_restore_seconds", labels, &e->restore);
}

static void cpu_print(struct text *t, struct entry *e)
{
    line(t, "atoll_call_cpu_seconds_total{" LABELS "} %.9f\n", e->tenant, e->function,
         (double)e->cpu_ns / 1e9);
}

static void reset_print(struct text *t, struct entry *e)
{
    line(t, "atoll_reset_seconds_total{" LABELS "} %.9f\n", e->tenant, e->function,
         (double)e->reset_ns / 1e9);
}

static void memory_print(struct text *t, struct entry *e)
{
    line(t, "atoll_call_memory_bytes{" LABELS "} %llu\n", e->tenant, e->function,
         (unsigned long long)e->memory_peak);
}

static void guest_print(struct text *t, struct entry *e)
{
    char name[NAME_BYTES + 16], labels[160];
    static const char *const types[] = {"counter", "gauge", "histogram"};
    labels_of(e, labels);
    for (struct guest_series *s = e->guest; s; s = s->next) {
        snprintf(name, sizeof name, "atoll_guest_%s", s->name);
        line(t, "# TYPE %s %s\n", name, types[s->kind]);
        if (s->kind == 2)
            histogram_lines(t, name, labels, s->histogram);
        else
            line(t, "%s{%s} %.17g\n", name, labels, s->value);
    }
}

static void node_print(struct metrics *m, struct text *t)
{
    struct state_counters s;
    struct store_counters store;
    uint64_t active = 0, idle = 0;
    state_counters(m->node->state, &s);
    store_counters(m->node->store, &store);
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        active += m->instances[i].used ? m->instances[i].active : 0;
        idle += m->instances[i].used ? m->instances[i].idle : 0;
    }
    head(t, "atoll_faaslets", "gauge", "Instances, by what they do.");
    line(t, "atoll_faaslets{state=\"active\"} %llu\natoll_faaslets{state=\"idle\"} %llu\n",
         (unsigned long long)active, (unsigned long long)idle);
    head(t, "atoll_queue_length", "gauge", "Calls admitted and not ended.");
    line(t, "atoll_queue_length %llu\n", (unsigned long long)calls_live(m->node->calls));
    head(t, "atoll_state_local_bytes", "gauge", "Bytes of state kept on this node.");
    line(t, "atoll_state_local_bytes %llu\n", (unsigned long long)s.local_bytes);
    head(t, "atoll_state_pull_bytes_total", "counter", "State pulled from the global tier.");
    line(t, "atoll_state_pull_bytes_total %llu\n", (unsigned long long)s.pull_bytes);
    head(t, "atoll_state_push_bytes_total", "counter", "State pushed to the global tier.");
    line(t, "atoll_state_push_bytes_total %llu\n", (unsigned long long)s.push_bytes);
    head(t, "atoll_gt_op_seconds_total", "counter", "Time of the global tier's commits.");
    line(t, "atoll_gt_op_seconds_total{op=\"commit\",backend=\"lmdb\"} %.9f\n",
         (double)store.commit_ns / 1e9);
    head(t, "atoll_gt_ops_total", "counter", "Operations of the global tier.");
    line(t, "atoll_gt_ops_total{backend=\"lmdb\"} %llu\n", (unsigned long long)store.operations);
}

static void counts_print(struct metrics *m, struct text *t)
{
    head(t, "atoll_rejected_total", "counter", "Calls refused before they began.");
    for (uint32_t i = 0; i < REASONS && m->rejected[i].reason[0]; i++)
        line(t, "atoll_rejected_total{reason=\"%s\"} %llu\n", m->rejected[i].reason,
             (unsigned long long)m->rejected[i].count);
    head(t, "atoll_http_requests_total", "counter", "Requests answered.");
    for (unsigned i = 0; i < HTTP_CODES; i++) {
        if (m->http[i])
            line(t, "atoll_http_requests_total{code=\"%u\"} %llu\n", i,
                 (unsigned long long)m->http[i]);
    }
    head(t, "atoll_codegen_seconds", "histogram", "Time to build modules that were not cached.");
    histogram_lines(t, "atoll_codegen_seconds", "", &m->codegen);
    head(t, "atoll_build_info", "gauge", "The version that runs.");
    line(t, "atoll_build_info{version=\"%s\"} 1\n", ATOLL_VERSION);
}

int metrics_render(struct metrics *m, struct buffer *out, struct error *e)
{
    struct text t = {.out = out};
    head(&t, "atoll_calls_total", "counter", "Root calls that ended.");
    for_each(m, &t, calls_print);
    head(&t, "atoll_chained_calls_total", "counter", "Chained calls that ended.");
    for_each(m, &t, chained_print);
    head(&t, "atoll_chain_total", "counter", "Chained calls, by the way they were started.");
    for_each(m, &t, paths_print);
    head(&t, "atoll_call_duration_seconds", "histogram", "Queue, restore and run of root calls.");
    for_each(m, &t, duration_print);
    head(&t, "atoll_call_queue_seconds", "histogram", "From admission to a worker.");
    for_each(m, &t, queue_print);
    head(&t, "atoll_call_restore_seconds", "histogram", "To have an instance.");
    for_each(m, &t, restore_print);
    head(&t, "atoll_call_cpu_seconds_total", "counter", "Processor time of root calls.");
    for_each(m, &t, cpu_print);
    head(&t, "atoll_reset_seconds_total", "counter", "Time to reset instances.");
    for_each(m, &t, reset_print);
    head(&t, "atoll_call_memory_bytes", "gauge", "The largest memory a call had.");
    for_each(m, &t, memory_print);
    node_print(m, &t);
    counts_print(m, &t);
    for_each(m, &t, guest_print);
    return t.full ? error_set(e, ATOLL_ENOMEM, "no memory for the metrics") : 0;
}

/* ---- summaries ---- */

static void entry_summarise(struct entry *e, struct metrics_summary *s)
{
    *s = (struct metrics_summary){0};
    strcpy(s->tenant, e->tenant);
    strcpy(s->function, e->function);
    s->calls = e->chained;
    s->failed = e->chained - e->chained_ended[CALL_OK];
    s->hot = e->chained_started[CALL_HOT] + e->chained_started[CALL_KEPT];
    s->warm = e->chained_started[CALL_WARM];
    s->cold = e->chained_started[CALL_COLD];
    for (uint32_t i = 0; i < CALL_STATUSES; i++) {
        for (uint32_t k = 0; k < CALL_TEMPERATURES; k++) {
            s->calls += e->ended[i][k];
            s->failed += i == CALL_OK ? 0 : e->ended[i][k];
        }
        s->hot += e->ended[i][CALL_HOT] + e->ended[i][CALL_KEPT];
        s->warm += e->ended[i][CALL_WARM];
        s->cold += e->ended[i][CALL_COLD];
    }
    int64_t now = clock_monotonic_ns() / 1000000000;
    seconds_turn(e, now > e->second ? now : e->second);
    uint64_t calls = 0;
    for (int64_t second = now - RATE_SECONDS; second < now; second++)
        calls += e->seconds[second % SECONDS];
    s->calls_per_s = (double)calls / RATE_SECONDS;
    s->p50_ns = quantile(&e->recent[0], &e->recent[1], 0.5);
    s->p99_ns = quantile(&e->recent[0], &e->recent[1], 0.99);
}

static int summary_order(const void *a, const void *b)
{
    const struct metrics_summary *x = a, *y = b;
    if (x->calls_per_s != y->calls_per_s)
        return x->calls_per_s > y->calls_per_s ? -1 : 1;
    int tenants = strcmp(x->tenant, y->tenant);
    return tenants ? tenants : strcmp(x->function, y->function);
}

uint32_t metrics_summarise(struct metrics *m, struct metrics_summary *out, uint32_t max)
{
    uint32_t count = 0;
    halves_turn(m, clock_monotonic_ns() / 1000000000);
    for (uint32_t i = 0; i < HASH_BUCKETS; i++) {
        for (struct entry *e = m->buckets[i]; e && count < max; e = e->next)
            entry_summarise(e, &out[count++]);
    }
    qsort(out, count, sizeof *out, summary_order);
    return count;
}

/* ---- the whole ---- */

int metrics_create(struct node *node, struct metrics **out, struct error *e)
{
    *out = NULL;
    struct metrics *m = calloc(1, sizeof *m);
    if (m == NULL || (m->other = calloc(1, sizeof *m->other)) == NULL) {
        free(m);
        return error_set(e, ATOLL_ENOMEM, "no memory for the metrics");
    }
    m->node = node;
    strcpy(m->other->tenant, "other");
    strcpy(m->other->function, "other");
    *out = m;
    return 0;
}

static void entry_free(struct entry *e)
{
    while (e->guest) {
        struct guest_series *s = e->guest;
        e->guest = s->next;
        free(s->histogram);
        free(s);
    }
    free(e);
}

void metrics_destroy(struct metrics *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < HASH_BUCKETS; i++) {
        while (m->buckets[i]) {
            struct entry *e = m->buckets[i];
            m->buckets[i] = e->next;
            entry_free(e);
        }
    }
    entry_free(m->other);
    free(m);
}
