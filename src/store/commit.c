/*
 * Changing values and entries; see value.h. Everything that can refuse an operation is looked at
 * before the first write; what fails after it (a damaged chunk, LMDB) voids the operation's part of
 * the transaction (writer.c).
 */
#include "store/checksum.h"
#include "store/lock.h"
#include "store/merge.h"
#include "store/value.h"

#include <assert.h>

#define SEQUENCE_BLOCK  (1u << 20)
#define GARBAGE_AT_ONCE 256

uint64_t sequence_take(struct sequence *s, struct batch *b, struct error *e)
{
    static const char key[] = "sequence";
    if (s->next + SEQUENCE_BLOCK / 2 >= s->limit) {
        uint8_t limit[8];
        store_u64(limit, s->limit + SEQUENCE_BLOCK);
        if (batch_begin(b, e) < 0 ||
            batch_put(b, TABLE_ATOLL, key, sizeof key - 1, limit, sizeof limit, e) < 0)
            return 0;
        s->limit += SEQUENCE_BLOCK;
    }
    return s->next++;
}

static int meta_put(struct value_writer *w, const struct operation *op,
                    const struct value_meta *meta, struct error *e)
{
    return batch_put(w->batch, TABLE_META, op->key, op->key_len, meta, sizeof *meta, e);
}

static int meta_make(struct value_writer *w, struct value_meta *meta, struct error *e)
{
    *meta = (struct value_meta){.gen = sequence_take(w->sequence, w->batch, e)};
    return meta->gen ? 0 : e->code;
}

/* ---- chunks ---- */

/* The chunk being put together: ranges of a commit often meet in one chunk. */
struct chunk_editor {
    struct value_writer *writer;
    uint64_t gen, version, number; /* number UINT64_MAX: none */
    size_t len;                    /* bytes of it; what is behind is zero in the scratch */
    uint8_t *bytes;                /* GT_CHUNK_BYTES */
};

static int chunk_write(struct chunk_editor *c, struct error *e)
{
    uint8_t key[12], *head = c->writer->chunk;
    if (c->number == UINT64_MAX)
        return 0;
    chunk_key(c->gen, c->number, key);
    store_u64(head, c->version);
    store_u32(head + 8, checksum_crc32c(checksum_crc32c(0, key, sizeof key), head, 8));
    c->number = UINT64_MAX;
    return batch_put(c->writer->batch, TABLE_VAL, key, sizeof key, head, CHUNK_HEAD + c->len, e);
}

/* Makes `number` the chunk that is put together. When all of it is going to be replaced, what is
 * there is not read. */
static int chunk_open(struct chunk_editor *c, uint64_t number, bool replaced, struct error *e)
{
    uint8_t key[12];
    struct record r;
    if (c->number == number)
        return 0;
    int rc = chunk_write(c, e);
    if (rc < 0)
        return rc;
    chunk_key(c->gen, number, key);
    c->len = 0;
    rc = replaced ? -ATOLL_ENOENT : batch_get(c->writer->batch, TABLE_VAL, key, sizeof key, &r, e);
    if (rc == 0) {
        if (r.len < CHUNK_HEAD || r.len > CHUNK_HEAD + GT_CHUNK_BYTES)
            return error_set(e, ATOLL_ECORRUPT, "the store's record of a chunk has a wrong length");
        c->len = r.len - CHUNK_HEAD;
        memcpy(c->bytes, r.body + CHUNK_HEAD, c->len);
    } else if (rc != -ATOLL_ENOENT) {
        return rc;
    }
    memset(c->bytes + c->len, 0, GT_CHUNK_BYTES - c->len);
    c->number = number;
    return 0;
}

static int range_apply(struct chunk_editor *c, const struct gt_range *range, struct error *e)
{
    for (size_t done = 0; done < range->len;) {
        uint64_t off = range->off + done;
        size_t within = (size_t)(off % GT_CHUNK_BYTES), len = GT_CHUNK_BYTES - within;
        if (len > range->len - done)
            len = range->len - done;
        bool replaced = range->merge == GT_SET && len == GT_CHUNK_BYTES;
        int rc = chunk_open(c, off / GT_CHUNK_BYTES, replaced, e);
        if (rc < 0)
            return rc;
        merge_apply(range->merge, c->bytes + within, (const uint8_t *)range->bytes + done, len);
        if (within + len > c->len)
            c->len = within + len;
        done += len;
    }
    return 0;
}

