/*
 * Takes bytes for a claim "this leaf is number index of the tree of size leaves", with its path,
 * and checks it against a root; what the tree itself says is the truth.
 *
 *   size u8 | index u8 | claimed size u64 | claimed index u64 | mutation u8 u8 | hashes 32 each
 */
#include "base/bytes.h"
#include "crypto/merkle.h"

#include <assert.h>
#include <string.h>

#define HEAD 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A stranger's path of any length, for any size: only its own verdict matters. */
static void stranger_check(const uint8_t *data, size_t size, const struct merkle_hash *root)
{
    struct merkle_hash path[2 * MERKLE_LEVELS], leaf = {{0}};
    size_t count = size / HASH_LEN < 2 * MERKLE_LEVELS ? size / HASH_LEN : 2 * MERKLE_LEVELS;
    memcpy(path, data + HEAD, count * HASH_LEN);
    /* The root would have to be a hash of what the bytes say. */
    assert(!merkle_path_verify(&leaf, load_u64(data + 10), load_u64(data + 2), path, count, root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return 0;
    struct merkle_tree *tree;
    struct merkle_frontier frontier = {0};
    struct error e;
    uint64_t leaves = 1 + (uint64_t)data[0], index = data[1] % leaves;
    if (merkle_tree_create(&tree, &e) < 0)
        return 0;
    struct merkle_hash leaf = {{0}}, at;
    for (uint64_t i = 0; i < leaves; i++) {
        at = merkle_leaf(&i, sizeof i);
        if (i == index)
            leaf = at;
        int bad = merkle_tree_append(tree, &at, &e) | merkle_frontier_append(&frontier, &at, &e);
        assert(!bad);
    }
    struct merkle_hash root = merkle_tree_root(tree), same = merkle_frontier_root(&frontier);
    assert(memcmp(&root, &same, sizeof root) == 0);
    struct merkle_hash path[MERKLE_LEVELS];
    int count = merkle_tree_path(tree, index, leaves, path, &e);
    assert(count >= 0 && merkle_path_verify(&leaf, index, leaves, path, (size_t)count, &root));
    uint8_t change = (uint8_t)(1u << data[18] % 8);
    if (count > 0) {
        path[data[19] % count].bytes[data[18] % HASH_LEN] ^= change;
        assert(!merkle_path_verify(&leaf, index, leaves, path, (size_t)count, &root));
    }
    stranger_check(data, size - HEAD, &root);
    int cut = merkle_tree_rollback(tree, index, &e);
    assert(cut == 0 && merkle_tree_size(tree) == index);
    merkle_tree_destroy(tree);
    return 0;
}
