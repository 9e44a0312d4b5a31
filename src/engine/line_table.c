/*
 * A line program is byte code for a small state machine (DWARF 5 §6.2.2). Of its registers only the
 * address and the line matter here, so files, columns and views are parsed and dropped. Every row
 * costs at least one byte of input, so the output is bounded by the section's size.
 */
#include "engine/line_table.h"

#define SMALLEST_HEADER 9 /* up to and with standard_opcode_lengths[0] of version 4 */

enum standard_opcode {
    LNS_COPY = 1,
    LNS_ADVANCE_PC,
    LNS_ADVANCE_LINE,
    LNS_SET_FILE,
    LNS_SET_COLUMN,
    LNS_NEGATE_STATEMENT,
    LNS_SET_BASIC_BLOCK,
    LNS_CONST_ADD_PC,
    LNS_FIXED_ADVANCE_PC,
    LNS_SET_PROLOGUE_END,
    LNS_SET_EPILOGUE_BEGIN,
    LNS_SET_ISA,
};
enum extended_opcode { LNE_END_SEQUENCE = 1, LNE_SET_ADDRESS = 2 };

struct line_program {
    const uint8_t *at, *end; /* the program's bytes */
    bool failed;
    uint8_t instruction_size, line_range, opcode_base;
    int8_t line_base;
    uint8_t operand_counts[256];
    uint64_t address, address_limit;
    uint32_t line;
    struct buffer *rows;
};

static uint64_t read_bytes(struct line_program *p, size_t len)
{
    if ((size_t)(p->end - p->at) < len) {
        p->failed = true;
        p->at = p->end;
        return 0;
    }
    uint64_t value = 0;
    memcpy(&value, p->at, len);
    p->at += len;
    return value;
}

static uint64_t read_uleb(struct line_program *p)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = (uint8_t)read_bytes(p, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    p->failed = true;
    return 0;
}

static int64_t read_sleb(struct line_program *p)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64;) {
        uint8_t byte = (uint8_t)read_bytes(p, 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (byte & 0x80)
            continue;
        if ((byte & 0x40) && shift < 64)
            value |= ~0ull << shift;
        return (int64_t)value;
    }
    p->failed = true;
    return 0;
}

static bool row_append(struct line_program *p, uint32_t line)
{
    if (p->address > p->address_limit) {
        p->failed = true;
        return false;
    }
    struct line_row row = {(uint32_t)p->address, line};
    return buffer_append(p->rows, &row, sizeof row);
}

static void registers_reset(struct line_program *p)
{
    p->address = 0;
    p->line = 1;
}

/* The address part of a special opcode; also what LNS_CONST_ADD_PC adds (§6.2.5.1). */
static void advance_special(struct line_program *p, uint8_t adjusted)
{
    p->address += (uint64_t)(adjusted / p->line_range) * p->instruction_size;
}

static bool extended_run(struct line_program *p)
{
    uint64_t len = read_uleb(p);
    if (p->failed || len == 0 || len > (uint64_t)(p->end - p->at)) {
        p->failed = true;
        return true;
    }
    const uint8_t *next = p->at + len;
    bool ok = true;
    switch (read_bytes(p, 1)) {
    case LNE_END_SEQUENCE:
        ok = row_append(p, 0);
        registers_reset(p);
        break;
    case LNE_SET_ADDRESS:
        if (len != 9)
            p->failed = true;
        else
            p->address = read_bytes(p, 8);
        break;
    default: break;
    }
    p->at = next;
    return ok;
}

static bool standard_run(struct line_program *p, uint8_t opcode)
{
    switch (opcode) {
    case LNS_COPY: return row_append(p, p->line);
    case LNS_ADVANCE_PC: p->address += read_uleb(p) * p->instruction_size; break;
    case LNS_ADVANCE_LINE: p->line += (uint32_t)read_sleb(p); break;
    case LNS_CONST_ADD_PC: advance_special(p, (uint8_t)(255 - p->opcode_base)); break;
    case LNS_FIXED_ADVANCE_PC: p->address += read_bytes(p, 2); break;
    default:
        for (unsigned i = 0; i < p->operand_counts[opcode]; i++)
            (void)read_uleb(p);
    }
    return true;
}

/* False when memory is exhausted; malformed input sets p->failed. */
static bool program_run(struct line_program *p)
{
    registers_reset(p);
    bool ok = true;
    while (ok && !p->failed && p->at < p->end) {
        uint8_t opcode = (uint8_t)read_bytes(p, 1);
        if (opcode >= p->opcode_base) {
            uint8_t adjusted = (uint8_t)(opcode - p->opcode_base);
            advance_special(p, adjusted);
            p->line += (uint32_t)(p->line_base + adjusted % p->line_range);
            ok = row_append(p, p->line);
        } else if (opcode == 0) {
            ok = extended_run(p);
        } else {
            ok = standard_run(p, opcode);
        }
    }
    return ok || p->failed;
}

/* Reads the header of the unit that p spans and leaves p at its first opcode. */
static void header_read(struct line_program *p)
{
    uint64_t version = read_bytes(p, 2);
    if (version != 4 && version != 5)
        p->failed = true;
    if (version == 5 && (read_bytes(p, 1) != 8 || read_bytes(p, 1) != 0))
        p->failed = true; /* not 64-bit flat addresses */
    uint64_t rest = read_bytes(p, 4);
    if (p->failed || rest < SMALLEST_HEADER || rest > (uint64_t)(p->end - p->at)) {
        p->failed = true;
        return;
    }
    const uint8_t *first = p->at + rest;
    p->instruction_size = (uint8_t)read_bytes(p, 1);
    bool one_operation = read_bytes(p, 1) == 1; /* no VLIW */
    (void)read_bytes(p, 1);                     /* default_is_stmt */
    p->line_base = (int8_t)read_bytes(p, 1);
    p->line_range = (uint8_t)read_bytes(p, 1);
    p->opcode_base = (uint8_t)read_bytes(p, 1);
    for (unsigned i = 1; i < p->opcode_base; i++)
        p->operand_counts[i] = (uint8_t)read_bytes(p, 1);
    if (!one_operation || p->line_range == 0 || p->opcode_base == 0 || p->at > first)
        p->failed = true;
    p->at = first; /* skips directories and files */
}

int line_table_read(const uint8_t *section, size_t len, uint64_t address_limit, struct buffer *rows,
                    struct error *e)
{
    if (len == 0) /* section may be NULL then */
        return 0;
    const uint8_t *at = section, *end = section + len;
    while (at < end) {
        struct line_program p = {
            .at = at, .end = end, .address_limit = address_limit, .rows = rows};
        uint64_t unit = read_bytes(&p, 4);
        if (p.failed || unit > (uint64_t)(end - p.at)) /* 64-bit DWARF has 0xffffffff here */
            return error_set_at(e, ATOLL_ECORRUPT, (uint64_t)(at - section), UINT32_MAX,
                                "an object's line table is cut off");
        p.end = p.at + unit;
        header_read(&p);
        if (!p.failed && !program_run(&p))
            return error_set(e, ATOLL_ENOMEM, "no memory for the line table");
        if (p.failed)
            return error_set_at(e, ATOLL_ECORRUPT, (uint64_t)(p.at - section), UINT32_MAX,
                                "an object's line table is malformed");
        at = p.end;
    }
    return 0;
}
