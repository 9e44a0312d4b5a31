/*
 * The store: pairs in a trie, and a log that takes back what batches changed (kv.h).
 *
 * The undo log is one run of bytes, a record for every change with the pair as it was before. A
 * batch is a place in it: taking the batch back applies the records behind that place from the end,
 * releasing it drops what lies before the next batch's place.
 */
#include "ledger/kv/kv.h"

#include "ledger/kv/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define UNDO_HEAD 7
#define UNDO_TAIL 4

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "the key-value store is out of memory");
}

int kv_create(uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
              struct kv **out, struct error *e)
{
    *out = NULL;
    struct kv *kv = malloc(sizeof *kv);
    if (!kv)
        return no_memory(e);
    kv->began = kv->in_transaction = false;
    kv->undo = kv->arena = (struct buffer){0};
    kv->undo_start = kv->committed = 0;
    kv->batch_first = kv->batch_count = kv->write_count = kv->write_bytes = 0;
    memset(kv->prefetches, 0, sizeof kv->prefetches);
    kv->prefetch_next = 0;
    int rc = kv_trie_create(&kv->trie, bucket_bits, bucket_key, e);
    if (rc < 0) {
        free(kv);
        return rc;
    }
    *out = kv;
    return 0;
}

void kv_destroy(struct kv *kv)
{
    if (!kv)
        return;
    kv_trie_destroy(&kv->trie);
    buffer_free(&kv->undo);
    buffer_free(&kv->arena);
    free(kv);
}

int kv_preload(struct kv *kv, uint8_t table, const void *key, size_t key_len, const void *value,
               size_t value_len, struct error *e)
{
    assert(!kv->began && value && value_len <= KV_VALUE_MAX);
    struct kv_name name;
    kv_name_make(&kv->trie, table, key, key_len, &name);
    return kv_trie_put(&kv->trie, &name, value, value_len) ? 0 : no_memory(e);
}

#define SORT_BITS 12 /* neighbours in the trie's order that are loaded together */

/* Where a name lies in the order of the trie, roughly. */
static uint32_t sort_place(const struct kv *kv, const struct kv_name *name)
{
    uint64_t bucket = name->hash & ((UINT64_C(1) << kv->trie.bits) - 1);
    return (uint32_t)(bucket << SORT_BITS >> kv->trie.bits);
}

int kv_preload_all(struct kv *kv, uint64_t count, kv_pair_give *pair, void *context,
                   struct error *e)
{
    assert(!kv->began);
    uint64_t *starts = calloc((1u << SORT_BITS) + 1, sizeof *starts);
    uint32_t *places = malloc((count + 1) * sizeof *places);
    uint64_t *order = malloc((count + 1) * sizeof *order);
    struct kv_pair p;
    struct kv_name name;
    int rc = starts && places && order ? 0 : no_memory(e);
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        pair(context, i, &p);
        kv_name_make(&kv->trie, p.table, p.key, p.key_len, &name);
        places[i] = sort_place(kv, &name);
        starts[places[i] + 1]++;
    }
    for (uint32_t i = 0; i < 1u << SORT_BITS && rc == 0; i++)
        starts[i + 1] += starts[i];
    for (uint64_t i = 0; i < count && rc == 0; i++)
        order[starts[places[i]]++] = i;
    for (uint64_t i = 0; i < count && rc == 0; i++) {
        pair(context, order[i], &p);
        rc = kv_preload(kv, p.table, p.key, p.key_len, p.value, p.value_len, e);
    }
    free(order);
    free(places);
    free(starts);
    return rc;
}

void kv_replace(struct kv *kv, struct kv *by, uint64_t s)
{
    assert(!kv->in_transaction && s >= kv->committed);
    kv_trie_replace(&kv->trie, &by->trie);
    kv_destroy(by);
    kv->began = true;
    kv->undo.len = 0;
    kv->undo_start = 0;
    kv->batch_first = kv->batch_count = 0;
    kv->committed = s;
}

bool kv_get(const struct kv *kv, uint8_t table, const void *key, size_t key_len,
            struct kv_value *out)
{
    struct kv_name name;
    if (key_len > KV_KEY_MAX)
        return false;
    kv_name_make(&kv->trie, table, key, key_len, &name);
    return kv_trie_find(&kv->trie, &name, out);
}

void kv_prefetch(struct kv *kv, uint8_t table, const void *key, size_t key_len)
{
    struct kv_name name;
    uint64_t *begun = &kv->prefetches[kv->prefetch_next++ % KV_PREFETCHES];
    kv_trie_prefetch(&kv->trie, *begun, true);
    kv_name_make(&kv->trie, table, key, key_len, &name);
    kv_trie_prefetch(&kv->trie, name.hash, false);
    *begun = name.hash;
}

uint64_t kv_pairs(const struct kv *kv)
{
    return kv->trie.pairs;
}

uint64_t kv_bytes(const struct kv *kv)
{
    return kv->trie.bytes;
}

struct each {
    kv_visit *visit;
    void *context;
};

