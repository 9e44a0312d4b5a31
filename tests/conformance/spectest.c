/* See spectest.h. Used by world.c. */
#include "spectest.h"

#include "engine/wasm.h"

/* Type i is the signature of print function i. */
static const struct {
    const char *name;
    uint8_t param_count, params[2];
} prints[] = {
    {"print", 0, {0}},
    {"print_i32", 1, {WASM_I32}},
    {"print_i64", 1, {WASM_I64}},
    {"print_f32", 1, {WASM_F32}},
    {"print_f64", 1, {WASM_F64}},
    {"print_i32_f32", 2, {WASM_I32, WASM_F32}},
    {"print_f64_f64", 2, {WASM_F64, WASM_F64}},
};
#define PRINT_COUNT ((uint32_t)(sizeof prints / sizeof *prints))

static void spectest_write_imports(struct module_writer *w)
{
    module_open_section(w, SECTION_TYPE);
    module_u32(w, PRINT_COUNT);
    for (uint32_t i = 0; i < PRINT_COUNT; i++) {
        module_byte(w, 0x60);
        module_u32(w, prints[i].param_count);
        module_bytes(w, prints[i].params, prints[i].param_count);
        module_u32(w, 0);
    }
    module_close(w);
    module_open_section(w, SECTION_IMPORT);
    module_u32(w, PRINT_COUNT);
    for (uint32_t i = 0; i < PRINT_COUNT; i++) {
        module_name(w, "host");
        module_name(w, prints[i].name);
        module_byte(w, WASM_KIND_FUNC);
        module_u32(w, i);
    }
    module_close(w);
}

static void spectest_write_globals(struct module_writer *w)
{
    const float f32 = 666.6f;
    const double f64 = 666.6;
    module_open_section(w, SECTION_GLOBAL);
    module_u32(w, 4);
    module_bytes(w, (uint8_t[]){WASM_I32, 0, 0x41}, 3);
    module_s32(w, 666);
    module_byte(w, 0x0b);
    module_bytes(w, (uint8_t[]){WASM_I64, 0, 0x42}, 3);
    module_s64(w, 666);
    module_byte(w, 0x0b);
    module_bytes(w, (uint8_t[]){WASM_F32, 0, 0x43}, 3);
    module_bytes(w, &f32, sizeof f32);
    module_byte(w, 0x0b);
    module_bytes(w, (uint8_t[]){WASM_F64, 0, 0x44}, 3);
    module_bytes(w, &f64, sizeof f64);
    module_byte(w, 0x0b);
    module_close(w);
}

static void spectest_export(struct module_writer *w, const char *name, enum wasm_kind kind,
                            uint32_t index)
{
    module_name(w, name);
    module_byte(w, (uint8_t)kind);
    module_u32(w, index);
}

void spectest_write(struct module_writer *w)
{
    module_begin(w);
    spectest_write_imports(w);
    module_open_section(w, SECTION_TABLE);
    module_bytes(w, (uint8_t[]){1, WASM_FUNCREF, 1, 10, 20}, 5);
    module_close(w);
    module_open_section(w, SECTION_MEMORY);
    module_bytes(w, (uint8_t[]){1, 1, 1, 2}, 4);
    module_close(w);
    spectest_write_globals(w);
    module_open_section(w, SECTION_EXPORT);
    module_u32(w, PRINT_COUNT + 6);
    for (uint32_t i = 0; i < PRINT_COUNT; i++)
        spectest_export(w, prints[i].name, WASM_KIND_FUNC, i);
    spectest_export(w, "table", WASM_KIND_TABLE, 0);
    spectest_export(w, "memory", WASM_KIND_MEMORY, 0);
    spectest_export(w, "global_i32", WASM_KIND_GLOBAL, 0);
    spectest_export(w, "global_i64", WASM_KIND_GLOBAL, 1);
    spectest_export(w, "global_f32", WASM_KIND_GLOBAL, 2);
    spectest_export(w, "global_f64", WASM_KIND_GLOBAL, 3);
    module_close(w);
}

void spectest_write_shared(struct module_writer *w)
{
    module_begin(w);
    module_open_section(w, SECTION_MEMORY);
    module_bytes(w, (uint8_t[]){1, 3, 1, 2}, 4); /* flags 3: has a maximum, shared */
    module_close(w);
    module_open_section(w, SECTION_EXPORT);
    module_u32(w, 1);
    spectest_export(w, "shared_memory", WASM_KIND_MEMORY, 0);
    module_close(w);
}

enum host_status spectest_print(struct host_call *call)
{
    (void)call;
    return HOST_DONE;
}
