/*
 * The sections with payloads: element segments, function bodies, data segments (§5.5.12 to
 * §5.5.14).
 *
 * Items and bytes stay where they are in the module; items are checked here once and decoded again
 * whenever they are walked. Bodies are measured only: the validator reads them.
 */
#include "engine/wasm_sections.h"

/* The encodings' flags: bit 0 passive or declarative, bit 1 explicit index (declarative when bit 0
 * is set too), bit 2 items are expressions. */
enum { ELEMENT_NOT_ACTIVE = 1, ELEMENT_EXPLICIT = 2, ELEMENT_EXPRESSIONS = 4 };

static uint8_t element_type_read(struct wasm_cursor *c, bool expressions)
{
    if (expressions)
        return wasm_cursor_reference_type(c);
    if (wasm_cursor_u8(c) != 0 && !c->failed)
        wasm_cursor_report(c, ATOLL_EMALFORMED, c->at - 1,
                           "malformed element kind: the only one is 0, functions");
    return WASM_FUNCREF;
}

static void element_items_read(struct module_reader *r, struct wasm_element *element)
{
    struct wasm_cursor *c = &r->c;
    element->count = wasm_cursor_u32(c);
    element->items.offset = wasm_cursor_offset(c);
    for (uint32_t i = 0; i < element->count && !c->failed; i++) {
        const uint8_t *at = c->at;
        if (element->expressions) {
            wasm_const_read(c, r->m, element->type);
            continue;
        }
        uint32_t function = wasm_cursor_u32(c);
        if (c->failed)
            return;
        if (function >= r->m->function_count)
            wasm_cursor_report(c, ATOLL_EINVALID, at, "unknown function %u in an element segment",
                               function);
        else
            wasm_function_refer(r->m, function);
    }
    element->items.len = wasm_cursor_offset(c) - element->items.offset;
}

static void element_read(struct module_reader *r, struct wasm_element *element)
{
    struct wasm_cursor *c = &r->c;
    const uint8_t *at = c->at;
    uint32_t flags = wasm_cursor_u32(c);
    if (flags > 7) {
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed element segment: flags 0x%x", flags);
        return;
    }
    element->expressions = flags & ELEMENT_EXPRESSIONS;
    element->type = WASM_FUNCREF;
    element->mode = WASM_ACTIVE;
    if (flags & ELEMENT_NOT_ACTIVE)
        element->mode = flags & ELEMENT_EXPLICIT ? WASM_DECLARATIVE : WASM_PASSIVE;
    else if (flags & ELEMENT_EXPLICIT)
        element->table = wasm_cursor_u32(c);
    if (element->mode == WASM_ACTIVE)
        element->offset = wasm_const_read(c, r->m, WASM_I32);
    if (flags & (ELEMENT_NOT_ACTIVE | ELEMENT_EXPLICIT))
        element->type = element_type_read(c, element->expressions);
    if (flags & (ELEMENT_NOT_ACTIVE | ELEMENT_EXPRESSIONS))
        r->m->features |= WASM_FEATURE_BULK_MEMORY;
    if (element->table != 0 || element->type != WASM_FUNCREF)
        r->m->features |= WASM_FEATURE_REFERENCE_TYPES;
    element_items_read(r, element);
}

void section_read_elements(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    uint32_t count = section_count(r, "element segments", WASM_MAX_SEGMENTS, 3);
    m->elements = section_allocate(r, count, sizeof *m->elements);
    for (uint32_t i = 0; i < count && !r->c.failed; i++) {
        element_read(r, &m->elements[i]);
        m->element_count = i + 1;
    }
}

/* The number of bodies was compared with the function section before anything was allocated. */
void section_read_code(struct module_reader *r)
{
    struct wasm_cursor *c = &r->c;
    struct wasm_module *m = r->m;
    m->code = r->sections[SECTION_CODE].payload;
    wasm_cursor_u32(c);
    for (uint32_t f = m->imported_functions; f < m->function_count && !c->failed; f++) {
        const uint8_t *at = c->at;
        uint32_t len = wasm_cursor_u32(c);
        if (len > WASM_MAX_BODY_BYTES)
            wasm_cursor_report(c, ATOLL_ELIMIT, at,
                               "the body of function %u has %u bytes, more than the limit of %u", f,
                               len, WASM_MAX_BODY_BYTES);
        else if (!c->failed && len < 2)
            wasm_cursor_report(c, ATOLL_EMALFORMED, at,
                               "the body of function %u has %u bytes; it needs at least 2", f, len);
        uint32_t offset = wasm_cursor_offset(c);
        if (wasm_cursor_bytes(c, len))
            m->functions[f].body = (struct wasm_span){offset, len};
    }
}

static void data_read(struct module_reader *r, struct wasm_data *data)
{
    struct wasm_cursor *c = &r->c;
    const uint8_t *at = c->at;
    uint32_t flags = wasm_cursor_u32(c);
    if (flags > 2) {
        wasm_cursor_report(c, ATOLL_EMALFORMED, at, "malformed data segment: flags 0x%x", flags);
        return;
    }
    data->mode = flags == 1 ? WASM_PASSIVE : WASM_ACTIVE;
    if (flags == 1)
        r->m->features |= WASM_FEATURE_BULK_MEMORY;
    if (flags == 2)
        data->memory = wasm_cursor_u32(c);
    if (data->mode == WASM_ACTIVE)
        data->offset = wasm_const_read(c, r->m, WASM_I32);
    uint32_t len = wasm_cursor_u32(c);
    uint32_t offset = wasm_cursor_offset(c);
    if (wasm_cursor_bytes(c, len))
        data->bytes = (struct wasm_span){offset, len};
}

void section_read_data(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    uint32_t declared = m->data_count;
    uint32_t count = section_count(r, "data segments", WASM_MAX_SEGMENTS, 2);
    m->data_count = 0;
    if (m->has_data_count && count != declared)
        wasm_cursor_report(&r->c, ATOLL_EMALFORMED, r->c.at,
                           "data count and data section have inconsistent lengths: %u and %u",
                           declared, count);
    m->datas = section_allocate(r, count, sizeof *m->datas);
    for (uint32_t i = 0; i < count && !r->c.failed; i++) {
        data_read(r, &m->datas[i]);
        m->data_count = i + 1;
    }
}

void section_skip_data(struct module_reader *r)
{
    struct wasm_module *m = r->m;
    if (m->data_count > 0 && !r->skeleton) {
        wasm_cursor_fail(&r->c, ATOLL_EMALFORMED,
                         "data count and data section have inconsistent lengths: there is no data "
                         "section");
        return;
    }
    m->datas = section_allocate(r, m->data_count, sizeof *m->datas);
    for (uint32_t i = 0; i < m->data_count && !r->c.failed; i++)
        m->datas[i].mode = WASM_PASSIVE;
}
