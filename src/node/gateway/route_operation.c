/*
 * For operators: health, metrics, version, workers, logs, what `atoll top` and the live page show,
 * and that page.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "atoll/version.h"
#include "base/clock.h"
#include "node/call_graph.h"
#include "node/calls.h"
#include "node/gateway/gateway.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/workers.h"
#include "state/state.h"

#include <stdlib.h>
#include <uv.h>

#define FUNCTIONS_SHOWN 200u
#define WORKERS_SHOWN   256u
#define CALLS_SHOWN     50u
#define BACKLOG_LINES   1000u
#define EVENTS_MS       1000u

extern const char page_start[], page_end[]; /* page.S */

/* ---- health ---- */

static void text_answer(struct exchange *x, unsigned status, const char *type, const char *text,
                        size_t len)
{
    struct exchange_headers headers = {0};
    exchange_headers_add(&headers, "content-type", type);
    struct http_response response = {.status = status,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = text,
                                     .body_len = len};
    exchange_respond(x, &response);
}

static void health_handle(struct exchange *x)
{
    text_answer(x, 200, "text/plain", "ok\n", 3);
}

static void ready_handle(struct exchange *x)
{
    if (x->node->draining)
        exchange_problem(x, 503, "the node is draining");
    else
        text_answer(x, 200, "text/plain", "ready\n", 6);
}

static void version_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "version", ATOLL_VERSION);
    exchange_json(x, 200, o);
}

static void metrics_handle(struct exchange *x)
{
    struct buffer text = {0};
    struct error e;
    if (metrics_render(x->node->metrics, &text, &e) != 0)
        exchange_error(x, &e);
    else
        text_answer(x, 200, "text/plain; version=0.0.4", (const char *)text.data, text.len);
    buffer_free(&text);
}

/* ---- the node, its workers ---- */

static cJSON *workers_json(const struct node *n)
{
    struct worker_summary list[WORKERS_SHOWN];
    uint32_t count = workers_list(n->workers, list, WORKERS_SHOWN);
    cJSON *all = cJSON_CreateArray();
    for (uint32_t i = 0; i < count; i++) {
        cJSON *o = cJSON_CreateObject();
        char started[32];
        time_text(list[i].started_ns, started);
        cJSON_AddNumberToObject(o, "worker", list[i].number);
        cJSON_AddNumberToObject(o, "pid", list[i].pid);
        cJSON_AddStringToObject(o, "tenant", list[i].tenant);
        cJSON_AddNumberToObject(o, "calls", list[i].calls);
        cJSON_AddNumberToObject(o, "instances_max", list[i].instances_max);
        cJSON_AddNumberToObject(o, "functions", list[i].versions);
        cJSON_AddNumberToObject(o, "restarts", list[i].restarts);
        cJSON_AddStringToObject(o, "started", started);
        cJSON_AddItemToArray(all, o);
    }
    return all;
}

static void workers_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToObject(o, "workers", workers_json(x->node));
    exchange_json(x, 200, o);
}

static void nodes_handle(struct exchange *x)
{
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "nodes");
    cJSON *one = cJSON_CreateObject();
    char started[32];
    time_text(x->node->started_ns, started);
    cJSON_AddNumberToObject(one, "id", x->node->config.node_id);
    cJSON_AddStringToObject(one, "url", node_url(x->node));
    cJSON_AddStringToObject(one, "started", started);
    cJSON_AddBoolToObject(one, "draining", x->node->draining);
    cJSON_AddNumberToObject(one, "calls", (double)calls_live(x->node->calls));
    cJSON_AddItemToArray(list, one);
    exchange_json(x, 200, o);
}

static void drain_handle(struct exchange *x)
{
    struct node *n = x->node;
    if (strtoul(x->text, NULL, 10) != n->config.node_id) {
        exchange_problem(x, 404, "there is no node %s", x->text);
        return;
    }
    exchange_respond(x, &(struct http_response){.status = 202});
    node_stop(n);
}

/* ---- what is going on ---- */

static cJSON *functions_json(const struct node *n)
{
    static struct metrics_summary list[FUNCTIONS_SHOWN];
    uint32_t count = metrics_summarise(n->metrics, list, FUNCTIONS_SHOWN);
    cJSON *all = cJSON_CreateArray();
    for (uint32_t i = 0; i < count; i++) {
        cJSON *o = cJSON_CreateObject();
        char name[130];
        snprintf(name, sizeof name, "%s/%s", list[i].tenant, list[i].function);
        cJSON_AddStringToObject(o, "function", name);
        cJSON_AddNumberToObject(o, "calls", (double)list[i].calls);
        cJSON_AddNumberToObject(o, "failed", (double)list[i].failed);
        cJSON_AddNumberToObject(o, "calls_per_s", list[i].calls_per_s);
        cJSON_AddNumberToObject(o, "p50_ns", (double)list[i].p50_ns);
        cJSON_AddNumberToObject(o, "p99_ns", (double)list[i].p99_ns);
        cJSON_AddNumberToObject(o, "hot", (double)list[i].hot);
        cJSON_AddNumberToObject(o, "warm", (double)list[i].warm);
        cJSON_AddNumberToObject(o, "cold", (double)list[i].cold);
        cJSON_AddItemToArray(all, o);
    }
    return all;
}

