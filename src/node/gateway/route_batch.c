/*
 * POST /v1/batch/{tenant}/{name}: many inputs, one request, as many calls.
 *
 * The body is NDJSON, one input per line, or one JSON array. An input that is a JSON string goes to
 * the function as its text; any other value as its JSON. The answer is NDJSON in the same order:
 * {"index":0,"call":"…"} for a call that was admitted, {"index":1,"error":"…","code":N} for one
 * that was not. Results are kept, as those of asynchronous calls are.
 */
#define _GNU_SOURCE
#include "node/gateway/exchange.h"

#include "node/calls.h"

#include <stdlib.h>

#define BATCH_MAX       10000u
#define BATCH_BYTES_MAX (64ull << 20)

struct batch {
    struct exchange *exchange;
    struct function_version *version;
    struct buffer out;
    uint32_t count;
};

static void line_error(struct batch *b, int code, const char *text)
{
    char head[64];
    int len = snprintf(head, sizeof head, "{\"index\":%u,\"code\":%d,\"error\":", b->count, code);
    buffer_append(&b->out, head, (size_t)len);
    http_json_string(&b->out, text, strlen(text));
    buffer_append(&b->out, "}\n", 2);
}

static void input_submit(struct batch *b, const char *bytes, size_t len)
{
    struct exchange *x = b->exchange;
    struct error e;
    uint64_t id;
    struct call_request q = {.version = b->version, .priority = 10, .keep = true};
    q.input = blob_create(bytes, len);
    memcpy(q.trace_id, x->trace_id, sizeof q.trace_id);
    if (q.input == NULL) {
        line_error(b, ATOLL_ENOMEM, "no memory for the input");
    } else if (calls_submit(x->node->calls, &q, NULL, NULL, &id, &e) != 0) {
        line_error(b, -e.code, e.text);
    } else {
        char line[80], text[17];
        id_text(id, text);
        int n = snprintf(line, sizeof line, "{\"index\":%u,\"call\":\"%s\"}\n", b->count, text);
        buffer_append(&b->out, line, (size_t)n);
    }
    blob_release(q.input);
    b->count++;
}

static void value_submit(struct batch *b, const cJSON *value)
{
    if (cJSON_IsString(value)) {
        input_submit(b, value->valuestring, strlen(value->valuestring));
        return;
    }
    char *text = cJSON_PrintUnformatted(value);
    if (text)
        input_submit(b, text, strlen(text));
    cJSON_free(text);
}

/* Whether every line is JSON, before any of them is called. */
static bool lines_check(struct exchange *x, const char *text, size_t len, uint32_t *count)
{
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        cJSON *value = stop > at ? cJSON_ParseWithLength(at, (size_t)(stop - at)) : NULL;
        if (stop > at && value == NULL) {
            exchange_problem(x, 400, "line %u is not a JSON value", *count + 1);
            return false;
        }
        *count += value != NULL;
        cJSON_Delete(value);
        at = stop + 1;
    }
    return true;
}

static void lines_submit(struct batch *b, const char *text, size_t len)
{
    for (const char *at = text, *end = text + len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        cJSON *value = stop > at ? cJSON_ParseWithLength(at, (size_t)(stop - at)) : NULL;
        if (value)
            value_submit(b, value);
        cJSON_Delete(value);
        at = stop + 1;
    }
}

static void batch_run(struct exchange *x, struct batch *b)
{
    const char *text = (const char *)x->request->body;
    size_t len = x->request->body_len;
    uint32_t count = 0;
    cJSON *array = len && text[0] == '[' ? cJSON_ParseWithLength(text, len) : NULL;
    if (array)
        count = (uint32_t)cJSON_GetArraySize(array);
    else if (!lines_check(x, text, len, &count))
        return;
    if (count == 0 || count > BATCH_MAX) {
        cJSON_Delete(array);
        exchange_problem(x, count ? 413 : 400, "a batch has 1 to %u inputs", BATCH_MAX);
        return;
    }
    const cJSON *value;
    if (array) {
        cJSON_ArrayForEach(value, array) value_submit(b, value);
    } else {
        lines_submit(b, text, len);
    }
    cJSON_Delete(array);
    struct exchange_headers headers = {0};
    exchange_headers_add(&headers, "content-type", "application/x-ndjson");
    struct http_response response = {.status = 202,
                                     .headers = headers.list,
                                     .header_count = headers.count,
                                     .body = b->out.data,
                                     .body_len = b->out.len};
    exchange_respond(x, &response);
}

static void batch_handle(struct exchange *x)
{
    struct batch b = {.exchange = x};
    struct error e;
    if (registry_find(x->node->registry, x->tenant, x->name, NULL, &b.version, &e) != 0) {
        exchange_error(x, &e);
        return;
    }
    batch_run(x, &b);
    buffer_free(&b.out);
}

const struct route routes_batch[] = {
    {.method = HTTP_POST,
     .pattern = "/v1/batch/{tenant}/{name}",
     .handle = batch_handle,
     .scopes = SCOPE_INVOKE,
     .body_max = BATCH_BYTES_MAX},
    {0},
};
