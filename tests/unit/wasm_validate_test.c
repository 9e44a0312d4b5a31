/* The validator: what it refuses and how it says so, its bounds, and what a sink is told
 * (src/engine/wasm_validate*.c, wasm_shapes.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/wasm_read.h"
#include "engine/wasm_shapes.h"
#include "engine/wasm_validate.h"

#include "module_bytes.h"

#include <stdio.h>

static struct error error;
static uint32_t features;

/* The world around the body under test:
 *   types    0: [] -> []   1: [i32] -> [i32]   2: [] -> [i32 i32]
 *   function 0: imported, type 0   1: under test   2: type 1, in no segment
 *   table 0: funcref   memory 0: one page   global 0: immutable i32   data: one passive segment
 * Function 0 may be referenced. */
struct world {
    struct buffer bytes;
    struct wasm_module module;
};

enum { WORLD_NO_DATA_COUNT = 1, WORLD_NO_MEMORY = 2 };

static struct world world_of(uint8_t type, const void *body, size_t len, int without)
{
    struct world w = {module_start(), {0}};
    struct buffer code = {0};
    SECTION(&w.bytes, 1, 3, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 0, 2, 0x7f, 0x7f);
    SECTION(&w.bytes, 2, 1, 1, 'm', 1, 'f', 0, 0);
    SECTION(&w.bytes, 3, 2, type, 1);
    SECTION(&w.bytes, 4, 1, 0x70, 0, 1);
    if (!(without & WORLD_NO_MEMORY))
        SECTION(&w.bytes, 5, 1, 0, 1);
    SECTION(&w.bytes, 6, 1, 0x7f, 0, 0x41, 0, 0x0b);
    SECTION(&w.bytes, 9, 1, 3, 0, 1, 0);
    if (!(without & WORLD_NO_DATA_COUNT))
        SECTION(&w.bytes, 12, 1);
    append_byte(&code, 2);
    append_u32(&code, (uint32_t)len);
    append_bytes(&code, body, len);
    append_bytes(&code, BYTES(4, 0, 0x20, 0, 0x0b));
    append_section_of(&w.bytes, 10, &code);
    SECTION(&w.bytes, 11, 1, 1, 0);
    error = (struct error){0};
    if (wasm_read(w.bytes.data, w.bytes.len, &w.module, &error) != 0)
        fail_msg("the world is not well formed: %s", error.text);
    return w;
}

static void world_end(struct world *w)
{
    wasm_module_free(&w->module);
    buffer_free(&w->bytes);
}

static int validate_in(uint8_t type, const void *body, size_t len, const struct wasm_sink *sink,
                       int without)
{
    struct world w = world_of(type, body, len, without);
    struct wasm_validator *v = wasm_validator_create();
    assert_non_null(v);
    features = 0;
    error = (struct error){0};
    int status = wasm_validate_function(&w.module, v, 1, sink, &features, &error);
    if (status != 0 && !sink) {
        assert_int_equal(error.code, status);
        assert_int_equal(error.function, 1);
        /* Offsets are checked relative to the body, so make them that. */
        assert_true(error.offset >= w.module.functions[1].body.offset);
        error.offset -= w.module.functions[1].body.offset;
        assert_true(error.offset <= len);
    }
    wasm_validator_destroy(v);
    world_end(&w);
    return status;
}

/* The status of a body of type [] -> [], given from the local declarations on. */
#define BODY(...) validate_in(0, BYTES(__VA_ARGS__), NULL, 0)

#define ASSERT_REFUSED(class, at, words, ...)                      \
    do {                                                           \
        assert_int_equal(BODY(__VA_ARGS__), -(class));             \
        assert_int_equal(error.offset, (at));                      \
        if (!strstr(error.text, (words)))                          \
            fail_msg("\"%s\" is not in: %s", (words), error.text); \
    } while (0)