static cJSON *recent_json(const struct node *n)
{
    struct call_summary list[CALLS_SHOWN];
    uint32_t count = calls_recent(n->calls, list, CALLS_SHOWN);
    cJSON *all = cJSON_CreateArray();
    for (uint32_t i = 0; i < count; i++) {
        cJSON *o = cJSON_CreateObject();
        char id[17], ended[32];
        id_text(list[i].id, id);
        time_text(list[i].ended_ns, ended);
        cJSON_AddStringToObject(o, "call", id);
        cJSON_AddStringToObject(o, "function", list[i].function);
        cJSON_AddStringToObject(o, "status", call_status_name(list[i].status));
        cJSON_AddStringToObject(o, "temperature", call_temperature_name(list[i].temperature));
        cJSON_AddNumberToObject(o, "queue_ns", (double)list[i].queue_ns);
        cJSON_AddNumberToObject(o, "restore_ns", (double)list[i].restore_ns);
        cJSON_AddNumberToObject(o, "run_ns", (double)list[i].run_ns);
        cJSON_AddStringToObject(o, "ended", ended);
        cJSON_AddItemToArray(all, o);
    }
    return all;
}

static cJSON *top_json(const struct node *n)
{
    struct state_counters s;
    cJSON *o = cJSON_CreateObject();
    state_counters(n->state, &s);
    cJSON_AddStringToObject(o, "version", ATOLL_VERSION);
    cJSON_AddNumberToObject(o, "node", n->config.node_id);
    cJSON_AddNumberToObject(o, "uptime_s",
                            (double)(clock_ns(CLOCK_REALTIME) - n->started_ns) / 1e9);
    cJSON_AddBoolToObject(o, "draining", n->draining);
    cJSON_AddNumberToObject(o, "live_calls", (double)calls_live(n->calls));
    cJSON_AddItemToObject(o, "functions", functions_json(n));
    cJSON_AddItemToObject(o, "workers", workers_json(n));
    cJSON_AddItemToObject(o, "recent", recent_json(n));
    cJSON *state = cJSON_AddObjectToObject(o, "state");
    cJSON_AddNumberToObject(state, "values", (double)s.values);
    cJSON_AddNumberToObject(state, "local_bytes", (double)s.local_bytes);
    cJSON_AddNumberToObject(state, "pull_bytes", (double)s.pull_bytes);
    cJSON_AddNumberToObject(state, "push_bytes", (double)s.push_bytes);
    cJSON_AddNumberToObject(state, "waiting", (double)s.waiting);
    return o;
}

static void top_handle(struct exchange *x)
{
    exchange_json(x, 200, top_json(x->node));
}

/* ---- streams: events for the page, log lines ---- */

struct stream {
    struct exchange *exchange;
    uv_timer_t timer;              /* of events, and for the end of the node */
    struct log_follower *follower; /* log lines */
    bool full;                     /* lines are dropped until there is room again */
    uint64_t dropped;
};

static void stream_freed(uv_handle_t *handle)
{
    free(handle->data);
}

static void stream_stop(struct exchange *x)
{
    struct stream *s = x->own;
    x->gone = x->drained = NULL;
    x->own = NULL;
    log_unfollow(s->follower);
    if (s->timer.data)
        uv_close((uv_handle_t *)&s->timer, stream_freed);
    else
        free(s);
}

static void stream_gone(struct exchange *x)
{
    stream_stop(x);
    exchange_stream_end(x);
}

static struct stream *stream_start(struct exchange *x, const char *type)
{
    struct exchange_headers headers = {0};
    struct error e;
    struct stream *s = calloc(1, sizeof *s);
    exchange_headers_add(&headers, "content-type", type);
    exchange_headers_add(&headers, "cache-control", "no-store");
    struct http_response response = {
        .status = 200, .headers = headers.list, .header_count = headers.count};
    int rc = s ? exchange_stream_begin(x, &response, &e)
               : error_set(&e, ATOLL_ENOMEM, "no memory for a stream");
    if (rc != 0) {
        free(s);
        exchange_error(x, &e);
        return NULL;
    }
    s->exchange = x;
    x->own = s;
    x->gone = stream_gone;
    return s;
}

static void stream_timer(struct stream *s, uv_timer_cb act)
{
    uv_timer_init(s->exchange->node->loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, act, 0, EVENTS_MS);
}

/* Who follows the log has all that matters by then, and shall not keep the node from its end. */
static void drain_watch(uv_timer_t *timer)
{
    struct stream *s = timer->data;
    if (s->exchange->node->draining && calls_live(s->exchange->node->calls) == 0)
        stream_gone(s->exchange);
}

