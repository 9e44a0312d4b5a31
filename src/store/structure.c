/*
 * The file format of LMDB 0.9 on 64-bit little-endian machines, as far as its structure goes; see
 * structure.h. Everything is counted in pages; numbers are little-endian.
 *
 *   page    u64 own number | u16 | u16 kind | u16 lower, u16 upper (overflow: u32 pages) | ...
 *   kinds   1 branch, 2 leaf, 4 overflow, 8 head
 *   branch, leaf    u16 offset of each node, up to `lower`; nodes from `upper` to the page's end
 *   node    u16 low, u16 high | u16 flags | u16 key length | key | data
 *           branch: page number = low, high, flags; leaf: data length = low, high
 *           leaf flags: 1 data is the number of the first of its overflow pages, 2 data is a tree
 *   tree    u32 | u16 flags | u16 depth | u64 branch, leaf, overflow pages, entries | u64 root
 *   head    (pages 0 and 1, written in turns) u32 magic, version | u64 | u64 map bytes |
 *           tree of free pages (its first u32: page size) | main tree | u64 last page | u64
 * transaction free    key: u64 transaction; data: u64 count | page numbers, descending
 *
 * A head's transaction number is even on page 0 and odd on page 1, and one apart from the other's:
 * so a damaged number is noticed, which would otherwise bring back the state before the last write
 * (all but one bit of it: less by two is as if that write had never been).
 */
#define _GNU_SOURCE
#include "store/structure.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_MAGIC   0xbeefc0deu
#define HEAD_VERSION 1u
#define PAGE_HEAD    16u
#define NODE_HEAD    8u
#define TREE_BYTES   48u
#define DEPTH_MAX    32u
#define KEY_MAX      511u
#define PAGE_MIN     4096u
#define PAGE_MAX     32768u
#define TREES_MAX    4096u
#define NO_PAGE      UINT64_MAX

enum page_kind { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_HEADS = 8 };
enum node_flag { NODE_LARGE = 1, NODE_TREE = 2 };
enum tree_role { TREE_FREE, TREE_MAIN, TREE_TABLE };

struct tree {
    uint16_t flags, depth;
    uint64_t branch, leaf, overflow, entries, root;
};

struct key {
    const uint8_t *bytes;
    size_t len;
};

struct examination {
    const uint8_t *file;
    uint64_t pages; /* whole ones in the file */
    uint64_t last;  /* the last page in use, as the head has it */
    uint64_t transaction;
    uint32_t page_bytes;
    uint8_t *seen;         /* a bit for each page */
    uint64_t *node_places; /* a bit for every second byte of a page */
    struct error *e;
};

/* Within one tree. */
struct walk {
    struct examination *x;
    enum tree_role role;
    struct tree counted;
    uint16_t depth;
    struct key bound; /* the next key lies above it, or is equal when `inclusive` */
    bool inclusive;
};

#define DAMAGED(x, ...) error_set((x)->e, ATOLL_ECORRUPT, "data.mdb is damaged: " __VA_ARGS__)

static unsigned long long number(uint64_t n)
{
    return (unsigned long long)n;
}

/* ---- pages ---- */

/* Marks pages that something leads to. */
static int pages_claim(struct examination *x, uint64_t first, uint64_t count)
{
    if (first < 2 || first > x->last || count > x->last - first + 1)
        return DAMAGED(x, "something leads to page %llu, of %llu", number(first), number(x->last));
    for (uint64_t page = first; page < first + count; page++) {
        if (x->seen[page / 8] >> page % 8 & 1)
            return DAMAGED(x, "page %llu is used twice", number(page));
        x->seen[page / 8] |= (uint8_t)(1u << page % 8);
    }
    return 0;
}

static const uint8_t *page_at(const struct examination *x, uint64_t page)
{
    return x->file + page * x->page_bytes;
}

static int page_look(struct examination *x, uint64_t page, unsigned kinds, const uint8_t **out)
{
    if (page >= x->pages)
        return DAMAGED(x, "it ends before page %llu", number(page));
    const uint8_t *p = page_at(x, page);
    uint16_t kind = load_u16(p + 10);
    if (load_u64(p) != page || !(kind & kinds) || (kind & (kind - 1)))
        return DAMAGED(x, "page %llu is not what it should be", number(page));
    *out = p;
    return 0;
}

struct node {
    const uint8_t *at;
    uint16_t flags;
    uint64_t child; /* branch */
    uint32_t len;   /* leaf: of the data */
    struct key key;
    const uint8_t *data;
};

