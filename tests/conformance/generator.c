/* The module around the generated functions: types, tables, memory, globals, segments, exports and
 * the wrappers that are exported. See generator.h. */
#include "generator.h"
#include "generator_state.h"

#include <assert.h>
#include <stdio.h>

#define BUDGET 400

uint32_t generator_type(struct generator *g, const struct signature *s)
{
    for (uint32_t i = 0; i < g->type_count; i++) {
        const struct signature *t = &g->types[i];
        if (t->param_count == s->param_count && t->result_count == s->result_count &&
            memcmp(t->params, s->params, s->param_count) == 0 &&
            memcmp(t->results, s->results, s->result_count) == 0)
            return i;
    }
    assert(g->type_count < GENERATOR_TYPES);
    g->types[g->type_count] = *s;
    return g->type_count++;
}

uint8_t generator_number_type(struct generator *g)
{
    return g->global_types[below(g, g->number_types)];
}

const struct signature *generator_signature(const struct generator *g, uint32_t function)
{
    return &g->types[g->function_types[function]];
}

static void types_choose(struct generator *g, uint8_t *types, uint8_t *count, uint32_t bound)
{
    *count = (uint8_t)below(g, bound + 1);
    for (uint32_t i = 0; i < *count; i++)
        types[i] = chance(g, 5) ? WASM_FUNCREF : generator_number_type(g);
}

static void functions_choose(struct generator *g)
{
    g->function_count = 3 + below(g, GENERATOR_FUNCTIONS - 2);
    for (uint32_t i = 0; i < g->function_count; i++) {
        struct signature s = {0};
        types_choose(g, s.params, &s.param_count, 4);
        types_choose(g, s.results, &s.result_count, chance(g, 70) ? 1 : 4);
        /* Often the same signature as another, for indirect and tail calls. */
        g->function_types[i] =
            i > 0 && chance(g, 40) ? g->function_types[below(g, i)] : generator_type(g, &s);
    }
}

/* ---- exported wrappers ---- */

static void code_bytes(struct generator *g, const char *bytes, size_t len)
{
    module_bytes(g->code, bytes, len);
}
#define CODE(g, literal) code_bytes(g, literal, sizeof literal - 1)

static void index_op(struct generator *g, uint8_t op, uint32_t index)
{
    module_byte(g->code, op);
    module_u32(g->code, index);
}

/* What wrapper n returns: each result of its function as bits. */
static uint32_t wrapper_type(struct generator *g, uint32_t function)
{
    const struct signature *s = generator_signature(g, function);
    struct signature w = {0};
    for (uint32_t i = 0; i < s->result_count; i++)
        w.results[i] = s->results[i] == WASM_I32 || s->results[i] == WASM_F32 ||
                               wasm_is_reference(s->results[i])
                           ? WASM_I32
                           : WASM_I64;
    w.result_count = s->result_count;
    return generator_type(g, &w);
}

/* The value of a local as i32 or i64. */
static void wrapper_bits(struct generator *g, uint32_t local, uint8_t type)
{
    index_op(g, 0x20, local);
    switch (type) {
    case WASM_I32:
    case WASM_I64: return;
    case WASM_F32: module_byte(g->code, 0xbc); return;
    case WASM_F64: module_byte(g->code, 0xbd); return;
    case WASM_V128: /* both halves, mixed so that neither hides the other */
        CODE(g, "\xfd\x1d\x00");
        index_op(g, 0x20, local);
        CODE(g, "\xfd\x1d\x01\x42\x07\x89\x85"); /* lane 1, i64.rotl by 7, i64.xor */
        return;
    default: module_byte(g->code, 0xd1); /* ref.is_null */
    }
}

static void wrapper_write(struct generator *g, uint32_t function)
{
    const struct signature *s = generator_signature(g, function);
    module_open(g->code);
    module_u32(g->code, s->result_count);
    for (uint32_t i = 0; i < s->result_count; i++) {
        module_u32(g->code, 1);
        module_byte(g->code, s->results[i]);
    }
    module_byte(g->code, 0x41);
    module_s32(g->code, BUDGET);
    index_op(g, 0x24, GLOBAL_BUDGET);
    for (uint32_t i = 0; i < s->param_count; i++)
        generate_constant(g, s->params[i]);
    index_op(g, 0x10, function);
    for (uint32_t i = s->result_count; i-- > 0;)
        index_op(g, 0x21, i);
    for (uint32_t i = 0; i < s->result_count; i++)
        wrapper_bits(g, i, s->results[i]);
    module_byte(g->code, 0x0b);
    module_close(g->code);
}