static void every_operator_has_a_name_and_a_shape(void **state)
{
    (void)state;
    const uint32_t ops[] = {
#define OP(constant, code, name) code,
        WASM_OPS(OP)
#undef OP
    };
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        const struct wasm_shape *shape =
            ops[i] < 0x100 ? &wasm_shapes[ops[i]] : wasm_shape_prefixed(ops[i]);
        if (shape->form == FORM_UNKNOWN || !wasm_op_name(ops[i]) || wasm_op_proposal(ops[i]))
            fail_msg("operator 0x%x", ops[i]);
        if (i > 0)
            assert_true(ops[i - 1] < ops[i]);
    }
    size_t known = 0;
    for (uint32_t op = 0; op < 0x100000; op++) {
        const struct wasm_shape *shape = op < 0x100 ? &wasm_shapes[op] : wasm_shape_prefixed(op);
        known += shape->form != FORM_UNKNOWN;
        assert_int_equal(shape->form != FORM_UNKNOWN, wasm_op_name(op) != NULL);
    }
    assert_int_equal(known, sizeof ops / sizeof ops[0]);
}

static void errors_say_what_where_and_in_which_function(void **state)
{
    (void)state;
    ASSERT_REFUSED(ATOLL_EINVALID, 8, "type mismatch: i32.add expects i32 but the stack holds f32",
                   0, 0x41, 0, 0x43, 0, 0, 0, 0, 0x6a, 0x1a, 0x0b);
    ASSERT_REFUSED(ATOLL_EINVALID, 3, "type mismatch: i32.add expects i32 but the stack is empty",
                   0, 0x41, 0, 0x6a, 0x0b);
    ASSERT_REFUSED(ATOLL_EINVALID, 3, "unknown local 4", 0, 0x01, 0x01, 0x20, 4, 0x1a, 0x0b);
    ASSERT_REFUSED(ATOLL_EINVALID, 5, "1 values too many", 0, 0x02, 0x40, 0x41, 0, 0x0b, 0x0b);
}

static void what_a_block_holds_is_out_of_reach_of_inner_blocks(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x41, 0, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 5, "the stack of this block is empty", 0, 0x41, 0, 0x02, 0x40,
                   0x1a, 0x0b, 0x0b);
    /* A parameter of the block may be taken. */
    assert_int_equal(BODY(0, 0x41, 0, 0x02, 1, 0x0b, 0x1a, 0x0b), 0);
    assert_true(features & WASM_FEATURE_MULTI_VALUE);
}

static void unreachable_code_is_checked_against_a_polymorphic_stack(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x00, 0x6a, 0x1a, 0x0b), 0);
    assert_int_equal(BODY(0, 0x00, 0x1b, 0x1a, 0x0b), 0);
    assert_int_equal(BODY(0, 0x00, 0x41, 0, 0x10, 2, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 4, "i64.eqz expects i64", 0, 0x00, 0x41, 0, 0x50, 0x1a, 0x0b);
    /* After the block it is reachable again. */
    ASSERT_REFUSED(ATOLL_EINVALID, 5, "drop expects", 0, 0x02, 0x40, 0x00, 0x0b, 0x1a, 0x0b);
}

static void a_body_ends_with_its_last_end(void **state)
{
    (void)state;
    ASSERT_REFUSED(ATOLL_EMALFORMED, 3, "unexpected end", 0, 0x01, 0x01);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 2, "last end", 0, 0x0b, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "else without an if", 0, 0x05, 0x0b);
}

static void an_if_without_else_changes_no_types(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x41, 0, 0x04, 0x40, 0x0b, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 7, "has no else", 0, 0x41, 0, 0x04, 0x7f, 0x41, 0, 0x0b, 0x1a,
                   0x0b);
    assert_int_equal(BODY(0, 0x41, 0, 0x04, 0x7f, 0x41, 0, 0x05, 0x41, 1, 0x0b, 0x1a, 0x0b), 0);
}

/* ---- bounds ---- */

