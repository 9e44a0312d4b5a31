/*
 * Merkle trees of RFC 6962, section 2.1, over SHA-256:
 *
 *   leaf      SHA-256(0x00 ‖ entry)
 *   node      SHA-256(0x01 ‖ left ‖ right); left covers the largest power of two below the size
 *   no leaf   SHA-256 of nothing
 *
 * A tree of n leaves is a row of perfect subtrees, one for every bit of n, the largest first; their
 * roots are its frontier, and folding them from the right gives the root:
 *
 *   n = 7 = 4 + 2 + 1        root = node(S4, node(S2, S1))
 *         .
 *       /   \
 *      S4    .               S4 covers leaves 0-3, S2 leaves 4 and 5, S1 leaf 6
 *           / \
 *         S2   S1
 *
 * struct merkle_frontier keeps nothing else: it appends and gives the root, and a copy of it is a
 * point to which one can roll back. struct merkle_tree keeps the roots of all perfect subtrees (64
 * bytes a leaf), rolls back to any earlier size and gives inclusion paths.
 *
 * A structure belongs to one thread at a time; functions without one may be called by any.
 */
#ifndef CRYPTO_MERKLE_H
#define CRYPTO_MERKLE_H

#include "base/error.h"
#include "crypto/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Leaves of a frontier or of a tree that a path is checked against: below 2^48. */
#define MERKLE_LEVELS   48
#define MERKLE_SIZE_MAX ((UINT64_C(1) << MERKLE_LEVELS) - 1)
/* Leaves of a tree that is kept whole. */
#define MERKLE_TREE_SIZE_MAX (UINT64_C(1) << 32)

struct merkle_hash {
    uint8_t bytes[HASH_LEN];
};

struct merkle_hash merkle_leaf(const void *entry, size_t len);
struct merkle_hash merkle_node(const struct merkle_hash *left, const struct merkle_hash *right);
/* The root of the tree without leaves. */
struct merkle_hash merkle_empty(void);

/* ---- the frontier ---- */

/* Zero-initialised it is empty; it owns nothing and is copied by assignment. subtree[k] is the root
 * of the perfect subtree of 2^k leaves where bit k of size is set, and means nothing elsewhere. */
struct merkle_frontier {
    uint64_t size;
    struct merkle_hash subtree[MERKLE_LEVELS];
};

/* Appends a leaf (its hash, of merkle_leaf). ATOLL_ELIMIT at MERKLE_SIZE_MAX leaves. */
int merkle_frontier_append(struct merkle_frontier *, const struct merkle_hash *leaf,
                           struct error *);
struct merkle_hash merkle_frontier_root(const struct merkle_frontier *);
/* Whether two trees are the same, leaf for leaf. */
bool merkle_frontier_equal(const struct merkle_frontier *, const struct merkle_frontier *);
/* The hashes alone, those of the lowest bits of size first: MERKLE_FRONTIER_MAX bytes are enough.
 * Returns how many bytes. Unpacking reads merkle_frontier_packed(size) bytes; size is at most
 * MERKLE_SIZE_MAX. */
#define MERKLE_FRONTIER_MAX (MERKLE_LEVELS * sizeof(struct merkle_hash))
size_t merkle_frontier_packed(uint64_t size);
size_t merkle_frontier_pack(const struct merkle_frontier *, uint8_t *to);
void merkle_frontier_unpack(struct merkle_frontier *, uint64_t size, const uint8_t *from);

/* ---- the whole tree ---- */

struct merkle_tree;

/* ATOLL_ENOMEM. The caller destroys it. */
int merkle_tree_create(struct merkle_tree **, struct error *);
void merkle_tree_destroy(struct merkle_tree *);
uint64_t merkle_tree_size(const struct merkle_tree *);
/* ATOLL_ELIMIT at MERKLE_TREE_SIZE_MAX leaves, ATOLL_ENOMEM; the tree is then as it was. */
int merkle_tree_append(struct merkle_tree *, const struct merkle_hash *leaf, struct error *);
/* Forgets the leaves from `size` on; what is left is as if they had never been. ATOLL_ERANGE when
 * the tree is smaller. */
int merkle_tree_rollback(struct merkle_tree *, uint64_t size, struct error *);
struct merkle_hash merkle_tree_root(const struct merkle_tree *);
/* The root that the tree had when it had `size` leaves. ATOLL_ERANGE when it never had. */
int merkle_tree_root_at(const struct merkle_tree *, uint64_t size, struct merkle_hash *out,
                        struct error *);
/*
 * The path of RFC 6962, section 2.1.1, of leaf `index` in the tree of the first `size` leaves: the
 * hashes of the siblings from the leaf up. Returns how many (at most MERKLE_LEVELS), or
 * ATOLL_ERANGE when there is no such leaf or tree.
 */
int merkle_tree_path(const struct merkle_tree *, uint64_t index, uint64_t size,
                     struct merkle_hash path[static MERKLE_LEVELS], struct error *);

/* ---- checking paths ---- */

/* True when the path shows that `leaf` is leaf `index` of the tree of `size` leaves with this root.
 * Everything may come from a stranger: size is taken to MERKLE_SIZE_MAX, and count must be exactly
 * what index and size ask for. */
bool merkle_path_verify(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
                        const struct merkle_hash *path, size_t count,
                        const struct merkle_hash *root);
/* The root to which such a path leads; false when it has not exactly the hashes that index and size
 * ask for (*root is then not to be used). */
bool merkle_path_root(const struct merkle_hash *leaf, uint64_t index, uint64_t size,
                      const struct merkle_hash *path, size_t count, struct merkle_hash *root);

/* The last path that merkle_path_root_after went: zero-initialise. */
struct merkle_walk {
    uint64_t index, size; /* size 0: none yet */
    size_t count;
    struct merkle_hash path[MERKLE_LEVELS];
    struct merkle_hash
        node[MERKLE_LEVELS + 1]; /* after so many hashes of the path; first the leaf */
};
/* merkle_path_root, for paths of one tree one after the other: where a path meets the one before,
 * in the same node with the same hashes left, it ends as that one did. Neighbouring leaves so cost
 * two hashes instead of the tree's height; the verdicts are the same. */
bool merkle_path_root_after(struct merkle_walk *, const struct merkle_hash *leaf, uint64_t index,
                            uint64_t size, const struct merkle_hash *path, size_t count,
                            struct merkle_hash *root);

#endif
