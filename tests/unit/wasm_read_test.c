/* The decoder: numbers, names, sections, limits and constant expressions (src/engine/wasm_read.c,
 * wasm_cursor.c, wasm_segments.c, wasm_const.c, wasm_module.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/wasm_read.h"

#include "module_bytes.h"

#include <stdio.h>

static struct error error;

/* Reads the module in a block of exactly its size, so that a sanitizer sees any byte beyond it. The
 * buffer's bytes are replaced by that block. */
static int read_module(struct buffer *b, struct wasm_module *m)
{
    uint8_t *exact = malloc(b->len ? b->len : 1);
    assert_non_null(exact);
    if (b->len > 0)
        memcpy(exact, b->data, b->len);
    buffer_free(b);
    *b = (struct buffer){exact, 0, 0};
    error = (struct error){0};
    return wasm_read(exact, m->len, m, &error);
}

/* Reads a module and forgets it. */
static int read_status(struct buffer *b)
{
    struct wasm_module m = {.len = b->len};
    int status = read_module(b, &m);
    if (status != 0) {
        assert_int_equal(error.code, status);
        assert_null(m.types);
        assert_null(m.functions);
        assert_int_equal(m.len, 0);
    }
    wasm_module_free(&m);
    free(b->data);
    return status;
}

static int read_bytes(const void *bytes, size_t len)
{
    struct buffer b = {0};
    append_bytes(&b, bytes, len);
    return read_status(&b);
}

/* Reads a module that must be good; the test frees both. */
static struct wasm_module read_good(struct buffer *b)
{
    struct wasm_module m = {.len = b->len};
    if (read_module(b, &m) != 0)
        fail_msg("refused: %s", error.text);
    return m;
}

static void forget(struct buffer *b, struct wasm_module *m)
{
    wasm_module_free(m);
    free(b->data);
}

static struct wasm_cursor cursor_of(const uint8_t *bytes, size_t len)
{
    error = (struct error){0};
    return (struct wasm_cursor){bytes, bytes, bytes + len, &error, false};
}

#define ASSERT_NUMBER(read, value, ...)                           \
    do {                                                          \
        const uint8_t bytes_[] = {__VA_ARGS__};                   \
        struct wasm_cursor c_ = cursor_of(bytes_, sizeof bytes_); \
        assert_true(read(&c_) == (value));                        \
        assert_false(c_.failed);                                  \
        assert_ptr_equal(c_.at, c_.end);                          \
    } while (0)

#define ASSERT_NO_NUMBER(read, ...)                               \
    do {                                                          \
        const uint8_t bytes_[] = {__VA_ARGS__};                   \
        struct wasm_cursor c_ = cursor_of(bytes_, sizeof bytes_); \
        assert_true(read(&c_) == 0);                              \
        assert_true(c_.failed);                                   \
        assert_int_equal(error.code, -ATOLL_EMALFORMED);          \
        assert_int_equal(error.offset, 0);                        \
    } while (0)

static void unsigned_numbers_have_no_more_bits_than_their_type(void **state)
{
    (void)state;
    ASSERT_NUMBER(wasm_cursor_u32, 0, 0);
    ASSERT_NUMBER(wasm_cursor_u32, 0, 0x80, 0x80, 0x80, 0x80, 0);
    ASSERT_NUMBER(wasm_cursor_u32, 624485, 0xe5, 0x8e, 0x26);
    ASSERT_NUMBER(wasm_cursor_u32, UINT32_MAX, 0xff, 0xff, 0xff, 0xff, 0x0f);
    ASSERT_NO_NUMBER(wasm_cursor_u32, 0xff, 0xff, 0xff, 0xff, 0x1f);
    ASSERT_NO_NUMBER(wasm_cursor_u32, 0x80, 0x80, 0x80, 0x80, 0x80, 0);
    ASSERT_NO_NUMBER(wasm_cursor_u32, 0x80, 0x80);
    ASSERT_NUMBER(wasm_cursor_u64, UINT64_MAX, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                  0x01);
    ASSERT_NO_NUMBER(wasm_cursor_u64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03);
}

