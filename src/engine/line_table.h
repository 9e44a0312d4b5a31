/*
 * Reads what a compiler writes into .debug_line: which line a code address belongs to (DWARF 4 and
 * 5, §6.2). Atoll's lowering puts wasm offsets where other compilers put lines, so this yields the
 * map from code to wasm. The bytes are untrusted.
 */
#ifndef ENGINE_LINE_TABLE_H
#define ENGINE_LINE_TABLE_H

#include "engine/object.h"

/* Appends the rows of every line program in the section to rows, an array of struct line_row, in
 * the order in which the programs emit them. Addresses are already relocated: an address beyond
 * address_limit is an error. The end of a sequence yields a row with wasm_offset 0. */
int line_table_read(const uint8_t *section, size_t len, uint64_t address_limit, struct buffer *rows,
                    struct error *e);

#endif
