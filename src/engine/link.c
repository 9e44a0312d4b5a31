/*
 * Linking: a module's artefact becomes an instance in an arena (Core 2.0 §4.5.4).
 *
 * The artefact's initial image already holds records, tables, constant globals and memory, host
 * imports bound to their thunks. So a module whose imports are all host functions needs three
 * mappings and nothing else; the rest of this file is for modules that import from each other.
 *
 * Type numbers: a call_indirect compares numbers, equal for equal types within an arena. The
 * primary module's numbers are constants in its code (canonical index + 1); linked modules get the
 * primary's number for an equal type and otherwise numbers from INTERNED up, renumbered when a
 * primary comes later.
 */
#include "engine/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define INTERNED (1ull << 32)
#define PAGE     4096u

struct interned_type {
    uint64_t number;
    uint32_t param_count, result_count;
    uint8_t *types; /* parameters, then results */
};

/* ---- type numbers ---- */

static bool signature_equal(struct wasm_signature a, struct wasm_signature b)
{
    return a.param_count == b.param_count && a.result_count == b.result_count &&
           memcmp(a.params, b.params, a.param_count) == 0 &&
           memcmp(a.results, b.results, a.result_count) == 0;
}

static struct wasm_signature interned_signature(const struct interned_type *t)
{
    return (struct wasm_signature){t->types, t->types + t->param_count, t->param_count,
                                   t->result_count};
}

/* The primary's number of an equal type, 0 = none. */
static uint64_t primary_number(const struct arena *a, struct wasm_signature s)
{
    const struct wasm_module *m = a->primary ? &a->primary->artefact->module : NULL;
    for (uint32_t t = 0; m && t < m->type_count; t++)
        if (m->types[t].canonical == t && signature_equal(wasm_type_signature(m, t), s))
            return abi_primary_signature(m, t);
    return 0;
}

/* The number of a type in this arena (a new one gets `known`, or if that is 0 the primary's or a
 * fresh number); 0 when memory is exhausted. */
static uint64_t type_intern(struct arena *a, struct wasm_signature s, uint64_t known)
{
    for (uint32_t t = 0; t < a->type_count; t++)
        if (signature_equal(interned_signature(&a->types[t]), s))
            return a->types[t].number;
    if (a->type_count == a->type_capacity) {
        uint32_t capacity = a->type_capacity ? 2 * a->type_capacity : 16;
        struct interned_type *grown = realloc(a->types, capacity * sizeof *grown);
        if (!grown)
            return 0;
        a->types = grown;
        a->type_capacity = capacity;
    }
    struct interned_type *t = &a->types[a->type_count];
    t->types = malloc((size_t)s.param_count + s.result_count + 1);
    if (!t->types)
        return 0;
    memcpy(t->types, s.params, s.param_count);
    memcpy(t->types + s.param_count, s.results, s.result_count);
    t->param_count = s.param_count;
    t->result_count = s.result_count;
    uint64_t number = known ? known : primary_number(a, s);
    t->number = number ? number : INTERNED + a->type_count;
    a->type_count++;
    return t->number;
}

void arena_types_free(struct arena *a)
{
    for (uint32_t t = 0; t < a->type_count; t++)
        free(a->types[t].types);
    free(a->types);
}

/* ---- the parts of a field block ---- */

static struct function_record *records_of(const struct instance *i)
{
    return (struct function_record *)(void *)(i->vm - i->artefact->layout.records);
}

static struct function_record *imports_of(const struct instance *i)
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
        const struct function_record *r = &imports_of(i)[f];
        *code = b + (uint64_t)r->code;
        *vm = b + (uint64_t)r->vm;
        return;
    }
    *code =
        b - ARENA_BASE + i->image_offset + i->artefact->function_offsets[f - m->imported_functions];
    *vm = (uint64_t)(uintptr_t)i->vm;
}

static uint64_t signature_number(const struct instance *i, uint32_t type)
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

/* ---- the arena's list ---- */

static int arena_add(struct arena *a, struct instance *i, struct error *e)
{
    if (a->instance_count == ARENA_INSTANCES_MAX)
        return error_set(e, ATOLL_ELIMIT, "an arena holds at most %u linked modules",
                         ARENA_INSTANCES_MAX);
    if (a->instance_count == a->instance_capacity) {
        uint32_t capacity = a->instance_capacity ? 2 * a->instance_capacity : 1;
        struct instance **grown = realloc(a->instances, capacity * sizeof(struct instance *));
        if (!grown)
            return error_set(e, ATOLL_ENOMEM, "no memory for an instance");
        a->instances = grown;
        a->instance_capacity = capacity;
    }
    i->index = a->instance_count;
    a->instances[a->instance_count++] = i;
    return 0;
}

