/*
 * Checkpoints of a guest's world: wasi_restore. The format is drawn in save.c.
 *
 * The bytes are outside input: every length is checked against what is left, every number against
 * its range, and descriptors get no right that such a file cannot have.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include <fcntl.h>
#include <stdlib.h>

/* Takes bytes off the front; once something does not fit, `good` is false and all else yields 0. */
struct cursor {
    const uint8_t *at;
    size_t left;
    bool good;
};

static const uint8_t *take(struct cursor *c, size_t len)
{
    static const uint8_t zeros[8];
    if (!c->good || len > c->left) {
        c->good = false;
        return zeros;
    }
    const uint8_t *bytes = c->at;
    c->at += len;
    c->left -= len;
    return bytes;
}

static uint32_t take_u32(struct cursor *c)
{
    return load_u32(take(c, 4));
}

static uint64_t take_u64(struct cursor *c)
{
    return load_u64(take(c, 8));
}

/* A count of things of which each takes at least `least` bytes. */
static uint32_t take_count(struct cursor *c, size_t least)
{
    uint32_t count = take_u32(c);
    c->good = c->good && count <= c->left / least;
    return c->good ? count : 0;
}

/* A string without NUL inside, of less than WASI_MAX_PATH bytes. */
static void take_path(struct cursor *c, char path[WASI_MAX_PATH])
{
    uint32_t len = take_u32(c);
    c->good = c->good && len > 0 && len < WASI_MAX_PATH && len <= c->left &&
              memchr(c->at, '\0', len) == NULL;
    size_t taken = c->good ? len : 0;
    memcpy(path, take(c, taken), taken);
    path[taken] = '\0';
}

static int damaged(struct error *e, const char *where)
{
    return error_set(e, ATOLL_ECORRUPT,
                     "the checkpoint's %s are damaged or of another version; take a new checkpoint",
                     where);
}

static int take_strings(struct cursor *c, struct strings *s, struct error *e)
{
    uint32_t count = take_count(c, 4);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = take_u32(c);
        const uint8_t *text = take(c, len);
        c->good = c->good && memchr(text, '\0', len) == NULL;
        if (!c->good || !strings_add(s, (const char *)text, len)) {
            break;
        }
    }
    return c->good && s->count == count ? 0 : damaged(e, "arguments");
}

/* The configured preopen of this guest name, or NULL. */
static const struct wasi_preopen *preopen_configured(const struct wasi_config *config,
                                                     const char *guest_name)
{
    for (uint32_t i = 0; i < config->preopen_count; i++) {
        if (strcmp(config->preopens[i].guest_name, guest_name) == 0) {
            return &config->preopens[i];
        }
    }
    return NULL;
}

/* Refuses directories for names that the program does not have: they would be lost silently. */
static int preopens_check(const struct wasi *w, const struct wasi_config *config, struct error *e)
{
    for (uint32_t i = 0; i < config->preopen_count; i++) {
        const char *name = config->preopens[i].guest_name;
        uint32_t k = 0;
        while (k < w->preopen_count && strcmp(w->preopens[k].guest_name, name) != 0) {
            k++;
        }
        if (k == w->preopen_count) {
            return error_set(e, ATOLL_EINVAL,
                             "the program had no directory %s, so none can be put in its place",
                             name);
        }
    }
    return 0;
}

static int take_preopens(struct cursor *c, struct wasi *w, const struct wasi_config *config,
                         struct error *e)
{
    uint32_t count = take_count(c, 13);
    for (uint32_t i = 0; i < count; i++) {
        char guest_name[WASI_MAX_PATH], host_path[WASI_MAX_PATH] = "";
        take_path(c, guest_name);
        bool tree = take_u32(c) != 0;
        if (!tree) {
            take_path(c, host_path);
        }
        bool read_only = take_u32(c) != 0;
        if (!c->good || (tree && count != 1)) {
            return damaged(e, "preopened directories");
        }
        if (tree != (w->tree.base != NULL)) {
            return error_set(e, ATOLL_EINVAL, "this is the checkpoint of a program with %s",
                             tree ? "a file tree in memory: give it one"
                                  : "directories of the host, not with a file tree in memory");
        }
        if (tree) {
            return preopen_add_tree(w, guest_name, e);
        }
        const struct wasi_preopen *given = preopen_configured(config, guest_name);
        int result = preopen_add(w, given != NULL ? given->host_path : host_path, guest_name,
                                 given != NULL ? given->read_only : read_only, e);
        if (result != 0) {
            return result;
        }
    }
    return c->good ? preopens_check(w, config, e) : damaged(e, "preopened directories");
}

/* ---- descriptors ---- */

static void take_saved(struct cursor *c, struct saved *s)
{
    s->number = take_u32(c);
    s->kind = take_u32(c);
    s->source = take_u32(c);
    s->filetype = take_u32(c);
    s->flags = take_u32(c);
    s->base = take_u64(c);
    s->inheriting = take_u64(c);
    if (s->kind == DESCRIPTOR_FILE) {
        take_path(c, s->path);
        s->access = take_u32(c);
        s->file.device = take_u64(c);
        s->file.inode = take_u64(c);
        s->file.born_ns = take_u64(c);
        s->file.size = take_u64(c);
        s->file.modified_ns = take_u64(c);
        s->position = take_u64(c);
    }
}

static bool saved_good(const struct wasi *w, const struct saved *s)
{
    struct descriptor *taken;
    bool source = s->kind == DESCRIPTOR_STANDARD ? s->source < 3 : s->source < w->preopen_count;
    bool file = s->kind != DESCRIPTOR_FILE ||
                (s->access <= O_RDWR && s->position <= INT64_MAX && s->path[0] != '/');
    return (s->kind == DESCRIPTOR_STANDARD || s->kind == DESCRIPTOR_PREOPEN ||
            s->kind == DESCRIPTOR_FILE) &&
           source && file && s->number < w->limit && s->flags <= WASI_FDFLAGS_ALL &&
           descriptor_get(w, s->number, 0, &taken) == WASI_EBADF;
}

