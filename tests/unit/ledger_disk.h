/*
 * A disk for the ledger's log, in memory: files.h over plain buffers, where the power can fail
 * after any operation. What was not synchronised then survives in part: in order up to some byte,
 * or any sectors of it, as the cut wants. Names change durably with sync_names, or before.
 */
#ifndef TESTS_LEDGER_DISK_H
#define TESTS_LEDGER_DISK_H

#include "base/bytes.h"
#include "ledger/log/files.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_SECTOR 512

enum disk_cut {
    DISK_CUT_KILLED,  /* only the process: everything written stays */
    DISK_CUT_PREFIX,  /* writes reached the disk in order, the last one in part */
    DISK_CUT_SECTORS, /* any sectors did */
    DISK_CUT_NOTHING, /* nothing that was not synchronised did */
    DISK_CUTS
};

struct disk_write {
    int file;
    uint64_t at;
    size_t len;
    uint8_t *bytes;
};

struct disk_file {
    bool used;
    char name[LOG_NAME_MAX];         /* as the process sees it; "": removed */
    char durable_name[LOG_NAME_MAX]; /* as the disk has it */
    struct buffer now, durable;
    uint64_t released;            /* bytes whose room was given back */
    uint64_t bad_from, bad_until; /* the disk does not give these */
};

struct disk {
    struct disk_file *files;
    int file_count, file_capacity;
    struct disk_write *writes; /* not synchronised */
    size_t write_count, write_capacity;
    uint64_t operations, fail_at; /* fail_at: the power is gone from this one on; 0: never */
    uint64_t room;                /* bytes that may be allocated; 0: any */
    uint64_t sync_fails_at;       /* this sync, counted from 1, fails; 0: none */
    uint64_t syncs;
    uint64_t random;
    int opened, most_opened; /* files now, and at the most */
};

