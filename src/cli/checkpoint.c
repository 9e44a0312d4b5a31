/*
 * Checkpoint files are captured images (sandbox/capture.h) whose host state is, little-endian:
 *
 *   0   u32  1, the version of this layout
 *   4   u32  function whose results are due
 *   8   u32  1 if its results are to be printed, else 0
 *   12       what wasi_save wrote, to the end
 */
#include "cli/checkpoint.h"

#include "base/file.h"
#include "sandbox/capture.h"

#include <stdio.h>

#define STATE_VERSION 1u
#define STATE_HEADER  12u
/* A memory of 4 GiB, stack, fields, tables and artefacts. */
#define IMAGE_BYTES_MAX (UINT64_C(6) << 30)

static int state_encode(const struct guest *guest, const struct checkpoint_call *call,
                        struct buffer *out, struct error *e)
{
    if (!buffer_append_u32(out, STATE_VERSION) || !buffer_append_u32(out, call->function) ||
        !buffer_append_u32(out, call->print_results))
        return error_set(e, ATOLL_ENOMEM, "cannot capture: out of memory");
    return wasi_save(guest->wasi, out, e);
}

int checkpoint_write(const struct guest *guest, const struct checkpoint_call *call,
                     const char *path, struct checkpoint_size *size, struct error *e)
{
    struct key_pair key;
    struct capture *capture = NULL;
    struct buffer state = {0}, image = {0};
    const struct buffer no_policy = {0};
    int result = key_signing(&key, e);
    if (result == 0)
        result = state_encode(guest, call, &state, e);
    if (result == 0)
        result = capture_take(guest->arena, &capture, e);
    if (result == 0)
        result = capture_encode(capture, &key, &state, &no_policy, &image, e);
    if (result == 0)
        result = file_replace(path, image.data, image.len, 0600, e);
    if (result == 0)
        *size = (struct checkpoint_size){image.len, capture_page_bytes(capture)};
    capture_destroy(capture);
    buffer_free(&state);
    buffer_free(&image);
    key_erase(&key);
    return result;
}

/* What the callbacks of capture_restore fill. */
struct restoration {
    const struct wasi_config *config;
    struct wasi *wasi;
    struct checkpoint_call *call;
};

static int restoration_begin(void *context, const uint8_t *state, size_t len, const uint8_t *policy,
                             size_t policy_len, struct error *e)
{
    struct restoration *r = context;
    (void)policy;
    if (policy_len != 0)
        return error_set(e, ATOLL_EUNSUPPORTED,
                         "the image carries a migration policy, which `atoll resume` cannot keep");
    if (len < STATE_HEADER)
        return error_set(e, ATOLL_ECORRUPT, "the image holds no program of `atoll run`");
    if (load_u32(state) != STATE_VERSION)
        return error_set(e, ATOLL_ESTALE, "the image was written by another version of atoll");
    r->call->function = load_u32(state + 4);
    r->call->print_results = load_u32(state + 8) != 0;
    return wasi_restore(state + STATE_HEADER, len - STATE_HEADER, r->config, &r->wasi, e);
}

static int restoration_resolve(void *context, const struct wasm_module *module,
                               const struct wasm_import *import, host_function *function,
                               void **data, struct error *e)
{
    const struct restoration *r = context;
    struct link_import link;
    int result = guest_resolve_import(module, import, r->wasi, &link, e);
    if (result == 0) {
        *function = link.function;
        *data = link.data;
    }
    return result;
}

static int restoration_externref(void *context, uint64_t saved, uint64_t *value, struct error *e)
{
    /* `atoll run --invoke` makes them from numbers, which mean the same everywhere. */
    (void)context;
    (void)e;
    *value = saved;
    return 0;
}

static int signer_name(const struct buffer *image, struct error *e)
{
    uint8_t signer[KEY_PUBLIC_LEN];
    char hex[2 * HASH_LEN + 1];
    struct error ignored;
    if (e->code != -ATOLL_ESIGNATURE ||
        capture_signer(image->data, image->len, signer, &ignored) < 0)
        return e->code;
    hash_hex(signer, hex);
    return error_set(e, ATOLL_ESIGNATURE,
                     "the image is altered, or of a key that is not trusted; it claims %s: if you "
                     "trust who holds that key, give it with --trust",
                     hex);
}

static int call_check(const struct guest *guest, const struct checkpoint_call *call,
                      struct error *e)
{
    const struct wasm_module *module = &instance_artefact(guest->instance)->module;
    if (call->function < module->function_count)
        return 0;
    return error_set(e, ATOLL_ECORRUPT, "the image names function %u, which does not exist",
                     call->function);
}

int checkpoint_read(const char *path, const uint8_t (*trusted)[KEY_PUBLIC_LEN],
                    uint32_t trusted_count, const struct wasi_config *config, struct guest *out,
                    struct checkpoint_call *call, struct error *e)
{
    struct buffer image = {0};
    struct restoration restoration = {.config = config, .call = call};
    const struct capture_host host = {.trusted = trusted,
                                      .trusted_count = trusted_count,
                                      .context = &restoration,
                                      .begin = restoration_begin,
                                      .resolve = restoration_resolve,
                                      .externref = restoration_externref};
    *out = (struct guest){0};
    int result = engine_initialize(e);
    if (result == 0)
        result = file_read(path, IMAGE_BYTES_MAX, &image, e);
    if (result == 0) {
        result = capture_restore(image.data, image.len, &host, &out->arena, e);
        if (result < 0)
            result = signer_name(&image, e);
    }
    out->wasi = restoration.wasi;
    if (result == 0) {
        out->instance = arena_primary(out->arena);
        result = call_check(out, call, e);
    }
    buffer_free(&image);
    if (result < 0) {
        guest_destroy(out);
        error_prefix(e, "%s", path);
    }
    return result;
}
