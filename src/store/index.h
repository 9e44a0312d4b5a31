/* A hash index through its members, and the hash it goes by. Tenants choose keys, so the hash is
 * seeded: whoever does not know the seed cannot make keys that collide. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_node {
    struct index_node *next;
    uint64_t hash;
};

/* The owner initialises it with index_init and ends it with index_free, then empty. Members belong
 * to the caller, who compares them: hash equality is only likely equality. */
struct index {
    struct index_node **buckets;
    size_t bucket_count, count; /* bucket_count is a power of two */
    uint64_t seed;
};

/* False when memory or randomness is missing. */
bool index_init(struct index *);
void index_free(struct index *);
uint64_t index_hash(const struct index *, const void *bytes, size_t len);
/* First member of this hash, or NULL; index_next goes on from one. */
struct index_node *index_find(const struct index *, uint64_t hash);
struct index_node *index_next(const struct index_node *);
/* node->hash is set. When memory is missing, chains get longer instead. */
void index_add(struct index *, struct index_node *node);
void index_remove(struct index *, struct index_node *node);

#endif
