/*
 * The module reader: finds the sections and decodes them into a struct wasm_module (§5.5).
 *
 * Three steps. The first walks the section headers and checks ids, order and sizes. The second
 * counts what the module imports and defines, so that each index space is allocated once and only
 * after its size has been compared with the limits and with the bytes that are there. The third
 * decodes the sections in the order of the format. A failure anywhere frees everything on one path.
 */
#include "engine/wasm_read.h"

#include "base/bytes.h"
#include "engine/wasm_sections.h"
#include "engine/wasm_unique.h"

#include <stdlib.h>

static const char *const section_names[SECTION_COUNT] = {
    [SECTION_CUSTOM] = "custom",         [SECTION_TYPE] = "type",     [SECTION_IMPORT] = "import",
    [SECTION_FUNCTION] = "function",     [SECTION_TABLE] = "table",   [SECTION_MEMORY] = "memory",
    [SECTION_GLOBAL] = "global",         [SECTION_EXPORT] = "export", [SECTION_START] = "start",
    [SECTION_ELEMENT] = "element",       [SECTION_CODE] = "code",     [SECTION_DATA] = "data",
    [SECTION_DATA_COUNT] = "data count",
};

/* The order the format demands; custom sections go anywhere. */
static const uint8_t section_order[] = {
    SECTION_TYPE,    SECTION_IMPORT,     SECTION_FUNCTION, SECTION_TABLE,
    SECTION_MEMORY,  SECTION_GLOBAL,     SECTION_EXPORT,   SECTION_START,
    SECTION_ELEMENT, SECTION_DATA_COUNT, SECTION_CODE,     SECTION_DATA,
};
enum { SECTIONS_IN_ORDER = sizeof section_order };

/* ---- sections and their counts ---- */

static struct wasm_cursor cursor_over(const struct module_reader *r, struct wasm_span span)
{
    return (struct wasm_cursor){
        .base = r->m->bytes,
        .at = r->m->bytes + span.offset,
        .end = r->m->bytes + span.offset + span.len,
        .error = r->c.error,
        .failed = r->c.failed,
    };
}

uint32_t section_count(struct module_reader *r, const char *what, uint32_t limit,
                       uint32_t min_bytes)
{
    struct wasm_cursor *c = &r->c;
    const uint8_t *at = c->at;
    uint32_t count = wasm_cursor_u32(c);
    if (c->failed)
        return 0;
    if (count > limit)
        wasm_cursor_report(c, ATOLL_ELIMIT, at, "%u %s are more than the limit of %u", count, what,
                           limit);
    else if (count > (size_t)(c->end - c->at) / min_bytes)
        wasm_cursor_report(c, ATOLL_EMALFORMED, at,
                           "unexpected end: %u %s do not fit in the section", count, what);
    return c->failed ? 0 : count;
}

void *section_allocate(struct module_reader *r, uint32_t count, size_t size)
{
    if (r->c.failed)
        return NULL;
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        wasm_cursor_fail(&r->c, ATOLL_ENOMEM, "out of memory while reading the module");
    return memory;
}

static void custom_read(struct module_reader *r, struct wasm_span payload)
{
    struct {
        const char *name;
        struct wasm_span *span;
    } const known[] = {
        {"name", &r->m->name_section},
        {"dylink.0", &r->m->dylink},
        {"producers", &r->m->producers},
        {"target_features", &r->m->target_features},
    };
    struct wasm_cursor c = cursor_over(r, payload);
    struct wasm_span name = wasm_cursor_name(&c);
    r->c.failed = c.failed;
    if (c.failed)
        return;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) == name.len && known[i].span->offset == 0 &&
            memcmp(r->m->bytes + name.offset, known[i].name, name.len) == 0)
            *known[i].span = (struct wasm_span){wasm_cursor_offset(&c), (uint32_t)(c.end - c.at)};
    }
}

