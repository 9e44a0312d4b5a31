/*
 * The validator's doors: a module outside its bodies, one function, the whole.
 *
 * A validator is working memory for one function at a time and belongs to one thread; modules are
 * only read, so several validators may work on one module. Rules that need an index space as it is
 * read (indices of types and functions, constant expressions, names of exports) are wasm_read's.
 */
#include "engine/wasm_validate.h"

#include "engine/wasm_const.h"
#include "engine/wasm_validator.h"

#include <assert.h>
#include <string.h>

struct wasm_validator *wasm_validator_create(void)
{
    /* Not calloc: most of it is the array of locals, which every function fills for itself. */
    struct wasm_validator *v = malloc(sizeof *v);
    if (v)
        memset(v, 0, offsetof(struct wasm_validator, locals));
    return v;
}

void wasm_validator_destroy(struct wasm_validator *v)
{
    if (!v)
        return;
    free(v->operands);
    free(v->frames);
    free(v->depths);
    free(v);
}

/* ---- the module outside its bodies ---- */

static int tables_validate(const struct wasm_module *m, struct error *e)
{
    for (uint32_t i = 0; i < m->table_count; i++) {
        const struct wasm_limits *limits = &m->tables[i].limits;
        if (limits->min > limits->max)
            return error_set(
                e, ATOLL_EINVALID,
                "size minimum must not be greater than maximum: table %u has %u and %u", i,
                limits->min, limits->max);
        if (limits->min > WASM_MAX_TABLE_ENTRIES)
            return error_set(e, ATOLL_ELIMIT,
                             "table %u begins with %u entries, more than the limit of %u", i,
                             limits->min, WASM_MAX_TABLE_ENTRIES);
    }
    return 0;
}

static int memories_validate(const struct wasm_module *m, struct error *e)
{
    for (uint32_t i = 0; i < m->memory_count; i++) {
        const struct wasm_limits *limits = &m->memories[i].limits;
        if (limits->min > WASM_MAX_MEMORY_PAGES ||
            (limits->has_max && limits->max > WASM_MAX_MEMORY_PAGES))
            return error_set(
                e, ATOLL_EINVALID,
                "memory size must be at most %u pages (4 GiB): memory %u asks for more",
                WASM_MAX_MEMORY_PAGES, i);
        if (limits->min > limits->max)
            return error_set(e, ATOLL_EINVALID,
                             "size minimum must not be greater than maximum: memory %u has %u and "
                             "%u pages",
                             i, limits->min, limits->max);
    }
    return 0;
}

static int elements_validate(const struct wasm_module *m, struct error *e)
{
    for (uint32_t i = 0; i < m->element_count; i++) {
        const struct wasm_element *element = &m->elements[i];
        if (element->mode != WASM_ACTIVE)
            continue;
        if (element->table >= m->table_count)
            return error_set_at(e, ATOLL_EINVALID, element->offset.offset, UINT32_MAX,
                                "unknown table %u in element segment %u", element->table, i);
        uint8_t type = m->tables[element->table].type;
        if (type != element->type)
            return error_set_at(e, ATOLL_EINVALID, element->offset.offset, UINT32_MAX,
                                "type mismatch: element segment %u of %s for a table of %s", i,
                                wasm_type_name(element->type), wasm_type_name(type));
    }
    return 0;
}

static int datas_validate(const struct wasm_module *m, struct error *e)
{
    for (uint32_t i = 0; i < m->data_count; i++) {
        const struct wasm_data *data = &m->datas[i];
        if (data->mode == WASM_ACTIVE && data->memory >= m->memory_count)
            return error_set_at(e, ATOLL_EINVALID, data->offset.offset, UINT32_MAX,
                                "unknown memory %u in data segment %u", data->memory, i);
    }
    return 0;
}

static int start_validate(const struct wasm_module *m, struct error *e)
{
    if (m->start == UINT32_MAX)
        return 0;
    struct wasm_signature s = wasm_function_signature(m, m->start);
    if (s.param_count == 0 && s.result_count == 0)
        return 0;
    return error_set(e, ATOLL_EINVALID,
                     "start function: function %u must have no parameters and no results",
                     m->start);
}

