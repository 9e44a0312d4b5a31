/*
 * Merkle trees of RFC 6962 (merkle.h).
 *
 * The whole tree keeps one array a level: level[k][i] is the root of the perfect subtree over
 * leaves [i·2^k, (i+1)·2^k), for every i with (i+1)·2^k <= size. So level k has size >> k hashes,
 * an append completes as many subtrees as the new size has zeros at its end, and rolling back only
 * makes size smaller: what stays valid is a prefix of every level.
 */
#include "crypto/merkle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TREE_LEVELS    33 /* of 2^32 leaves */
#define CAPACITY_FIRST 64

struct merkle_tree {
    uint64_t size;
    struct level {
        struct merkle_hash *hash;
        uint64_t capacity;
    } level[TREE_LEVELS];
};

struct merkle_hash merkle_leaf(const void *entry, size_t len)
{
    static const uint8_t mark = 0;
    const struct hash_part parts[] = {{&mark, 1}, {entry, len}};
    struct merkle_hash out;
    hash_sha256_parts(parts, 2, out.bytes);
    return out;
}

struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right)
{
    uint8_t text[1 + 2 * HASH_LEN] = {1};
    memcpy(text + 1, left->bytes, HASH_LEN);
    memcpy(text + 1 + HASH_LEN, right->bytes, HASH_LEN);
    struct merkle_hash out;
    hash_sha256(text, sizeof text, out.bytes);
    return out;
}

struct merkle_hash merkle_empty(void)
{
    struct merkle_hash out;
    hash_sha256("", 0, out.bytes);
    return out;
}

/* ---- the frontier ---- */

int merkle_frontier_append(struct merkle_frontier *f, const struct merkle_hash *leaf,
                           struct error *e)
{
    if (f->size >= MERKLE_SIZE_MAX)
        return error_set(e, ATOLL_ELIMIT, "the tree is full: it takes 2^%d - 1 leaves",
                         MERKLE_LEVELS);
    struct merkle_hash carry = *leaf;
    unsigned k = 0;
    for (; f->size >> k & 1; k++)
        carry = merkle_node(&f->subtree[k], &carry);
    f->subtree[k] = carry;
    f->size++;
    return 0;
}

struct merkle_hash merkle_frontier_root(const struct merkle_frontier *f)
{
    if (f->size == 0)
        return merkle_empty();
    unsigned k = (unsigned)__builtin_ctzll(f->size);
    struct merkle_hash root = f->subtree[k];
    for (k++; k < MERKLE_LEVELS; k++)
        if (f->size >> k & 1)
            root = merkle_node(&f->subtree[k], &root);
    return root;
}

bool merkle_frontier_equal(const struct merkle_frontier *a, const struct merkle_frontier *b)
{
    bool equal = a->size == b->size;
    for (unsigned k = 0; k < MERKLE_LEVELS && equal; k++)
        if (a->size >> k & 1)
            equal = memcmp(a->subtree[k].bytes, b->subtree[k].bytes, HASH_LEN) == 0;
    return equal;
}

size_t merkle_frontier_packed(uint64_t size)
{
    return (size_t)__builtin_popcountll(size) * HASH_LEN;
}

size_t merkle_frontier_pack(const struct merkle_frontier *f, uint8_t *to)
{
    size_t len = 0;
    for (unsigned k = 0; k < MERKLE_LEVELS; k++) {
        if (!(f->size >> k & 1))
            continue;
        memcpy(to + len, f->subtree[k].bytes, HASH_LEN);
        len += HASH_LEN;
    }
    return len;
}

void merkle_frontier_unpack(struct merkle_frontier *f, uint64_t size, const uint8_t *from)
{
    assert(size <= MERKLE_SIZE_MAX);
    *f = (struct merkle_frontier){.size = size};
    for (unsigned k = 0; k < MERKLE_LEVELS; k++) {
        if (!(size >> k & 1))
            continue;
        memcpy(f->subtree[k].bytes, from, HASH_LEN);
        from += HASH_LEN;
    }
}

/* ---- the whole tree ---- */

int merkle_tree_create(struct merkle_tree **out, struct error *e)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a Merkle tree");
}

void merkle_tree_destroy(struct merkle_tree *tree)
{
    if (!tree)
        return;
    for (int k = 0; k < TREE_LEVELS; k++)
        free(tree->level[k].hash);
    free(tree);
}

uint64_t merkle_tree_size(const struct merkle_tree *tree)
{
    return tree->size;
}

/* Makes room for `count` hashes. */
static bool level_reserve(struct level *level, uint64_t count)
{
    if (count <= level->capacity)
        return true;
    uint64_t capacity = level->capacity ? level->capacity * 2 : CAPACITY_FIRST;
    struct merkle_hash *grown = realloc(level->hash, capacity * sizeof *grown);
    if (!grown)
        return false;
    level->hash = grown;
    level->capacity = capacity;
    return true;
}

int merkle_tree_append(struct merkle_tree *tree, const struct merkle_hash *leaf, struct error *e)
{
    if (tree->size >= MERKLE_TREE_SIZE_MAX)
        return error_set(e, ATOLL_ELIMIT, "the tree is full: it takes %llu leaves",
                         (unsigned long long)MERKLE_TREE_SIZE_MAX);
    uint64_t size = tree->size + 1;
    unsigned levels = (unsigned)__builtin_ctzll(size) + 1;
    for (unsigned k = 0; k < levels; k++)
        if (!level_reserve(&tree->level[k], size >> k))
            return error_set(e, ATOLL_ENOMEM, "no memory for leaf %llu of a Merkle tree",
                             (unsigned long long)size);
    struct merkle_hash carry = *leaf;
    for (unsigned k = 0;; k++) {
        uint64_t at = (size >> k) - 1;
        tree->level[k].hash[at] = carry;
        if (k + 1 == levels)
            break;
        carry = merkle_node(&tree->level[k].hash[at - 1], &carry);
    }
    tree->size = size;
    return 0;
}

