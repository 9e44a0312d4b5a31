/*
 * The entrances: every argument is checked here, once, and copied into the operation, so that what
 * lies behind works on operations that make sense. Called on the owner's thread.
 */
#include "store/request.h"

#include "store/merge.h"
#include "store/table.h"

#include <stdlib.h>

static struct store *store_of(struct gt *gt)
{
    return (struct store *)(void *)gt;
}

/* ---- keys ---- */

static int tenant_check(const char *tenant, size_t *len, struct error *e)
{
    *len = strnlen(tenant, GT_TENANT_MAX + 1);
    bool good = *len >= 1 && *len <= GT_TENANT_MAX && tenant[0] != '-';
    for (size_t i = 0; good && i < *len; i++)
        good = (tenant[i] >= 'a' && tenant[i] <= 'z') || (tenant[i] >= '0' && tenant[i] <= '9') ||
               tenant[i] == '-';
    return good ? 0
                : error_set(e, ATOLL_EINVAL,
                            "a tenant's name has 1..%d characters of a-z, 0-9 and - and does not "
                            "begin with -",
                            GT_TENANT_MAX);
}

static int key_check(const struct gt_key *key, bool may_be_empty, size_t *tenant_len,
                     struct error *e)
{
    int rc = tenant_check(key->tenant, tenant_len, e);
    if (rc < 0)
        return rc;
    if (key->key_len > GT_KEY_MAX || (key->key_len == 0 && !may_be_empty) ||
        (key->key_len > 0 && memchr(key->key, 0, key->key_len)))
        return error_set(e, ATOLL_EINVAL, "a key has 1..%d bytes, none of them NUL", GT_KEY_MAX);
    return 0;
}

static uint32_t full_key_write(const char *tenant, size_t tenant_len, const void *key,
                               size_t key_len, uint8_t *out)
{
    memcpy(out, tenant, tenant_len);
    out[tenant_len] = 0;
    if (key_len > 0)
        memcpy(out + tenant_len + 1, key, key_len);
    return (uint32_t)(tenant_len + 1 + key_len);
}

static struct operation *no_memory(struct error *e)
{
    error_set(e, ATOLL_ENOMEM, "no memory for an operation of the store");
    return NULL;
}

/* An operation on a key, its full key written behind the carried bytes. NULL and an error when the
 * key is bad or memory is missing. */
static struct operation *operation_on(enum operation_kind kind, const struct gt_key *key,
                                      bool may_be_empty, size_t carried, struct error *e)
{
    size_t tenant_len;
    if (key_check(key, may_be_empty, &tenant_len, e) < 0)
        return NULL;
    carried = (size_t)align_up(carried, 8);
    struct operation *op = operation_create(kind, carried + tenant_len + 1 + key->key_len);
    if (!op)
        return no_memory(e);
    op->key = (uint8_t *)operation_carried(op) + carried;
    op->tenant_len = (uint32_t)tenant_len;
    op->key_len = full_key_write(key->tenant, tenant_len, key->key, key->key_len, op->key);
    return op;
}

static int flags_check(uint32_t flags, uint32_t known, struct error *e)
{
    return flags & ~known ? error_set(e, ATOLL_EINVAL, "unknown flags %#x", flags & ~known) : 0;
}

/* ---- values ---- */

static int request_stat(struct gt *gt, const struct gt_key *key, struct gt_callback callback,
                        struct error *e)
{
    struct operation *op = operation_on(OPERATION_STAT, key, false, 0, e);
    return op ? store_hand_over(store_of(gt), op, callback, e) : e->code;
}

static int spans_check(const struct gt_span *spans, uint32_t count, struct error *e)
{
    if (count > GT_RANGES_MAX)
        return error_set(e, ATOLL_ELIMIT, "at most %u ranges at once", GT_RANGES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (spans[i].off > GT_VALUE_MAX || spans[i].len > GT_VALUE_MAX - spans[i].off)
            return error_set(e, ATOLL_ERANGE, "a range ends beyond the largest value");
    }
    return 0;
}

static int request_getrange(struct gt *gt, const struct gt_key *key, uint64_t since,
                            const struct gt_span *spans, uint32_t count,
                            struct gt_callback callback, struct error *e)
{
    int rc = spans_check(spans, count, e);
    if (rc < 0)
        return rc;
    size_t bytes = count * sizeof *spans;
    struct operation *op = operation_on(OPERATION_GETRANGE, key, false, bytes, e);
    if (!op)
        return e->code;
    op->getrange.since = since;
    op->getrange.spans = operation_carried(op);
    op->getrange.count = count;
    if (count > 0)
        memcpy(operation_carried(op), spans, bytes);
    return store_hand_over(store_of(gt), op, callback, e);
}

