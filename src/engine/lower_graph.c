/*
 * Graphs and dominators; see lower_graph.h.
 *
 * Dominators: Lengauer and Tarjan, "A fast algorithm for finding dominators in a flowgraph" (1979),
 * the simple version with path compression. No recursion: depth is the input's to choose.
 */
#include "engine/lower_graph.h"

#include <stdlib.h>
#include <string.h>

/* ---- pointers to numbers ---- */

static uint32_t pointer_map_slot(const struct pointer_map *map, const void *key)
{
    uint64_t hash = ((uint64_t)(uintptr_t)key >> 4) * 0x9e3779b97f4a7c15u;
    uint32_t slot = (uint32_t)(hash >> 32) & (map->capacity - 1);
    while (map->keys[slot] && map->keys[slot] != key)
        slot = (slot + 1) & (map->capacity - 1);
    return slot;
}

static bool pointer_map_grow(struct pointer_map *map)
{
    struct pointer_map bigger = {.capacity = map->capacity ? map->capacity * 2 : 64};
    bigger.keys = calloc(bigger.capacity, sizeof *bigger.keys);
    bigger.values = calloc(bigger.capacity, sizeof *bigger.values);
    if (!bigger.keys || !bigger.values) {
        pointer_map_free(&bigger);
        return false;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (!map->keys[i])
            continue;
        uint32_t slot = pointer_map_slot(&bigger, map->keys[i]);
        bigger.keys[slot] = map->keys[i];
        bigger.values[slot] = map->values[i];
    }
    bigger.count = map->count;
    pointer_map_free(map);
    *map = bigger;
    return true;
}

bool pointer_map_put(struct pointer_map *map, const void *key, uint32_t value)
{
    if (map->count >= map->capacity / 2 && !pointer_map_grow(map))
        return false;
    uint32_t slot = pointer_map_slot(map, key);
    map->keys[slot] = key;
    map->values[slot] = value;
    map->count++;
    return true;
}

uint32_t pointer_map_get(const struct pointer_map *map, const void *key)
{
    if (!map->capacity)
        return GRAPH_NONE;
    uint32_t slot = pointer_map_slot(map, key);
    return map->keys[slot] ? map->values[slot] : GRAPH_NONE;
}

void pointer_map_free(struct pointer_map *map)
{
    free(map->keys);
    free(map->values);
    *map = (struct pointer_map){0};
}

/* ---- graphs ---- */

bool edge_list_add(struct edge_list *list, uint32_t from, uint32_t to)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct edge *edges = realloc(list->edges, capacity * sizeof *edges);
        if (!edges)
            return false;
        list->edges = edges;
        list->capacity = capacity;
    }
    list->edges[list->count++] = (struct edge){from, to};
    return true;
}

bool graph_create(const struct edge_list *list, uint32_t node_count, bool reverse,
                  struct graph *out)
{
    out->node_count = node_count;
    out->offsets = calloc((size_t)node_count + 2, sizeof *out->offsets);
    out->targets = malloc(((size_t)list->count + 1) * sizeof *out->targets);
    if (!out->offsets || !out->targets)
        return false;
    /* Counted two places up, so that offsets[n + 1] is where n's targets start, and, after they
     * have been put in, where they end. */
    for (uint32_t i = 0; i < list->count; i++)
        out->offsets[(reverse ? list->edges[i].to : list->edges[i].from) + 2]++;
    for (uint32_t n = 0; n <= node_count; n++)
        out->offsets[n + 1] += out->offsets[n];
    for (uint32_t i = 0; i < list->count; i++) {
        struct edge e = list->edges[i];
        uint32_t from = reverse ? e.to : e.from;
        out->targets[out->offsets[from + 1]++] = reverse ? e.from : e.to;
    }
    return true;
}

void graph_destroy(struct graph *graph)
{
    free(graph->offsets);
    free(graph->targets);
    *graph = (struct graph){0};
}

/* ---- dominator trees ---- */

/* Working state; all arrays but number are indexed by depth-first number. */
struct dominators {
    const struct graph *successors, *predecessors;
    uint32_t count;   /* nodes reached */
    uint32_t *number; /* per node, GRAPH_NONE when not reached */
    uint32_t *node, *parent, *semi, *idom, *ancestor, *best, *bucket, *bucket_next, *stack;
    uint32_t *storage;
};

static bool dominators_allocate(struct dominators *d)
{
    size_t n = d->successors->node_count;
    d->storage = malloc(10 * n * sizeof *d->storage);
    if (!d->storage)
        return false;
    memset(d->storage, 0xff, 10 * n * sizeof *d->storage);
    uint32_t **arrays[10] = {&d->number,   &d->node, &d->parent, &d->semi,        &d->idom,
                             &d->ancestor, &d->best, &d->bucket, &d->bucket_next, &d->stack};
    for (size_t i = 0; i < 10; i++)
        *arrays[i] = d->storage + i * n;
    return true;
}

