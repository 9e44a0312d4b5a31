/*
 * Worlds of functions: an image of the zygote's world, worlds made from it, and their reset.
 *
 * A reset compares nothing and trusts no flags: it lets go of whatever a descriptor holds, copies
 * the image's table over the world's, and drops the overlay, if there is one. So nothing that a
 * call did is left, whatever it was, and a call that did nothing costs a few copies.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include "base/clock.h"
#include "base/random.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Monotonic clocks of worlds from one image start up to so far apart. */
#define RANDOM_START_NS (1ull << 36)
/* Of a table that grew, a reset keeps so many places. */
#define KEPT_CAPACITY 16u

struct wasi_image {
    _Atomic uint32_t references;
    struct descriptor *descriptors; /* without listings: they are taken down again */
    uint32_t count, limit;
    char *guest_name; /* of the tree */
    struct strings args, env;
    uint64_t resolution_ns;
    int64_t clock_last[WASI_CLOCKS];
};

/* ---- taking ---- */

static int descriptor_quiescent(const struct wasi *w, uint32_t number, struct error *e)
{
    struct saved s;
    const struct descriptor *d = &w->descriptors[number];
    if (d->kind == DESCRIPTOR_SOCKET) {
        return saved_refuse(number, "a socket", "", e);
    }
    if (d->back_end == &back_end_host) {
        return saved_refuse(number, "a file of the host", "", e);
    }
    return d->back_end->save != NULL ? d->back_end->save(w, number, d, &s, e) : 0;
}

int wasi_quiescent(const struct wasi *w, struct error *e)
{
    int result = 0;
    for (uint32_t i = 0; i < w->capacity && result == 0; i++) {
        if (w->descriptors[i].kind != DESCRIPTOR_FREE) {
            result = descriptor_quiescent(w, i, e);
        }
    }
    return result;
}

static bool strings_copy(struct strings *to, const struct strings *from)
{
    *to = *from;
    to->borrowed = false;
    to->bytes = malloc(from->len + 1ull);
    if (to->bytes != NULL && from->len > 0) {
        memcpy(to->bytes, from->bytes, from->len);
    }
    return to->bytes != NULL;
}

static bool image_fill(struct wasi_image *image, struct wasi *w)
{
    image->limit = w->limit;
    image->resolution_ns = w->resolution_ns;
    for (uint32_t clock = WASI_CLOCK_MONOTONIC; clock < WASI_CLOCKS; clock++) {
        world_clock(w, clock, &image->clock_last[clock]);
    }
    for (uint32_t i = 0; i < w->capacity; i++) {
        image->count = w->descriptors[i].kind != DESCRIPTOR_FREE ? i + 1 : image->count;
    }
    image->descriptors = calloc(image->count + 1ull, sizeof *image->descriptors);
    image->guest_name = strdup(w->preopen_count > 0 ? w->preopens[0].guest_name : "/");
    if (image->descriptors == NULL || image->guest_name == NULL ||
        !strings_copy(&image->args, &w->args) || !strings_copy(&image->env, &w->env)) {
        return false;
    }
    for (uint32_t i = 0; i < image->count; i++) {
        image->descriptors[i] = w->descriptors[i];
        image->descriptors[i].listing = NULL;
        image->descriptors[i].publish = NULL;
    }
    return true;
}

int wasi_image_take(struct wasi *w, struct wasi_image **out, struct error *e)
{
    if (w->tree.base == NULL) {
        return error_set(e, ATOLL_EINVAL, "an image is taken of a world with a file tree only");
    }
    int result = wasi_quiescent(w, e);
    if (result != 0) {
        return result;
    }
    random_drop();
    struct wasi_image *image = calloc(1, sizeof *image);
    if (image == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for an image of a WASI world");
    }
    image->references = 1;
    if (!image_fill(image, w)) {
        wasi_image_release(image);
        return error_set(e, ATOLL_ENOMEM, "no memory for an image of a WASI world");
    }
    *out = image;
    return 0;
}

static struct wasi_image *wasi_image_retain(struct wasi_image *image)
{
    atomic_fetch_add(&image->references, 1);
    return image;
}

void wasi_image_release(struct wasi_image *image)
{
    if (image == NULL || atomic_fetch_sub(&image->references, 1) != 1) {
        return;
    }
    free(image->descriptors);
    free(image->guest_name);
    free(image->args.bytes);
    free(image->env.bytes);
    free(image);
}

