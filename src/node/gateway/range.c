/* See range.h. */
#include "node/gateway/range.h"

#include <stdlib.h>
#include <string.h>

/* Decimal digits only; false when there are none, or too many. */
static bool number_take(const char **at, uint64_t *out)
{
    const char *p = *at;
    *out = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*p - '0'), out))
            return false;
    }
    bool any = p > *at;
    *at = p;
    return any;
}

enum range_kind range_parse(const char *text, uint64_t size, uint64_t *off, uint64_t *end)
{
    uint64_t first, last = UINT64_MAX;
    if (strncmp(text, "bytes=", 6) != 0)
        return RANGE_NONE;
    text += 6;
    if (*text == '-') {
        text++;
        if (!number_take(&text, &last) || *text != 0)
            return RANGE_NONE;
        if (last == 0 || size == 0)
            return RANGE_UNSATISFIABLE;
        *off = last < size ? size - last : 0;
        *end = size;
        return RANGE_GOOD;
    }
    if (!number_take(&text, &first) || *text++ != '-')
        return RANGE_NONE;
    if (*text != 0 && (!number_take(&text, &last) || last < first))
        return RANGE_NONE;
    if (*text != 0)
        return RANGE_NONE;
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    *off = first;
    *end = last < size - 1 ? last + 1 : size;
    return RANGE_GOOD;
}

bool content_range_parse(const char *text, uint64_t *first, uint64_t *last)
{
    uint64_t size;
    if (strncmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    if (!number_take(&text, first) || *text++ != '-' || !number_take(&text, last) ||
        *last < *first || *last == UINT64_MAX || *text++ != '/')
        return false;
    if (strcmp(text, "*") == 0)
        return true;
    return number_take(&text, &size) && *text == 0 && *last < size;
}
