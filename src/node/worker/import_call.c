/*
 * Host functions about the current call: what it is, its input and output, its log and
 * configuration, and the HTTP request that it answers. The contract is sdk/c/include/atoll.h.
 */
#include "node/worker/process.h"

#include "base/file.h"
#include "sandbox/region.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INFO_BYTES   248u
#define FAIL_MAX     4096u
#define HEAD_MAX     16384u
#define CONFIG_MAX   256u /* bytes of a name */
#define STATUS_LEAST 200u
#define STATUS_MOST  599u

/* The lengths that guests give are 64 bits wide; what does not fit 32 is in no memory. */
static bool wide(uint64_t len)
{
    return len > UINT32_MAX;
}

/* ---- what it is ---- */

struct info {
    uint32_t size, flags;
    uint64_t id, app, parent, deadline_ns;
    uint32_t attempt, index, count, temperature;
    uint8_t trace_id[16], span_id[8];
    char tenant[64], function[64], version[40];
};
_Static_assert(sizeof(struct info) == INFO_BYTES, "atoll.h");

static void info_fill(struct info *i, const struct faaslet *f, const struct call *c)
{
    const struct version *v = f->version;
    *i = (struct info){
        .size = INFO_BYTES,
        .id = c->zygote ? 0 : c->id,
        .app = c->app ? c->app->id : 0,
        .parent = c->parent ? c->parent->id : c->root_parent,
        .attempt = c->attempt,
        .index = c->index,
        .count = c->count,
        .temperature = c->temperature,
    };
    if (c->deadline_ns != INT64_MAX && !c->zygote)
        i->deadline_ns = (uint64_t)wasi_monotonic_at(f->wasi, c->deadline_ns);
    if (c->app) {
        memcpy(i->trace_id, c->app->trace_id, sizeof i->trace_id);
        memcpy(i->span_id, c->app->span_id, sizeof i->span_id);
    }
    memcpy(i->tenant, v->tenant, sizeof i->tenant);
    memcpy(i->function, v->function, sizeof i->function);
    memcpy(i->version, v->name, sizeof i->version);
}

static enum host_status import_call_info(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t at = hc->slots[0].u32, size;
    struct info info;
    guest_other_call(f);
    if (guest_read(hc->arena, &size, at, sizeof size) < 0)
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (size < INFO_BYTES)
        return host_result_i32(hc, -ATOLL_EINVAL);
    info_fill(&info, f, f->call);
    return host_result_i32(hc, guest_write(hc->arena, at, &info, sizeof info));
}

/* ---- input ---- */

static enum host_status import_input_size(struct host_call *hc)
{
    guest_other_call(faaslet_of(hc));
    return host_result_i64(hc, (int64_t)faaslet_of(hc)->call->input_len);
}

int64_t blob_read(struct host_call *hc, struct blob *b, uint64_t offset, uint32_t to, uint64_t len)
{
    uint64_t whole = b ? b->len : 0;
    if (wide(len) || !guest_range(hc->arena, to, len, GUEST_WRITE))
        return -ATOLL_EFAULT;
    if (offset + len < offset)
        return -ATOLL_ERANGE;
    if (offset >= whole || len == 0)
        return 0;
    if (len > whole - offset)
        len = whole - offset;
    const uint8_t *bytes = blob_bytes(b);
    if (!bytes)
        return -ATOLL_ENOMEM;
    int rc = guest_write(hc->arena, to, bytes + offset, len);
    return rc < 0 ? rc : (int64_t)len;
}

static enum host_status import_input_read(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    return host_result_i64(
        hc, blob_read(hc, f->call->input, hc->slots[0].u64, hc->slots[1].u32, hc->slots[2].u64));
}

