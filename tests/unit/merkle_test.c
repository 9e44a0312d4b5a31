/* Merkle trees against the definition of RFC 6962 written down plainly (src/crypto/merkle.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/merkle.h"

#include <string.h>

#define SIZE_MAX_TESTED 300

static struct merkle_hash leaves[SIZE_MAX_TESTED];

static int leaves_make(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SIZE_MAX_TESTED; i++)
        leaves[i] = merkle_leaf(&i, sizeof i);
    return 0;
}

static void hash_expect(const struct merkle_hash *found, const struct merkle_hash *wanted)
{
    assert_memory_equal(found->bytes, wanted->bytes, HASH_LEN);
}

/* MTH(D[from:to]), by the recursion of RFC 6962, section 2.1. */
static struct merkle_hash plain_root(size_t from, size_t to)
{
    if (from == to)
        return merkle_empty();
    if (to - from == 1)
        return leaves[from];
    size_t half = 1;
    while (half * 2 < to - from)
        half *= 2;
    struct merkle_hash left = plain_root(from, from + half), right = plain_root(from + half, to);
    return merkle_node(&left, &right);
}

/* PATH(m, D[from:to]), section 2.1.1. */
static size_t plain_path(size_t m, size_t from, size_t to, struct merkle_hash *path)
{
    if (to - from == 1)
        return 0;
    size_t half = 1;
    while (half * 2 < to - from)
        half *= 2;
    bool left = m < half;
    size_t count =
        left ? plain_path(m, from, from + half, path) : plain_path(m - half, from + half, to, path);
    path[count] = left ? plain_root(from + half, to) : plain_root(from, from + half);
    return count + 1;
}

