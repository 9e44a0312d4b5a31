/*
 * Which operators the generator may use and what they take and give: the pure ones
 * (generator_operators.c holds the table) and those that access memory. Used by generator_value.c
 * and generator_code.c.
 *
 * A type is one letter: i i32, l i64, f f32, d f64, v v128.
 */
#ifndef CONFORMANCE_GENERATOR_OPERATORS_H
#define CONFORMANCE_GENERATOR_OPERATORS_H

#include <stdbool.h>
#include <stdint.h>

/* What must be done to the result so that NaN bits stay defined. */
enum nan_kind { NAN_NONE, NAN_F32, NAN_F64, NAN_F32X4, NAN_F64X2 };

/* What an operator needs of its operands not to trap. */
enum guard_kind { GUARD_NONE, GUARD_DIVISOR, GUARD_TRUNC };

struct pure_operator {
    uint32_t op;
    char result;
    char operands[4]; /* NUL-terminated */
    uint8_t lanes;    /* lane immediate below this; 0 = none */
    uint8_t nan, guard;
};

enum access_kind {
    ACCESS_LOAD,       /* (address) -> type */
    ACCESS_STORE,      /* (address, type) */
    ACCESS_LOAD_LANE,  /* (address, v128) -> v128, with a lane */
    ACCESS_STORE_LANE, /* (address, v128), with a lane */
    ACCESS_MODIFY,     /* atomic (address, type) -> type */
    ACCESS_EXCHANGE,   /* atomic (address, type, type) -> type */
};

struct memory_operator {
    uint32_t op;
    uint8_t kind, align_log2;
    char type;
    bool atomic;
};

/* Sorted by result; a type's operators are those from first, count of them. */
const struct pure_operator *pure_operators(char result, bool simd, uint32_t *count);

extern const struct memory_operator memory_operators[];
extern const uint32_t memory_operator_count;

#endif