static void unused_bits_of_signed_numbers_copy_the_sign(void **state)
{
    (void)state;
    ASSERT_NUMBER(wasm_cursor_s32, -1, 0x7f);
    ASSERT_NUMBER(wasm_cursor_s32, -123456, 0xc0, 0xbb, 0x78);
    ASSERT_NUMBER(wasm_cursor_s32, INT32_MIN, 0x80, 0x80, 0x80, 0x80, 0x78);
    ASSERT_NUMBER(wasm_cursor_s32, INT32_MAX, 0xff, 0xff, 0xff, 0xff, 0x07);
    ASSERT_NO_NUMBER(wasm_cursor_s32, 0xff, 0xff, 0xff, 0xff, 0x0f);
    ASSERT_NO_NUMBER(wasm_cursor_s32, 0x80, 0x80, 0x80, 0x80, 0x70);
    ASSERT_NUMBER(wasm_cursor_s33, -1, 0xff, 0xff, 0xff, 0xff, 0x7f);
    ASSERT_NUMBER(wasm_cursor_s33, 0xffffffffll, 0xff, 0xff, 0xff, 0xff, 0x0f);
    ASSERT_NO_NUMBER(wasm_cursor_s33, 0xff, 0xff, 0xff, 0xff, 0x1f);
    ASSERT_NUMBER(wasm_cursor_s64, INT64_MIN, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                  0x7f);
    ASSERT_NO_NUMBER(wasm_cursor_s64, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01);
}

static void the_first_failure_of_a_cursor_is_the_one_reported(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 0x80};
    struct wasm_cursor c = cursor_of(bytes, sizeof bytes);
    assert_int_equal(wasm_cursor_u8(&c), 1);
    wasm_cursor_u32(&c);
    assert_int_equal(error.offset, 1);
    assert_null(wasm_cursor_bytes(&c, 100));
    wasm_cursor_fail(&c, ATOLL_ELIMIT, "second");
    assert_int_equal(error.code, -ATOLL_EMALFORMED);
    assert_int_equal(error.offset, 1);
}

#define ASSERT_NAME(good, ...)                                                  \
    do {                                                                        \
        const uint8_t text_[] = {__VA_ARGS__};                                  \
        struct buffer b_ = {0};                                                 \
        append_u32(&b_, sizeof text_);                                          \
        append_bytes(&b_, text_, sizeof text_);                                 \
        struct wasm_cursor c_ = cursor_of(b_.data, b_.len);                     \
        assert_int_equal(wasm_cursor_name(&c_).len, (good) ? sizeof text_ : 0); \
        assert_int_equal(c_.failed, !(good));                                   \
        buffer_free(&b_);                                                       \
    } while (0)

static void names_are_utf8_without_overlong_forms_and_surrogates(void **state)
{
    (void)state;
    ASSERT_NAME(true, 'a', 0, 0x7f);
    ASSERT_NAME(true, 0xc2, 0x80, 0xe0, 0xa0, 0x80, 0xed, 0x9f, 0xbf, 0xf4, 0x8f, 0xbf, 0xbf);
    ASSERT_NAME(false, 0x80);
    ASSERT_NAME(false, 0xc1, 0xbf);
    ASSERT_NAME(false, 0xc3);
    ASSERT_NAME(false, 0xe0, 0x9f, 0xbf);
    ASSERT_NAME(false, 0xed, 0xa0, 0x80);
    ASSERT_NAME(false, 0xf0, 0x8f, 0xbf, 0xbf);
    ASSERT_NAME(false, 0xf4, 0x90, 0x80, 0x80);
    ASSERT_NAME(false, 0xf5, 0x80, 0x80, 0x80);
}

static void a_module_begins_with_the_magic_and_version_1(void **state)
{
    (void)state;
    assert_int_equal(read_bytes("\0asm\1\0\0\0", 8), 0);
    assert_int_equal(read_bytes("", 0), -ATOLL_EMALFORMED);
    assert_int_equal(read_bytes("\0asm\1\0\0", 7), -ATOLL_EMALFORMED);
    assert_int_equal(read_bytes("\0asn\1\0\0\0", 8), -ATOLL_EMALFORMED);
    assert_int_equal(error.offset, 0);
    assert_int_equal(read_bytes("\0asm\2\0\0\0", 8), -ATOLL_EMALFORMED);
    assert_int_equal(error.offset, 4);
    assert_int_equal(read_bytes("\0asm\x0d\0\1\0", 8), -ATOLL_EUNSUPPORTED);
    assert_non_null(strstr(error.text, "component-model"));
}

