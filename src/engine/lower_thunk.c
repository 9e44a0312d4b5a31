/*
 * Thunks: the seams between generated code and everything that knows no signatures.
 *
 * An entry thunk takes parameters from an area of 16-byte slots, calls a function, and puts results
 * back into the same area. An import thunk does the opposite: it puts its arguments into the call
 * area, enters a gate, and takes the results from there. So gates and hosts deal in slots only.
 */
#include "engine/lower_function.h"

#include <stdio.h>
#include <stdlib.h>

static LLVMValueRef area_slot(struct lowering *l, LLVMValueRef area, uint32_t i)
{
    return lower_offset(l, area, lower_i64(l, (uint64_t)i * AREA_SLOT));
}

static void entry_thunk(struct lowering *l, uint32_t type)
{
    char name[16];
    snprintf(name, sizeof name, "e%u", type);
    struct wasm_signature s = wasm_type_signature(l->module, type);
    LLVMTypeRef thunk_type =
        LLVMFunctionType(l->nothing, (LLVMTypeRef[]){l->pointer, l->pointer, l->pointer}, 3, false);
    lower_prologue(l, lower_function_create(l, name, thunk_type), 0);

    LLVMValueRef code = LLVMGetParam(l->function, 1), area = LLVMGetParam(l->function, 2);
    LLVMValueRef arguments[2 + WASM_MAX_PARAMS];
    unsigned count = 0;
    arguments[count++] = l->vm;
    /* Parameters are loaded before the call, so results may overwrite them. */
    if (s.result_count > 1)
        arguments[count++] = area;
    for (uint32_t i = 0; i < s.param_count; i++)
        arguments[count++] = lower_load_field(l, lower_type(l, s.params[i]), area_slot(l, area, i));
    LLVMValueRef call =
        LLVMBuildCall2(l->builder, lower_signature(l, type), code, arguments, count, "");
    LLVMSetInstructionCallConv(call, lower_convention(l));
    if (s.result_count == 1)
        lower_store_field(l, call, area);
    LLVMBuildRetVoid(l->builder);
}

static void import_thunk(struct lowering *l, uint32_t import)
{
    char name[16];
    snprintf(name, sizeof name, "i%u", import);
    uint32_t type = l->module->functions[import].type;
    struct wasm_signature s = wasm_type_signature(l->module, type);
    LLVMValueRef thunk = lower_function_create(l, name, lower_signature(l, type));
    LLVMSetFunctionCallConv(thunk, lower_convention(l));
    lower_prologue(l, thunk, 0);

    bool several = s.result_count > 1;
    LLVMValueRef arguments[WASM_MAX_PARAMS];
    for (uint32_t i = 0; i < s.param_count; i++)
        arguments[i] = LLVMGetParam(thunk, i + (several ? 2u : 1u));
    lower_gate(l, GATE_IMPORT + import, arguments, s.param_count);
    if (s.result_count == 1) {
        LLVMValueRef area = lower_area_slot(l, 0);
        LLVMBuildRet(l->builder, lower_load_field(l, lower_type(l, s.results[0]), area));
        return;
    }
    if (several) {
        LLVMValueRef results[WASM_MAX_RESULTS];
        lower_load_results(l, lower_area_slot(l, 0), s, results);
        lower_store_results(l, LLVMGetParam(thunk, 1), results, s.result_count);
    }
    LLVMBuildRetVoid(l->builder);
}

/* One entry thunk per type of a function that the host or a start section can call. */
int lower_thunks(struct lowering *l, struct error *e)
{
    const struct wasm_module *m = l->module;
    bool *wanted = calloc(m->type_count + 1ull, sizeof *wanted);
    if (!wanted)
        return error_set(e, ATOLL_ENOMEM, "no memory to list the types of %u functions",
                         m->function_count);
    for (uint32_t f = 0; f < m->function_count; f++)
        if (wasm_function_referenced(m, f) || f == m->start)
            wanted[m->types[m->functions[f].type].canonical] = true;
    for (uint32_t t = 0; t < m->type_count; t++)
        if (wanted[t])
            entry_thunk(l, t);
    free(wanted);
    for (uint32_t i = 0; i < m->imported_functions; i++)
        import_thunk(l, i);
    return 0;
}
