/* Linking as embedders see it: offers by name become imports in order. */
#include "embed/embed.h"

#include "engine/wasm_read.h"

#include <stdlib.h>

static int offer_from_instance(const struct arena *arena, const struct wasm_module *m,
                               const struct wasm_import *import, const struct atoll_import *offer,
                               struct link_import *out, struct error *e)
{
    struct instance *from = instance_inside(offer->from);
    const char *name = offer->export_name;
    size_t len = name ? strlen(name) : import->name.len;
    if (!name)
        name = (const char *)m->bytes + import->name.offset;
    if (instance_arena(from) != arena)
        return error_set(e, ATOLL_EINVAL,
                         "the instance offered for %s.* lives in another arena than the module",
                         offer->module);
    int kind = instance_export(from, name, len, &out->index);
    if (kind != import->kind)
        return error_set(e, ATOLL_ELINK, "%s: %s.%.*s",
                         kind < 0 ? "unknown import" : "incompatible import type", offer->module,
                         (int)(import->name.len < 200 ? import->name.len : 200),
                         (const char *)m->bytes + import->name.offset);
    out->how = LINK_EXPORT;
    out->from = from;
    return 0;
}

/* Where the module's imports come from. bindings NULL: only the exports of instances matter, and
 * what is missing stays unresolved. *out is malloc'ed for the caller. */
static int imports_resolve(const struct atoll_arena *a, const struct wasm_module *m,
                           const struct atoll_import *offers, size_t count,
                           struct bindings **bindings, struct link_import **out, struct error *e)
{
    struct link_import *links = calloc(m->import_count + 1ull, sizeof *links);
    struct bound *bound = bindings ? bindings_add(bindings, m->import_count) : NULL;
    int rc = links && (bound || !bindings) ? 0 : error_set(e, ATOLL_ENOMEM, "no memory to link");
    for (uint32_t k = 0; rc == 0 && k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        const struct atoll_import *offer = offer_find(m, import, offers, count);
        links[k].how = LINK_HOST;
        if (offer && offer->from)
            rc = offer_from_instance(a->arena, m, import, offer, &links[k], e);
        else if (bindings)
            rc = import_bind(m, import, offer, a->wasi != NULL, &bound[k], &links[k].function,
                             &links[k].data, e);
    }
    if (rc < 0) {
        free(links);
        return rc;
    }
    *out = links;
    return 0;
}

int atoll_link_mode(const struct atoll_arena *a, const void *wasm, size_t len,
                    const struct atoll_import *offers, size_t count, bool prefer_linked,
                    enum atoll_link *out, struct atoll_error *error)
{
    static const enum atoll_link modes[] = {[LINK_PRIMARY] = ATOLL_LINK_PRIMARY,
                                            [LINK_SHARED] = ATOLL_LINK_SHARED,
                                            [LINK_OTHER] = ATOLL_LINK_OTHER};
    struct error e = {0};
    struct wasm_module m;
    struct link_import *links = NULL;
    if (wasm_read(wasm, len, &m, &e) < 0)
        return error_give(error, &e);
    if (imports_resolve(a, &m, offers, count, NULL, &links, &e) == 0)
        *out = modes[arena_link_mode(a->arena, &m, links, prefer_linked)];
    free(links);
    wasm_module_free(&m);
    return e.code ? error_give(error, &e) : 0;
}

static int link_check(const struct atoll_arena *a, const struct artefact *artefact,
                      const struct link_import *links, struct error *e)
{
    enum link_mode mode = (enum link_mode)artefact->options.link;
    if (mode == LINK_PRIMARY && a->arena->primary)
        return error_set(e, ATOLL_EBUSY,
                         "the arena has a primary module: compile this one in the mode that "
                         "atoll_link_mode tells");
    if (arena_link_mode(a->arena, &artefact->module, links, mode != LINK_PRIMARY) != mode)
        return error_set(e, ATOLL_ELINK,
                         "the module was compiled for another place among the modules of an arena: "
                         "compile it in the mode that atoll_link_mode tells");
    return 0;
}

static int link_in(struct atoll_arena *a, struct artefact *artefact,
                   const struct atoll_import *offers, size_t count, struct instance **out,
                   struct error *e)
{
    struct link_import *links;
    struct bindings *bindings = bindings_retain(a->bindings);
    int rc = imports_resolve(a, &artefact->module, offers, count, &bindings, &links, e);
    if (rc == 0) {
        rc = link_check(a, artefact, links, e);
        if (rc == 0) {
            /* Whatever becomes of the instance, its imports may be reachable from now on. */
            struct bindings *older = a->bindings;
            a->bindings = bindings;
            bindings = older;
            rc = instance_create(a->arena, artefact, links, artefact->module.import_count, out, e);
            a->broken = rc < 0 && rc != -ATOLL_ELINK && rc != -ATOLL_ETRAP;
        }
        free(links);
    }
    bindings_release(bindings);
    return rc;
}

int atoll_link(struct atoll_arena *a, struct atoll_artefact *artefact,
               const struct atoll_import *offers, size_t count, struct atoll_instance **out,
               struct atoll_error *error)
{
    struct error e = {0};
    struct instance *instance = NULL;
    *out = NULL;
    int rc = arena_check(a, &e);
    if (rc == 0 && (arena_suspended(a->arena) || a->tracker))
        rc = error_set(&e, ATOLL_EBUSY, "no module can be linked to an arena that is %s",
                       a->tracker ? "tracked: call atoll_dirty_stop" : "suspended");
    if (rc == 0)
        rc = link_in(a, artefact_inside(artefact), offers, count, &instance, &e);
    if (rc < 0)
        return error_give(error, &e);
    *out = instance_outside(instance);
    return 0;
}

struct atoll_arena *atoll_instance_arena(const struct atoll_instance *i)
{
    return arena_outside(instance_arena(instance_inside(i)));
}

const struct atoll_artefact *atoll_instance_artefact(const struct atoll_instance *i)
{
    return (const struct atoll_artefact *)instance_artefact(instance_inside(i));
}

static int export_find(const struct atoll_instance *i, const char *name, enum wasm_kind wanted,
                       const char *what, uint32_t *index, struct atoll_error *error)
{
    struct error e;
    int kind = instance_export(instance_inside(i), name, strlen(name), index);
    if (kind == (int)wanted)
        return 0;
    if (kind < 0)
        error_set(&e, ATOLL_ENOENT, "the module exports no %s \"%.200s\"", what, name);
    else
        error_set(&e, ATOLL_ETYPE, "the export \"%.200s\" is no %s", name, what);
    return error_give(error, &e);
}

int atoll_function(const struct atoll_instance *i, const char *name, uint32_t *index,
                   struct atoll_error *error)
{
    return export_find(i, name, WASM_KIND_FUNC, "function", index, error);
}

int atoll_global(const struct atoll_instance *i, const char *name, uint32_t *index,
                 struct atoll_error *error)
{
    return export_find(i, name, WASM_KIND_GLOBAL, "global", index, error);
}
