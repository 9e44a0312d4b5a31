/* The two tiers of a value; value.h says what is where. */
#define _GNU_SOURCE
#include "value.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- the table ---- */

struct value *value_find(struct atoll_native *node, const void *key, uint32_t len)
{
    for (struct value *value = node->values; value; value = value->next) {
        if (value->key_len == len && memcmp(value->key, key, len) == 0)
            return value;
    }
    return NULL;
}

struct value *value_new(struct atoll_native *node, const void *key, uint32_t len)
{
    struct value *value = calloc(1, sizeof *value);
    if (!value)
        return NULL;
    value->memfd = memfd_create("atoll-state", MFD_CLOEXEC);
    if (value->memfd < 0) {
        free(value);
        return NULL;
    }
    value->node = node;
    memcpy(value->key, key, len);
    value->key_len = len;
    value->references = 1;
    value->next = node->values;
    node->values = value;
    return value;
}

void value_retain(struct value *value)
{
    value->references++;
}

void value_entries_clear(struct value *value)
{
    for (uint64_t i = 0; i < value->entry_count; i++)
        free(value->entries[i].bytes);
    free(value->entries);
    value->entries = NULL;
    value->entry_count = value->entry_capacity = 0;
}

void value_release(struct value *value)
{
    if (--value->references > 0)
        return;
    if (value->local)
        munmap(value->local, value->capacity);
    close(value->memfd);
    interval_free(&value->dirty);
    value_entries_clear(value);
    free(value->base.data);
    free(value->global.data);
    free(value);
}

void value_delete(struct value *value)
{
    struct value **at = &value->node->values;
    while (*at != value)
        at = &(*at)->next;
    *at = value->next;
    value->deleted = true;
    value_release(value);
}

void values_free(struct atoll_native *node)
{
    while (node->values)
        value_delete(node->values);
}

/* ---- sizes ---- */

static bool buffer_resize(struct buffer *buffer, uint64_t size)
{
    uint8_t *bytes = realloc(buffer->data, size + 1);
    if (!bytes)
        return false;
    if (size > buffer->len)
        memset(bytes + buffer->len, 0, size - buffer->len);
    *buffer = (struct buffer){bytes, size, size + 1};
    bytes[size] = 0;
    return true;
}

static bool local_reserve(struct value *value, uint64_t size)
{
    uint64_t capacity = (size + 4095) & ~UINT64_C(4095);
    if (capacity <= value->capacity)
        return true;
    if (ftruncate(value->memfd, (off_t)capacity) < 0)
        return false;
    void *map = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, value->memfd, 0);
    if (map == MAP_FAILED)
        return false;
    if (value->local)
        munmap(value->local, value->capacity);
    value->local = map;
    value->capacity = capacity;
    return true;
}

/* Changes the local size alone. */
static int local_resize(struct value *value, uint64_t size)
{
    if (size > VALUE_BYTES_MAX)
        return -ATOLL_ELIMIT;
    if (!local_reserve(value, size) || !buffer_resize(&value->base, size) ||
        !interval_remove(&value->dirty, size, UINT64_MAX))
        return -ATOLL_ENOMEM;
    if (size < value->size)
        memset(value->local + size, 0, value->size - size);
    value->size = size;
    value->present = true;
    return 0;
}

int value_resize(struct value *value, uint64_t size)
{
    bool changed = size != value->size;
    int error = local_resize(value, size);
    if (!error && changed)
        value->size_changed = true;
    return error;
}

int value_present(struct value *value)
{
    if (value->present)
        return 0;
    int error = local_resize(value, value->global.len);
    if (!error)
        error = value_pull(value, 0, value->size, true);
    return error;
}

/* ---- pull ---- */

static void bytes_pull(struct value *value, uint64_t start, uint64_t end)
{
    if (end > value->global.len)
        end = value->global.len;
    if (start >= end)
        return;
    memcpy(value->local + start, value->global.data + start, end - start);
    memcpy(value->base.data + start, value->global.data + start, end - start);
}

int value_pull(struct value *value, uint64_t off, uint64_t end, bool discard)
{
    struct interval dirty;
    /* The size is the global one, unless it was changed here; a range to the end follows it. */
    bool to_end = end >= value->size;
    if (value->global_exists && value->global.len != value->size && !value->size_changed) {
        int error = local_resize(value, value->global.len);
        if (error)
            return error;
    }
    if (to_end || end > value->size)
        end = value->size;
    if (off >= end)
        return 0;
    if (discard && !interval_remove(&value->dirty, off, end))
        return -ATOLL_ENOMEM;
    for (uint64_t at = off; at < end;) {
        bool found = interval_next(&value->dirty, at, end, &dirty);
        bytes_pull(value, at, found ? dirty.start : end);
        at = found ? dirty.end : end;
    }
    if (off == 0 && end == value->size)
        value->version = value->global_version;
    return 0;
}

/* ---- merging ---- */

static uint64_t operand_bytes(uint32_t op)
{
    switch (op) {
    case ATOLL_M_SET: return 1;
    case ATOLL_M_ADD_I32:
    case ATOLL_M_ADD_F32: return 4;
    default: return 8;
    }
}

int value_merge(struct value *value, uint64_t off, uint64_t end, uint32_t op)
{
    uint64_t bytes = operand_bytes(op);
    if (off % bytes != 0 || end % bytes != 0)
        return -ATOLL_EINVAL;
    if (value->merge_count == VALUE_MERGES_MAX)
        return -ATOLL_ELIMIT;
    value->merges[value->merge_count++] = (struct merge_range){off, end, op};
    return 0;
}