/* The node's bytes lie in the page, and no other node has them. */
static int node_place(struct examination *x, uint64_t page, uint32_t from, uint32_t to)
{
    for (uint32_t k = from / 2; k < (to + 1) / 2; k++) {
        if (x->node_places[k / 64] >> k % 64 & 1)
            return DAMAGED(x, "nodes of page %llu overlap", number(page));
        x->node_places[k / 64] |= 1ull << k % 64;
    }
    return 0;
}

static int node_read(struct examination *x, uint64_t page, uint32_t index, bool branch,
                     struct node *out)
{
    const uint8_t *p = page_at(x, page);
    uint32_t at = load_u16(p + PAGE_HEAD + 2 * index), upper = load_u16(p + 14);
    if (at < upper || at % 2 != 0 || at > x->page_bytes - NODE_HEAD)
        return DAMAGED(x, "a node of page %llu lies outside of it", number(page));
    const uint8_t *n = p + at;
    *out = (struct node){.at = n, .flags = load_u16(n + 4), .len = load_u32(n)};
    out->child = out->len | (uint64_t)out->flags << 32;
    out->key = (struct key){n + NODE_HEAD, load_u16(n + 6)};
    out->data = out->key.bytes + out->key.len;
    uint64_t data_len = branch ? 0 : out->flags & NODE_LARGE ? 8 : out->len;
    uint64_t len = NODE_HEAD + out->key.len + data_len;
    if (out->key.len > KEY_MAX || len > x->page_bytes - at)
        return DAMAGED(x, "a node of page %llu lies outside of it", number(page));
    return node_place(x, page, at, at + (uint32_t)len);
}

/* ---- keys ---- */

static int key_compare(const struct walk *w, struct key a, struct key b)
{
    if (w->role == TREE_FREE) {
        uint64_t left = load_u64(a.bytes), right = load_u64(b.bytes);
        return (left > right) - (left < right);
    }
    int order = memcmp(a.bytes, b.bytes, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int key_advance(struct walk *w, uint64_t page, struct key key, bool separator)
{
    if (key.len == 0 || (w->role == TREE_FREE && key.len != 8))
        return DAMAGED(w->x, "a key of page %llu has a wrong length", number(page));
    if (w->bound.bytes) {
        int order = key_compare(w, w->bound, key);
        if (order > 0 || (order == 0 && (!w->inclusive || separator)))
            return DAMAGED(w->x, "the keys of page %llu do not ascend", number(page));
    }
    w->bound = key;
    w->inclusive = separator;
    return 0;
}

/* ---- trees ---- */

static int tree_walk(struct examination *x, const uint8_t *bytes, enum tree_role role);

static int free_list_check(struct walk *w, uint64_t transaction, const uint8_t *list, uint64_t len)
{
    struct examination *x = w->x;
    uint64_t count = len >= 8 ? load_u64(list) : 0, above = UINT64_MAX;
    if (transaction > x->transaction)
        return DAMAGED(x, "pages were freed by transaction %llu, which has not been",
                       number(transaction));
    if (len < 8 || len % 8 != 0 || count > len / 8 - 1)
        return DAMAGED(x, "a list of free pages has a wrong length");
    for (uint64_t k = 1; k <= count; k++) {
        uint64_t page = load_u64(list + 8 * k);
        if (page >= above)
            return DAMAGED(x, "a list of free pages does not descend");
        int rc = pages_claim(x, page, 1);
        if (rc < 0)
            return rc;
        above = page;
    }
    return 0;
}

/* Where a node's large data lie; they count for the tree. */
static int large_look(struct walk *w, const struct node *node, const uint8_t **data)
{
    struct examination *x = w->x;
    const uint8_t *p;
    uint64_t first = load_u64(node->data);
    uint64_t needed = (PAGE_HEAD - 1 + (uint64_t)node->len) / x->page_bytes + 1;
    int rc = first < 2 ? DAMAGED(x, "large data on page %llu", number(first))
                       : page_look(x, first, PAGE_OVERFLOW, &p);
    if (rc < 0)
        return rc;
    uint64_t pages = load_u32(p + 12);
    if (pages < needed || pages > x->pages - first)
        return DAMAGED(x, "the large data on page %llu have a wrong length", number(first));
    w->counted.overflow += pages;
    *data = p + PAGE_HEAD;
    return pages_claim(x, first, pages);
}

static int leaf_node_check(struct walk *w, const struct node *node)
{
    const uint8_t *data = node->data;
    w->counted.entries++;
    if (node->flags & NODE_LARGE) {
        int rc = large_look(w, node, &data);
        if (rc < 0)
            return rc;
    }
    if (w->role == TREE_FREE)
        return node->flags & ~NODE_LARGE
                   ? DAMAGED(w->x, "odd free pages")
                   : free_list_check(w, load_u64(node->key.bytes), data, node->len);
    if (w->role == TREE_TABLE)
        return node->flags & ~NODE_LARGE ? DAMAGED(w->x, "a record of an odd kind") : 0;
    if (node->flags != NODE_TREE || node->len != TREE_BYTES)
        return error_set(w->x->e, ATOLL_ETYPE, "data.mdb is not a store of Atoll, or damaged");
    if (w->counted.entries > TREES_MAX)
        return DAMAGED(w->x, "too many tables");
    return 0;
}

static int page_walk(struct walk *w, uint64_t page, uint16_t depth);

/* All nodes are looked at first, since a child's walk uses node_places again. */
static int branch_walk(struct walk *w, uint64_t page, uint32_t nodes, uint16_t depth)
{
    struct node node = {0};
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < nodes; k++)
        rc = node_read(w->x, page, k, true, &node);
    for (uint32_t k = 0; rc == 0 && k < nodes; k++) {
        const uint8_t *n = page_at(w->x, page);
        n += load_u16(n + PAGE_HEAD + 2 * k);
        struct key key = {n + NODE_HEAD, load_u16(n + 6)};
        uint64_t child = load_u32(n) | (uint64_t)load_u16(n + 4) << 32;
        if (k > 0) /* the first key counts for nothing */
            rc = key_advance(w, page, key, true);
        if (rc == 0)
            rc = page_walk(w, child, depth + 1);
    }
    return rc;
}

static int leaf_walk(struct walk *w, uint64_t page, uint32_t nodes)
{
    struct node node;
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < nodes; k++) {
        rc = node_read(w->x, page, k, false, &node);
        if (rc == 0)
            rc = key_advance(w, page, node.key, false);
        if (rc == 0)
            rc = leaf_node_check(w, &node);
    }
    return rc;
}

