/*
 * Numbers of function types, equal for equal types within an arena: what call_indirect compares.
 *
 * The primary module's numbers are constants in its code (canonical index + 1). Linked modules get
 * the primary's number for an equal type and otherwise numbers from INTERNED up, which change when
 * a primary with that type comes later.
 */
#include "engine/link.h"

#include <stdlib.h>
#include <string.h>

#define INTERNED (1ull << 32)

struct interned_type {
    uint64_t number;
    uint32_t param_count, result_count;
    uint8_t *types; /* parameters, then results */
};

bool signature_equal(struct wasm_signature a, struct wasm_signature b)
{
    return a.param_count == b.param_count && a.result_count == b.result_count &&
           memcmp(a.params, b.params, a.param_count) == 0 &&
           memcmp(a.results, b.results, a.result_count) == 0;
}

static struct wasm_signature interned_signature(const struct interned_type *t)
{
    return (struct wasm_signature){t->types, t->types + t->param_count, t->param_count,
                                   t->result_count};
}

/* The primary's number of an equal type, 0 = none. */
static uint64_t primary_number(const struct arena *a, struct wasm_signature s)
{
    const struct wasm_module *m = a->primary ? &a->primary->artefact->module : NULL;
    for (uint32_t t = 0; m && t < m->type_count; t++)
        if (m->types[t].canonical == t && signature_equal(wasm_type_signature(m, t), s))
            return abi_primary_signature(m, t);
    return 0;
}

uint64_t type_intern(struct arena *a, struct wasm_signature s, uint64_t known)
{
    for (uint32_t t = 0; t < a->type_count; t++)
        if (signature_equal(interned_signature(&a->types[t]), s))
            return a->types[t].number;
    if (a->type_count == a->type_capacity) {
        uint32_t capacity = a->type_capacity ? 2 * a->type_capacity : 16;
        struct interned_type *grown = realloc(a->types, capacity * sizeof *grown);
        if (!grown)
            return 0;
        a->types = grown;
        a->type_capacity = capacity;
    }
    struct interned_type *t = &a->types[a->type_count];
    t->types = malloc((size_t)s.param_count + s.result_count + 1);
    if (!t->types)
        return 0;
    memcpy(t->types, s.params, s.param_count);
    memcpy(t->types + s.param_count, s.results, s.result_count);
    t->param_count = s.param_count;
    t->result_count = s.result_count;
    uint64_t number = known ? known : primary_number(a, s);
    t->number = number ? number : INTERNED + a->type_count;
    a->type_count++;
    return t->number;
}

void arena_types_free(struct arena *a)
{
    for (uint32_t t = 0; t < a->type_count; t++)
        free(a->types[t].types);
    free(a->types);
}

void types_renumber(struct arena *a)
{
    for (uint32_t t = 0; t < a->type_count; t++) {
        uint64_t old = a->types[t].number;
        uint64_t number = primary_number(a, interned_signature(&a->types[t]));
        if (!number)
            continue;
        a->types[t].number = number;
        for (uint32_t k = 0; k < a->instance_count; k++) {
            struct instance *i = a->instances[k];
            const struct wasm_module *m = &i->artefact->module;
            if (i == a->primary || !i->signatures)
                continue;
            uint64_t *fields = (uint64_t *)(void *)(i->vm - i->artefact->layout.signatures);
            for (uint32_t n = 0; n < m->type_count; n++)
                if (fields[n] == old)
                    fields[n] = i->signatures[n] = number;
            for (uint32_t r = 0; r < i->artefact->layout.record_count; r++)
                if (instance_records(i)[r].signature == old)
                    instance_records(i)[r].signature = number;
            for (uint32_t f = 0; f < m->imported_functions; f++)
                if (instance_imports(i)[f].signature == old)
                    instance_imports(i)[f].signature = number;
            for (uint32_t n = m->imported_tables; n < m->table_count; n++) {
                struct table_descriptor *d = instance_table(i, n);
                for (uint64_t s = 0; s < d->size; s++)
                    if (table_entries(i, d)[s].signature == old)
                        table_entries(i, d)[s].signature = number;
            }
        }
    }
}
