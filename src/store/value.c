/* Reading values, entries and lists; see value.h. */
#include "store/value.h"

#include "store/checksum.h"

#include <endian.h>

static void store_be64(uint8_t *p, uint64_t v)
{
    store_u64(p, htobe64(v));
}

void chunk_key(uint64_t gen, uint64_t chunk, uint8_t out[static 12])
{
    store_be64(out, gen);
    store_u32(out + 8, htobe32((uint32_t)chunk));
}

void item_key(uint64_t id, uint64_t index, uint8_t out[static 16])
{
    store_be64(out, id);
    store_be64(out + 8, index);
}

static int meta_decode(const struct record *r, struct value_meta *out, struct error *e)
{
    if (r->len != sizeof *out)
        return error_set(e, ATOLL_ECORRUPT, "the store's record of a value has a wrong length");
    memcpy(out, r->body, sizeof *out);
    return 0;
}

int meta_get(const struct environment *v, MDB_txn *txn, const struct operation *op,
             struct value_meta *out, struct error *e)
{
    struct record r;
    int rc = record_get(v, txn, TABLE_META, op->key, op->key_len, &r, e);
    if (rc == -ATOLL_ENOENT)
        return error_set(e, ATOLL_ENOENT, "there is no such key");
    return rc < 0 ? rc : meta_decode(&r, out, e);
}

void meta_result(const struct value_meta *meta, struct operation *op)
{
    op->result.size = meta->size;
    op->result.version = meta->version;
    op->result.gen = meta->gen;
    op->result.entries = meta->entries;
}

int value_stat(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct value_meta meta;
    int rc = meta_get(v, txn, op, &meta, e);
    if (rc == 0)
        meta_result(&meta, op);
    return rc;
}

/* ---- bytes ---- */

/* The chunk that was looked at last: the spans of one getrange often share chunks. */
struct chunk_view {
    const struct environment *environment;
    MDB_txn *txn;
    const struct value_meta *meta;
    uint64_t since;
    uint64_t number; /* UINT64_MAX: none yet */
    bool skip;       /* unchanged since then */
    struct record bytes;
};

/* True when its head is whole and says that it has not changed since. Saves reading all of it. */
static bool chunk_unchanged(const MDB_val *value, const uint8_t key[static 12], uint64_t since)
{
    const uint8_t *head = (const uint8_t *)value->mv_data + RECORD_HEAD;
    if (since == 0 || value->mv_size < RECORD_HEAD + CHUNK_HEAD || load_u64(head) > since)
        return false;
    return load_u32(head + 8) == checksum_crc32c(checksum_crc32c(0, key, 12), head, 8);
}

static int chunk_look(struct chunk_view *view, uint64_t number, struct error *e)
{
    uint8_t key[12];
    MDB_val k = {sizeof key, key}, value;
    if (view->number == number)
        return 0;
    view->number = UINT64_MAX;
    view->skip = false;
    view->bytes = (struct record){0};
    chunk_key(view->meta->gen, number, key);
    int found = mdb_get(view->txn, view->environment->tables[TABLE_VAL], &k, &value);
    if (found == MDB_NOTFOUND) {
        view->skip = view->since > 0; /* it was a hole then, too */
    } else if (found) {
        return environment_error(e, found, "reading a value");
    } else if (chunk_unchanged(&value, key, view->since)) {
        view->skip = true;
    } else {
        int rc = record_check(TABLE_VAL, &k, &value, &view->bytes, e);
        if (rc < 0)
            return rc;
        if (view->bytes.len < CHUNK_HEAD || view->bytes.len > CHUNK_HEAD + GT_CHUNK_BYTES)
            return error_set(e, ATOLL_ECORRUPT, "the store's record of a chunk has a wrong length");
        view->bytes.body += CHUNK_HEAD;
        view->bytes.len -= CHUNK_HEAD;
    }
    view->number = number;
    return 0;
}

static int extent_add(struct operation *op, uint64_t off, uint64_t len, bool new_span,
                      struct error *e)
{
    struct gt_extent extent = {off, len}, *last;
    if (!new_span && op->result.count > 0) {
        last = (struct gt_extent *)(void *)(op->out.data + op->out.len - sizeof extent);
        if (last->off + last->len == off) {
            last->len += len;
            return 0;
        }
    }
    if (!buffer_append(&op->out, &extent, sizeof extent))
        return error_set(e, ATOLL_ENOMEM, "no memory for the list of what changed");
    op->result.count++;
    return 0;
}

static void bytes_copy(const struct record *from, size_t at, uint8_t *to, size_t len)
{
    size_t there = at < from->len ? from->len - at : 0;
    if (there > len)
        there = len;
    if (there > 0)
        memcpy(to, from->body + at, there);
    memset(to + there, 0, len - there);
}