/* Cuts off everything from `size` on. */
static int value_cut(struct chunk_editor *c, uint64_t size, struct error *e)
{
    uint8_t key[12];
    size_t within = (size_t)(size % GT_CHUNK_BYTES);
    uint64_t first = size / GT_CHUNK_BYTES + (within > 0);
    if (within > 0) {
        int rc = chunk_open(c, size / GT_CHUNK_BYTES, false, e);
        if (rc < 0)
            return rc;
        if (c->len > within) {
            memset(c->bytes + within, 0, c->len - within);
            c->len = within;
        } else {
            c->number = UINT64_MAX; /* as it was */
        }
    }
    chunk_key(c->gen, first, key);
    int rc = batch_delete_range(c->writer->batch, TABLE_VAL, key, sizeof key, 8, UINT32_MAX, e);
    return rc < 0 ? rc : 0;
}

/* ---- commit ---- */

static uint64_t ranges_end(const struct gt_commit *commit)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < commit->range_count; i++) {
        uint64_t range_end = commit->ranges[i].off + commit->ranges[i].len;
        if (range_end > end)
            end = range_end;
    }
    return end;
}

static int fence_check(struct value_writer *w, const struct operation *op, struct error *e)
{
    if (op->commit.fence == 0 ||
        lock_held(w->locks, op->key, op->key_len, op->commit.fence, w->now_ns))
        return 0;
    return error_set(e, ATOLL_ESTALE, "the lock is lost: lock again, pull, and repeat the work");
}

static int expectation_check(const struct gt_commit *commit, bool exists,
                             const struct value_meta *meta, struct error *e)
{
    uint64_t version = exists ? meta->version : 0;
    if (commit->expect_version != GT_VERSION_ANY && commit->expect_version != version)
        return error_set(e, ATOLL_ESTALE, "the value has version %llu, not %llu",
                         (unsigned long long)version, (unsigned long long)commit->expect_version);
    if (commit->expect_gen != 0 && (!exists || commit->expect_gen != meta->gen))
        return error_set(e, ATOLL_ESTALE, "the key was deleted%s meanwhile",
                         exists ? " and made again" : "");
    return 0;
}

/* The size after the commit, or -ATOLL_ERANGE. */
static int size_decide(const struct gt_commit *commit, bool exists, const struct value_meta *meta,
                       uint64_t *size, struct error *e)
{
    uint64_t end = ranges_end(commit);
    *size = commit->size != GT_SIZE_KEEP ? commit->size : meta->size;
    if (commit->size == GT_SIZE_KEEP && end > *size && (!exists || commit->flags & GT_GROW))
        *size = end;
    if (end > *size)
        return error_set(e, ATOLL_ERANGE, "a range ends at %llu, beyond the value's %llu bytes",
                         (unsigned long long)end, (unsigned long long)*size);
    return 0;
}

static int merged_collect(struct value_writer *w, const struct value_meta *meta,
                          struct operation *op, struct error *e)
{
    for (uint32_t i = 0; i < op->commit.range_count; i++) {
        const struct gt_range *range = &op->commit.ranges[i];
        if (range->merge == GT_SET)
            continue;
        for (size_t done = 0; done < range->len;) {
            uint64_t off = range->off + done;
            size_t within = (size_t)(off % GT_CHUNK_BYTES), len = GT_CHUNK_BYTES - within;
            uint8_t key[12];
            struct record r;
            chunk_key(meta->gen, off / GT_CHUNK_BYTES, key);
            int rc = batch_get(w->batch, TABLE_VAL, key, sizeof key, &r, e);
            if (len > range->len - done)
                len = range->len - done;
            assert(rc != 0 || r.len >= CHUNK_HEAD + within + len);
            if (rc < 0)
                return rc;
            if (!buffer_append(&op->out, r.body + CHUNK_HEAD + within, len))
                return error_set(e, ATOLL_ENOMEM, "no memory for the merged bytes");
            done += len;
        }
    }
    operation_data(op);
    return 0;
}

static int ranges_commit(struct value_writer *w, struct operation *op, struct value_meta *meta,
                         uint64_t size, struct error *e)
{
    struct chunk_editor editor = {.writer = w,
                                  .gen = meta->gen,
                                  .version = meta->version + 1,
                                  .number = UINT64_MAX,
                                  .bytes = w->chunk + CHUNK_HEAD};
    int rc = 0;
    if (size < meta->size) {
        meta->cut_version = editor.version;
        rc = value_cut(&editor, size, e);
    }
    for (uint32_t i = 0; rc == 0 && i < op->commit.range_count; i++)
        rc = range_apply(&editor, &op->commit.ranges[i], e);
    if (rc == 0)
        rc = chunk_write(&editor, e);
    meta->version = editor.version;
    meta->size = size;
    if (rc == 0)
        rc = meta_put(w, op, meta, e);
    if (rc == 0 && op->commit.flags & GT_RETURN_MERGED)
        rc = merged_collect(w, meta, op, e);
    return rc;
}