static void dominators_visit(struct dominators *d, uint32_t node, uint32_t parent)
{
    uint32_t number = d->count++;
    d->number[node] = number;
    d->node[number] = node;
    d->parent[number] = parent;
    d->semi[number] = number;
    d->best[number] = number;
}

static void dominators_number(struct dominators *d, uint32_t root)
{
    /* idom is not needed yet: it holds each node's cursor into its successors. */
    uint32_t *cursor = d->idom, depth = 0;
    dominators_visit(d, root, GRAPH_NONE);
    cursor[0] = d->successors->offsets[root];
    d->stack[depth++] = 0;
    while (depth) {
        uint32_t top = d->stack[depth - 1];
        if (cursor[top] == d->successors->offsets[d->node[top] + 1]) {
            depth--;
            continue;
        }
        uint32_t next = d->successors->targets[cursor[top]++];
        if (d->number[next] != GRAPH_NONE)
            continue;
        dominators_visit(d, next, top);
        uint32_t number = d->count - 1;
        cursor[number] = d->successors->offsets[next];
        d->stack[depth++] = number;
    }
}

/* The node with the least semidominator on v's path to the root of its tree of the link forest. */
static uint32_t dominators_evaluate(struct dominators *d, uint32_t v)
{
    if (d->ancestor[v] == GRAPH_NONE)
        return v;
    uint32_t depth = 0;
    for (uint32_t u = v; d->ancestor[d->ancestor[u]] != GRAPH_NONE; u = d->ancestor[u])
        d->stack[depth++] = u;
    while (depth) {
        uint32_t u = d->stack[--depth], above = d->ancestor[u];
        if (d->semi[d->best[above]] < d->semi[d->best[u]])
            d->best[u] = d->best[above];
        d->ancestor[u] = d->ancestor[above];
    }
    return d->best[v];
}

static void dominators_solve(struct dominators *d)
{
    for (uint32_t w = d->count - 1; w > 0; w--) {
        const struct graph *in = d->predecessors;
        uint32_t node = d->node[w];
        for (uint32_t i = in->offsets[node]; i < in->offsets[node + 1]; i++) {
            uint32_t v = d->number[in->targets[i]];
            if (v == GRAPH_NONE)
                continue;
            uint32_t u = dominators_evaluate(d, v);
            if (d->semi[u] < d->semi[w])
                d->semi[w] = d->semi[u];
        }
        uint32_t parent = d->parent[w];
        d->bucket_next[w] = d->bucket[d->semi[w]];
        d->bucket[d->semi[w]] = w;
        d->ancestor[w] = parent;
        for (uint32_t v = d->bucket[parent]; v != GRAPH_NONE; v = d->bucket_next[v]) {
            uint32_t u = dominators_evaluate(d, v);
            d->idom[v] = d->semi[u] < d->semi[v] ? u : parent;
        }
        d->bucket[parent] = GRAPH_NONE;
    }
    for (uint32_t w = 1; w < d->count; w++) {
        if (d->idom[w] != d->semi[w])
            d->idom[w] = d->idom[d->idom[w]];
    }
}

bool graph_tree_spans(const uint32_t *parent, uint32_t count, struct tree_span *spans)
{
    uint32_t *next = malloc(((size_t)count + 1) * sizeof *next);
    if (!next)
        return false;
    for (uint32_t i = 0; i < count; i++)
        spans[i] = (struct tree_span){0, 1};
    for (uint32_t i = count; i-- > 1;)
        spans[parent[i]].count += spans[i].count;
    next[0] = 1;
    for (uint32_t i = 1; i < count; i++) {
        spans[i].first = next[parent[i]];
        next[parent[i]] += spans[i].count;
        next[i] = spans[i].first + 1;
    }
    free(next);
    return true;
}

bool graph_dominators(const struct graph *successors, const struct graph *predecessors,
                      uint32_t root, struct tree_span *spans)
{
    struct dominators d = {.successors = successors, .predecessors = predecessors};
    bool done = false;
    struct tree_span *numbered = NULL;
    if (!dominators_allocate(&d))
        goto end;
    dominators_number(&d, root);
    dominators_solve(&d);
    numbered = malloc(d.count * sizeof *numbered);
    if (!numbered || !graph_tree_spans(d.idom, d.count, numbered))
        goto end;
    for (uint32_t n = 0; n < successors->node_count; n++)
        spans[n] = d.number[n] == GRAPH_NONE ? (struct tree_span){0} : numbered[d.number[n]];
    done = true;
end:
    free(numbered);
    free(d.storage);
    return done;
}
