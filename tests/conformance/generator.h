/*
 * A generator of random, valid WebAssembly modules whose behaviour is defined to the last bit.
 *
 * Every generated module terminates (loops are counted or spend a budget kept in a global, calls
 * spend it too) and never lets a NaN's undefined bits escape: after each operator that may create a
 * NaN its result is replaced by one fixed NaN. So any two engines must agree on every result, on
 * memory, globals and tables, and on which call traps.
 *
 * Exports, to be called in order, take nothing and return only i32 and i64: "r0", "s0", "r1", "s1",
 * …: rN calls one function with constant arguments and returns its results as bits, sN returns a
 * hash of memory, globals and tables as rN left them.
 *
 * The same seed gives the same module. Used by differential.c.
 */
#ifndef CONFORMANCE_GENERATOR_H
#define CONFORMANCE_GENERATOR_H

#include "module_writer.h"

/* What a module was made with. */
struct generated {
    bool simd, threads, tail_calls;
    bool wild; /* a tenth of the addresses, indices and divisors is unchecked, so calls may trap */
};

void module_generate(uint64_t seed, struct module_writer *out, struct generated *about);

#endif
