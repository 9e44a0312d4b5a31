/*
 * Directed graphs over numbered nodes, dominators, and a map from pointers to numbers: the tools of
 * lower_flow.c, lower_relax.c and lower_nest.c. Everything takes near-linear time. False means that
 * memory is exhausted.
 */
#ifndef ENGINE_LOWER_GRAPH_H
#define ENGINE_LOWER_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#define GRAPH_NONE UINT32_MAX

/* From pointers to numbers; open addressing, nothing is ever removed. Zero-initialise. */
struct pointer_map {
    const void **keys;
    uint32_t *values;
    uint32_t capacity, count; /* capacity is 0 or a power of two */
};

/* The key is not in the map yet. */
bool pointer_map_put(struct pointer_map *, const void *key, uint32_t value);
uint32_t pointer_map_get(const struct pointer_map *, const void *key); /* GRAPH_NONE: absent */
void pointer_map_free(struct pointer_map *);

struct edge {
    uint32_t from, to;
};

/* Zero-initialise; free edges. */
struct edge_list {
    struct edge *edges;
    uint32_t count, capacity;
};
bool edge_list_add(struct edge_list *, uint32_t from, uint32_t to);

/* The targets of node n are targets[offsets[n]] up to targets[offsets[n + 1]]. */
struct graph {
    uint32_t node_count, *offsets, *targets;
};

/* reverse turns every edge around. Whatever comes of it, the owner calls graph_destroy. */
bool graph_create(const struct edge_list *, uint32_t node_count, bool reverse, struct graph *out);
void graph_destroy(struct graph *);

/* A node's place in a tree: its descendants, itself included, are [first, first + count). A node
 * outside of the tree has count 0. */
struct tree_span {
    uint32_t first, count;
};

static inline bool tree_span_contains(struct tree_span outer, struct tree_span inner)
{
    return inner.count != 0 && inner.first - outer.first < outer.count;
}

/* Numbers a tree. Parents come before their children; node 0 is the root, and parent[0] is not
 * looked at. */
bool graph_tree_spans(const uint32_t *parent, uint32_t count, struct tree_span *spans);

/* The dominator tree from root: one span per node, an empty one for nodes that root does not reach.
 */
bool graph_dominators(const struct graph *successors, const struct graph *predecessors,
                      uint32_t root, struct tree_span *spans);

#endif