static int size_check(const struct merkle_tree *tree, uint64_t size, struct error *e)
{
    if (size <= tree->size)
        return 0;
    return error_set(e, ATOLL_ERANGE, "the Merkle tree has %llu leaves, not %llu",
                     (unsigned long long)tree->size, (unsigned long long)size);
}

int merkle_tree_rollback(struct merkle_tree *tree, uint64_t size, struct error *e)
{
    int result = size_check(tree, size, e);
    if (result == 0)
        tree->size = size;
    return result;
}

/* The root over leaves [from, to), where from is a multiple of a power of two that is at least
 * to - from: the perfect subtrees of the range, joined from the right. */
static struct merkle_hash range_root(const struct merkle_tree *tree, uint64_t from, uint64_t to)
{
    uint64_t length = to - from;
    assert(length > 0 && to <= tree->size);
    unsigned k = (unsigned)__builtin_ctzll(length);
    struct merkle_hash root = tree->level[k].hash[(to >> k) - 1];
    for (uint64_t left = length & (length - 1); left; left &= left - 1) {
        k = (unsigned)__builtin_ctzll(left);
        root = merkle_node(&tree->level[k].hash[((from + left) >> k) - 1], &root);
    }
    return root;
}

int merkle_tree_root_at(const struct merkle_tree *tree, uint64_t size, struct merkle_hash *out,
                        struct error *e)
{
    int result = size_check(tree, size, e);
    if (result == 0)
        *out = size == 0 ? merkle_empty() : range_root(tree, 0, size);
    return result;
}

struct merkle_hash merkle_tree_root(const struct merkle_tree *tree)
{
    return tree->size == 0 ? merkle_empty() : range_root(tree, 0, tree->size);
}

int merkle_tree_path(const struct merkle_tree *tree, uint64_t index, uint64_t size,
                     struct merkle_hash path[static MERKLE_LEVELS], struct error *e)
{
    int result = size_check(tree, size, e);
    if (result < 0)
        return result;
    if (index >= size)
        return error_set(e, ATOLL_ERANGE, "the Merkle tree of %llu leaves has no leaf %llu",
                         (unsigned long long)size, (unsigned long long)index);
    int count = 0;
    for (unsigned k = 0; UINT64_C(1) << k < size; k++) {
        uint64_t from = (index >> k ^ 1) << k, to = from + (UINT64_C(1) << k);
        /* At the right edge a sibling may be incomplete, or missing: then the node is its parent.
         */
        if (from >= size)
            continue;
        path[count++] = range_root(tree, from, to < size ? to : size);
    }
    return count;
}

/* ---- checking paths ---- */

bool merkle_path_root(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
                      const struct merkle_hash *path, size_t count, struct merkle_hash *root)
{
    if (size > MERKLE_SIZE_MAX || index >= size)
        return false;
    struct merkle_hash at = *leaf;
    size_t used = 0;
    for (unsigned k = 0; UINT64_C(1) << k < size; k++) {
        uint64_t sibling = (index >> k ^ 1) << k;
        if (sibling >= size)
            continue;
        if (used == count)
            return false;
        at = sibling < index ? merkle_node(&path[used], &at) : merkle_node(&at, &path[used]);
        used++;
    }
    *root = at;
    return used == count;
}

/* Whether the walk goes on from this node of level k, behind `walked` of its hashes, as the path
 * does behind `used` of its own. */
static bool walk_meets(const struct merkle_walk *w, size_t walked, const struct merkle_hash *node,
                       const struct merkle_hash *path, size_t used, size_t count)
{
    return count - used == w->count - walked && memcmp(node, &w->node[walked], sizeof *node) == 0 &&
           (count == used ||
            memcmp(path + used, w->path + walked, (count - used) * sizeof *path) == 0);
}

bool merkle_path_root_after(struct merkle_walk *w, const struct merkle_hash *leaf, uint64_t index,
                            uint64_t size, const struct merkle_hash *path, size_t count,
                            struct merkle_hash *root)
{
    struct merkle_hash node[MERKLE_LEVELS + 1];
    size_t used = 0, walked = 0;
    bool met = false;
    if (size > MERKLE_SIZE_MAX || index >= size || count > MERKLE_LEVELS)
        return false;
    node[0] = *leaf;
    for (unsigned k = 0; UINT64_C(1) << k < size; k++) {
        if (w->size == size && w->index >> k == index >> k &&
            (met = walk_meets(w, walked, &node[used], path, used, count)))
            break;
        walked += (w->index >> k ^ 1) << k < size;
        uint64_t sibling = (index >> k ^ 1) << k;
        if (sibling >= size)
            continue;
        if (used == count)
            return false;
        node[used + 1] = sibling < index ? merkle_node(&path[used], &node[used])
                                         : merkle_node(&node[used], &path[used]);
        used++;
    }
    if (!met && used != count)
        return false;
    *root = met ? w->node[w->count] : node[count];
    if (met && used != walked)
        return true; /* the same nodes at other places: this walk is not worth moving them */
    if (used > 0)
        memcpy(w->path, path, used * sizeof *path);
    memcpy(w->node, node, (used + !met) * sizeof *node);
    w->index = index;
    w->size = size;
    w->count = count;
    return true;
}

bool merkle_path_verify(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
                        const struct merkle_hash *path, size_t count,
                        const struct merkle_hash *root)
{
    struct merkle_hash found;
    return merkle_path_root(leaf, index, size, path, count, &found) &&
           hash_equal(found.bytes, root->bytes);
}