static void four_billion_locals_are_refused(void **state)
{
    (void)state;
    ASSERT_REFUSED(ATOLL_ELIMIT, 0, "4294967295", 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 0, "too many locals", 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 1,
                   0x7e, 0x0b);
    /* 50 000 are accepted, parameters included. */
    assert_int_equal(BODY(2, 0xcf, 0x86, 0x03, 0x7f, 1, 0x7e, 0x20, 0xcf, 0x86, 0x03, 0x1a, 0x0b),
                     0);
    assert_int_equal(BODY(1, 0xd1, 0x86, 0x03, 0x7f, 0x0b), -ATOLL_ELIMIT);
    assert_int_equal(validate_in(1, BYTES(1, 0xcf, 0x86, 0x03, 0x7f, 0x20, 0, 0x0b), NULL, 0), 0);
    assert_int_equal(validate_in(1, BYTES(1, 0xd0, 0x86, 0x03, 0x7f, 0x20, 0, 0x0b), NULL, 0),
                     -ATOLL_ELIMIT);
}

static int validate_nesting(uint32_t depth)
{
    struct buffer body = {0};
    append_byte(&body, 0);
    for (uint32_t i = 0; i < depth; i++)
        append_bytes(&body, BYTES(0x02, 0x40));
    append_repeated(&body, 0x0b, depth + 1);
    int status = validate_in(0, body.data, body.len, NULL, 0);
    buffer_free(&body);
    return status;
}

static void blocks_nest_16384_deep_and_no_deeper(void **state)
{
    (void)state;
    assert_int_equal(validate_nesting(WASM_MAX_NESTING), 0);
    assert_int_equal(validate_nesting(WASM_MAX_NESTING + 1), -ATOLL_ELIMIT);
    assert_int_equal(error.offset, 1 + 2 * WASM_MAX_NESTING);
}

static int validate_labels(uint32_t announced, uint32_t present)
{
    struct buffer body = {0};
    append_bytes(&body, BYTES(0, 0x41, 0, 0x0e));
    append_u32(&body, announced);
    append_repeated(&body, 0, present);
    append_byte(&body, 0x0b);
    int status = validate_in(0, body.data, body.len, NULL, 0);
    buffer_free(&body);
    return status;
}

static void br_table_has_at_most_65520_labels(void **state)
{
    (void)state;
    assert_int_equal(validate_labels(WASM_MAX_BR_TABLE, WASM_MAX_BR_TABLE + 1), 0);
    assert_int_equal(validate_labels(WASM_MAX_BR_TABLE + 1, WASM_MAX_BR_TABLE + 2), -ATOLL_ELIMIT);
    assert_int_equal(validate_labels(UINT32_MAX, 1), -ATOLL_ELIMIT);
    assert_int_equal(validate_labels(WASM_MAX_BR_TABLE, 10), -ATOLL_EMALFORMED);
}

static int validate_operands(uint32_t count)
{
    struct buffer body = {0};
    append_byte(&body, 0);
    for (uint32_t i = 0; i < count; i++)
        append_bytes(&body, BYTES(0x41, 0));
    append_bytes(&body, BYTES(0x00, 0x0b));
    int status = validate_in(0, body.data, body.len, NULL, 0);
    buffer_free(&body);
    return status;
}

static void a_function_holds_at_most_a_mebi_of_operands(void **state)
{
    (void)state;
    assert_int_equal(validate_operands(WASM_MAX_OPERANDS), 0);
    assert_int_equal(validate_operands(WASM_MAX_OPERANDS + 1), -ATOLL_ELIMIT);
}

/* ---- features ---- */

static void operators_of_later_proposals_are_refused_by_name(void **state)
{
    (void)state;
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "relaxed-simd", 0, 0xfd, 0x80, 0x02, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "exceptions", 0, 0x06, 0x40, 0x0b, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "exceptions", 0, 0x1f, 0x40, 0, 0x0b, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "function-references", 0, 0x14, 0, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "gc", 0, 0xfb, 0x1d, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "gc", 0, 0x02, 0x6e, 0x0b, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "wide-arithmetic", 0, 0xfc, 0x13, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 3, "multi-memory", 0, 0x41, 0, 0x28, 0x42, 0, 0, 0x1a, 0x0b);
    ASSERT_REFUSED(ATOLL_EUNSUPPORTED, 1, "multi-memory", 0, 0x3f, 1, 0x1a, 0x0b);
}

