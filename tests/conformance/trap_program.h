/*
 * Random programs for trap_compare: a small language of the kind compilers optimise, kept as a tree
 * so that it can both be written as WebAssembly (trap_module.c) and be run by the reference
 * interpreter (trap_reference.c).
 *
 * A program is a few functions of integers that call only later ones, with bounded loops, so it
 * always ends. It works on two pages of memory and three globals. Most addresses are masked to lie
 * inside memory; about one in ten is wild: beyond the end always, on some condition, or from some
 * iteration of a loop on. Values end up in the result, in memory, in globals, or nowhere.
 */
#ifndef CONFORMANCE_TRAP_PROGRAM_H
#define CONFORMANCE_TRAP_PROGRAM_H

#include "engine/wasm.h"
#include "engine/wasm_ops.h"

#include <stdbool.h>
#include <stdint.h>

#define PROGRAM_FUNCTIONS 4u
#define PROGRAM_GLOBALS   3u
#define PROGRAM_LOCALS    16u /* per function, parameters included */
#define PROGRAM_MEMORY    (2u * WASM_PAGE)
#define PROGRAM_DATA      4096u /* bytes of memory that start random, the rest is zero */
#define PROGRAM_NODES     6000u

enum node_kind {
    /* Expressions; type says of which. */
    NODE_CONSTANT, /* constant */
    NODE_LOCAL,    /* index */
    NODE_GLOBAL,   /* index */
    NODE_UNARY,    /* operator of child 0 */
    NODE_BINARY,   /* operator of children 0 and 1 */
    NODE_SELECT,   /* child 2 (i32) chooses between 0 and 1 */
    NODE_LOAD,     /* operator at child 0 + constant */
    NODE_CALL,     /* function index; arguments: the list in child 0 */
    /* Statements. */
    NODE_SET_LOCAL,  /* index, child 0 */
    NODE_SET_GLOBAL, /* index, child 0 */
    NODE_STORE,      /* operator, at child 0 + constant, of child 1 */
    NODE_DROP,       /* child 0 */
    NODE_IF,         /* child 0; lists in 1 and 2 */
    NODE_REPEAT, /* local index from 0 while below constant, checked after each; list in child 1 */
    NODE_WHILE,  /* the same, checked before each, and child 0 (may be absent) not zero */
    NODE_RETURN, /* child 0 */
    NODE_UNREACHABLE,
};

struct node {
    uint8_t kind, type;
    uint16_t op;
    uint32_t index;
    uint64_t constant;
    struct node *child[3];
    struct node *next; /* in a list of statements or arguments */
};

struct program_function {
    uint8_t types[PROGRAM_LOCALS]; /* of locals; the result is an i64 */
    uint32_t parameter_count, local_count;
    struct node *body;   /* a list */
    struct node *result; /* evaluated after it */
};

struct program {
    struct program_function functions[PROGRAM_FUNCTIONS]; /* 0 is run: (i32, i32, i64) -> i64 */
    struct node nodes[PROGRAM_NODES];
    uint32_t node_count;
};

/* Fills *program; equal seeds give equal programs. */
void program_generate(struct program *, uint64_t seed);
/* The random bytes that every program's memory starts with. */
void program_data(uint8_t out[static PROGRAM_DATA]);

/* ---- trap_module.c ---- */
struct module_writer;
/* Writes one module that exports the functions 0 of the programs as "p0", "p1", … and the globals
 * (i64) as "g0", …. The programs share globals and memory, so each run needs a fresh instance. */
void program_write(const struct program *programs, uint32_t count, struct module_writer *);

/* ---- trap_reference.c ---- */
struct reference {
    uint8_t memory[PROGRAM_MEMORY];
    uint64_t globals[PROGRAM_GLOBALS];
    uint64_t result;
    uint8_t trap; /* enum trap_kind */
    uint64_t steps;
};
/* Runs a program as the standard says. False when it takes too many steps. */
bool reference_run(const struct program *, const uint64_t arguments[static 3], struct reference *);

#endif
