/* Merge arithmetic. Numbers may lie at any address, hence the copies in and out, which compilers
 * turn into unaligned vector loads. */
#include "store/merge.h"

#include <assert.h>
#include <math.h>

size_t merge_unit(enum gt_merge merge)
{
    switch (merge) {
    case GT_SET:
    case GT_XOR: return 1;
    case GT_ADD_I32:
    case GT_ADD_F32: return 4;
    case GT_ADD_I64:
    case GT_ADD_F64:
    case GT_MIN_F64:
    case GT_MAX_F64: return 8;
    default: return 0;
    }
}

/* A NaN gives way to a number and -0 is less than +0, whatever the order of arguments: concurrent
 * pushes must end in the same value. */
static double double_least(double a, double b)
{
    if (isnan(a))
        return b;
    if (isnan(b))
        return a;
    if (a == b)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double double_greatest(double a, double b)
{
    if (isnan(a))
        return b;
    if (isnan(b))
        return a;
    if (a == b)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

#define EACH(type, expression)                       \
    for (size_t i = 0; i < len; i += sizeof(type)) { \
        type a, b;                                   \
        memcpy(&a, target + i, sizeof a);            \
        memcpy(&b, bytes + i, sizeof b);             \
        a = (expression);                            \
        memcpy(target + i, &a, sizeof a);            \
    }                                                \
    break

void merge_apply(enum gt_merge merge, uint8_t *target, const uint8_t *bytes, size_t len)
{
    assert(merge_unit(merge) > 0 && len % merge_unit(merge) == 0);
    switch (merge) {
    case GT_SET: memcpy(target, bytes, len); break;
    case GT_ADD_I32: EACH(uint32_t, a + b);
    case GT_ADD_I64: EACH(uint64_t, a + b);
    case GT_ADD_F32: EACH(float, a + b);
    case GT_ADD_F64: EACH(double, a + b);
    case GT_MIN_F64: EACH(double, double_least(a, b));
    case GT_MAX_F64: EACH(double, double_greatest(a, b));
    case GT_XOR: EACH(uint8_t, (uint8_t)(a ^ b));
    default: break;
    }
}
