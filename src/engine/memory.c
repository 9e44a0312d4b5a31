/*
 * Instructions on memories, tables and segments that need the host: what lowering does not inline.
 *
 * Everything they change lies in the arena, so snapshots and captured images hold it.
 */
#include "engine/arena.h"

#include "base/clock.h"

#include <string.h>
#include <sys/mman.h>

struct memory_view instance_memory_view(const struct instance *i)
{
    const struct artefact *artefact = i->artefact;
    if (!artefact->module.memory_count)
        return (struct memory_view){0};
    uint8_t *b = i->arena->base;
    if (artefact->options.link != LINK_OTHER)
        return (struct memory_view){b, (uint64_t *)arena_field(b, FIELD_MEMORY_SIZE),
                                    (uint64_t *)arena_field(b, FIELD_MEMORY_LIMIT)};
    struct memory_descriptor *d =
        (struct memory_descriptor *)(void *)(b + *arena_field(i->vm, FIELD_MEMORY));
    return (struct memory_view){b + d->base, &d->size, &d->limit};
}

uint64_t instance_memory_bytes(const struct instance *i)
{
    struct memory_view memory = instance_memory_view(i);
    return memory.base ? *memory.size : 0;
}

uint8_t *instance_memory(const struct instance *i)
{
    return instance_memory_view(i).base;
}

struct table_descriptor *instance_table(const struct instance *i, uint32_t table)
{
    struct table_descriptor *d =
        (struct table_descriptor *)(void *)(i->vm - i->artefact->layout.tables) + table;
    if (table < i->artefact->module.imported_tables)
        d = (struct table_descriptor *)(void *)(i->arena->base + d->link);
    return d;
}

struct function_record *table_entries(const struct instance *i, const struct table_descriptor *d)
{
    return (struct function_record *)(void *)(i->arena->base + d->base);
}

uint64_t instance_reference(const struct instance *i, uint32_t function)
{
    if (function == UINT32_MAX)
        return 0;
    return (uint64_t)(i->vm - i->arena->base +
                      abi_record_from_vm(&i->artefact->module, &i->artefact->layout, function));
}

/* The table entry that holds a reference of the table's type. */
static struct function_record entry_of(const struct instance *i, uint32_t table, uint64_t reference)
{
    struct function_record entry = {0};
    if (i->artefact->module.tables[table].type == WASM_EXTERNREF)
        entry.record = (int64_t)reference;
    else if (reference)
        entry = *(struct function_record *)(void *)(i->arena->base + (int64_t)reference);
    return entry;
}

static uint8_t *dropped_flag(const struct instance *i, uint32_t index)
{
    return i->vm - i->artefact->layout.dropped + index;
}

/* ---- memory ---- */

static int32_t memory_grow(struct instance *i, uint32_t pages)
{
    struct memory_view memory = instance_memory_view(i);
    uint64_t old = *memory.size, extra = (uint64_t)pages * WASM_PAGE;
    if (extra > *memory.limit - old)
        return -1;
    arena_reach(i->arena, memory.base + old + extra);
    if (extra && mprotect(memory.base + old, extra, PROT_READ | PROT_WRITE) != 0)
        return -1;
    *memory.size = old + extra;
    return (int32_t)(old / WASM_PAGE);
}

static bool in_memory(const struct instance *i, uint64_t address, uint64_t len)
{
    struct memory_view memory = instance_memory_view(i);
    return memory.base && len <= *memory.size && address <= *memory.size - len;
}

/* Where a range lies that is not wholly in memory; NULL = trap. */
static uint8_t *bulk_range(struct instance *i, uint32_t address, uint32_t len, uint32_t right)
{
    struct memory_view memory = instance_memory_view(i);
    if (in_memory(i, address, len))
        return memory.base + address;
    const struct region *r =
        memory.base == i->arena->base ? arena_region_at(i->arena, address, len) : NULL;
    return r && (r->rights & right) ? memory.base + address : NULL;
}

static int memory_copy(struct instance *i, const union host_slot *slots)
{
    uint32_t len = slots[2].u32;
    uint8_t *to = bulk_range(i, slots[0].u32, len, GUEST_WRITE);
    const uint8_t *from = bulk_range(i, slots[1].u32, len, GUEST_READ);
    if (!to || !from)
        return TRAP_MEMORY_BOUNDS;
    uint8_t part[4096];
    bool backward = to > from && to < from + len;
    for (uint32_t done = 0; done < len;) {
        uint32_t step = len - done < sizeof part ? len - done : (uint32_t)sizeof part;
        uint32_t at = backward ? len - done - step : done;
        if (guest_copy(part, from + at, step) || guest_copy(to + at, part, step))
            return TRAP_LOST_REGION;
        done += step;
    }
    return 0;
}

