/* See call_graph.h. Apps in a hash table and in the order in which they were first seen; each has
 * an array of records. When there are too many records or apps, the oldest app goes. */
#include "node/call_graph.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#define BUCKETS 4096u

struct record {
    uint64_t id, parent;
    uint64_t queue_ns, restore_ns, run_ns, cpu_ns, memory_bytes;
    uint64_t input_len, output_len, state_pulled, state_pushed;
    int32_t status, code;
    uint32_t temperature, depth;
    char function[NAME_MAX_LEN + 1], version[VERSION_NAME_LEN + 1];
};

struct app {
    struct app *hash_next, *older, *newer;
    uint64_t id;
    char tenant[NAME_MAX_LEN + 1];
    int64_t expire_ns; /* 0: its root runs */
    struct record *records;
    uint32_t count, capacity, dropped;
};

struct call_graphs {
    struct app *buckets[BUCKETS];
    struct app *oldest, *newest;
    uint32_t apps, records;
};

const char *call_status_name(enum call_status status)
{
    static const char *const names[] = {"pending",  "running",   "ok",       "failed", "trapped",
                                        "timedout", "cancelled", "rejected", "lost",   "expired"};
    return (unsigned)status < sizeof names / sizeof names[0] ? names[status] : "unknown";
}

const char *call_temperature_name(enum call_temperature temperature)
{
    static const char *const names[CALL_TEMPERATURES] = {"hot", "warm", "cold", "cold-remote",
                                                         "kept"};
    return (unsigned)temperature < CALL_TEMPERATURES ? names[temperature] : "unknown";
}

struct call_graphs *call_graphs_create(void)
{
    return calloc(1, sizeof(struct call_graphs));
}

static struct app *app_find(const struct call_graphs *g, uint64_t id)
{
    struct app *a = g->buckets[id % BUCKETS];
    while (a && a->id != id)
        a = a->hash_next;
    return a;
}

static void app_drop(struct call_graphs *g, struct app *a)
{
    struct app **at = &g->buckets[a->id % BUCKETS];
    while (*at != a)
        at = &(*at)->hash_next;
    *at = a->hash_next;
    *(a->older ? &a->older->newer : &g->oldest) = a->newer;
    *(a->newer ? &a->newer->older : &g->newest) = a->older;
    g->apps--;
    g->records -= a->count;
    free(a->records);
    free(a);
}

void call_graphs_destroy(struct call_graphs *g)
{
    if (g == NULL)
        return;
    while (g->oldest)
        app_drop(g, g->oldest);
    free(g);
}

static struct app *app_get(struct call_graphs *g, uint64_t id, const char *tenant)
{
    struct app *a = app_find(g, id);
    if (a != NULL)
        return a;
    if (g->apps >= CALL_GRAPH_APPS_MAX)
        app_drop(g, g->oldest);
    if ((a = calloc(1, sizeof *a)) == NULL)
        return NULL;
    a->id = id;
    snprintf(a->tenant, sizeof a->tenant, "%s", tenant);
    a->hash_next = g->buckets[id % BUCKETS];
    g->buckets[id % BUCKETS] = a;
    a->older = g->newest;
    *(g->newest ? &g->newest->newer : &g->oldest) = a;
    g->newest = a;
    g->apps++;
    return a;
}

/* Room for one more record of the app, at the cost of older apps; NULL when there is none. */
static struct record *record_add(struct call_graphs *g, struct app *a)
{
    while (g->records >= CALL_GRAPH_RECORDS_MAX && g->oldest != a)
        app_drop(g, g->oldest);
    if (g->records >= CALL_GRAPH_RECORDS_MAX) {
        a->dropped++;
        return NULL;
    }
    if (a->count == a->capacity) {
        uint32_t capacity = a->capacity ? 2 * a->capacity : 1;
        void *grown = realloc(a->records, capacity * sizeof *a->records);
        if (grown == NULL) {
            a->dropped++;
            return NULL;
        }
        a->records = grown;
        a->capacity = capacity;
    }
    g->records++;
    struct record *r = &a->records[a->count++];
    *r = (struct record){0};
    return r;
}

static void record_name(struct record *r, const struct function_version *v)
{
    snprintf(r->function, sizeof r->function, "%s", v->manifest.function);
    snprintf(r->version, sizeof r->version, "%s", v->name);
}