/* A file that is not a whole number of pages cannot be mapped into a guest, but copied into one. */
int blob_map(struct host_call *hc, const char *name, struct blob *b, uint32_t *address)
{
    struct error e;
    uint64_t size = align_up(b->len, 4096);
    int fd = blob_file(b, &e);
    if (fd < 0)
        return -ATOLL_ENOMEM;
    int rc = region_map(hc->arena, name, fd, 0, size, GUEST_READ, address, &e);
    if (rc != -ATOLL_ERANGE)
        return rc;
    const uint8_t *bytes = blob_bytes(b);
    fd = bytes ? memory_file(name, bytes, b->len, size, true, false, &e) : -1;
    if (fd < 0)
        return -ATOLL_ENOMEM;
    rc = region_map(hc->arena, name, fd, 0, size, GUEST_READ, address, &e);
    close(fd);
    return rc;
}

static enum host_status import_input_map(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct call *c = f->call;
    guest_other_call(f);
    uint32_t to = hc->slots[0].u32, address = f->input_address;
    if (!guest_range(hc->arena, to, sizeof address, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (c->input_len == 0)
        return host_result_i32(hc, -ATOLL_ENOENT);
    int rc = address ? 0 : blob_map(hc, "input", c->input, &address);
    if (rc < 0)
        return host_result_i32(hc, rc);
    f->input_address = address;
    return host_result_i32(hc, guest_write(hc->arena, to, &address, sizeof address));
}

/* ---- output ---- */

static enum host_status output_put(struct host_call *hc, bool replace)
{
    struct faaslet *f = faaslet_of(hc);
    uint64_t len = hc->slots[1].u64;
    guest_other_call(f);
    if (f->call->zygote)
        return host_result_i64(hc, -ATOLL_EPERM);
    if (wide(len))
        return host_result_i64(hc, -ATOLL_EFAULT);
    int rc = call_output_append_guest(&f->output, hc->arena, hc->slots[0].u32, len, replace);
    return host_result_i64(hc, rc < 0 ? rc : (int64_t)len);
}

static enum host_status import_output_write(struct host_call *hc)
{
    return output_put(hc, false);
}

static enum host_status import_output_set(struct host_call *hc)
{
    return output_put(hc, true);
}

static enum host_status import_output_map(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint64_t len = hc->slots[0].u64;
    uint32_t to = hc->slots[1].u32, address = 0;
    guest_other_call(f);
    if (f->call->zygote)
        return host_result_i32(hc, -ATOLL_EPERM);
    if (!guest_range(hc->arena, to, sizeof address, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    int rc = call_output_map(&f->output, hc->arena, len, &address);
    if (rc == 0)
        rc = guest_write(hc->arena, to, &address, sizeof address);
    return host_result_i32(hc, rc);
}

static enum host_status import_fail(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    int32_t code = hc->slots[0].i32;
    uint32_t at = hc->slots[1].u32, len = hc->slots[2].u32;
    uint32_t kept = len < FAIL_MAX ? len : FAIL_MAX;
    char *text = guest_range(hc->arena, at, len, GUEST_READ) ? malloc(kept + 1u) : NULL;
    if (text && guest_read(hc->arena, text, at, kept) < 0) {
        free(text);
        text = NULL;
    }
    if (text)
        text[kept] = 0;
    free(f->failure);
    f->failure = text;
    f->failure_len = text ? kept : 0;
    hc->exit_code = code < 1 ? 1 : code;
    return HOST_EXIT;
}

/* ---- log and configuration ---- */

static enum host_status import_log(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t level = hc->slots[0].u32, at = hc->slots[1].u32, len = hc->slots[2].u32;
    guest_other_call(f);
    if (level > 4)
        return host_result_i32(hc, -ATOLL_EINVAL);
    if (!guest_range(hc->arena, at, len, GUEST_READ))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (len > f->version->manifest.log_bytes)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    char few[512], *text = len <= sizeof few ? few : malloc(len);
    int rc = text ? guest_read(hc->arena, text, at, len) : -ATOLL_ENOMEM;
    if (rc == 0)
        rc = faaslet_log(f, level, text, len);
    if (text != few)
        free(text);
    return host_result_i32(hc, rc);
}

static enum host_status import_config(struct host_call *hc)
{
    const struct manifest *m = &faaslet_of(hc)->version->manifest;
    uint32_t len = hc->slots[1].u32, to = hc->slots[2].u32;
    uint64_t cap = hc->slots[3].u64;
    char name[CONFIG_MAX];
    guest_other_call(faaslet_of(hc));
    if (!guest_range(hc->arena, hc->slots[0].u32, len, GUEST_READ) || wide(cap) ||
        !guest_range(hc->arena, to, cap, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (len > sizeof name)
        return host_result_i64(hc, -ATOLL_ENOENT);
    if (guest_read(hc->arena, name, hc->slots[0].u32, len) < 0)
        return host_result_i64(hc, -ATOLL_EFAULT);
    for (uint32_t k = 0; k < m->config_count; k++) {
        const char *value = m->config[k].value;
        if (strlen(m->config[k].name) != len || memcmp(m->config[k].name, name, len) != 0)
            continue;
        uint64_t whole = strlen(value);
        int rc = guest_write(hc->arena, to, value, whole < cap ? whole : cap);
        return host_result_i64(hc, rc < 0 ? rc : (int64_t)whole);
    }
    return host_result_i64(hc, -ATOLL_ENOENT);
}

/* ---- HTTP ---- */

static enum host_status import_http_head(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct call *c = f->call;
    uint64_t cap = hc->slots[1].u64;
    guest_other_call(f);
    if (wide(cap) || !guest_range(hc->arena, hc->slots[0].u32, cap, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (!c->root || !c->app->head)
        return host_result_i64(hc, -ATOLL_ENOENT);
    int64_t rc = blob_read(hc, c->app->head, 0, hc->slots[0].u32, cap);
    return host_result_i64(hc, rc < 0 ? rc : (int64_t)c->app->head->len);
}

static bool token_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Lines "name: value", each ended by LF. */
static bool headers_are_good(const char *text, uint32_t len)
{
    uint32_t at = 0;
    while (at < len) {
        uint32_t start = at;
        while (at < len && token_letter((uint8_t)text[at]))
            at++;
        if (at == start || at == len || text[at++] != ':')
            return false;
        while (at < len && (text[at] == '\t' || (text[at] >= ' ' && text[at] <= '~')))
            at++;
        if (at == len || text[at++] != '\n')
            return false;
    }
    return true;
}

static enum host_status import_http_reply(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t status = hc->slots[0].u32, at = hc->slots[1].u32, len = hc->slots[2].u32;
    char line[8];
    guest_other_call(f);
    if (!guest_range(hc->arena, at, len, GUEST_READ))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (!f->call->root || !f->call->app->head)
        return host_result_i32(hc, -ATOLL_ENOENT);
    if (len > HEAD_MAX)
        return host_result_i32(hc, -ATOLL_ESIZE);
    if (status < STATUS_LEAST || status > STATUS_MOST)
        return host_result_i32(hc, -ATOLL_EINVAL);
    char *headers = malloc(len + 1u);
    int rc = headers ? guest_read(hc->arena, headers, at, len) : -ATOLL_ENOMEM;
    if (rc == 0 && !headers_are_good(headers, len))
        rc = -ATOLL_EINVAL;
    int used = snprintf(line, sizeof line, "%u\n", status);
    if (rc == 0 && !buffer_reserve(&f->reply_head, (size_t)used + len))
        rc = -ATOLL_ENOMEM;
    if (rc == 0) {
        f->reply_head.len = 0;
        buffer_append(&f->reply_head, line, (size_t)used);
        buffer_append(&f->reply_head, headers, len);
    }
    free(headers);
    return host_result_i32(hc, rc);
}

const struct import_entry imports_call[] = {
    {"call_info", "i:i", import_call_info},
    {"input_size", ":l", import_input_size},
    {"input_read", "lil:l", import_input_read},
    {"input_map", "i:i", import_input_map},
    {"output_write", "il:l", import_output_write},
    {"output_set", "il:l", import_output_set},
    {"output_map", "li:i", import_output_map},
    {"fail", "iii:", import_fail},
    {"log", "iii:i", import_log},
    {"config", "iiil:l", import_config},
    {"http_head", "il:l", import_http_head},
    {"http_reply", "iii:i", import_http_reply},
    {0},
};