static inline uint64_t disk_draw(struct disk *d)
{
    uint64_t z = d->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline bool disk_dark(struct disk *d, struct error *e)
{
    d->operations++;
    if (d->fail_at == 0 || d->operations < d->fail_at)
        return false;
    error_set(e, ATOLL_EIO, "the power is gone");
    return true;
}

static inline struct disk_file *disk_named(struct disk *d, const char *name)
{
    for (int i = d->file_count; i-- > 0;)
        if (d->files[i].used && strcmp(d->files[i].name, name) == 0)
            return &d->files[i];
    return NULL;
}

/* The last file whose name begins so; NULL: there is none. */
static inline struct disk_file *disk_file_named(const struct disk *d, const char *prefix)
{
    struct disk_file *last = NULL;
    for (int i = 0; i < d->file_count; i++) {
        struct disk_file *f = &d->files[i];
        if (f->used && f->name[0] && strncmp(f->name, prefix, strlen(prefix)) == 0 &&
            (!last || strcmp(f->name, last->name) > 0))
            last = f;
    }
    return last;
}

/* A place in the table of files. */
static inline int disk_place(struct disk *d)
{
    for (int i = 0; i < d->file_count; i++)
        if (!d->files[i].used)
            return i;
    if (d->file_count == d->file_capacity) {
        d->file_capacity = d->file_capacity ? 2 * d->file_capacity : 16;
        d->files = realloc(d->files, (size_t)d->file_capacity * sizeof *d->files);
        assert(d->files);
    }
    return d->file_count++;
}

static inline int disk_opened(struct disk *d, int file)
{
    d->opened++;
    d->most_opened = d->opened > d->most_opened ? d->opened : d->most_opened;
    return file;
}

static int disk_open(void *context, const char *name, bool create, struct error *e)
{
    struct disk *d = context;
    struct disk_file *f = disk_named(d, name);
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    if (f && create)
        return error_set(e, ATOLL_EEXIST, "%s exists", name);
    if (f)
        return disk_opened(d, (int)(f - d->files));
    if (!create)
        return error_set(e, ATOLL_ENOENT, "there is no %s", name);
    int i = disk_place(d);
    d->files[i] = (struct disk_file){.used = true};
    snprintf(d->files[i].name, LOG_NAME_MAX, "%s", name);
    return disk_opened(d, i);
}

static void disk_close(void *context, int file)
{
    struct disk *d = context;
    (void)file;
    d->opened--;
}

static int disk_size(void *context, int file, uint64_t *bytes, struct error *e)
{
    struct disk *d = context;
    (void)e;
    *bytes = d->files[file].now.len;
    return 0;
}

static inline void disk_extend(struct buffer *b, uint64_t bytes)
{
    if (b->len < bytes && !buffer_append(b, NULL, (size_t)bytes - b->len))
        abort();
}

static inline uint64_t disk_file_taken(const struct disk_file *f)
{
    return f->used && f->name[0] ? f->now.len - f->released : 0;
}

/* Bytes of the disk that files take. */
static inline uint64_t disk_taken(const struct disk *d)
{
    uint64_t all = 0;
    for (int i = 0; i < d->file_count; i++)
        all += disk_file_taken(&d->files[i]);
    return all;
}

/* Sizes are taken to be durable at once: what a file is made of is what can be lost. */
static int disk_allocate(void *context, int file, uint64_t bytes, struct error *e)
{
    struct disk *d = context;
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    if (d->files[file].now.len >= bytes && d->files[file].released == 0)
        return 0;
    uint64_t all = bytes + disk_taken(d) - disk_file_taken(&d->files[file]);
    if (d->room > 0 && all > d->room)
        return error_set(e, ATOLL_ELIMIT, "no room");
    d->files[file].released = 0;
    disk_extend(&d->files[file].now, bytes);
    disk_extend(&d->files[file].durable, bytes);
    return 0;
}

/* Only what was never written may go. */
static void disk_release(void *context, int file, uint64_t from, uint64_t to)
{
    struct disk *d = context;
    struct disk_file *f = &d->files[file];
    struct error ignored;
    if (disk_dark(d, &ignored) || to <= from)
        return;
    for (uint64_t at = from; at < to; at++)
        assert(f->now.data[at] == 0);
    f->released = to - from;
}

static int disk_read(void *context, int file, uint64_t at, void *data, size_t len, struct error *e)
{
    struct disk *d = context;
    const struct disk_file *f = &d->files[file];
    const struct buffer *b = &f->now;
    if (at > b->len || len > b->len - at)
        return error_set(e, ATOLL_ERANGE, "behind the end");
    if (at < f->bad_until && at + len > f->bad_from)
        return error_set(e, ATOLL_EIO, "a bad place of the disk");
    if (len > 0)
        memcpy(data, b->data + at, len);
    return 0;
}

static int disk_write_bytes(void *context, int file, uint64_t at, const void *data, size_t len,
                            struct error *e)
{
    struct disk *d = context;
    /* The write during which the power goes is one that may be on the disk. */
    bool dark = d->fail_at > 0 && d->operations + 1 > d->fail_at;
    bool last = d->fail_at > 0 && d->operations + 1 == d->fail_at;
    if (disk_dark(d, e) && (dark || !last))
        return -ATOLL_EIO;
    if (d->write_count == d->write_capacity) {
        d->write_capacity = d->write_capacity ? 2 * d->write_capacity : 64;
        d->writes = realloc(d->writes, d->write_capacity * sizeof *d->writes);
        assert(d->writes);
    }
    struct disk_write w = {file, at, len, malloc(len + 1)};
    assert(w.bytes);
    memcpy(w.bytes, data, len);
    d->writes[d->write_count++] = w;
    disk_extend(&d->files[file].now, at + len);
    disk_extend(&d->files[file].durable, at + len);
    memcpy(d->files[file].now.data + at, data, len);
    if (at < d->files[file].bad_until && at + len > d->files[file].bad_from)
        d->files[file].bad_from = d->files[file].bad_until = 0; /* mended by writing to it */
    return last ? -ATOLL_EIO : 0;
}

static inline void disk_settle(struct disk *d, int file)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->write_count; i++) {
        if (d->writes[i].file == file)
            free(d->writes[i].bytes);
        else
            d->writes[kept++] = d->writes[i];
    }
    d->write_count = kept;
    struct disk_file *f = &d->files[file];
    if (f->now.len > 0)
        memcpy(f->durable.data, f->now.data, f->now.len);
}

static int disk_sync(void *context, int file, struct error *e)
{
    struct disk *d = context;
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    if (++d->syncs == d->sync_fails_at)
        return error_set(e, ATOLL_EIO, "the disk is bad");
    disk_settle(d, file);
    return 0;
}