int value_commit(struct value_writer *w, struct operation *op, struct error *e)
{
    struct value_meta meta = {0};
    uint64_t size;
    op->out.len = 0;
    int rc = fence_check(w, op, e);
    if (rc < 0)
        return rc;
    rc = meta_get(w->batch->environment, w->batch->txn, op, &meta, e);
    bool exists = rc == 0;
    if (rc < 0 && rc != -ATOLL_ENOENT)
        return rc;
    if (exists)
        meta_result(&meta, op);
    rc = expectation_check(&op->commit, exists, &meta, e);
    if (rc == 0)
        rc = size_decide(&op->commit, exists, &meta, &size, e);
    if (rc == 0 && !exists)
        rc = meta_make(w, &meta, e);
    if (rc == 0)
        rc = ranges_commit(w, op, &meta, size, e);
    if (rc == 0)
        meta_result(&meta, op);
    return rc;
}

/* ---- entries ---- */

int value_append(struct value_writer *w, struct operation *op, struct error *e)
{
    struct value_meta meta;
    uint8_t key[16];
    int rc = meta_get(w->batch->environment, w->batch->txn, op, &meta, e);
    if (rc == -ATOLL_ENOENT)
        rc = meta_make(w, &meta, e);
    if (rc == 0 && meta.entries_id == 0) {
        meta.entries_id = sequence_take(w->sequence, w->batch, e);
        rc = meta.entries_id ? 0 : e->code;
    }
    if (rc < 0)
        return rc;
    item_key(meta.entries_id, meta.entries, key);
    rc = batch_put(w->batch, TABLE_ENT, key, sizeof key, op->append.bytes, op->append.len, e);
    op->result.value = (int64_t)meta.entries;
    meta.entries++;
    if (rc == 0)
        rc = meta_put(w, op, &meta, e);
    meta_result(&meta, op);
    return rc;
}

int value_clear(struct value_writer *w, struct operation *op, struct error *e)
{
    struct value_meta meta;
    int rc = meta_get(w->batch->environment, w->batch->txn, op, &meta, e);
    if (rc == 0 && meta.entries_id != 0)
        rc = garbage_add(w->batch, TABLE_ENT, meta.entries_id, e);
    if (rc < 0)
        return rc;
    meta.entries_id = meta.entries = 0;
    meta_result(&meta, op);
    return meta_put(w, op, &meta, e);
}

int value_delete(struct value_writer *w, struct operation *op, struct error *e)
{
    struct value_meta meta;
    int rc = meta_get(w->batch->environment, w->batch->txn, op, &meta, e);
    if (rc == 0)
        rc = garbage_add(w->batch, TABLE_VAL, meta.gen, e);
    if (rc == 0 && meta.entries_id != 0)
        rc = garbage_add(w->batch, TABLE_ENT, meta.entries_id, e);
    if (rc == 0)
        rc = batch_delete(w->batch, TABLE_META, op->key, op->key_len, e);
    if (rc == 0)
        meta_result(&meta, op);
    return rc;
}

/* ---- garbage ---- */

int garbage_add(struct batch *b, enum environment_table table, uint64_t id, struct error *e)
{
    uint8_t key[12], number = (uint8_t)table;
    chunk_key(id, 0, key);
    return batch_put(b, TABLE_GONE, key, 8, &number, 1, e);
}

int garbage_collect(struct batch *b, struct error *e)
{
    struct record_range range;
    struct record r;
    MDB_val found;
    uint8_t key[8];
    int rc = range_begin(b->environment, b->txn, TABLE_GONE, "", 0, "", 0, &range, e);
    if (rc < 0)
        return rc;
    rc = range_next(&range, &found, &r, e);
    range_end(&range);
    if (rc <= 0)
        return rc;
    if (found.mv_size != sizeof key || r.len != 1 || r.body[0] >= ENVIRONMENT_TABLES)
        return error_set(e, ATOLL_ECORRUPT, "the store's list of garbage is damaged");
    enum environment_table table = r.body[0];
    memcpy(key, found.mv_data, sizeof key);
    rc = batch_delete_range(b, table, key, sizeof key, sizeof key, GARBAGE_AT_ONCE, e);
    if (rc >= 0 && rc < GARBAGE_AT_ONCE)
        rc = batch_delete(b, TABLE_GONE, key, sizeof key, e);
    return rc < 0 ? rc : 1;
}
