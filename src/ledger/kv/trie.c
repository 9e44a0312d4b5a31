/*
 * Finding and changing pairs in the trie (trie.h). A change walks from the root to the page, making
 * every object on its way the trie's own and forgetting its hash, and then edits the page in place.
 */
#include "ledger/kv/trie.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_CAPACITY_MIN 128u
#define PREFETCH_LINES    3 /* of 64 bytes: a page's head and about 25 slots */

static bool is_shared(const struct kv_trie *t, const struct kv_object *object)
{
    return object->birth <= t->shared_epoch;
}

static void object_init(const struct kv_trie *t, struct kv_object *object, enum kv_object_kind kind)
{
    object->birth = t->epoch;
    object->retired_next = NULL;
    object->kind = (uint8_t)kind;
    object->hashed = false;
}

/* ---- names ---- */

void kv_name_of(const struct kv_trie *t, const void *name, size_t len, struct kv_name *out)
{
    assert(len >= 1 && len <= KV_NAME_MAX);
    memcpy(out->bytes, name, len);
    out->len = len;
    out->hash = siphash(t->bucket_key, out->bytes, len);
}

void kv_name_make(const struct kv_trie *t, uint8_t table, const void *key, size_t key_len,
                  struct kv_name *out)
{
    assert(key_len <= KV_KEY_MAX);
    out->bytes[0] = table;
    if (key_len > 0)
        memcpy(out->bytes + 1, key, key_len);
    out->len = key_len + 1;
    out->hash = siphash(t->bucket_key, out->bytes, out->len);
}

uint32_t kv_level_bits(uint32_t bits, uint32_t level)
{
    return level == 0 && bits % 4 != 0 ? bits % 4 : 4;
}

/* Which child of a branch at this level leads to the bucket. */
static unsigned child_of(const struct kv_trie *t, uint64_t hash, uint32_t level)
{
    uint32_t below = 4 * (t->levels - 1 - level); /* bits that lower levels take */
    uint32_t mask = (1u << kv_level_bits(t->bits, level)) - 1;
    return (unsigned)(hash >> below) & mask;
}

unsigned kv_fork_bit(const uint8_t name_hash[static HASH_LEN], uint32_t depth)
{
    return name_hash[depth / 8] >> (7 - depth % 8) & 1u;
}

/* ---- pages ---- */

static size_t value_room(size_t value_len)
{
    return value_len > KV_INLINE_MAX ? sizeof(struct kv_blob *) : value_len;
}

static struct kv_blob *blob_at(const uint8_t *value)
{
    struct kv_blob *blob;
    memcpy(&blob, value, sizeof blob);
    return blob;
}

static struct kv_record page_record(const struct kv_page *p, unsigned index)
{
    const uint8_t *at = p->data + p->slot[index].offset;
    struct kv_record r = {.name = at + KV_RECORD_HEAD, .name_len = load_u16(at)};
    const uint8_t *value = r.name + r.name_len;
    r.value.len = load_u32(at + 2);
    r.value.data = r.value.len > KV_INLINE_MAX ? blob_at(value)->data : value;
    return r;
}

static size_t record_size(const uint8_t *at)
{
    return KV_RECORD_HEAD + load_u16(at) + value_room(load_u32(at + 2));
}

static uint16_t print_of(const struct kv_name *name)
{
    return (uint16_t)(name->hash >> 48);
}

/* Which record has the name; p->count: none. */
static unsigned page_find(const struct kv_page *p, const struct kv_name *name)
{
    uint16_t print = print_of(name);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->slot[i].print != print)
            continue;
        const uint8_t *at = p->data + p->slot[i].offset;
        if (load_u16(at) == name->len && memcmp(at + KV_RECORD_HEAD, name->bytes, name->len) == 0)
            return i;
    }
    return p->count;
}

