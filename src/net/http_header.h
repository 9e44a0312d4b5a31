/*
 * Header fields of HTTP messages (RFC 9110 §5): what a name and a value may be, looking fields up,
 * and the fields that belong to one connection and are never passed on.
 */
#ifndef NET_HTTP_HEADER_H
#define NET_HTTP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One field. In heads that were read, name and value are also NUL-terminated and hold no NUL. */
struct http_header {
    const char *name, *value;
    uint32_t name_len, value_len;
};

/* A field of two C strings, which must live as long as the field. */
static inline struct http_header http_header_text(const char *name, const char *value)
{
    return (struct http_header){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
}

/* What a byte may be part of: bits HTTP_BYTE_…. */
extern const uint8_t http_byte_class[256];
enum { HTTP_BYTE_TOKEN = 1, HTTP_BYTE_VALUE = 2, HTTP_BYTE_TARGET = 4 };

/* True for a byte of a token (RFC 9110 §5.6.2): what names and methods are made of. */
static inline bool http_token_byte(uint8_t byte)
{
    return http_byte_class[byte] & HTTP_BYTE_TOKEN;
}

/* True for a byte of a field value: a tab, a space, visible ASCII, or 0x80 and above. */
static inline bool http_value_byte(uint8_t byte)
{
    return http_byte_class[byte] & HTTP_BYTE_VALUE;
}

/* True for a byte of a request target (RFC 3986 §2, without '#'); what follows a '%' is looked at
 * when it is decoded. */
static inline bool http_target_byte(uint8_t byte)
{
    return http_byte_class[byte] & HTTP_BYTE_TARGET;
}
/* True when name is a token and value has only bytes of a value. */
bool http_header_valid(const struct http_header *);

/* Case-insensitive comparison of a text with a lower-case C string. */
bool http_text_is(const char *text, size_t len, const char *lower);

/* The first field of that name (given in lower case), or NULL. */
const struct http_header *http_header_find(const struct http_header *headers, size_t count,
                                           const char *lower);
/* True when a value that is a comma-separated list has this member (lower case), whatever its case
 * in the value. */
bool http_list_has(const char *value, size_t len, const char *lower);

/* True for fields that speak about one connection (RFC 9110 §7.6.1) or that the writer of a message
 * makes itself (Content-Length, Date): they are dropped when a function's head is passed on. */
bool http_header_hop_by_hop(const struct http_header *);

#endif