/* Which vector registers host code may have left behind that this level's code could show. */
static uint32_t vector_class(uint8_t level)
{
    if (level == CPU_V4 || (level == CPU_NATIVE && __builtin_cpu_supports("avx512f")))
        return VECTOR_AVX512;
    if (level == CPU_V3 || (level == CPU_NATIVE && __builtin_cpu_supports("avx")))
        return VECTOR_AVX;
    return VECTOR_SSE;
}

static void arena_widen_vectors(struct arena *a, uint8_t level)
{
    uint32_t vector = vector_class(level);
    if (vector > a->context.vector)
        a->context.vector = vector;
}

/* ---- mapping ---- */

static int map_image(struct instance *i, uint64_t offset, struct error *e)
{
    uint8_t *at = i->arena->base - ARENA_BASE + offset;
    const struct artefact *artefact = i->artefact;
    if (offset + artefact->code_size > ARENA_IMAGES + ARENA_IMAGES_SIZE)
        return error_set(e, ATOLL_ELIMIT, "the code of an arena's modules exceeds %llu MiB",
                         ARENA_IMAGES_SIZE >> 20);
    if (artefact->code_size && mmap(at, artefact->code_size, PROT_READ | PROT_EXEC,
                                    MAP_PRIVATE | MAP_FIXED, artefact->code_fd, 0) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the code of a module");
    i->image_offset = offset;
    uint64_t end = align_up(offset + artefact->code_size, PAGE);
    if (end > i->arena->images_end)
        i->arena->images_end = end;
    return 0;
}

static int map_data(uint8_t *at, uint64_t len, int fd, struct error *e)
{
    if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, 0) ==
        MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the data of a module");
    return 0;
}

/* Bytes memory 0 may grow to. */
static uint64_t memory_limit(const struct arena *a, const struct wasm_limits *l)
{
    uint64_t most = l->has_max ? (uint64_t)l->max * WASM_PAGE : 4ull << 30;
    uint64_t limit = most < a->limits.memory_bytes ? most : a->limits.memory_bytes;
    return limit & ~(uint64_t)(WASM_PAGE - 1);
}

static int memory_check(const struct arena *a, const struct wasm_limits *l, struct error *e)
{
    if ((uint64_t)l->min * WASM_PAGE > a->limits.memory_bytes)
        return error_set(e, ATOLL_ELIMIT,
                         "the module needs %llu MiB of memory at the start but may have %llu MiB; "
                         "raise the memory limit",
                         (unsigned long long)l->min * WASM_PAGE >> 20,
                         (unsigned long long)(a->limits.memory_bytes >> 20));
    return 0;
}

