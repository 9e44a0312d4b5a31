/*
 * The artefact's bytes. Everything is little-endian; sizes follow from the counts in the header, so
 * no table can overlap another. Written by artefact_build.c, read by artefact.c.
 *
 *   0    struct artefact_header (128 bytes)
 *        u32 function_offsets[functions]   in the code, per defined function
 *        u32 function_sizes[functions]
 *        u32 body_offsets[functions]       in the original module, ascending
 *        u32 entry_offsets[types]          UINT32_MAX where there is no thunk
 *        u32 import_offsets[imports]       per imported function
 *        zero bytes up to a multiple of 8
 *        struct image_extent[extents]      what of the initial image is not zero
 *        struct row_block[]                the line rows (line_rows.h)
 *        their packed bytes, row_bytes of them
 *        the module's skeleton, skeleton_size bytes (skeleton.h)
 *        zero bytes up to a multiple of 4096
 *   T    the code image, code_size bytes (multiple of 4096)
 *        the extents' bytes, one after the other
 *
 * The code begins at a page, so that a memory file of these bytes can be mapped into arenas as it
 * is. A file has a trailer of 64 bytes behind it: the cache key, and a MAC (artefact_seal.h).
 */
#ifndef ENGINE_ARTEFACT_FORMAT_H
#define ENGINE_ARTEFACT_FORMAT_H

#include "engine/artefact.h"
#include "engine/initial_image.h"

#define ARTEFACT_MAGIC     "ATOLLART"
#define ARTEFACT_BYTES_MAX (1ull << 30)
#define ARTEFACT_PAGE      4096u

enum artefact_flag {
    ARTEFACT_FUEL = 1 << 0,
    ARTEFACT_TAIL_CALLS = 1 << 1,
    ARTEFACT_DETERMINISTIC = 1 << 2,
    ARTEFACT_DEGRADED = 1 << 3,
    ARTEFACT_GLOBALS_BAKED = 1 << 4,
    ARTEFACT_FLAGS_ALL = (1 << 5) - 1,
};

struct artefact_header {
    uint8_t magic[8];
    uint32_t format;
    uint8_t tier, mode, cpu, link;
    uint32_t flags, text_size;
    uint64_t cpu_features;
    uint8_t wasm_sha256[HASH_LEN];
    uint32_t functions, types, imports, rows;
    uint32_t row_bytes, skeleton_size, extents, code_size;
    uint64_t data_size;
    uint32_t baked_elements, baked_datas;
    uint64_t reserved[2];
};
_Static_assert(sizeof(struct artefact_header) == 128, "the header has no padding");

/* Where each table begins. All sums fit: counts are below 2^32, sizes below 2^36. */
struct artefact_tables {
    uint64_t function_offsets, function_sizes, body_offsets, entry_offsets, import_offsets;
    uint64_t extents, row_blocks, row_bytes, skeleton, code, extent_bytes;
};

static inline struct artefact_tables artefact_tables_place(const struct artefact_header *h)
{
    struct artefact_tables t;
    t.function_offsets = sizeof *h;
    t.function_sizes = t.function_offsets + 4ull * h->functions;
    t.body_offsets = t.function_sizes + 4ull * h->functions;
    t.entry_offsets = t.body_offsets + 4ull * h->functions;
    t.import_offsets = t.entry_offsets + 4ull * h->types;
    t.extents = align_up(t.import_offsets + 4ull * h->imports, 8);
    t.row_blocks = t.extents + sizeof(struct image_extent) * (uint64_t)h->extents;
    t.row_bytes = t.row_blocks + sizeof(struct row_block) * (uint64_t)row_blocks_count(h->rows);
    t.skeleton = t.row_bytes + h->row_bytes;
    t.code = align_up(t.skeleton + h->skeleton_size, ARTEFACT_PAGE);
    t.extent_bytes = t.code + h->code_size;
    return t;
}

#endif
