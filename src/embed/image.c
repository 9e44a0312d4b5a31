/*
 * Keys and captured images as embedders see them.
 *
 * Such an image is one of sandbox/capture.h whose host state is, little-endian:
 *
 *   0   u32  IMAGE_STATE, which says that this file wrote it
 *   4   u32  0
 *   8   u64  bytes of the WASI world; 0: the arena had none
 *   16       what wasi_save wrote
 *            the embedder's state, to the end
 */
#include "embed/embed.h"

#include "sandbox/capture.h"

#include <stdlib.h>

#define IMAGE_STATE  0x01424d45u /* "EMB", layout 1 */
#define STATE_HEADER 16u

_Static_assert(ATOLL_KEY_BYTES == KEY_PUBLIC_LEN, "one length");

/* ---- keys ---- */

struct atoll_key {
    struct key_pair pair;
};

int atoll_key_user(struct atoll_key **out, struct atoll_error *error)
{
    struct error e = {0};
    *out = NULL;
    struct atoll_key *key = calloc(1, sizeof *key);
    if (!key)
        error_set(&e, ATOLL_ENOMEM, "no memory for a key");
    if (!key || key_signing(&key->pair, &e) < 0) {
        atoll_key_destroy(key);
        return error_give(error, &e);
    }
    *out = key;
    return 0;
}

void atoll_key_destroy(struct atoll_key *key)
{
    if (!key)
        return;
    key_erase(&key->pair);
    free(key);
}

void atoll_key_public(const struct atoll_key *key, uint8_t out[ATOLL_KEY_BYTES])
{
    memcpy(out, key->pair.public_key, ATOLL_KEY_BYTES);
}

/* ---- capture ---- */

struct atoll_capture {
    struct capture *capture;
    struct buffer world;
};

static int capture_fill(struct atoll_capture *c, struct atoll_arena *a, struct error *e)
{
    int rc = capture_take(a->arena, &c->capture, e);
    return rc == 0 && a->wasi ? wasi_save(a->wasi, &c->world, e) : rc;
}

int atoll_capture_take(struct atoll_arena *a, struct atoll_capture **out, struct atoll_error *error)
{
    struct error e = {0};
    *out = NULL;
    struct atoll_capture *c = calloc(1, sizeof *c);
    if (!c)
        error_set(&e, ATOLL_ENOMEM, "no memory for an image");
    if (!c || capture_fill(c, a, &e) < 0) {
        atoll_capture_destroy(c);
        return error_give(error, &e);
    }
    *out = c;
    return 0;
}

void atoll_capture_destroy(struct atoll_capture *c)
{
    if (!c)
        return;
    capture_destroy(c->capture);
    buffer_free(&c->world);
    free(c);
}

static int state_encode(const struct atoll_capture *c, const void *state, size_t len,
                        struct buffer *out, struct error *e)
{
    if (!buffer_append_u32(out, IMAGE_STATE) || !buffer_append_u32(out, 0) ||
        !buffer_append_u64(out, c->world.len) || !buffer_append(out, c->world.data, c->world.len) ||
        !buffer_append(out, state, state ? len : 0))
        return error_set(e, ATOLL_ENOMEM, "no memory for an image");
    return 0;
}

int atoll_capture_encode(const struct atoll_capture *c, const struct atoll_key *key,
                         const void *state, size_t state_len, const void *policy, size_t policy_len,
                         struct atoll_bytes *out, struct atoll_error *error)
{
    struct error e = {0};
    struct buffer host_state = {0}, image = {0};
    /* Only read. */
    const struct buffer host_policy = {.data = (uint8_t *)(uintptr_t)policy,
                                       .len = policy ? policy_len : 0};
    *out = (struct atoll_bytes){0};
    int rc = state_encode(c, state, state_len, &host_state, &e);
    if (rc == 0)
        rc = capture_encode(c->capture, &key->pair, &host_state, &host_policy, &image, &e);
    buffer_free(&host_state);
    if (rc < 0) {
        buffer_free(&image);
        return error_give(error, &e);
    }
    *out = (struct atoll_bytes){image.data, image.len};
    return 0;
}