/* The rule at a byte, and where another may begin. The newest rule counts. */
static uint32_t merge_at(const struct value *value, uint64_t at, uint64_t *until)
{
    for (uint32_t i = value->merge_count; i-- > 0;) {
        const struct merge_range *range = &value->merges[i];
        if (at >= range->start && at < range->end) {
            *until = range->end < *until ? range->end : *until;
            return range->op;
        }
        if (range->start > at && range->start < *until)
            *until = range->start;
    }
    return ATOLL_M_SET;
}

#define MERGE(type, expression)                                  \
    do {                                                         \
        type global, local, base;                                \
        memcpy(&global, value->global.data + at, sizeof global); \
        memcpy(&local, value->local + at, sizeof local);         \
        memcpy(&base, value->base.data + at, sizeof base);       \
        (void)base;                                              \
        global = (expression);                                   \
        memcpy(value->global.data + at, &global, sizeof global); \
    } while (0)

static void operand_merge(struct value *value, uint64_t at, uint32_t op)
{
    switch (op) {
    case ATOLL_M_ADD_I32: MERGE(uint32_t, global + (local - base)); break;
    case ATOLL_M_ADD_I64: MERGE(uint64_t, global + (local - base)); break;
    case ATOLL_M_ADD_F32: MERGE(float, global + (local - base)); break;
    case ATOLL_M_ADD_F64: MERGE(double, global + (local - base)); break;
    case ATOLL_M_MIN_F64: MERGE(double, local < global ? local : global); break;
    case ATOLL_M_MAX_F64: MERGE(double, local > global ? local : global); break;
    default: MERGE(uint64_t, global ^ local ^ base); break;
    }
}

/* Sends [start, end), which lies in one range of one rule. Whole operands are sent. */
static void range_send(struct value *value, uint64_t start, uint64_t end, uint32_t op)
{
    uint64_t bytes = operand_bytes(op);
    if (op == ATOLL_M_SET) {
        memcpy(value->global.data + start, value->local + start, end - start);
    } else {
        start -= start % bytes;
        end = (end + bytes - 1) / bytes * bytes;
        for (uint64_t at = start; at + bytes <= end; at += bytes)
            operand_merge(value, at, op);
    }
    memcpy(value->local + start, value->global.data + start, end - start);
    memcpy(value->base.data + start, value->global.data + start, end - start);
}

/* ---- push ---- */

static int changes_find(struct value *value, uint64_t off, uint64_t end)
{
    for (uint64_t at = off - off % 8; at < end; at += 8) {
        uint64_t bytes = value->size - at < 8 ? value->size - at : 8;
        if (memcmp(value->local + at, value->base.data + at, bytes) != 0 &&
            !interval_add(&value->dirty, at, at + bytes))
            return -ATOLL_ENOMEM;
    }
    return 0;
}

static void interval_send(struct value *value, uint64_t start, uint64_t end)
{
    while (start < end) {
        uint64_t until = end;
        uint32_t op = merge_at(value, start, &until);
        range_send(value, start, until, op);
        start = until;
    }
}

int64_t value_push(struct value *value, uint64_t off, uint64_t end, uint32_t flags)
{
    struct interval dirty;
    bool sent = value->size_changed || !value->global_exists;
    if (value->track && changes_find(value, off, end) < 0)
        return -ATOLL_ENOMEM;
    /* Another size that the global tier got meanwhile is kept, if it is not too small. */
    uint64_t size = sent || value->size > value->global.len ? value->size : value->global.len;
    if (!buffer_resize(&value->global, size))
        return -ATOLL_ENOMEM;
    if (flags & ATOLL_PUSH_DIRTY) {
        for (uint64_t at = off; interval_next(&value->dirty, at, end, &dirty); at = dirty.end) {
            interval_send(value, dirty.start, dirty.end);
            sent = true;
        }
    } else {
        interval_send(value, off, end);
        sent = true;
    }
    if (!interval_remove(&value->dirty, off, end))
        return -ATOLL_ENOMEM;
    value->size_changed = false;
    value->global_exists = true;
    if (sent) {
        bool current = value->version == value->global_version;
        value->global_version++;
        if (current || (off == 0 && end == value->size))
            value->version = value->global_version;
    }
    return (int64_t)value->global_version;
}

int value_global_put(struct value *value, const void *bytes, uint64_t len)
{
    if (!buffer_resize(&value->global, len))
        return -ATOLL_ENOMEM;
    if (len > 0)
        memcpy(value->global.data, bytes, len);
    value->global_exists = true;
    value->global_version++;
    return 0;
}

/* ---- entries ---- */

int64_t value_append(struct value *value, const void *bytes, uint64_t len)
{
    if (value->entry_count == VALUE_ENTRIES_MAX)
        return -ATOLL_ELIMIT;
    if (value->entry_count == value->entry_capacity) {
        uint64_t capacity = value->entry_capacity ? 2 * value->entry_capacity : 16;
        struct entry *larger = realloc(value->entries, capacity * sizeof *larger);
        if (!larger)
            return -ATOLL_ENOMEM;
        value->entries = larger;
        value->entry_capacity = capacity;
    }
    uint8_t *copy = malloc(len + 1);
    if (!copy)
        return -ATOLL_ENOMEM;
    if (len > 0)
        memcpy(copy, bytes, len);
    value->entries[value->entry_count] = (struct entry){copy, len};
    return (int64_t)value->entry_count++;
}