static int page_walk(struct walk *w, uint64_t page, uint16_t depth)
{
    struct examination *x = w->x;
    const uint8_t *p;
    bool branch = depth < w->depth;
    int rc = pages_claim(x, page, 1);
    if (rc == 0)
        rc = page_look(x, page, branch ? PAGE_BRANCH : PAGE_LEAF, &p);
    if (rc < 0)
        return rc;
    uint32_t lower = load_u16(p + 12), upper = load_u16(p + 14);
    uint32_t nodes = (lower - PAGE_HEAD) / 2, least = branch ? 2 : 1;
    if (lower < PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > x->page_bytes)
        return DAMAGED(x, "page %llu has no order", number(page));
    /* LMDB leaves thinner pages in the tree of free pages. */
    if (nodes < (w->role == TREE_FREE ? least - 1 : least))
        return DAMAGED(x, "page %llu is empty", number(page));
    memset(x->node_places, 0, x->page_bytes / 16);
    if (branch) {
        w->counted.branch++;
        return branch_walk(w, page, nodes, depth);
    }
    w->counted.leaf++;
    return leaf_walk(w, page, nodes);
}

static struct tree tree_read(const uint8_t *p)
{
    return (struct tree){.flags = load_u16(p + 4),
                         .depth = load_u16(p + 6),
                         .branch = load_u64(p + 8),
                         .leaf = load_u64(p + 16),
                         .overflow = load_u64(p + 24),
                         .entries = load_u64(p + 32),
                         .root = load_u64(p + 40)};
}

static int tree_walk(struct examination *x, const uint8_t *bytes, enum tree_role role)
{
    struct tree tree = tree_read(bytes);
    struct walk w = {.x = x, .role = role, .depth = tree.depth};
    uint16_t flags = role == TREE_FREE ? 8 : 0; /* keys are integers */
    if (tree.flags != flags)
        return error_set(x->e, ATOLL_ETYPE, "data.mdb is not a store of Atoll, or damaged");
    if (tree.depth > DEPTH_MAX || (tree.depth == 0) != (tree.root == NO_PAGE))
        return DAMAGED(x, "a tree has no root");
    int rc = tree.depth > 0 ? page_walk(&w, tree.root, 1) : 0;
    const struct tree *c = &w.counted;
    if (rc == 0 && (c->branch != tree.branch || c->leaf != tree.leaf ||
                    c->overflow != tree.overflow || c->entries != tree.entries))
        rc = DAMAGED(x, "a tree has other pages than it says");
    return rc;
}

