/*
 * The generator's state, shared by its three parts: generator.c (the module), generator_code.c
 * (statements and control flow), generator_value.c (expressions).
 */
#ifndef CONFORMANCE_GENERATOR_STATE_H
#define CONFORMANCE_GENERATOR_STATE_H

#include "engine/wasm.h"
#include "generator.h"
#include "random.h"

#define GENERATOR_FUNCTIONS 7u
#define GENERATOR_SIGNATURE 6u /* parameters, and results */
#define GENERATOR_TYPES     200u
#define GENERATOR_LOCALS    64u
#define GENERATOR_LABELS    24u
#define GENERATOR_COUNTERS  3u

/* Tables: every function in order, never written; functions to be moved about; external references
 * (all null). */
enum { TABLE_FIXED, TABLE_MOVING, TABLE_EXTERNAL, TABLE_COUNT };
#define TABLE_MOVING_SIZE 8u
#define TABLE_MOVING_MAX  16u

/* Globals: the budget, then GENERATOR_GLOBALS of each number type, the last one immutable. */
#define GENERATOR_GLOBALS 3u
#define GLOBAL_BUDGET     0u

#define MEMORY_PAGES     1u
#define MEMORY_MAX_PAGES 3u
#define DATA_SEGMENTS    3u /* two active, one passive */
#define DATA_BYTES       64u
#define ELEMENT_PASSIVE  2u /* after the active ones of the fixed and the moving table */

struct signature {
    uint8_t params[GENERATOR_SIGNATURE], results[GENERATOR_SIGNATURE];
    uint8_t param_count, result_count;
};

struct label {
    uint8_t types[GENERATOR_SIGNATURE]; /* what a branch to it carries */
    uint8_t count;
    bool counted; /* a counted loop, which must not be branched to */
};

struct generator {
    struct random random;
    struct generated about;
    struct signature types[GENERATOR_TYPES];
    uint32_t type_count;
    uint32_t function_types[GENERATOR_FUNCTIONS];
    uint32_t function_count;
    uint8_t global_types[5]; /* number types in the order of the globals */
    uint32_t number_types;   /* 4, or 5 with v128 */

    /* ---- the function being written ---- */
    struct module_writer *code;
    uint32_t function;
    uint8_t locals[GENERATOR_LOCALS];
    uint32_t local_count, assignable; /* locals from `assignable` on are the generator's own */
    uint32_t scratch[5];              /* of each number type: holds a value to be tested for NaN */
    uint32_t counters[GENERATOR_COUNTERS], counters_used;
    struct label labels[GENERATOR_LABELS];
    uint32_t label_count;
    int32_t room; /* operators still to be written */
    uint32_t depth;
};

static inline bool chance(struct generator *g, uint32_t percent)
{
    return random_chance(&g->random, percent);
}

static inline uint32_t below(struct generator *g, uint32_t bound)
{
    return random_below(&g->random, bound);
}

/* ---- generator.c ---- */
uint32_t generator_type(struct generator *, const struct signature *);
uint8_t generator_number_type(struct generator *);
const struct signature *generator_signature(const struct generator *, uint32_t function);

/* ---- generator_value.c ---- */
/* Writes code that leaves one value of the type. */
void generate_value(struct generator *, uint8_t type);
void generate_values(struct generator *, const uint8_t *types, uint32_t count);
void generate_constant(struct generator *, uint8_t type);
/* The bits "0" of the type. */
void generate_zero(struct generator *, uint8_t type);
/* An i32 below 2^bits; now and then, in wild modules, any i32. */
void generate_index(struct generator *, uint32_t bits);
/* Writes an access of one of the kinds in the mask (1 << ACCESS_…) with this type; false if there
 * is none. Its results stay on the stack. */
bool generate_access(struct generator *, uint32_t kinds, uint8_t type);
/* Arguments and a call of some function, in some way. */
void generate_call(struct generator *, uint32_t function);
/* A local of the type that may be assigned, or -1. */
int generate_local(struct generator *, uint8_t type);

/* ---- generator_code.c ---- */
void generate_statements(struct generator *);
/* A block, loop or if that leaves values of these types. */
void generate_block(struct generator *, const uint8_t *types, uint32_t count);
/* The whole body of g->function. */
void generate_function(struct generator *);

#endif
