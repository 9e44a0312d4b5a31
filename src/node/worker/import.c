/*
 * From the imports of a module to host functions: WASI preview 1, and the module "atoll".
 *
 * An import that is neither is refused when the version is loaded, together with all others of its
 * kind; with allow_unknown_imports it becomes a stub that traps when it is called.
 */
#include "node/worker/process.h"

#include <stdio.h>
#include <stdlib.h>

#define MODULE    "atoll"
#define NAMED_MAX 12u /* unknown imports that a message names */

static const struct import_entry *const tables[] = {
    imports_call,          imports_chain,  imports_batch, imports_await,
    imports_result,        imports_object, imports_state, imports_state_bytes,
    imports_state_entries, imports_system, imports_net,
};

static bool span_is(const struct wasm_module *m, struct wasm_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(m->bytes + span.offset, text, span.len) == 0;
}

static uint8_t type_of_letter(char letter)
{
    switch (letter) {
    case 'i': return WASM_I32;
    case 'l': return WASM_I64;
    case 'f': return WASM_F32;
    default: return WASM_F64;
    }
}

static bool signature_is(struct wasm_signature s, const char *text)
{
    const char *colon = strchr(text, ':');
    size_t params = (size_t)(colon - text), results = strlen(colon + 1);
    if (s.param_count != params || s.result_count != results)
        return false;
    for (size_t k = 0; k < params; k++)
        if (s.params[k] != type_of_letter(text[k]))
            return false;
    return results == 0 || s.results[0] == type_of_letter(colon[1]);
}

static const struct import_entry *entry_find(const struct wasm_module *m,
                                             const struct wasm_import *import)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct import_entry *entry = tables[t]; entry->name; entry++)
            if (span_is(m, import->name, entry->name))
                return entry;
    return NULL;
}

static enum host_status stub(struct host_call *c)
{
    snprintf(c->message, sizeof c->message,
             "an import that this node does not have was called (allow_unknown_imports)");
    return HOST_TRAP;
}

/* 1 when it is found, 0 when it is unknown. */
static int import_resolve(const struct wasm_module *m, const struct wasm_import *import,
                          struct wasi *wasi, struct link_import *out, struct error *e)
{
    struct wasm_signature signature;
    *out = (struct link_import){.how = LINK_UNRESOLVED};
    if (import->kind != WASM_KIND_FUNC)
        return 0;
    signature = wasm_function_signature(m, import->index);
    out->how = LINK_HOST;
    if (!span_is(m, import->module, MODULE)) {
        int rc = wasi_resolve(wasi, (const char *)m->bytes + import->module.offset,
                              import->module.len, (const char *)m->bytes + import->name.offset,
                              import->name.len, &signature, &out->function, &out->data, e);
        if (rc == 0)
            out->function = wasi_shape((const char *)m->bytes + import->name.offset,
                                       import->name.len, out->function);
        bool wrong_type = rc < 0 && strstr(e->text, "incompatible import type");
        return rc == 0 ? 1 : wrong_type ? rc : 0;
    }
    const struct import_entry *entry = entry_find(m, import);
    if (!entry)
        return 0;
    if (!signature_is(signature, entry->signature))
        return error_set(e, ATOLL_ELINK,
                         "incompatible import type: atoll.%s has another signature here; rebuild "
                         "the module with this version's atoll.h",
                         entry->name);
    out->function = entry->function;
    return 1;
}

/* "a.b, c.d and 3 more" */
static void unknown_name(const struct wasm_module *m, const struct wasm_import *import,
                         uint32_t count, struct error *e)
{
    size_t used = strlen(e->text);
    if (count > NAMED_MAX)
        return;
    snprintf(e->text + used, sizeof e->text - used, "%s%.*s.%.*s", count > 1 ? ", " : "",
             (int)(import->module.len < 48 ? import->module.len : 48),
             (const char *)m->bytes + import->module.offset,
             (int)(import->name.len < 64 ? import->name.len : 64),
             (const char *)m->bytes + import->name.offset);
}

int imports_resolve(const struct wasm_module *m, struct wasi *wasi, bool allow_unknown,
                    struct link_import **out, struct error *e)
{
    struct error unknown;
    uint32_t count = 0;
    struct link_import *links = calloc(m->import_count + 1u, sizeof *links);
    if (!links)
        return error_set(e, ATOLL_ENOMEM, "no memory to link a module");
    error_set(&unknown, ATOLL_ELINK, "unknown imports: ");
    for (uint32_t k = 0; k < m->import_count; k++) {
        int rc = import_resolve(m, &m->imports[k], wasi, &links[k], e);
        if (rc < 0) {
            free(links);
            return rc;
        }
        if (rc == 1)
            continue;
        if (allow_unknown && m->imports[k].kind == WASM_KIND_FUNC)
            links[k] = (struct link_import){.how = LINK_HOST, .function = stub};
        else
            unknown_name(m, &m->imports[k], ++count, &unknown);
    }
    if (count == 0) {
        *out = links;
        return 0;
    }
    free(links);
    *e = unknown;
    if (count > NAMED_MAX) {
        size_t used = strlen(e->text);
        snprintf(e->text + used, sizeof e->text - used, " and %u more", count - NAMED_MAX);
    }
    return e->code;
}
