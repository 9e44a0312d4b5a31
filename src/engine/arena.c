/*
 * Arenas: what is mapped in a slot (abi.h draws one), and guest memory as host functions see it.
 *
 * Everything is mapped over the slot's reservation. Mappings are budgeted: an
 * idle instance has about eight (gate, image, stack, one for tables, fields and initial memory, and
 * the reservation between them).
 */
#include "engine/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE           4096u
#define DEFAULT_MEMORY (512ull << 20)
#define DEFAULT_STACK  (1ull << 20)
#define TABLE_LEAST    65536u    /* entries allowed however little memory is */
#define TABLE_MOST     10000000u /* unless more are asked for */

_Static_assert(offsetof(struct context, host_rsp) == CONTEXT_HOST_RSP, "gate.h");
_Static_assert(offsetof(struct context, guest_rsp) == CONTEXT_GUEST_RSP, "gate.h");
_Static_assert(offsetof(struct context, stop) == CONTEXT_STOP, "gate.h");
_Static_assert(offsetof(struct context, vector) == CONTEXT_VECTOR, "gate.h");
_Static_assert(offsetof(struct context, thunk) == CONTEXT_THUNK, "gate.h");
_Static_assert(offsetof(struct context, vm) == CONTEXT_VM, "gate.h");
_Static_assert(offsetof(struct context, code) == CONTEXT_CODE, "gate.h");
_Static_assert(offsetof(struct context, area) == CONTEXT_AREA, "gate.h");
_Static_assert(ARENA_BASE - ARENA_GATE == GATE_TO_B, "gate.h");

/* ---- arenas ---- */

/* Tables are memory of the guest, too: they may take as much again. */
static uint32_t table_entries_default(uint64_t memory_bytes)
{
    uint64_t fit = memory_bytes / sizeof(struct function_record);
    if (fit < TABLE_LEAST)
        return TABLE_LEAST;
    return fit < TABLE_MOST ? (uint32_t)fit : TABLE_MOST;
}

static int limits_settle(const struct arena_limits *given, struct arena_limits *out,
                         struct error *e)
{
    *out = given ? *given : (struct arena_limits){0};
    if (!out->memory_bytes)
        out->memory_bytes = DEFAULT_MEMORY;
    if (!out->stack_bytes)
        out->stack_bytes = DEFAULT_STACK;
    out->stack_bytes = align_up(out->stack_bytes, PAGE);
    uint64_t ceiling = out->no_window ? 4ull << 30 : WINDOW_START;
    if (out->memory_bytes > ceiling)
        out->memory_bytes = ceiling;
    if (!out->table_entries)
        out->table_entries = table_entries_default(out->memory_bytes);
    if (out->stack_bytes > ARENA_STACK_MAX || out->stack_bytes < ARENA_STACK_MIN)
        return error_set(e, ATOLL_EINVAL, "a stack of %llu bytes is outside [%llu KiB, %llu MiB]",
                         (unsigned long long)out->stack_bytes, ARENA_STACK_MIN >> 10,
                         ARENA_STACK_MAX >> 20);
    return 0;
}

static struct slot_code artefact_code(const struct artefact *artefact)
{
    struct slot_code code = {.size = artefact->code_size};
    memcpy(code.id, artefact->id, HASH_LEN);
    return code;
}

int arena_create_for(uint32_t wanted, const struct arena_limits *limits,
                     const struct artefact *artefact, struct arena **out, struct error *e)
{
    *out = NULL;
    int rc = engine_initialize(e);
    if (rc < 0)
        return rc;
    struct arena *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(e, ATOLL_ENOMEM, "no memory for an arena");
    a->context.arena = a;
    struct slot_code code = artefact ? artefact_code(artefact) : (struct slot_code){0};
    rc = limits_settle(limits, &a->limits, e);
    if (rc == 0)
        rc = slot_take(wanted, artefact ? &code : NULL, &a->left, e);
    if (rc < 0) {
        free(a);
        return rc;
    }
    a->slot = a->left.index;
    a->base = slot_address(a->slot) + ARENA_BASE;
    a->images_end = ARENA_IMAGES;
    a->rest_used = ARENA_REST + ARENA_FAR_TABLES;
    a->data_end = a->left.data_high > ARENA_BASE ? a->left.data_high : ARENA_BASE;
    *out = a;
    return 0;
}

