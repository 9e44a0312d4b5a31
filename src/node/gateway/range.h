/* Range and Content-Range of one range of bytes (RFC 9110 §14). */
#ifndef NODE_GATEWAY_RANGE_H
#define NODE_GATEWAY_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_kind {
    RANGE_NONE, /* absent, or of a form that a server may ignore (several ranges, other units) */
    RANGE_GOOD,
    RANGE_UNSATISFIABLE,
};

/* "bytes=0-99", "bytes=100-", "bytes=-10" of something of this size: [*off, *end). */
enum range_kind range_parse(const char *text, uint64_t size, uint64_t *off, uint64_t *end);
/* "bytes 0-99/200" or "bytes 0-99/" and a star. */
bool content_range_parse(const char *text, uint64_t *first, uint64_t *last);

#endif
