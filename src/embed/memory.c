/* Guest memory and globals as embedders see them. */
#include "embed/embed.h"

int atoll_read(struct atoll_arena *a, void *to, uint32_t address, size_t len)
{
    return guest_read(a->arena, to, address, len);
}

int atoll_write(struct atoll_arena *a, uint32_t address, const void *from, size_t len)
{
    return guest_write(a->arena, address, from, len);
}

void *atoll_range_address(struct atoll_arena *a, uint32_t address, uint64_t len,
                          enum atoll_right right)
{
    return guest_range(a->arena, address, len, (enum guest_right)right);
}

uint8_t *atoll_memory(const struct atoll_instance *i)
{
    return instance_memory(instance_inside(i));
}

uint64_t atoll_memory_bytes(const struct atoll_instance *i)
{
    return instance_memory_bytes(instance_inside(i));
}

/* ---- globals ---- */

static int global_check(const struct instance *i, uint32_t index, struct error *e)
{
    return index < i->artefact->module.global_count
               ? 0
               : error_set(e, ATOLL_ERANGE, "the module has no global %u", index);
}

int atoll_global_get(const struct atoll_instance *instance, uint32_t index, struct atoll_val *out,
                     struct atoll_error *error)
{
    struct error e = {0};
    const struct instance *i = instance_inside(instance);
    if (global_check(i, index, &e) < 0)
        return error_give(error, &e);
    uint8_t value[16];
    instance_global(i, index, value);
    out->type = i->artefact->module.globals[index].type;
    memcpy(&out->of, value, sizeof out->of);
    if (out->type == WASM_EXTERNREF)
        out->of.ref = arena_externref_value(i->arena, out->of.ref);
    return 0;
}

static int global_set(struct instance *i, uint32_t index, const struct atoll_val *value,
                      struct error *e)
{
    int rc = global_check(i, index, e);
    if (rc < 0)
        return rc;
    const struct wasm_global *global = &i->artefact->module.globals[index];
    if (!global->mutable)
        return error_set(e, ATOLL_EPERM, "global %u is immutable", index);
    if (global->type != value->type)
        return error_set(e, ATOLL_ETYPE, "global %u is of type %s, not %s", index,
                         wasm_type_name(global->type), wasm_type_name(value->type));
    union atoll_slot bits = value->of;
    if (value->type == WASM_EXTERNREF && bits.ref &&
        !(bits.ref = arena_externref(i->arena, bits.ref)))
        return error_set(e, ATOLL_ELIMIT, "the arena can hold no more external references");
    uint8_t cell[16];
    memcpy(cell, &bits, sizeof cell);
    instance_global_set(i, index, cell);
    return 0;
}

int atoll_global_set(struct atoll_instance *i, uint32_t index, const struct atoll_val *value,
                     struct atoll_error *error)
{
    struct error e = {0};
    return global_set(instance_inside(i), index, value, &e) < 0 ? error_give(error, &e) : 0;
}
