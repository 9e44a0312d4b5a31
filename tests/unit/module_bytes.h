/*
 * Building WebAssembly binaries byte by byte, for the tests of the decoder and the validator, where
 * the bytes themselves are the subject. Sections are given as byte lists:
 *
 *     struct buffer m = module_start();
 *     SECTION(&m, 1, 1, 0x60, 0, 0);
 */
#ifndef TESTS_MODULE_BYTES_H
#define TESTS_MODULE_BYTES_H

#include "base/bytes.h"

#include <stdlib.h>

static inline void append_byte(struct buffer *b, uint8_t byte)
{
    if (!buffer_append(b, &byte, 1))
        abort();
}

static inline void append_bytes(struct buffer *b, const void *bytes, size_t len)
{
    if (!buffer_append(b, bytes, len))
        abort();
}

static inline void append_repeated(struct buffer *b, uint8_t byte, size_t count)
{
    for (size_t i = 0; i < count; i++)
        append_byte(b, byte);
}

static inline void append_u32(struct buffer *b, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        append_byte(b, (uint8_t)(v | 0x80));
    append_byte(b, (uint8_t)v);
}

static inline struct buffer module_start(void)
{
    struct buffer b = {0};
    append_bytes(&b, "\0asm\1\0\0\0", 8);
    return b;
}

static inline void append_section(struct buffer *m, uint8_t id, const void *payload, size_t len)
{
    append_byte(m, id);
    append_u32(m, (uint32_t)len);
    append_bytes(m, payload, len);
}

#define BYTES(...)               (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define SECTION(module, id, ...) append_section((module), (id), BYTES(__VA_ARGS__))

/* A section whose payload another buffer holds; frees that buffer. */
static inline void append_section_of(struct buffer *m, uint8_t id, struct buffer *payload)
{
    append_section(m, id, payload->data, payload->len);
    buffer_free(payload);
}

/* The code section with one body: `body` begins with the local declarations. */
static inline void append_code(struct buffer *m, const void *body, size_t len)
{
    struct buffer payload = {0};
    append_byte(&payload, 1);
    append_u32(&payload, (uint32_t)len);
    append_bytes(&payload, body, len);
    append_section_of(m, 10, &payload);
}

#endif
