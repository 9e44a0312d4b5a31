/* Computes where the parts of a module's field block lie (abi.h draws them). Used by lowering, by
 * the artefact builder and by the runtime, which therefore always agree. */
#include "engine/abi.h"

#include <assert.h>
#include <stdlib.h>

static uint32_t area_slots(const struct wasm_module *m)
{
    uint32_t slots = AREA_SLOTS_MIN;
    for (uint32_t t = 0; t < m->type_count; t++) {
        struct wasm_signature s = wasm_type_signature(m, t);
        if (s.param_count > slots)
            slots = s.param_count;
        if (s.result_count > slots)
            slots = s.result_count;
    }
    return slots;
}

static bool records_assign(const struct wasm_module *m, struct abi_layout *l)
{
    l->record_of = malloc(sizeof *l->record_of * (m->function_count + 1ull));
    if (!l->record_of)
        return false;
    for (uint32_t f = 0; f < m->function_count; f++)
        l->record_of[f] = f >= m->imported_functions && wasm_function_referenced(m, f)
                              ? l->record_count++
                              : UINT32_MAX;
    return true;
}

/* Entries to reserve for a defined table: what it may grow to, within reason. */
static uint32_t table_capacity(const struct wasm_limits *limits)
{
    if (limits->has_max && limits->max <= limits->min)
        return limits->min;
    uint32_t wanted =
        limits->has_max && limits->max < ABI_TABLE_GROWTH ? limits->max : ABI_TABLE_GROWTH;
    return wanted > limits->min ? wanted : limits->min;
}

/* Places the defined tables below the fields, those of fixed size first: they stay near B, so that
 * a small instance touches few pages. What exceeds ARENA_NEAR_TABLES goes to the rest of the slot
 * when the module is primary. */
static int tables_place(const struct wasm_module *m, enum link_mode link, struct abi_layout *l,
                        struct error *e)
{
    l->table_places = calloc(m->table_count + 1ull, sizeof *l->table_places);
    if (!l->table_places)
        return error_set(e, ATOLL_ENOMEM, "no memory for the layout of the tables");
    uint64_t low = l->fields_size, far = 0;
    for (int fixed = 1; fixed >= 0; fixed--) {
        for (uint32_t t = m->imported_tables; t < m->table_count; t++) {
            const struct wasm_limits *limits = &m->tables[t].limits;
            struct abi_table_place *place = &l->table_places[t];
            if ((limits->has_max && limits->max <= limits->min) != fixed)
                continue;
            place->fixed_size = fixed;
            place->capacity = table_capacity(limits);
            uint64_t bytes = (uint64_t)place->capacity * sizeof(struct function_record);
            if (link == LINK_PRIMARY && low - l->fields_size + bytes > ARENA_NEAR_TABLES) {
                place->from_vm = (int64_t)(ARENA_REST - ARENA_BASE + far);
                far = align_up(far + bytes, 4096);
            } else {
                low = align_up(low + bytes, sizeof(struct function_record));
                place->from_vm = -(int64_t)low;
            }
        }
    }
    if (far > ARENA_FAR_TABLES || low > ARENA_FAR_TABLES)
        return error_set(e, ATOLL_ELIMIT,
                         "the module's tables reserve more than %llu MiB; declare smaller tables",
                         ARENA_FAR_TABLES >> 20);
    l->low_size = align_up(low, 4096);
    l->far_size = far;
    return 0;
}

static uint32_t take(uint64_t *cursor, uint64_t count, uint64_t size)
{
    *cursor = align_up(*cursor + count * size, 16);
    return (uint32_t)*cursor;
}

int abi_layout_compute(const struct wasm_module *m, enum link_mode link, struct abi_layout *out,
                       struct error *e)
{
    *out = (struct abi_layout){0};
    if (!records_assign(m, out))
        return error_set(e, ATOLL_ENOMEM, "no memory for the layout of the function records");

    uint64_t cursor = FIELD_HEADER_SIZE;
    out->area_slots = area_slots(m);
    out->area = take(&cursor, out->area_slots, AREA_SLOT);
    out->globals = take(&cursor, m->global_count, AREA_SLOT);
    out->imports = take(&cursor, m->imported_functions, sizeof(struct function_record));
    out->tables = take(&cursor, m->table_count, sizeof(struct table_descriptor));
    out->dropped = take(&cursor, (uint64_t)m->data_count + m->element_count, 1);
    if (link != LINK_PRIMARY)
        out->signatures = take(&cursor, m->type_count, sizeof(uint64_t));
    out->records = take(&cursor, out->record_count, sizeof(struct function_record));
    /* The largest module the decoder lets through: 1 M records, 1 M types, 100 k imports. */
    assert(cursor < 128u << 20);
    out->fields_size = (uint32_t)align_up(cursor, 4096);

    int rc = tables_place(m, link, out, e);
    if (rc < 0)
        abi_layout_free(out);
    return rc;
}

void abi_layout_free(struct abi_layout *l)
{
    free(l->record_of);
    free(l->table_places);
    *l = (struct abi_layout){0};
}

int64_t abi_record_from_vm(const struct wasm_module *m, const struct abi_layout *l, uint32_t f)
{
    if (f < m->imported_functions)
        return (int64_t)f * (int64_t)sizeof(struct function_record) - l->imports;
    assert(l->record_of[f] != UINT32_MAX);
    return (int64_t)l->record_of[f] * (int64_t)sizeof(struct function_record) - l->records;
}

const char *trap_kind_name(enum trap_kind kind)
{
    static const char *const names[] = {
        [TRAP_NONE] = "no trap",
        [TRAP_UNREACHABLE] = "unreachable",
        [TRAP_MEMORY_BOUNDS] = "out of bounds memory access",
        [TRAP_TABLE_BOUNDS] = "out of bounds table access",
        [TRAP_UNDEFINED_ELEMENT] = "undefined element",
        [TRAP_UNINITIALIZED_ELEMENT] = "uninitialized element",
        [TRAP_SIGNATURE] = "indirect call type mismatch",
        [TRAP_DIVIDE_BY_ZERO] = "integer divide by zero",
        [TRAP_INTEGER_OVERFLOW] = "integer overflow",
        [TRAP_BAD_CONVERSION] = "invalid conversion to integer",
        [TRAP_UNALIGNED_ATOMIC] = "unaligned atomic",
        [TRAP_STACK_EXHAUSTED] = "call stack exhausted",
        [TRAP_READ_ONLY_REGION] = "store to a read-only region",
        [TRAP_LOST_REGION] = "the object behind a shared region is gone",
        [TRAP_EXPECTED_SHARED] = "expected shared memory",
        [TRAP_FUEL] = "fuel exhausted",
        [TRAP_HOST] = "host call failed",
        [TRAP_INTERRUPTED] = "interrupted",
        [TRAP_ENGINE] = "fault inside the engine",
    };
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown trap";
}
