/*
 * An instance's place in the slot: code, tables, fields and memory of its module are mapped.
 *
 * A primary module's initial image is ready to use. A linked module's holds addresses relative to
 * its vm and its code, to which its place is added here.
 */
#include "engine/link.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096u

int arena_add(struct arena *a, struct instance *i, struct error *e)
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

void arena_widen_vectors(struct arena *a, uint8_t level)
{
    uint32_t vector = vector_class(level);
    if (vector > a->context.vector)
        a->context.vector = vector;
}

/* ---- mapping ---- */

static int map_image(struct instance *i, uint64_t offset, struct error *e)
{
    const struct artefact *artefact = i->artefact;
    if (offset + artefact->code_size > ARENA_IMAGES + ARENA_IMAGES_SIZE)
        return error_set(e, ATOLL_ELIMIT, "the code of an arena's modules exceeds %llu MiB",
                         ARENA_IMAGES_SIZE >> 20);
    int rc = arena_map_code(i->arena, artefact, offset, e);
    if (rc < 0)
        return rc;
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
                         "the module needs %llu KiB of memory at the start but may have %llu KiB; "
                         "raise the memory limit",
                         (unsigned long long)l->min * WASM_PAGE >> 10,
                         (unsigned long long)(a->limits.memory_bytes >> 10));
    return 0;
}

int instance_map_primary(struct instance *i, struct error *e)
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
    const struct file_part data = {.fd = artefact->data_fd};
    if ((rc = arena_map_data(a, a->base - artefact->layout.low_size, artefact->data_size, &data,
                             e)) < 0)
        return rc;
    if (artefact->layout.far_size)
        a->data_end = SLOT_SIZE;
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
        record_relocate(i, &instance_records(i)[r]);
    for (uint32_t f = 0; f < m->imported_functions; f++)
        record_relocate(i, &instance_imports(i)[f]);
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

int instance_map_linked(struct instance *i, struct error *e)
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
