/*
 * Calling functions: POST /v1/fn/{tenant}/{name}, and what is asked of calls afterwards.
 *
 * A synchronous call's exchange waits in calls.c; the answer is written from the outcome without
 * JSON. Prefer: respond-async keeps the result instead and answers 202; the call's id with the same
 * Idempotency-Key is remembered for a day; Atoll-Callback gets the result posted.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "base/clock.h"
#include "net/url.h"
#include "node/call_graph.h"
#include "node/calls.h"
#include "node/gateway/call_reply.h"
#include "node/gateway/callback.h"
#include "node/gateway/idempotency.h"

#include <stdlib.h>
#include <strings.h>

#define SELECTOR_MAX 64
#define WAIT_MAX_NS  300000000000ll

/* ---- from the request to a call ---- */

/* "GET /path?query\nname: value\n…" for the function; what authorises the request stays here. */
static bool head_write(const struct exchange *x, struct buffer *out)
{
    const struct http_head *head = x->request->head;
    const char *method = http_method_name(head->method);
    bool good = buffer_append(out, method, strlen(method)) && buffer_append(out, " ", 1) &&
                buffer_append(out, head->path, head->path_len);
    if (head->query)
        good =
            good && buffer_append(out, "?", 1) && buffer_append(out, head->query, head->query_len);
    good = good && buffer_append(out, "\n", 1);
    for (size_t i = 0; good && i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];
        if (strcasecmp(h->name, "authorization") == 0 || strcasecmp(h->name, "cookie") == 0)
            continue;
        good = buffer_append(out, h->name, strlen(h->name)) && buffer_append(out, ": ", 2) &&
               buffer_append(out, h->value, strlen(h->value)) && buffer_append(out, "\n", 1);
    }
    return good && out->len <= MESSAGE_HEAD_MAX;
}

/* "30s", "500ms" or plain seconds of a query parameter; 0: none; negative: answered. */
static int64_t duration_query(struct exchange *x, const char *name, int64_t most)
{
    char text[32];
    int rc = exchange_query(x, name, text, sizeof text);
    if (rc < 0)
        return rc == -ATOLL_ENOENT ? 0 : -1;
    char *end;
    double value = strtod(text, &end), unit = 1e9;
    if (strcmp(end, "ms") == 0)
        unit = 1e6;
    else if (*end != 0 && strcmp(end, "s") != 0)
        value = -1;
    if (!(value >= 0) || text[0] < '0' || text[0] > '9') {
        exchange_problem(x, 400, "query parameter %s must be a time such as 10s or 500ms", name);
        return -1;
    }
    return value * unit < (double)most ? (int64_t)(value * unit) : most;
}

/* The version that the query selects; false when it has been answered. */
static bool version_select(struct exchange *x, struct function_version **v)
{
    char selector[SELECTOR_MAX] = "";
    struct error e;
    /* Other parameters are the function's, which finds them in the request's head. */
    if (x->request->head->query) {
        int rc = exchange_query(x, "version", selector, sizeof selector);
        if (rc == -ATOLL_ENOENT)
            rc = exchange_query(x, "alias", selector, sizeof selector);
        if (rc < 0 && rc != -ATOLL_ENOENT)
            return false;
    }
    if (registry_find(x->node->registry, x->tenant, x->name, selector[0] ? selector : NULL, v,
                      &e)) {
        exchange_error(x, &e);
        return false;
    }
    return true;
}

/* The collected body as the call's input: taken over, not copied. */
static struct blob *input_take(struct exchange *x)
{
    struct buffer body = http_request_body_take(x->request);
    return body.data ? blob_adopt(body.data, body.len) : NULL;
}

/* ---- synchronous calls ---- */

static void call_ended(void *context, const struct call_outcome *o)
{
    struct exchange *x = context;
    x->gone = NULL;
    call_reply(x, o);
}

static void caller_gone(struct exchange *x)
{
    x->gone = NULL;
    calls_abandon(x->node->calls, x->id);
    exchange_drop(x);
}

