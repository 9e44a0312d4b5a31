/*
 * From the relocatable objects of the shards to one position-independent code image.
 *
 * The objects come from a process that handled hostile input: every offset is checked. Allowed
 * relocations: R_X86_64_PC32, PLT32, PC64, all resolved inside the image; anything else, and any
 * undefined symbol, is an error.
 */
#ifndef ENGINE_OBJECT_H
#define ENGINE_OBJECT_H

#include "base/bytes.h"
#include "engine/abi.h"

/* Code from code_offset up to the next row belongs to the operator at wasm_offset (0 = none). */
struct line_row {
    uint32_t code_offset, wasm_offset;
};

struct code_image {
    struct buffer bytes;        /* text of all shards, then read-only data */
    uint32_t text_size;         /* bytes [0, text_size) are instructions */
    uint32_t *function_offsets; /* per defined function (index - imported_functions) */
    uint32_t *function_sizes;
    uint32_t *entry_offsets;  /* per type index (canonical ones); UINT32_MAX where none */
    uint32_t *import_offsets; /* per imported function */
    struct line_row *rows;    /* sorted by code_offset */
    uint32_t row_count;
    bool degraded; /* a shard was compiled at a lower tier than asked for */
};

int object_merge(const struct wasm_module *, const struct buffer *objects, uint32_t count,
                 struct code_image *out, struct error *e);
void code_image_free(struct code_image *);

/* Disassembles text function by function and refuses what no artefact may contain: system calls,
 * software interrupts, far transfers, privileged, port, segment and protection-key instructions,
 * xrstor, and segment prefixes. */
int code_scan(const uint8_t *text, size_t len, const uint32_t *starts, uint32_t count,
              struct error *e);

#endif
