/*
 * The bounded cursor over module bytes: single bytes, LEB128 numbers (§5.2.2), names (§5.2.4).
 *
 * It owns nothing. The section reader, the constant expressions and the validator use it; whatever
 * they decode, no byte outside [at, end) is looked at, and the first failure is the one reported.
 */
#include "engine/wasm_read.h"

#include <stdarg.h>
#include <stdio.h>

uint32_t wasm_cursor_offset(const struct wasm_cursor *c)
{
    return (uint32_t)(c->at - c->base);
}

void wasm_cursor_report(struct wasm_cursor *c, int code, const uint8_t *at, const char *format, ...)
{
    if (c->failed)
        return;
    c->failed = true;
    char text[sizeof c->error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error_set_at(c->error, code, (uint64_t)(at - c->base), UINT32_MAX, "%s", text);
}

void wasm_cursor_fail(struct wasm_cursor *c, int code, const char *text)
{
    wasm_cursor_report(c, code, c->at, "%s", text);
}

uint8_t wasm_cursor_u8(struct wasm_cursor *c)
{
    if (c->failed)
        return 0;
    if (c->at == c->end) {
        wasm_cursor_fail(c, ATOLL_EMALFORMED, "unexpected end: a byte is missing");
        return 0;
    }
    return *c->at++;
}

const uint8_t *wasm_cursor_bytes(struct wasm_cursor *c, size_t len)
{
    if (c->failed)
        return NULL;
    if ((size_t)(c->end - c->at) < len) {
        wasm_cursor_fail(c, ATOLL_EMALFORMED, "unexpected end: the bytes announced are missing");
        return NULL;
    }
    const uint8_t *bytes = c->at;
    c->at += len;
    return bytes;
}

/* One LEB128 number as raw bits; *width is how many of them the encoding gave (7 per byte). The
 * cursor stays at the number's first byte on failure, so that errors point there. */
static uint64_t leb_read(struct wasm_cursor *c, unsigned bits, bool is_signed, unsigned *width)
{
    uint64_t value = 0;
    const uint8_t *at = c->at;
    *width = 0;
    if (c->failed)
        return 0;
    for (unsigned shift = 0;; shift += 7) {
        if (at == c->end) {
            wasm_cursor_fail(c, ATOLL_EMALFORMED, "unexpected end: a LEB128 number is cut off");
            return 0;
        }
        uint8_t byte = *at++;
        unsigned left = bits - shift; /* bits this byte may still give */
        if (left <= 7 && (byte & 0x80)) {
            wasm_cursor_fail(c, ATOLL_EMALFORMED, "integer representation too long");
            return 0;
        }
        if (left < 7) {
            /* The unused bits are zero, or copies of the sign bit. */
            uint8_t unused = (uint8_t)(0x7fu >> left << left);
            bool negative = is_signed && (byte >> (left - 1) & 1);
            if ((byte & unused) != (negative ? unused : 0)) {
                wasm_cursor_fail(c, ATOLL_EMALFORMED,
                                 "integer too large: unused bits of its last byte are set");
                return 0;
            }
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            c->at = at;
            *width = shift + 7;
            return value;
        }
    }
}

static int64_t leb_signed(struct wasm_cursor *c, unsigned bits)
{
    unsigned width;
    uint64_t value = leb_read(c, bits, true, &width);
    if (width > 0 && width < 64 && (value >> (width - 1) & 1))
        value |= UINT64_MAX << width;
    return (int64_t)value;
}

uint32_t wasm_cursor_u32(struct wasm_cursor *c)
{
    unsigned width;
    return (uint32_t)leb_read(c, 32, false, &width);
}

uint64_t wasm_cursor_u64(struct wasm_cursor *c)
{
    unsigned width;
    return leb_read(c, 64, false, &width);
}

int32_t wasm_cursor_s32(struct wasm_cursor *c)
{
    return (int32_t)leb_signed(c, 32);
}

int64_t wasm_cursor_s33(struct wasm_cursor *c)
{
    return leb_signed(c, 33);
}

int64_t wasm_cursor_s64(struct wasm_cursor *c)
{
    return leb_signed(c, 64);
}

/* Length of the UTF-8 sequence at s (no overlong form, no surrogate, at most U+10FFFF); 0 = none.
 */
static size_t utf8_sequence(const uint8_t *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len < need)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return need;
}

struct wasm_span wasm_cursor_name(struct wasm_cursor *c)
{
    uint32_t len = wasm_cursor_u32(c);
    const uint8_t *bytes = wasm_cursor_bytes(c, len);
    if (!bytes)
        return (struct wasm_span){0, 0};
    for (size_t i = 0; i < len;) {
        size_t step = utf8_sequence(bytes + i, len - i);
        if (step == 0) {
            c->at = bytes + i;
            wasm_cursor_fail(c, ATOLL_EMALFORMED, "malformed UTF-8 encoding in a name");
            return (struct wasm_span){0, 0};
        }
        i += step;
    }
    return (struct wasm_span){(uint32_t)(bytes - c->base), len};
}