static int span_read(struct chunk_view *view, const struct gt_span *span, struct operation *op,
                     struct error *e)
{
    bool fresh = true;
    for (size_t done = 0; done < span->len;) {
        uint64_t off = span->off + done;
        size_t within = (size_t)(off % GT_CHUNK_BYTES), len = GT_CHUNK_BYTES - within;
        if (len > span->len - done)
            len = span->len - done;
        struct record nothing = {0}, *from = &nothing;
        bool skip = view->since > 0 && off >= view->meta->size;
        if (off < view->meta->size) {
            int rc = chunk_look(view, off / GT_CHUNK_BYTES, e);
            if (rc < 0)
                return rc;
            from = &view->bytes;
            skip = view->skip;
        } else if (view->since == 0) {
            len = span->len - done; /* all of the rest is beyond the end */
        }
        if (!skip) {
            bytes_copy(from, within, (uint8_t *)span->dst + done, len);
            int rc = extent_add(op, off, len, fresh, e);
            if (rc < 0)
                return rc;
            fresh = false;
        }
        done += len;
    }
    return 0;
}

int value_getrange(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct value_meta meta;
    int rc = meta_get(v, txn, op, &meta, e);
    if (rc < 0)
        return rc;
    struct chunk_view view = {.environment = v,
                              .txn = txn,
                              .meta = &meta,
                              .number = UINT64_MAX,
                              .since = op->getrange.since};
    if (view.since < meta.cut_version)
        view.since = 0;
    for (uint32_t i = 0; rc == 0 && i < op->getrange.count; i++)
        rc = span_read(&view, &op->getrange.spans[i], op, e);
    meta_result(&meta, op);
    op->result.extents = (const struct gt_extent *)(const void *)op->out.data;
    return rc;
}

/* ---- entries ---- */

static int entry_add(struct operation *op, struct buffer *lens, const struct record *r,
                     struct error *e)
{
    if (!buffer_append(&op->out, r->body, r->len) || !buffer_append_u64(lens, r->len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the entries");
    op->result.count++;
    return 0;
}

/* Entries are dense, so each is looked up; lens go behind the bytes at the end. */
static int entries_collect(const struct environment *v, MDB_txn *txn, const struct value_meta *meta,
                           struct operation *op, struct buffer *lens, struct error *e)
{
    for (uint64_t i = op->entries.from; i < meta->entries && op->result.count < op->entries.max;
         i++) {
        uint8_t key[16];
        struct record r;
        item_key(meta->entries_id, i, key);
        int rc = record_get(v, txn, TABLE_ENT, key, sizeof key, &r, e);
        if (rc == -ATOLL_ENOENT)
            return error_set(e, ATOLL_ECORRUPT, "an entry is missing in the store");
        if (rc < 0)
            return rc;
        if (r.len > op->entries.cap - op->out.len) {
            if (op->result.count > 0)
                return 0;
            op->result.value = (int64_t)r.len;
            return error_set(e, ATOLL_ESIZE, "the entry has %zu bytes: give it more room", r.len);
        }
        rc = entry_add(op, lens, &r, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int value_entries(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct value_meta meta;
    struct buffer lens = {0};
    int rc = meta_get(v, txn, op, &meta, e);
    if (rc < 0)
        return rc;
    meta_result(&meta, op);
    rc = entries_collect(v, txn, &meta, op, &lens, e);
    size_t len = op->out.len;
    if (rc == 0 && (!buffer_align(&op->out, 8) || !buffer_append(&op->out, lens.data, lens.len)))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for the entries");
    if (rc == 0) {
        op->result.data = op->out.data;
        op->result.len = len;
        if (op->result.count > 0)
            op->result.lens = (const uint64_t *)(const void *)(op->out.data + align_up(len, 8));
    }
    buffer_free(&lens);
    return rc;
}

/* ---- lists ---- */

static int listed_add(struct operation *op, const MDB_val *key, const struct value_meta *meta,
                      struct error *e)
{
    size_t skip = op->tenant_len + 1u, key_len = key->mv_size - skip;
    uint8_t head[GT_LISTED_HEAD];
    store_u64(head, meta->size);
    store_u64(head + 8, meta->version);
    store_u32(head + 16, meta->entries > UINT32_MAX ? UINT32_MAX : (uint32_t)meta->entries);
    store_u32(head + 20, (uint32_t)key_len);
    if (op->result.count > 0 && op->out.len + sizeof head + key_len > op->list.cap) {
        op->result.value = 1;
        return 0;
    }
    if (!buffer_append(&op->out, head, sizeof head) ||
        !buffer_append(&op->out, (const uint8_t *)key->mv_data + skip, key_len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the list");
    op->result.count++;
    return 0;
}

/* `after` is a full key, or empty. */
int value_list(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct record_range range;
    struct value_meta meta;
    struct record r;
    MDB_val key;
    int rc = range_begin(v, txn, TABLE_META, op->key, op->key_len, op->list.after,
                         op->list.after_len, &range, e);
    if (rc < 0)
        return rc;
    while (op->result.value == 0 && (rc = range_next(&range, &key, &r, e)) == 1) {
        rc = meta_decode(&r, &meta, e);
        if (rc == 0)
            rc = listed_add(op, &key, &meta, e);
        if (rc < 0)
            break;
    }
    range_end(&range);
    operation_data(op);
    return rc < 0 ? rc : 0;
}