static struct merkle_tree *tree_of(size_t size)
{
    struct merkle_tree *tree;
    struct error e;
    assert_int_equal(merkle_tree_create(&tree, &e), 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(merkle_tree_append(tree, &leaves[i], &e), 0);
    return tree;
}

static void hash_parse(const char *hex, struct merkle_hash *out)
{
    for (size_t i = 0; i < HASH_LEN; i++) {
        unsigned value = 0;
        for (size_t j = 0; j < 2; j++) {
            char c = hex[2 * i + j];
            value = 16 * value + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        }
        out->bytes[i] = (uint8_t)value;
    }
}

static void the_published_roots_of_certificate_transparency_come_out(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        size_t len;
        const char *root; /* of all entries so far */
    } known[] = {
        {"", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {"\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
        {"\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
    };
    struct merkle_frontier frontier = {0};
    struct error e;
    struct merkle_hash wanted, root;
    hash_parse("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &wanted);
    root = merkle_frontier_root(&frontier);
    hash_expect(&root, &wanted);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct merkle_hash leaf = merkle_leaf(known[i].entry, known[i].len);
        assert_int_equal(merkle_frontier_append(&frontier, &leaf, &e), 0);
        root = merkle_frontier_root(&frontier);
        hash_parse(known[i].root, &wanted);
        hash_expect(&root, &wanted);
    }
}

static void roots_of_all_sizes_are_those_of_the_definition(void **state)
{
    (void)state;
    struct merkle_frontier frontier = {0};
    struct merkle_tree *tree = tree_of(0);
    struct error e;
    for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
        struct merkle_hash wanted = plain_root(0, size);
        struct merkle_hash found = merkle_frontier_root(&frontier);
        hash_expect(&found, &wanted);
        found = merkle_tree_root(tree);
        hash_expect(&found, &wanted);
        assert_int_equal(merkle_tree_size(tree), size);
        if (size == SIZE_MAX_TESTED)
            break;
        assert_int_equal(merkle_frontier_append(&frontier, &leaves[size], &e), 0);
        assert_int_equal(merkle_tree_append(tree, &leaves[size], &e), 0);
    }
    for (size_t size = 0; size <= SIZE_MAX_TESTED; size++) {
        struct merkle_hash wanted = plain_root(0, size), found;
        assert_int_equal(merkle_tree_root_at(tree, size, &found, &e), 0);
        hash_expect(&found, &wanted);
    }
    merkle_tree_destroy(tree);
}

static void after_a_rollback_nothing_is_left_of_what_was_cut(void **state)
{
    (void)state;
    struct error e;
    struct merkle_tree *tree = tree_of(SIZE_MAX_TESTED);
    for (size_t size = SIZE_MAX_TESTED; size-- > 0;) {
        assert_int_equal(merkle_tree_rollback(tree, size, &e), 0);
        struct merkle_hash wanted = plain_root(0, size), found = merkle_tree_root(tree);
        hash_expect(&found, &wanted);
        /* Other leaves are put there and cut again, some deep, before the next step. */
        for (size_t i = 0; i < size % 23; i++)
            assert_int_equal(merkle_tree_append(tree, &leaves[i], &e), 0);
        assert_int_equal(merkle_tree_rollback(tree, size, &e), 0);
        found = merkle_tree_root(tree);
        hash_expect(&found, &wanted);
    }
    for (size_t i = 0; i < SIZE_MAX_TESTED; i++)
        assert_int_equal(merkle_tree_append(tree, &leaves[i], &e), 0);
    struct merkle_hash wanted = plain_root(0, SIZE_MAX_TESTED), found = merkle_tree_root(tree);
    hash_expect(&found, &wanted);
    merkle_tree_destroy(tree);
}

static void a_copied_frontier_is_a_point_to_return_to(void **state)
{
    (void)state;
    struct error e;
    struct merkle_frontier frontier = {0};
    for (size_t size = 0; size < SIZE_MAX_TESTED; size++) {
        struct merkle_frontier kept = frontier;
        for (size_t i = 0; i < size % 17; i++)
            assert_int_equal(merkle_frontier_append(&frontier, &leaves[i], &e), 0);
        frontier = kept;
        assert_int_equal(merkle_frontier_append(&frontier, &leaves[size], &e), 0);
        struct merkle_hash wanted = plain_root(0, size + 1);
        struct merkle_hash found = merkle_frontier_root(&frontier);
        hash_expect(&found, &wanted);
    }
}

/* Its hashes alone, lowest bit of the size first, and nothing beyond them. */
static void a_packed_frontier_comes_back_as_it_was(void **state)
{
    (void)state;
    struct merkle_frontier f = {0}, again;
    uint8_t bytes[MERKLE_FRONTIER_MAX + 1];
    struct error e;
    for (size_t size = 0; size < 70; size++) {
        memset(bytes, 0xa5, sizeof bytes);
        size_t len = merkle_frontier_pack(&f, bytes);
        assert_int_equal(len, merkle_frontier_packed(size));
        assert_int_equal(len, (size_t)__builtin_popcountll(size) * HASH_LEN);
        assert_int_equal(bytes[len], 0xa5);
        memset(&again, 0xff, sizeof again);
        merkle_frontier_unpack(&again, size, bytes);
        assert_true(merkle_frontier_equal(&f, &again));
        assert_true(merkle_frontier_equal(&again, &f));
        struct merkle_hash root = merkle_frontier_root(&again), wanted = plain_root(0, size);
        hash_expect(&root, &wanted);
        if (size > 0)
            hash_expect((const struct merkle_hash *)bytes, &f.subtree[__builtin_ctzll(size)]);
        assert_int_equal(merkle_frontier_append(&again, &leaves[size], &e), 0);
        assert_false(merkle_frontier_equal(&f, &again));
        assert_int_equal(merkle_frontier_append(&f, &leaves[size], &e), 0);
    }
}

/* Of trees of one size, leaf for leaf; what lies in unused places does not count. */
static void frontiers_are_equal_when_all_leaves_are(void **state)
{
    (void)state;
    struct error e;
    for (size_t size = 1; size < 40; size++) {
        for (size_t other = 0; other < size; other++) {
            struct merkle_frontier a = {0}, b = {0};
            for (size_t i = 0; i < size; i++) {
                assert_int_equal(merkle_frontier_append(&a, &leaves[i], &e), 0);
                assert_int_equal(
                    merkle_frontier_append(&b, &leaves[i == other ? SIZE_MAX_TESTED - 1 : i], &e),
                    0);
            }
            assert_false(merkle_frontier_equal(&a, &b));
            assert_true(merkle_frontier_equal(&a, &a));
            b = a;
            for (unsigned k = 0; k < MERKLE_LEVELS; k++)
                if (!(size >> k & 1))
                    b.subtree[k].bytes[0] ^= 1;
            assert_true(merkle_frontier_equal(&a, &b));
        }
    }
}

static void paths_of_all_leaves_are_those_of_the_definition_and_verify(void **state)
{
    (void)state;
    struct error e;
    struct merkle_tree *tree = tree_of(SIZE_MAX_TESTED);
    struct merkle_hash path[MERKLE_LEVELS], wanted[MERKLE_LEVELS], root;
    for (size_t size = 1; size <= SIZE_MAX_TESTED; size += size < 70 ? 1 : 23) {
        assert_int_equal(merkle_tree_root_at(tree, size, &root, &e), 0);
        for (size_t index = 0; index < size; index++) {
            int count = merkle_tree_path(tree, index, size, path, &e);
            assert_int_equal(count, plain_path(index, 0, size, wanted));
            assert_memory_equal(path, wanted, (size_t)count * sizeof *path);
            assert_true(
                merkle_path_verify(&leaves[index], index, size, path, (size_t)count, &root));
        }
    }
    merkle_tree_destroy(tree);
}

static void a_path_shows_one_leaf_in_one_place_only(void **state)
{
    (void)state;
    struct error e;
    struct merkle_hash path[MERKLE_LEVELS], root;
    for (size_t size = 1; size <= 40; size++) {
        struct merkle_tree *tree = tree_of(size);
        root = merkle_tree_root(tree);
        for (size_t index = 0; index < size; index++) {
            size_t count = (size_t)merkle_tree_path(tree, index, size, path, &e);
            const struct merkle_hash *leaf = &leaves[index];
            for (size_t other = 0; other < size + 3; other++)
                assert_int_equal(merkle_path_verify(leaf, other, size, path, count, &root),
                                 other == index);
            assert_false(
                merkle_path_verify(&leaves[(index + 1) % 300], index, size, path, count, &root));
            assert_false(merkle_path_verify(leaf, index, size, path, count + 1, &root));
            assert_false(count > 0 &&
                         merkle_path_verify(leaf, index, size, path, count - 1, &root));
            for (size_t i = 0; i < count; i++) {
                path[i].bytes[i] ^= 1;
                assert_false(merkle_path_verify(leaf, index, size, path, count, &root));
                path[i].bytes[i] ^= 1;
            }
        }
        merkle_tree_destroy(tree);
    }
}

/* Paths of several trees, in any order, whole or damaged: each leads where it leads alone. */
static void a_path_that_follows_another_leads_where_it_leads_alone(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 7, 16, 33, 300};
    struct merkle_walk walk = {0};
    struct merkle_tree *trees[7];
    struct error e;
    uint64_t random = 1;
    unsigned shared = 0;
    for (unsigned i = 0; i < 7; i++)
        trees[i] = tree_of(sizes[i]);
    for (unsigned round = 0, tree = 0, index = 0; round < 20000; round++) {
        struct merkle_hash path[MERKLE_LEVELS + 1] = {0}, alone, after;
        random = random * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(random >> 33);
        if (dice % 16 == 0)
            tree = dice / 16 % 7;
        index = dice % 3 == 0 ? dice / 3 : index + 1;
        index %= (unsigned)sizes[tree];
        size_t count = (size_t)merkle_tree_path(trees[tree], index, sizes[tree], path, &e);
        size_t size = sizes[tree];
        struct merkle_hash leaf = leaves[index];
        switch (dice >> 8 & 7) {
        case 0: path[count ? dice % count : 0].bytes[3] ^= 1; break;
        case 1: leaf.bytes[dice % HASH_LEN] ^= 1; break;
        case 2: count += dice % 2 ? 1 : count ? (size_t)-1 : 0; break;
        case 3: size += dice % 3; break;
        default: shared++;
        }
        bool there = merkle_path_root(&leaf, index, size, path, count, &alone);
        assert_int_equal(merkle_path_root_after(&walk, &leaf, index, size, path, count, &after),
                         there);
        if (there)
            assert_memory_equal(&after, &alone, sizeof alone);
    }
    assert_true(shared > 5000);
    for (unsigned i = 0; i < 7; i++)
        merkle_tree_destroy(trees[i]);
}

static void leaves_and_trees_that_are_not_there_are_refused(void **state)
{
    (void)state;
    struct error e;
    struct merkle_tree *tree = tree_of(5);
    struct merkle_hash path[MERKLE_LEVELS], root = merkle_tree_root(tree), out;
    assert_int_equal(merkle_tree_path(tree, 5, 5, path, &e), -ATOLL_ERANGE);
    assert_int_equal(merkle_tree_path(tree, 0, 6, path, &e), -ATOLL_ERANGE);
    assert_int_equal(merkle_tree_path(tree, 0, 0, path, &e), -ATOLL_ERANGE);
    assert_int_equal(merkle_tree_root_at(tree, 6, &out, &e), -ATOLL_ERANGE);
    assert_int_equal(merkle_tree_rollback(tree, 6, &e), -ATOLL_ERANGE);
    assert_int_equal(merkle_tree_size(tree), 5);
    assert_false(merkle_path_verify(&root, 0, 0, path, 0, &root));
    assert_false(merkle_path_verify(&root, 0, MERKLE_SIZE_MAX + 1, path, 0, &root));
    assert_false(merkle_path_verify(&root, UINT64_MAX, UINT64_MAX, path, 0, &root));
    assert_true(merkle_path_verify(&root, 0, 1, path, 0, &root));
    merkle_tree_destroy(tree);
}

static void a_frontier_is_full_at_its_bound(void **state)
{
    (void)state;
    struct error e;
    struct merkle_frontier frontier = {.size = MERKLE_SIZE_MAX - 1};
    assert_int_equal(merkle_frontier_append(&frontier, &leaves[0], &e), 0);
    struct merkle_hash root = merkle_frontier_root(&frontier);
    assert_int_equal(merkle_frontier_append(&frontier, &leaves[1], &e), -ATOLL_ELIMIT);
    struct merkle_hash after = merkle_frontier_root(&frontier);
    hash_expect(&after, &root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_roots_of_certificate_transparency_come_out),
        cmocka_unit_test(roots_of_all_sizes_are_those_of_the_definition),
        cmocka_unit_test(after_a_rollback_nothing_is_left_of_what_was_cut),
        cmocka_unit_test(a_copied_frontier_is_a_point_to_return_to),
        cmocka_unit_test(a_packed_frontier_comes_back_as_it_was),
        cmocka_unit_test(frontiers_are_equal_when_all_leaves_are),
        cmocka_unit_test(paths_of_all_leaves_are_those_of_the_definition_and_verify),
        cmocka_unit_test(a_path_shows_one_leaf_in_one_place_only),
        cmocka_unit_test(a_path_that_follows_another_leads_where_it_leads_alone),
        cmocka_unit_test(leaves_and_trees_that_are_not_there_are_refused),
        cmocka_unit_test(a_frontier_is_full_at_its_bound),
    };
    return cmocka_run_group_tests(tests, leaves_make, NULL);
}
