/*
 * The file of a proto-image, little-endian, in pages of 4096 bytes:
 *
 *   page 0     struct proto_header, zeros
 *   page 1..   metadata, metadata_len bytes, then zeros up to a page:
 *                for each module, in the order of linking
 *                  struct proto_module_head
 *                  16 bytes                 x globals    of each defined mutable global: a number's
 *                                                        bits, or struct proto_pair
 *                  for each defined table: struct proto_table_head, struct proto_pair x pairs
 *                  u8                       x segments   1 = dropped: data, then element segments
 *                  zeros up to a multiple of 8
 *                struct proto_extent        x extent_count   ascending by module, then by page
 *                owner's bytes, owner_len
 *   the rest   the extents' pages, one behind the other
 *
 * Pages of memory in no extent are zero. Within an extent no run of zero pages is as long as
 * PROTO_HOLE_PAGES, so their number is bounded; shorter runs may be holes of the file.
 *
 * root is the top of a tree of SHA-256: of every page of the file (page 0 with root zeroed), then
 * of every 128 of these hashes (the last group filled up with zeros), and so on up to one hash;
 * root is that hash, hashed once more behind PROTO_DOMAIN.
 */
#ifndef SANDBOX_PROTO_FORMAT_H
#define SANDBOX_PROTO_FORMAT_H

#include "crypto/hash.h"
#include "sandbox/pages.h"
#include "sandbox/proto_image.h"

#define PROTO_MAGIC      "ATPF"
#define PROTO_FORMAT     1u
#define PROTO_DOMAIN     "atoll proto-image, format 1"
#define PROTO_HOLE_PAGES 16u
#define PROTO_FANOUT     (PAGE_BYTES / HASH_LEN)
/* Memories of all modules of an arena lie in its slot. */
#define PROTO_MEMORY_MAX SLOT_SIZE
#define PROTO_FILE_MAX   (PAGE_BYTES + PROTO_METADATA_MAX + PROTO_MEMORY_MAX)

struct proto_header {
    uint8_t magic[4];
    uint32_t format;
    uint8_t abi[HASH_LEN]; /* proto_abi */
    uint8_t root[HASH_LEN];
    uint64_t file_bytes;
    uint64_t metadata_len, owner_len;
    uint64_t memory_bytes; /* of memory 0 of the arena */
    uint32_t module_count, extent_count;
};

struct proto_module_head {
    uint8_t wasm_sha256[HASH_LEN];
    uint32_t link; /* enum link_mode */
    uint32_t globals, tables, segments;
    uint64_t memory_bytes; /* of its own memory; 0 when it has none or imports one */
};

/* A function reference. module PROTO_NULL: null, and in a table `function` of them in a row. */
#define PROTO_NULL UINT32_MAX
struct proto_pair {
    uint32_t module, function; /* ordinal; index in its function space */
};

struct proto_table_head {
    uint32_t size, pairs; /* entries; entries the pairs stand for are as many */
};

struct proto_extent {
    uint32_t module, pages;
    uint64_t page; /* first page in its memory */
};

_Static_assert(sizeof(struct proto_header) == 112, "no padding");
_Static_assert(sizeof(struct proto_module_head) == 56, "no padding");
_Static_assert(sizeof(struct proto_extent) == 16, "no padding");

/* An opened image: its bytes are sealed, and structure and bounds of the metadata are checked. What
 * it means for the modules is not. */
struct proto_image {
    int fd;
    const uint8_t *bytes;
    struct proto_header header;
    const uint8_t **modules; /* where the record of each module begins */
    const uint8_t *extents, *owner;
    const uint8_t *pages; /* of the extents */
};

/* Names what an image means beyond its format: page sizes, the place of the window. */
void proto_abi(uint8_t out[static HASH_LEN]);
/* The root over a file's bytes, whole pages. -ATOLL_ENOMEM. */
int proto_root(const uint8_t *bytes, uint64_t len, uint8_t out[static HASH_LEN], struct error *e);

#endif
