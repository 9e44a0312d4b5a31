/*
 * The imports about state: handles, rights, ranges, and then value.c.
 */
#define _GNU_SOURCE
#include "value.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define OPEN_FLAGS                                                                  \
    (ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_EXCL | ATOLL_S_TRUNC | \
     ATOLL_S_TRACK | ATOLL_S_LOCAL | ATOLL_S_LAZY)
#define PUSH_FLAGS (ATOLL_PUSH_DIRTY | ATOLL_PUSH_DURABLE | ATOLL_PUSH_IFVER)

/* ---- keys and rights ---- */

bool key_valid(const void *key, uint32_t len)
{
    return len >= 1 && len <= ATOLL_KEY_MAX && !memchr(key, 0, len);
}

bool key_permitted(const struct native_call *call, const void *key, uint32_t len,
                   const char *rights)
{
    const struct manifest_lines *lines = &call->function->state;
    /* Grants between tenants are made on a node; the shim has none. */
    if (*(const char *)key == '@')
        return false;
    if (lines->count == 0)
        return true;
    for (; *rights; rights++) {
        bool has = false;
        for (uint32_t i = 0; i < lines->count && !has; i++) {
            const struct manifest_line *line = &lines->items[i];
            size_t prefix = strlen(line->first);
            has = prefix <= len && memcmp(line->first, key, prefix) == 0 &&
                  strchr(line->second, *rights);
        }
        if (!has)
            return false;
    }
    return true;
}

/* ---- handles ---- */

int32_t handle_new(struct native_call *call, enum handle_kind kind, uint32_t flags, void *what)
{
    if (!call->handles)
        call->handles = calloc(NATIVE_HANDLES_MAX, sizeof *call->handles);
    if (!call->handles)
        return -ATOLL_ENOMEM;
    for (uint32_t i = 0; i < NATIVE_HANDLES_MAX; i++) {
        struct handle *handle = &call->handles[i];
        if (handle->kind != HANDLE_FREE)
            continue;
        *handle = (struct handle){.kind = kind, .flags = flags};
        if (kind == HANDLE_VALUE)
            value_retain(handle->value = what);
        else
            handle->object = what;
        return (int32_t)i;
    }
    return -ATOLL_ELIMIT;
}

struct handle *handle_get(struct native_call *call, atoll_h h, enum handle_kind kind)
{
    if (!call->handles || h < 0 || h >= (atoll_h)NATIVE_HANDLES_MAX ||
        call->handles[h].kind != kind)
        return NULL;
    return &call->handles[h];
}

static void handle_close(struct native_call *call, atoll_h h)
{
    struct handle *handle = &call->handles[h];
    if (handle->kind == HANDLE_VALUE) {
        lock_give(call, handle->value, h, ATOLL_SCOPE_NODE);
        lock_give(call, handle->value, h, ATOLL_SCOPE_GLOBAL);
        value_release(handle->value);
    } else if (handle->kind == HANDLE_OBJECT) {
        object_closed(call, handle->object);
    }
    *handle = (struct handle){0};
}

void handles_drop(struct native_call *call)
{
    for (uint32_t i = 0; call->handles && i < NATIVE_HANDLES_MAX; i++) {
        if (call->handles[i].kind != HANDLE_FREE)
            handle_close(call, (atoll_h)i);
    }
}

/* Enters with a handle. `rights` are flags of state_open that it must have. On an error the lock is
 * given back and *error set. */
static struct native_call *value_enter(atoll_h h, uint32_t rights, struct value **value, int *error)
{
    struct native_call *call = call_enter_any();
    struct handle *handle = call ? handle_get(call, h, HANDLE_VALUE) : NULL;
    *error = !call                                ? -ATOLL_EPERM
             : !handle                            ? -ATOLL_EBADF
             : (handle->flags & rights) != rights ? -ATOLL_EPERM
                                                  : 0;
    if (*error) {
        if (call)
            call_leave(call, 0);
        return NULL;
    }
    *value = handle->value;
    return call;
}

/* ---- open and close ---- */

