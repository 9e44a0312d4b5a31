/* Packing and searching of line rows (line_rows.h). Used by artefact_build.c and artefact.c. */
#include "engine/line_rows.h"

static bool append_unsigned(struct buffer *out, uint64_t value)
{
    bool ok = true;
    do {
        uint8_t byte = value & 0x7f;
        value >>= 7;
        if (value)
            byte |= 0x80;
        ok = buffer_append(out, &byte, 1);
    } while (ok && value);
    return ok;
}

bool line_rows_pack(const struct line_row *rows, uint32_t count, struct buffer *blocks,
                    struct buffer *bytes)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < count; i++) {
        if (i % ROWS_PER_BLOCK == 0) {
            struct row_block block = {rows[i].code_offset, rows[i].wasm_offset,
                                      (uint32_t)bytes->len};
            ok = buffer_append(blocks, &block, sizeof block);
            continue;
        }
        int64_t distance = (int64_t)rows[i].wasm_offset - rows[i - 1].wasm_offset;
        ok = append_unsigned(bytes, rows[i].code_offset - rows[i - 1].code_offset) &&
             append_unsigned(bytes, (uint64_t)distance << 1 ^ (uint64_t)(distance >> 63));
    }
    return ok;
}

static uint64_t read_unsigned(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

/* The last block that begins at or before code_offset, or NULL. */
static const struct row_block *block_find(const struct line_rows *r, uint32_t code_offset)
{
    uint32_t low = 0, high = row_blocks_count(r->count);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r->blocks[middle].code_offset <= code_offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &r->blocks[low - 1] : NULL;
}

uint32_t line_rows_find(const struct line_rows *r, uint32_t code_offset)
{
    const struct row_block *block = block_find(r, code_offset);
    if (!block)
        return 0;
    uint64_t code = block->code_offset;
    uint32_t wasm = block->wasm_offset;
    uint32_t rows_left = r->count - (uint32_t)(block - r->blocks) * ROWS_PER_BLOCK - 1;
    if (rows_left > ROWS_PER_BLOCK - 1)
        rows_left = ROWS_PER_BLOCK - 1;
    if (r->size == 0) /* bytes may be NULL then */
        return wasm;
    const uint8_t *end = r->bytes + r->size;
    const uint8_t *at = block->position < r->size ? r->bytes + block->position : end;
    for (; rows_left; rows_left--) {
        uint64_t step = read_unsigned(&at, end);
        uint64_t distance = read_unsigned(&at, end);
        if (step > UINT32_MAX || (code += step) > code_offset)
            break;
        wasm += (uint32_t)(distance >> 1 ^ (0 - (distance & 1)));
    }
    return wasm;
}