static void sections_come_once_in_order_and_end_where_they_say(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 3, 0);
    SECTION(&b, 1, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    assert_int_equal(error.offset, 11);
    b = module_start();
    SECTION(&b, 1, 0);
    SECTION(&b, 1, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 1, 0, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    assert_non_null(strstr(error.text, "type section"));
    assert_int_equal(error.offset, 11);
    b = module_start();
    SECTION(&b, 14, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    append_bytes(&b, BYTES(1, 5, 0));
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    /* The data count stands before the code. */
    b = module_start();
    SECTION(&b, 10, 0);
    SECTION(&b, 12, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
}

static void custom_sections_go_anywhere_and_known_ones_are_kept(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 0, 1, 'x', 0xff);
    SECTION(&b, 1, 0);
    SECTION(&b, 0, 4, 'n', 'a', 'm', 'e', 7, 8);
    SECTION(&b, 0, 8, 'd', 'y', 'l', 'i', 'n', 'k', '.', '0', 9);
    struct wasm_module m = read_good(&b);
    assert_int_equal(m.name_section.len, 2);
    assert_int_equal(m.bytes[m.name_section.offset], 7);
    assert_int_equal(m.dylink.len, 1);
    assert_int_equal(m.producers.len, 0);
    forget(&b, &m);
    b = module_start();
    SECTION(&b, 0, 1, 0xff);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
}

/* A section that announces count entries and has none. */
static int read_count(uint8_t id, uint32_t count)
{
    struct buffer b = module_start(), payload = {0};
    append_u32(&payload, count);
    append_section_of(&b, id, &payload);
    if (id == 3) { /* as many bodies, so that their number is not the complaint */
        append_u32(&payload, count);
        append_section_of(&b, 10, &payload);
    }
    return read_status(&b);
}

static void an_error_names_the_section_it_is_in(void **state)
{
    (void)state;
    static const struct {
        uint8_t section, len, payload[6];
        const char *name;
    } cases[] = {
        {5, 5, {2, 0, 1, 0, 1}, "memory section: "},
        {3, 4, {0xc1, 0x84, 0x3d, 0}, "function section: "}, /* 1,000,001 */
        {4, 2, {3, 0}, "table section: "},
        {6, 1, {0x80}, "global section: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b = module_start();
        append_section(&b, cases[i].section, cases[i].payload, cases[i].len);
        assert_true(read_status(&b) < 0);
        if (strncmp(error.text, cases[i].name, strlen(cases[i].name)) != 0)
            fail_msg("\"%s\" does not begin with \"%s\"", error.text, cases[i].name);
    }
}

static void counts_beyond_a_limit_and_beyond_the_bytes_are_told_apart(void **state)
{
    (void)state;
    const struct {
        uint8_t section;
        uint32_t limit;
    } counted[] = {
        {1, WASM_MAX_TYPES},    {2, WASM_MAX_IMPORTS},   {3, WASM_MAX_FUNCTIONS},
        {4, WASM_MAX_TABLES},   {6, WASM_MAX_GLOBALS},   {7, WASM_MAX_EXPORTS},
        {9, WASM_MAX_SEGMENTS}, {11, WASM_MAX_SEGMENTS},
    };
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        assert_int_equal(read_count(counted[i].section, counted[i].limit), -ATOLL_EMALFORMED);
        assert_int_equal(read_count(counted[i].section, counted[i].limit + 1), -ATOLL_ELIMIT);
        assert_int_equal(read_count(counted[i].section, UINT32_MAX), -ATOLL_ELIMIT);
    }
}

static void a_module_beyond_256_mib_is_refused_unread(void **state)
{
    (void)state;
    struct wasm_module m;
    uint8_t byte = 0;
    assert_int_equal(wasm_read(&byte, WASM_MAX_MODULE_BYTES + 1ul, &m, &error), -ATOLL_ELIMIT);
}

static int read_parameters(uint32_t params, uint32_t results)
{
    struct buffer b = module_start(), payload = {0};
    append_bytes(&payload, BYTES(1, 0x60));
    append_u32(&payload, params);
    append_repeated(&payload, WASM_I32, params);
    append_u32(&payload, results);
    append_repeated(&payload, WASM_F64, results);
    append_section_of(&b, 1, &payload);
    return read_status(&b);
}

static void types_have_at_most_1000_parameters_and_1000_results(void **state)
{
    (void)state;
    assert_int_equal(read_parameters(WASM_MAX_PARAMS, WASM_MAX_RESULTS), 0);
    assert_int_equal(read_parameters(WASM_MAX_PARAMS + 1, 0), -ATOLL_ELIMIT);
    assert_int_equal(read_parameters(0, WASM_MAX_RESULTS + 1), -ATOLL_ELIMIT);
}

static int read_body(uint32_t len)
{
    struct buffer b = module_start(), body = {0};
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 3, 1, 0);
    append_repeated(&body, 1, len);
    append_code(&b, body.data, body.len);
    buffer_free(&body);
    return read_status(&b);
}

static void a_body_has_at_most_7654321_bytes(void **state)
{
    (void)state;
    assert_int_equal(read_body(WASM_MAX_BODY_BYTES), 0);
    assert_int_equal(read_body(WASM_MAX_BODY_BYTES + 1), -ATOLL_ELIMIT);
    assert_int_equal(read_body(1), -ATOLL_EMALFORMED);
}

static void later_proposals_are_refused_by_name(void **state)
{
    (void)state;
    const struct {
        const char *name;
        uint8_t section, len;
        uint8_t payload[12];
    } cases[] = {
        {"exceptions", 13, 1, {0}},
        {"exceptions", 2, 6, {1, 0, 0, 4, 0, 0}},
        {"exceptions", 1, 5, {1, 0x60, 1, 0x69, 0}},
        {"gc", 1, 5, {1, 0x5f, 1, 0x7f, 0}},
        {"gc", 1, 5, {1, 0x60, 1, 0x6e, 0}},
        {"function-references", 1, 6, {1, 0x60, 1, 0x64, 0x70, 0}},
        {"function-references", 4, 6, {1, 0x40, 0, 0x70, 0, 1}},
        {"memory64", 5, 3, {1, 4, 1}},
        {"memory64", 4, 4, {1, 0x70, 4, 1}},
        {"multi-memory", 5, 5, {2, 0, 1, 0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b = module_start();
        append_section(&b, cases[i].section, cases[i].payload, cases[i].len);
        assert_int_equal(read_status(&b), -ATOLL_EUNSUPPORTED);
        if (!strstr(error.text, cases[i].name))
            fail_msg("%s is not named: %s", cases[i].name, error.text);
    }
}

static void a_shared_memory_needs_a_maximum(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 5, 1, 2, 1);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 5, 1, 3, 1, 2);
    struct wasm_module m = read_good(&b);
    assert_true(m.memories[0].limits.shared);
    assert_int_equal(m.memories[0].limits.max, 2);
    assert_int_equal(m.features, WASM_FEATURE_THREADS);
    forget(&b, &m);
}

static void equal_types_share_the_lowest_index(void **state)
{
    (void)state;
    struct buffer b = module_start();
    /* Counts in long form do not make a type another one. */
    SECTION(&b, 1, 4, 0x60, 1, 0x7f, 0, 0x60, 0, 1, 0x7f, 0x60, 0x81, 0, 0x7f, 0x80, 0, 0x60, 1,
            0x7e, 0);
    struct wasm_module m = read_good(&b);
    assert_int_equal(m.types[0].canonical, 0);
    assert_int_equal(m.types[1].canonical, 1);
    assert_int_equal(m.types[2].canonical, 0);
    assert_int_equal(m.types[3].canonical, 3);
    assert_int_equal(wasm_type_signature(&m, 2).params[0], WASM_I32);
    forget(&b, &m);
}

/* A module with count exported memories' names "00000", "00001", …, the last one like `again`. */
static int read_exports(uint32_t count, uint32_t again)
{
    struct buffer b = module_start(), payload = {0};
    SECTION(&b, 5, 1, 0, 1);
    append_u32(&payload, count);
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        uint32_t number = i + 1 == count ? again : i;
        uint32_t len = (uint32_t)snprintf(name, sizeof name, "%05u", number);
        append_u32(&payload, len);
        append_bytes(&payload, name, len);
        append_bytes(&payload, BYTES(2, 0));
    }
    append_section_of(&b, 7, &payload);
    return read_status(&b);
}

