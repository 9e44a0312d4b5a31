/* See module_writer.h. Used by spectest.c and by the generator of the differential test. */
#include "module_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void module_bytes(struct module_writer *w, const void *data, size_t len)
{
    if (!buffer_append(&w->bytes, data, len)) {
        fputs("out of memory while writing a test module\n", stderr);
        exit(1);
    }
}

void module_byte(struct module_writer *w, uint8_t value)
{
    module_bytes(w, &value, 1);
}

static size_t leb_encode(uint8_t out[static 10], uint64_t value)
{
    size_t len = 0;
    do {
        out[len] = (uint8_t)(value & 0x7f);
        value >>= 7;
        if (value != 0)
            out[len] |= 0x80;
        len++;
    } while (value != 0);
    return len;
}

void module_begin(struct module_writer *w)
{
    module_bytes(w, "\0asm\1\0\0\0", 8);
}

void module_u32(struct module_writer *w, uint32_t value)
{
    uint8_t encoded[10];
    module_bytes(w, encoded, leb_encode(encoded, value));
}

void module_s64(struct module_writer *w, int64_t value)
{
    for (;;) {
        uint8_t low = (uint8_t)(value & 0x7f);
        value >>= 7;
        bool last = (value == 0 && !(low & 0x40)) || (value == -1 && (low & 0x40));
        module_byte(w, last ? low : low | 0x80);
        if (last)
            return;
    }
}

void module_s32(struct module_writer *w, int32_t value)
{
    module_s64(w, value);
}

void module_name(struct module_writer *w, const char *name)
{
    module_u32(w, (uint32_t)strlen(name));
    module_bytes(w, name, strlen(name));
}

void module_op(struct module_writer *w, uint32_t op)
{
    if (op < 0x100) {
        module_byte(w, (uint8_t)op);
        return;
    }
    module_byte(w, (uint8_t)(op >> 12));
    module_u32(w, op & 0xfff);
}

void module_open(struct module_writer *w)
{
    assert(w->depth < MODULE_WRITER_DEPTH);
    w->open[w->depth++] = w->bytes.len;
}

void module_open_section(struct module_writer *w, enum module_section section)
{
    module_byte(w, (uint8_t)section);
    module_open(w);
}

void module_close(struct module_writer *w)
{
    assert(w->depth > 0);
    size_t start = w->open[--w->depth];
    size_t size = w->bytes.len - start;
    uint8_t encoded[10];
    size_t len = leb_encode(encoded, size);
    module_bytes(w, encoded, len); /* makes room; moved to the front below */
    memmove(w->bytes.data + start + len, w->bytes.data + start, size);
    memcpy(w->bytes.data + start, encoded, len);
}

void module_writer_free(struct module_writer *w)
{
    buffer_free(&w->bytes);
    *w = (struct module_writer){0};
}
