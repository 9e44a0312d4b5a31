/*
 * Feeds modules to the validator with a sink that holds it to its promises: every delivered block
 * gets its end, else and end alone may be unreachable, nothing follows what cannot be left. The
 * verdict must be the same without a sink.
 */
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct witness {
    const struct wasm_module *m;
    uint32_t function, depth, offset;
    bool open, dead; /* dead: the last operator cannot fall through */
    bool is_if[WASM_MAX_NESTING + 1];
};

static int witness_begin(void *context, const struct wasm_module *m, uint32_t function,
                         const uint8_t *local_types, uint32_t local_count, struct error *e)
{
    struct witness *w = context;
    (void)e;
    assert(!w->open);
    for (uint32_t i = 0; i < local_count; i++)
        assert(strcmp(wasm_type_name(local_types[i]), "unknown type") != 0);
    assert(local_count >= wasm_function_signature(m, function).param_count);
    *w = (struct witness){.m = m, .function = function, .depth = 1, .open = true};
    return 0;
}

static bool leaves(uint32_t op)
{
    return op == WASM_OP_UNREACHABLE || op == WASM_OP_BR || op == WASM_OP_BR_TABLE ||
           op == WASM_OP_RETURN || op == WASM_OP_RETURN_CALL || op == WASM_OP_RETURN_CALL_INDIRECT;
}

static int witness_op(void *context, const struct wasm_op *op, struct error *e)
{
    struct witness *w = context;
    bool closes = op->op == WASM_OP_ELSE || op->op == WASM_OP_END;
    (void)e;
    assert(w->open && w->depth > 0 && wasm_op_name(op->op));
    assert(op->offset > w->offset && wasm_function_at(w->m, op->offset) == w->function);
    assert(closes ? op->reachable == !w->dead : op->reachable && !w->dead);
    w->offset = op->offset;
    w->dead = leaves(op->op);
    if (op->op == WASM_OP_BLOCK || op->op == WASM_OP_LOOP || op->op == WASM_OP_IF) {
        w->is_if[w->depth++] = op->op == WASM_OP_IF;
    } else if (op->op == WASM_OP_ELSE) {
        assert(w->is_if[w->depth - 1]);
        w->is_if[w->depth - 1] = false;
    } else if (op->op == WASM_OP_END) {
        w->depth--;
    } else if (op->op == WASM_OP_BR || op->op == WASM_OP_BR_IF) {
        assert(op->index < w->depth);
    } else if (op->op == WASM_OP_SELECT) {
        assert(op->type != WASM_ANY);
    }
    return 0;
}

static int witness_finish(void *context, struct error *e)
{
    struct witness *w = context;
    (void)e;
    assert(w->open && w->depth == 0);
    w->open = false;
    return 0;
}

static void module_validate(struct wasm_module *m)
{
    static struct witness witness;
    const struct wasm_sink sink = {&witness, witness_begin, witness_op, witness_finish};
    struct error e, again;
    struct wasm_validator *v = wasm_validator_create();
    assert(v);
    for (uint32_t f = m->imported_functions; f < m->function_count; f++) {
        uint32_t features = 0, features_again = 0;
        witness.open = false;
        int status = wasm_validate_function(m, v, f, &sink, &features, &e);
        assert(status == wasm_validate_function(m, v, f, NULL, &features_again, &again));
        assert(status != 0 || features == features_again);
        if (status != 0)
            assert(e.code == status && e.function == f && e.offset == again.offset);
    }
    wasm_validator_destroy(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wasm_module m;
    struct error e;
    if (wasm_read(data, size, &m, &e) != 0)
        return 0;
    int status = wasm_validate(&m, &e);
    assert(status == 0 || (e.code == status && strlen(e.text) > 10));
    module_validate(&m);
    wasm_module_free(&m);
    return 0;
}