static void no_two_exports_have_the_same_name(void **state)
{
    (void)state;
    assert_int_equal(read_exports(1, 0), 0);
    assert_int_equal(read_exports(WASM_MAX_EXPORTS, WASM_MAX_EXPORTS - 1), 0);
    assert_int_equal(read_exports(WASM_MAX_EXPORTS, 777), -ATOLL_EINVALID);
    assert_non_null(strstr(error.text, "exports 777 and 99999"));
}

static void there_are_as_many_bodies_as_functions(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 3, 1, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 10, 1, 2, 0, 0x0b);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 3, 1, 0);
    SECTION(&b, 10, 1, 2, 0, 0x0b);
    assert_int_equal(read_status(&b), -ATOLL_EINVALID); /* type 0 is unknown */
}

static void the_data_count_is_that_of_the_data_section(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 12, 1);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 12, 2);
    SECTION(&b, 11, 1, 1, 0);
    assert_int_equal(read_status(&b), -ATOLL_EMALFORMED);
    b = module_start();
    SECTION(&b, 12, 1);
    SECTION(&b, 11, 1, 1, 2, 'h', 'i');
    struct wasm_module m = read_good(&b);
    assert_int_equal(m.data_count, 1);
    assert_int_equal(m.datas[0].mode, WASM_PASSIVE);
    assert_memory_equal(m.bytes + m.datas[0].bytes.offset, "hi", 2);
    forget(&b, &m);
}