static int map_primary(struct instance *i, struct error *e)
{
    struct arena *a = i->arena;
    const struct artefact *artefact = i->artefact;
    const struct wasm_module *m = &artefact->module;
    int rc = m->memory_count ? memory_check(a, &m->memories[0].limits, e) : 0;
    if (rc == 0 && !a->stack_low)
        rc = arena_map_stack(a, artefact->layout.low_size, e);
    else if (rc == 0 && artefact->layout.low_size > (uint64_t)(a->base - a->stack_high))
        rc = error_set(e, ATOLL_ELIMIT,
                       "the primary module's tables do not fit any more: link it "
                       "before its linked modules run");
    if (rc == 0 && a->images_end > ARENA_IMAGES && artefact->code_size > ARENA_IMAGES_SIZE / 2)
        rc = error_set(e, ATOLL_ELIMIT, "a primary module of this size must be linked first");
    if (rc < 0 || (rc = map_image(i, ARENA_IMAGES, e)) < 0)
        return rc;
    i->vm = a->base;
    if ((rc = map_data(a->base - artefact->layout.low_size, artefact->data_size, artefact->data_fd,
                       e)) < 0)
        return rc;
    a->fields_mapped = true;
    if (artefact->layout.far_size &&
        mprotect(a->base - ARENA_BASE + ARENA_REST, artefact->layout.far_size,
                 PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the tables of a module");
    *arena_field(i->vm, FIELD_MEMORY_LIMIT) =
        m->memory_count ? (int64_t)memory_limit(a, &m->memories[0].limits) : 0;
    return 0;
}

#define LINKED_MEMORY_ROOM \
    (64ull << 20) /* reserved for a linked module's own memory, if it may grow */

static int map_own_memory(struct instance *i, struct error *e)
{
    struct arena *a = i->arena;
    const struct wasm_limits *l = &i->artefact->module.memories[0].limits;
    int rc = memory_check(a, l, e);
    if (rc < 0)
        return rc;
    uint64_t size = (uint64_t)l->min * WASM_PAGE, limit = memory_limit(a, l);
    if (limit > LINKED_MEMORY_ROOM)
        limit = size > LINKED_MEMORY_ROOM ? size : LINKED_MEMORY_ROOM;
    uint8_t *memory;
    if ((rc = arena_take_rest(a, limit + ARENA_GUARD, &memory, e)) < 0)
        return rc;
    if (size && mprotect(memory, size, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the memory of a module");
    struct memory_descriptor *d = (struct memory_descriptor *)(void *)(i->vm + FIELD_OWN_MEMORY);
    *d = (struct memory_descriptor){memory - a->base, size, limit, 0};
    *arena_field(i->vm, FIELD_MEMORY) = (uint8_t *)d - a->base;
    return 0;
}

/* Adds a linked module's place to what its image holds relative to vm and to its code. */
static void record_relocate(const struct instance *i, struct function_record *r)
{
    if (!r->signature)
        return;
    int64_t vm = i->vm - i->arena->base;
    r->code += (int64_t)(i->image_offset - ARENA_BASE);
    r->vm += vm;
    r->record += vm;
    r->signature = i->signatures[r->signature - 1];
}

static void relocate(struct instance *i)
{
    const struct artefact *artefact = i->artefact;
    const struct wasm_module *m = &artefact->module;
    int64_t vm = i->vm - i->arena->base;
    for (uint32_t r = 0; r < artefact->layout.record_count; r++)
        record_relocate(i, &records_of(i)[r]);
    for (uint32_t f = 0; f < m->imported_functions; f++)
        record_relocate(i, &imports_of(i)[f]);
    for (uint32_t t = m->imported_tables; t < m->table_count; t++) {
        struct table_descriptor *d = instance_table(i, t);
        d->base += vm;
        for (uint64_t k = 0; m->tables[t].type == WASM_FUNCREF && k < d->size; k++)
            record_relocate(i, &table_entries(i, d)[k]);
    }
    for (uint32_t g = m->imported_globals; g < m->global_count; g++) {
        uint8_t *cell = instance_global_cell(i, g);
        if (m->globals[g].type == WASM_FUNCREF && load_u64(cell))
            store_u64(cell, load_u64(cell) + (uint64_t)vm);
    }
}

static int map_linked(struct instance *i, struct error *e)
{
    struct arena *a = i->arena;
    const struct artefact *artefact = i->artefact;
    const struct wasm_module *m = &artefact->module;
    uint64_t offset = a->images_end;
    if (offset == ARENA_IMAGES) /* room for a primary that may come */
        offset = ARENA_IMAGES + ARENA_IMAGES_SIZE / 2;
    int rc = map_image(i, offset, e);
    uint8_t *block;
    if (rc < 0 || (rc = arena_map_fields(a, e)) < 0 ||
        (rc = arena_take_rest(a, artefact->layout.low_size, &block, e)) < 0 ||
        (rc = map_data(block, artefact->layout.low_size, artefact->data_fd, e)) < 0)
        return rc;
    i->vm = block + artefact->layout.low_size;
    i->signatures = calloc(m->type_count + 1ull, sizeof *i->signatures);
    if (!i->signatures)
        return error_set(e, ATOLL_ENOMEM, "no memory for the types of a module");
    uint64_t *fields = (uint64_t *)(void *)(i->vm - artefact->layout.signatures);
    for (uint32_t t = 0; t < m->type_count; t++) {
        i->signatures[t] = type_intern(a, wasm_type_signature(m, t), 0);
        if (!i->signatures[t])
            return error_set(e, ATOLL_ENOMEM, "no memory for the types of a module");
        fields[t] = i->signatures[t];
    }
    *arena_field(i->vm, FIELD_INSTANCE) = i->index;
    relocate(i);
    return artefact->options.link == LINK_OTHER && m->memory_count && !m->imported_memories
               ? map_own_memory(i, e)
               : 0;
}

int instance_adopt(struct arena *a, struct artefact *artefact, uint64_t image_offset,
                   int64_t vm_from_b, struct instance **out, struct error *e)
{
    bool primary = artefact->options.link == LINK_PRIMARY;
    uint64_t low = artefact->layout.low_size;
    uint64_t vm_offset = ARENA_BASE + (uint64_t)vm_from_b;
    *out = NULL;
    if (image_offset < ARENA_IMAGES || image_offset % PAGE ||
        image_offset >= ARENA_IMAGES + ARENA_IMAGES_SIZE || vm_from_b % PAGE ||
        (primary ? vm_from_b != 0 || image_offset != ARENA_IMAGES || a->primary != NULL
                 : vm_offset < ARENA_REST + low || vm_offset > a->rest_used))
        return error_set(e, ATOLL_ECORRUPT, "a module of the arena stands where none can be");
    struct instance *i = calloc(1, sizeof *i);
    if (!i)
        return error_set(e, ATOLL_ENOMEM, "no memory for an instance");
    i->arena = a;
    i->artefact = artefact;
    i->bindings = calloc(artefact->module.imported_functions + 1ull, sizeof *i->bindings);
    int rc = i->bindings ? arena_add(a, i, e) : error_set(e, ATOLL_ENOMEM, "no memory");
    if (rc < 0) {
        free(i->bindings);
        free(i);
        return rc;
    }
    artefact_retain(artefact);
    i->vm = a->base + vm_from_b;
    arena_widen_vectors(a, artefact->options.cpu);
    if ((rc = map_image(i, image_offset, e)) < 0)
        return rc;
    if (primary) {
        a->primary = i;
        rc = arena_map_stack(a, low, e);
    }
    *out = i;
    return rc;
}

int instance_adopt_types(struct instance *i, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    if (i->artefact->options.link == LINK_PRIMARY)
        return 0;
    i->signatures = calloc(m->type_count + 1ull, sizeof *i->signatures);
    if (!i->signatures)
        return error_set(e, ATOLL_ENOMEM, "no memory for the types of a module");
    const uint64_t *fields = (const uint64_t *)(void *)(i->vm - i->artefact->layout.signatures);
    for (uint32_t t = 0; t < m->type_count; t++) {
        i->signatures[t] = fields[t];
        if (!type_intern(i->arena, wasm_type_signature(m, t), fields[t]))
            return error_set(e, ATOLL_ENOMEM, "no memory for the types of a module");
    }
    return 0;
}

/* ---- imports ---- */

static int link_refuse(const struct instance *i, const struct wasm_import *import, struct error *e,
                       const char *why)
{
    const struct wasm_module *m = &i->artefact->module;
    return error_set(e, ATOLL_ELINK, "%s: %.*s.%.*s", why, (int)(import->module.len % 200),
                     (const char *)m->bytes + import->module.offset, (int)(import->name.len % 200),
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
    imports_of(i)[f] = (struct function_record){
        .code = (int64_t)(code - b),
        .vm = (int64_t)(vm - b),
        .signature = signature_number(i, i->artefact->module.functions[f].type),
        .record = (uint8_t *)&imports_of(i)[f] - i->arena->base,
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

/* Gives linked modules the numbers of the primary that has just joined. */
static void arena_renumber(struct arena *a)
{
    for (uint32_t t = 0; t < a->type_count; t++) {
        uint64_t old = a->types[t].number;
        uint64_t number = primary_number(a, interned_signature(&a->types[t]));
        if (!number)
            continue;
        a->types[t].number = number;
        for (uint32_t k = 0; k < a->instance_count; k++) {
            struct instance *i = a->instances[k];
            const struct wasm_module *m = &i->artefact->module;
            if (i == a->primary || !i->signatures)
                continue;
            uint64_t *fields = (uint64_t *)(void *)(i->vm - i->artefact->layout.signatures);
            for (uint32_t n = 0; n < m->type_count; n++)
                if (fields[n] == old)
                    fields[n] = i->signatures[n] = number;
            for (uint32_t r = 0; r < i->artefact->layout.record_count; r++)
                if (records_of(i)[r].signature == old)
                    records_of(i)[r].signature = number;
            for (uint32_t f = 0; f < m->imported_functions; f++)
                if (imports_of(i)[f].signature == old)
                    imports_of(i)[f].signature = number;
            for (uint32_t n = m->imported_tables; n < m->table_count; n++) {
                struct table_descriptor *d = instance_table(i, n);
                for (uint64_t s = 0; s < d->size; s++)
                    if (table_entries(i, d)[s].signature == old)
                        table_entries(i, d)[s].signature = number;
            }
        }
    }
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
    int rc = primary ? map_primary(i, e) : map_linked(i, e);
    if (rc < 0)
        return rc;
    if (primary) {
        a->primary = i;
        if (i->index) /* zero already stands in the image */
            *arena_field(i->vm, FIELD_INSTANCE) = i->index;
        arena_renumber(a);
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
