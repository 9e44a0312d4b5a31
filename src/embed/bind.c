/*
 * Imports bound to the embedder's functions and to WASI.
 *
 * The engine calls host functions with its own structures and the data pointer that was given when
 * the import was bound; snapshots keep that pointer. So it points to a record that belongs to no
 * arena, and what does belong to the calling arena, its WASI world among it, is found at the call.
 */
#include "embed/embed.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(union atoll_slot) == sizeof(union host_slot), "one layout");
_Static_assert(sizeof(struct atoll_park) == sizeof(struct host_park), "one layout");
_Static_assert(offsetof(struct atoll_park, deadline_ns) == offsetof(struct host_park, deadline_ns),
               "one layout");
_Static_assert(offsetof(struct atoll_park, fd_count) == offsetof(struct host_park, fd_count),
               "one layout");
_Static_assert(offsetof(struct atoll_park, fds) == offsetof(struct host_park, fds), "one layout");
_Static_assert(ATOLL_NO_DEADLINE == HOST_NO_DEADLINE && ATOLL_PARK_FDS == HOST_PARK_FDS,
               "one value");
_Static_assert((int)ATOLL_CALL_DONE == (int)HOST_DONE && (int)ATOLL_CALL_PARK == (int)HOST_PARK &&
                   (int)ATOLL_CALL_EXIT == (int)HOST_EXIT && (int)ATOLL_CALL_TRAP == (int)HOST_TRAP,
               "one numbering");
_Static_assert(sizeof((struct atoll_call){0}.message) == sizeof((struct host_call){0}.message),
               "one size");

/* ---- at the call ---- */

static enum host_status call_embedder(struct host_call *inside)
{
    const struct bound *b = inside->data;
    struct atoll_call call;
    call.arena = arena_outside(inside->arena);
    call.caller = instance_outside(inside->arena->caller);
    call.data = b->data;
    call.slots = (union atoll_slot *)(void *)inside->slots;
    call.park = (struct atoll_park *)(void *)inside->park;
    call.resumed = inside->resumed;
    call.exit_code = 0;
    call.message[0] = '\0';
    enum atoll_answer answer = b->function(&call);
    if (answer == ATOLL_CALL_EXIT)
        inside->exit_code = call.exit_code;
    if (answer == ATOLL_CALL_TRAP) {
        call.message[sizeof call.message - 1] = '\0';
        memcpy(inside->message, call.message, sizeof inside->message);
    }
    return (enum host_status)answer;
}

static enum host_status call_wasi(struct host_call *inside)
{
    const struct bound *b = inside->data;
    struct wasi *world = arena_outside(inside->arena)->wasi;
    if (!world) {
        snprintf(inside->message, sizeof inside->message,
                 "the arena has no WASI world: attach one before the call");
        return HOST_TRAP;
    }
    struct host_call call = *inside;
    call.data = world;
    enum host_status status = b->wasi(&call);
    inside->exit_code = call.exit_code;
    memcpy(inside->message, call.message, sizeof inside->message);
    return status;
}

/* ---- records ---- */

struct bound *bindings_add(struct bindings **list, uint32_t count)
{
    struct bindings *b = calloc(1, sizeof *b + count * sizeof *b->bound);
    if (!b)
        return NULL;
    b->references = 1;
    b->older = *list;
    *list = b;
    return b->bound;
}

struct bindings *bindings_retain(struct bindings *b)
{
    if (b)
        atomic_fetch_add(&b->references, 1);
    return b;
}

void bindings_release(struct bindings *b)
{
    while (b && atomic_fetch_sub(&b->references, 1) == 1) {
        struct bindings *older = b->older;
        free(b);
        b = older;
    }
}

/* ---- types as text ---- */

#define TYPE_WORD_MAX 9

/* Reads one word; its type, or 0 at "->", or -1 at the end or at nonsense (*end tells which). */
static int type_word(const char **text, bool *end)
{
    static const uint8_t types[] = {ATOLL_I32,  ATOLL_I64,     ATOLL_F32,      ATOLL_F64,
                                    ATOLL_V128, ATOLL_FUNCREF, ATOLL_EXTERNREF};
    *text += strspn(*text, " ");
    size_t len = strcspn(*text, " ");
    const char *word = *text;
    *end = len == 0;
    *text += len;
    if (len == 2 && memcmp(word, "->", 2) == 0)
        return 0;
    for (size_t k = 0; len && len <= TYPE_WORD_MAX && k < sizeof types; k++) {
        const char *name = wasm_type_name(types[k]);
        if (strlen(name) == len && memcmp(name, word, len) == 0)
            return types[k];
    }
    return -1;
}