static void bytes_nobody_knows_are_malformed(void **state)
{
    (void)state;
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "0x27", 0, 0x27, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "0xff", 0, 0xff, 0, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "0xfd09a", 0, 0xfd, 0x9a, 0x01, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "0xfdfff", 0, 0xfd, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "block type", 0, 0x02, 0x41, 0x0b, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 1, "block type", 0, 0x02, 0xff, 0x7f, 0x0b, 0x0b);
}

static void features_are_collected_from_code(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x01, 0x0b), 0);
    assert_int_equal(features, 0);
    assert_int_equal(BODY(0, 0x41, 0, 0xc0, 0x1a, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_SIGN_EXT);
    assert_int_equal(BODY(0, 0x43, 0, 0, 0, 0, 0xfc, 0, 0x1a, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_SAT_FLOAT);
    assert_int_equal(BODY(0, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_BULK_MEMORY);
    assert_int_equal(BODY(0, 0xd2, 0, 0x1a, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_REFERENCE_TYPES);
    assert_int_equal(BODY(0, 0x41, 0, 0xfd, 0x0f, 0x1a, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_SIMD);
    assert_int_equal(BODY(1, 1, 0x7b, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_SIMD);
    assert_int_equal(BODY(0, 0x12, 0, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_TAIL_CALL);
    assert_int_equal(BODY(0, 0xfe, 0x03, 0, 0x0b), 0);
    assert_int_equal(features, WASM_FEATURE_THREADS);
}

static void a_function_reference_must_be_declared(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0xd2, 0, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 1, "undeclared function reference", 0, 0xd2, 2, 0x1a, 0x0b);
}

static void segments_of_data_need_a_data_count(void **state)
{
    (void)state;
    const uint8_t drop[] = {0, 0xfc, 0x09, 0, 0x0b};
    const uint8_t init[] = {0, 0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x08, 0, 0, 0x0b};
    assert_int_equal(validate_in(0, drop, sizeof drop, NULL, 0), 0);
    assert_int_equal(validate_in(0, init, sizeof init, NULL, 0), 0);
    assert_int_equal(validate_in(0, drop, sizeof drop, NULL, WORLD_NO_DATA_COUNT),
                     -ATOLL_EMALFORMED);
    assert_int_equal(validate_in(0, init, sizeof init, NULL, WORLD_NO_DATA_COUNT),
                     -ATOLL_EMALFORMED);
    assert_int_equal(validate_in(0, init, sizeof init, NULL, WORLD_NO_MEMORY), -ATOLL_EINVALID);
}

static void alignments_are_at_most_natural_and_those_of_atomics_natural(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x41, 0, 0x28, 2, 0, 0x1a, 0x0b), 0);
    assert_int_equal(BODY(0, 0x41, 0, 0x28, 0, 0, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 3, "larger than natural", 0, 0x41, 0, 0x28, 3, 0, 0x1a, 0x0b);
    ASSERT_REFUSED(ATOLL_EMALFORMED, 3, "malformed alignment", 0, 0x41, 0, 0x28, 32, 0, 0x1a, 0x0b);
    assert_int_equal(BODY(0, 0x41, 0, 0xfe, 0x10, 2, 0, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 3, "must be natural", 0, 0x41, 0, 0xfe, 0x10, 1, 0, 0x1a, 0x0b);
    const uint8_t load[] = {0, 0x41, 0, 0x28, 2, 0, 0x1a, 0x0b};
    assert_int_equal(validate_in(0, load, sizeof load, NULL, WORLD_NO_MEMORY), -ATOLL_EINVALID);
}

static void lanes_lie_within_their_vector(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x15, 15, 0x1a, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 5, "invalid lane index 16", 0, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x15,
                   16, 0x1a, 0x0b);
    ASSERT_REFUSED(ATOLL_EINVALID, 4, "invalid lane index 2", 0, 0x00, 0x01, 0x01, 0xfd, 0x57, 3, 0,
                   2, 0x1a, 0x0b);
}

static void a_tail_call_needs_the_results_of_its_caller(void **state)
{
    (void)state;
    assert_int_equal(BODY(0, 0x12, 0, 0x0b), 0);
    ASSERT_REFUSED(ATOLL_EINVALID, 3, "results of the function itself", 0, 0x41, 0, 0x12, 2, 0x0b);
}

/* ---- the module outside its bodies ---- */

static int validate_bytes(struct buffer *b)
{
    struct wasm_module m;
    error = (struct error){0};
    int status = wasm_read(b->data, b->len, &m, &error);
    if (status == 0)
        status = wasm_validate(&m, &error);
    wasm_module_free(&m);
    buffer_free(b);
    return status;
}

static void sizes_of_tables_and_memories_have_classes_of_their_own(void **state)
{
    (void)state;
    struct buffer b = module_start(), payload = {0};
    append_bytes(&payload, BYTES(1, 0x70, 0));
    append_u32(&payload, WASM_MAX_TABLE_ENTRIES);
    append_section_of(&b, 4, &payload);
    assert_int_equal(validate_bytes(&b), 0);
    b = module_start();
    append_bytes(&payload, BYTES(1, 0x70, 0));
    append_u32(&payload, WASM_MAX_TABLE_ENTRIES + 1);
    append_section_of(&b, 4, &payload);
    assert_int_equal(validate_bytes(&b), -ATOLL_ELIMIT);
    b = module_start();
    SECTION(&b, 4, 1, 0x70, 1, 2, 1);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
    b = module_start();
    SECTION(&b, 5, 1, 0, 0x80, 0x80, 0x04);
    assert_int_equal(validate_bytes(&b), 0);
    b = module_start();
    SECTION(&b, 5, 1, 0, 0x81, 0x80, 0x04);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
    b = module_start();
    SECTION(&b, 5, 1, 1, 2, 1);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
}

static void segments_and_the_start_function_fit_what_they_are_for(void **state)
{
    (void)state;
    struct buffer b = module_start();
    SECTION(&b, 11, 1, 0, 0x41, 0, 0x0b, 0);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
    b = module_start();
    SECTION(&b, 9, 1, 0, 0x41, 0, 0x0b, 0);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
    b = module_start();
    SECTION(&b, 4, 1, 0x6f, 0, 1);
    SECTION(&b, 9, 1, 0, 0x41, 0, 0x0b, 0);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
    b = module_start();
    SECTION(&b, 1, 1, 0x60, 1, 0x7f, 0);
    SECTION(&b, 2, 1, 1, 'm', 1, 'f', 0, 0);
    SECTION(&b, 8, 0);
    assert_int_equal(validate_bytes(&b), -ATOLL_EINVALID);
}

/* ---- what a sink is told ---- */

/* Writes what it is told as text: names of operators, for else and end with + or - for reachable.
 */
struct record {
    char text[512];
    struct wasm_op last;
    uint32_t local_count;
    uint8_t local_types[8];
    int stop_at, ops;
};

static int record_begin(void *context, const struct wasm_module *m, uint32_t function,
                        const uint8_t *local_types, uint32_t local_count, struct error *e)
{
    struct record *r = context;
    (void)m;
    (void)e;
    assert_int_equal(function, 1);
    r->local_count = local_count;
    memcpy(r->local_types, local_types, local_count < 8 ? local_count : 8);
    strcat(r->text, "(");
    return 0;
}

static int record_op(void *context, const struct wasm_op *op, struct error *e)
{
    struct record *r = context;
    if (++r->ops == r->stop_at) {
        error_set(e, ATOLL_ECOMPILE, "enough");
        return -1000;
    }
    strcat(strcat(r->text, " "), wasm_op_name(op->op));
    if (op->op == WASM_OP_ELSE || op->op == WASM_OP_END)
        strcat(r->text, op->reachable ? "+" : "-");
    else
        assert_true(op->reachable);
    r->last = op->op == WASM_OP_END ? r->last : *op;
    return 0;
}

static int record_finish(void *context, struct error *e)
{
    struct record *r = context;
    (void)e;
    strcat(r->text, " )");
    return 0;
}

static struct record recorded(uint8_t type, const void *body, size_t len)
{
    struct record r = {0};
    const struct wasm_sink sink = {&r, record_begin, record_op, record_finish};
    if (validate_in(type, body, len, &sink, 0) != 0)
        fail_msg("refused: %s", error.text);
    return r;
}

#define ASSERT_TOLD(expected, ...)                          \
    do {                                                    \
        struct record r_ = recorded(0, BYTES(__VA_ARGS__)); \
        assert_string_equal(r_.text, (expected));           \
    } while (0)

static void a_sink_is_told_reachable_operators_only(void **state)
{
    (void)state;
    ASSERT_TOLD("( nop end+ )", 0, 0x01, 0x0b);
    ASSERT_TOLD("( unreachable end- )", 0, 0x00, 0x01, 0x41, 0, 0x1a, 0x0b);
    ASSERT_TOLD("( return end- )", 0, 0x0f, 0x01, 0x0b);
    ASSERT_TOLD("( br end- )", 0, 0x0c, 0, 0x01, 0x0b);
    ASSERT_TOLD("( i32.const br_table end- )", 0, 0x41, 0, 0x0e, 0, 0, 0x01, 0x0b);
    ASSERT_TOLD("( return_call end- )", 0, 0x12, 0, 0x01, 0x0b);
    ASSERT_TOLD("( i32.const br_if nop end+ )", 0, 0x41, 0, 0x0d, 0, 0x01, 0x0b);
}

static void a_sink_is_told_the_end_of_every_block_it_knows(void **state)
{
    (void)state;
    ASSERT_TOLD("( block br end- nop end+ )", 0, 0x02, 0x40, 0x0c, 0, 0x01, 0x0b, 0x01, 0x0b);
    ASSERT_TOLD("( loop br end- nop end+ )", 0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x01, 0x0b);
    /* An infinite loop: what follows counts as reachable all the same. */
    ASSERT_TOLD("( loop nop end+ end+ )", 0, 0x03, 0x40, 0x01, 0x0b, 0x0b);
}

static void a_sink_is_told_both_arms_of_an_if(void **state)
{
    (void)state;
    ASSERT_TOLD("( i32.const if nop else+ nop end+ end+ )", 0, 0x41, 0, 0x04, 0x40, 0x01, 0x05,
                0x01, 0x0b, 0x0b);
    ASSERT_TOLD("( i32.const if unreachable else- nop end+ end+ )", 0, 0x41, 0, 0x04, 0x40, 0x00,
                0x01, 0x05, 0x01, 0x0b, 0x0b);
    ASSERT_TOLD("( i32.const if else+ unreachable end- nop end+ )", 0, 0x41, 0, 0x04, 0x40, 0x05,
                0x00, 0x0b, 0x01, 0x0b);
}

static void a_block_opened_in_unreachable_code_is_suppressed_whole(void **state)
{
    (void)state;
    ASSERT_TOLD("( unreachable end- )", 0, 0x00, 0x02, 0x40, 0x01, 0x0b, 0x01, 0x0b);
    ASSERT_TOLD("( unreachable end- )", 0, 0x00, 0x04, 0x40, 0x01, 0x05, 0x03, 0x40, 0x01, 0x0b,
                0x01, 0x0b, 0x01, 0x0b);
    ASSERT_TOLD("( block br end- nop end+ )", 0, 0x02, 0x40, 0x0c, 0, 0x02, 0x40, 0x01, 0x0b, 0x0b,
                0x01, 0x0b);
}

static void a_sink_learns_the_types_of_locals_first(void **state)
{
    (void)state;
    struct record r = recorded(1, BYTES(2, 2, 0x7c, 1, 0x70, 0x20, 0, 0x0b));
    const uint8_t types[] = {WASM_I32, WASM_F64, WASM_F64, WASM_FUNCREF};
    assert_int_equal(r.local_count, 4);
    assert_memory_equal(r.local_types, types, 4);
}

static struct wasm_op last_of(const void *body, size_t len)
{
    return recorded(0, body, len).last;
}

/* The last operator but the function's end. */
#define LAST(...) last_of(BYTES(0, __VA_ARGS__, 0x0b))

static void constants_arrive_as_bits_filled_with_zeros(void **state)
{
    (void)state;
    uint8_t bits[16] = {0xff, 0xff, 0xff, 0xff};
    struct wasm_op op = recorded(1, BYTES(0, 0x42, 0x7f, 0x1a, 0x41, 0x7f, 0x0b)).last;
    assert_int_equal(op.op, WASM_OP_I32_CONST);
    assert_memory_equal(op.constant, bits, 16);
    assert_int_equal(op.offset - recorded(1, BYTES(0, 0x41, 0, 0x0b)).last.offset, 3);
}

static void immediates_arrive_in_their_fields(void **state)
{
    (void)state;
    struct wasm_op op = LAST(0x41, 0, 0x41, 0, 0x36, 1, 0x80, 0x01);
    assert_int_equal(op.op, WASM_OP_I32_STORE);
    assert_int_equal(op.memory.offset, 128);
    assert_int_equal(op.memory.align_log2, 1);
    assert_int_equal(op.memory.memory, 0);
    op = LAST(0x41, 0, 0x41, 1, 0xfd, 0x0f, 0xfd, 0x59, 0, 9, 7);
    assert_int_equal(op.op, WASM_OP_V128_STORE16_LANE);
    assert_int_equal(op.memory.lane, 7);
    assert_int_equal(op.memory.offset, 9);
    op = recorded(1, BYTES(0, 0x20, 0, 0x41, 3, 0x11, 1, 0, 0x0b)).last;
    assert_int_equal(op.op, WASM_OP_CALL_INDIRECT);
    assert_int_equal(op.pair.first, 1);
    assert_int_equal(op.pair.second, 0);
    op = recorded(1, BYTES(0, 0x20, 0, 0x10, 2, 0x0b)).last;
    assert_int_equal(op.op, WASM_OP_CALL);
    assert_int_equal(op.index, 2);
    op = recorded(1, BYTES(2, 1, 0x7e, 1, 0x7f, 0x20, 2, 0x0b)).last;
    assert_int_equal(op.op, WASM_OP_LOCAL_GET);
    assert_int_equal(op.index, 2);
}

static void a_lane_arrives_as_an_index_too(void **state)
{
    (void)state;
    struct record r = recorded(1, BYTES(0, 0x41, 0, 0xfd, 0x0f, 0xfd, 0x15, 13, 0x0b));
    assert_int_equal(r.last.op, WASM_OP_I8X16_EXTRACT_LANE_S);
    assert_int_equal(r.last.index, 13);
    assert_int_equal(r.last.lanes[0], 13);
}

static void select_and_blocks_arrive_with_their_types(void **state)
{
    (void)state;
    struct record r = recorded(1, BYTES(0, 0x41, 0, 0x41, 1, 0x41, 2, 0x1b, 0x0b));
    assert_int_equal(r.last.op, WASM_OP_SELECT);
    assert_int_equal(r.last.type, WASM_I32);
    r = recorded(1, BYTES(0, 0x20, 0, 0x02, 1, 0x0b, 0x0b));
    assert_int_equal(r.last.op, WASM_OP_BLOCK);
    assert_int_equal(r.last.block.param_count, 1);
    assert_int_equal(r.last.block.result_count, 1);
}

static int labels_seen(void *context, const struct wasm_op *op, struct error *e)
{
    (void)e;
    if (op->op == WASM_OP_BR_TABLE) {
        const uint32_t expected[] = {1, 0, 1, 0};
        assert_int_equal(op->branches.count, 3);
        assert_memory_equal(op->branches.depths, expected, sizeof expected);
        *(bool *)context = true;
    }
    return 0;
}

static void the_labels_of_br_table_end_with_the_default(void **state)
{
    (void)state;
    bool seen = false;
    const struct wasm_sink sink = {.context = &seen, .op = labels_seen};
    const uint8_t body[] = {0, 0x02, 0x40, 0x41, 0, 0x0e, 3, 1, 0, 1, 0, 0x0b, 0x0b};
    assert_int_equal(validate_in(0, body, sizeof body, &sink, 0), 0);
    assert_true(seen);
}

static void a_sink_ends_validation_with_its_own_status(void **state)
{
    (void)state;
    struct record r = {.stop_at = 2};
    const struct wasm_sink sink = {&r, record_begin, record_op, record_finish};
    assert_int_equal(validate_in(0, BYTES(0, 0x01, 0x01, 0x01, 0x0b), &sink, 0), -1000);
    assert_string_equal(r.text, "( nop");
    assert_string_equal(error.text, "enough");
    assert_int_equal(error.code, -ATOLL_ECOMPILE);
}

static void a_validator_works_on_after_a_failure(void **state)
{
    (void)state;
    struct world bad = world_of(0, BYTES(0, 0x41, 0, 0x41, 0, 0x02, 0x40, 0x6a, 0x0b, 0x0b), 0);
    struct world good = world_of(0, BYTES(0, 0x01, 0x0b), 0);
    struct wasm_validator *v = wasm_validator_create();
    assert_non_null(v);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wasm_validate_function(&bad.module, v, 1, NULL, &features, &error),
                         -ATOLL_EINVALID);
        assert_int_equal(wasm_validate_function(&good.module, v, 1, NULL, &features, &error), 0);
    }
    wasm_validator_destroy(v);
    world_end(&bad);
    world_end(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_has_a_name_and_a_shape),
        cmocka_unit_test(errors_say_what_where_and_in_which_function),
        cmocka_unit_test(what_a_block_holds_is_out_of_reach_of_inner_blocks),
        cmocka_unit_test(unreachable_code_is_checked_against_a_polymorphic_stack),
        cmocka_unit_test(a_body_ends_with_its_last_end),
        cmocka_unit_test(an_if_without_else_changes_no_types),
        cmocka_unit_test(four_billion_locals_are_refused),
        cmocka_unit_test(blocks_nest_16384_deep_and_no_deeper),
        cmocka_unit_test(br_table_has_at_most_65520_labels),
        cmocka_unit_test(a_function_holds_at_most_a_mebi_of_operands),
        cmocka_unit_test(operators_of_later_proposals_are_refused_by_name),
        cmocka_unit_test(bytes_nobody_knows_are_malformed),
        cmocka_unit_test(features_are_collected_from_code),
        cmocka_unit_test(a_function_reference_must_be_declared),
        cmocka_unit_test(segments_of_data_need_a_data_count),
        cmocka_unit_test(alignments_are_at_most_natural_and_those_of_atomics_natural),
        cmocka_unit_test(lanes_lie_within_their_vector),
        cmocka_unit_test(a_tail_call_needs_the_results_of_its_caller),
        cmocka_unit_test(sizes_of_tables_and_memories_have_classes_of_their_own),
        cmocka_unit_test(segments_and_the_start_function_fit_what_they_are_for),
        cmocka_unit_test(a_sink_is_told_reachable_operators_only),
        cmocka_unit_test(a_sink_is_told_the_end_of_every_block_it_knows),
        cmocka_unit_test(a_sink_is_told_both_arms_of_an_if),
        cmocka_unit_test(a_block_opened_in_unreachable_code_is_suppressed_whole),
        cmocka_unit_test(a_sink_learns_the_types_of_locals_first),
        cmocka_unit_test(constants_arrive_as_bits_filled_with_zeros),
        cmocka_unit_test(immediates_arrive_in_their_fields),
        cmocka_unit_test(a_lane_arrives_as_an_index_too),
        cmocka_unit_test(select_and_blocks_arrive_with_their_types),
        cmocka_unit_test(the_labels_of_br_table_end_with_the_default),
        cmocka_unit_test(a_sink_ends_validation_with_its_own_status),
        cmocka_unit_test(a_validator_works_on_after_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
