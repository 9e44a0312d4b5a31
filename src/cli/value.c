/* Parsing and printing of values; strict, because a silently wrapped argument misleads. */
#include "cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool integer_parse(const char *text, unsigned bits, uint64_t *out)
{
    bool negative = *text == '-';
    const char *digits = text + (negative || *text == '+');
    bool hexadecimal = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    if (!isxdigit((unsigned char)digits[hexadecimal ? 2 : 0]))
        return false;
    char *end;
    errno = 0;
    uint64_t magnitude = strtoull(digits, &end, hexadecimal ? 16 : 10);
    if (errno || *end)
        return false;
    uint64_t most = bits == 64 ? UINT64_MAX : UINT64_C(0xffffffff);
    if (magnitude > (negative ? most / 2 + 1 : most))
        return false;
    *out = negative ? 0 - magnitude : magnitude;
    return true;
}

static bool float_parse(const char *text, double *out)
{
    char *end;
    if (*text == '\0' || isspace((unsigned char)*text))
        return false;
    *out = strtod(text, &end);
    return *end == '\0';
}

static bool vector_parse(const char *text, uint8_t out[static 16])
{
    if (strlen(text) != 34 || text[0] != '0' || text[1] != 'x')
        return false;
    for (unsigned i = 0; i < 16; i++) {
        const char pair[3] = {text[2 + 2 * i], text[3 + 2 * i], '\0'};
        if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
            return false;
        out[15 - i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

static bool externref_parse(struct arena *arena, const char *text, uint64_t *out)
{
    uint64_t number;
    if (strcmp(text, "null") == 0) {
        *out = 0;
        return true;
    }
    if (!integer_parse(text, 64, &number))
        return false;
    *out = arena_externref(arena, number);
    return *out != 0;
}

int value_parse(struct arena *arena, uint8_t type, const char *text, union host_slot *out,
                struct error *e)
{
    uint64_t integer = 0;
    double number = 0;
    bool good = false;
    *out = (union host_slot){.u64 = 0};
    switch (type) {
    case WASM_I32:
        good = integer_parse(text, 32, &integer);
        out->u32 = (uint32_t)integer;
        break;
    case WASM_I64: good = integer_parse(text, 64, &out->u64); break;
    case WASM_F32:
        good = float_parse(text, &number);
        /* strtof, not a cast: rounding twice could miss the nearest float. */
        out->f32 = good ? strtof(text, NULL) : 0;
        break;
    case WASM_F64: good = float_parse(text, &out->f64); break;
    case WASM_V128: good = vector_parse(text, out->bytes); break;
    case WASM_EXTERNREF: good = externref_parse(arena, text, &out->u64); break;
    case WASM_FUNCREF: good = strcmp(text, "null") == 0; break;
    default: break;
    }
    if (good)
        return 0;
    static const char vector_form[] = ", that is 0x and 32 hexadecimal digits";
    return error_set(e, ATOLL_EINVAL, "\"%s\" is no value of type %s%s", text, wasm_type_name(type),
                     type == WASM_V128      ? vector_form
                     : type == WASM_FUNCREF ? ", that is null"
                                            : "");
}

/* Shortest of two precisions that reads back to the same number. */
static void float_print(double value, bool single, char out[static VALUE_TEXT_MAX])
{
    if (isnan(value)) {
        snprintf(out, VALUE_TEXT_MAX, "%snan", signbit(value) ? "-" : "");
        return;
    }
    for (int precision = single ? 6 : 15; precision <= 17; precision++) {
        snprintf(out, VALUE_TEXT_MAX, "%.*g", precision, value);
        if (single ? (double)strtof(out, NULL) == value : strtod(out, NULL) == value)
            return;
    }
}

void value_print(const struct arena *arena, uint8_t type, const union host_slot *slot,
                 char out[static VALUE_TEXT_MAX])
{
    switch (type) {
    case WASM_I32: snprintf(out, VALUE_TEXT_MAX, "%" PRId32, slot->i32); break;
    case WASM_I64: snprintf(out, VALUE_TEXT_MAX, "%" PRId64, slot->i64); break;
    case WASM_F32: float_print((double)slot->f32, true, out); break;
    case WASM_F64: float_print(slot->f64, false, out); break;
    case WASM_V128:
        snprintf(out, VALUE_TEXT_MAX, "0x");
        for (unsigned i = 0; i < 16; i++)
            snprintf(out + 2 + 2 * i, VALUE_TEXT_MAX - 2 - 2 * i, "%02x", slot->bytes[15 - i]);
        break;
    case WASM_EXTERNREF:
        if (slot->u64)
            snprintf(out, VALUE_TEXT_MAX, "%" PRIu64, arena_externref_value(arena, slot->u64));
        else
            snprintf(out, VALUE_TEXT_MAX, "null");
        break;
    default: snprintf(out, VALUE_TEXT_MAX, "%s", slot->u64 ? "funcref" : "null"); break;
    }
}