/* h = (h xor value on the stack) * prime, rotated; h is local 1. */
static void hash_mix(struct generator *g)
{
    index_op(g, 0x20, 1);
    module_byte(g->code, 0x85);
    module_byte(g->code, 0x42);
    module_s64(g->code, 0x100000001b3);
    module_byte(g->code, 0x7e);
    CODE(g, "\x42\x1d\x89"); /* i64.rotl by 29 */
    index_op(g, 0x21, 1);
}

static void hash_globals(struct generator *g)
{
    for (uint32_t type = 0; type < g->number_types; type++) {
        for (uint32_t i = 0; i < GENERATOR_GLOBALS; i++) {
            uint32_t global = 1 + type * GENERATOR_GLOBALS + i;
            index_op(g, 0x23, global);
            switch (g->global_types[type]) {
            case WASM_I32: module_byte(g->code, 0xad); break;
            case WASM_I64: break;
            case WASM_F32: CODE(g, "\xbc\xad"); break;
            case WASM_F64: module_byte(g->code, 0xbd); break;
            default:
                CODE(g, "\xfd\x1d\x00");
                hash_mix(g);
                index_op(g, 0x23, global);
                CODE(g, "\xfd\x1d\x01");
            }
            hash_mix(g);
        }
    }
}

/* Locals: 0 address, 1 hash. */
static void hash_write(struct generator *g)
{
    module_open(g->code);
    CODE(g, "\x02\x01\x7f\x01\x7e");
    hash_globals(g);
    CODE(g, "\x3f\x00\xad"); /* memory.size */
    hash_mix(g);
    CODE(g, "\xfc\x10\x01\xad"); /* table.size of the moving table */
    hash_mix(g);
    for (uint8_t i = 0; i < TABLE_MOVING_SIZE; i++) {
        module_bytes(g->code, (uint8_t[]){0x41, i, 0x25, TABLE_MOVING, 0xd1, 0xad}, 6);
        hash_mix(g);
    }
    CODE(g, "\x03\x40\x20\x00\x29\x03\x00"); /* loop: i64.load of the address */
    hash_mix(g);
    CODE(g, "\x20\x00\x41\x08\x6a\x22\x00\x3f\x00\x41\x10\x74\x49\x0d\x00\x0b"); /* + 8 < size */
    CODE(g, "\x20\x01\x0b");
    module_close(g->code);
}

/* ---- sections ---- */

static void section_types(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_TYPE);
    module_u32(w, g->type_count);
    for (uint32_t i = 0; i < g->type_count; i++) {
        const struct signature *s = &g->types[i];
        module_byte(w, 0x60);
        module_u32(w, s->param_count);
        module_bytes(w, s->params, s->param_count);
        module_u32(w, s->result_count);
        module_bytes(w, s->results, s->result_count);
    }
    module_close(w);
}

static void section_functions(struct generator *g, struct module_writer *w,
                              const uint32_t *wrapper_types, uint32_t hash_type)
{
    module_open_section(w, SECTION_FUNCTION);
    module_u32(w, 2 * g->function_count + 1);
    for (uint32_t i = 0; i < g->function_count; i++)
        module_u32(w, g->function_types[i]);
    for (uint32_t i = 0; i < g->function_count; i++)
        module_u32(w, wrapper_types[i]);
    module_u32(w, hash_type);
    module_close(w);
}

static void section_tables(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_TABLE);
    module_u32(w, TABLE_COUNT);
    module_byte(w, WASM_FUNCREF);
    module_byte(w, chance(g, 50)); /* with a maximum equal to the size, or without */
    module_u32(w, g->function_count);
    if (w->bytes.data[w->bytes.len - 2] == 1)
        module_u32(w, g->function_count);
    module_bytes(w, (uint8_t[]){WASM_FUNCREF, 1, TABLE_MOVING_SIZE, TABLE_MOVING_MAX}, 4);
    module_bytes(w, (uint8_t[]){WASM_EXTERNREF, 0, 3}, 3);
    module_close(w);
}

static void section_memory(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_MEMORY);
    module_u32(w, 1);
    module_byte(w, g->about.threads ? 3 : 1);
    module_u32(w, MEMORY_PAGES);
    module_u32(w, MEMORY_MAX_PAGES);
    module_close(w);
}

static void section_globals(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_GLOBAL);
    module_u32(w, 1 + g->number_types * GENERATOR_GLOBALS);
    module_bytes(w, (uint8_t[]){WASM_I32, 1, 0x41, 0, 0x0b}, 5);
    g->code = w;
    for (uint32_t type = 0; type < g->number_types; type++) {
        for (uint32_t i = 0; i < GENERATOR_GLOBALS; i++) {
            module_byte(w, g->global_types[type]);
            module_byte(w, i + 1 < GENERATOR_GLOBALS);
            generate_constant(g, g->global_types[type]);
            module_byte(w, 0x0b);
        }
    }
    module_close(w);
}