int wasm_validate_module(struct wasm_module *m, struct error *e)
{
    int (*const rules[])(const struct wasm_module *, struct error *) = {
        tables_validate, memories_validate, elements_validate, datas_validate, start_validate,
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        int status = rules[i](m, e);
        if (status != 0)
            return status;
    }
    return 0;
}

/* ---- one function ---- */

/* Writes a run of locals, once it is known to fit. */
static void locals_add(struct wasm_validator *v, uint32_t count, uint8_t type)
{
    memset(v->locals + v->local_count, type, count);
    v->local_count += count;
    if (type == WASM_V128)
        v->features |= WASM_FEATURE_SIMD;
    if (wasm_is_reference(type))
        v->features |= WASM_FEATURE_REFERENCE_TYPES;
}

/* Reads the runs of declared locals. Six bytes can declare 4 G of them: a run is written only while
 * the sum is within the limit, and the rest is read only to tell a limit from a malformed body. */
static bool locals_read(struct wasm_validator *v, const struct wasm_signature *s)
{
    struct wasm_cursor *c = &v->cursor;
    const uint8_t *start = c->at;
    memcpy(v->locals, s->params, s->param_count);
    v->local_count = s->param_count;
    uint64_t declared = 0;
    uint32_t runs = wasm_cursor_u32(c);
    for (uint32_t i = 0; i < runs && !c->failed; i++) {
        uint32_t count = wasm_cursor_u32(c);
        uint8_t type = wasm_cursor_value_type(c);
        declared += count;
        if (!c->failed && declared + s->param_count <= WASM_MAX_LOCALS)
            locals_add(v, count, type);
    }
    if (declared > UINT32_MAX)
        wasm_cursor_report(c, ATOLL_EMALFORMED, start, "too many locals: %llu are declared",
                           (unsigned long long)declared);
    else if (declared + s->param_count > WASM_MAX_LOCALS)
        wasm_cursor_report(c, ATOLL_ELIMIT, start,
                           "%llu parameters and locals are more than the limit of %u",
                           (unsigned long long)declared + s->param_count, WASM_MAX_LOCALS);
    return !c->failed;
}

static bool body_validate(struct wasm_validator *v, uint32_t function,
                          const struct wasm_signature *s)
{
    const struct wasm_sink *sink = v->sink;
    if (!locals_read(v, s))
        return false;
    if (sink && sink->begin) {
        v->sink_status = sink->begin(sink->context, v->module, function, v->locals, v->local_count,
                                     v->cursor.error);
        if (v->sink_status != 0)
            return false;
    }
    v->live = sink && sink->op;
    v->op_at = v->cursor.at;
    if (!frame_push(v, WASM_OP_BLOCK, *s, wasm_cursor_offset(&v->cursor)) || !validator_walk(v))
        return false;
    if (sink && sink->finish)
        v->sink_status = sink->finish(sink->context, v->cursor.error);
    return v->sink_status == 0;
}

int wasm_validate_function(const struct wasm_module *m, struct wasm_validator *v, uint32_t function,
                           const struct wasm_sink *sink, uint32_t *features, struct error *e)
{
    assert(function >= m->imported_functions && function < m->function_count);
    struct wasm_span body = m->functions[function].body;
    struct wasm_signature s = wasm_function_signature(m, function);
    v->module = m;
    v->sink = sink;
    v->cursor = (struct wasm_cursor){
        .base = m->bytes,
        .at = m->bytes + body.offset,
        .end = m->bytes + body.offset + body.len,
        .error = e,
    };
    v->operand_count = v->frame_count = v->features = 0;
    v->sink_status = 0;
    bool valid = body_validate(v, function, &s);
    *features |= v->features;
    if (valid)
        return 0;
    if (!v->cursor.failed)
        return v->sink_status;
    e->function = function;
    return e->code;
}

/* ---- the whole ---- */

int wasm_validate(struct wasm_module *m, struct error *e)
{
    int status = wasm_validate_module(m, e);
    if (status != 0)
        return status;
    struct wasm_validator *v = wasm_validator_create();
    if (!v)
        return error_set(e, ATOLL_ENOMEM, "out of memory for a validator");
    for (uint32_t f = m->imported_functions; f < m->function_count && status == 0; f++)
        status = wasm_validate_function(m, v, f, NULL, &m->features, e);
    wasm_validator_destroy(v);
    return status;
}
