/* Texts of LLVM's assembly language that a test of lowering makes, at random. Included once per
 * program. */
#ifndef TESTS_LOWER_TEXT_H
#define TESTS_LOWER_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct text {
    char data[64 << 10];
    size_t len;
};

static inline void __attribute__((format(printf, 2, 3))) text_add(struct text *t,
                                                                  const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(t->data + t->len, sizeof t->data - t->len, format, arguments);
    va_end(arguments);
    assert_true(used >= 0 && (size_t)used < sizeof t->data - t->len);
    t->len += (size_t)used;
}

static uint64_t random_state;

static inline uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

#endif