static void event_send(uv_timer_t *timer)
{
    struct stream *s = timer->data;
    char *text;
    cJSON *o = top_json(s->exchange->node);
    text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    struct buffer event = {0};
    if (text && buffer_append(&event, "data: ", 6) && buffer_append(&event, text, strlen(text)) &&
        buffer_append(&event, "\n\n", 2))
        exchange_stream_write(s->exchange, event.data, event.len);
    cJSON_free(text);
    buffer_free(&event);
    if (s->exchange->node->draining)
        stream_gone(s->exchange);
}

static void events_handle(struct exchange *x)
{
    struct stream *s = stream_start(x, "text/event-stream");
    if (s == NULL)
        return;
    stream_timer(s, event_send);
}

static void log_line(void *context, const char *text, size_t len)
{
    struct stream *s = context;
    char line[LOG_LINE_MAX + 1];
    if (s->full || len >= sizeof line) {
        s->dropped++;
        return;
    }
    memcpy(line, text, len);
    line[len] = '\n';
    if (exchange_stream_write(s->exchange, line, len + 1) == -ATOLL_EAGAIN) {
        s->full = true;
        s->dropped++;
    }
}

static void log_drained(struct exchange *x)
{
    struct stream *s = x->own;
    char line[96];
    int len =
        snprintf(line, sizeof line, "{\"level\":\"warning\",\"msg\":\"%llu lines were dropped\"}\n",
                 (unsigned long long)s->dropped);
    s->full = false;
    s->dropped = 0;
    exchange_stream_write(x, line, (size_t)len);
}

/* GET /v1/logs?tenant=&function=&back=&follow= : a tenant's token sees its own lines only. */
static void logs_handle(struct exchange *x)
{
    static const char *const known[] = {"tenant", "function", "back", "follow", NULL};
    char tenant[NAME_MAX_LEN + 1] = "", function[NAME_MAX_LEN + 1] = "", follow[8] = "";
    uint64_t lines = 100;
    if (!exchange_query_only(x, known))
        return;
    if (exchange_query(x, "tenant", tenant, sizeof tenant) == -ATOLL_EINVAL ||
        exchange_query(x, "function", function, sizeof function) == -ATOLL_EINVAL ||
        exchange_query_count(x, "back", &lines) == -ATOLL_EINVAL ||
        exchange_query(x, "follow", follow, sizeof follow) == -ATOLL_EINVAL)
        return;
    if (tenant[0] == 0 && x->token && x->token->tenant[0])
        strcpy(tenant, x->token->tenant);
    if (!exchange_require(x, tenant[0] ? tenant : NULL, SCOPE_LOGS))
        return;
    struct stream *s = stream_start(x, "application/x-ndjson");
    if (s == NULL)
        return;
    x->drained = log_drained;
    s->follower = log_follow(tenant[0] ? tenant : NULL, function[0] ? function : NULL,
                             lines < BACKLOG_LINES ? (uint32_t)lines : BACKLOG_LINES, log_line, s);
    bool stays = strcmp(follow, "true") == 0 || strcmp(follow, "1") == 0;
    if (!stays || s->follower == NULL) /* NULL: too many follow already */
        stream_gone(x);
    else
        stream_timer(s, drain_watch);
}

/* ---- the page ---- */

static void page_handle(struct exchange *x)
{
    struct exchange_headers headers = {0};
    exchange_headers_add(&headers, "content-type", "text/html; charset=utf-8");
    exchange_headers_add(&headers, "content-security-policy",
                         "default-src 'none'; style-src 'unsafe-inline'; script-src "
                         "'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
                         "form-action 'none'; frame-ancestors 'none'");
    exchange_headers_add(&headers, "x-content-type-options", "nosniff");
    struct http_response response = {.status = 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = page_start,
                                     .body_len = (size_t)(page_end - page_start)};
    exchange_respond(x, &response);
}

const struct route routes_operation[] = {
    {.method = HTTP_GET,
     .pattern = "/healthz",
     .handle = health_handle,
     .open = true,
     .apart = true},
    {.method = HTTP_GET, .pattern = "/readyz", .handle = ready_handle, .open = true, .apart = true},
    {.method = HTTP_GET,
     .pattern = "/version",
     .handle = version_handle,
     .open = true,
     .apart = true},
    {.method = HTTP_GET, .pattern = "/", .handle = page_handle, .open = true},
    {.method = HTTP_GET,
     .pattern = "/metrics",
     .handle = metrics_handle,
     .scopes = SCOPE_ADMIN,
     .apart = true},
    {.method = HTTP_GET, .pattern = "/v1/workers", .handle = workers_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_GET, .pattern = "/v1/nodes", .handle = nodes_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_POST,
     .pattern = "/v1/nodes/{text}/drain",
     .handle = drain_handle,
     .scopes = SCOPE_ADMIN},
    {.method = HTTP_GET, .pattern = "/v1/top", .handle = top_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_GET, .pattern = "/v1/events", .handle = events_handle, .scopes = SCOPE_ADMIN},
    {.method = HTTP_GET, .pattern = "/v1/logs", .handle = logs_handle},
    {0},
};
