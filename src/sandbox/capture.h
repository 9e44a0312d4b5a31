/*
 * Captured images: a suspended arena with registers and stack, to be continued in another process.
 *
 * The pause is capture_take: it copies what was written since the modules were mapped. Hashing,
 * signing and writing (capture_encode) work on that copy while the arena may go on.
 *
 * An image is as powerful as code. capture_restore therefore checks an Ed25519 signature by a key
 * the caller names before it parses anything else; the checks behind it find damage and mistakes.
 * Native frames hold absolute addresses of the arena, so an image returns to its own slot and
 * brings the identical artefacts along. image_format.h draws the file.
 */
#ifndef SANDBOX_CAPTURE_H
#define SANDBOX_CAPTURE_H

#include "base/bytes.h"
#include "crypto/key.h"
#include "engine/arena.h"

struct capture;

/* Copies the state of a suspended arena (RUN_INTERRUPTED or RUN_PARKED returned to the outermost
 * caller). The arena stays suspended and may be resumed. -ATOLL_EBUSY, naming the reason, when it
 * is not suspended or a host function that called the guest is still running. */
int capture_take(struct arena *, struct capture **out, struct error *e);
void capture_destroy(struct capture *); /* NULL is fine */
/* Bytes of guest pages copied. */
uint64_t capture_page_bytes(const struct capture *);

/* The image: signed by key. host_state: opaque bytes of the host layer (WASI descriptors); policy:
 * opaque bytes for a migration policy. Either may be empty. */
int capture_encode(const struct capture *, const struct key_pair *key,
                   const struct buffer *host_state, const struct buffer *policy, struct buffer *out,
                   struct error *e);

/* What restore needs of the host. Callbacks run before any guest code. */
struct capture_host {
    const uint8_t (*trusted)[KEY_PUBLIC_LEN]; /* keys whose images are accepted */
    uint32_t trusted_count;
    void *context;
    /* Sees the host state and the policy first. May be NULL. */
    int (*begin)(void *context, const uint8_t *host_state, size_t host_state_len,
                 const uint8_t *policy, size_t policy_len, struct error *);
    /* The host function for an import that was bound to one. */
    int (*resolve)(void *context, const struct wasm_module *, const struct wasm_import *,
                   host_function *, void **data, struct error *);
    /* A descriptor for a region by its name (closed by restore). NULL: images with regions are
     * refused. */
    int (*region)(void *context, const char *name, struct error *);
    /* The value an external reference has here, from the one it had there. NULL: refused. */
    int (*externref)(void *context, uint64_t saved, uint64_t *value, struct error *);
};

/* Verifies the signature, then everything else, and makes the suspended arena; arena_resume goes
 * on. -ATOLL_ESIGNATURE  altered, truncated, or signed by a key that is not trusted -ATOLL_ECORRUPT
 * signed, but what it says cannot be -ATOLL_ESTALE      another image format, or another gate
 *   -ATOLL_ECPU        this processor lacks a feature, which is named
 *   -ATOLL_EBUSY       the slot is taken in this process: restore in another one */
int capture_restore(const uint8_t *image, size_t len, const struct capture_host *,
                    struct arena **out, struct error *e);

/* Reads the public key an image claims to be signed by (for messages; proves nothing). */
int capture_signer(const uint8_t *image, size_t len, uint8_t out[static KEY_PUBLIC_LEN],
                   struct error *e);

#endif