static int open_check(const struct native_call *call, const void *key, uint32_t klen,
                      uint32_t flags)
{
    const char *rights = !(flags & ATOLL_S_WRITE) ? "r" : flags & ATOLL_S_READ ? "rw" : "w";
    if (!key_valid(key, klen) || flags & ~(uint32_t)OPEN_FLAGS ||
        !(flags & (ATOLL_S_READ | ATOLL_S_WRITE)) ||
        (flags & ATOLL_S_EXCL && !(flags & ATOLL_S_CREATE)))
        return -ATOLL_EINVAL;
    if (flags & ATOLL_S_LAZY)
        return -ATOLL_ENOSYS;
    if (flags & (ATOLL_S_CREATE | ATOLL_S_TRUNC) && !(flags & ATOLL_S_WRITE))
        return -ATOLL_EPERM;
    return key_permitted(call, key, klen, rights) ? 0 : -ATOLL_EPERM;
}

static int value_create(struct native_call *call, const void *key, uint32_t klen, uint64_t size,
                        struct value **made)
{
    struct value *value = value_new(call->node, key, klen);
    if (!value)
        return -ATOLL_ENOMEM;
    int error = value_resize(value, size);
    if (error)
        value_delete(value);
    *made = value;
    return error;
}

static int value_open(struct native_call *call, const void *key, uint32_t klen, uint64_t size,
                      uint32_t flags, struct value **found)
{
    struct value *value = value_find(call->node, key, klen);
    *found = value;
    if (!value)
        return flags & ATOLL_S_CREATE ? value_create(call, key, klen, size, found) : -ATOLL_ENOENT;
    if (flags & ATOLL_S_EXCL)
        return -ATOLL_EEXIST;
    int error = value_present(value);
    if (error)
        return error;
    if (flags & ATOLL_S_TRUNC) {
        error = value_resize(value, 0);
        if (!error)
            error = value_resize(value, size);
        if (!error && !interval_add(&value->dirty, 0, size))
            error = -ATOLL_ENOMEM;
        return error;
    }
    return size != 0 && size != value->size ? -ATOLL_ESIZE : 0;
}

atoll_h atoll_state_open(atoll_in key, uint32_t klen, uint64_t size, uint32_t flags)
{
    struct native_call *call = call_enter_any();
    struct value *value = NULL;
    if (!call)
        return -ATOLL_EPERM;
    int error = open_check(call, key, klen, flags);
    if (!error)
        error = value_open(call, key, klen, size, flags, &value);
    if (error)
        return (atoll_h)call_leave(call, error);
    if (flags & ATOLL_S_LOCAL)
        value->local_only = true;
    if (flags & ATOLL_S_TRACK)
        value->track = true;
    return (atoll_h)call_leave(call, handle_new(call, HANDLE_VALUE, flags, value));
}

int32_t atoll_state_close(atoll_h h)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    if (!handle_get(call, h, HANDLE_VALUE) && !handle_get(call, h, HANDLE_OBJECT))
        return (int32_t)call_leave(call, -ATOLL_EBADF);
    handle_close(call, h);
    return (int32_t)call_leave(call, 0);
}

/* ---- size and version ---- */

int64_t atoll_state_size(atoll_h h)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, 0, &value, &error);
    return call ? call_leave(call, (int64_t)value->size) : error;
}

int32_t atoll_state_resize(atoll_h h, uint64_t size)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    return (int32_t)(call ? call_leave(call, value_resize(value, size)) : error);
}

int64_t atoll_state_version(atoll_h h, uint32_t global)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, 0, &value, &error);
    if (!call)
        return error;
    if (global > 1)
        return call_leave(call, -ATOLL_EINVAL);
    if (global && value->deleted)
        return call_leave(call, -ATOLL_ESTALE);
    return call_leave(call, (int64_t)(global ? value->global_version : value->version));
}

/* ---- mapping ---- */

/* 0 or the error of a range that must lie in the value. */
static int range_check(const struct value *value, uint64_t off, uint64_t len)
{
    return len > value->size || off > value->size - len ? -ATOLL_ERANGE : 0;
}