static void a_skeleton_may_lack_code_and_data(void **state)
{
    (void)state;
    struct buffer b = module_start();
    struct wasm_module m;
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 3, 2, 0, 0);
    SECTION(&b, 7, 1, 1, 'f', 0, 1);
    SECTION(&b, 12, 3);
    assert_int_equal(wasm_read(b.data, b.len, &m, &error), -ATOLL_EMALFORMED);
    assert_int_equal(wasm_read_skeleton(b.data, b.len, &m, &error), 0);
    assert_int_equal(m.function_count, 2);
    assert_int_equal(m.functions[1].body.offset, 0);
    assert_int_equal(m.functions[1].body.len, 0);
    assert_int_equal(m.data_count, 3);
    assert_int_equal(m.datas[2].mode, WASM_PASSIVE);
    assert_int_equal(m.datas[2].bytes.len, 0);
    assert_true(wasm_function_referenced(&m, 1));
    assert_int_equal(wasm_function_at(&m, 12), UINT32_MAX);
    wasm_module_free(&m);
    /* What is there is read as strictly as ever. */
    SECTION(&b, 10, 1, 2, 0, 0x0b);
    assert_int_equal(wasm_read_skeleton(b.data, b.len, &m, &error), -ATOLL_EMALFORMED);
    buffer_free(&b);
}

/* ---- constant expressions ---- */

/* A module that imports two immutable globals (i32, i64) and a mutable i32, and defines one of a
 * type with this initial value. */
static struct buffer module_with_global(uint8_t type, const void *init, size_t len)
{
    struct buffer b = module_start(), payload = {0};
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 2, 4, 1, 'm', 1, 'a', 3, 0x7f, 0, 1, 'm', 1, 'b', 3, 0x7e, 0, 1, 'm', 1, 'c', 3,
            0x7f, 1, 1, 'm', 1, 'f', 0, 0);
    append_bytes(&payload, BYTES(1, type, 0));
    append_bytes(&payload, init, len);
    append_byte(&payload, 0x0b);
    append_section_of(&b, 6, &payload);
    return b;
}

