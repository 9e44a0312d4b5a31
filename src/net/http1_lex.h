/*
 * The parser library, seen from the rest: it takes a whole head apart. http1_lex.c is the only file
 * that includes the library (libhttp-parser, whose names would collide with ours), so another one
 * can take its place there.
 */
#ifndef NET_HTTP1_LEX_H
#define NET_HTTP1_LEX_H

#include "net/http_header.h"

struct http1_lexed {
    const char *target; /* of requests */
    uint32_t target_len;
    unsigned status; /* of responses */
    unsigned major, minor;
    bool chunked, has_length; /* what the library makes of the head's fields */
    uint64_t content_length;
    uint32_t header_count;
};

/* Takes apart a head that ends with its empty line. Fields are put into headers, which has room for
 * capacity of them; names and values point into text, white space around values cut off. NULL when
 * the library accepts it, otherwise the library's reason. */
const char *http1_lex(bool response, const char *text, size_t len, struct http_header *headers,
                      uint32_t capacity, struct http1_lexed *out);

#endif
