/* See call_reply.h. */
#define _GNU_SOURCE
#include "node/gateway/call_reply.h"

#include "node/call_graph.h"

#include <stdlib.h>

/* Texts of the fields that every answer to a call has; they live until it is written. */
struct call_fields {
    char call[17], code[16], timing[160], node[8];
};

static void fields_add(struct exchange *x, const struct call_outcome *o, struct call_fields *f,
                       struct exchange_headers *h)
{
    id_text(o->id, f->call);
    exchange_headers_add(h, "atoll-call", f->call);
    if (o->version) {
        snprintf(f->node, sizeof f->node, "%u", x->node->config.node_id);
        exchange_headers_add(h, "atoll-version", o->version->name);
        exchange_headers_add(h, "atoll-node", f->node);
        exchange_headers_add(h, "atoll-temperature", call_temperature_name(o->temperature));
    }
    snprintf(f->timing, sizeof f->timing, "queue;dur=%.3f, restore;dur=%.3f, run;dur=%.3f",
             (double)o->queue_ns / 1e6, (double)o->restore_ns / 1e6, (double)o->run_ns / 1e6);
    exchange_headers_add(h, "server-timing", f->timing);
}

static void blob_done(void *context, const void *body, size_t len)
{
    (void)body;
    (void)len;
    blob_release(context);
}

static void output_send(struct exchange *x, unsigned status, struct exchange_headers *h,
                        struct blob *output)
{
    struct http_response response = {
        .status = status, .headers = h->list, .header_count = h->count};
    if (output && output->len) {
        response.body = blob_bytes(output);
        if (response.body == NULL) {
            exchange_problem(x, 503, "the output cannot be mapped");
            return;
        }
        response.body_len = output->len;
        response.release = blob_done;
        response.release_context = blob_retain(output);
    }
    exchange_respond(x, &response);
}

/* "STATUS\nname: value\n…", cut up in place. False: not of that form. */
static bool head_parse(char *text, unsigned *status, struct exchange_headers *h, bool *typed)
{
    char *line = text, *end;
    unsigned long number = strtoul(line, &end, 10);
    if (number < 200 || number > 599 || *end != '\n')
        return false;
    *status = (unsigned)number;
    for (line = end + 1; *line; line = end + 1) {
        end = strchr(line, '\n');
        char *colon = end ? memchr(line, ':', (size_t)(end - line)) : NULL;
        if (colon == NULL || h->count >= EXCHANGE_HEADERS_MAX)
            return false;
        *colon = *end = 0;
        char *value = colon + 1 + strspn(colon + 1, " ");
        *typed |= strcasecmp(line, "content-type") == 0;
        exchange_headers_add(h, line, value);
    }
    return true;
}

static void ok_reply(struct exchange *x, const struct call_outcome *o, struct exchange_headers *h)
{
    unsigned status = 200;
    bool typed = false;
    char *head = o->head_len ? strndup(o->head, o->head_len) : NULL;
    if (head && !head_parse(head, &status, h, &typed)) {
        free(head);
        exchange_problem(x, 502, "the function set an HTTP head that is none");
        return;
    }
    if (!typed)
        exchange_headers_add(h, "content-type", "application/octet-stream");
    output_send(x, status, h, o->output);
    free(head);
}

static unsigned problem_status(enum call_status status)
{
    switch (status) {
    case CALL_FAILED: return 502;
    case CALL_TIMEDOUT: return 504;
    case CALL_REJECTED: return 429;
    case CALL_LOST:
    case CALL_CANCELLED: return 503;
    case CALL_EXPIRED: return 410;
    default: return 500;
    }
}

/* Behind "the call". */
static const char *status_verb(enum call_status status)
{
    switch (status) {
    case CALL_TIMEDOUT: return "timed out";
    case CALL_REJECTED: return "was rejected";
    case CALL_LOST: return "was lost";
    case CALL_CANCELLED: return "was cancelled";
    default: return call_status_name(status);
    }
}

static void problem_reply(struct exchange *x, const struct call_outcome *o,
                          struct exchange_headers *h, struct call_fields *f)
{
    char text[1200];
    if (o->status == CALL_FAILED) {
        snprintf(f->code, sizeof f->code, "%d", o->code);
        exchange_headers_add(h, "atoll-code", f->code);
    }
    if (o->status == CALL_REJECTED || o->status == CALL_LOST)
        exchange_headers_add(h, "retry-after", "1");
    if (o->text[0])
        snprintf(text, sizeof text, "the call %s: %s", status_verb(o->status), o->text);
    else if (o->status == CALL_FAILED)
        snprintf(text, sizeof text, "the function returned %d", o->code);
    else
        snprintf(text, sizeof text, "the call %s", status_verb(o->status));
    exchange_headers_add(h, "atoll-status", call_status_name(o->status));
    exchange_problem_with(x, problem_status(o->status), h, text);
}

void call_reply(struct exchange *x, const struct call_outcome *o)
{
    struct exchange_headers headers = {0};
    struct call_fields fields;
    fields_add(x, o, &fields, &headers);
    if (o->status == CALL_OK)
        ok_reply(x, o, &headers);
    else
        problem_reply(x, o, &headers, &fields);
}

/* What happened, as JSON, without the output. */
static cJSON *status_json(const struct call_outcome *o)
{
    char id[17];
    cJSON *j = cJSON_CreateObject();
    id_text(o->id, id);
    cJSON_AddStringToObject(j, "call", id);
    cJSON_AddStringToObject(j, "status", call_status_name(o->status));
    cJSON_AddNumberToObject(j, "code", o->code);
    if (o->text && o->text[0])
        cJSON_AddStringToObject(j, "message", o->text);
    if (o->version) {
        char name[2 * NAME_MAX_LEN + 2];
        snprintf(name, sizeof name, "%s/%s", o->version->manifest.tenant,
                 o->version->manifest.function);
        cJSON_AddStringToObject(j, "function", name);
        cJSON_AddStringToObject(j, "version", o->version->name);
    }
    cJSON_AddStringToObject(j, "temperature", call_temperature_name(o->temperature));
    cJSON_AddNumberToObject(j, "attempt", o->attempt);
    cJSON_AddNumberToObject(j, "children", o->children);
    cJSON_AddNumberToObject(j, "queue_ns", (double)o->queue_ns);
    cJSON_AddNumberToObject(j, "restore_ns", (double)o->restore_ns);
    cJSON_AddNumberToObject(j, "run_ns", (double)o->run_ns);
    cJSON_AddNumberToObject(j, "cpu_ns", (double)o->cpu_ns);
    cJSON_AddNumberToObject(j, "memory_bytes", (double)o->memory_bytes);
    cJSON_AddNumberToObject(j, "output_bytes", o->output ? (double)o->output->len : 0);
    return j;
}

void call_status_reply(struct exchange *x, const struct call_outcome *o)
{
    exchange_json(x, 200, status_json(o));
}
