/*
 * Feeds bytes to the module reader, and walks whatever it accepts: segments, constant expressions,
 * names, offsets. The seeds are small modules with every section.
 */
#include "engine/wasm_read.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int global_value(void *context, uint32_t global, uint8_t out[static 16])
{
    const struct wasm_module *m = context;
    assert(global < m->imported_globals);
    memset(out, 1, 16);
    return 0;
}

static int ref_value(void *context, uint32_t function, uint64_t *out)
{
    const struct wasm_module *m = context;
    assert(function == UINT32_MAX ||
           (function < m->function_count && wasm_function_referenced(m, function)));
    *out = function;
    return 0;
}

static void constant_walk(struct wasm_module *m, struct wasm_span span)
{
    const struct wasm_const_environment environment = {global_value, ref_value, m};
    uint8_t value[16];
    int status = wasm_const_evaluate(m, span, &environment, value);
    assert(status == 0);
}

static void element_walk(const struct wasm_module *m, const struct wasm_element *element)
{
    struct wasm_element_item item;
    uint32_t cursor = element->items.offset, count = 0;
    while (wasm_element_next(m, element, &cursor, &item)) {
        count++;
        assert(item.function == UINT32_MAX || item.function < m->function_count);
        assert(item.global == UINT32_MAX || item.global < m->imported_globals);
    }
    assert(count == element->count);
}

static void module_walk(struct wasm_module *m)
{
    for (uint32_t i = m->imported_globals; i < m->global_count; i++)
        constant_walk(m, m->globals[i].init);
    for (uint32_t i = 0; i < m->element_count; i++) {
        if (m->elements[i].mode == WASM_ACTIVE)
            constant_walk(m, m->elements[i].offset);
        element_walk(m, &m->elements[i]);
    }
    for (uint32_t i = 0; i < m->data_count; i++) {
        if (m->datas[i].mode == WASM_ACTIVE)
            constant_walk(m, m->datas[i].offset);
    }
    for (uint32_t i = 0; i < m->type_count; i++)
        assert(m->types[i].canonical <= i);
    for (uint32_t i = 0; i < m->function_count; i++) {
        struct wasm_span body = m->functions[i].body;
        struct wasm_span name = i < 16 ? wasm_function_name(m, i) : (struct wasm_span){0, 0};
        assert(m->functions[i].type < m->type_count);
        assert(body.offset + body.len <= m->len && name.offset + name.len <= m->len);
        assert(body.len == 0 || wasm_function_at(m, body.offset) == i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wasm_module m;
    struct error e;
    for (int skeleton = 0; skeleton < 2; skeleton++) {
        int status = (skeleton ? wasm_read_skeleton : wasm_read)(data, size, &m, &e);
        if (status == 0)
            module_walk(&m);
        else
            assert(e.code == status && status < 0 && strlen(e.text) > 10);
        wasm_module_free(&m);
    }
    return 0;
}
