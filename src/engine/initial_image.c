/*
 * Baking. The primary module's words are offsets from B, final. A linked module's place is not
 * known yet: its code words are relative to the start of its code image, everything else to its vm,
 * its type numbers are its own canonical ones (index + 1); the linker adds and translates.
 *
 * Segments are applied in the standard's order, elements before data, up to the first that depends
 * on an import or would trap: from there on the linker continues, so that an instance that fails to
 * start has exactly the effects the standard gives it.
 */
#include "engine/initial_image.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Zero runs shorter than this are stored rather than split around. */
#define ZERO_RUN 512u

struct baking {
    const struct wasm_module *module;
    const struct abi_layout *layout;
    const struct code_image *code;
    enum link_mode link;
    struct initial_image *image;
    bool *known;           /* per global: its value stands in the image */
    struct buffer touched; /* struct image_extent: ranges written, any order */
};

static uint8_t *below_vm(const struct baking *b, uint64_t distance)
{
    return b->image->bytes + b->image->vm - distance;
}

static bool memory_in_image(const struct wasm_module *m, enum link_mode link)
{
    return link == LINK_PRIMARY && m->memory_count > 0 && m->imported_memories == 0;
}

uint64_t initial_image_size(const struct wasm_module *m, const struct abi_layout *layout,
                            enum link_mode link)
{
    uint64_t memory =
        memory_in_image(m, link) ? (uint64_t)m->memories[0].limits.min * WASM_PAGE : 0;
    return layout->low_size + memory;
}

/* ---- records and descriptors ---- */

static void record_bake(const struct baking *b, uint32_t f)
{
    const struct wasm_module *m = b->module;
    int64_t place = abi_record_from_vm(m, b->layout, f);
    uint32_t code = f < m->imported_functions
                        ? b->code->import_offsets[f]
                        : b->code->function_offsets[f - m->imported_functions];
    struct function_record record = {
        .code = (b->link == LINK_PRIMARY ? IMAGE_FROM_B : 0) + (int64_t)code,
        .vm = 0,
        .signature = abi_primary_signature(m, m->functions[f].type),
        .record = place,
    };
    memcpy(below_vm(b, (uint64_t)-place), &record, sizeof record);
}

static void records_bake(const struct baking *b)
{
    for (uint32_t f = 0; f < b->module->function_count; f++)
        if (f < b->module->imported_functions || b->layout->record_of[f] != UINT32_MAX)
            record_bake(b, f);
}

static void tables_bake(const struct baking *b)
{
    const struct wasm_module *m = b->module;
    for (uint32_t t = m->imported_tables; t < m->table_count; t++) {
        const struct abi_table_place *place = &b->layout->table_places[t];
        struct table_descriptor descriptor = {
            .base = place->from_vm, .size = m->tables[t].limits.min, .limit = place->capacity};
        memcpy(below_vm(b, b->layout->tables) + t * sizeof descriptor, &descriptor,
               sizeof descriptor);
    }
}

static void memory_size_bake(const struct baking *b)
{
    uint64_t size = (uint64_t)b->module->memories[0].limits.min * WASM_PAGE;
    store_u64(below_vm(b, (uint64_t)-FIELD_MEMORY_SIZE), size);
}

/* ---- constants ---- */

static int global_known(void *context, uint32_t global, uint8_t out[static 16])
{
    const struct baking *b = context;
    if (!b->known[global])
        return -ATOLL_ENOENT;
    memcpy(out, below_vm(b, b->layout->globals) + (size_t)global * AREA_SLOT, AREA_SLOT);
    return 0;
}

static int function_reference(void *context, uint32_t function, uint64_t *out)
{
    const struct baking *b = context;
    *out =
        function == UINT32_MAX ? 0 : (uint64_t)abi_record_from_vm(b->module, b->layout, function);
    return 0;
}

/* False when the value depends on an import. */
static bool constant_evaluate(struct baking *b, struct wasm_span span, uint8_t out[static 16])
{
    struct wasm_const_environment environment = {global_known, function_reference, b};
    memset(out, 0, 16);
    return wasm_const_evaluate(b->module, span, &environment, out) == 0;
}

static void globals_bake(struct baking *b)
{
    const struct wasm_module *m = b->module;
    b->image->globals_baked = true;
    for (uint32_t g = m->imported_globals; g < m->global_count; g++) {
        uint8_t value[16];
        b->known[g] = constant_evaluate(b, m->globals[g].init, value);
        if (b->known[g])
            memcpy(below_vm(b, b->layout->globals) + (size_t)g * AREA_SLOT, value, AREA_SLOT);
        else
            b->image->globals_baked = false;
    }
}

/* ---- element segments ---- */

/* The reference an item stands for, as an offset from vm; false when it depends on an import. */
static bool item_evaluate(struct baking *b, const struct wasm_element_item *item, uint64_t *out)
{
    uint8_t value[16];
    if (item->global == UINT32_MAX)
        return function_reference(b, item->function, out) == 0;
    if (global_known(b, item->global, value) < 0)
        return false;
    *out = load_u64(value);
    return true;
}

static bool items_known(struct baking *b, const struct wasm_element *element)
{
    uint32_t cursor = element->items.offset;
    struct wasm_element_item item;
    uint64_t reference;
    while (wasm_element_next(b->module, element, &cursor, &item))
        if (!item_evaluate(b, &item, &reference))
            return false;
    return true;
}

