/*
 * Snapshots, and the end of objects that they reach (trie.h, sharing). An object that leaves the
 * trie was made in some epoch b and leaves in the epoch e that is now: the snapshots of epochs
 * b … e - 1 reach it. It waits with the newest of them, and when that one goes, with the next older
 * one if that reaches it, too.
 */
#include "ledger/kv/trie.h"

#include "ledger/kv/store.h"

#include <stdlib.h>
#include <string.h>

/* Of what only snapshots that are gone reached, so many objects are freed at a time: all at once
 * took 20 ms. And so many for each that came to wait meanwhile. */
#define REAP_LEAST 128
#define REAP_SHARE 4

void kv_trie_drop(struct kv_trie *t, struct kv_object *object)
{
    if (object->birth > t->shared_epoch) {
        free(object);
        return;
    }
    object->retired_next = t->newest->retired;
    t->newest->retired = object;
    t->retired++;
}

/* Frees what only this snapshot reached, which was given back, but not more than `most` objects.
 * Whether that was all. */
static bool snapshot_empty(struct kv_snapshot *s, uint64_t *most)
{
    struct kv_snapshot *older = s->older;
    for (; s->retired && *most > 0; --*most) {
        struct kv_object *object = s->retired;
        s->retired = object->retired_next;
        __builtin_prefetch(s->retired);
        if (older && object->birth <= older->epoch) {
            object->retired_next = older->retired;
            older->retired = object;
        } else {
            free(object);
        }
    }
    return s->retired == NULL;
}

static void reap(struct kv_trie *t, uint64_t most)
{
    for (struct kv_snapshot **at = &t->newest; *at;) {
        struct kv_snapshot *s = *at;
        if (!atomic_load_explicit(&s->released, memory_order_acquire)) {
            at = &s->older;
            continue;
        }
        if (!snapshot_empty(s, &most))
            break;
        *at = s->older;
        free(s);
    }
    t->shared_epoch = t->newest ? t->newest->epoch : 0;
    t->retired = 0;
}

/* An object moves through all snapshots at most: that many times what came keeps what waits small.
 */
void kv_trie_reap(struct kv_trie *t)
{
    reap(t, REAP_LEAST + REAP_SHARE * t->retired);
}

void kv_trie_reap_all(struct kv_trie *t)
{
    reap(t, UINT64_MAX);
}

int kv_snapshot_take(struct kv *kv, struct kv_snapshot **out, struct error *e)
{
    struct kv_trie *t = &kv->trie;
    *out = NULL;
    kv_trie_reap(t);
    struct kv_snapshot *s = malloc(sizeof *s);
    if (!s)
        return error_set(e, ATOLL_ENOMEM, "cannot take a snapshot of the store: out of memory");
    *s = (struct kv_snapshot){.trie = t,
                              .older = t->newest,
                              .root = t->root,
                              .pairs = t->pairs,
                              .bytes = t->bytes,
                              .epoch = t->epoch};
    t->newest = s;
    t->shared_epoch = t->epoch++;
    *out = s;
    return 0;
}

void kv_snapshot_release(struct kv_snapshot *s)
{
    if (s)
        atomic_store_explicit(&s->released, true, memory_order_release);
}

/* The 256 branches two levels below the root, or what there is of them, one after the other. */
void kv_snapshot_hash(struct kv_snapshot *s, const struct kv_pace *pace)
{
    uint8_t digest[HASH_LEN];
    const struct kv_trie *t = s->trie;
    for (unsigned i = 0; t->levels >= 2 && s->root && i < 256; i++) {
        const struct kv_branch *root = (const struct kv_branch *)s->root;
        const struct kv_branch *b = (const struct kv_branch *)root->child[i / 16];
        if (!b || !b->child[i % 16])
            continue;
        pthread_mutex_lock(&s->trie->hash_mutex);
        kv_object_hash(t, b->child[i % 16], 2, digest);
        pthread_mutex_unlock(&s->trie->hash_mutex);
        pace->wait(pace->context);
    }
}

void kv_snapshot_digest(struct kv_snapshot *s, uint8_t digest[static HASH_LEN])
{
    uint8_t root[HASH_LEN];
    pthread_mutex_lock(&s->trie->hash_mutex);
    kv_object_hash(s->trie, s->root, 0, root);
    pthread_mutex_unlock(&s->trie->hash_mutex);
    kv_store_hash(s->trie->bits, s->pairs, root, digest);
}