static int disk_rename(void *context, const char *from, const char *to, struct error *e)
{
    struct disk *d = context;
    struct disk_file *f = disk_named(d, from), *old = disk_named(d, to);
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    assert(f);
    if (old)
        old->name[0] = '\0';
    snprintf(f->name, LOG_NAME_MAX, "%s", to);
    return 0;
}

static int disk_remove(void *context, const char *name, struct error *e)
{
    struct disk *d = context;
    struct disk_file *f = disk_named(d, name);
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    if (!f)
        return error_set(e, ATOLL_ENOENT, "there is no %s", name);
    f->name[0] = '\0';
    return 0;
}

static inline void disk_forget(struct disk *d, int file)
{
    disk_settle(d, file);
    buffer_free(&d->files[file].now);
    buffer_free(&d->files[file].durable);
    d->files[file].used = false;
}

static int disk_sync_names(void *context, struct error *e)
{
    struct disk *d = context;
    if (disk_dark(d, e))
        return -ATOLL_EIO;
    for (int i = 0; i < d->file_count; i++) {
        memcpy(d->files[i].durable_name, d->files[i].name, LOG_NAME_MAX);
        if (d->files[i].used && !d->files[i].name[0])
            disk_forget(d, i);
    }
    return 0;
}

static int disk_list(void *context, void (*visit)(void *visitor, const char *name), void *visitor,
                     struct error *e)
{
    struct disk *d = context;
    (void)e;
    for (int i = 0; i < d->file_count; i++)
        if (d->files[i].used && d->files[i].name[0])
            visit(visitor, d->files[i].name);
    return 0;
}

static inline struct log_files disk_files(struct disk *d)
{
    return (struct log_files){.context = d,
                              .open = disk_open,
                              .close = disk_close,
                              .size = disk_size,
                              .allocate = disk_allocate,
                              .release = disk_release,
                              .read = disk_read,
                              .write = disk_write_bytes,
                              .sync = disk_sync,
                              .rename = disk_rename,
                              .remove = disk_remove,
                              .sync_names = disk_sync_names,
                              .list = disk_list};
}

/* A write reaches the disk, as far as the cut lets it. */
static inline void disk_land(struct disk *d, const struct disk_write *w, enum disk_cut cut,
                             uint64_t *left)
{
    uint8_t *to = d->files[w->file].durable.data;
    if (cut == DISK_CUT_KILLED || (cut == DISK_CUT_PREFIX && *left > 0)) {
        size_t len = cut == DISK_CUT_PREFIX && *left < w->len ? (size_t)*left : w->len;
        memcpy(to + w->at, w->bytes, len);
        *left -= cut == DISK_CUT_PREFIX ? len : 0;
    }
    for (uint64_t at = w->at; cut == DISK_CUT_SECTORS && at < w->at + w->len;) {
        uint64_t end = align_up(at + 1, DISK_SECTOR);
        if (end > w->at + w->len)
            end = w->at + w->len;
        if (disk_draw(d) % 2)
            memcpy(to + at, w->bytes + (at - w->at), (size_t)(end - at));
        at = end;
    }
}

/* The machine (or just the process) stops and starts again. */
static inline void disk_restart(struct disk *d, enum disk_cut cut)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < d->write_count; i++)
        bytes += d->writes[i].len;
    uint64_t left = bytes > 0 ? disk_draw(d) % (bytes + 1) : 0;
    for (size_t i = 0; i < d->write_count; i++) {
        disk_land(d, &d->writes[i], cut, &left);
        free(d->writes[i].bytes);
    }
    d->write_count = 0;
    bool names = cut == DISK_CUT_KILLED || (cut != DISK_CUT_NOTHING && disk_draw(d) % 2);
    for (int i = 0; i < d->file_count; i++) {
        struct disk_file *f = &d->files[i];
        if (!f->used)
            continue;
        memcpy(names ? f->durable_name : f->name, names ? f->name : f->durable_name, LOG_NAME_MAX);
        if (f->now.len > 0)
            memcpy(f->now.data, f->durable.data, f->now.len);
        if (!f->name[0])
            disk_forget(d, i);
    }
    d->fail_at = 0;
}

static inline void disk_free(struct disk *d)
{
    for (size_t i = 0; i < d->write_count; i++)
        free(d->writes[i].bytes);
    free(d->writes);
    for (int i = 0; i < d->file_count; i++) {
        buffer_free(&d->files[i].now);
        buffer_free(&d->files[i].durable);
    }
    free(d->files);
    *d = (struct disk){0};
}

#endif
