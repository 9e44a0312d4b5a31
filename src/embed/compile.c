/* Compiling and artefacts as embedders see them. ATOLL_CC_INSTALLED comes from the build: where
 * `make install` puts the compiler. */
#include "embed/embed.h"

#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <unistd.h>

_Static_assert((int)ATOLL_FUNCTION == (int)WASM_KIND_FUNC, "one numbering");
_Static_assert((int)ATOLL_GLOBAL == (int)WASM_KIND_GLOBAL, "one numbering");

static struct compiler *compiler_inside(const struct atoll_compiler *c)
{
    return (struct compiler *)(uintptr_t)c;
}

int atoll_compiler_create(const struct atoll_compiler_settings *given, struct atoll_compiler **out,
                          struct atoll_error *error)
{
    struct error e = {0};
    struct compiler_settings settings = {0};
    struct compiler *compiler;
    *out = NULL;
    if (given)
        settings = (struct compiler_settings){.program = given->program,
                                              .cache = given->cache,
                                              .cache_limit = given->cache_limit,
                                              .parallel = given->parallel,
                                              .progress = given->progress,
                                              .progress_context = given->progress_context};
    int rc = compiler_create(&settings, &compiler, &e);
    /* The embedding program need not lie beside the compiler. */
    if (rc == -ATOLL_ENOENT && !settings.program && access(ATOLL_CC_INSTALLED, X_OK) == 0) {
        settings.program = ATOLL_CC_INSTALLED;
        rc = compiler_create(&settings, &compiler, &e);
    }
    if (rc < 0)
        return error_give(error, &e);
    *out = (struct atoll_compiler *)compiler;
    return 0;
}

void atoll_compiler_destroy(struct atoll_compiler *c)
{
    compiler_destroy(compiler_inside(c));
}

const char *atoll_compiler_warning(const struct atoll_compiler *c)
{
    return compiler_warning(compiler_inside(c));
}

/* ---- compiling ---- */

static int options_inside(const struct atoll_compile_options *given, struct compile_options *out,
                          struct error *e)
{
    static const uint8_t tiers[] = {TIER_OPT, TIER_QUICK};
    static const uint8_t modes[] = {MODE_FAST, MODE_EXACT};
    static const uint8_t levels[] = {CPU_V3, CPU_V2, CPU_V4, CPU_NATIVE};
    static const uint8_t links[] = {LINK_PRIMARY, LINK_SHARED, LINK_OTHER};
    static const struct atoll_compile_options none;
    const struct atoll_compile_options *o = given ? given : &none;
    if ((unsigned)o->tier >= sizeof tiers || (unsigned)o->mode >= sizeof modes ||
        (unsigned)o->cpu >= sizeof levels || (unsigned)o->link >= sizeof links)
        return error_set(e, ATOLL_EINVAL, "unknown compile options");
    *out = (struct compile_options){.tier = tiers[o->tier],
                                    .mode = modes[o->mode],
                                    .cpu = levels[o->cpu],
                                    .link = links[o->link],
                                    .fuel = o->fuel,
                                    .deterministic = o->deterministic,
                                    .tail_calls = o->tail_calls};
    return 0;
}

/* Modules with tail calls have another calling convention, which is part of the key. Only the
 * compiler looks into a module, so both are looked for, and the compiler's refusal decides. */
static int artefact_find(struct compiler *c, const uint8_t *wasm, size_t len,
                         struct compile_options *options, struct artefact **out, bool *cached,
                         struct error *e)
{
    uint8_t sha256[HASH_LEN];
    hash_sha256(wasm, len, sha256);
    *cached = true;
    for (int convention = options->tail_calls; convention < 2; convention++) {
        options->tail_calls = convention;
        int rc = compiler_lookup(c, sha256, options, out, e);
        if (rc != -ATOLL_ENOENT)
            return rc;
    }
    return -ATOLL_ENOENT;
}

static int artefact_get(struct compiler *c, const uint8_t *wasm, size_t len,
                        const struct compile_options *options, struct artefact **out, bool *cached,
                        struct error *e)
{
    struct compile_options o = *options;
    int rc = artefact_find(c, wasm, len, &o, out, cached, e);
    if (rc != -ATOLL_ENOENT)
        return rc;
    o = *options;
    rc = compiler_load(c, wasm, len, &o, out, cached, e);
    if (rc != -ATOLL_EUNSUPPORTED || o.tail_calls)
        return rc;
    o.tail_calls = true;
    return compiler_load(c, wasm, len, &o, out, cached, e);
}