/* Reads one section header at the cursor and records it; *rank is the place of the last one. */
static void section_find(struct module_reader *r, int *rank)
{
    struct wasm_cursor *c = &r->c;
    const uint8_t *at = c->at;
    uint8_t id = wasm_cursor_u8(c);
    struct wasm_span payload = {.len = wasm_cursor_u32(c)};
    payload.offset = wasm_cursor_offset(c);
    if (c->failed)
        return;
    if (id == 13) {
        wasm_cursor_report(
            c, ATOLL_EUNSUPPORTED, at,
            "the tag section belongs to exceptions, which this engine does not have");
        return;
    }
    if (id >= SECTION_COUNT) {
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed section id %u", id);
        return;
    }
    if (!wasm_cursor_bytes(c, payload.len))
        return;
    if (id == SECTION_CUSTOM) {
        custom_read(r, payload);
        return;
    }
    int place = 0;
    while (section_order[place] != id)
        place++;
    if (place <= *rank) {
        wasm_cursor_report(c, ATOLL_EMALFORMED, at,
                           "unexpected content: the %s section appears twice or out of order",
                           section_names[id]);
        return;
    }
    *rank = place;
    r->sections[id].payload = payload;
    r->sections[id].present = true;
}

static void sections_find(struct module_reader *r)
{
    struct wasm_cursor *c = &r->c;
    static const uint8_t magic[4] = {0, 'a', 's', 'm'}, version[4] = {1, 0, 0, 0};
    static const uint8_t component[4] = {0x0d, 0, 1, 0};
    const uint8_t *header = wasm_cursor_bytes(c, 8);
    if (!header)
        return;
    if (memcmp(header, magic, 4) != 0)
        wasm_cursor_report(c, ATOLL_EMALFORMED, header,
                           "magic header not detected: this is not a WebAssembly binary");
    else if (memcmp(header + 4, component, 4) == 0)
        wasm_cursor_report(c, ATOLL_EUNSUPPORTED, header + 4,
                           "this is a component of the component-model, which this engine does not "
                           "have; extract its core module");
    else if (memcmp(header + 4, version, 4) != 0)
        wasm_cursor_report(c, ATOLL_EMALFORMED, header + 4, "unknown binary version %u",
                           load_u32(header + 4));
    int rank = -1;
    while (!c->failed && c->at < c->end)
        section_find(r, &rank);
}

/* ---- what more than one section is made of ---- */

static void limits_refuse(struct wasm_cursor *c, uint8_t flags, bool memory)
{
    const uint8_t *at = c->at - 1;
    if ((flags & 4) && flags < 8)
        wasm_cursor_report(c, ATOLL_EUNSUPPORTED, at,
                           "64-bit limits belong to memory64, which this engine does not have");
    else if (flags == 2 && memory)
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "shared memory must have a maximum size");
    else
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed limits flags 0x%02x", flags);
}

static struct wasm_limits limits_read(struct module_reader *r, bool memory)
{
    struct wasm_cursor *c = &r->c;
    uint8_t flags = wasm_cursor_u8(c);
    struct wasm_limits limits = {.max = UINT32_MAX};
    if (flags > 1 && !(memory && flags == 3)) {
        limits_refuse(c, flags, memory);
        return limits;
    }
    limits.has_max = flags & 1;
    limits.shared = flags == 3;
    if (limits.shared)
        r->m->features |= WASM_FEATURE_THREADS;
    limits.min = wasm_cursor_u32(c);
    if (limits.has_max)
        limits.max = wasm_cursor_u32(c);
    return limits;
}

static struct wasm_table table_read(struct module_reader *r)
{
    struct wasm_table table = {0};
    if (r->c.at < r->c.end && *r->c.at == 0x40)
        wasm_cursor_fail(&r->c, ATOLL_EUNSUPPORTED,
                         "a table with an initialiser belongs to function-references, which this "
                         "engine does not have");
    table.type = wasm_cursor_reference_type(&r->c);
    table.limits = limits_read(r, false);
    if (table.type == WASM_EXTERNREF)
        r->m->features |= WASM_FEATURE_REFERENCE_TYPES;
    return table;
}

static void type_features(struct module_reader *r, uint8_t type)
{
    if (type == WASM_V128)
        r->m->features |= WASM_FEATURE_SIMD;
    if (wasm_is_reference(type))
        r->m->features |= WASM_FEATURE_REFERENCE_TYPES;
}

static struct wasm_global global_read(struct module_reader *r)
{
    struct wasm_cursor *c = &r->c;
    struct wasm_global global = {.type = wasm_cursor_value_type(c)};
    uint8_t mutability = wasm_cursor_u8(c);
    if (mutability > 1)
        wasm_cursor_report(c, ATOLL_EMALFORMED, c->at - 1, "malformed mutability 0x%02x",
                           mutability);
    global.mutable = mutability == 1;
    type_features(r, global.type);
    return global;
}

