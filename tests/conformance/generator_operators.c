/* See generator_operators.h. */
#include "generator_operators.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

/* Operators with consecutive codes and one signature: "result" then operands. */
struct operator_range {
    uint32_t first, last;
    char signature[5];
    uint8_t lanes, nan, guard;
};

#define SIMD(code) (0xfd000u | (code))
#define SAT(code)  (0xfc000u | (code))

static const struct operator_range ranges[] = {
    {0x45, 0x45, "ii", 0, 0, 0},
    {0x46, 0x4f, "iii", 0, 0, 0},
    {0x50, 0x50, "il", 0, 0, 0},
    {0x51, 0x5a, "ill", 0, 0, 0},
    {0x5b, 0x60, "iff", 0, 0, 0},
    {0x61, 0x66, "idd", 0, 0, 0},
    {0x67, 0x69, "ii", 0, 0, 0},
    {0x6a, 0x6c, "iii", 0, 0, 0},
    {0x6d, 0x70, "iii", 0, 0, GUARD_DIVISOR},
    {0x71, 0x78, "iii", 0, 0, 0},
    {0x79, 0x7b, "ll", 0, 0, 0},
    {0x7c, 0x7e, "lll", 0, 0, 0},
    {0x7f, 0x82, "lll", 0, 0, GUARD_DIVISOR},
    {0x83, 0x8a, "lll", 0, 0, 0},
    {0x8b, 0x8c, "ff", 0, 0, 0},
    {0x8d, 0x91, "ff", 0, NAN_F32, 0},
    {0x92, 0x97, "fff", 0, NAN_F32, 0},
    {0x98, 0x98, "fff", 0, 0, 0},
    {0x99, 0x9a, "dd", 0, 0, 0},
    {0x9b, 0x9f, "dd", 0, NAN_F64, 0},
    {0xa0, 0xa5, "ddd", 0, NAN_F64, 0},
    {0xa6, 0xa6, "ddd", 0, 0, 0},
    {0xa7, 0xa7, "il", 0, 0, 0},
    {0xa8, 0xa9, "if", 0, 0, GUARD_TRUNC},
    {0xaa, 0xab, "id", 0, 0, GUARD_TRUNC},
    {0xac, 0xad, "li", 0, 0, 0},
    {0xae, 0xaf, "lf", 0, 0, GUARD_TRUNC},
    {0xb0, 0xb1, "ld", 0, 0, GUARD_TRUNC},
    {0xb2, 0xb3, "fi", 0, 0, 0},
    {0xb4, 0xb5, "fl", 0, 0, 0},
    {0xb6, 0xb6, "fd", 0, NAN_F32, 0},
    {0xb7, 0xb8, "di", 0, 0, 0},
    {0xb9, 0xba, "dl", 0, 0, 0},
    {0xbb, 0xbb, "df", 0, NAN_F64, 0},
    {0xbc, 0xbc, "if", 0, 0, 0},
    {0xbd, 0xbd, "ld", 0, 0, 0},
    {0xbe, 0xbe, "fi", 0, 0, 0},
    {0xbf, 0xbf, "dl", 0, 0, 0},
    {0xc0, 0xc1, "ii", 0, 0, 0},
    {0xc2, 0xc4, "ll", 0, 0, 0},
    {SAT(0), SAT(1), "if", 0, 0, 0},
    {SAT(2), SAT(3), "id", 0, 0, 0},
    {SAT(4), SAT(5), "lf", 0, 0, 0},
    {SAT(6), SAT(7), "ld", 0, 0, 0},
    {SIMD(0x0e), SIMD(0x0e), "vvv", 0, 0, 0},
    {SIMD(0x0f), SIMD(0x11), "vi", 0, 0, 0},
    {SIMD(0x12), SIMD(0x12), "vl", 0, 0, 0},
    {SIMD(0x13), SIMD(0x13), "vf", 0, 0, 0},
    {SIMD(0x14), SIMD(0x14), "vd", 0, 0, 0},
    {SIMD(0x15), SIMD(0x16), "iv", 16, 0, 0},
    {SIMD(0x17), SIMD(0x17), "vvi", 16, 0, 0},
    {SIMD(0x18), SIMD(0x19), "iv", 8, 0, 0},
    {SIMD(0x1a), SIMD(0x1a), "vvi", 8, 0, 0},
    {SIMD(0x1b), SIMD(0x1b), "iv", 4, 0, 0},
    {SIMD(0x1c), SIMD(0x1c), "vvi", 4, 0, 0},
    {SIMD(0x1d), SIMD(0x1d), "lv", 2, 0, 0},
    {SIMD(0x1e), SIMD(0x1e), "vvl", 2, 0, 0},
    {SIMD(0x1f), SIMD(0x1f), "fv", 4, 0, 0},
    {SIMD(0x20), SIMD(0x20), "vvf", 4, 0, 0},
    {SIMD(0x21), SIMD(0x21), "dv", 2, 0, 0},
    {SIMD(0x22), SIMD(0x22), "vvd", 2, 0, 0},
    {SIMD(0x23), SIMD(0x4c), "vvv", 0, 0, 0},
    {SIMD(0x4d), SIMD(0x4d), "vv", 0, 0, 0},
    {SIMD(0x4e), SIMD(0x51), "vvv", 0, 0, 0},
    {SIMD(0x52), SIMD(0x52), "vvvv", 0, 0, 0},
    {SIMD(0x53), SIMD(0x53), "iv", 0, 0, 0},
    {SIMD(0x5e), SIMD(0x5e), "vv", 0, NAN_F32X4, 0},
    {SIMD(0x5f), SIMD(0x5f), "vv", 0, NAN_F64X2, 0},
    {SIMD(0x60), SIMD(0x62), "vv", 0, 0, 0},
    {SIMD(0x63), SIMD(0x64), "iv", 0, 0, 0},
    {SIMD(0x65), SIMD(0x66), "vvv", 0, 0, 0},
    {SIMD(0x67), SIMD(0x6a), "vv", 0, NAN_F32X4, 0},
    {SIMD(0x6b), SIMD(0x6d), "vvi", 0, 0, 0},
    {SIMD(0x6e), SIMD(0x73), "vvv", 0, 0, 0},
    {SIMD(0x74), SIMD(0x75), "vv", 0, NAN_F64X2, 0},
    {SIMD(0x76), SIMD(0x79), "vvv", 0, 0, 0},
    {SIMD(0x7a), SIMD(0x7a), "vv", 0, NAN_F64X2, 0},
    {SIMD(0x7b), SIMD(0x7b), "vvv", 0, 0, 0},
    {SIMD(0x7c), SIMD(0x81), "vv", 0, 0, 0},
    {SIMD(0x82), SIMD(0x82), "vvv", 0, 0, 0},
    {SIMD(0x83), SIMD(0x84), "iv", 0, 0, 0},
    {SIMD(0x85), SIMD(0x86), "vvv", 0, 0, 0},
    {SIMD(0x87), SIMD(0x8a), "vv", 0, 0, 0},
    {SIMD(0x8b), SIMD(0x8d), "vvi", 0, 0, 0},
    {SIMD(0x8e), SIMD(0x93), "vvv", 0, 0, 0},
    {SIMD(0x94), SIMD(0x94), "vv", 0, NAN_F64X2, 0},
    {SIMD(0x95), SIMD(0x99), "vvv", 0, 0, 0},
    {SIMD(0x9b), SIMD(0x9f), "vvv", 0, 0, 0},
    {SIMD(0xa0), SIMD(0xa1), "vv", 0, 0, 0},
    {SIMD(0xa3), SIMD(0xa4), "iv", 0, 0, 0},
    {SIMD(0xa7), SIMD(0xaa), "vv", 0, 0, 0},
    {SIMD(0xab), SIMD(0xad), "vvi", 0, 0, 0},
    {SIMD(0xae), SIMD(0xae), "vvv", 0, 0, 0},
    {SIMD(0xb1), SIMD(0xb1), "vvv", 0, 0, 0},
    {SIMD(0xb5), SIMD(0xba), "vvv", 0, 0, 0},
    {SIMD(0xbc), SIMD(0xbf), "vvv", 0, 0, 0},
    {SIMD(0xc0), SIMD(0xc1), "vv", 0, 0, 0},
    {SIMD(0xc3), SIMD(0xc4), "iv", 0, 0, 0},
    {SIMD(0xc7), SIMD(0xca), "vv", 0, 0, 0},
    {SIMD(0xcb), SIMD(0xcd), "vvi", 0, 0, 0},
    {SIMD(0xce), SIMD(0xce), "vvv", 0, 0, 0},
    {SIMD(0xd1), SIMD(0xd1), "vvv", 0, 0, 0},
    {SIMD(0xd5), SIMD(0xdf), "vvv", 0, 0, 0},
    {SIMD(0xe0), SIMD(0xe1), "vv", 0, 0, 0},
    {SIMD(0xe3), SIMD(0xe3), "vv", 0, NAN_F32X4, 0},
    {SIMD(0xe4), SIMD(0xe9), "vvv", 0, NAN_F32X4, 0},
    {SIMD(0xea), SIMD(0xeb), "vvv", 0, 0, 0},
    {SIMD(0xec), SIMD(0xed), "vv", 0, 0, 0},
    {SIMD(0xef), SIMD(0xef), "vv", 0, NAN_F64X2, 0},
    {SIMD(0xf0), SIMD(0xf5), "vvv", 0, NAN_F64X2, 0},
    {SIMD(0xf6), SIMD(0xf7), "vvv", 0, 0, 0},
    {SIMD(0xf8), SIMD(0xff), "vv", 0, 0, 0},
};

