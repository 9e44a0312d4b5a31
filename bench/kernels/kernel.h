/*
 * What the kernels share. A kernel is one C file with one exported function,
 *
 *     double run(int repeat);
 *
 * which sets its data up, does its work `repeat` times and returns a checksum of everything it
 * computed. The same file is compiled natively and to WebAssembly, so checksums must agree bit for
 * bit: no libm beyond sqrt and fabs, no addresses, no sizes of pointers, no floating-point
 * contraction. bench/engine.c runs them.
 */
#ifndef KERNELS_KERNEL_H
#define KERNELS_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __wasm__
#define KERNEL_EXPORT __attribute__((export_name("run")))
#else
#define KERNEL_EXPORT __attribute__((visibility("default")))
#endif

KERNEL_EXPORT double run(int repeat);

/* Any 64 bits as a double that holds them exactly enough to compare. */
static inline double checksum_bits(uint64_t bits)
{
    return (double)(bits >> 12);
}

/* Order matters and every bit counts, so a single wrong rounding shows. */
static inline uint64_t checksum_add(uint64_t sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    sum = (sum ^ bits) * 0x9E3779B97F4A7C15u;
    return sum ^ (sum >> 29);
}

static inline double checksum_doubles(const double *values, int count)
{
    uint64_t sum = 1;
    for (int i = 0; i < count; i++)
        sum = checksum_add(sum, values[i]);
    return checksum_bits(sum);
}

/* A small generator for inputs (xorshift64*). */
static inline uint32_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545F4914F6CDD1Du) >> 32);
}

#endif