static uint32_t type_index_read(struct module_reader *r)
{
    const uint8_t *at = r->c.at;
    uint32_t type = wasm_cursor_u32(&r->c);
    if (!r->c.failed && type >= r->m->type_count)
        wasm_cursor_report(&r->c, ATOLL_EINVALID, at, "unknown type %u: the module has %u", type,
                           r->m->type_count);
    return type;
}

/* ---- types ---- */

static uint32_t value_types_read(struct module_reader *r, const char *what, uint32_t limit)
{
    struct wasm_cursor *c = &r->c;
    uint32_t count = section_count(r, what, limit, 1);
    for (uint32_t i = 0; i < count && !c->failed; i++)
        type_features(r, wasm_cursor_value_type(c));
    return count;
}

static void type_read(struct module_reader *r, struct wasm_type_entry *type)
{
    struct wasm_cursor *c = &r->c;
    uint8_t form = wasm_cursor_u8(c);
    if (c->failed)
        return;
    if (form == 0x5f || form == 0x5e || form == 0x50 || form == 0x4f || form == 0x4e) {
        wasm_cursor_report(c, ATOLL_EUNSUPPORTED, c->at - 1,
                           "type form 0x%02x belongs to gc, which this engine does not have", form);
        return;
    }
    if (form != 0x60) {
        wasm_cursor_report(c, ATOLL_EMALFORMED, c->at - 1,
                           "malformed type: form 0x%02x is not that of a function", form);
        return;
    }
    type->offset = wasm_cursor_offset(c);
    value_types_read(r, "parameters", WASM_MAX_PARAMS);
    if (value_types_read(r, "results", WASM_MAX_RESULTS) > 1)
        r->m->features |= WASM_FEATURE_MULTI_VALUE;
}

static struct byte_pair type_pair(const void *context, uint32_t number)
{
    struct wasm_signature s = wasm_type_signature(context, number);
    return (struct byte_pair){s.params, s.results, s.param_count, s.result_count};
}

static void section_read_types(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    uint32_t count = section_count(r, "types", WASM_MAX_TYPES, 3);
    m->types = section_allocate(r, count, sizeof *m->types);
    for (uint32_t i = 0; i < count && !r->c.failed; i++)
        type_read(r, &m->types[i]);
    if (r->c.failed)
        return;
    m->type_count = count;
    struct unique_set set;
    if (!unique_set_create(&set, type_pair, m)) {
        wasm_cursor_fail(&r->c, ATOLL_ENOMEM, "out of memory while comparing types");
        return;
    }
    for (uint32_t i = 0; i < count && !r->c.failed; i++) {
        m->types[i].canonical = unique_set_add(&set, i);
        if (m->types[i].canonical == UNIQUE_SET_FULL)
            wasm_cursor_fail(&r->c, ATOLL_ENOMEM, "out of memory while comparing types");
    }
    unique_set_destroy(&set);
}

/* ---- imports and the index spaces ---- */

/* Reads one import's description; only its kind when it is counted the first time. */
static void import_describe(struct module_reader *r, struct wasm_import *import, bool counting)
{
    struct wasm_module *m = r->m;
    struct wasm_function function = {0};
    struct wasm_table table = {0};
    struct wasm_memory memory = {0};
    struct wasm_global global = {0};
    switch (import->kind) {
    case WASM_KIND_FUNC: function.type = type_index_read(r); break;
    case WASM_KIND_TABLE: table = table_read(r); break;
    case WASM_KIND_MEMORY: memory.limits = limits_read(r, true); break;
    case WASM_KIND_GLOBAL: global = global_read(r); break;
    case 4:
        wasm_cursor_report(
            &r->c, ATOLL_EUNSUPPORTED, r->c.at - 1,
            "an imported tag belongs to exceptions, which this engine does not have");
        break;
    default:
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, r->c.at - 1, "malformed import kind 0x%02x",
                           import->kind);
    }
    if (r->c.failed || counting)
        return;
    switch (import->kind) {
    case WASM_KIND_FUNC: m->functions[import->index = m->imported_functions++] = function; break;
    case WASM_KIND_TABLE: m->tables[import->index = m->imported_tables++] = table; break;
    case WASM_KIND_MEMORY: m->memories[import->index = m->imported_memories++] = memory; break;
    default: m->globals[import->index = m->imported_globals++] = global; break;
    }
    if (global.mutable)
        m->features |= WASM_FEATURE_MUTABLE_GLOBALS;
}