static int constant_status(uint8_t type, const void *init, size_t len)
{
    struct buffer b = module_with_global(type, init, len);
    return read_status(&b);
}

static int global_value(void *context, uint32_t global, uint8_t out[static 16])
{
    (void)context;
    store_u64(out, 1000 * (global + 1));
    return 0;
}

static int ref_value(void *context, uint32_t function, uint64_t *out)
{
    (void)context;
    *out = function == UINT32_MAX ? 0 : 77;
    return 0;
}

static uint64_t constant_value(uint8_t type, const void *init, size_t len)
{
    const struct wasm_const_environment environment = {global_value, ref_value, NULL};
    struct buffer b = module_with_global(type, init, len);
    struct wasm_module m = read_good(&b);
    uint8_t value[16];
    assert_int_equal(wasm_const_evaluate(&m, m.globals[3].init, &environment, value), 0);
    forget(&b, &m);
    return load_u64(value);
}

static void constant_expressions_have_the_type_they_are_for(void **state)
{
    (void)state;
    assert_int_equal(constant_status(WASM_I32, BYTES(0x41, 1)), 0);
    assert_int_equal(constant_status(WASM_I64, BYTES(0x41, 1)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x41, 1, 0x41, 2)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, NULL, 0), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x41, 1, 0x42, 1, 0x6a)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x41, 1, 0x45)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x41, 1, 0x27)), -ATOLL_EMALFORMED);
    assert_int_equal(constant_status(WASM_FUNCREF, BYTES(0xd2, 0)), 0);
    assert_int_equal(constant_status(WASM_FUNCREF, BYTES(0xd2, 1)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_EXTERNREF, BYTES(0xd0, 0x70)), -ATOLL_EINVALID);
}

static void constant_expressions_see_imported_immutable_globals_only(void **state)
{
    (void)state;
    assert_int_equal(constant_status(WASM_I32, BYTES(0x23, 0)), 0);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x23, 1)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x23, 2)), -ATOLL_EINVALID);
    assert_int_equal(constant_status(WASM_I32, BYTES(0x23, 3)), -ATOLL_EINVALID);
}

static void arithmetic_over_constants_is_folded_to_one_value(void **state)
{
    (void)state;
    /* 5 - 7 * 3 */
    struct buffer b = module_with_global(WASM_I32, BYTES(0x41, 5, 0x41, 7, 0x41, 3, 0x6c, 0x6b));
    struct wasm_module m = read_good(&b);
    struct wasm_const_op op;
    uint32_t cursor = m.globals[3].init.offset;
    assert_true(wasm_const_next(&m, m.globals[3].init, &cursor, &op));
    assert_int_equal(op.kind, WASM_CONST_VALUE);
    assert_int_equal(op.type, WASM_I32);
    assert_int_equal(load_u64(op.value), (uint32_t)-16);
    assert_false(wasm_const_next(&m, m.globals[3].init, &cursor, &op));
    assert_true(m.features & WASM_FEATURE_EXTENDED_CONST);
    forget(&b, &m);
}

static void arithmetic_with_a_global_stays_a_program(void **state)
{
    (void)state;
    const uint8_t kinds[] = {WASM_CONST_GLOBAL_GET, WASM_CONST_VALUE, WASM_CONST_SUB};
    struct buffer b = module_with_global(WASM_I64, BYTES(0x23, 1, 0x42, 1, 0x7d));
    struct wasm_module m = read_good(&b);
    uint32_t cursor = m.globals[3].init.offset;
    struct wasm_const_op op;
    for (size_t i = 0; i < 3; i++) {
        assert_true(wasm_const_next(&m, m.globals[3].init, &cursor, &op));
        assert_int_equal(op.kind, kinds[i]);
        assert_int_equal(op.type, WASM_I64);
    }
    assert_false(wasm_const_next(&m, m.globals[3].init, &cursor, &op));
    forget(&b, &m);
    assert_int_equal(constant_value(WASM_I64, BYTES(0x23, 1, 0x42, 1, 0x7d)), 1999);
}

