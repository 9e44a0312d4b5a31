/*
 * The imports about the current call: what it was given, what it answers, what it says.
 */
#define _GNU_SOURCE
#include "node.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

static uint64_t monotonic_shown(const struct atoll_native *node, uint64_t ns)
{
    return ns == UINT64_MAX ? 0 : ns + node->clock_offset_ns;
}

int32_t atoll_call_info(struct atoll_call_info *out)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if (out->size < sizeof *out)
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    const char *slash = strchr(call->function->name, '/');
    struct atoll_call_info info = {
        .size = sizeof info,
        .id = call->id,
        .app = call->app,
        .parent = call->parent,
        .deadline_ns = monotonic_shown(call->node, call->deadline_ns),
        .attempt = call->attempt,
        .index = call->index,
        .count = call->count,
        .temperature = ATOLL_WARM,
    };
    memcpy(info.trace_id, &call->app, sizeof call->app);
    memcpy(info.span_id, &call->id, sizeof call->id);
    snprintf(info.tenant, sizeof info.tenant, "%.*s", (int)(slash - call->function->name),
             call->function->name);
    snprintf(info.function, sizeof info.function, "%s", slash + 1);
    snprintf(info.version, sizeof info.version, "%032d", 0);
    *out = info;
    return (int32_t)call_leave(call, 0);
}

/* ---- input ---- */

int64_t atoll_input_size(void)
{
    struct native_call *call = call_enter();
    return call ? call_leave(call, (int64_t)call->input.len) : -ATOLL_EPERM;
}

int64_t atoll_input_read(uint64_t off, atoll_out buf, uint64_t len)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if (len > UINT64_MAX - off)
        return call_leave(call, -ATOLL_ERANGE);
    uint64_t rest = off < call->input.len ? call->input.len - off : 0;
    uint64_t copied = len < rest ? len : rest;
    if (copied > 0)
        memcpy(buf, call->input.data + off, copied);
    return call_leave(call, (int64_t)copied);
}

int32_t atoll_input_map(atoll_addr *addr)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if (call->input.len == 0)
        return (int32_t)call_leave(call, -ATOLL_ENOENT);
    struct region *region = region_at(call, REGION_INPUT, 0);
    if (!region) {
        region = region_new(call, REGION_INPUT, call->input.len);
        if (!region)
            return (int32_t)call_leave(call, -ATOLL_ENOMEM);
        memcpy(region->base, call->input.data, call->input.len);
        mprotect(region->base, region->map_bytes, PROT_READ);
    }
    *addr = (atoll_addr)region->address;
    return (int32_t)call_leave(call, 0);
}

/* ---- output ---- */

static uint64_t output_len(const struct native_call *call)
{
    return call->output.len + (call->output_region ? call->output_region->len : 0);
}

int64_t atoll_output_write(atoll_in buf, uint64_t len)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    uint64_t max = call->node->options.output_max;
    if (len > max || output_len(call) > max - len)
        return call_leave(call, -ATOLL_ELIMIT);
    if (!buffer_add(&call->output, buf, len))
        return call_leave(call, -ATOLL_ENOMEM);
    return call_leave(call, (int64_t)len);
}

int64_t atoll_output_set(atoll_in buf, uint64_t len)
{
    struct native_call *call = call_enter();
    struct buffer output = {0};
    if (!call)
        return -ATOLL_EPERM;
    if (len > call->node->options.output_max)
        return call_leave(call, -ATOLL_ELIMIT);
    if (!buffer_add(&output, buf, len))
        return call_leave(call, -ATOLL_ENOMEM);
    free(call->output.data);
    call->output = output;
    call->output_region = NULL;
    return call_leave(call, (int64_t)len);
}

int32_t atoll_output_map(uint64_t len, atoll_addr *addr)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if (len == 0)
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    if (len > call->node->options.output_max)
        return (int32_t)call_leave(call, -ATOLL_ELIMIT);
    struct region *region = region_new(call, REGION_OUTPUT, len);
    if (!region)
        return (int32_t)call_leave(call, -ATOLL_ENOMEM);
    call->output_region = region;
    call->output.len = 0;
    *addr = (atoll_addr)region->address;
    return (int32_t)call_leave(call, 0);
}

_Noreturn void atoll_fail(int32_t code, atoll_in msg, uint32_t len)
{
    struct native_call *call = call_enter_any();
    if (!call) {
        fprintf(stderr, "atoll_fail outside of a call: %.*s\n", (int)len, (const char *)msg);
        abort();
    }
    call->output.len = 0;
    call->output_region = NULL;
    /* Without memory the call fails as well, only without its message. */
    (void)buffer_add(&call->output, msg,
                     len < NATIVE_FAIL_MESSAGE_MAX ? len : NATIVE_FAIL_MESSAGE_MAX);
    call_end_now(call, ATOLL_ST_FAILED, code < 1 ? 1 : code);
}

/* ---- log, configuration, measurement ---- */