static int standard_reopen(struct wasi *w, const struct saved *s, const struct wasi_config *config,
                           struct error *e)
{
    const int standard[] = {config->stdin_fd, config->stdout_fd, config->stderr_fd};
    struct descriptor *made;
    int result = w->has_streams ? stream_add(w, s->number, s->source, e)
                                : standard_add(w, s->number, s->source, standard[s->source], e);
    if (result == 0 && descriptor_get(w, s->number, 0, &made) == WASI_SUCCESS) {
        made->flags |= (uint16_t)s->flags;
        made->base &= s->base;
        made->inheriting &= s->inheriting;
    }
    return result;
}

static int saved_reopen(struct wasi *w, const struct saved *s, const struct wasi_config *config,
                        struct error *e)
{
    if (s->kind == DESCRIPTOR_STANDARD) {
        return standard_reopen(w, s, config, e);
    }
    struct descriptor made = {
        .kind = (uint8_t)s->kind, .source = s->source, .flags = (uint16_t)s->flags};
    int result = w->preopens[s->source].back_end->reopen(w, s, &made, e);
    if (result != 0) {
        return result;
    }
    made.base = s->base & descriptor_rights(&made);
    made.inheriting = s->inheriting & WASI_RIGHTS_ALL;
    return descriptor_put(w, &made, s->number) == WASI_SUCCESS
               ? 0
               : error_set(e, ATOLL_ENOMEM, "no memory for the guest's descriptors");
}

static bool take_entries(struct cursor *c, struct listing *l)
{
    uint32_t count = take_count(c, 16);
    for (uint32_t i = 0; i < count; i++) {
        char name[WASI_MAX_PATH];
        uint64_t inode = take_u64(c);
        uint32_t filetype = take_u32(c);
        take_path(c, name);
        size_t len = strlen(name);
        c->good = c->good && len <= UINT8_MAX && filetype <= WASI_FILETYPE_SYMBOLIC_LINK;
        if (!c->good || !listing_add(l, name, len, inode, (uint8_t)filetype)) {
            return false;
        }
    }
    return c->good;
}

/* Reads the listing that may follow a descriptor, and gives it to the descriptor. */
static int take_listing(struct cursor *c, struct wasi *w, uint32_t number, struct error *e)
{
    struct descriptor *d;
    uint32_t present = take_u32(c);
    if (!c->good || present > 1) {
        return damaged(e, "directory listings");
    }
    if (present == 0) {
        return 0;
    }
    struct listing *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for a directory listing");
    }
    if (!take_entries(c, made) || descriptor_get(w, number, 0, &d) != WASI_SUCCESS ||
        d->filetype != WASI_FILETYPE_DIRECTORY ||
        w->listing_bytes + listing_bytes(made) > WASI_MAX_LISTINGS) {
        listing_free(made);
        return damaged(e, "directory listings");
    }
    w->listing_bytes += listing_bytes(made);
    d->listing = made;
    return 0;
}

static int take_descriptors(struct cursor *c, struct wasi *w, const struct wasi_config *config,
                            struct error *e)
{
    struct saved s;
    uint32_t count = take_count(c, 40);
    for (uint32_t i = 0; i < count; i++) {
        take_saved(c, &s);
        if (!c->good || !saved_good(w, &s)) {
            return damaged(e, "descriptors");
        }
        int result = saved_reopen(w, &s, config, e);
        if (result == 0) {
            result = take_listing(c, w, s.number, e);
        }
        if (result != 0) {
            return result;
        }
    }
    return c->good && c->left == 0 ? 0 : damaged(e, "descriptors");
}

/* ---- the world ---- */

static int take_head(struct cursor *c, struct wasi *w, struct error *e)
{
    bool known = take_u32(c) == SAVE_MAGIC && take_u32(c) == SAVE_VERSION;
    w->resolution_ns = take_u64(c);
    w->limit = take_u32(c);
    bool clocks = true;
    for (uint32_t clock = WASI_CLOCK_MONOTONIC; clock < WASI_CLOCKS; clock++) {
        uint64_t ns = take_u64(c);
        clocks = clocks && ns <= INT64_MAX;
        w->clock_last[clock] = clocks ? (int64_t)ns : 0;
        w->clock_offset[clock] = w->clock_last[clock] - host_clock(w, clock);
    }
    bool good = c->good && known && clocks && w->resolution_ns > 0 && w->limit > 0 &&
                w->limit <= WASI_MAX_DESCRIPTORS;
    return good ? 0 : damaged(e, "first bytes");
}

int wasi_restore(const uint8_t *data, size_t len, const struct wasi_config *config,
                 struct wasi **out, struct error *e)
{
    static const struct wasi_config inherited = WASI_CONFIG;
    struct cursor c = {.at = data, .left = len, .good = true};
    struct wasi *w;
    config = config != NULL ? config : &inherited;
    int result = world_create(config, &w, e);
    if (result != 0) {
        return result;
    }
    result = take_head(&c, w, e);
    if (result == 0) {
        result = take_strings(&c, &w->args, e);
    }
    if (result == 0) {
        result = take_strings(&c, &w->env, e);
    }
    if (result == 0) {
        result = take_preopens(&c, w, config, e);
    }
    if (result == 0) {
        result = take_descriptors(&c, w, config, e);
    }
    if (result != 0) {
        wasi_destroy(w);
        return result;
    }
    *out = w;
    return 0;
}