int atoll_compile(struct atoll_compiler *c, const void *wasm, size_t len,
                  const struct atoll_compile_options *given, struct atoll_artefact **out,
                  bool *cached, struct atoll_error *error)
{
    struct error e = {0};
    struct compile_options options;
    struct artefact *artefact;
    bool hit = false;
    *out = NULL;
    int rc = options_inside(given, &options, &e);
    if (rc == 0)
        rc = artefact_get(compiler_inside(c), wasm, len, &options, &artefact, &hit, &e);
    if (cached)
        *cached = hit && rc == 0;
    if (rc < 0)
        return error_give(error, &e);
    *out = (struct atoll_artefact *)artefact;
    return 0;
}

int atoll_validate(const void *wasm, size_t len, struct atoll_error *error)
{
    struct error e = {0};
    struct wasm_module module;
    if (wasm_read(wasm, len, &module, &e) == 0) {
        wasm_validate(&module, &e);
        wasm_module_free(&module);
    }
    return error_give(error, &e);
}

/* ---- artefacts ---- */

int atoll_artefact_open(const char *path, struct atoll_artefact **out, struct atoll_error *error)
{
    struct error e = {0};
    struct artefact *artefact;
    *out = NULL;
    if (artefact_load(path, &artefact, &e) < 0)
        return error_give(error, &e);
    *out = (struct atoll_artefact *)artefact;
    return 0;
}

int atoll_artefact_save(const struct atoll_artefact *a, const char *path, struct atoll_error *error)
{
    struct error e = {0};
    return artefact_save(artefact_inside(a), path, &e) < 0 ? error_give(error, &e) : 0;
}

struct atoll_artefact *atoll_artefact_retain(struct atoll_artefact *a)
{
    return (struct atoll_artefact *)artefact_retain(artefact_inside(a));
}

void atoll_artefact_release(struct atoll_artefact *a)
{
    artefact_release(artefact_inside(a));
}

/* ---- what they import and export ---- */

static int out_of_range(struct atoll_error *error, const char *what, uint32_t number)
{
    struct error e;
    error_set(&e, ATOLL_ERANGE, "the module has no %s %u", what, number);
    return error_give(error, &e);
}

uint32_t atoll_artefact_import_count(const struct atoll_artefact *a)
{
    return artefact_inside(a)->module.import_count;
}

uint32_t atoll_artefact_export_count(const struct atoll_artefact *a)
{
    return artefact_inside(a)->module.export_count;
}

int atoll_artefact_import(const struct atoll_artefact *a, uint32_t number,
                          struct atoll_external *out, struct atoll_error *error)
{
    const struct wasm_module *m = &artefact_inside(a)->module;
    if (number >= m->import_count)
        return out_of_range(error, "import", number);
    const struct wasm_import *import = &m->imports[number];
    *out = (struct atoll_external){.kind = (enum atoll_kind)import->kind,
                                   .index = import->index,
                                   .module = (const char *)m->bytes + import->module.offset,
                                   .module_len = import->module.len,
                                   .name = (const char *)m->bytes + import->name.offset,
                                   .name_len = import->name.len};
    return 0;
}

int atoll_artefact_export(const struct atoll_artefact *a, uint32_t number,
                          struct atoll_external *out, struct atoll_error *error)
{
    const struct wasm_module *m = &artefact_inside(a)->module;
    if (number >= m->export_count)
        return out_of_range(error, "export", number);
    const struct wasm_export *export = &m->exports[number];
    *out = (struct atoll_external){.kind = (enum atoll_kind) export->kind,
                                   .index = export->index,
                                   .name = (const char *)m->bytes + export->name.offset,
                                   .name_len = export->name.len};
    return 0;
}

int atoll_artefact_function_type(const struct atoll_artefact *a, uint32_t function,
                                 struct atoll_function_type *out, struct atoll_error *error)
{
    const struct wasm_module *m = &artefact_inside(a)->module;
    if (function >= m->function_count)
        return out_of_range(error, "function", function);
    struct wasm_signature s = wasm_function_signature(m, function);
    *out = (struct atoll_function_type){.params = s.params,
                                        .results = s.results,
                                        .param_count = s.param_count,
                                        .result_count = s.result_count};
    return 0;
}
