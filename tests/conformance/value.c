/* See value.h. Used by script.c. */
#include "value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name;
    uint8_t type, lane_bytes;
} value_types[] = {
    {"i32", WASM_I32, 4},   {"i64", WASM_I64, 8},
    {"f32", WASM_F32, 4},   {"f64", WASM_F64, 8},
    {"v128", WASM_V128, 0}, {"funcref", WASM_FUNCREF, 0},
    {"i8", WASM_ANY, 1},    {"externref", WASM_EXTERNREF, 0},
    {"i16", WASM_ANY, 2},
};

static const char *value_field(const cJSON *value, const char *field)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, field));
    return text != NULL ? text : "";
}

/* Index into value_types, or -1. */
static int value_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof value_types / sizeof *value_types; i++)
        if (strcmp(value_types[i].name, name) == 0)
            return (int)i;
    return -1;
}

uint8_t value_type(const cJSON *value)
{
    int found = value_type_find(value_field(value, "type"));
    return found >= 0 ? value_types[found].type : WASM_ANY;
}

/* Decimal digits, perhaps with a sign, into the low bytes of out. */
static int bits_parse(const char *text, size_t bytes, uint8_t *out, struct error *e)
{
    char *end;
    uint64_t bits = text[0] == '-' ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
    if (end == text || *end != '\0')
        return error_set(e, ATOLL_EINVAL, "the script holds '%s' where a number belongs", text);
    memcpy(out, &bits, bytes);
    return 0;
}

/* The lanes of a vector: their width and the array of their texts. */
static const cJSON *value_lanes(const cJSON *value, size_t *lane_bytes, bool *is_float)
{
    int lane = value_type_find(value_field(value, "lane_type"));
    const cJSON *lanes = cJSON_GetObjectItemCaseSensitive(value, "value");
    if (lane < 0 || value_types[lane].lane_bytes == 0)
        return NULL;
    *lane_bytes = value_types[lane].lane_bytes;
    *is_float = value_types[lane].name[0] == 'f';
    if (!cJSON_IsArray(lanes) || (size_t)cJSON_GetArraySize(lanes) != 16 / *lane_bytes)
        return NULL;
    return lanes;
}

static int vector_parse(const cJSON *value, union host_slot *out, struct error *e)
{
    size_t lane_bytes, at = 0;
    bool is_float;
    const cJSON *lane, *lanes = value_lanes(value, &lane_bytes, &is_float);
    if (lanes == NULL)
        return error_set(e, ATOLL_EINVAL, "the script holds a v128 without 16 bytes of lanes");
    cJSON_ArrayForEach(lane, lanes)
    {
        const char *text = cJSON_GetStringValue(lane);
        int code = bits_parse(text != NULL ? text : "", lane_bytes, out->bytes + at, e);
        if (code != 0)
            return code;
        at += lane_bytes;
    }
    return 0;
}

int value_parse(const cJSON *value, struct arena *arena, union host_slot *out, struct error *e)
{
    uint8_t type = value_type(value);
    const char *text = value_field(value, "value");
    *out = (union host_slot){0};
    switch (type) {
    case WASM_I32:
    case WASM_F32: return bits_parse(text, 4, out->bytes, e);
    case WASM_I64:
    case WASM_F64: return bits_parse(text, 8, out->bytes, e);
    case WASM_V128: return vector_parse(value, out, e);
    case WASM_FUNCREF:
        if (strcmp(text, "null") == 0)
            return 0;
        return error_set(e, ATOLL_EINVAL, "the script passes a funcref that is not null");
    case WASM_EXTERNREF:
        if (strcmp(text, "null") == 0)
            return 0;
        uint64_t host_value;
        int code = bits_parse(text, 8, (uint8_t *)&host_value, e);
        if (code != 0)
            return code;
        out->u64 = arena_externref(arena, host_value);
        if (out->u64 == 0)
            return error_set(e, ATOLL_ELIMIT, "the arena has no externref handle left");
        return 0;
    default:
        return error_set(e, ATOLL_EINVAL, "the script holds a value of unknown type '%s'",
                         value_field(value, "type"));
    }
}

/* Whether bits are a NaN of the class: "canonical" (sign free, payload exactly the quiet bit) or
 * "arithmetic" (quiet bit set). */