/* Walks the import section: first to count (imports NULL), then to record. */
static void imports_walk(struct module_reader *r, struct wasm_import *imports, uint32_t counts[4])
{
    struct wasm_cursor *c = &r->c;
    uint32_t count = section_count(r, "imports", WASM_MAX_IMPORTS, 4);
    for (uint32_t i = 0; i < count && !c->failed; i++) {
        struct wasm_import import = {.module = wasm_cursor_name(c)};
        import.name = wasm_cursor_name(c);
        import.kind = wasm_cursor_u8(c);
        if (c->failed)
            return;
        import_describe(r, &import, !imports);
        if (c->failed)
            return;
        counts[import.kind]++;
        if (imports)
            imports[i] = import;
    }
}

/* Errors found while imports are read, about what a later section announces, are in that one. */
static void section_blame(struct module_reader *r, enum wasm_section section)
{
    if (r->sections[section].present)
        r->section = (uint8_t)section;
}

/* How many entries a section of definitions announces; it is read properly later. */
static uint32_t section_peek_count(struct module_reader *r, enum wasm_section section)
{
    if (!r->sections[section].present || r->c.failed)
        return 0;
    struct wasm_cursor c = cursor_over(r, r->sections[section].payload);
    uint32_t count = wasm_cursor_u32(&c);
    r->c.failed = c.failed;
    if (c.failed)
        section_blame(r, section);
    return count;
}

/* Size of an index space: what is imported and what is defined, within the limit and within what
 * the section's bytes can hold. */
static uint32_t space_size(struct module_reader *r, enum wasm_section section, const char *what,
                           uint32_t imported, uint32_t limit, uint32_t min_bytes)
{
    uint64_t defined = section_peek_count(r, section);
    struct wasm_span payload = r->sections[section].payload;
    uint64_t at = payload.offset ? payload.offset : wasm_cursor_offset(&r->c);
    if (r->c.failed)
        return 0;
    if (defined + imported > limit) {
        section_blame(r, section);
        if (section == SECTION_MEMORY)
            wasm_cursor_report(&r->c, ATOLL_EUNSUPPORTED, r->m->bytes + at,
                               "multiple memories (%llu) belong to multi-memory, which this engine "
                               "does not have",
                               (unsigned long long)(defined + imported));
        else
            wasm_cursor_report(&r->c, ATOLL_ELIMIT, r->m->bytes + at,
                               "%llu %s are more than the limit of %u",
                               (unsigned long long)(defined + imported), what, limit);
        return 0;
    }
    if (defined > payload.len / min_bytes) {
        section_blame(r, section);
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, r->m->bytes + at,
                           "unexpected end: %llu %s do not fit in the %s section",
                           (unsigned long long)defined, what, section_names[section]);
        return 0;
    }
    return (uint32_t)(defined + imported);
}

/* As many bodies as functions, and bytes enough for them (a size and two more each). */
static void bodies_compare(struct module_reader *r)
{
    uint32_t functions = section_peek_count(r, SECTION_FUNCTION);
    uint32_t bodies = section_peek_count(r, SECTION_CODE);
    struct wasm_span code = r->sections[SECTION_CODE].payload;
    const uint8_t *at = r->m->bytes + code.offset;
    if (r->c.failed || (r->skeleton && !r->sections[SECTION_CODE].present))
        return;
    if (functions != bodies)
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, at,
                           "function and code section have inconsistent lengths: %u and %u",
                           functions, bodies);
    else if (bodies > code.len / 3 && bodies <= WASM_MAX_FUNCTIONS)
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, at,
                           "unexpected end: %u function bodies do not fit in the code section",
                           bodies);
    if (r->c.failed) {
        section_blame(r, SECTION_FUNCTION);
        section_blame(r, SECTION_CODE);
    }
}