static bool text_escape(struct buffer *log, const uint8_t *text, size_t len)
{
    char escape[8];
    for (size_t i = 0; i < len; i++) {
        bool plain = text[i] >= 0x20 && text[i] != 0x7f;
        snprintf(escape, sizeof escape, "\\x%02x", text[i]);
        if (plain ? !buffer_add(log, text + i, 1) : !buffer_text(log, escape))
            return false;
    }
    return true;
}

int32_t atoll_log(uint32_t level, atoll_in msg, uint32_t len)
{
    static const char *const levels[] = {"trace ", "debug ", "info ", "warning ", "error "};
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    struct atoll_native_options *options = &call->node->options;
    struct buffer *log = &call->node->log;
    if (level > ATOLL_LOG_ERROR)
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    if (call->log_lines >= options->log_lines_max || len > options->log_bytes_max ||
        call->log_bytes > options->log_bytes_max - len)
        return (int32_t)call_leave(call, -ATOLL_ELIMIT);
    if (!buffer_text(log, levels[level]) || !buffer_text(log, call->function->name) ||
        !buffer_text(log, ": ") || !text_escape(log, msg, len) || !buffer_text(log, "\n"))
        return (int32_t)call_leave(call, -ATOLL_ENOMEM);
    call->log_lines++;
    call->log_bytes += len;
    return (int32_t)call_leave(call, 0);
}

int64_t atoll_config(atoll_in name, uint32_t nlen, atoll_out buf, uint64_t cap)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    const struct manifest_lines *config = &call->function->config;
    for (uint32_t i = 0; i < config->count; i++) {
        const struct manifest_line *line = &config->items[i];
        size_t len = strlen(line->second);
        if (strlen(line->first) != nlen || memcmp(line->first, name, nlen) != 0)
            continue;
        if (len > 0 && cap > 0)
            memcpy(buf, line->second, len < cap ? len : cap);
        return call_leave(call, (int64_t)len);
    }
    return call_leave(call, -ATOLL_ENOENT);
}

static bool metric_name_valid(const char *name, uint32_t len)
{
    if (len < 1 || len > 64)
        return false;
    for (uint32_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return true;
}

static int metric_add(struct atoll_native *node, const char *name, uint32_t len, double value,
                      uint32_t kind)
{
    struct metric *metric = node->metrics, *end = metric + node->metric_count;
    while (metric < end && (strlen(metric->name) != len || memcmp(metric->name, name, len) != 0))
        metric++;
    if (metric == end) {
        if (node->metric_count == NATIVE_METRICS_MAX)
            return -ATOLL_ELIMIT;
        node->metric_count++;
        *metric = (struct metric){.kind = kind};
        memcpy(metric->name, name, len);
    }
    if (metric->kind != kind)
        return -ATOLL_ETYPE;
    if (kind == ATOLL_METRIC_GAUGE)
        metric->value = value;
    else
        metric->value += kind == ATOLL_METRIC_COUNTER ? value : 1;
    return 0;
}

int32_t atoll_metric(atoll_in name, uint32_t len, double value, uint32_t kind)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    if (!metric_name_valid(name, len) || kind > ATOLL_METRIC_HISTOGRAM || !isfinite(value) ||
        (kind == ATOLL_METRIC_COUNTER && value < 0))
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    return (int32_t)call_leave(call, metric_add(call->node, name, len, value, kind));
}

/* ---- randomness and time ---- */

/* splitmix64: for tests that want the same numbers again. */
static uint8_t repeatable_byte(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint8_t)(z ^ (z >> 31));
}

int32_t atoll_random(atoll_out buf, uint64_t len)
{
    struct native_call *call = call_enter_any();
    uint8_t *out = buf;
    if (!call)
        return -ATOLL_EPERM;
    bool repeat = call->node->options.random_seed != 0;
    for (uint64_t done = 0; done < len;) {
        /* At most 256 bytes come in one piece without being interrupted. */
        size_t piece = repeat ? 1 : len - done < 256 ? len - done : 256;
        if (repeat)
            out[done] = repeatable_byte(&call->node->random_state);
        else if (getrandom(out + done, piece, 0) != (ssize_t)piece)
            return (int32_t)call_leave(call, -ATOLL_EIO);
        done += piece;
    }
    return (int32_t)call_leave(call, 0);
}

int64_t atoll_now(uint32_t clock)
{
    struct native_call *call = call_enter_any();
    struct timespec now = {0};
    if (!call)
        return -ATOLL_EPERM;
    switch (clock) {
    case ATOLL_CLOCK_REAL: clock_gettime(CLOCK_REALTIME, &now); break;
    case ATOLL_CLOCK_CPU: clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); break;
    case ATOLL_CLOCK_MONOTONIC:
        return call_leave(call, (int64_t)monotonic_shown(call->node, native_clock_ns()));
    default: return call_leave(call, -ATOLL_EINVAL);
    }
    return call_leave(call, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}