static void constant_expressions_evaluate_to_bits_and_references(void **state)
{
    (void)state;
    assert_int_equal(constant_value(WASM_I32, BYTES(0x41, 0x7f)), UINT32_MAX);
    assert_true(constant_value(WASM_I64, BYTES(0x42, 0x7f)) == UINT64_MAX);
    assert_int_equal(constant_value(WASM_F32, BYTES(0x43, 1, 2, 3, 4)), 0x04030201);
    assert_int_equal(constant_value(WASM_FUNCREF, BYTES(0xd2, 0)), 77);
    assert_int_equal(constant_value(WASM_FUNCREF, BYTES(0xd0, 0x70)), 0);
    assert_int_equal(constant_value(WASM_I32, BYTES(0x23, 0, 0x23, 0, 0x6a)), 2000);
    /* i32 arithmetic wraps */
    assert_int_equal(constant_value(WASM_I32, BYTES(0x41, 0x7f, 0x23, 0, 0x6a)), 999);
}

static int constant_of_depth(uint32_t depth)
{
    struct buffer init = {0};
    for (uint32_t i = 0; i < depth; i++)
        append_bytes(&init, BYTES(0x41, 1));
    append_repeated(&init, 0x6a, depth - 1);
    int status = constant_status(WASM_I32, init.data, init.len);
    if (status == 0)
        assert_int_equal(constant_value(WASM_I32, init.data, init.len), depth);
    buffer_free(&init);
    return status;
}

static void constant_expressions_hold_at_most_256_operands(void **state)
{
    (void)state;
    assert_int_equal(constant_of_depth(WASM_MAX_CONST_DEPTH), 0);
    assert_int_equal(constant_of_depth(WASM_MAX_CONST_DEPTH + 1), -ATOLL_ELIMIT);
}

/* ---- segments and questions ---- */

static void items_of_element_segments_are_walked_in_every_encoding(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 2, 1, 1, 'm', 1, 'g', 3, 0x70, 0);
    SECTION(&b, 3, 3, 0, 0, 0);
    SECTION(&b, 4, 1, 0x70, 0, 9);
    SECTION(&b, 9, 3, /* active, indices */ 0, 0x41, 0, 0x0b, 2, 2, 0x80, 0, /* declarative */ 3, 0,
            1, 1, /* passive, expressions */ 5, 0x70, 3, 0xd0, 0x70, 0x0b, 0x23, 0, 0x0b, 0xd2, 2,
            0x0b);
    SECTION(&b, 10, 3, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b);
    struct wasm_module m = read_good(&b);
    const struct wasm_element_item expected[] = {{2, UINT32_MAX}, {0, UINT32_MAX},
                                                 {1, UINT32_MAX}, {UINT32_MAX, UINT32_MAX},
                                                 {UINT32_MAX, 0}, {2, UINT32_MAX}};
    size_t n = 0;
    for (uint32_t s = 0; s < 3; s++) {
        struct wasm_element_item item;
        uint32_t cursor = m.elements[s].items.offset, count = 0;
        for (; wasm_element_next(&m, &m.elements[s], &cursor, &item); n++, count++) {
            assert_int_equal(item.function, expected[n].function);
            assert_int_equal(item.global, expected[n].global);
        }
        assert_int_equal(count, m.elements[s].count);
    }
    assert_int_equal(n, 6);
    assert_int_equal(m.elements[0].mode, WASM_ACTIVE);
    assert_int_equal(m.elements[1].mode, WASM_DECLARATIVE);
    assert_int_equal(m.elements[2].mode, WASM_PASSIVE);
    forget(&b, &m);
}

static void functions_are_referenced_by_segments_globals_and_exports(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 3, 4, 0, 0, 0, 0);
    SECTION(&b, 6, 1, 0x70, 0, 0xd2, 1, 0x0b);
    SECTION(&b, 7, 1, 1, 'f', 0, 2);
    SECTION(&b, 8, 0);
    SECTION(&b, 9, 1, 3, 0, 1, 3);
    SECTION(&b, 10, 4, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b, 2, 0, 0x0b);
    struct wasm_module m = read_good(&b);
    assert_int_equal(m.start, 0);
    assert_false(wasm_function_referenced(&m, 0));
    for (uint32_t f = 1; f < 4; f++)
        assert_true(wasm_function_referenced(&m, f));
    forget(&b, &m);
}

