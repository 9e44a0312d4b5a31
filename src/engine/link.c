/*
 * Linking: a module's artefact becomes an instance in an arena (Core 2.0 §4.5.4).
 *
 * The artefact's initial image already holds records, tables, constant globals and memory, host
 * imports bound to their thunks. So a module whose imports are all host functions needs three
 * mappings and nothing else; the rest of this file is for modules that import from each other.
 */
#include "engine/link.h"

#include <stdlib.h>
#include <string.h>

/* ---- imports ---- */

#define NAME_SHOWN 200 /* bytes of an import's name in a message */

static int name_shown(struct wasm_span name)
{
    return name.len < NAME_SHOWN ? (int)name.len : NAME_SHOWN;
}

static int link_refuse(const struct instance *i, const struct wasm_import *import, struct error *e,
                       const char *why)
{
    const struct wasm_module *m = &i->artefact->module;
    return error_set(e, ATOLL_ELINK, "%s: %.*s.%.*s", why, name_shown(import->module),
                     (const char *)m->bytes + import->module.offset, name_shown(import->name),
                     (const char *)m->bytes + import->name.offset);
}

static bool limits_match(uint64_t actual_min, const struct wasm_limits *actual,
                         const struct wasm_limits *wanted)
{
    return actual_min >= wanted->min &&
           (!wanted->has_max || (actual->has_max && actual->max <= wanted->max));
}

static bool import_matches(const struct instance *i, const struct wasm_import *import,
                           const struct link_import *link)
{
    const struct wasm_module *m = &i->artefact->module, *from = &link->from->artefact->module;
    switch (import->kind) {
    case WASM_KIND_FUNC:
        return signature_equal(wasm_function_signature(m, import->index),
                               wasm_function_signature(from, link->index));
    case WASM_KIND_TABLE: {
        const struct wasm_table *wanted = &m->tables[import->index];
        const struct wasm_table *actual = &from->tables[link->index];
        return wanted->type == actual->type &&
               limits_match(instance_table(link->from, link->index)->size, &actual->limits,
                            &wanted->limits);
    }
    case WASM_KIND_MEMORY: {
        const struct wasm_limits *wanted = &m->memories[0].limits;
        const struct wasm_limits *actual = &from->memories[0].limits;
        return wanted->shared == actual->shared &&
               limits_match(instance_memory_bytes(link->from) / WASM_PAGE, actual, wanted);
    }
    default:
        return m->globals[import->index].type == from->globals[link->index].type &&
               m->globals[import->index].mutable == from->globals[link->index].mutable;
    }
}

static void bind_function(struct instance *i, uint32_t f, const struct link_import *link)
{
    uint64_t code, vm, b = (uint64_t)(uintptr_t)i->arena->base;
    instance_callee(link->from, link->index, &code, &vm);
    instance_imports(i)[f] = (struct function_record){
        .code = (int64_t)(code - b),
        .vm = (int64_t)(vm - b),
        .signature = instance_signature(i, i->artefact->module.functions[f].type),
        .record = (uint8_t *)&instance_imports(i)[f] - i->arena->base,
    };
}

static void bind_global(struct instance *i, uint32_t g, const struct link_import *link)
{
    uint8_t *cell = i->vm - i->artefact->layout.globals + (size_t)g * AREA_SLOT;
    uint8_t *source = instance_global_cell(link->from, link->index);
    if (i->artefact->module.globals[g].mutable)
        store_u64(cell, (uint64_t)(source - i->arena->base));
    else
        memcpy(cell, source, AREA_SLOT);
}

static void bind_export(struct instance *i, const struct wasm_import *import,
                        const struct link_import *link)
{
    uint8_t *b = i->arena->base;
    switch (import->kind) {
    case WASM_KIND_FUNC: bind_function(i, import->index, link); break;
    case WASM_KIND_TABLE: {
        struct table_descriptor *own =
            (struct table_descriptor *)(void *)(i->vm - i->artefact->layout.tables) + import->index;
        own->link = (uint8_t *)instance_table(link->from, link->index) - b;
        break;
    }
    case WASM_KIND_MEMORY:
        if (i->artefact->options.link == LINK_OTHER)
            *arena_field(i->vm, FIELD_MEMORY) = *arena_field(link->from->vm, FIELD_MEMORY);
        break;
    default: bind_global(i, import->index, link); break;
    }
}

/* Checks every import before the arena is touched. */
static int imports_check(const struct instance *i, const struct link_import *links, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        if (links[k].how == LINK_UNRESOLVED)
            return link_refuse(i, import, e, "unknown import");
        if (links[k].how == LINK_HOST) {
            if (import->kind != WASM_KIND_FUNC)
                return link_refuse(i, import, e, "the host provides functions only");
            continue;
        }
        if (links[k].from->arena != i->arena)
            return link_refuse(i, import, e, "the exporter lives in another arena");
        if (links[k].from->artefact->options.tail_calls != i->artefact->options.tail_calls)
            return link_refuse(i, import, e,
                               "modules of one arena must agree on the calling "
                               "convention for tail calls");
        if (!import_matches(i, import, &links[k]))
            return link_refuse(i, import, e, "incompatible import type");
    }
    return 0;
}

static int tables_check(const struct arena *a, const struct wasm_module *m, struct error *e)
{
    uint64_t entries = 0;
    for (uint32_t t = m->imported_tables; t < m->table_count; t++)
        entries += m->tables[t].limits.min;
    if (entries && !arena_table_room(a, entries))
        return error_set(
            e, ATOLL_ELIMIT,
            "the module begins with %llu table entries, but with those of linked "
            "modules there may be %u; raise the memory limit, or declare smaller tables",
            (unsigned long long)entries, a->limits.table_entries);
    return 0;
}

