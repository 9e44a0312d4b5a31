/*
 * A node of the shim: what a test sets up, runs and looks at.
 */
#define _GNU_SOURCE
#include "node.h"

#include "value.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CALL_ID_FIRST ((UINT64_C(1) << 48) | 1)

uint64_t native_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool buffer_add(struct buffer *buffer, const void *bytes, size_t len)
{
    /* A NUL stands behind what is there, so that text can be used as it is. */
    if (len > SIZE_MAX / 4 - buffer->len)
        return false;
    if (!buffer->data || buffer->len + len >= buffer->capacity) {
        size_t capacity = 2 * (buffer->len + len) + 1;
        uint8_t *larger = realloc(buffer->data, capacity);
        if (!larger)
            return false;
        buffer->data = larger;
        buffer->capacity = capacity;
    }
    if (len > 0)
        memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
    buffer->data[buffer->len] = 0;
    return true;
}

bool buffer_text(struct buffer *buffer, const char *text)
{
    return buffer_add(buffer, text, strlen(text));
}

/* ---- open and close ---- */

#define DEFAULT(field, value) \
    if (!options.field)       \
    options.field = (value)

struct atoll_native *atoll_native_open(const struct atoll_native_options *given)
{
    struct atoll_native_options options = given ? *given : (struct atoll_native_options){0};
    struct atoll_native *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    DEFAULT(tenant, "test");
    DEFAULT(parallel, 1);
    DEFAULT(children_max, ATOLL_CHILDREN_MAX);
    DEFAULT(timeout_ns, UINT64_C(30000000000));
    DEFAULT(output_max, UINT64_C(32) << 20);
    DEFAULT(log_bytes_max, UINT64_C(1) << 20);
    DEFAULT(log_lines_max, 1000);
    DEFAULT(barrier_loss_ms, 10000);
    node->options = options;
    snprintf(node->tenant, sizeof node->tenant, "%s", options.tenant);
    node->options.tenant = node->tenant;
    node->random_state = options.random_seed;
    node->first_id = CALL_ID_FIRST;
    node->stack_bytes = NATIVE_STACK_BYTES;
    getrandom(&node->clock_offset_ns, sizeof node->clock_offset_ns, 0);
    node->clock_offset_ns >>= 8; /* far from the end of what a clock can show */
    pthread_mutex_init(&node->lock, NULL);
    pthread_cond_init(&node->turn, NULL);
    pthread_cond_init(&node->idle, NULL);
    for (uint32_t i = 0; i <= ATOLL_DEPTH_MAX; i++)
        node->pending_end[i] = &node->pending[i];
    return node;
}

static void lines_free(struct manifest_lines *lines)
{
    for (uint32_t i = 0; i < lines->count; i++) {
        free(lines->items[i].first);
        free(lines->items[i].second);
    }
    free(lines->items);
}

static void calls_forget(struct atoll_native *node)
{
    for (uint32_t i = 0; i < node->call_count; i++)
        call_free(node->calls[i]);
    for (uint32_t i = 0; i <= ATOLL_DEPTH_MAX; i++) {
        node->pending[i] = NULL;
        node->pending_end[i] = &node->pending[i];
    }
    node->first_id += node->call_count;
    node->call_count = 0;
    node->log.len = 0;
}

void atoll_native_close(struct atoll_native *node)
{
    if (!node)
        return;
    assert(node->live == 0);
    calls_forget(node);
    free(node->calls);
    for (uint32_t i = 0; i < node->function_count; i++) {
        struct native_function *function = node->functions[i];
        lines_free(&function->config);
        lines_free(&function->state);
        lines_free(&function->callees);
        lines_free(&function->net);
        free(function);
    }
    values_free(node);
    objects_free(node);
    free(node->log.data);
    pthread_cond_destroy(&node->idle);
    pthread_cond_destroy(&node->turn);
    pthread_mutex_destroy(&node->lock);
    free(node);
}

/* ---- functions and what their manifests say ---- */

static bool part_valid(const char *text, size_t len)
{
    if (len < 1 || len > 63 || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

/* Makes "tenant/name" of "name" or "tenant/name". */
static bool name_complete(const struct atoll_native *node, const char *name, size_t len,
                          char full[ATOLL_NAME_MAX + 1])
{
    const char *slash = memchr(name, '/', len);
    size_t tenant = slash ? (size_t)(slash - name) : strlen(node->tenant);
    const char *own = slash ? slash + 1 : name;
    size_t rest = slash ? len - tenant - 1 : len;
    if (!part_valid(slash ? name : node->tenant, tenant) || !part_valid(own, rest))
        return false;
    snprintf(full, ATOLL_NAME_MAX + 1, "%.*s/%.*s", (int)tenant, slash ? name : node->tenant,
             (int)rest, own);
    return true;
}

struct native_function *native_function_find(struct atoll_native *node, const char *name,
                                             size_t len)
{
    char full[ATOLL_NAME_MAX + 1];
    if (!name_complete(node, name, len, full))
        return NULL;
    for (uint32_t i = 0; i < node->function_count; i++) {
        if (strcmp(node->functions[i]->name, full) == 0)
            return node->functions[i];
    }
    return NULL;
}

int atoll_native_function(struct atoll_native *node, const char *name, int32_t (*entry)(void))
{
    struct native_function *function;
    if (native_function_find(node, name, strlen(name)))
        return -ATOLL_EEXIST;
    if (node->function_count == NATIVE_FUNCTIONS_MAX)
        return -ATOLL_ELIMIT;
    function = calloc(1, sizeof *function);
    if (!function)
        return -ATOLL_ENOMEM;
    if (!name_complete(node, name, strlen(name), function->name)) {
        free(function);
        return -ATOLL_EINVAL;
    }
    function->entry = entry;
    node->functions[node->function_count++] = function;
    return 0;
}

static int line_add(struct manifest_lines *lines, const char *first, const char *second,
                    uint16_t port)
{
    struct manifest_line line = {.port = port};
    if (lines->count == NATIVE_LINES_MAX)
        return -ATOLL_ELIMIT;
    if (!lines->items)
        lines->items = calloc(NATIVE_LINES_MAX, sizeof *lines->items);
    line.first = strdup(first);
    line.second = strdup(second);
    if (!lines->items || !line.first || !line.second) {
        free(line.first);
        free(line.second);
        return -ATOLL_ENOMEM;
    }
    lines->items[lines->count++] = line;
    return 0;
}

int atoll_native_zygote(struct atoll_native *node, const char *name, int32_t (*zygote)(void))
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    if (!function)
        return -ATOLL_ENOENT;
    function->zygote = zygote;
    return 0;
}

int atoll_native_config(struct atoll_native *node, const char *name, const char *key,
                        const char *value)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    return function ? line_add(&function->config, key, value, 0) : -ATOLL_ENOENT;
}