/* Whether the text is this signature: 1, 0, or -ATOLL_EINVAL when it is no signature at all. */
static int type_compare(const char *text, struct wasm_signature s, const char *name,
                        struct error *e)
{
    uint32_t params = 0, results = 0;
    bool end, same = true, arrow = false;
    for (;;) {
        int type = type_word(&text, &end);
        if (type < 0)
            break;
        if (type == 0 && arrow) {
            end = false;
            break;
        }
        if (type == 0) {
            arrow = true;
        } else if (arrow) {
            same = same && results < s.result_count && s.results[results] == type;
            results++;
        } else {
            same = same && params < s.param_count && s.params[params] == type;
            params++;
        }
    }
    if (!end || !arrow)
        return error_set(e, ATOLL_EINVAL,
                         "the type of host function %.100s is not of the form \"i32 i64 -> f32\"",
                         name);
    return same && params == s.param_count && results == s.result_count;
}

/* ---- binding ---- */

static bool name_is(const struct wasm_module *m, struct wasm_span span, const char *text)
{
    return strlen(text) == span.len && memcmp(m->bytes + span.offset, text, span.len) == 0;
}

const struct atoll_import *offer_find(const struct wasm_module *m, const struct wasm_import *import,
                                      const struct atoll_import *offers, size_t count)
{
    for (size_t k = 0; k < count; k++)
        if (offers[k].module && name_is(m, import->module, offers[k].module) &&
            (offers[k].name ? name_is(m, import->name, offers[k].name) : offers[k].from != NULL))
            return &offers[k];
    return NULL;
}

static int refuse(const struct wasm_module *m, const struct wasm_import *import, struct error *e,
                  const char *why)
{
    return error_set(e, ATOLL_ELINK, "%s: %.*s.%.*s", why,
                     (int)(import->module.len < 200 ? import->module.len : 200),
                     (const char *)m->bytes + import->module.offset,
                     (int)(import->name.len < 200 ? import->name.len : 200),
                     (const char *)m->bytes + import->name.offset);
}

static int wasi_bind(const struct wasm_module *m, const struct wasm_import *import, bool has_world,
                     struct bound *b, struct error *e)
{
    struct wasm_signature s = wasm_function_signature(m, import->index);
    void *unused;
    int rc = wasi_resolve(NULL, (const char *)m->bytes + import->module.offset, import->module.len,
                          (const char *)m->bytes + import->name.offset, import->name.len, &s,
                          &b->wasi, &unused, e);
    if (rc == -ATOLL_ENOENT)
        return refuse(m, import, e, "unknown import");
    if (rc == 0 && !has_world)
        return refuse(m, import, e, "unknown import, as the arena has no WASI world yet");
    return rc;
}

int import_bind(const struct wasm_module *m, const struct wasm_import *import,
                const struct atoll_import *offer, bool has_world, struct bound *b,
                host_function *function, void **data, struct error *e)
{
    if (import->kind != WASM_KIND_FUNC)
        return refuse(m, import, e, offer ? "the host offers functions only" : "unknown import");
    int rc;
    if (!offer) {
        rc = wasi_bind(m, import, has_world, b, e);
    } else if (!offer->function || !offer->type) {
        rc = error_set(e, ATOLL_EINVAL,
                       "the offer for %s.%s has neither function and type nor an "
                       "instance",
                       offer->module, offer->name ? offer->name : "*");
    } else {
        rc = type_compare(offer->type, wasm_function_signature(m, import->index), offer->name, e);
        if (rc == 0)
            return refuse(m, import, e, "incompatible import type");
        if (rc > 0)
            rc = 0;
        b->function = offer->function;
        b->data = offer->data;
    }
    *function = offer ? call_embedder : call_wasi;
    *data = b;
    return rc;
}