static void each_record(void *context, const struct kv_record *r)
{
    const struct each *each = context;
    each->visit(each->context, r->name[0], r->name + 1, r->name_len - 1, r->value);
}

void kv_each(const struct kv *kv, kv_visit *visit, void *context)
{
    struct each each = {visit, context};
    kv_object_each(kv->trie.root, each_record, &each);
}

/* ---- batches ---- */

static struct kv_batch *batch_at(struct kv *kv, uint32_t index)
{
    return &kv->batches[(kv->batch_first + index) % KV_BATCHES_MAX];
}

static uint64_t undo_end(const struct kv *kv)
{
    return kv->undo_start + kv->undo.len;
}

int kv_batch_begin(struct kv *kv, uint64_t s, struct error *e)
{
    assert(!kv->in_transaction);
    assert(s > (kv->batch_count > 0 ? batch_at(kv, kv->batch_count - 1)->s : kv->committed));
    if (kv->batch_count == KV_BATCHES_MAX)
        return error_set(e, ATOLL_ELIMIT, "%d batches of the store are not committed",
                         KV_BATCHES_MAX);
    kv_trie_reap(&kv->trie);
    kv->began = true;
    *batch_at(kv, kv->batch_count++) = (struct kv_batch){s, undo_end(kv)};
    return 0;
}

static bool undo_note(struct kv *kv, const struct kv_name *name)
{
    struct kv_value old = {NULL, 0};
    uint8_t there = kv_trie_find(&kv->trie, name, &old);
    uint32_t value_len = (uint32_t)old.len;
    uint16_t name_len = (uint16_t)name->len;
    uint32_t whole = (uint32_t)(UNDO_HEAD + name->len + old.len + UNDO_TAIL);
    if (!buffer_reserve(&kv->undo, whole))
        return false;
    uint8_t *at = kv->undo.data + kv->undo.len;
    memcpy(at, &name_len, sizeof name_len);
    at[2] = there;
    store_u32(at + 3, value_len);
    memcpy(at + UNDO_HEAD, name->bytes, name->len);
    if (value_len > 0)
        memcpy(at + UNDO_HEAD + name->len, old.data, value_len);
    store_u32(at + whole - UNDO_TAIL, whole);
    kv->undo.len += whole;
    return true;
}

int kv_change(struct kv *kv, const struct kv_name *name, const uint8_t *value, size_t value_len,
              struct error *e)
{
    assert(kv->batch_count > 0);
    return undo_note(kv, name) && kv_trie_put(&kv->trie, name, value, value_len) ? 0 : no_memory(e);
}

/* Takes back changes until the undo log ends at `end`. */
static bool undo_apply(struct kv *kv, uint64_t end)
{
    while (undo_end(kv) > end) {
        const uint8_t *tail = kv->undo.data + kv->undo.len - UNDO_TAIL;
        const uint8_t *at = tail + UNDO_TAIL - load_u32(tail);
        struct kv_name name;
        kv_name_of(&kv->trie, at + UNDO_HEAD, load_u16(at), &name);
        const uint8_t *value = at + UNDO_HEAD + name.len;
        if (!kv_trie_put(&kv->trie, &name, at[2] ? value : NULL, load_u32(at + 3)))
            return false;
        kv->undo.len = (size_t)(at - kv->undo.data);
    }
    return true;
}

int kv_rollback(struct kv *kv, uint64_t s, struct error *e)
{
    kv->in_transaction = false;
    if (s < kv->committed)
        return error_set(e, ATOLL_ERANGE, "batch %llu of the store is committed",
                         (unsigned long long)kv->committed);
    while (kv->batch_count > 0 && batch_at(kv, kv->batch_count - 1)->s > s) {
        if (!undo_apply(kv, batch_at(kv, kv->batch_count - 1)->undo))
            return no_memory(e);
        kv->batch_count--;
    }
    return 0;
}

void kv_commit(struct kv *kv, uint64_t s)
{
    while (kv->batch_count > 0 && batch_at(kv, 0)->s <= s) {
        kv->committed = batch_at(kv, 0)->s;
        kv->batch_first = (kv->batch_first + 1) % KV_BATCHES_MAX;
        kv->batch_count--;
    }
    uint64_t start = kv->batch_count > 0 ? batch_at(kv, 0)->undo : undo_end(kv);
    size_t gone = (size_t)(start - kv->undo_start);
    /* Moved only when that frees as much as it moves. */
    if (gone == 0 || gone < kv->undo.len - gone)
        return;
    memmove(kv->undo.data, kv->undo.data + gone, kv->undo.len - gone);
    kv->undo.len -= gone;
    kv->undo_start = start;
}

int kv_system_put(struct kv *kv, uint8_t table, const void *key, size_t key_len, const void *value,
                  size_t value_len, struct error *e)
{
    assert(!kv->in_transaction && table < KV_TABLE_USER && key_len <= KV_KEY_MAX);
    struct kv_name name;
    kv_name_make(&kv->trie, table, key, key_len, &name);
    return kv_change(kv, &name, value, value_len, e);
}