static void a_function_is_found_by_offset_and_named(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 1, 1, 0x60, 0, 0);
    SECTION(&b, 3, 2, 0, 0);
    SECTION(&b, 10, 2, 2, 0, 0x0b, 3, 0, 1, 0x0b);
    SECTION(&b, 0, 4, 'n', 'a', 'm', 'e', 0, 1, 0, 1, 8, 2, 0, 1, 'x', 1, 2, 'y', 'y');
    struct wasm_module m = read_good(&b);
    uint32_t first = m.functions[0].body.offset;
    assert_int_equal(wasm_function_at(&m, first - 1), UINT32_MAX);
    assert_int_equal(wasm_function_at(&m, first), 0);
    assert_int_equal(wasm_function_at(&m, first + 1), 0);
    assert_int_equal(wasm_function_at(&m, first + 2), UINT32_MAX); /* the next body's size */
    assert_int_equal(wasm_function_at(&m, first + 5), 1);
    assert_int_equal(wasm_function_at(&m, first + 6), UINT32_MAX);
    struct wasm_span name = wasm_function_name(&m, 1);
    assert_int_equal(name.len, 2);
    assert_memory_equal(m.bytes + name.offset, "yy", 2);
    assert_int_equal(wasm_function_name(&m, 2).len, 0);
    forget(&b, &m);
}

static void a_damaged_name_section_names_nothing_and_breaks_nothing(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 0, 4, 'n', 'a', 'm', 'e', 1, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0);
    struct wasm_module m = read_good(&b);
    assert_int_equal(wasm_function_name(&m, 0).len, 0);
    forget(&b, &m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsigned_numbers_have_no_more_bits_than_their_type),
        cmocka_unit_test(unused_bits_of_signed_numbers_copy_the_sign),
        cmocka_unit_test(the_first_failure_of_a_cursor_is_the_one_reported),
        cmocka_unit_test(names_are_utf8_without_overlong_forms_and_surrogates),
        cmocka_unit_test(a_module_begins_with_the_magic_and_version_1),
        cmocka_unit_test(sections_come_once_in_order_and_end_where_they_say),
        cmocka_unit_test(custom_sections_go_anywhere_and_known_ones_are_kept),
        cmocka_unit_test(an_error_names_the_section_it_is_in),
        cmocka_unit_test(counts_beyond_a_limit_and_beyond_the_bytes_are_told_apart),
        cmocka_unit_test(a_module_beyond_256_mib_is_refused_unread),
        cmocka_unit_test(types_have_at_most_1000_parameters_and_1000_results),
        cmocka_unit_test(a_body_has_at_most_7654321_bytes),
        cmocka_unit_test(later_proposals_are_refused_by_name),
        cmocka_unit_test(a_shared_memory_needs_a_maximum),
        cmocka_unit_test(equal_types_share_the_lowest_index),
        cmocka_unit_test(no_two_exports_have_the_same_name),
        cmocka_unit_test(there_are_as_many_bodies_as_functions),
        cmocka_unit_test(the_data_count_is_that_of_the_data_section),
        cmocka_unit_test(a_skeleton_may_lack_code_and_data),
        cmocka_unit_test(constant_expressions_have_the_type_they_are_for),
        cmocka_unit_test(constant_expressions_see_imported_immutable_globals_only),
        cmocka_unit_test(arithmetic_over_constants_is_folded_to_one_value),
        cmocka_unit_test(arithmetic_with_a_global_stays_a_program),
        cmocka_unit_test(constant_expressions_evaluate_to_bits_and_references),
        cmocka_unit_test(constant_expressions_hold_at_most_256_operands),
        cmocka_unit_test(items_of_element_segments_are_walked_in_every_encoding),
        cmocka_unit_test(functions_are_referenced_by_segments_globals_and_exports),
        cmocka_unit_test(a_function_is_found_by_offset_and_named),
        cmocka_unit_test(a_damaged_name_section_names_nothing_and_breaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