static struct region *mapping_find(struct native_call *call, const struct value *value,
                                   uint64_t off, uint64_t len, uint32_t prot)
{
    for (struct region *region = call->regions; region; region = region->next) {
        if (region->kind == REGION_STATE && region->owner == (uint64_t)(uintptr_t)value &&
            region->offset == off && region->len == len && region->prot == prot)
            return region;
    }
    return NULL;
}

static struct region *mapping_make(struct native_call *call, const struct value *value,
                                   uint64_t off, uint64_t len, uint32_t prot)
{
    uint64_t start = off & ~UINT64_C(4095);
    size_t bytes = off + len - start;
    struct region *region = calloc(1, sizeof *region);
    int protection = prot & ATOLL_S_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
    void *base = mmap(NULL, bytes, protection, MAP_SHARED, value->memfd, (off_t)start);
    if (!region || base == MAP_FAILED) {
        if (base != MAP_FAILED)
            munmap(base, bytes);
        free(region);
        return NULL;
    }
    *region = (struct region){
        .next = call->regions,
        .kind = REGION_STATE,
        .base = base,
        .map_bytes = bytes,
        .address = (uint8_t *)base + (off - start),
        .offset = off,
        .len = len,
        .prot = prot,
        .owner = (uint64_t)(uintptr_t)value,
    };
    call->regions = region;
    return region;
}

int32_t atoll_state_map(atoll_h h, uint64_t off, uint64_t len, uint32_t prot, atoll_addr *addr)
{
    struct value *value;
    int error;
    if (prot != ATOLL_S_READ && prot != (ATOLL_S_READ | ATOLL_S_WRITE))
        return -ATOLL_EINVAL;
    struct native_call *call = value_enter(h, prot, &value, &error);
    if (!call)
        return error;
    error = len == 0 ? -ATOLL_EINVAL : range_check(value, off, len);
    if (error)
        return (int32_t)call_leave(call, error);
    struct region *region = mapping_find(call, value, off, len, prot);
    if (!region)
        region = mapping_make(call, value, off, len, prot);
    if (!region)
        return (int32_t)call_leave(call, -ATOLL_ENOMEM);
    region->references++;
    *addr = (atoll_addr)region->address;
    return (int32_t)call_leave(call, 0);
}

int32_t atoll_state_unmap(atoll_addr addr)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    for (struct region *region = call->regions; region; region = region->next) {
        if (region->kind != REGION_STATE || (atoll_addr)region->address != addr)
            continue;
        if (--region->references == 0)
            region_remove(call, region);
        return (int32_t)call_leave(call, 0);
    }
    return (int32_t)call_leave(call, -ATOLL_ENOENT);
}

/* ---- reading and writing ---- */

int64_t atoll_state_read(atoll_h h, uint64_t off, atoll_out buf, uint64_t len)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_READ, &value, &error);
    if (!call)
        return error;
    if (len > UINT64_MAX - off)
        return call_leave(call, -ATOLL_ERANGE);
    uint64_t rest = off < value->size ? value->size - off : 0;
    uint64_t copied = len < rest ? len : rest;
    if (copied > 0)
        memcpy(buf, value->local + off, copied);
    return call_leave(call, (int64_t)copied);
}

int64_t atoll_state_write(atoll_h h, uint64_t off, atoll_in buf, uint64_t len)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    error = range_check(value, off, len);
    if (!error && !interval_add(&value->dirty, off, off + len))
        error = -ATOLL_ENOMEM;
    if (error)
        return call_leave(call, error);
    if (len > 0)
        memcpy(value->local + off, buf, len);
    return call_leave(call, (int64_t)len);
}

/* The end of a range in which 0 stands for everything. */
static int range_end(const struct value *value, uint64_t off, uint64_t len, uint64_t *end)
{
    if (len == 0 && off <= value->size) {
        *end = value->size;
        return 0;
    }
    *end = off + len;
    return range_check(value, off, len);
}

int32_t atoll_state_dirty(atoll_h h, uint64_t off, uint64_t len)
{
    struct value *value;
    uint64_t end;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    error = range_end(value, off, len, &end);
    if (!error && !interval_add(&value->dirty, off, end))
        error = -ATOLL_ENOMEM;
    return (int32_t)call_leave(call, error);
}