static int memory_fill(struct instance *i, const union host_slot *slots)
{
    uint32_t len = slots[2].u32;
    uint8_t *to = bulk_range(i, slots[0].u32, len, GUEST_WRITE);
    if (!to)
        return TRAP_MEMORY_BOUNDS;
    uint8_t part[4096];
    memset(part, slots[1].bytes[0], sizeof part);
    for (uint32_t done = 0; done < len;) {
        uint32_t step = len - done < sizeof part ? len - done : (uint32_t)sizeof part;
        if (guest_copy(to + done, part, step))
            return TRAP_LOST_REGION;
        done += step;
    }
    return 0;
}

int instance_memory_init(struct instance *i, uint32_t segment, uint32_t to, uint32_t from,
                         uint32_t len)
{
    const struct wasm_module *m = &i->artefact->module;
    const struct wasm_data *data = &m->datas[segment];
    uint32_t available = *dropped_flag(i, segment) ? 0 : data->bytes.len;
    if (len > available || from > available - len)
        return TRAP_MEMORY_BOUNDS;
    uint8_t *target = bulk_range(i, to, len, GUEST_WRITE);
    if (!target)
        return TRAP_MEMORY_BOUNDS;
    if (len && guest_copy(target, m->bytes + data->bytes.offset + from, len))
        return TRAP_LOST_REGION;
    return 0;
}

/* ---- tables ---- */

/* False: linking it failed half way. */
static bool instance_is_mapped(const struct instance *i)
{
    return i->artefact->options.link == LINK_PRIMARY ? i == i->arena->primary : i->vm != NULL;
}

/* Of all tables of all modules. */
static uint64_t arena_table_entries(const struct arena *a)
{
    uint64_t entries = 0;
    for (uint32_t k = 0; k < a->instance_count; k++) {
        const struct instance *i = a->instances[k];
        const struct wasm_module *m = &i->artefact->module;
        for (uint32_t t = m->imported_tables; instance_is_mapped(i) && t < m->table_count; t++)
            entries += instance_table(i, t)->size;
    }
    return entries;
}

bool arena_table_room(const struct arena *a, uint64_t more)
{
    uint64_t entries = arena_table_entries(a), limit = a->limits.table_entries;
    return entries <= limit && more <= limit - entries;
}

static int32_t table_grow(struct instance *i, uint32_t table, uint64_t reference, uint32_t delta)
{
    struct table_descriptor *d = instance_table(i, table);
    uint64_t old = d->size;
    if (delta > d->limit - old || (delta && !arena_table_room(i->arena, delta)))
        return -1;
    struct function_record entry = entry_of(i, table, reference);
    struct function_record *entries = table_entries(i, d);
    for (uint64_t k = old; k < old + delta; k++)
        entries[k] = entry;
    d->size = old + delta;
    return (int32_t)old;
}

static int table_fill(struct instance *i, uint32_t table, uint32_t at, uint64_t reference,
                      uint32_t len)
{
    struct table_descriptor *d = instance_table(i, table);
    if (len > d->size || at > d->size - len)
        return TRAP_TABLE_BOUNDS;
    struct function_record entry = entry_of(i, table, reference);
    struct function_record *entries = table_entries(i, d);
    for (uint32_t k = 0; k < len; k++)
        entries[at + k] = entry;
    return 0;
}

static int table_copy(struct instance *i, const union host_slot *slots)
{
    uint32_t to = slots[0].u32, from = slots[1].u32, len = slots[2].u32;
    struct table_descriptor *target = instance_table(i, slots[3].u32);
    struct table_descriptor *source = instance_table(i, slots[4].u32);
    if (len > target->size || to > target->size - len || len > source->size ||
        from > source->size - len)
        return TRAP_TABLE_BOUNDS;
    memmove(table_entries(i, target) + to, table_entries(i, source) + from,
            (size_t)len * sizeof(struct function_record));
    return 0;
}