/* The tables that the main tree leads to; it was walked and found in order. */
static int tables_walk(struct examination *x, uint64_t page, uint16_t depth, uint16_t leaf_depth)
{
    const uint8_t *p = page_at(x, page);
    uint32_t nodes = (load_u16(p + 12) - PAGE_HEAD) / 2;
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < nodes; k++) {
        const uint8_t *n = p + load_u16(p + PAGE_HEAD + 2 * k);
        if (depth < leaf_depth)
            rc = tables_walk(x, load_u32(n) | (uint64_t)load_u16(n + 4) << 32,
                             (uint16_t)(depth + 1), leaf_depth);
        else
            rc = tree_walk(x, n + NODE_HEAD + load_u16(n + 6), TREE_TABLE);
    }
    return rc;
}

/* ---- heads ---- */

static int head_check(struct examination *x, uint64_t page, uint64_t *transaction)
{
    const uint8_t *p = page_at(x, page);
    if (load_u64(p) != page || load_u16(p + 10) != PAGE_HEADS || load_u32(p + 16) != HEAD_MAGIC)
        return error_set(x->e, ATOLL_ETYPE, "data.mdb is not a store of Atoll, or damaged");
    if (load_u32(p + 20) != HEAD_VERSION)
        return error_set(x->e, ATOLL_EUNSUPPORTED, "data.mdb has version %u of LMDB's format",
                         load_u32(p + 20));
    if (load_u32(p + 40) != x->page_bytes)
        return DAMAGED(x, "its heads differ");
    *transaction = load_u64(p + 144);
    return 0;
}

static int heads_check(struct examination *x, const uint8_t **newer)
{
    uint64_t even, odd;
    int rc = head_check(x, 0, &even);
    if (rc == 0)
        rc = head_check(x, 1, &odd);
    if (rc < 0)
        return rc;
    bool fresh = even == 0 && odd == 0;
    if (!fresh && (even % 2 != 0 || odd % 2 != 1 || (even > odd ? even - odd : odd - even) != 1))
        return DAMAGED(x, "its heads have transactions %llu and %llu", number(even), number(odd));
    *newer = page_at(x, odd > even);
    x->transaction = odd > even ? odd : even;
    x->last = load_u64(*newer + 136);
    uint64_t map = load_u64(*newer + 32);
    if (x->last < 1 || x->last >= map / x->page_bytes || map > 1ull << 47)
        return DAMAGED(x, "it says that it has %llu pages", number(x->last));
    return 0;
}

static int file_walk(struct examination *x)
{
    const uint8_t *head;
    int rc = heads_check(x, &head);
    if (rc < 0)
        return rc;
    x->seen = calloc(1, x->last / 8 + 1);
    x->node_places = calloc(1, x->page_bytes / 16);
    if (!x->seen || !x->node_places)
        return error_set(x->e, ATOLL_ENOMEM, "no memory to examine data.mdb");
    rc = tree_walk(x, head + 40, TREE_FREE);
    if (rc == 0)
        rc = tree_walk(x, head + 40 + TREE_BYTES, TREE_MAIN);
    struct tree main = tree_read(head + 40 + TREE_BYTES);
    if (rc == 0 && main.depth > 0)
        rc = tables_walk(x, main.root, 1, main.depth);
    return rc;
}

static int file_map(int fd, struct examination *x, size_t *len)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(x->e, 0, "cannot examine data.mdb");
    *len = (size_t)status.st_size;
    if (*len < 2 * PAGE_MIN)
        return error_set(x->e, ATOLL_ECORRUPT, "data.mdb is cut off");
    void *file = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
    if (file == MAP_FAILED)
        return error_set_errno(x->e, 0, "cannot read data.mdb");
    x->file = file;
    x->page_bytes = load_u32(x->file + 40);
    if (load_u32(x->file + 16) != HEAD_MAGIC)
        return error_set(x->e, ATOLL_ETYPE, "data.mdb is not a store of Atoll, or damaged");
    if (x->page_bytes < PAGE_MIN || x->page_bytes > PAGE_MAX ||
        (x->page_bytes & (x->page_bytes - 1)) || *len < 2 * (size_t)x->page_bytes)
        return DAMAGED(x, "its pages have %u bytes", x->page_bytes);
    x->pages = *len / x->page_bytes;
    return 0;
}

int structure_check(const char *directory, struct error *e)
{
    struct examination x = {.e = e};
    char path[PATH_MAX];
    size_t len = 0;
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    int rc = file_map(fd, &x, &len);
    if (rc == 0)
        rc = file_walk(&x);
    if (x.file)
        munmap((void *)(uintptr_t)x.file, len);
    free(x.seen);
    free(x.node_places);
    close(fd);
    return rc;
}