static int range_check(const struct gt_range *range, struct error *e)
{
    size_t unit = merge_unit(range->merge);
    if (unit == 0)
        return error_set(e, ATOLL_EINVAL, "there is no merge %d", (int)range->merge);
    if (range->off % unit != 0 || range->len % unit != 0)
        return error_set(e, ATOLL_EINVAL, "a range of %zu-byte numbers begins or ends within one",
                         unit);
    if (range->off > GT_VALUE_MAX || range->len > GT_VALUE_MAX - range->off)
        return error_set(e, ATOLL_ERANGE, "a range ends beyond the largest value");
    return 0;
}

/* What a range adds to the bytes of a commit and to the chunks it writes. A few bytes here and
 * there cost a chunk each. */
static int range_weigh(const struct gt_range *range, uint64_t *last_chunk, size_t *total,
                       size_t *weight, struct error *e)
{
    if (range->len == 0)
        return 0;
    uint64_t first = range->off / GT_CHUNK_BYTES, end = range->off + range->len - 1;
    uint64_t chunks = end / GT_CHUNK_BYTES - first + (first != *last_chunk);
    if (chunks > (GT_COMMIT_BYTES_MAX - *weight) / GT_CHUNK_BYTES ||
        range->len > GT_COMMIT_BYTES_MAX - *total)
        return error_set(e, ATOLL_ESIZE, "a commit writes at most %llu bytes: use several",
                         GT_COMMIT_BYTES_MAX);
    *last_chunk = end / GT_CHUNK_BYTES;
    *total += range->len;
    *weight += chunks * GT_CHUNK_BYTES;
    return 0;
}

static int commit_check(const struct gt_commit *commit, size_t *total, size_t *weight,
                        struct error *e)
{
    uint64_t last_chunk = UINT64_MAX;
    int rc = flags_check(commit->flags, GT_DURABLE | GT_GROW | GT_RETURN_MERGED, e);
    if (rc == 0 && commit->range_count > GT_RANGES_MAX)
        rc = error_set(e, ATOLL_ELIMIT, "at most %u ranges at once", GT_RANGES_MAX);
    if (rc == 0 && commit->size != GT_SIZE_KEEP && commit->size > GT_VALUE_MAX)
        rc = error_set(e, ATOLL_ESIZE, "a value has at most %llu bytes", GT_VALUE_MAX);
    *total = *weight = 0;
    for (uint32_t i = 0; rc == 0 && i < commit->range_count; i++) {
        rc = range_check(&commit->ranges[i], e);
        if (rc == 0)
            rc = range_weigh(&commit->ranges[i], &last_chunk, total, weight, e);
    }
    return rc;
}

/* Ranges, then their bytes unless they are lent. */
static void commit_copy(struct operation *op, const struct gt_commit *commit)
{
    struct gt_range *ranges = operation_carried(op);
    uint8_t *bytes = (uint8_t *)(ranges + commit->range_count);
    op->commit = *commit;
    op->commit.ranges = ranges;
    for (uint32_t i = 0; i < commit->range_count; i++) {
        ranges[i] = commit->ranges[i];
        if (commit->release || ranges[i].len == 0)
            continue;
        memcpy(bytes, commit->ranges[i].bytes, ranges[i].len);
        ranges[i].bytes = bytes;
        bytes += ranges[i].len;
    }
}