static void items_write(struct baking *b, const struct wasm_element *element, uint8_t *entry)
{
    uint32_t cursor = element->items.offset;
    struct wasm_element_item item;
    uint64_t reference;
    for (; wasm_element_next(b->module, element, &cursor, &item);
         entry += sizeof(struct function_record)) {
        (void)item_evaluate(b, &item, &reference);
        if (reference)
            memcpy(entry, below_vm(b, 0 - reference), sizeof(struct function_record));
        else
            memset(entry, 0, sizeof(struct function_record));
    }
}

/* False when the segment must wait for the linker. */
static bool element_bake(struct baking *b, const struct wasm_element *element)
{
    const struct wasm_module *m = b->module;
    const struct abi_table_place *place = &b->layout->table_places[element->table];
    uint8_t offset[16];
    if (element->table < m->imported_tables || place->from_vm >= 0 ||
        !constant_evaluate(b, element->offset, offset))
        return false;
    uint64_t at = load_u32(offset);
    if (at + element->count > m->tables[element->table].limits.min || !items_known(b, element))
        return false;
    items_write(b, element,
                below_vm(b, (uint64_t)-place->from_vm) + at * sizeof(struct function_record));
    return true;
}

static void elements_bake(struct baking *b)
{
    const struct wasm_module *m = b->module;
    uint8_t *dropped = below_vm(b, b->layout->dropped) + m->data_count;
    uint32_t s = 0;
    for (; s < m->element_count; s++) {
        if (m->elements[s].mode == WASM_ACTIVE && !element_bake(b, &m->elements[s]))
            break;
        dropped[s] = m->elements[s].mode != WASM_PASSIVE;
    }
    b->image->baked_elements = s;
}

/* ---- data segments ---- */

static bool data_bake(struct baking *b, const struct wasm_data *data, bool *stop)
{
    const struct wasm_module *m = b->module;
    uint8_t offset[16];
    *stop = true;
    if (!constant_evaluate(b, data->offset, offset))
        return true;
    uint64_t at = load_u32(offset);
    if (at + data->bytes.len > (uint64_t)m->memories[0].limits.min * WASM_PAGE)
        return true;
    *stop = false;
    struct image_extent range = {b->image->vm + at, data->bytes.len};
    if (range.size == 0)
        return true;
    memcpy(b->image->bytes + range.offset, m->bytes + data->bytes.offset, range.size);
    return buffer_append(&b->touched, &range, sizeof range);
}

/* False when memory is exhausted. */
static bool datas_bake(struct baking *b)
{
    const struct wasm_module *m = b->module;
    uint8_t *dropped = below_vm(b, b->layout->dropped);
    if (!memory_in_image(m, b->link) || b->image->baked_elements < m->element_count)
        return true;
    uint32_t s = 0;
    for (bool stop = false; s < m->data_count; s++) {
        if (m->datas[s].mode != WASM_ACTIVE)
            continue;
        if (!data_bake(b, &m->datas[s], &stop))
            return false;
        if (stop)
            break;
        dropped[s] = 1;
    }
    b->image->baked_datas = s;
    return true;
}

/* ---- extents ---- */

static int range_compare(const void *left, const void *right)
{
    const struct image_extent *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Appends the non-zero runs of image bytes [at, end). */
static bool range_scan(struct initial_image *image, uint64_t at, uint64_t end)
{
    const uint8_t *bytes = image->bytes;
    while (at < end) {
        if (!bytes[at]) {
            at++;
            continue;
        }
        uint64_t from = at, last = at;
        for (at++; at < end && at - last <= ZERO_RUN; at++)
            if (bytes[at])
                last = at;
        struct image_extent extent = {from, last + 1 - from};
        if (!buffer_append(&image->extents, &extent, sizeof extent))
            return false;
    }
    return true;
}

/* Only what was written is looked at: reading the rest would make its pages real. */
static bool extents_find(struct baking *b)
{
    struct image_extent low = {0, b->image->vm};
    if (!buffer_append(&b->touched, &low, sizeof low))
        return false;
    struct image_extent *ranges = (struct image_extent *)(void *)b->touched.data;
    size_t count = b->touched.len / sizeof *ranges;
    qsort(ranges, count, sizeof *ranges, range_compare);
    uint64_t at = 0, end = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].offset > end + ZERO_RUN) {
            if (!range_scan(b->image, at, end))
                return false;
            at = ranges[i].offset;
        }
        if (ranges[i].offset + ranges[i].size > end)
            end = ranges[i].offset + ranges[i].size;
    }
    return range_scan(b->image, at, end);
}

/* ---- the whole ---- */

static bool image_bake(struct baking *b)
{
    records_bake(b);
    tables_bake(b);
    if (memory_in_image(b->module, b->link))
        memory_size_bake(b);
    globals_bake(b);
    elements_bake(b);
    return datas_bake(b) && extents_find(b);
}

int initial_image_build(const struct wasm_module *m, const struct abi_layout *layout,
                        enum link_mode link, const struct code_image *code,
                        struct initial_image *out, struct error *e)
{
    *out =
        (struct initial_image){.size = initial_image_size(m, layout, link), .vm = layout->low_size};
    void *bytes = mmap(NULL, out->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot reserve %llu bytes for the initial memory",
                               (unsigned long long)out->size);
    out->bytes = bytes;
    struct baking b = {.module = m, .layout = layout, .code = code, .link = link, .image = out};
    b.known = calloc(m->global_count + 1ull, sizeof *b.known);
    bool ok = b.known && image_bake(&b);
    free(b.known);
    buffer_free(&b.touched);
    if (ok)
        return 0;
    initial_image_free(out);
    return error_set(e, ATOLL_ENOMEM, "no memory for the initial image");
}

void initial_image_free(struct initial_image *image)
{
    if (image->bytes)
        munmap(image->bytes, image->size);
    buffer_free(&image->extents);
    *image = (struct initial_image){0};
}