void call_graph_child(struct call_graphs *g, uint64_t id, const struct message_child *m,
                      const struct function_version *v)
{
    struct app *a = app_get(g, m->app, v->manifest.tenant);
    struct record *r = a ? record_add(g, a) : NULL;
    if (r == NULL)
        return;
    *r = (struct record){.id = id,
                         .parent = m->parent,
                         .queue_ns = m->queue_ns,
                         .restore_ns = m->restore_ns,
                         .run_ns = m->run_ns,
                         .cpu_ns = m->cpu_ns,
                         .memory_bytes = m->memory_bytes,
                         .input_len = m->input_len,
                         .output_len = m->output_len,
                         .state_pulled = m->state_pulled,
                         .state_pushed = m->state_pushed,
                         .status = m->status,
                         .code = m->code,
                         .temperature = m->temperature,
                         .depth = m->depth};
    record_name(r, v);
}

static void record_root(struct record *r, const struct call_outcome *o)
{
    *r = (struct record){.id = o->id,
                         .queue_ns = o->queue_ns,
                         .restore_ns = o->restore_ns,
                         .run_ns = o->run_ns,
                         .cpu_ns = o->cpu_ns,
                         .memory_bytes = o->memory_bytes,
                         .output_len = o->output ? o->output->len : 0,
                         .status = (int32_t)o->status,
                         .code = o->code,
                         .temperature = o->temperature};
    record_name(r, o->version);
}

void call_graph_root(struct call_graphs *g, const struct call_outcome *o, int64_t now_ns)
{
    struct app *a = app_get(g, o->id, o->version->manifest.tenant);
    struct record *r = a ? record_add(g, a) : NULL;
    if (a)
        a->expire_ns = now_ns + CALL_GRAPH_TTL_NS;
    if (r)
        record_root(r, o);
}

void call_graph_expire(struct call_graphs *g, int64_t now_ns)
{
    while (g->oldest && g->oldest->expire_ns != 0 && g->oldest->expire_ns <= now_ns)
        app_drop(g, g->oldest);
}

const char *call_graph_tenant(const struct call_graphs *g, uint64_t app)
{
    const struct app *a = app_find(g, app);
    return a ? a->tenant : NULL;
}

/* ---- JSON ---- */

static void id_add(cJSON *o, const char *name, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    cJSON_AddStringToObject(o, name, text);
}

static void number_add(cJSON *o, const char *name, uint64_t value)
{
    cJSON_AddNumberToObject(o, name, (double)value);
}

static cJSON *record_json(const struct record *r)
{
    cJSON *o = cJSON_CreateObject();
    id_add(o, "id", r->id);
    if (r->parent)
        id_add(o, "parent", r->parent);
    cJSON_AddStringToObject(o, "function", r->function);
    cJSON_AddStringToObject(o, "version", r->version);
    cJSON_AddStringToObject(o, "status", call_status_name((enum call_status)r->status));
    cJSON_AddNumberToObject(o, "code", r->code);
    cJSON_AddStringToObject(o, "temperature",
                            call_temperature_name((enum call_temperature)r->temperature));
    number_add(o, "depth", r->depth);
    number_add(o, "queue_ns", r->queue_ns);
    number_add(o, "restore_ns", r->restore_ns);
    number_add(o, "run_ns", r->run_ns);
    number_add(o, "cpu_ns", r->cpu_ns);
    number_add(o, "memory_bytes", r->memory_bytes);
    number_add(o, "input_bytes", r->input_len);
    number_add(o, "output_bytes", r->output_len);
    number_add(o, "state_pulled_bytes", r->state_pulled);
    number_add(o, "state_pushed_bytes", r->state_pushed);
    return o;
}

int call_graph_render(const struct call_graphs *g, uint64_t app, const struct call_outcome *running,
                      struct buffer *out, struct error *e)
{
    const struct app *a = app_find(g, app);
    if (a == NULL && running == NULL)
        return error_set(e, ATOLL_ENOENT, "no call graph of that call is kept");
    cJSON *o = cJSON_CreateObject();
    id_add(o, "app", app);
    cJSON_AddStringToObject(o, "tenant", a ? a->tenant : running->version->manifest.tenant);
    cJSON *calls = cJSON_AddArrayToObject(o, "calls");
    if (running && (a == NULL || a->expire_ns == 0)) {
        struct record r;
        record_root(&r, running);
        cJSON_AddItemToArray(calls, record_json(&r));
    }
    for (uint32_t i = 0; a && i < a->count; i++)
        cJSON_AddItemToArray(calls, record_json(&a->records[i]));
    number_add(o, "dropped", a ? a->dropped : 0);
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    bool done = text && buffer_append(out, text, strlen(text));
    cJSON_free(text);
    return done ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the call graph");
}