static bool prefers_async(const struct exchange *x)
{
    const char *prefer = exchange_header(x, "prefer");
    return prefer && strcasestr(prefer, "respond-async") != NULL;
}

static void call_async(struct exchange *x, struct call_request *q);

/* "Atoll-Start: fresh" or "cold", for measurements: false when it has been answered. */
static bool start_select(struct exchange *x, uint32_t *flags)
{
    const char *start = exchange_header(x, "atoll-start");
    if (start == NULL)
        return true;
    if (x->token && !access_allows(x->token, x->tenant, SCOPE_DEPLOY)) {
        exchange_problem(x, 403, "the header Atoll-Start needs the scope deploy");
        return false;
    }
    if (strcmp(start, "fresh") == 0) {
        *flags = CALL_FLAG_FRESH;
    } else if (strcmp(start, "cold") == 0) {
        *flags = CALL_FLAG_CLEAR;
    } else {
        exchange_problem(x, 400, "the header Atoll-Start is \"fresh\" or \"cold\"");
        return false;
    }
    return true;
}

static void fn_handle(struct exchange *x)
{
    struct call_request q = {.priority = 10, .sampled = x->sampled};
    struct buffer head = {0};
    struct error e;
    int64_t timeout = x->request->head->query ? duration_query(x, "timeout", INT64_MAX) : 0;
    if (timeout < 0 || !version_select(x, &q.version) || !start_select(x, &q.flags))
        return;
    if (!head_write(x, &head)) {
        buffer_free(&head);
        exchange_problem(x, 431, "the request's head is too long for a function");
        return;
    }
    bool had_body = x->request->body_len > 0;
    q.input = input_take(x);
    if (had_body && q.input == NULL) {
        buffer_free(&head);
        exchange_problem(x, 503, "no memory for the input");
        return;
    }
    q.head = (const char *)head.data;
    q.head_len = (uint32_t)head.len;
    q.timeout_ns = (uint64_t)timeout;
    memcpy(q.trace_id, x->trace_id, sizeof q.trace_id);
    memcpy(q.span_id, x->parent_id, sizeof q.span_id);
    if (prefers_async(x) || exchange_header(x, "atoll-callback")) {
        call_async(x, &q);
    } else if (calls_submit(x->node->calls, &q, call_ended, x, &x->id, &e) != 0) {
        exchange_error(x, &e);
    } else {
        x->gone = caller_gone;
    }
    blob_release(q.input);
    buffer_free(&head);
}

static uint64_t input_limit(struct exchange *x)
{
    return x->node->config.input_bytes;
}

/* ---- asynchronous calls ---- */

static void accepted_answer(struct exchange *x, uint64_t id)
{
    char text[17], location[64];
    struct exchange_headers headers = {0};
    id_text(id, text);
    snprintf(location, sizeof location, "/v1/calls/%s", text);
    exchange_headers_add(&headers, "location", location);
    exchange_headers_add(&headers, "atoll-call", text);
    exchange_headers_add(&headers, "content-type", "application/json");
    char body[64];
    int len = snprintf(body, sizeof body, "{\"call\":\"%s\"}", text);
    struct http_response response = {.status = 202,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = body,
                                     .body_len = (size_t)len};
    exchange_respond(x, &response);
}

static void idempotent_answer(struct exchange *x, int code, uint64_t id, const struct error *e)
{
    if (code != 0)
        exchange_error(x, e);
    else
        accepted_answer(x, id);
}

static void call_async(struct exchange *x, struct call_request *q)
{
    const char *url = exchange_header(x, "atoll-callback");
    const char *key = exchange_header(x, "idempotency-key");
    struct callback *callback = NULL;
    struct error e;
    uint64_t id;
    q->keep = true;
    if (url && callback_prepare(x->node, url, &callback, &e) != 0) {
        exchange_error(x, &e);
        return;
    }
    if (key) {
        /* Looks the key up, and submits the call only when it is new. */
        idempotency_submit(x, key, q, callback, idempotent_answer);
        return;
    }
    int rc = calls_submit(x->node->calls, q, callback ? callback_post : NULL, callback, &id, &e);
    if (rc != 0) {
        callback_cancel(callback);
        exchange_error(x, &e);
        return;
    }
    accepted_answer(x, id);
}

