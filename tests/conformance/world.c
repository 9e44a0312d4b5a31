/* See world.h. Used by script.c. */
#include "world.h"

#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"
#include "spectest.h"

#include <assert.h>
#include <stdlib.h>

/* An arena and what of it scripts can reach. */
struct place {
    struct arena *arena;
    struct instance *spectest, *spectest_shared;
    bool kept; /* holds a named or registered instance */
    struct place *next;
};

struct binding {
    struct world_name name;
    struct instance *instance;
    struct place *place;
    struct binding *next;
};

struct world {
    struct compiler *compiler;
    struct compile_options options;
    struct place *places;
    struct binding *names, *registered;
    struct instance *current;
    struct place *current_place;
};

struct world *world_create(struct compiler *compiler, const struct compile_options *options)
{
    struct world *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->compiler = compiler;
    w->options = *options;
    return w;
}

static void bindings_free(struct binding *b)
{
    while (b != NULL) {
        struct binding *next = b->next;
        free((void *)b->name.bytes);
        free(b);
        b = next;
    }
}

static void place_destroy(struct world *w, struct place *place)
{
    struct place **link = &w->places;
    while (*link != place)
        link = &(*link)->next;
    *link = place->next;
    arena_destroy(place->arena);
    free(place);
}

void world_destroy(struct world *w)
{
    if (w == NULL)
        return;
    bindings_free(w->names);
    bindings_free(w->registered);
    while (w->places != NULL)
        place_destroy(w, w->places);
    free(w);
}

static struct place *place_create(struct world *w, struct error *e)
{
    struct place *place = calloc(1, sizeof *place);
    if (place == NULL) {
        error_set(e, ATOLL_ENOMEM, "no memory for another arena");
        return NULL;
    }
    struct arena_limits limits = {.table_entries = WASM_MAX_TABLE_ENTRIES};
    if (arena_create(SLOT_ANY, &limits, &place->arena, e) != 0) {
        free(place);
        return NULL;
    }
    place->next = w->places;
    w->places = place;
    return place;
}

static const struct binding *binding_find(const struct binding *b, struct world_name name)
{
    while (b != NULL &&
           (b->name.len != name.len || memcmp(b->name.bytes, name.bytes, name.len) != 0))
        b = b->next;
    return b;
}

/* The newest binding of a name wins, as binding_find walks from the newest. */
static int binding_add(struct binding **list, struct world_name name, struct instance *instance,
                       struct place *place, struct error *e)
{
    struct binding *b = calloc(1, sizeof *b);
    uint8_t *bytes = malloc(name.len + 1);
    if (b == NULL || bytes == NULL) {
        free(b);
        free(bytes);
        return error_set(e, ATOLL_ENOMEM, "no memory for the name of an instance");
    }
    memcpy(bytes, name.bytes, name.len);
    *b = (struct binding){{bytes, name.len}, instance, place, *list};
    *list = b;
    place->kept = true;
    return 0;
}

struct instance *world_find(const struct world *w, struct world_name name)
{
    if (name.len == 0)
        return w->current;
    const struct binding *b = binding_find(w->names, name);
    return b != NULL ? b->instance : NULL;
}

int world_register(struct world *w, struct world_name name, struct world_name as, struct error *e)
{
    struct instance *instance = w->current;
    struct place *place = w->current_place;
    if (name.len != 0) {
        const struct binding *b = binding_find(w->names, name);
        instance = b != NULL ? b->instance : NULL;
        place = b != NULL ? b->place : NULL;
    }
    if (instance == NULL)
        return error_set(e, ATOLL_ENOENT, "there is no such instance to register");
    return binding_add(&w->registered, as, instance, place, e);
}

static struct world_name import_name(const struct wasm_module *m, struct wasm_span span)
{
    return (struct world_name){m->bytes + span.offset, span.len};
}

static bool name_is(struct world_name name, const char *text)
{
    return name.len == strlen(text) && memcmp(name.bytes, text, name.len) == 0;
}

/* Compiles for the arena as it is now, and links. *out may be set when the code is -ATOLL_ETRAP. */
static int place_link(struct world *w, struct place *place, const uint8_t *wasm, size_t len,
                      const struct wasm_module *m, const struct link_import *imports,
                      bool prefer_linked, struct instance **out, struct error *e)
{
    struct compile_options options = w->options;
    struct artefact *artefact;
    options.link = (uint8_t)arena_link_mode(place->arena, m, imports, prefer_linked);
    int code = compiler_load(w->compiler, wasm, len, &options, &artefact, NULL, e);
    if (code != 0)
        return code;
    code = instance_create(place->arena, artefact, imports, m->import_count, out, e);
    artefact_release(artefact);
    return code;
}

static int place_add_spectest(struct world *w, struct place *place, bool shared, bool prefer_linked,
                              struct instance **out, struct error *e)
{
    struct module_writer writer = {0};
    struct wasm_module m;
    shared ? spectest_write_shared(&writer) : spectest_write(&writer);
    int code = wasm_read(writer.bytes.data, writer.bytes.len, &m, e);
    if (code == 0) {
        struct link_import imports[16] = {0};
        assert(m.import_count <= 16);
        for (uint32_t i = 0; i < m.import_count; i++)
            imports[i] = (struct link_import){.how = LINK_HOST, .function = spectest_print};
        code = place_link(w, place, writer.bytes.data, writer.bytes.len, &m, imports, prefer_linked,
                          out, e);
        wasm_module_free(&m);
    }
    module_writer_free(&writer);
    if (code != 0)
        error_prefix(e, "spectest");
    return code;
}