int32_t atoll_state_merge(atoll_h h, uint64_t off, uint64_t len, uint32_t op)
{
    struct value *value;
    uint64_t end;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    error = op > ATOLL_M_XOR ? -ATOLL_EINVAL : range_end(value, off, len, &end);
    if (!error)
        error = value_merge(value, off, end, op);
    return (int32_t)call_leave(call, error);
}

/* ---- pull and push ---- */

int32_t atoll_state_pull(atoll_h h, uint64_t off, uint64_t len, uint32_t flags)
{
    struct value *value;
    uint64_t end;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_READ, &value, &error);
    if (!call)
        return error;
    error = flags & ~(uint32_t)ATOLL_PULL_DISCARD ? -ATOLL_EINVAL
            : value->deleted                      ? -ATOLL_ESTALE
                                                  : range_end(value, off, len, &end);
    if (!error)
        error = value_pull(value, off, end, flags & ATOLL_PULL_DISCARD);
    return (int32_t)call_leave(call, error);
}

int64_t atoll_state_push(atoll_h h, uint64_t off, uint64_t len, uint32_t flags, uint64_t expect_ver)
{
    struct value *value;
    uint64_t end;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    if (flags & ~(uint32_t)PUSH_FLAGS || value->local_only)
        error = -ATOLL_EINVAL;
    else if (call->zygote)
        error = -ATOLL_EPERM;
    else if (value->deleted || (flags & ATOLL_PUSH_IFVER && value->global_version != expect_ver))
        error = -ATOLL_ESTALE;
    else
        error = range_end(value, off, len, &end);
    return call_leave(call, error ? error : value_push(value, off, end, flags));
}

/* ---- entries ---- */

int64_t atoll_state_append(atoll_h h, atoll_in buf, uint64_t len)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    if (call->zygote)
        return call_leave(call, -ATOLL_EPERM);
    if (len > ATOLL_ENTRY_MAX)
        return call_leave(call, -ATOLL_ESIZE);
    return call_leave(call, value->deleted ? -ATOLL_ESTALE : value_append(value, buf, len));
}

int64_t atoll_state_entries(atoll_h h, uint64_t from, uint32_t max, atoll_out buf, uint64_t cap,
                            uint64_t *lens)
{
    struct value *value;
    int error;
    int64_t copied = 0;
    uint64_t used = 0;
    struct native_call *call = value_enter(h, ATOLL_S_READ, &value, &error);
    if (!call)
        return error;
    if (value->deleted)
        return call_leave(call, -ATOLL_ESTALE);
    for (uint64_t i = from; i < value->entry_count && copied < max; i++) {
        const struct entry *entry = &value->entries[i];
        if (entry->len > cap - used)
            break;
        if (entry->len > 0)
            memcpy((uint8_t *)buf + used, entry->bytes, entry->len);
        used += entry->len;
        lens[copied++] = entry->len;
    }
    if (copied == 0 && max > 0 && from < value->entry_count) {
        lens[0] = value->entries[from].len;
        copied = -ATOLL_ESIZE;
    }
    return call_leave(call, copied);
}

int32_t atoll_state_clear(atoll_h h)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, ATOLL_S_WRITE, &value, &error);
    if (!call)
        return error;
    if (value->deleted)
        return (int32_t)call_leave(call, -ATOLL_ESTALE);
    value_entries_clear(value);
    return (int32_t)call_leave(call, 0);
}

/* ---- locks ---- */

int64_t atoll_state_lock(atoll_h h, uint32_t mode, uint32_t scope, uint64_t timeout_ns)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, 0, &value, &error);
    if (!call)
        return error;
    if (mode > ATOLL_LOCK_WRITE || scope > ATOLL_SCOPE_GLOBAL)
        return call_leave(call, -ATOLL_EINVAL);
    if (call->zygote || !key_permitted(call, value->key, value->key_len, "l"))
        return call_leave(call, -ATOLL_EPERM);
    if (scope == ATOLL_SCOPE_GLOBAL && value->deleted)
        return call_leave(call, -ATOLL_ESTALE);
    return call_leave(call, lock_take(call, value, h, mode, scope, timeout_ns));
}