static int imports_bind(struct instance *i, const struct link_import *links, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    i->bindings = calloc(m->imported_functions + 1ull, sizeof *i->bindings);
    if (!i->bindings)
        return error_set(e, ATOLL_ENOMEM, "no memory for the imports of a module");
    for (uint32_t k = 0; k < m->import_count; k++) {
        if (links[k].how == LINK_HOST)
            i->bindings[m->imports[k].index] =
                (struct import_binding){links[k].function, links[k].data};
        else
            bind_export(i, &m->imports[k], &links[k]);
    }
    return 0;
}

void instance_rebind(struct instance *i, const void *from, void *to)
{
    for (uint32_t f = 0; f < i->artefact->module.imported_functions; f++)
        if (i->bindings[f].function && i->bindings[f].data == from)
            i->bindings[f].data = to;
}

/* ---- initialisation ---- */

static void globals_initialise(struct instance *i)
{
    const struct wasm_module *m = &i->artefact->module;
    for (uint32_t g = m->imported_globals; g < m->global_count; g++)
        instance_constant(i, m->globals[g].init, instance_global_cell(i, g));
}

static int segment_trap(struct error *e, int kind)
{
    return error_set(e, ATOLL_ETRAP, "%s", trap_kind_name((enum trap_kind)kind));
}

static int elements_initialise(struct instance *i, uint32_t first, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    uint8_t *dropped = i->vm - i->artefact->layout.dropped + m->data_count;
    for (uint32_t s = first; s < m->element_count; s++) {
        const struct wasm_element *element = &m->elements[s];
        uint8_t offset[16] = {0};
        if (element->mode == WASM_PASSIVE)
            continue;
        dropped[s] = 0;
        if (element->mode == WASM_ACTIVE) {
            instance_constant(i, element->offset, offset);
            int kind =
                instance_table_init(i, element->table, s, load_u32(offset), 0, element->count);
            if (kind)
                return segment_trap(e, kind);
        }
        dropped[s] = 1;
    }
    return 0;
}

static int datas_initialise(struct instance *i, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    uint8_t *dropped = i->vm - i->artefact->layout.dropped;
    for (uint32_t s = i->artefact->baked_datas; s < m->data_count; s++) {
        const struct wasm_data *data = &m->datas[s];
        uint8_t offset[16] = {0};
        if (data->mode != WASM_ACTIVE)
            continue;
        instance_constant(i, data->offset, offset);
        int kind = instance_memory_init(i, s, load_u32(offset), 0, data->bytes.len);
        if (kind)
            return segment_trap(e, kind);
        dropped[s] = 1;
    }
    return 0;
}

static bool imports_functions_of_others(const struct instance *i)
{
    for (uint32_t f = 0; f < i->artefact->module.imported_functions; f++)
        if (!i->bindings[f].function)
            return true;
    return false;
}

/* ---- the whole ---- */

enum link_mode arena_link_mode(const struct arena *a, const struct wasm_module *m,
                               const struct link_import *links, bool prefer_linked)
{
    if (!a->primary && !prefer_linked && !m->imported_memories)
        return LINK_PRIMARY;
    for (uint32_t k = 0; m->imported_memories && k < m->import_count; k++)
        if (m->imports[k].kind == WASM_KIND_MEMORY && links[k].how == LINK_EXPORT &&
            instance_memory(links[k].from) == a->base)
            return LINK_SHARED;
    return LINK_OTHER;
}

/* Maps the module and binds its imports; from here on the instance belongs to the arena. */
static int instance_place(struct instance *i, const struct link_import *links, struct error *e)
{
    struct arena *a = i->arena;
    bool primary = i->artefact->options.link == LINK_PRIMARY;
    int rc = primary ? instance_map_primary(i, e) : instance_map_linked(i, e);
    if (rc < 0)
        return rc;
    if (primary) {
        a->primary = i;
        if (i->index) /* zero already stands in the image */
            *arena_field(i->vm, FIELD_INSTANCE) = i->index;
        types_renumber(a);
    }
    return imports_bind(i, links, e);
}

int instance_create(struct arena *a, struct artefact *artefact, const struct link_import *links,
                    uint32_t count, struct instance **out, struct error *e)
{
    *out = NULL;
    if (count != artefact->module.import_count)
        return error_set(e, ATOLL_EINVAL, "the module has %u imports, %u were given",
                         artefact->module.import_count, count);
    if (artefact->options.link == LINK_PRIMARY && a->primary)
        return error_set(e, ATOLL_EBUSY, "the arena has a primary module");
    if (artefact->options.link == LINK_SHARED && !(a->primary && instance_memory(a->primary)))
        return error_set(e, ATOLL_ELINK, "the arena has no memory to share");
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return error_set(e, ATOLL_ENOMEM, "no memory for an instance");
    i->arena = a;
    i->artefact = artefact;
    int rc = imports_check(i, links, e);
    if (rc == 0)
        rc = tables_check(a, &artefact->module, e);
    if (rc == 0)
        rc = arena_add(a, i, e);
    if (rc < 0) {
        free(i);
        return rc;
    }
    artefact_retain(artefact);
    arena_widen_vectors(a, artefact->options.cpu);
    if ((rc = instance_place(i, links, e)) < 0)
        return rc; /* what was mapped goes with the arena */
    *out = i;
    if (!artefact->globals_baked)
        globals_initialise(i);
    /* Baked entries are bound to host thunks: redo them when a function comes from elsewhere. */
    uint32_t first = imports_functions_of_others(i) ? 0 : artefact->baked_elements;
    if ((rc = elements_initialise(i, first, e)) == 0)
        rc = datas_initialise(i, e);
    return rc;
}
