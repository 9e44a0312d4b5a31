/*
 * Taking checkpoints (checkpoint.h). The manifest must fold to the digest. A chunk is put into a
 * store of its own, every name where the manifest has it, and must hash to what the manifest says;
 * then its pairs go into the store that is being made. The trie's shape depends on its pairs alone,
 * so what hashes right apart is right in its place.
 */
#include "ledger/kv/checkpoint.h"
#include "ledger/kv/manifest.h"
#include "ledger/kv/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Where a node of the cut lies in the trie. */
struct place {
    uint32_t level;  /* of branches above it */
    uint32_t depth;  /* of forks above it */
    uint64_t bucket; /* the number's upper bits, as many as those branches take */
    uint8_t path[HASH_LEN];
};

struct slot {
    struct place place;
    uint8_t hash[HASH_LEN];
    bool there;
};

struct kv_transfer {
    uint8_t digest[HASH_LEN];
    struct kv *kv;
    bool has_manifest;
    uint64_t pairs;
    struct slot *slots;
    uint32_t count, missing;
};

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to take in a checkpoint of the store");
}

static int is_false(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the checkpoint's %s is not what its digest vouches for",
                     what);
}

int kv_transfer_open(const uint8_t digest[static HASH_LEN], uint32_t bucket_bits,
                     const uint8_t bucket_key[static SIPHASH_KEY_LEN], struct kv_transfer **out,
                     struct error *e)
{
    *out = NULL;
    struct kv_transfer *t = malloc(sizeof *t);
    if (!t)
        return no_memory(e);
    *t = (struct kv_transfer){0};
    memcpy(t->digest, digest, HASH_LEN);
    int rc = kv_create(bucket_bits, bucket_key, &t->kv, e);
    if (rc < 0) {
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void kv_transfer_close(struct kv_transfer *t)
{
    if (!t)
        return;
    kv_destroy(t->kv);
    free(t->slots);
    free(t);
}

/* ---- the manifest ---- */

struct cut_reader {
    const struct kv_trie *trie;
    const uint8_t *at, *end;
    struct slot *slots; /* NULL: only count */
    uint32_t count;
};

/* Bits of a bucket's number that branches down to this level take. */
static uint32_t bits_above(const struct kv_trie *t, uint32_t level)
{
    return level == 0 ? 0 : t->bits - 4 * (t->levels - level);
}

static void path_bit_set(uint8_t path[static HASH_LEN], uint32_t depth, unsigned bit)
{
    uint8_t mask = (uint8_t)(0x80u >> depth % 8);
    path[depth / 8] = (uint8_t)(bit ? path[depth / 8] | mask : path[depth / 8] & ~mask);
}

/* Reads a node and what is below and hashes it. False: malformed. Recursion: at most KV_LEVELS_MAX
 * branches and KV_FORK_DEPTH forks. */
static bool cut_read(struct cut_reader *r, const struct place *place, uint8_t hash[static HASH_LEN])
{
    const struct kv_trie *t = r->trie;
    if (r->at == r->end)
        return false;
    uint8_t kind = *r->at++;
    if (kind == KV_CUT_EMPTY) {
        memcpy(hash, t->empty[t->bits - bits_above(t, place->level)], HASH_LEN);
        return true;
    }
    if (kind == KV_CUT_CHUNK) {
        if (r->end - r->at < HASH_LEN)
            return false;
        memcpy(hash, r->at, HASH_LEN);
        r->at += HASH_LEN;
        if (r->slots) {
            r->slots[r->count] = (struct slot){.place = *place};
            memcpy(r->slots[r->count].hash, hash, HASH_LEN);
        }
        r->count++;
        return true;
    }
    if (kind != KV_CUT_CHILDREN)
        return false;
    struct place child = *place;
    uint8_t hashes[16][HASH_LEN];
    if (place->level < t->levels) {
        uint32_t bits = kv_level_bits(t->bits, place->level);
        const uint8_t *children[16] = {NULL};
        child.level++;
        for (unsigned i = 0; i < 1u << bits; i++) {
            child.bucket = place->bucket << bits | i;
            if (!cut_read(r, &child, hashes[i]))
                return false;
            children[i] = hashes[i];
        }
        kv_branch_hash(t->empty, bits, t->bits - bits_above(t, child.level), children, hash);
        return true;
    }
    if (place->depth == KV_FORK_DEPTH)
        return false;
    child.depth++;
    for (unsigned i = 0; i < 2; i++) {
        path_bit_set(child.path, place->depth, i);
        if (!cut_read(r, &child, hashes[i]))
            return false;
    }
    kv_fork_hash(hashes, hash);
    return true;
}

static int manifest_take(struct kv_transfer *t, const uint8_t *bytes, size_t len, struct error *e)
{
    const struct kv_trie *trie = &t->kv->trie;
    if (len < KV_MANIFEST_HEAD || len > KV_MANIFEST_MAX || load_u32(bytes) != KV_MANIFEST_VERSION ||
        load_u32(bytes + 4) != trie->bits ||
        memcmp(bytes + 8, trie->bucket_key, SIPHASH_KEY_LEN) != 0)
        return is_false(e, "manifest");
    struct place root = {0};
    uint8_t hash[HASH_LEN], digest[HASH_LEN];
    struct cut_reader count = {.trie = trie, .at = bytes + KV_MANIFEST_HEAD, .end = bytes + len};
    struct cut_reader fill = count;
    if (!cut_read(&count, &root, hash) || count.at != count.end ||
        count.count != load_u32(bytes + 32))
        return is_false(e, "manifest");
    kv_store_hash(trie->bits, load_u64(bytes + 24), hash, digest);
    if (!hash_equal(digest, t->digest))
        return is_false(e, "manifest");
    t->slots = malloc((count.count + 1) * sizeof *t->slots);
    if (!t->slots)
        return no_memory(e);
    fill.slots = t->slots;
    bool whole = cut_read(&fill, &root, hash);
    assert(whole && fill.count == count.count);
    t->count = t->missing = count.count;
    t->pairs = load_u64(bytes + 24);
    t->has_manifest = true;
    return 0;
}

/* ---- chunks ---- */

struct chunk_reader {
    const uint8_t *at, *end;
    uint32_t left;
};

/* len is KV_CHUNK_HEAD or more. */
static struct chunk_reader chunk_begin(const uint8_t *bytes, size_t len)
{
    return (struct chunk_reader){bytes + KV_CHUNK_HEAD, bytes + len, load_u32(bytes)};
}

/* The next record; false: malformed. */
static bool record_read(struct chunk_reader *r, struct kv_record *out)
{
    if (r->end - r->at < KV_RECORD_HEAD)
        return false;
    size_t name_len = load_u16(r->at), value_len = load_u32(r->at + 2);
    r->at += KV_RECORD_HEAD;
    if (name_len < 1 || name_len > KV_NAME_MAX || value_len > KV_VALUE_MAX ||
        (size_t)(r->end - r->at) < name_len + value_len)
        return false;
    *out = (struct kv_record){r->at, name_len, {r->at + name_len, value_len}};
    r->at += name_len + value_len;
    r->left--;
    return true;
}

static bool place_has(const struct kv_trie *t, const struct place *place,
                      const struct kv_name *name)
{
    uint64_t bucket = name->hash & ((UINT64_C(1) << t->bits) - 1);
    if (bucket >> (t->bits - bits_above(t, place->level)) != place->bucket)
        return false;
    uint8_t hash[HASH_LEN];
    if (place->depth > 0)
        hash_sha256(name->bytes, name->len, hash);
    for (uint32_t depth = 0; depth < place->depth; depth++)
        if (kv_fork_bit(hash, depth) != kv_fork_bit(place->path, depth))
            return false;
    return true;
}

/* The node at a place of a trie that has nothing elsewhere. */
static struct kv_object *place_find(const struct kv_trie *t, const struct place *place)
{
    struct kv_object *object = t->root;
    for (uint32_t level = 0; object && level < place->level; level++) {
        uint32_t below = bits_above(t, place->level) - bits_above(t, level + 1);
        uint32_t mask = (1u << kv_level_bits(t->bits, level)) - 1;
        object = ((struct kv_branch *)object)->child[place->bucket >> below & mask];
    }
    for (uint32_t depth = 0; object && object->kind == KV_FORK && depth < place->depth; depth++)
        object = ((struct kv_fork *)object)->side[kv_fork_bit(place->path, depth)];
    return object;
}

/* Puts a chunk's pairs into a trie of their own and compares. */
static int pairs_check(const struct slot *slot, struct chunk_reader r, struct kv_trie *alone,
                       struct error *e)
{
    struct kv_record record;
    struct kv_name name;
    struct kv_value value;
    while (r.left > 0) {
        if (!record_read(&r, &record))
            return is_false(e, "chunk");
        kv_name_of(alone, record.name, record.name_len, &name);
        if (!place_has(alone, &slot->place, &name) || kv_trie_find(alone, &name, &value))
            return is_false(e, "chunk");
        if (!kv_trie_put(alone, &name, record.value.data, record.value.len))
            return no_memory(e);
    }
    uint8_t hash[HASH_LEN];
    kv_object_hash(alone, place_find(alone, &slot->place), slot->place.level, hash);
    return r.at == r.end && hash_equal(hash, slot->hash) ? 0 : is_false(e, "chunk");
}

static int chunk_check(const struct kv_transfer *t, const struct slot *slot, const uint8_t *bytes,
                       size_t len, struct error *e)
{
    const struct kv_trie *whole = &t->kv->trie;
    struct kv_trie alone;
    if (len < KV_CHUNK_HEAD || len > KV_CHUNK_MAX)
        return is_false(e, "chunk");
    int rc = kv_trie_create(&alone, whole->bits, whole->bucket_key, e);
    if (rc < 0)
        return rc;
    rc = pairs_check(slot, chunk_begin(bytes, len), &alone, e);
    kv_trie_destroy(&alone);
    return rc;
}

static int chunk_take(struct kv_transfer *t, struct slot *slot, const uint8_t *bytes, size_t len,
                      struct error *e)
{
    struct kv_trie *whole = &t->kv->trie;
    int rc = chunk_check(t, slot, bytes, len, e);
    if (rc < 0)
        return rc;
    struct chunk_reader r = chunk_begin(bytes, len);
    while (rc == 0 && r.left > 0) {
        struct kv_record record;
        struct kv_name name;
        bool read = record_read(&r, &record);
        assert(read);
        kv_name_of(whole, record.name, record.name_len, &name);
        if (!kv_trie_put(whole, &name, record.value.data, record.value.len))
            rc = no_memory(e);
    }
    if (rc < 0)
        return rc;
    slot->there = true;
    t->missing--;
    return 0;
}

int kv_transfer_chunk(struct kv_transfer *t, uint32_t number, const void *bytes, size_t len,
                      struct error *e)
{
    if (number == 0 && t->has_manifest)
        return error_set(e, ATOLL_EEXIST, "the checkpoint's manifest is there already");
    if (number == 0)
        return manifest_take(t, bytes, len, e);
    if (!t->has_manifest)
        return error_set(e, ATOLL_EAGAIN, "the checkpoint's manifest must come first");
    if (number > t->count)
        return error_set(e, ATOLL_ERANGE, "the checkpoint has no chunk %u, only %u", number,
                         t->count);
    if (t->slots[number - 1].there)
        return error_set(e, ATOLL_EEXIST, "chunk %u of the checkpoint is there already", number);
    return chunk_take(t, &t->slots[number - 1], bytes, len, e);
}

int kv_transfer_check(const struct kv_transfer *t, uint32_t number, const void *bytes, size_t len,
                      struct error *e)
{
    if (number < 1 || number > t->count)
        return error_set(e, ATOLL_ERANGE, "the checkpoint has no chunk %u, only %u", number,
                         t->count);
    return chunk_check(t, &t->slots[number - 1], bytes, len, e);
}

uint32_t kv_transfer_chunks(const struct kv_transfer *t)
{
    return t->has_manifest ? t->count + 1 : 0;
}

uint32_t kv_transfer_missing(const struct kv_transfer *t, uint32_t from)
{
    if (!t->has_manifest)
        return 0;
    for (uint32_t number = from > 0 ? from : 1; number <= t->count; number++)
        if (!t->slots[number - 1].there)
            return number;
    return t->count + 1;
}

int kv_transfer_finish(struct kv_transfer *t, struct kv **out, struct error *e)
{
    *out = NULL;
    if (!t->has_manifest || t->missing > 0)
        return error_set(e, ATOLL_EAGAIN, "chunks of the checkpoint are missing");
    /* The digest counts the pairs, too, which no single chunk shows. */
    if (t->pairs != t->kv->trie.pairs)
        return is_false(e, "number of pairs");
    *out = t->kv;
    t->kv = NULL;
    return 0;
}