#define OPERATORS_PER_TYPE 256

/* Expands the ranges that give one type. */
static uint32_t operators_expand(char result, bool simd, struct pure_operator *out)
{
    uint32_t count = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const struct operator_range *range = &ranges[i];
        if (range->signature[0] != result)
            continue;
        if (!simd && (range->first >> 12) == 0xfd)
            continue;
        for (uint32_t op = range->first; op <= range->last; op++) {
            assert(count < OPERATORS_PER_TYPE);
            out[count] = (struct pure_operator){
                op, result, "", range->lanes, range->nan, range->guard,
            };
            memcpy(out[count].operands, range->signature + 1, 4);
            count++;
        }
    }
    return count;
}

const struct pure_operator *pure_operators(char result, bool simd, uint32_t *count)
{
    static const char types[] = "ilfdv";
    static struct pure_operator operators[2][5][OPERATORS_PER_TYPE];
    static uint32_t counts[2][5];
    size_t type = (size_t)(strchr(types, result) - types);
    assert(type < 5);
    if (counts[simd][type] == 0)
        counts[simd][type] = operators_expand(result, simd, operators[simd][type]);
    *count = counts[simd][type];
    return operators[simd][type];
}

/* Seven atomic operators with consecutive codes: i32, i64, then the narrow ones. */
#define ATOMICS(code, kind)                                                                 \
    {0xfe000u | (code), kind, 2, 'i', true}, {0xfe000u | ((code) + 1), kind, 3, 'l', true}, \
        {0xfe000u | ((code) + 2), kind, 0, 'i', true},                                      \
        {0xfe000u | ((code) + 3), kind, 1, 'i', true},                                      \
        {0xfe000u | ((code) + 4), kind, 0, 'l', true},                                      \
        {0xfe000u | ((code) + 5), kind, 1, 'l', true},                                      \
    {                                                                                       \
        0xfe000u | ((code) + 6), kind, 2, 'l', true                                         \
    }