static int request_commit(struct gt *gt, const struct gt_key *key, const struct gt_commit *commit,
                          struct gt_callback callback, struct error *e)
{
    size_t total, weight, bytes;
    int rc = commit_check(commit, &total, &weight, e);
    if (rc < 0)
        return rc;
    bytes = commit->range_count * sizeof(struct gt_range) + (commit->release ? 0 : total);
    struct operation *op = operation_on(OPERATION_COMMIT, key, false, bytes, e);
    if (!op)
        return e->code;
    commit_copy(op, commit);
    op->flags = commit->flags & GT_DURABLE;
    op->charged += commit->release ? total : 0;
    op->weight += weight;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_append(struct gt *gt, const struct gt_key *key, const void *bytes, size_t len,
                          uint32_t flags, struct gt_callback callback, struct error *e)
{
    int rc = flags_check(flags, GT_DURABLE, e);
    if (rc == 0 && len > GT_ENTRY_MAX)
        rc = error_set(e, ATOLL_ESIZE, "an entry has at most %u bytes", GT_ENTRY_MAX);
    if (rc < 0)
        return rc;
    struct operation *op = operation_on(OPERATION_APPEND, key, false, len, e);
    if (!op)
        return e->code;
    op->flags = flags;
    op->append.bytes = operation_carried(op);
    op->append.len = len;
    if (len > 0)
        memcpy(operation_carried(op), bytes, len);
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_entries(struct gt *gt, const struct gt_key *key, uint64_t from, uint32_t max,
                           size_t cap, struct gt_callback callback, struct error *e)
{
    struct operation *op = operation_on(OPERATION_ENTRIES, key, false, 0, e);
    if (!op)
        return e->code;
    op->entries.from = from;
    op->entries.max = max;
    op->entries.cap = cap < GT_LIST_BYTES_MAX ? cap : GT_LIST_BYTES_MAX;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_flagged(struct gt *gt, enum operation_kind kind, const struct gt_key *key,
                           uint32_t flags, struct gt_callback callback, struct error *e)
{
    int rc = flags_check(flags, GT_DURABLE, e);
    if (rc < 0)
        return rc;
    struct operation *op = operation_on(kind, key, false, 0, e);
    if (!op)
        return e->code;
    op->flags = flags;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_clear(struct gt *gt, const struct gt_key *key, uint32_t flags,
                         struct gt_callback callback, struct error *e)
{
    return request_flagged(gt, OPERATION_CLEAR, key, flags, callback, e);
}

static int request_delete(struct gt *gt, const struct gt_key *key, uint32_t flags,
                          struct gt_callback callback, struct error *e)
{
    return request_flagged(gt, OPERATION_DELETE, key, flags, callback, e);
}

static int request_list(struct gt *gt, const struct gt_key *prefix, const void *after,
                        size_t after_len, size_t cap, struct gt_callback callback, struct error *e)
{
    if (after_len > GT_KEY_MAX)
        return error_set(e, ATOLL_EINVAL, "a key has at most %d bytes", GT_KEY_MAX);
    struct operation *op = operation_on(OPERATION_LIST, prefix, true, FULL_KEY_MAX, e);
    if (!op)
        return e->code;
    op->list.cap = cap < GT_LIST_BYTES_MAX ? cap : GT_LIST_BYTES_MAX;
    op->list.after = operation_carried(op);
    if (after_len > 0)
        op->list.after_len =
            full_key_write(prefix->tenant, op->tenant_len, after, after_len, operation_carried(op));
    return store_hand_over(store_of(gt), op, callback, e);
}

/* ---- locks ---- */

static int request_lock(struct gt *gt, const struct gt_key *key, enum gt_lock_mode mode,
                        uint64_t owner, uint64_t lease_ns, uint64_t timeout_ns,
                        struct gt_callback callback, struct error *e)
{
    if ((mode != GT_LOCK_READ && mode != GT_LOCK_WRITE) || lease_ns == 0)
        return error_set(e, ATOLL_EINVAL, "a lock is for reading or writing, and has a lease");
    struct operation *op = operation_on(OPERATION_LOCK, key, false, 0, e);
    if (!op)
        return e->code;
    op->lock.mode = mode;
    op->lock.owner = owner;
    op->lock.lease_ns = lease_ns;
    op->lock.timeout_ns = timeout_ns;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_renew(struct gt *gt, const struct gt_key *key, uint64_t token, uint64_t lease_ns,
                         struct gt_callback callback, struct error *e)
{
    if (lease_ns == 0)
        return error_set(e, ATOLL_EINVAL, "a lock has a lease");
    struct operation *op = operation_on(OPERATION_RENEW, key, false, 0, e);
    if (!op)
        return e->code;
    op->lock.token = token;
    op->lock.lease_ns = lease_ns;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_unlock(struct gt *gt, const struct gt_key *key, uint64_t token,
                          struct gt_callback callback, struct error *e)
{
    struct operation *op = operation_on(OPERATION_UNLOCK, key, false, 0, e);
    if (!op)
        return e->code;
    op->lock.token = token;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_owner_end(struct gt *gt, uint64_t owner, struct gt_callback callback,
                             struct error *e)
{
    struct operation *op = operation_create(OPERATION_OWNER_END, 0);
    if (!op)
        return no_memory(e), e->code;
    op->lock.owner = owner;
    return store_hand_over(store_of(gt), op, callback, e);
}

/* ---- objects ---- */

static int type_check(enum gt_object_type type, struct error *e)
{
    return type >= GT_COUNTER && type <= GT_CELL
               ? 0
               : error_set(e, ATOLL_EINVAL, "there is no object type %d", (int)type);
}

static int request_object_open(struct gt *gt, const struct gt_key *key, enum gt_object_type type,
                               int64_t arg, uint64_t owner, struct gt_callback callback,
                               struct error *e)
{
    if (type_check(type, e) < 0)
        return e->code;
    struct operation *op = operation_on(OPERATION_OBJECT_OPEN, key, false, 0, e);
    if (!op)
        return e->code;
    op->open.type = type;
    op->open.arg = arg;
    op->open.owner = owner;
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_object(struct gt *gt, const struct gt_key *key, enum gt_object_type type,
                          const struct gt_object_call *call, struct gt_callback callback,
                          struct error *e)
{
    int rc = type_check(type, e);
    if (rc == 0)
        rc = flags_check(call->flags, GT_DURABLE, e);
    if (rc == 0 && call->in_len > 4 + GT_MAP_KEY_MAX + GT_OBJECT_BYTES_MAX)
        rc = error_set(e, ATOLL_ESIZE, "a value of an object has at most %u bytes",
                       GT_OBJECT_BYTES_MAX);
    if (rc < 0)
        return rc;
    struct operation *op = operation_on(OPERATION_OBJECT, key, false, call->in_len, e);
    if (!op)
        return e->code;
    op->flags = call->flags;
    op->object.type = type;
    op->object.call = *call;
    op->object.call.in = operation_carried(op);
    if (call->cap > GT_LIST_BYTES_MAX)
        op->object.call.cap = GT_LIST_BYTES_MAX;
    if (call->in_len > 0)
        memcpy(operation_carried(op), call->in, call->in_len);
    return store_hand_over(store_of(gt), op, callback, e);
}

static int request_object_delete(struct gt *gt, const struct gt_key *key,
                                 struct gt_callback callback, struct error *e)
{
    return request_flagged(gt, OPERATION_OBJECT_DELETE, key, 0, callback, e);
}

/* ---- watching ---- */

static bool watches_reserve(struct store *s)
{
    if (s->watch_count < s->watch_capacity)
        return true;
    uint32_t capacity = s->watch_capacity ? 2 * s->watch_capacity : 16;
    struct watch *watches = realloc(s->watches, capacity * sizeof *watches);
    if (!watches)
        return false;
    s->watches = watches;
    s->watch_capacity = capacity;
    return true;
}

static int request_watch(struct gt *gt, const struct gt_key *prefix, gt_watcher watcher,
                         void *context, uint64_t *number, struct error *e)
{
    struct store *s = store_of(gt);
    size_t tenant_len;
    int rc = key_check(prefix, true, &tenant_len, e);
    if (rc < 0)
        return rc;
    if (s->watch_count >= GT_WATCHES_MAX)
        return error_set(e, ATOLL_ELIMIT, "there are %u watches already", s->watch_count);
    if (!watches_reserve(s))
        return error_set(e, ATOLL_ENOMEM, "no memory for another watch");
    struct watch *w = &s->watches[s->watch_count++];
    *w = (struct watch){.number = ++s->watch_number, .watcher = watcher, .context = context};
    w->prefix_len =
        full_key_write(prefix->tenant, tenant_len, prefix->key, prefix->key_len, w->prefix);
    *number = w->number;
    return 0;
}

/* Its place is taken back when no watcher is being called. */
static void request_unwatch(struct gt *gt, uint64_t number)
{
    struct store *s = store_of(gt);
    for (uint32_t i = 0; i < s->watch_count; i++) {
        if (s->watches[i].number != number)
            continue;
        s->watches[i].watcher = NULL;
        if (!s->completing)
            s->watches[i] = s->watches[--s->watch_count];
        return;
    }
}

const struct gt_ops request_ops = {
    .name = "lmdb",
    .stat = request_stat,
    .getrange = request_getrange,
    .commit = request_commit,
    .append = request_append,
    .entries = request_entries,
    .clear = request_clear,
    .delete = request_delete,
    .list = request_list,
    .lock = request_lock,
    .renew = request_renew,
    .unlock = request_unlock,
    .object_open = request_object_open,
    .object = request_object,
    .object_delete = request_object_delete,
    .owner_end = request_owner_end,
    .watch = request_watch,
    .unwatch = request_unwatch,
};

/* ---- records ---- */

static int record_key_check(enum store_table table, size_t key_len, bool may_be_empty,
                            struct error *e)
{
    if ((unsigned)table >= STORE_TABLES)
        return error_set(e, ATOLL_EINVAL, "there is no table %d", (int)table);
    if (key_len > STORE_RECORD_KEY_MAX || (key_len == 0 && !may_be_empty))
        return error_set(e, ATOLL_EINVAL, "a record's key has 1..%d bytes", STORE_RECORD_KEY_MAX);
    return 0;
}

static int writes_check(const struct store_write *writes, uint32_t count, uint32_t flags,
                        size_t *bytes, struct error *e)
{
    int rc = flags_check(flags, GT_DURABLE, e);
    *bytes = 0;
    if (rc == 0 && count > STORE_WRITES_MAX)
        rc = error_set(e, ATOLL_ELIMIT, "at most %u writes at once", STORE_WRITES_MAX);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct store_write *w = &writes[i];
        rc = record_key_check(w->table, w->key_len, false, e);
        if (rc == 0 && (unsigned)w->kind > STORE_DELETE)
            rc = error_set(e, ATOLL_EINVAL, "there is no kind of write %d", (int)w->kind);
        if (rc == 0 && w->value_len > STORE_RECORD_MAX)
            rc = error_set(e, ATOLL_ESIZE, "a record has at most %u bytes", STORE_RECORD_MAX);
        *bytes += w->key_len + (w->kind == STORE_DELETE ? 0 : w->value_len);
    }
    return rc;
}

static uint8_t *bytes_place(uint8_t *at, const void *bytes, size_t len, const void **place)
{
    *place = at;
    if (len > 0)
        memcpy(at, bytes, len);
    return at + len;
}

int store_write(struct store *s, const struct store_write *writes, uint32_t count, uint32_t flags,
                struct gt_callback callback, struct error *e)
{
    size_t bytes;
    int rc = writes_check(writes, count, flags, &bytes, e);
    if (rc < 0)
        return rc;
    struct operation *op = operation_create(OPERATION_WRITE, count * sizeof *writes + bytes);
    if (!op)
        return no_memory(e), e->code;
    struct store_write *copy = operation_carried(op);
    uint8_t *at = (uint8_t *)(copy + count);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = writes[i];
        if (copy[i].kind == STORE_DELETE)
            copy[i].value_len = 0;
        at = bytes_place(at, writes[i].key, copy[i].key_len, &copy[i].key);
        at = bytes_place(at, writes[i].value, copy[i].value_len, &copy[i].value);
        op->tables |= 1u << writes[i].table;
    }
    op->flags = flags;
    op->tables |= count == 0 ? 1 : 0;
    op->write.writes = copy;
    op->write.count = count;
    return store_hand_over(s, op, callback, e);
}

static struct operation *record_read(enum operation_kind kind, enum store_table table,
                                     const void *key, size_t key_len, size_t more, struct error *e)
{
    if (record_key_check(table, key_len, kind == OPERATION_LIST_RECORDS, e) < 0)
        return NULL;
    struct operation *op = operation_create(kind, key_len + more);
    if (!op)
        return no_memory(e);
    op->key = operation_carried(op);
    op->key_len = (uint32_t)key_len;
    op->tables = 1u << table;
    op->list.table = table_of(table);
    if (key_len > 0)
        memcpy(op->key, key, key_len);
    return op;
}

int store_get(struct store *s, enum store_table table, const void *key, size_t key_len,
              struct gt_callback callback, struct error *e)
{
    struct operation *op = record_read(OPERATION_GET, table, key, key_len, 0, e);
    return op ? store_hand_over(s, op, callback, e) : e->code;
}

int store_list(struct store *s, enum store_table table, const void *prefix, size_t prefix_len,
               const void *after, size_t after_len, size_t cap, struct gt_callback callback,
               struct error *e)
{
    if (after_len > STORE_RECORD_KEY_MAX)
        return error_set(e, ATOLL_EINVAL, "a record's key has 1..%d bytes", STORE_RECORD_KEY_MAX);
    struct operation *op =
        record_read(OPERATION_LIST_RECORDS, table, prefix, prefix_len, after_len, e);
    if (!op)
        return e->code;
    op->list.after = op->key + prefix_len;
    op->list.after_len = after_len;
    op->list.cap = cap < GT_LIST_BYTES_MAX ? cap : GT_LIST_BYTES_MAX;
    if (after_len > 0)
        memcpy(op->key + prefix_len, after, after_len);
    return store_hand_over(s, op, callback, e);
}
