/*
 * Giving checkpoints (checkpoint.h): the trie of a snapshot is cut at the highest nodes below which
 * not more than a chunk lies.
 *
 * Any thread: nothing here changes an object but its hash, under the trie's mutex.
 */
#include "ledger/kv/checkpoint.h"

#include "ledger/kv/manifest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PACED_LEVELS 2 /* below, a node's part is a few pages */

struct kv_checkpoint {
    struct kv_snapshot *snapshot;
    const struct kv_pace *pace; /* while it is opened; may be NULL */
    uint8_t digest[HASH_LEN];
    struct buffer manifest;
    struct kv_object **chunks; /* the nodes to give */
    uint32_t count, capacity;
};

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for a checkpoint of the store");
}

static int chunk_add(struct kv_checkpoint *c, struct kv_object *object, uint32_t level,
                     struct error *e)
{
    if (c->count == c->capacity) {
        uint32_t capacity = c->capacity ? 2 * c->capacity : 64;
        struct kv_object **chunks = realloc(c->chunks, capacity * sizeof *chunks);
        if (!chunks)
            return no_memory(e);
        c->chunks = chunks;
        c->capacity = capacity;
    }
    uint8_t entry[1 + HASH_LEN] = {KV_CUT_CHUNK};
    struct kv_trie *t = c->snapshot->trie;
    pthread_mutex_lock(&t->hash_mutex);
    kv_object_hash(t, object, level, entry + 1);
    pthread_mutex_unlock(&t->hash_mutex);
    c->chunks[c->count++] = object;
    return buffer_append(&c->manifest, entry, sizeof entry) ? 0 : no_memory(e);
}

/* Appends the cut below an object. */
static int cut_append(struct kv_checkpoint *c, struct kv_object *object, uint32_t level,
                      struct error *e)
{
    const struct kv_trie *t = c->snapshot->trie;
    uint64_t pairs, bytes;
    if (c->manifest.len > KV_MANIFEST_MAX)
        return error_set(e, ATOLL_ELIMIT, "the store is too large for a checkpoint");
    kv_object_size(object, &pairs, &bytes);
    if (c->pace && level <= PACED_LEVELS)
        c->pace->wait(c->pace->context);
    uint8_t kind = pairs == 0 ? KV_CUT_EMPTY : KV_CUT_CHILDREN;
    if (pairs > 0 && KV_CHUNK_HEAD + pairs * KV_RECORD_HEAD + bytes <= KV_CHUNK_MAX)
        return chunk_add(c, object, level, e);
    if (!buffer_append(&c->manifest, &kind, 1))
        return no_memory(e);
    if (pairs == 0)
        return 0;
    bool branch = object->kind == KV_BRANCH;
    assert(branch || object->kind == KV_FORK);
    struct kv_object **children =
        branch ? ((struct kv_branch *)object)->child : ((struct kv_fork *)object)->side;
    unsigned count = branch ? 1u << kv_level_bits(t->bits, level) : 2;
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++)
        rc = cut_append(c, children[i], branch ? level + 1 : level, e);
    return rc;
}

static int manifest_make(struct kv_checkpoint *c, struct error *e)
{
    const struct kv_snapshot *s = c->snapshot;
    uint8_t head[KV_MANIFEST_HEAD];
    store_u32(head, KV_MANIFEST_VERSION);
    store_u32(head + 4, s->trie->bits);
    memcpy(head + 8, s->trie->bucket_key, SIPHASH_KEY_LEN);
    store_u64(head + 24, s->pairs);
    if (!buffer_append(&c->manifest, head, sizeof head))
        return no_memory(e);
    int rc = cut_append(c, s->root, 0, e);
    if (rc < 0)
        return rc;
    if (c->manifest.len > KV_MANIFEST_MAX)
        return error_set(e, ATOLL_ELIMIT, "the store is too large for a checkpoint");
    store_u32(c->manifest.data + 32, c->count);
    return 0;
}

int kv_checkpoint_open(struct kv_snapshot *s, const struct kv_pace *pace,
                       struct kv_checkpoint **out, struct error *e)
{
    *out = NULL;
    struct kv_checkpoint *c = malloc(sizeof *c);
    if (!c) {
        kv_snapshot_release(s);
        return no_memory(e);
    }
    *c = (struct kv_checkpoint){.snapshot = s, .pace = pace};
    kv_snapshot_digest(s, c->digest);
    int rc = manifest_make(c, e);
    if (rc < 0) {
        kv_checkpoint_close(c);
        return rc;
    }
    c->pace = NULL;
    *out = c;
    return 0;
}

void kv_checkpoint_close(struct kv_checkpoint *c)
{
    if (!c)
        return;
    kv_snapshot_release(c->snapshot);
    buffer_free(&c->manifest);
    free(c->chunks);
    free(c);
}

void kv_checkpoint_digest(const struct kv_checkpoint *c, uint8_t digest[static HASH_LEN])
{
    memcpy(digest, c->digest, HASH_LEN);
}

uint32_t kv_checkpoint_chunks(const struct kv_checkpoint *c)
{
    return c->count + 1;
}

struct chunk_writer {
    struct buffer *out;
    uint32_t pairs;
    bool failed;
};

static void record_append(void *context, const struct kv_record *r)
{
    struct chunk_writer *w = context;
    uint8_t head[KV_RECORD_HEAD];
    uint16_t name_len = (uint16_t)r->name_len;
    memcpy(head, &name_len, sizeof name_len);
    store_u32(head + 2, (uint32_t)r->value.len);
    w->pairs++;
    w->failed |= !buffer_append(w->out, head, sizeof head) ||
                 !buffer_append(w->out, r->name, r->name_len) ||
                 !buffer_append(w->out, r->value.data, r->value.len);
}

int kv_checkpoint_chunk(const struct kv_checkpoint *c, uint32_t number, struct buffer *out,
                        struct error *e)
{
    out->len = 0;
    if (number > c->count)
        return error_set(e, ATOLL_ERANGE, "the checkpoint has no chunk %u, only %u", number,
                         c->count);
    if (number == 0)
        return buffer_append(out, c->manifest.data, c->manifest.len) ? 0 : no_memory(e);
    struct chunk_writer w = {.out = out};
    w.failed = !buffer_append_u32(out, 0);
    if (!w.failed)
        kv_object_each(c->chunks[number - 1], record_append, &w);
    if (w.failed)
        return no_memory(e);
    store_u32(out->data, w.pairs);
    assert(out->len <= KV_CHUNK_MAX);
    return 0;
}
