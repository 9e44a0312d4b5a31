/*
 * The arithmetic of twins (tier.h). A twin holds the global bytes that the local ones are based on,
 * so what was done here is the difference between the two.
 *
 * Guests of several processes write the shared bytes while the supervisor brings global ones in, so
 * every change made here is one atomic step per operand: an integer is added to or XORed, anything
 * else is compared and exchanged. A guest's own atomic operation is therefore never lost. Operands
 * lie at multiples of their size.
 */
#include "state/tier.h"

#include <assert.h>
#include <math.h>
#include <string.h>

uint32_t twin_width(uint32_t op)
{
    return op == GT_SET ? 1 : op == GT_ADD_I32 || op == GT_ADD_F32 ? 4 : 8;
}

static uint64_t shared_word(const uint8_t *p)
{
    return __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
}

/* The next step in bytes of which at least that many are left: 8 or 4 where it lies aligned. */
static uint32_t shared_step(const uint8_t *p, uint64_t left)
{
    if ((uintptr_t)p % 8 == 0 && left >= 8)
        return 8;
    return (uintptr_t)p % 4 == 0 && left >= 4 ? 4 : 1;
}

void shared_read(uint8_t *to, const uint8_t *shared, uint64_t len)
{
    for (uint64_t i = 0, step; i < len; i += step) {
        step = shared_step(shared + i, len - i);
        if (step == 8)
            store_u64(to + i, shared_word(shared + i));
        else if (step == 4)
            store_u32(to + i, __atomic_load_n((const uint32_t *)(const void *)(shared + i),
                                              __ATOMIC_RELAXED));
        else
            to[i] = __atomic_load_n(shared + i, __ATOMIC_RELAXED);
    }
}

bool shared_differs(const uint8_t *shared, const uint8_t *twin, uint64_t len)
{
    uint8_t word[8];
    for (uint64_t i = 0, step; i < len; i += step) {
        step = shared_step(shared + i, len - i);
        if (step == 8 ? shared_word(shared + i) != load_u64(twin + i)
                      : (shared_read(word, shared + i, step), memcmp(word, twin + i, step)) != 0)
            return true;
    }
    return false;
}

static float float_at(const uint8_t *p)
{
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

static double double_at(const uint8_t *p)
{
    double d;
    memcpy(&d, p, sizeof d);
    return d;
}

void twin_difference(uint32_t op, uint8_t *out, const uint8_t *local, const uint8_t *twin,
                     uint64_t len)
{
    uint32_t width = twin_width(op);
    assert(len % width == 0);
    for (uint64_t i = 0; i < len; i += width) {
        switch (op) {
        case GT_ADD_I32: store_u32(out + i, load_u32(local + i) - load_u32(twin + i)); break;
        case GT_ADD_I64: store_u64(out + i, load_u64(local + i) - load_u64(twin + i)); break;
        case GT_XOR: store_u64(out + i, load_u64(local + i) ^ load_u64(twin + i)); break;
        case GT_ADD_F32: {
            float f = float_at(local + i) - float_at(twin + i);
            memcpy(out + i, &f, sizeof f);
            break;
        }
        case GT_ADD_F64: {
            double d = double_at(local + i) - double_at(twin + i);
            memcpy(out + i, &d, sizeof d);
            break;
        }
        default: memcpy(out + i, local + i, width); break;
        }
    }
}

/* local + (global - twin), and exactly global when nothing was done here. */
static uint32_t rebase_f32(uint32_t local, uint32_t twin, uint32_t global)
{
    if (local == twin)
        return global;
    float l, t, g;
    memcpy(&l, &local, sizeof l);
    memcpy(&t, &twin, sizeof t);
    memcpy(&g, &global, sizeof g);
    l = g + (l - t);
    memcpy(&local, &l, sizeof local);
    return local;
}

static uint64_t rebase_f64(uint32_t op, uint64_t local, uint64_t twin, uint64_t global)
{
    if (local == twin)
        return global;
    double l, t, g;
    memcpy(&l, &local, sizeof l);
    memcpy(&t, &twin, sizeof t);
    memcpy(&g, &global, sizeof g);
    if (op == GT_ADD_F64)
        l = g + (l - t);
    else if (op == GT_MIN_F64)
        l = isnan(l) || g < l ? g : l;
    else
        l = isnan(l) || g > l ? g : l;
    memcpy(&local, &l, sizeof local);
    return local;
}

static void rebase_word32(uint32_t op, uint32_t *shared, uint32_t twin, uint32_t global)
{
    if (op == GT_ADD_I32) {
        if (global != twin)
            __atomic_fetch_add(shared, global - twin, __ATOMIC_RELAXED);
        return;
    }
    uint32_t now = __atomic_load_n(shared, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(shared, &now, rebase_f32(now, twin, global), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static void rebase_word64(uint32_t op, uint64_t *shared, uint64_t twin, uint64_t global)
{
    if (op == GT_ADD_I64) {
        if (global != twin)
            __atomic_fetch_add(shared, global - twin, __ATOMIC_RELAXED);
        return;
    }
    if (op == GT_XOR) {
        __atomic_fetch_xor(shared, global ^ twin, __ATOMIC_RELAXED);
        return;
    }
    uint64_t now = __atomic_load_n(shared, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(shared, &now, rebase_f64(op, now, twin, global), false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* Bytes that are replaced, unless they were written here since the twin. */
static void rebase_set(uint8_t *shared, const uint8_t *twin, const uint8_t *global, uint64_t len)
{
    uint64_t i = 0;
    while (i < len) {
        if ((uintptr_t)(shared + i) % 8 == 0 && len - i >= 8) {
            uint64_t expected = load_u64(twin + i);
            __atomic_compare_exchange_n((uint64_t *)(void *)(shared + i), &expected,
                                        load_u64(global + i), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED);
            i += 8;
        } else {
            uint8_t expected = twin[i];
            __atomic_compare_exchange_n(shared + i, &expected, global[i], false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED);
            i++;
        }
    }
}

void twin_rebase(uint32_t op, uint8_t *shared, uint8_t *twin, const uint8_t *global, uint64_t len,
                 bool written)
{
    uint32_t width = twin_width(op);
    assert(len % width == 0 && (uintptr_t)shared % width == 0);
    if (op == GT_SET && !written)
        rebase_set(shared, twin, global, len);
    for (uint64_t i = 0; op != GT_SET && i < len; i += width) {
        if (width == 4)
            rebase_word32(op, (uint32_t *)(void *)(shared + i), load_u32(twin + i),
                          load_u32(global + i));
        else
            rebase_word64(op, (uint64_t *)(void *)(shared + i), load_u64(twin + i),
                          load_u64(global + i));
    }
    memcpy(twin, global, len);
}