int arena_create(uint32_t slot, const struct arena_limits *limits, struct arena **out,
                 struct error *e)
{
    return arena_create_for(slot, limits, NULL, out, e);
}

/* The stack lies below the primary module's tables, so it is mapped when these are known. */
int arena_map_stack(struct arena *a, uint64_t low_size, struct error *e)
{
    assert(!a->stack_low);
    uint64_t top = align_up(low_size, ARENA_GUARD) + ARENA_GUARD;
    uint64_t room = ARENA_BASE - ARENA_IMAGES - ARENA_IMAGES_SIZE;
    if (top + a->limits.stack_bytes + ARENA_GUARD > room)
        return error_set(e, ATOLL_ELIMIT,
                         "tables and fields of %llu MiB leave no room for a stack of %llu MiB",
                         (unsigned long long)(low_size >> 20),
                         (unsigned long long)(a->limits.stack_bytes >> 20));
    uint8_t *high = a->base - top, *low = high - a->limits.stack_bytes;
    bool there = a->left.stack_low == low && a->left.stack_high == high;
    if (a->left.stack_low && !there && !slot_close(a->left.stack_low, a->left.stack_high))
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the stack of an arena");
    a->left.stack_low = a->left.stack_high = NULL;
    if (!there && mprotect(low, a->limits.stack_bytes, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the stack of an arena");
    a->stack_low = low;
    a->stack_high = high;
    return 0;
}

int arena_map_code(struct arena *a, const struct artefact *artefact, uint64_t offset,
                   struct error *e)
{
    uint8_t *slot = slot_address(a->slot);
    struct slot_code code = artefact_code(artefact), left = a->left.code;
    bool there = offset == ARENA_IMAGES && left.size && slot_code_equal(&code, &left);
    if (left.size && !there && !slot_close(slot + ARENA_IMAGES, slot + ARENA_IMAGES + left.size))
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the code of a module");
    a->left.code.size = 0;
    if (!there && code.size &&
        mmap(slot + offset, code.size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
             artefact->code_fd, (off_t)artefact->code_at) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the code of a module");
    return 0;
}

/* Maps a file over what the slot's last arena left, and closes what of that looks out behind. */
static int data_replace(struct arena *a, uint8_t *start, uint64_t len, const struct file_part *part,
                        struct error *e)
{
    uint8_t *end = start + len, *left = slot_address(a->slot) + a->left.data_high;
    if (mmap(start, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, part->fd,
             (off_t)part->offset) == MAP_FAILED ||
        (a->left.data_high && left > end && !slot_close(end, left)))
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the data of a module");
    return 0;
}

int arena_map_data(struct arena *a, uint8_t *start, uint64_t len, const struct file_part *part,
                   struct error *e)
{
    uint64_t low = (uint64_t)(start - a->base) + ARENA_BASE;
    bool there = part->source && a->left.data_source == part->source && a->left.data_low == low &&
                 a->left.data_high == low + len;
    arena_reach(a, start + len);
    int rc = there ? 0 : data_replace(a, start, len, part, e);
    if (rc < 0)
        return rc;
    a->mapped_low = low;
    a->mapped_high = low + len;
    a->mapped_source = part->source;
    a->left.data_low = a->left.data_high = a->left.data_source = 0;
    a->fields_mapped = true;
    return 0;
}

int arena_map_fields(struct arena *a, struct error *e)
{
    if (a->fields_mapped)
        return 0;
    if (mprotect(a->base - PAGE, PAGE, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the fields of an arena");
    a->fields_mapped = true;
    return 0;
}

int arena_take_rest(struct arena *a, uint64_t size, uint8_t **out, struct error *e)
{
    uint64_t at = a->rest_used;
    if (size > SLOT_SIZE - at)
        return error_set(e, ATOLL_ENOMEM,
                         "the linked modules of an arena need more than its slot holds");
    a->rest_used = at + align_up(size, 64u << 10);
    a->data_end = SLOT_SIZE;
    *out = slot_address(a->slot) + at;
    return 0;
}

static void instance_free(struct instance *i)
{
    artefact_release(i->artefact);
    free(i->bindings);
    free(i->signatures);
    free(i);
}

#define KEPT_DATA_MAX (2ull << 20) /* a mapping that is left in the slot keeps its file alive */

/* What stays mapped in the slot for the next arena of the same code. */
static struct slot slot_leave(const struct arena *a)
{
    struct slot slot = a->left;
    slot.data_low = slot.data_high = slot.data_source = 0;
    if (a->stack_low) {
        slot.stack_low = a->stack_low;
        slot.stack_high = a->stack_high;
    }
    for (uint32_t i = 0; i < a->instance_count; i++)
        if (a->instances[i]->image_offset == ARENA_IMAGES)
            slot.code = artefact_code(a->instances[i]->artefact);
    if (a->from_snapshot && a->primary && a->instance_count == 1 && !a->region_count &&
        a->mapped_high - a->mapped_low <= KEPT_DATA_MAX) {
        slot.data_low = a->mapped_low;
        slot.data_high = a->mapped_high;
        slot.data_source = a->mapped_source;
    }
    return slot;
}

void arena_destroy(struct arena *a)
{
    if (!a)
        return;
    assert(a->context.depth == 0);
    struct slot slot = slot_leave(a);
    bool wide = a->data_end == SLOT_SIZE; /* linked modules, or parts anywhere */
    slot_give_back(&slot, wide ? SLOT_SIZE : a->images_end, a->data_end);
    for (uint32_t i = 0; i < a->instance_count; i++)
        instance_free(a->instances[i]);
    arena_types_free(a);
    free(a->instances);
    free(a->externrefs);
    free(a->context.registers.xsave);
    free(a->context.park);
    free(a->regions);
    free(a);
}

uint32_t arena_slot(const struct arena *a)
{
    return a->slot;
}

struct instance *arena_primary(struct arena *a)
{
    return a->primary;
}

struct instance *arena_instance_at(const struct arena *a, uint64_t pc)
{
    uint64_t offset = pc - (uint64_t)(uintptr_t)slot_address(a->slot);
    for (uint32_t i = 0; i < a->instance_count; i++) {
        struct instance *instance = a->instances[i];
        if (offset - instance->image_offset < instance->artefact->code_size)
            return instance;
    }
    return NULL;
}

const struct region *arena_region_at(const struct arena *a, uint32_t address, uint64_t len)
{
    for (uint32_t i = 0; i < a->region_count; i++) {
        const struct region *r = &a->regions[i];
        if (address >= r->address && address - r->address <= r->len &&
            len <= r->len - (address - r->address))
            return r;
    }
    return NULL;
}

/* ---- guest memory, as host functions see it ---- */

void *guest_range(struct arena *a, uint32_t address, uint64_t len, enum guest_right right)
{
    struct instance *who = a->caller ? a->caller : a->primary;
    struct memory_view memory = who ? instance_memory_view(who) : (struct memory_view){0};
    if (memory.base && len <= *memory.size && address <= *memory.size - len)
        return memory.base + address;
    if (memory.base == a->base) {
        const struct region *r = arena_region_at(a, address, len);
        if (r && (r->rights & right) == (uint32_t)right)
            return a->base + address;
    }
    return NULL;
}

int guest_read(struct arena *a, void *to, uint32_t address, size_t len)
{
    const void *from = guest_range(a, address, len, GUEST_READ);
    return from && guest_copy(to, from, len) == 0 ? 0 : -ATOLL_EFAULT;
}

int guest_write(struct arena *a, uint32_t address, const void *from, size_t len)
{
    void *to = guest_range(a, address, len, GUEST_WRITE);
    return to && guest_copy(to, from, len) == 0 ? 0 : -ATOLL_EFAULT;
}

/* ---- external references ---- */

#define EXTERNREFS_MAX 65536u

uint64_t arena_externref_append(struct arena *a, uint64_t value)
{
    if (a->externref_count == a->externref_capacity) {
        uint32_t capacity = a->externref_capacity ? 2 * a->externref_capacity : 16;
        uint64_t *grown =
            capacity <= EXTERNREFS_MAX ? realloc(a->externrefs, capacity * sizeof *grown) : NULL;
        if (!grown)
            return 0;
        a->externrefs = grown;
        a->externref_capacity = capacity;
    }
    a->externrefs[a->externref_count++] = value;
    return a->externref_count;
}

uint64_t arena_externref(struct arena *a, uint64_t value)
{
    for (uint32_t i = 0; i < a->externref_count; i++)
        if (a->externrefs[i] == value)
            return (uint64_t)i + 1;
    return arena_externref_append(a, value);
}

uint64_t arena_externref_value(const struct arena *a, uint64_t handle)
{
    return handle >= 1 && handle <= a->externref_count ? a->externrefs[handle - 1] : 0;
}