static bool nan_matches(const char *class, size_t bytes, const uint8_t *bits)
{
    uint64_t value = bytes == 4 ? load_u32(bits) : load_u64(bits);
    uint64_t quiet = bytes == 4 ? 0x7fc00000 : 0x7ff8000000000000;
    uint64_t unsigned_bits = value & (bytes == 4 ? 0x7fffffff : INT64_MAX);
    if (strcmp(class, "nan:canonical") == 0)
        return unsigned_bits == quiet;
    return strcmp(class, "nan:arithmetic") == 0 && (unsigned_bits & quiet) == quiet;
}

static bool bits_match(const char *text, size_t bytes, bool is_float, const uint8_t *actual)
{
    uint8_t expected[8] = {0};
    struct error ignored;
    if (is_float && strncmp(text, "nan:", 4) == 0)
        return nan_matches(text, bytes, actual);
    return bits_parse(text, bytes, expected, &ignored) == 0 && memcmp(expected, actual, bytes) == 0;
}

static bool vector_matches(const cJSON *expected, const union host_slot *actual)
{
    size_t lane_bytes, at = 0;
    bool is_float;
    const cJSON *lane, *lanes = value_lanes(expected, &lane_bytes, &is_float);
    if (lanes == NULL)
        return false;
    cJSON_ArrayForEach(lane, lanes)
    {
        const char *text = cJSON_GetStringValue(lane);
        if (text == NULL || !bits_match(text, lane_bytes, is_float, actual->bytes + at))
            return false;
        at += lane_bytes;
    }
    return true;
}

bool value_matches(const cJSON *expected, struct arena *arena, const union host_slot *actual)
{
    const char *text = value_field(expected, "value");
    switch (value_type(expected)) {
    case WASM_I32: return bits_match(text, 4, false, actual->bytes);
    case WASM_F32: return bits_match(text, 4, true, actual->bytes);
    case WASM_I64: return bits_match(text, 8, false, actual->bytes);
    case WASM_F64: return bits_match(text, 8, true, actual->bytes);
    case WASM_V128: return vector_matches(expected, actual);
    case WASM_FUNCREF: return (strcmp(text, "null") == 0) == (actual->u64 == 0);
    case WASM_EXTERNREF:
        if (strcmp(text, "null") == 0 || actual->u64 == 0)
            return strcmp(text, "null") == 0 && actual->u64 == 0;
        uint64_t host_value = arena_externref_value(arena, actual->u64);
        return text[0] == '\0' || bits_match(text, 8, false, (const uint8_t *)&host_value);
    default: return false;
    }
}

void value_describe(const cJSON *value, char *out, size_t size)
{
    const char *lane_type = value_field(value, "lane_type");
    int len = snprintf(out, size, "%s%s%s:%s", value_field(value, "type"),
                       lane_type[0] != '\0' ? "." : "", lane_type, value_field(value, "value"));
    const cJSON *lane, *lanes = cJSON_GetObjectItemCaseSensitive(value, "value");
    if (!cJSON_IsArray(lanes))
        return;
    cJSON_ArrayForEach(lane, lanes)
    {
        if (len < 0 || (size_t)len >= size)
            return;
        const char *text = cJSON_GetStringValue(lane);
        len += snprintf(out + len, size - (size_t)len, "%s ", text != NULL ? text : "?");
    }
}

void value_print(uint8_t type, struct arena *arena, const union host_slot *slot, char *out,
                 size_t size)
{
    const char *name = wasm_type_name(type);
    switch (type) {
    case WASM_I32: snprintf(out, size, "%s:%" PRIu32, name, slot->u32); break;
    case WASM_F32:
        snprintf(out, size, "%s:%" PRIu32 " (%g)", name, slot->u32, (double)slot->f32);
        break;
    case WASM_F64: snprintf(out, size, "%s:%" PRIu64 " (%g)", name, slot->u64, slot->f64); break;
    case WASM_V128:
        snprintf(out, size, "%s:0x%016" PRIx64 "%016" PRIx64, name, load_u64(slot->bytes + 8),
                 load_u64(slot->bytes));
        break;
    case WASM_EXTERNREF:
        if (slot->u64 != 0) {
            snprintf(out, size, "%s:%" PRIu64, name, arena_externref_value(arena, slot->u64));
            break;
        }
        __attribute__((fallthrough));
    case WASM_FUNCREF:
        snprintf(out, size, "%s:%s", name, slot->u64 == 0 ? "null" : "not null");
        break;
    default: snprintf(out, size, "%s:%" PRIu64, name, slot->u64);
    }
}