static void section_exports(struct generator *g, struct module_writer *w)
{
    char name[16];
    module_open_section(w, SECTION_EXPORT);
    module_u32(w, 2 * g->function_count);
    for (uint32_t i = 0; i < g->function_count; i++) {
        snprintf(name, sizeof name, "r%u", i);
        module_name(w, name);
        module_byte(w, WASM_KIND_FUNC);
        module_u32(w, g->function_count + i);
        name[0] = 's';
        module_name(w, name);
        module_byte(w, WASM_KIND_FUNC);
        module_u32(w, 2 * g->function_count);
    }
    module_close(w);
}

static void section_elements(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_ELEMENT);
    module_u32(w, 3);
    module_bytes(w, (uint8_t[]){0, 0x41, 0, 0x0b}, 4); /* all functions, into the fixed table */
    module_u32(w, g->function_count);
    for (uint32_t i = 0; i < g->function_count; i++)
        module_u32(w, i);
    module_bytes(w, (uint8_t[]){2, TABLE_MOVING, 0x41, 1, 0x0b, 0, 3}, 7);
    for (uint32_t i = 0; i < 3; i++)
        module_u32(w, below(g, g->function_count));
    module_bytes(w, (uint8_t[]){5, WASM_FUNCREF, 3, 0xd0, WASM_FUNCREF, 0x0b}, 6); /* passive */
    for (uint32_t i = 0; i < 2; i++) {
        module_byte(w, 0xd2);
        module_u32(w, below(g, g->function_count));
        module_byte(w, 0x0b);
    }
    module_close(w);
}

static void section_code(struct generator *g, struct module_writer *w,
                         const struct module_writer *bodies)
{
    module_open_section(w, SECTION_DATA_COUNT);
    module_u32(w, DATA_SEGMENTS);
    module_close(w);
    module_open_section(w, SECTION_CODE);
    module_u32(w, 2 * g->function_count + 1);
    module_bytes(w, bodies->bytes.data, bodies->bytes.len);
    module_close(w);
}

static void section_data(struct generator *g, struct module_writer *w)
{
    module_open_section(w, SECTION_DATA);
    module_u32(w, DATA_SEGMENTS);
    for (uint32_t i = 0; i < DATA_SEGMENTS; i++) {
        if (i + 1 < DATA_SEGMENTS) {
            module_bytes(w, (uint8_t[]){0, 0x41}, 2);
            module_s32(w, (int32_t)below(g, 0x8000));
            module_byte(w, 0x0b);
        } else {
            module_byte(w, 1);
        }
        module_u32(w, DATA_BYTES);
        for (uint32_t k = 0; k < DATA_BYTES; k++)
            module_byte(w, (uint8_t)random_u64(&g->random));
    }
    module_close(w);
}

static void features_choose(struct generator *g)
{
    static const uint8_t types[] = {WASM_I32, WASM_I64, WASM_F32, WASM_F64, WASM_V128};
    g->about.simd = chance(g, 50);
    g->about.threads = chance(g, 15);
    g->about.tail_calls = !g->about.threads && chance(g, 15);
    g->about.wild = chance(g, 35);
    memcpy(g->global_types, types, sizeof types);
    g->number_types = g->about.simd ? 5 : 4;
}

void module_generate(uint64_t seed, struct module_writer *out, struct generated *about)
{
    struct generator g = {.random = {seed * 0x2545f4914f6cdd1d + 1}};
    struct module_writer bodies = {0};
    struct signature hash = {.results = {WASM_I64}, .result_count = 1};
    uint32_t wrapper_types[GENERATOR_FUNCTIONS];
    features_choose(&g);
    functions_choose(&g);
    g.code = &bodies;
    for (g.function = 0; g.function < g.function_count; g.function++)
        generate_function(&g);
    for (uint32_t i = 0; i < g.function_count; i++) {
        wrapper_types[i] = wrapper_type(&g, i);
        wrapper_write(&g, i);
    }
    uint32_t hash_type = generator_type(&g, &hash);
    hash_write(&g);

    module_begin(out);
    section_types(&g, out);
    section_functions(&g, out, wrapper_types, hash_type);
    section_tables(&g, out);
    section_memory(&g, out);
    section_globals(&g, out);
    section_exports(&g, out);
    section_elements(&g, out);
    section_code(&g, out, &bodies);
    section_data(&g, out);
    module_writer_free(&bodies);
    *about = g.about;
}
