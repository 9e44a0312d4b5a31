/*
 * struct error: one sentence about what failed, for the person who must act on it.
 *
 * Whatever can fail because of the world returns 0 or a negative ATOLL_E… code and describes the
 * failure in the struct error its caller passed (never NULL). Nothing is allocated, so errors can
 * be reported when memory is gone.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "atoll/errors.h"

#include <stdint.h>

#define ERROR_NOWHERE UINT64_MAX

struct error {
    int code;          /* negative ATOLL_E… code, 0 = none */
    uint64_t offset;   /* byte offset in the input it is about, or ERROR_NOWHERE */
    uint32_t function; /* wasm function index it is about, or UINT32_MAX */
    char text[512];
};

/* Sets code (given positive, e.g. ATOLL_EINVAL) and text; offset and function become "nowhere".
 * Returns the negative code, so that `return error_set(…)` reads well. */
int error_set(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, for an error at a byte offset of an input, in a function (UINT32_MAX = none). */
int error_set_at(struct error *e, int code, uint64_t offset, uint32_t function, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));

/* As error_set with ": " and strerror(saved errno) appended; maps errno to a code when code is 0.
 */
int error_set_errno(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that is there; keeps code, offset and function. */
int error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