/* Allocates the index spaces and records the imports in them. */
static void section_read_imports(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    struct wasm_cursor start = r->c;
    uint32_t counts[4] = {0}, again[4] = {0};
    if (r->sections[SECTION_IMPORT].present)
        imports_walk(r, NULL, counts);
    bodies_compare(r);
    m->function_count =
        space_size(r, SECTION_FUNCTION, "functions", counts[WASM_KIND_FUNC], WASM_MAX_FUNCTIONS, 1);
    m->table_count =
        space_size(r, SECTION_TABLE, "tables", counts[WASM_KIND_TABLE], WASM_MAX_TABLES, 3);
    m->memory_count = space_size(r, SECTION_MEMORY, "memories", counts[WASM_KIND_MEMORY], 1, 2);
    m->global_count =
        space_size(r, SECTION_GLOBAL, "globals", counts[WASM_KIND_GLOBAL], WASM_MAX_GLOBALS, 3);
    m->functions = section_allocate(r, m->function_count, sizeof *m->functions);
    m->tables = section_allocate(r, m->table_count, sizeof *m->tables);
    m->memories = section_allocate(r, m->memory_count, sizeof *m->memories);
    m->globals = section_allocate(r, m->global_count, sizeof *m->globals);
    m->referenced = section_allocate(r, m->function_count / 8 + 1, 1);
    m->import_count = counts[0] + counts[1] + counts[2] + counts[3];
    m->imports = section_allocate(r, m->import_count, sizeof *m->imports);
    if (m->table_count > 1)
        m->features |= WASM_FEATURE_REFERENCE_TYPES;
    if (r->c.failed || !r->sections[SECTION_IMPORT].present)
        return;
    r->c = start;
    imports_walk(r, m->imports, again);
}

/* ---- definitions, exports, start ---- */

static void section_read_functions(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    wasm_cursor_u32(&r->c);
    for (uint32_t f = m->imported_functions; f < m->function_count && !r->c.failed; f++)
        m->functions[f].type = type_index_read(r);
}

static void section_read_tables(struct module_reader *r)
{
    wasm_cursor_u32(&r->c);
    for (uint32_t i = r->m->imported_tables; i < r->m->table_count && !r->c.failed; i++)
        r->m->tables[i] = table_read(r);
}

static void section_read_memories(struct module_reader *r)
{
    wasm_cursor_u32(&r->c);
    for (uint32_t i = r->m->imported_memories; i < r->m->memory_count && !r->c.failed; i++)
        r->m->memories[i].limits = limits_read(r, true);
}

static void section_read_globals(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    wasm_cursor_u32(&r->c);
    for (uint32_t i = m->imported_globals; i < m->global_count && !r->c.failed; i++) {
        m->globals[i] = global_read(r);
        m->globals[i].init = wasm_const_read(&r->c, m, m->globals[i].type);
    }
}

static void export_read(struct module_reader *r, struct wasm_export *export)
{
    const struct wasm_module *m = r->m;
    const uint32_t space[4] = {m->function_count, m->table_count, m->memory_count, m->global_count};
    static const char *const kinds[4] = {"function", "table", "memory", "global"};
    struct wasm_cursor *c = &r->c;
    export->name = wasm_cursor_name(c);
    const uint8_t *at = c->at;
    export->kind = wasm_cursor_u8(c);
    export->index = wasm_cursor_u32(c);
    if (c->failed)
        return;
    if (export->kind == 4)
        wasm_cursor_report(
            c, ATOLL_EUNSUPPORTED, at,
            "an exported tag belongs to exceptions, which this engine does not have");
    else if (export->kind > 4)
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed export kind 0x%02x", export->kind);
    else if (export->index >= space[export->kind])
        wasm_cursor_report(c, ATOLL_EINVALID, at, "unknown %s %u is exported", kinds[export->kind],
                           export->index);
    else if (export->kind == WASM_KIND_FUNC)
        wasm_function_refer(r->m, export->index);
    else if (export->kind == WASM_KIND_GLOBAL && m->globals[export->index].mutable)
        r->m->features |= WASM_FEATURE_MUTABLE_GLOBALS;
}

static struct byte_pair export_pair(const void *context, uint32_t number)
{
    const struct wasm_module *m = context;
    struct wasm_span name = m->exports[number].name;
    return (struct byte_pair){.first = m->bytes + name.offset, .first_len = name.len};
}

static void section_read_exports(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    struct unique_set names;
    uint32_t count = section_count(r, "exports", WASM_MAX_EXPORTS, 3);
    m->exports = section_allocate(r, count, sizeof *m->exports);
    if (r->c.failed)
        return;
    if (!unique_set_create(&names, export_pair, m)) {
        wasm_cursor_fail(&r->c, ATOLL_ENOMEM, "out of memory while comparing the names of exports");
        return;
    }
    for (uint32_t i = 0; i < count && !r->c.failed; i++) {
        const uint8_t *at = r->c.at;
        export_read(r, &m->exports[i]);
        if (r->c.failed)
            break;
        m->export_count = i + 1;
        uint32_t same = unique_set_add(&names, i);
        if (same == UNIQUE_SET_FULL)
            wasm_cursor_fail(&r->c, ATOLL_ENOMEM, "out of memory while comparing names");
        else if (same != i)
            wasm_cursor_report(&r->c, ATOLL_EINVALID, at,
                               "duplicate export name: exports %u and %u have the same", same, i);
    }
    unique_set_destroy(&names);
}