int32_t atoll_state_unlock(atoll_h h, uint32_t scope)
{
    struct value *value;
    int error;
    struct native_call *call = value_enter(h, 0, &value, &error);
    if (!call)
        return error;
    if (scope > ATOLL_SCOPE_GLOBAL)
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    return (int32_t)call_leave(call, lock_give(call, value, -1, scope) ? 0 : -ATOLL_ENOENT);
}

/* ---- keys ---- */

int32_t atoll_state_delete(atoll_in key, uint32_t klen)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    if (!key_valid(key, klen))
        return (int32_t)call_leave(call, -ATOLL_EINVAL);
    if (!key_permitted(call, key, klen, "d"))
        return (int32_t)call_leave(call, -ATOLL_EPERM);
    struct value *value = value_find(call->node, key, klen);
    if (!value)
        return (int32_t)call_leave(call, -ATOLL_ENOENT);
    value_delete(value);
    return (int32_t)call_leave(call, 0);
}

static int key_compare(const void *a, uint32_t alen, const void *b, uint32_t blen)
{
    uint32_t len = alen < blen ? alen : blen;
    int order = len ? memcmp(a, b, len) : 0;
    return order ? order : (alen > blen) - (alen < blen);
}

/* The first key after another that has the prefix and that the call may read. */
static struct value *key_after(struct native_call *call, const void *prefix, uint32_t plen,
                               const void *after, uint32_t alen)
{
    struct value *next = NULL;
    for (struct value *value = call->node->values; value; value = value->next) {
        if (value->key_len < plen || (plen && memcmp(value->key, prefix, plen) != 0) ||
            key_compare(value->key, value->key_len, after, alen) <= 0 ||
            !key_permitted(call, value->key, value->key_len, "r"))
            continue;
        if (!next || key_compare(value->key, value->key_len, next->key, next->key_len) < 0)
            next = value;
    }
    return next;
}

int64_t atoll_state_list(atoll_in prefix, uint32_t plen, atoll_in after, uint32_t alen,
                         atoll_out buf, uint64_t cap)
{
    struct native_call *call = call_enter_any();
    uint8_t *out = buf;
    uint64_t used = 0;
    if (!call)
        return -ATOLL_EPERM;
    if ((plen && !key_valid(prefix, plen)) || (alen && !key_valid(after, alen)))
        return call_leave(call, -ATOLL_EINVAL);
    struct value *value = key_after(call, prefix, plen, after, alen);
    if (value && value->key_len + 1 > cap)
        return call_leave(call, -ATOLL_ESIZE);
    while (value && value->key_len + 1 <= cap - used) {
        memcpy(out + used, value->key, value->key_len);
        out[used + value->key_len] = 0;
        used += value->key_len + 1;
        value = key_after(call, prefix, plen, value->key, value->key_len);
    }
    return call_leave(call, (int64_t)used);
}

/* ---- the test's side ---- */

int64_t atoll_native_state_put(struct atoll_native *node, const char *key, const void *bytes,
                               uint64_t len)
{
    uint32_t klen = (uint32_t)strnlen(key, ATOLL_KEY_MAX + 1);
    if (!key_valid(key, klen))
        return -ATOLL_EINVAL;
    if (len > VALUE_BYTES_MAX)
        return -ATOLL_ELIMIT;
    struct value *value = value_find(node, key, klen);
    if (!value)
        value = value_new(node, key, klen);
    int error = value ? value_global_put(value, bytes, len) : -ATOLL_ENOMEM;
    return error ? error : (int64_t)value->global_version;
}

void *atoll_native_state_get(struct atoll_native *node, const char *key, uint64_t *len)
{
    struct value *value = value_find(node, key, (uint32_t)strnlen(key, ATOLL_KEY_MAX + 1));
    uint8_t *copy = value && value->global_exists ? malloc(value->global.len + 1) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, value->global.data, value->global.len);
    copy[value->global.len] = 0;
    *len = value->global.len;
    return copy;
}