int atoll_native_right(struct atoll_native *node, const char *name, const char *prefix,
                       const char *rights)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    if (rights[strspn(rights, "rwld")])
        return -ATOLL_EINVAL;
    return function ? line_add(&function->state, prefix, rights, 0) : -ATOLL_ENOENT;
}

int atoll_native_callee(struct atoll_native *node, const char *name, const char *pattern)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    return function ? line_add(&function->callees, pattern, "", 0) : -ATOLL_ENOENT;
}

int atoll_native_host(struct atoll_native *node, const char *name, const char *host, uint16_t port)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    return function ? line_add(&function->net, host, "", port) : -ATOLL_ENOENT;
}

int atoll_native_break(struct atoll_native *node, const char *name, int32_t status, uint32_t times)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    if (status != ATOLL_ST_TRAPPED && status != ATOLL_ST_LOST && status != ATOLL_ST_REJECTED)
        return -ATOLL_EINVAL;
    if (!function)
        return -ATOLL_ENOENT;
    function->break_status = status;
    function->break_times = times;
    return 0;
}

/* ---- running ---- */

/* What an outcome points to, in one piece with it but for the two copies. */
static struct atoll_native_outcome *outcome_make(const struct atoll_native *node)
{
    const struct native_call *root = node->calls[0];
    struct atoll_native_outcome *outcome = calloc(1, sizeof *outcome);
    struct atoll_native_call *calls = calloc(node->call_count, sizeof *calls);
    struct buffer output = {0}, headers = {0}, log = {0};
    if (!outcome || !calls || !buffer_add(&output, root->output.data, root->output.len) ||
        !buffer_add(&headers, root->http_headers.data, root->http_headers.len) ||
        !buffer_add(&log, node->log.data, node->log.len)) {
        free(outcome);
        free(calls);
        free(output.data);
        free(headers.data);
        free(log.data);
        return NULL;
    }
    for (uint32_t i = 0; i < node->call_count; i++) {
        const struct native_call *call = node->calls[i];
        calls[i] = (struct atoll_native_call){
            .id = call->id,
            .parent = call->parent,
            .status = call->status,
            .code = call->code,
            .in_len = call->input.len,
            .out_len = call->output.len,
        };
        snprintf(calls[i].function, sizeof calls[i].function, "%s%s", call->function->name,
                 call->entry == call->function->entry ? "" : "#entry");
    }
    *outcome = (struct atoll_native_outcome){
        .status = root->status,
        .code = root->code,
        .output = (const char *)output.data,
        .output_len = output.len,
        .http_status = root->http_head.data ? root->http_status : 0,
        .http_headers = (const char *)headers.data,
        .log = (const char *)log.data,
        .call_count = node->call_count,
        .calls = calls,
    };
    return outcome;
}

static struct atoll_native_outcome *function_run(struct atoll_native *node, const char *name,
                                                 const char *head, const void *input, uint64_t len)
{
    struct native_function *function = native_function_find(node, name, strlen(name));
    struct atoll_native_outcome *outcome = NULL;
    if (!function)
        return NULL;
    pthread_mutex_lock(&node->lock);
    struct native_call *call = call_new(node, function, input, len);
    if (call && (!head || buffer_text(&call->http_head, head))) {
        call->http_status = 200;
        call_queue(call);
        while (node->live > 0)
            pthread_cond_wait(&node->idle, &node->lock);
        outcome = outcome_make(node);
    }
    bool join = node->has_last_thread;
    node->has_last_thread = false;
    calls_forget(node);
    pthread_mutex_unlock(&node->lock);
    if (join)
        pthread_join(node->last_thread, NULL);
    return outcome;
}

struct atoll_native_outcome *atoll_native_run(struct atoll_native *node, const char *name,
                                              const void *input, uint64_t len)
{
    return function_run(node, name, NULL, input, len);
}

struct atoll_native_outcome *atoll_native_run_http(struct atoll_native *node, const char *name,
                                                   const char *head, const void *body, uint64_t len)
{
    return function_run(node, name, head, body, len);
}

void atoll_native_outcome_free(struct atoll_native_outcome *outcome)
{
    if (!outcome)
        return;
    free((char *)(uintptr_t)outcome->output);
    free((char *)(uintptr_t)outcome->http_headers);
    free((char *)(uintptr_t)outcome->log);
    free((void *)(uintptr_t)outcome->calls);
    free(outcome);
}

int atoll_native_metric(struct atoll_native *node, const char *name, double *value)
{
    for (uint32_t i = 0; i < node->metric_count; i++) {
        if (strcmp(node->metrics[i].name, name) == 0) {
            *value = node->metrics[i].value;
            return 0;
        }
    }
    return -ATOLL_ENOENT;
}