int instance_table_init(struct instance *i, uint32_t table, uint32_t segment, uint32_t to,
                        uint32_t from, uint32_t len)
{
    const struct wasm_module *m = &i->artefact->module;
    const struct wasm_element *element = &m->elements[segment];
    struct table_descriptor *d = instance_table(i, table);
    uint32_t available = *dropped_flag(i, m->data_count + segment) ? 0 : element->count;
    if (len > available || from > available - len || len > d->size || to > d->size - len)
        return TRAP_TABLE_BOUNDS;
    struct function_record *entries = table_entries(i, d);
    uint32_t cursor = element->items.offset;
    struct wasm_element_item item;
    for (uint32_t k = 0; k < from + len && wasm_element_next(m, element, &cursor, &item); k++) {
        if (k < from)
            continue;
        uint64_t reference = item.global == UINT32_MAX
                                 ? instance_reference(i, item.function)
                                 : load_u64(instance_global_cell(i, item.global));
        entries[to + k - from] = entry_of(i, table, reference);
    }
    return 0;
}

/* ---- atomic wait and notify, on one thread ---- */

static int atomic_wait(struct instance *i, union host_slot *slots, uint32_t bytes,
                       struct host_park *park, bool resumed)
{
    uint64_t address = slots[0].u64;
    if (!in_memory(i, address, bytes) &&
        (address > UINT32_MAX || !bulk_range(i, (uint32_t)address, bytes, GUEST_READ)))
        return TRAP_MEMORY_BOUNDS;
    if (address % bytes)
        return TRAP_UNALIGNED_ATOMIC;
    if (!i->artefact->module.memories[0].limits.shared)
        return TRAP_EXPECTED_SHARED;
    uint64_t found = 0, expected = bytes == 4 ? slots[1].u32 : slots[1].u64;
    if (guest_copy(&found, instance_memory_view(i).base + address, bytes))
        return TRAP_LOST_REGION;
    if (!resumed) {
        if (found != expected) {
            slots[0].u64 = 1;
            return 0;
        }
        int64_t timeout = slots[2].i64, now = clock_monotonic_ns();
        park->fd_count = 0;
        park->deadline_ns =
            timeout < 0 || timeout > INT64_MAX - now ? HOST_NO_DEADLINE : now + timeout;
    }
    if (park->deadline_ns == HOST_NO_DEADLINE || clock_monotonic_ns() < park->deadline_ns)
        return BUILTIN_PARK;
    slots[0].u64 = 2; /* timed out; nobody else runs in this memory */
    return 0;
}

static int atomic_notify(struct instance *i, union host_slot *slots)
{
    uint64_t address = slots[0].u64;
    if (!in_memory(i, address, 4) &&
        (address > UINT32_MAX || !bulk_range(i, (uint32_t)address, 4, GUEST_READ)))
        return TRAP_MEMORY_BOUNDS;
    if (address % 4)
        return TRAP_UNALIGNED_ATOMIC;
    slots[0].u64 = 0;
    return 0;
}

int builtin_gate(struct instance *i, uint32_t number, union host_slot *slots,
                 struct host_park *park, bool resumed)
{
    switch (number) {
    case GATE_MEMORY_GROW: slots[0].u64 = (uint32_t)memory_grow(i, slots[0].u32); return 0;
    case GATE_MEMORY_COPY: return memory_copy(i, slots);
    case GATE_MEMORY_FILL: return memory_fill(i, slots);
    case GATE_MEMORY_INIT:
        return instance_memory_init(i, slots[3].u32, slots[0].u32, slots[1].u32, slots[2].u32);
    case GATE_DATA_DROP: *dropped_flag(i, slots[0].u32) = 1; return 0;
    case GATE_TABLE_GROW:
        slots[0].u64 = (uint32_t)table_grow(i, slots[2].u32, slots[0].u64, slots[1].u32);
        return 0;
    case GATE_TABLE_FILL:
        return table_fill(i, slots[3].u32, slots[0].u32, slots[1].u64, slots[2].u32);
    case GATE_TABLE_COPY: return table_copy(i, slots);
    case GATE_TABLE_INIT:
        return instance_table_init(i, slots[4].u32, slots[3].u32, slots[0].u32, slots[1].u32,
                                   slots[2].u32);
    case GATE_ELEM_DROP:
        *dropped_flag(i, i->artefact->module.data_count + slots[0].u32) = 1;
        return 0;
    case GATE_WAIT32: return atomic_wait(i, slots, 4, park, resumed);
    case GATE_WAIT64: return atomic_wait(i, slots, 8, park, resumed);
    case GATE_NOTIFY: return atomic_notify(i, slots);
    case GATE_FUEL: return TRAP_FUEL;
    default: return TRAP_ENGINE;
    }
}