const struct memory_operator memory_operators[] = {
    {0x28, ACCESS_LOAD, 2, 'i', false},
    {0x29, ACCESS_LOAD, 3, 'l', false},
    {0x2a, ACCESS_LOAD, 2, 'f', false},
    {0x2b, ACCESS_LOAD, 3, 'd', false},
    {0x2c, ACCESS_LOAD, 0, 'i', false},
    {0x2d, ACCESS_LOAD, 0, 'i', false},
    {0x2e, ACCESS_LOAD, 1, 'i', false},
    {0x2f, ACCESS_LOAD, 1, 'i', false},
    {0x30, ACCESS_LOAD, 0, 'l', false},
    {0x31, ACCESS_LOAD, 0, 'l', false},
    {0x32, ACCESS_LOAD, 1, 'l', false},
    {0x33, ACCESS_LOAD, 1, 'l', false},
    {0x34, ACCESS_LOAD, 2, 'l', false},
    {0x35, ACCESS_LOAD, 2, 'l', false},
    {0x36, ACCESS_STORE, 2, 'i', false},
    {0x37, ACCESS_STORE, 3, 'l', false},
    {0x38, ACCESS_STORE, 2, 'f', false},
    {0x39, ACCESS_STORE, 3, 'd', false},
    {0x3a, ACCESS_STORE, 0, 'i', false},
    {0x3b, ACCESS_STORE, 1, 'i', false},
    {0x3c, ACCESS_STORE, 0, 'l', false},
    {0x3d, ACCESS_STORE, 1, 'l', false},
    {0x3e, ACCESS_STORE, 2, 'l', false},
    {SIMD(0x00), ACCESS_LOAD, 4, 'v', false},
    {SIMD(0x01), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x02), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x03), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x04), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x05), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x06), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x07), ACCESS_LOAD, 0, 'v', false},
    {SIMD(0x08), ACCESS_LOAD, 1, 'v', false},
    {SIMD(0x09), ACCESS_LOAD, 2, 'v', false},
    {SIMD(0x0a), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x5c), ACCESS_LOAD, 2, 'v', false},
    {SIMD(0x5d), ACCESS_LOAD, 3, 'v', false},
    {SIMD(0x0b), ACCESS_STORE, 4, 'v', false},
    {SIMD(0x54), ACCESS_LOAD_LANE, 0, 'v', false},
    {SIMD(0x55), ACCESS_LOAD_LANE, 1, 'v', false},
    {SIMD(0x56), ACCESS_LOAD_LANE, 2, 'v', false},
    {SIMD(0x57), ACCESS_LOAD_LANE, 3, 'v', false},
    {SIMD(0x58), ACCESS_STORE_LANE, 0, 'v', false},
    {SIMD(0x59), ACCESS_STORE_LANE, 1, 'v', false},
    {SIMD(0x5a), ACCESS_STORE_LANE, 2, 'v', false},
    {SIMD(0x5b), ACCESS_STORE_LANE, 3, 'v', false},
    ATOMICS(0x10, ACCESS_LOAD),
    ATOMICS(0x17, ACCESS_STORE),
    ATOMICS(0x1e, ACCESS_MODIFY),
    ATOMICS(0x25, ACCESS_MODIFY),
    ATOMICS(0x2c, ACCESS_MODIFY),
    ATOMICS(0x33, ACCESS_MODIFY),
    ATOMICS(0x3a, ACCESS_MODIFY),
    ATOMICS(0x41, ACCESS_MODIFY),
    ATOMICS(0x48, ACCESS_EXCHANGE),
};
const uint32_t memory_operator_count = sizeof memory_operators / sizeof *memory_operators;