/* ---- resetting ---- */

/* Gives the table at least the image's places, and takes back what a call has made it grow. */
static bool table_fit(struct wasi *w, uint32_t count)
{
    uint32_t least = count > KEPT_CAPACITY ? count : KEPT_CAPACITY;
    uint32_t capacity = w->capacity > least ? least : w->capacity;
    capacity = capacity < count ? count : capacity;
    if (capacity == w->capacity) {
        return true;
    }
    struct descriptor *fit = realloc(w->descriptors, capacity * sizeof *fit);
    if (fit == NULL) {
        return capacity < w->capacity; /* a larger table than needed does no harm */
    }
    w->descriptors = fit;
    w->capacity = capacity;
    return true;
}

static bool table_reset(struct wasi *w)
{
    const struct wasi_image *image = w->image;
    for (uint32_t i = 0; i < w->capacity; i++) {
        if (w->descriptors[i].kind != DESCRIPTOR_FREE) {
            descriptor_close(w, &w->descriptors[i]);
        }
    }
    if (!table_fit(w, image->count)) {
        return false;
    }
    if (image->count > 0) {
        memcpy(w->descriptors, image->descriptors, image->count * sizeof *w->descriptors);
    }
    if (w->capacity > image->count) {
        memset(w->descriptors + image->count, 0,
               (w->capacity - image->count) * sizeof *w->descriptors);
    }
    return true;
}

/* The monotonic clock runs on: it only grows, and an image's is behind it. */
static void clocks_reset(struct wasi *w)
{
    memcpy(w->clock_last, w->image->clock_last, sizeof w->clock_last);
    w->cpu_due = true;
}

static void image_borrow(struct strings *to, const struct strings *from)
{
    strings_free(to);
    *to = *from;
    to->borrowed = true;
}

static bool call_borrow(struct strings *to, const char *bytes, uint32_t len)
{
    uint32_t count = 0;
    strings_free(to);
    if (len > WASI_MAX_STRINGS || (len > 0 && bytes[len - 1] != '\0')) {
        return false;
    }
    for (const char *at = bytes; at < bytes + len; at += strlen(at) + 1) {
        count++;
    }
    *to = (struct strings){
        .bytes = (char *)(uintptr_t)bytes, .len = len, .count = count, .borrowed = true};
    return true;
}

int wasi_reset(struct wasi *w, const struct wasi_call *call, struct error *e)
{
    const struct wasi_image *image = w->image;
    if (!table_reset(w)) {
        return error_set(e, ATOLL_ENOMEM, "no memory for the guest's descriptors");
    }
    vfs_reset(&w->tree);
    clocks_reset(w);
    w->streams = call->streams;
    w->input_at = 0;
    w->line_len = 0;
    free(w->line);
    w->line = NULL;
    image_borrow(&w->args, &image->args);
    image_borrow(&w->env, &image->env);
    bool good = (call->args == NULL || call_borrow(&w->args, call->args, call->args_len)) &&
                (call->env == NULL || call_borrow(&w->env, call->env, call->env_len));
    return good ? 0
                : error_set(e, ATOLL_EINVAL,
                            "a call's arguments or environment are not strings that end with NUL");
}

/* ---- making ---- */

/* A random time after the image's. */
static int clocks_begin(struct wasi *w, struct error *e)
{
    uint64_t random;
    int result = random_bytes(&random, sizeof random);
    if (result != 0) {
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    }
    int64_t start =
        w->image->clock_last[WASI_CLOCK_MONOTONIC] + (int64_t)(random % RANDOM_START_NS);
    w->clock_offset[WASI_CLOCK_MONOTONIC] = start - clock_ns(CLOCK_MONOTONIC);
    return 0;
}

int wasi_instantiate(struct wasi_image *image, const struct vfs_config *tree, struct wasi **out,
                     struct error *e)
{
    static const struct wasi_call nothing;
    struct wasi *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for a WASI world");
    }
    world_plant(w, tree);
    w->image = wasi_image_retain(image);
    w->limit = image->limit;
    w->resolution_ns = image->resolution_ns;
    w->has_streams = true;
    int result = preopen_add_tree(w, image->guest_name, e);
    if (result == 0) {
        result = clocks_begin(w, e);
    }
    if (result == 0) {
        result = wasi_reset(w, &nothing, e);
    }
    if (result != 0) {
        wasi_destroy(w);
        return result;
    }
    *out = w;
    return 0;
}