/* ---- looking at calls ---- */

/* 404 for a call that is not known, and for one of a tenant that the token is not for. */
static bool call_visible(struct exchange *x, uint32_t scopes)
{
    const char *tenant = calls_tenant(x->node->calls, x->id);
    if (x->token == NULL || (tenant && access_allows(x->token, tenant, scopes)))
        return true;
    exchange_problem(x, 404, "there is no such call");
    return false;
}

static void status_seen(void *context, int code, const struct call_outcome *o)
{
    struct exchange *x = context;
    x->gone = NULL;
    if (code != 0)
        exchange_problem(x, code == -ATOLL_EEXPIRED ? 410 : 404, "there is no such call%s",
                         code == -ATOLL_EEXPIRED ? " any longer" : "");
    else
        call_status_reply(x, o);
}

static void status_handle(struct exchange *x)
{
    static const char *const known[] = {"wait", NULL};
    if (!exchange_query_only(x, known) || !call_visible(x, SCOPE_INVOKE))
        return;
    int64_t wait = duration_query(x, "wait", WAIT_MAX_NS);
    if (wait >= 0)
        calls_wait(x->node->calls, x->id, wait, status_seen, x);
}

static void output_seen(void *context, int code, const struct call_outcome *o)
{
    struct exchange *x = context;
    if (code != 0)
        exchange_problem(x, code == -ATOLL_EEXPIRED ? 410 : 404, "there is no such call%s",
                         code == -ATOLL_EEXPIRED ? " any longer" : "");
    else if (o->status == CALL_PENDING || o->status == CALL_RUNNING)
        exchange_problem(x, 409, "the call has not ended yet; ask with ?wait=10s first");
    else
        call_reply(x, o);
}

static void output_handle(struct exchange *x)
{
    if (call_visible(x, SCOPE_INVOKE))
        calls_wait(x->node->calls, x->id, 0, output_seen, x);
}

static void graph_handle(struct exchange *x)
{
    struct buffer text = {0};
    struct error e;
    if (!call_visible(x, SCOPE_INVOKE))
        return;
    if (calls_graph(x->node->calls, x->id, &text, &e) != 0) {
        buffer_free(&text);
        exchange_error(x, &e);
        return;
    }
    struct exchange_headers headers = {0};
    exchange_headers_add(&headers, "content-type", "application/json");
    struct http_response response = {.status = 200,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = text.data,
                                     .body_len = text.len};
    exchange_respond(x, &response);
    buffer_free(&text);
}

static void cancel_handle(struct exchange *x)
{
    if (!call_visible(x, SCOPE_INVOKE))
        return;
    if (calls_cancel(x->node->calls, x->id) != 0) {
        exchange_problem(x, 404, "there is no such call");
        return;
    }
    exchange_respond(x, &(struct http_response){.status = 204});
}

const struct route routes_call[] = {
    {.method = HTTP_POST,
     .pattern = "/v1/fn/{tenant}/{name}",
     .handle = fn_handle,
     .scopes = SCOPE_INVOKE,
     .body_limit = input_limit,
     .body_setting = "limits.input"},
    {.method = HTTP_GET,
     .pattern = "/v1/fn/{tenant}/{name}",
     .handle = fn_handle,
     .scopes = SCOPE_INVOKE},
    {.method = HTTP_GET, .pattern = "/v1/calls/{id}", .handle = status_handle},
    {.method = HTTP_GET, .pattern = "/v1/calls/{id}/output", .handle = output_handle},
    {.method = HTTP_GET, .pattern = "/v1/calls/{id}/graph", .handle = graph_handle},
    {.method = HTTP_DELETE, .pattern = "/v1/calls/{id}", .handle = cancel_handle},
    {0},
};