/* Where the name is, or would be, among the records. */
static unsigned page_search(const struct kv_page *p, const uint8_t *name, size_t len, bool *found)
{
    unsigned low = 0, high = p->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        const uint8_t *at = p->data + p->slot[middle].offset;
        size_t other = load_u16(at);
        int order = memcmp(at + KV_RECORD_HEAD, name, other < len ? other : len);
        if (order == 0 && other == len) {
            *found = true;
            return middle;
        }
        if (order < 0 || (order == 0 && other < len))
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static struct kv_page *page_create(const struct kv_trie *t, uint32_t capacity)
{
    struct kv_page *p = malloc(sizeof *p + capacity);
    if (!p)
        return NULL;
    object_init(t, &p->object, KV_PAGE);
    p->bytes = 0;
    p->used = 0;
    p->capacity = capacity;
    p->count = 0;
    p->blobs = 0;
    return p;
}

/* The page at *at, not shared and with room for so many more bytes; NULL: no memory. */
static struct kv_page *page_own(struct kv_trie *t, struct kv_object **at, size_t extra)
{
    struct kv_page *p = (struct kv_page *)*at;
    if (p && !is_shared(t, *at) && p->capacity - p->used >= extra)
        return p;
    size_t needed = (p ? p->used : 0) + extra;
    size_t capacity = PAGE_CAPACITY_MIN;
    /* Steps of a quarter: little is lost in a million pages, and few inserts copy. */
    while (capacity < needed)
        capacity += capacity / 4 / 16 * 16 + 16;
    struct kv_page *own = page_create(t, (uint32_t)capacity);
    if (!own)
        return NULL;
    if (p) {
        own->bytes = p->bytes;
        own->used = p->used;
        own->count = p->count;
        own->blobs = p->blobs;
        memcpy(own->slot, p->slot, p->count * sizeof p->slot[0]);
        memcpy(own->data, p->data, p->used);
        kv_trie_drop(t, &p->object);
    }
    *at = &own->object;
    return own;
}

/* Replaces `old` bytes of the data at `at` by a hole of `new` bytes, for record `index`. */
static void page_gap(struct kv_page *p, unsigned index, size_t at, size_t old, size_t new)
{
    memmove(p->data + at + new, p->data + at + old, p->used - at - old);
    p->used = (uint32_t)(p->used - old + new);
    for (unsigned i = index + 1; i < p->count; i++)
        p->slot[i].offset = (uint16_t)(p->slot[i].offset - old + new);
}

static bool value_write(struct kv_trie *t, struct kv_page *p, uint8_t *to, const uint8_t *value,
                        size_t len)
{
    if (len <= KV_INLINE_MAX) {
        if (len > 0)
            memcpy(to, value, len);
        return true;
    }
    struct kv_blob *blob = malloc(sizeof *blob + len);
    /* The record must not be taken for one with a blob. */
    if (!blob)
        return false;
    object_init(t, &blob->object, KV_BLOB);
    blob->len = (uint32_t)len;
    memcpy(blob->data, value, len);
    memcpy(to, &blob, sizeof blob);
    p->blobs++;
    return true;
}

static void value_drop(struct kv_trie *t, struct kv_page *p, uint8_t *record)
{
    if (load_u32(record + 2) <= KV_INLINE_MAX)
        return;
    kv_trie_drop(t, &blob_at(record + KV_RECORD_HEAD + load_u16(record))->object);
    p->blobs--;
}

/* Puts a value in the place of another. */
static bool page_replace(struct kv_trie *t, struct kv_object **at, unsigned index,
                         const uint8_t *value, size_t len)
{
    const struct kv_page *shared = (const struct kv_page *)*at;
    size_t before = load_u32(shared->data + shared->slot[index].offset + 2);
    size_t old = value_room(before), new = value_room(len);
    struct kv_page *p = page_own(t, at, new > old ? new - old : 0);
    if (!p)
        return false;
    uint8_t *record = p->data + p->slot[index].offset;
    uint8_t *place = record + KV_RECORD_HEAD + load_u16(record);
    value_drop(t, p, record);
    if (new != old)
        page_gap(p, index, (size_t)(place - p->data), old, new);
    store_u32(record + 2, 0);
    if (!value_write(t, p, place, value, len))
        return false;
    store_u32(record + 2, (uint32_t)len);
    p->bytes = p->bytes - before + len;
    p->object.hashed = false;
    return true;
}

static bool page_insert(struct kv_trie *t, struct kv_object **at, unsigned index,
                        const struct kv_name *name, struct kv_value value)
{
    size_t size = KV_RECORD_HEAD + name->len + value_room(value.len);
    struct kv_page *p = page_own(t, at, size);
    if (!p)
        return false;
    assert(p->count < KV_PAGE_PAIRS);
    size_t place = index < p->count ? p->slot[index].offset : p->used;
    memmove(p->slot + index + 1, p->slot + index, (p->count - index) * sizeof p->slot[0]);
    p->slot[index] = (struct kv_slot){print_of(name), (uint16_t)place};
    p->count++;
    page_gap(p, index, place, 0, size);
    uint8_t *record = p->data + place;
    uint16_t name_len = (uint16_t)name->len;
    memcpy(record, &name_len, sizeof name_len);
    store_u32(record + 2, 0);
    memcpy(record + KV_RECORD_HEAD, name->bytes, name->len);
    if (!value_write(t, p, record + KV_RECORD_HEAD + name->len, value.data, value.len))
        return false;
    store_u32(record + 2, (uint32_t)value.len);
    p->bytes += name->len + value.len;
    p->object.hashed = false;
    return true;
}

static bool page_remove(struct kv_trie *t, struct kv_object **at, unsigned index)
{
    struct kv_page *p = page_own(t, at, 0);
    if (!p)
        return false;
    uint8_t *record = p->data + p->slot[index].offset;
    p->bytes -= load_u16(record) + load_u32(record + 2);
    value_drop(t, p, record);
    page_gap(p, index, p->slot[index].offset, record_size(record), 0);
    p->count--;
    memmove(p->slot + index, p->slot + index + 1, (p->count - index) * sizeof p->slot[0]);
    p->object.hashed = false;
    if (p->count == 0) {
        kv_trie_drop(t, &p->object);
        *at = NULL;
    }
    return true;
}

/* ---- from pages to forks and back ---- */

static bool fits_page(uint64_t pairs, uint64_t bytes)
{
    return pairs <= 1 || (pairs <= KV_PAGE_PAIRS && bytes <= KV_PAGE_BYTES);
}

/* Adds a record to a page that others are being moved to, at its end; a blob moves with it. */
static bool page_adopt(struct kv_trie *t, struct kv_object **at, const struct kv_page *from,
                       unsigned number)
{
    const uint8_t *record = from->data + from->slot[number].offset;
    size_t size = record_size(record), name_len = load_u16(record);
    struct kv_page *p = page_own(t, at, size);
    if (!p)
        return false;
    bool found;
    unsigned index = page_search(p, record + KV_RECORD_HEAD, name_len, &found);
    assert(!found && p->count < KV_PAGE_PAIRS);
    size_t place = index < p->count ? p->slot[index].offset : p->used;
    memmove(p->slot + index + 1, p->slot + index, (p->count - index) * sizeof p->slot[0]);
    p->slot[index] = (struct kv_slot){from->slot[number].print, (uint16_t)place};
    p->count++;
    page_gap(p, index, place, 0, size);
    memcpy(p->data + place, record, size);
    p->bytes += name_len + load_u32(record + 2);
    p->blobs = (uint16_t)(p->blobs + (load_u32(record + 2) > KV_INLINE_MAX));
    return true;
}

/* Makes a fork of the page at *at, by bit `depth`. */
static bool page_split(struct kv_trie *t, struct kv_object **at, uint32_t depth)
{
    struct kv_page *p = (struct kv_page *)*at;
    struct kv_fork *fork = malloc(sizeof *fork);
    if (!fork)
        return false;
    object_init(t, &fork->object, KV_FORK);
    fork->pairs = p->count;
    fork->bytes = p->bytes;
    fork->side[0] = fork->side[1] = NULL;
    bool whole = true;
    for (unsigned i = 0; i < p->count && whole; i++) {
        const uint8_t *record = p->data + p->slot[i].offset;
        uint8_t hash[HASH_LEN];
        hash_sha256(record + KV_RECORD_HEAD, load_u16(record), hash);
        whole = page_adopt(t, &fork->side[kv_fork_bit(hash, depth)], p, i);
    }
    if (!whole) {
        free(fork->side[0]);
        free(fork->side[1]);
        free(fork);
        return false;
    }
    kv_trie_drop(t, &p->object);
    *at = &fork->object;
    return true;
}

/* Copies all records below an object to the page at *to, but for the one of this name. */
static bool object_gather(struct kv_trie *t, const struct kv_object *object,
                          const struct kv_name *but, struct kv_object **to)
{
    if (!object)
        return true;
    if (object->kind == KV_FORK) {
        const struct kv_fork *fork = (const struct kv_fork *)object;
        return object_gather(t, fork->side[0], but, to) && object_gather(t, fork->side[1], but, to);
    }
    const struct kv_page *p = (const struct kv_page *)object;
    for (unsigned i = 0; i < p->count; i++) {
        const uint8_t *record = p->data + p->slot[i].offset;
        bool skipped = load_u16(record) == but->len &&
                       memcmp(record + KV_RECORD_HEAD, but->bytes, but->len) == 0;
        if (!skipped && !page_adopt(t, to, p, i))
            return false;
    }
    return true;
}

/* Drops the forks and pages below, whose blobs live on elsewhere, but for the blob of this name. */
static void object_leave(struct kv_trie *t, struct kv_object *object, const struct kv_name *name)
{
    if (!object)
        return;
    if (object->kind == KV_FORK) {
        struct kv_fork *fork = (struct kv_fork *)object;
        object_leave(t, fork->side[0], name);
        object_leave(t, fork->side[1], name);
    } else {
        const struct kv_page *p = (const struct kv_page *)object;
        bool found;
        unsigned index = page_search(p, name->bytes, name->len, &found);
        const uint8_t *record = found ? p->data + p->slot[index].offset : NULL;
        if (record && load_u32(record + 2) > KV_INLINE_MAX)
            kv_trie_drop(t, &blob_at(record + KV_RECORD_HEAD + name->len)->object);
    }
    kv_trie_drop(t, object);
}

/* ---- the way down ---- */

static struct kv_branch *branch_own(struct kv_trie *t, struct kv_object **at)
{
    struct kv_branch *b = (struct kv_branch *)*at;
    if (!b || is_shared(t, *at)) {
        struct kv_branch *own = malloc(sizeof *own);
        if (!own)
            return NULL;
        memset(own->child, 0, sizeof own->child);
        if (b) {
            memcpy(own->child, b->child, sizeof own->child);
            kv_trie_drop(t, &b->object);
        }
        object_init(t, &own->object, KV_BRANCH);
        *at = &own->object;
        b = own;
    }
    b->object.hashed = false;
    return b;
}

static struct kv_fork *fork_own(struct kv_trie *t, struct kv_object **at)
{
    struct kv_fork *f = (struct kv_fork *)*at;
    if (is_shared(t, *at)) {
        struct kv_fork *own = malloc(sizeof *own);
        if (!own)
            return NULL;
        own->pairs = f->pairs;
        own->bytes = f->bytes;
        own->side[0] = f->side[0];
        own->side[1] = f->side[1];
        object_init(t, &own->object, KV_FORK);
        kv_trie_drop(t, &f->object);
        *at = &own->object;
        f = own;
    }
    f->object.hashed = false;
    return f;
}

/* What a change does to the sums of everything on its way. */
struct change {
    const struct kv_name *name;
    const uint8_t *value; /* NULL: remove */
    size_t value_len;
    bool there;
    uint64_t pairs_less, pairs_more, bytes_less, bytes_more;
};

static bool page_change(struct kv_trie *t, struct kv_object **at, const struct change *c)
{
    const struct kv_page *p = (const struct kv_page *)*at;
    bool found = false;
    unsigned index = 0;
    if (c->there)
        index = page_find(p, c->name);
    else if (p)
        index = page_search(p, c->name->bytes, c->name->len, &found);
    assert(!found && (!c->there || index < p->count));
    if (!c->value)
        return page_remove(t, at, index);
    if (c->there)
        return page_replace(t, at, index, c->value, c->value_len);
    return page_insert(t, at, index, c->name, (struct kv_value){c->value, c->value_len});
}

static void object_sums(const struct kv_object *object, uint64_t *pairs, uint64_t *bytes)
{
    *pairs = *bytes = 0;
    if (object && object->kind == KV_FORK) {
        *pairs = ((const struct kv_fork *)object)->pairs;
        *bytes = ((const struct kv_fork *)object)->bytes;
    } else if (object) {
        *pairs = ((const struct kv_page *)object)->count;
        *bytes = ((const struct kv_page *)object)->bytes;
    }
}

/* Makes a page of the fork at *at, with the change done. */
static bool fork_collapse(struct kv_trie *t, struct kv_object **at, const struct change *c)
{
    struct kv_object *page = NULL;
    bool whole = object_gather(t, *at, c->name, &page);
    if (whole && c->value) {
        bool found = false;
        unsigned index = 0;
        if (page)
            index = page_search((const struct kv_page *)page, c->name->bytes, c->name->len, &found);
        whole = page_insert(t, &page, index, c->name, (struct kv_value){c->value, c->value_len});
    }
    if (!whole) {
        free(page);
        return false;
    }
    object_leave(t, *at, c->name);
    *at = page;
    return true;
}

/* A change within a bucket. */
static bool bucket_change(struct kv_trie *t, struct kv_object **at, const struct change *c)
{
    uint8_t hash[HASH_LEN];
    bool hashed = false;
    for (uint32_t depth = 0;; depth++) {
        uint64_t pairs, bytes;
        object_sums(*at, &pairs, &bytes);
        pairs = pairs - c->pairs_less + c->pairs_more;
        bytes = bytes - c->bytes_less + c->bytes_more;
        bool is_fork = *at && (*at)->kind == KV_FORK;
        if (fits_page(pairs, bytes))
            return is_fork ? fork_collapse(t, at, c) : page_change(t, at, c);
        /* 65 names whose SHA-256 is the same are not to be had. */
        assert(depth < KV_FORK_DEPTH);
        if (!is_fork && !page_split(t, at, depth))
            return false;
        struct kv_fork *fork = fork_own(t, at);
        if (!fork)
            return false;
        fork->pairs = pairs;
        fork->bytes = bytes;
        if (!hashed)
            hash_sha256(c->name->bytes, c->name->len, hash);
        hashed = true;
        at = &fork->side[kv_fork_bit(hash, depth)];
    }
}

/* ---- the trie ---- */

int kv_trie_create(struct kv_trie *t, uint32_t bits, const uint8_t key[static SIPHASH_KEY_LEN],
                   struct error *e)
{
    if (bits > KV_BUCKET_BITS_MAX)
        return error_set(e, ATOLL_EINVAL, "a store has at most 2^%d buckets, not 2^%u",
                         KV_BUCKET_BITS_MAX, bits);
    *t = (struct kv_trie){.bits = bits, .levels = (bits + 3) / 4, .epoch = 1};
    memcpy(t->bucket_key, key, SIPHASH_KEY_LEN);
    if (pthread_mutex_init(&t->hash_mutex, NULL) != 0)
        return error_set(e, ATOLL_ENOMEM, "cannot make a store: out of memory");
    kv_hash_empty(t->empty);
    return 0;
}

/* Everything below an object leaves the trie; snapshots that reach it keep it. */
static void object_drop(struct kv_trie *t, struct kv_object *object)
{
    if (!object)
        return;
    if (object->kind == KV_BRANCH) {
        for (unsigned i = 0; i < 16; i++)
            object_drop(t, ((struct kv_branch *)object)->child[i]);
    } else if (object->kind == KV_FORK) {
        object_drop(t, ((struct kv_fork *)object)->side[0]);
        object_drop(t, ((struct kv_fork *)object)->side[1]);
    } else if (object->kind == KV_PAGE) {
        const struct kv_page *p = (const struct kv_page *)object;
        for (unsigned i = 0; i < p->count && p->blobs > 0; i++) {
            const uint8_t *at = p->data + p->slot[i].offset;
            if (load_u32(at + 2) > KV_INLINE_MAX)
                kv_trie_drop(t, &blob_at(at + KV_RECORD_HEAD + load_u16(at))->object);
        }
    }
    kv_trie_drop(t, object);
}

void kv_trie_destroy(struct kv_trie *t)
{
    kv_trie_reap_all(t);
    assert(!t->newest);
    object_drop(t, t->root);
    t->root = NULL;
    pthread_mutex_destroy(&t->hash_mutex);
}

void kv_trie_replace(struct kv_trie *t, struct kv_trie *by)
{
    kv_trie_reap_all(t);
    kv_trie_reap_all(by);
    assert(!by->newest && by->bits == t->bits &&
           memcmp(by->bucket_key, t->bucket_key, SIPHASH_KEY_LEN) == 0);
    object_drop(t, t->root);
    /* What comes was made in epochs of the other trie. Where those are too old here, objects count
     * as shared, and are copied before their first change: that costs, and harms nothing. None may
     * be younger than the next snapshot. */
    if (by->epoch > t->epoch)
        t->epoch = by->epoch;
    t->root = by->root;
    t->pairs = by->pairs;
    t->bytes = by->bytes;
    by->root = NULL;
    by->pairs = by->bytes = 0;
}

bool kv_trie_find(const struct kv_trie *t, const struct kv_name *name, struct kv_value *out)
{
    const struct kv_object *object = t->root;
    for (uint32_t level = 0; object && level < t->levels; level++)
        object = ((const struct kv_branch *)object)->child[child_of(t, name->hash, level)];
    if (object && object->kind == KV_FORK) {
        uint8_t hash[HASH_LEN];
        hash_sha256(name->bytes, name->len, hash);
        for (uint32_t depth = 0; object && object->kind == KV_FORK; depth++)
            object = ((const struct kv_fork *)object)->side[kv_fork_bit(hash, depth)];
    }
    if (!object)
        return false;
    const struct kv_page *p = (const struct kv_page *)object;
    unsigned index = page_find(p, name);
    if (index == p->count)
        return false;
    *out = page_record(p, index).value;
    return true;
}

void kv_trie_prefetch(const struct kv_trie *t, uint64_t hash, bool page)
{
    const struct kv_object *object = t->root, *const *place = NULL;
    for (uint32_t level = 0; object && level < t->levels; level++) {
        const struct kv_branch *b = (const struct kv_branch *)object;
        place = (const struct kv_object *const *)&b->child[child_of(t, hash, level)];
        if (level + 1 == t->levels && !page)
            __builtin_prefetch(place);
        else
            object = *place;
    }
    for (size_t line = 0; page && object && line < PREFETCH_LINES; line++)
        __builtin_prefetch((const uint8_t *)object + 64 * line);
}

bool kv_trie_put(struct kv_trie *t, const struct kv_name *name, const uint8_t *value,
                 size_t value_len)
{
    struct kv_value old;
    struct change c = {.name = name, .value = value, .value_len = value_len};
    c.there = kv_trie_find(t, name, &old);
    if (!c.there && !value)
        return true;
    assert(value_len <= KV_VALUE_MAX);
    if (c.there) {
        c.pairs_less = 1;
        c.bytes_less = name->len + old.len;
    }
    if (value) {
        c.pairs_more = 1;
        c.bytes_more = name->len + value_len;
    }
    t->pairs = t->pairs - c.pairs_less + c.pairs_more;
    t->bytes = t->bytes - c.bytes_less + c.bytes_more;
    struct kv_object **at = &t->root;
    for (uint32_t level = 0; level < t->levels; level++) {
        struct kv_branch *b = branch_own(t, at);
        if (!b)
            return false;
        at = &b->child[child_of(t, name->hash, level)];
    }
    return bucket_change(t, at, &c);
}

/* ---- walking ---- */

void kv_object_each(const struct kv_object *object, kv_record_visit *visit, void *context)
{
    if (!object)
        return;
    if (object->kind == KV_BRANCH) {
        for (unsigned i = 0; i < 16; i++)
            kv_object_each(((const struct kv_branch *)object)->child[i], visit, context);
    } else if (object->kind == KV_FORK) {
        kv_object_each(((const struct kv_fork *)object)->side[0], visit, context);
        kv_object_each(((const struct kv_fork *)object)->side[1], visit, context);
    } else {
        const struct kv_page *p = (const struct kv_page *)object;
        for (unsigned i = 0; i < p->count; i++) {
            struct kv_record r = page_record(p, i);
            visit(context, &r);
        }
    }
}

void kv_object_size(const struct kv_object *object, uint64_t *pairs, uint64_t *bytes)
{
    if (!object || object->kind != KV_BRANCH) {
        object_sums(object, pairs, bytes);
        return;
    }
    const struct kv_branch *b = (const struct kv_branch *)object;
    assert(object->hashed);
    *pairs = b->pairs;
    *bytes = b->bytes;
}
