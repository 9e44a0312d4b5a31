/*
 * Checkpoints of a guest's world: wasi_save.
 *
 * The bytes, little-endian; a string is its length u32 and its bytes, without NUL:
 *
 *     magic "ATWS" u32 | version u32 | resolution ns u64 | descriptor limit u32
 *     clocks as the guest last could have seen them: monotonic, process, thread u64 each
 *     arguments: count u32, strings | environment: the same
 *     preopens: count u32, then each: guest name, 0 u32 and host path or 1 u32 (the tree),
 *         read only u32
 *     descriptors: count u32, then each, by ascending number:
 *         number u32 | kind u32 | source u32 | filetype u32 | flags u32 | base u64 | inheriting u64
 *         of a file: path beneath its preopen, access mode u32, device u64, inode u64, born ns
 *                    u64, size u64, modified ns u64, position u64
 *         of a directory that is being read: 1 u32, count u32, entries (inode u64, filetype u32,
 *                    name); of anything else: 0 u32
 *
 */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include <string.h>

static bool put_string(struct buffer *b, const char *text, size_t len)
{
    return buffer_append_u32(b, (uint32_t)len) && buffer_append(b, text, len);
}

static bool put_strings(struct buffer *b, const struct strings *s)
{
    bool good = buffer_append_u32(b, s->count);
    for (uint32_t at = 0; good && at < s->len;) {
        size_t len = strlen(s->bytes + at);
        good = put_string(b, s->bytes + at, len);
        at += (uint32_t)len + 1;
    }
    return good;
}

static bool put_clocks(struct buffer *b, const struct wasi *w)
{
    struct wasi copy = *w; /* looking at a clock remembers it */
    bool good = true;
    for (uint32_t clock = WASI_CLOCK_MONOTONIC; good && clock < WASI_CLOCKS; clock++) {
        int64_t ns = 0;
        world_clock(&copy, clock, &ns);
        good = buffer_append_u64(b, (uint64_t)ns);
    }
    return good;
}

int saved_refuse(uint32_t number, const char *what, const char *path, struct error *e)
{
    return error_set(e, ATOLL_EBUSY,
                     "cannot checkpoint: descriptor %u is %s%s%s; let the program close it first",
                     number, what, path[0] != '\0' ? ": " : "", path);
}

static int put_file(struct buffer *b, const struct wasi *w, uint32_t number,
                    const struct descriptor *d, struct error *e)
{
    struct saved s;
    int result = d->back_end->save(w, number, d, &s, e);
    if (result != 0) {
        return result;
    }
    bool good = put_string(b, s.path, strlen(s.path)) && buffer_append_u32(b, s.access) &&
                buffer_append_u64(b, s.file.device) && buffer_append_u64(b, s.file.inode) &&
                buffer_append_u64(b, s.file.born_ns) && buffer_append_u64(b, s.file.size) &&
                buffer_append_u64(b, s.file.modified_ns) && buffer_append_u64(b, s.position);
    return good ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the checkpoint");
}

static bool put_listing(struct buffer *b, const struct listing *l)
{
    bool good = buffer_append_u32(b, l != NULL);
    if (l == NULL) {
        return good;
    }
    good = good && buffer_append_u32(b, l->count);
    for (uint32_t i = 0; good && i < l->count; i++) {
        const struct listing_entry *entry = &l->entries[i];
        good = buffer_append_u64(b, entry->inode) && buffer_append_u32(b, entry->filetype) &&
               put_string(b, (const char *)l->names.data + entry->name, entry->name_len);
    }
    return good;
}

static int put_descriptor(struct buffer *b, const struct wasi *w, uint32_t number, struct error *e)
{
    const struct descriptor *d = &w->descriptors[number];
    if (d->kind == DESCRIPTOR_SOCKET) {
        return saved_refuse(number, "a socket", "", e);
    }
    bool good = buffer_append_u32(b, number) && buffer_append_u32(b, d->kind) &&
                buffer_append_u32(b, d->source) && buffer_append_u32(b, d->filetype) &&
                buffer_append_u32(b, d->flags) && buffer_append_u64(b, d->base) &&
                buffer_append_u64(b, d->inheriting);
    if (good && d->kind == DESCRIPTOR_FILE) {
        int result = put_file(b, w, number, d, e);
        if (result != 0) {
            return result;
        }
    }
    good = good && put_listing(b, d->listing);
    return good ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the checkpoint");
}

static int put_preopens(struct buffer *b, const struct wasi *w, struct error *e)
{
    char path[WASI_MAX_PATH];
    bool good = buffer_append_u32(b, w->preopen_count);
    for (uint32_t i = 0; good && i < w->preopen_count; i++) {
        const struct preopen *p = &w->preopens[i];
        bool tree = p->back_end == &back_end_vfs;
        int result = tree ? 0 : host_path_of(p->fd, path, e);
        if (result != 0) {
            return result;
        }
        good = put_string(b, p->guest_name, strlen(p->guest_name)) && buffer_append_u32(b, tree) &&
               (tree || put_string(b, path, strlen(path))) && buffer_append_u32(b, p->read_only);
    }
    return good ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the checkpoint");
}

static int put_descriptors(struct buffer *b, const struct wasi *w, struct error *e)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->capacity; i++) {
        count += w->descriptors[i].kind != DESCRIPTOR_FREE;
    }
    if (!buffer_append_u32(b, count)) {
        return error_set(e, ATOLL_ENOMEM, "no memory for the checkpoint");
    }
    for (uint32_t i = 0; i < w->capacity; i++) {
        int result = w->descriptors[i].kind != DESCRIPTOR_FREE ? put_descriptor(b, w, i, e) : 0;
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

int wasi_save(const struct wasi *w, struct buffer *out, struct error *e)
{
    size_t before = out->len;
    bool good = buffer_append_u32(out, SAVE_MAGIC) && buffer_append_u32(out, SAVE_VERSION) &&
                buffer_append_u64(out, w->resolution_ns) && buffer_append_u32(out, w->limit) &&
                put_clocks(out, w) && put_strings(out, &w->args) && put_strings(out, &w->env);
    int result =
        good ? put_preopens(out, w, e) : error_set(e, ATOLL_ENOMEM, "no memory for the checkpoint");
    if (result == 0) {
        result = put_descriptors(out, w, e);
    }
    if (result != 0) {
        out->len = before;
    }
    return result;
}