/* ---- restore ---- */

struct restoration {
    const struct atoll_restore_settings *settings;
    struct wasi *wasi;
    struct bindings *bindings;
};

static int restoration_begin(void *context, const uint8_t *state, size_t len, const uint8_t *policy,
                             size_t policy_len, struct error *e)
{
    struct restoration *r = context;
    const struct atoll_restore_settings *s = r->settings;
    if (len < STATE_HEADER || load_u32(state) != IMAGE_STATE)
        return error_set(e, ATOLL_ESTALE,
                         "the image was not made by this interface, or by another release of it");
    uint64_t world_len = load_u64(state + 8);
    if (world_len > len - STATE_HEADER)
        return error_set(e, ATOLL_ECORRUPT, "the WASI world of the image is cut off");
    const uint8_t *world = state + STATE_HEADER;
    if (world_len) {
        struct wasi_config config;
        wasi_config_inside(s->wasi, &config);
        int rc = wasi_restore(world, world_len, &config, &r->wasi, e);
        if (rc < 0)
            return rc;
    }
    int rc = s->begin ? s->begin(s->context, world + world_len, len - STATE_HEADER - world_len,
                                 policy, policy_len)
                      : 0;
    return rc < 0 ? error_set(e, -rc, "the host refused the image") : 0;
}

static int restoration_resolve(void *context, const struct wasm_module *m,
                               const struct wasm_import *import, host_function *function,
                               void **data, struct error *e)
{
    struct restoration *r = context;
    const struct atoll_import *offer =
        offer_find(m, import, r->settings->imports, r->settings->import_count);
    if (offer && offer->from) /* comes with the image */
        offer = NULL;
    struct bound *bound = bindings_add(&r->bindings, 1);
    if (!bound)
        return error_set(e, ATOLL_ENOMEM, "no memory for the imports of an image");
    int rc = import_bind(m, import, offer, true, bound, function, data, e);
    if (rc < 0)
        *function = NULL;
    /* Without an offer it may have come from another module of the image. */
    return rc == -ATOLL_ELINK && !offer ? -ATOLL_ENOENT : rc;
}

static int restoration_region(void *context, const char *name, struct error *e)
{
    const struct atoll_restore_settings *s = ((struct restoration *)context)->settings;
    int fd = s->region ? s->region(s->context, name) : -ATOLL_ENOENT;
    return fd < 0 ? error_set(e, -fd, "the image needs the shared region \"%s\"", name) : fd;
}

static int restoration_externref(void *context, uint64_t saved, uint64_t *value, struct error *e)
{
    const struct atoll_restore_settings *s = ((struct restoration *)context)->settings;
    int rc = s->externref ? s->externref(s->context, saved, value) : -ATOLL_ENOENT;
    return rc < 0 ? error_set(e, -rc,
                              "the image holds a reference to an object of the host that captured "
                              "it, which this one does not have")
                  : 0;
}

int atoll_restore(const void *image, size_t len, const struct atoll_restore_settings *settings,
                  struct atoll_arena **out, struct atoll_error *error)
{
    struct error e = {0};
    struct restoration r = {.settings = settings};
    const struct capture_host host = {.trusted = settings->trusted,
                                      .trusted_count = settings->trusted_count,
                                      .context = &r,
                                      .begin = restoration_begin,
                                      .resolve = restoration_resolve,
                                      .region = restoration_region,
                                      .externref = restoration_externref};
    struct arena *arena;
    *out = NULL;
    if (engine_initialize(&e) < 0 || capture_restore(image, len, &host, &arena, &e) < 0 ||
        arena_wrap(arena, out, &e) < 0) {
        wasi_destroy(r.wasi);
        bindings_release(r.bindings);
        return error_give(error, &e);
    }
    (*out)->wasi = r.wasi;
    (*out)->bindings = r.bindings;
    return 0;
}
