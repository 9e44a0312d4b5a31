/* The hash index; see index.h. Buckets double when members outnumber them. */
#define _GNU_SOURCE
#include "store/index.h"

#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#define BUCKETS_AT_FIRST 64

bool index_init(struct index *x)
{
    *x = (struct index){.bucket_count = BUCKETS_AT_FIRST};
    if (getrandom(&x->seed, sizeof x->seed, 0) != (ssize_t)sizeof x->seed)
        return false;
    x->buckets = calloc(x->bucket_count, sizeof(struct index_node *));
    return x->buckets != NULL;
}

void index_free(struct index *x)
{
    assert(x->count == 0);
    free(x->buckets);
    x->buckets = NULL;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t index_hash(const struct index *x, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint64_t hash = mix(x->seed ^ len, 0x9e3779b97f4a7c15u);
    for (; len >= 8; p += 8, len -= 8)
        hash = mix(hash ^ load_u64(p), x->seed | 1) + 0xd1b54a32d192ed03u;
    uint64_t rest = 0;
    memcpy(&rest, p, len);
    hash = mix(hash ^ rest, x->seed | 1) + 0xd1b54a32d192ed03u;
    return mix(hash, 0x8cb92ba72f3d8dd7u);
}

static struct index_node **bucket_of(const struct index *x, uint64_t hash)
{
    return &x->buckets[hash & (x->bucket_count - 1)];
}

static struct index_node *chain_find(struct index_node *node, uint64_t hash)
{
    while (node && node->hash != hash)
        node = node->next;
    return node;
}

struct index_node *index_find(const struct index *x, uint64_t hash)
{
    return chain_find(*bucket_of(x, hash), hash);
}

struct index_node *index_next(const struct index_node *node)
{
    return chain_find(node->next, node->hash);
}

static void buckets_double(struct index *x)
{
    struct index larger = *x;
    larger.bucket_count *= 2;
    larger.buckets = calloc(larger.bucket_count, sizeof(struct index_node *));
    if (!larger.buckets)
        return;
    for (size_t i = 0; i < x->bucket_count; i++) {
        for (struct index_node *node = x->buckets[i], *next; node; node = next) {
            struct index_node **bucket = bucket_of(&larger, node->hash);
            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    }
    free(x->buckets);
    *x = larger;
}

void index_add(struct index *x, struct index_node *node)
{
    if (x->count >= x->bucket_count)
        buckets_double(x);
    struct index_node **bucket = bucket_of(x, node->hash);
    node->next = *bucket;
    *bucket = node;
    x->count++;
}

void index_remove(struct index *x, struct index_node *node)
{
    struct index_node **at = bucket_of(x, node->hash);
    while (*at != node) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = node->next;
    x->count--;
}
