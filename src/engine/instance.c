/* An instance and the parts of its field block: globals, records, exports, constant expressions. */
#include "engine/link.h"

#include <string.h>

struct function_record *instance_records(const struct instance *i)
{
    return (struct function_record *)(void *)(i->vm - i->artefact->layout.records);
}

struct function_record *instance_imports(const struct instance *i)
{
    return (struct function_record *)(void *)(i->vm - i->artefact->layout.imports);
}

uint8_t *instance_global_cell(const struct instance *i, uint32_t index)
{
    const struct wasm_module *m = &i->artefact->module;
    uint8_t *cell = i->vm - i->artefact->layout.globals + (size_t)index * AREA_SLOT;
    if (index < m->imported_globals && m->globals[index].mutable)
        cell = i->arena->base + (int64_t)load_u64(cell);
    return cell;
}

void instance_global(const struct instance *i, uint32_t index, uint8_t out[static 16])
{
    memcpy(out, instance_global_cell(i, index), 16);
}

void instance_global_set(struct instance *i, uint32_t index, const uint8_t value[static 16])
{
    memcpy(instance_global_cell(i, index), value, 16);
}

void instance_callee(const struct instance *i, uint32_t f, uint64_t *code, uint64_t *vm)
{
    const struct wasm_module *m = &i->artefact->module;
    uint64_t b = (uint64_t)(uintptr_t)i->arena->base;
    if (f < m->imported_functions) {
        const struct function_record *r = &instance_imports(i)[f];
        *code = b + (uint64_t)r->code;
        *vm = b + (uint64_t)r->vm;
        return;
    }
    *code =
        b - ARENA_BASE + i->image_offset + i->artefact->function_offsets[f - m->imported_functions];
    *vm = (uint64_t)(uintptr_t)i->vm;
}

uint64_t instance_signature(const struct instance *i, uint32_t type)
{
    const struct wasm_module *m = &i->artefact->module;
    return i->signatures ? i->signatures[m->types[type].canonical] : abi_primary_signature(m, type);
}

/* ---- constant expressions ---- */

static int constant_global(void *context, uint32_t global, uint8_t out[static 16])
{
    memcpy(out, instance_global_cell(context, global), 16);
    return 0;
}

static int constant_reference(void *context, uint32_t function, uint64_t *out)
{
    *out = instance_reference(context, function);
    return 0;
}

void instance_constant(const struct instance *i, struct wasm_span span, uint8_t out[static 16])
{
    struct wasm_const_environment environment = {constant_global, constant_reference,
                                                 (struct instance *)i};
    (void)wasm_const_evaluate(&i->artefact->module, span, &environment, out);
}

struct arena *instance_arena(const struct instance *i)
{
    return i->arena;
}

const struct artefact *instance_artefact(const struct instance *i)
{
    return i->artefact;
}

int instance_export(const struct instance *i, const char *name, size_t len, uint32_t *index)
{
    const struct wasm_module *m = &i->artefact->module;
    for (uint32_t k = 0; k < m->export_count; k++) {
        const struct wasm_export *x = &m->exports[k];
        if (x->name.len == len && memcmp(m->bytes + x->name.offset, name, len) == 0) {
            *index = x->index;
            return x->kind;
        }
    }
    return -1;
}