/* A script's module is to be the primary instance of its arena; but where it runs in the memory of
 * spectest, exact mode links it to a memory elsewhere (explicit bounds) and fast mode to memory 0
 * of the arena (guard pages), so that both ways of sharing a memory are run. */
static bool spectest_stays_linked(const struct world *w, const struct wasm_module *m)
{
    if (w->options.mode == MODE_EXACT)
        return true;
    for (uint32_t i = 0; i < m->import_count; i++)
        if (m->imports[i].kind == WASM_KIND_MEMORY)
            return false;
    return true;
}

/* The spectest instance that exports the name, made if need be. */
static int place_spectest(struct world *w, struct place *place, const struct wasm_module *m,
                          struct world_name export, struct instance **out, struct error *e)
{
    bool shared = name_is(export, "shared_memory");
    struct instance **kept = shared ? &place->spectest_shared : &place->spectest;
    if (*kept == NULL) {
        int code = place_add_spectest(w, place, shared, spectest_stays_linked(w, m), kept, e);
        if (code != 0)
            return code;
    }
    *out = *kept;
    return 0;
}

/* The arena of the instances the module imports from, or a new one. */
static struct place *module_place(struct world *w, const struct wasm_module *m, struct error *e)
{
    struct place *place = NULL;
    for (uint32_t i = 0; i < m->import_count; i++) {
        const struct binding *b = binding_find(w->registered, import_name(m, m->imports[i].module));
        if (b == NULL)
            continue;
        if (place != NULL && place != b->place) {
            error_set(e, ATOLL_EUNSUPPORTED, "the module imports from two arenas");
            return NULL;
        }
        place = b->place;
    }
    return place != NULL ? place : place_create(w, e);
}

static int import_resolve(struct world *w, struct place *place, const struct wasm_module *m,
                          uint32_t index, struct link_import *out, struct error *e)
{
    const struct wasm_import *import = &m->imports[index];
    struct world_name module = import_name(m, import->module), name = import_name(m, import->name);
    const struct binding *b = binding_find(w->registered, module);
    struct instance *from = b != NULL ? b->instance : NULL;
    *out = (struct link_import){.how = LINK_UNRESOLVED};
    if (from == NULL && name_is(module, "spectest")) {
        int code = place_spectest(w, place, m, name, &from, e);
        if (code != 0)
            return code;
    }
    if (from == NULL)
        return 0;
    int kind = instance_export(from, (const char *)name.bytes, name.len, &out->index);
    if (kind < 0)
        return 0;
    if (kind != import->kind)
        return error_set(e, ATOLL_ELINK, "incompatible import type: \"%.*s\" is of another kind",
                         (int)name.len, (const char *)name.bytes);
    out->how = LINK_EXPORT;
    out->from = from;
    return 0;
}

static int start_run(struct instance *instance, struct error *e)
{
    static struct run_result run;
    int code = instance_start(instance, &run, e);
    if (code != 0 || run.status == RUN_DONE)
        return code;
    if (run.status != RUN_TRAP)
        return error_set(e, ATOLL_ETRAP, "the start function ended with run status %d", run.status);
    return error_set(e, ATOLL_ETRAP, "the start function trapped: %s",
                     trap_kind_name(run.trap.kind));
}

static int module_instantiate(struct world *w, struct place *place, const struct wasm_module *m,
                              struct instance **out, struct error *e)
{
    int code = 0;
    struct link_import *imports = calloc(m->import_count + 1u, sizeof *imports);
    if (imports == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for %u imports", m->import_count);
    for (uint32_t i = 0; i < m->import_count && code == 0; i++)
        code = import_resolve(w, place, m, i, &imports[i], e);
    if (code == 0)
        code = place_link(w, place, m->bytes, m->len, m, imports, false, out, e);
    if (code == 0)
        code = start_run(*out, e);
    free(imports);
    return code;
}

/* Arenas that no name leads to live until the next module. */
static void current_replace(struct world *w, struct instance *instance, struct place *place)
{
    struct place *old = w->current_place;
    w->current = instance;
    w->current_place = place;
    if (old != NULL && old != place && !old->kept)
        place_destroy(w, old);
}

int world_instantiate(struct world *w, const uint8_t *wasm, size_t len, struct world_name name,
                      struct error *e)
{
    struct wasm_module m;
    int code = wasm_read(wasm, len, &m, e);
    if (code != 0)
        return code;
    code = wasm_validate(&m, e);
    if (code != 0) {
        wasm_module_free(&m);
        return code;
    }
    struct instance *instance = NULL;
    struct place *place = module_place(w, &m, e);
    if (place == NULL) {
        wasm_module_free(&m);
        return e->code;
    }
    code = module_instantiate(w, place, &m, &instance, e);
    wasm_module_free(&m);
    if (code == 0 && name.len != 0)
        code = binding_add(&w->names, name, instance, place, e);
    if (code == 0)
        current_replace(w, instance, place);
    else if (!place->kept && place != w->current_place)
        place_destroy(w, place);
    return code;
}
