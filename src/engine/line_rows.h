/*
 * The map from code to wasm as an artefact keeps it: small, searched where it lies, never unpacked.
 * Traps and backtraces look up a few addresses; loading an artefact must not cost a pass over all.
 *
 * Rows are grouped in blocks. A block's first row stands in a table; the others follow as LEB128 of
 * the distance from the row before: of the code offsets, then of the wasm offsets in zigzag form
 * (0 -1 1 -2 2 …).
 */
#ifndef ENGINE_LINE_ROWS_H
#define ENGINE_LINE_ROWS_H

#include "engine/object.h"

#define ROWS_PER_BLOCK 256u

struct row_block {
    uint32_t code_offset, wasm_offset; /* the first row */
    uint32_t position;                 /* of the second row, in the bytes */
};

static inline uint32_t row_blocks_count(uint32_t rows)
{
    return rows / ROWS_PER_BLOCK + (rows % ROWS_PER_BLOCK != 0);
}

/* Appends the blocks of sorted rows to blocks and the packed rows to bytes. False when memory is
 * exhausted. */
bool line_rows_pack(const struct line_row *rows, uint32_t count, struct buffer *blocks,
                    struct buffer *bytes);

struct line_rows {
    const struct row_block *blocks; /* row_blocks_count(count) of them */
    const uint8_t *bytes;
    uint32_t count, size; /* rows; bytes */
};

/* The wasm offset of the last row at or before code_offset; 0 when there is none. Whatever blocks
 * and bytes hold, nothing outside of them is read. */
uint32_t line_rows_find(const struct line_rows *, uint32_t code_offset);

#endif