static void section_read_start(struct module_reader *r)
{
    const uint8_t *at = r->c.at;
    r->m->start = wasm_cursor_u32(&r->c);
    if (!r->c.failed && r->m->start >= r->m->function_count)
        wasm_cursor_report(&r->c, ATOLL_EINVALID, at, "unknown function %u as the start function",
                           r->m->start);
}

static void section_read_data_count(struct module_reader *r)
{
    const uint8_t *at = r->c.at;
    r->m->data_count = wasm_cursor_u32(&r->c);
    r->m->has_data_count = true;
    r->m->features |= WASM_FEATURE_BULK_MEMORY;
    if (!r->c.failed && r->m->data_count > WASM_MAX_SEGMENTS)
        wasm_cursor_report(&r->c, ATOLL_ELIMIT, at,
                           "%u data segments are more than the limit of %u", r->m->data_count,
                           WASM_MAX_SEGMENTS);
}

/* ---- the whole ---- */

static void (*const section_readers[SECTION_COUNT])(struct module_reader *) = {
    [SECTION_TYPE] = section_read_types,         [SECTION_IMPORT] = section_read_imports,
    [SECTION_FUNCTION] = section_read_functions, [SECTION_TABLE] = section_read_tables,
    [SECTION_MEMORY] = section_read_memories,    [SECTION_GLOBAL] = section_read_globals,
    [SECTION_EXPORT] = section_read_exports,     [SECTION_START] = section_read_start,
    [SECTION_ELEMENT] = section_read_elements,   [SECTION_CODE] = section_read_code,
    [SECTION_DATA] = section_read_data,          [SECTION_DATA_COUNT] = section_read_data_count,
};

/* Reads one section with a cursor of its own, which must end with the section. Imports are always
 * "read", because the index spaces are allocated there. */
static int section_read(struct module_reader *r, uint8_t id)
{
    bool present = r->sections[id].present;
    r->section = id;
    if (present)
        r->c = cursor_over(r, r->sections[id].payload);
    if (present || id == SECTION_IMPORT)
        section_readers[id](r);
    else if (id == SECTION_DATA)
        section_skip_data(r);
    if (present && !r->c.failed && r->c.at != r->c.end)
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, r->c.at,
                           "section size mismatch: %zu bytes are left over",
                           (size_t)(r->c.end - r->c.at));
    return r->c.failed ? error_prefix(r->c.error, "%s section", section_names[r->section]) : 0;
}

static int module_read(const uint8_t *bytes, size_t len, bool skeleton, struct wasm_module *out,
                       struct error *e)
{
    *out = (struct wasm_module){0};
    if (len > WASM_MAX_MODULE_BYTES)
        return error_set(e, ATOLL_ELIMIT, "the module has %zu bytes, more than the limit of %u",
                         len, WASM_MAX_MODULE_BYTES);
    out->bytes = bytes;
    out->len = len;
    out->start = UINT32_MAX;
    struct module_reader r = {
        .m = out,
        .c = {.base = bytes, .at = bytes, .end = bytes + len, .error = e},
        .skeleton = skeleton,
    };
    sections_find(&r);
    int status = r.c.failed ? e->code : 0;
    for (int i = 0; i < SECTIONS_IN_ORDER && status == 0; i++)
        status = section_read(&r, section_order[i]);
    if (status != 0)
        wasm_module_free(out);
    return status;
}

int wasm_read(const uint8_t *bytes, size_t len, struct wasm_module *out, struct error *e)
{
    return module_read(bytes, len, false, out, e);
}

int wasm_read_skeleton(const uint8_t *bytes, size_t len, struct wasm_module *out, struct error *e)
{
    return module_read(bytes, len, true, out, e);
}

void wasm_module_free(struct wasm_module *m)
{
    free(m->types);
    free(m->imports);
    free(m->functions);
    free(m->tables);
    free(m->memories);
    free(m->globals);
    free(m->exports);
    free(m->elements);
    free(m->datas);
    free(m->referenced);
    *m = (struct wasm_module){0};
}
