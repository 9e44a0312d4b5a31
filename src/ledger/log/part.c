/* Names with a prefix (part.h). */
#include "ledger/log/part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct part {
    struct log_files inner;
    char prefix[LOG_PART_PREFIX_MAX];
};

void log_part_prefix(uint64_t from, char prefix[static LOG_PART_PREFIX_MAX])
{
    snprintf(prefix, LOG_PART_PREFIX_MAX, "part-%020" PRIu64 "-", from);
}

bool log_part_prefix_read(const char *name, uint64_t *from, const char **rest)
{
    char again[LOG_PART_PREFIX_MAX];
    if (sscanf(name, "part-%20" SCNu64 "-", from) != 1)
        return false;
    log_part_prefix(*from, again);
    *rest = name + strlen(again);
    return strncmp(name, again, strlen(again)) == 0;
}

static void part_name(const struct part *p, const char *name, char out[static LOG_NAME_MAX])
{
    snprintf(out, LOG_NAME_MAX, "%s%s", p->prefix, name);
}

static int part_open(void *context, const char *name, bool create, struct error *e)
{
    const struct part *p = context;
    char whole[LOG_NAME_MAX];
    part_name(p, name, whole);
    return p->inner.open(p->inner.context, whole, create, e);
}

static void part_close(void *context, int file)
{
    const struct part *p = context;
    p->inner.close(p->inner.context, file);
}

static int part_size(void *context, int file, uint64_t *bytes, struct error *e)
{
    const struct part *p = context;
    return p->inner.size(p->inner.context, file, bytes, e);
}

static int part_allocate(void *context, int file, uint64_t bytes, struct error *e)
{
    const struct part *p = context;
    return p->inner.allocate(p->inner.context, file, bytes, e);
}

static void part_release(void *context, int file, uint64_t from, uint64_t to)
{
    const struct part *p = context;
    p->inner.release(p->inner.context, file, from, to);
}

static int part_read(void *context, int file, uint64_t at, void *data, size_t len, struct error *e)
{
    const struct part *p = context;
    return p->inner.read(p->inner.context, file, at, data, len, e);
}

static int part_write(void *context, int file, uint64_t at, const void *data, size_t len,
                      struct error *e)
{
    const struct part *p = context;
    return p->inner.write(p->inner.context, file, at, data, len, e);
}

static int part_sync(void *context, int file, struct error *e)
{
    const struct part *p = context;
    return p->inner.sync(p->inner.context, file, e);
}

static int part_rename(void *context, const char *from, const char *to, struct error *e)
{
    const struct part *p = context;
    char whole_from[LOG_NAME_MAX], whole_to[LOG_NAME_MAX];
    part_name(p, from, whole_from);
    part_name(p, to, whole_to);
    return p->inner.rename(p->inner.context, whole_from, whole_to, e);
}

static int part_remove(void *context, const char *name, struct error *e)
{
    const struct part *p = context;
    char whole[LOG_NAME_MAX];
    part_name(p, name, whole);
    return p->inner.remove(p->inner.context, whole, e);
}

static int part_sync_names(void *context, struct error *e)
{
    const struct part *p = context;
    return p->inner.sync_names(p->inner.context, e);
}

struct listing {
    const struct part *part;
    void (*visit)(void *visitor, const char *name);
    void *visitor;
};

static void name_see(void *context, const char *name)
{
    const struct listing *l = context;
    size_t len = strlen(l->part->prefix);
    if (strncmp(name, l->part->prefix, len) == 0)
        l->visit(l->visitor, name + len);
}

static int part_list(void *context, void (*visit)(void *visitor, const char *name), void *visitor,
                     struct error *e)
{
    const struct part *p = context;
    struct listing l = {p, visit, visitor};
    return p->inner.list(p->inner.context, name_see, &l, e);
}

int log_part_open(const struct log_files *inner, uint64_t from, struct log_files *out,
                  struct error *e)
{
    struct part *p = malloc(sizeof *p);
    if (!p)
        return error_set(e, ATOLL_ENOMEM, "no memory for a part of the log");
    p->inner = *inner;
    log_part_prefix(from, p->prefix);
    *out = (struct log_files){.context = p,
                              .open = part_open,
                              .close = part_close,
                              .size = part_size,
                              .allocate = part_allocate,
                              .release = part_release,
                              .read = part_read,
                              .write = part_write,
                              .sync = part_sync,
                              .rename = part_rename,
                              .remove = part_remove,
                              .sync_names = part_sync_names,
                              .list = part_list};
    return 0;
}

void log_part_close(struct log_files *files)
{
    free(files->context);
    files->context = NULL;
}

/* Names are gathered first: not every directory can be listed while it changes. */
struct doomed {
    char (*names)[LOG_NAME_MAX];
    size_t count;
    bool no_memory;
};

static void doom(void *context, const char *name)
{
    struct doomed *d = context;
    void *grown = realloc(d->names, (d->count + 1) * sizeof *d->names);
    d->no_memory |= !grown;
    if (!grown)
        return;
    d->names = grown;
    snprintf(d->names[d->count++], LOG_NAME_MAX, "%s", name);
}

int log_part_remove(const struct log_files *files, struct error *e)
{
    struct doomed d = {0};
    int rc = files->list(files->context, doom, &d, e);
    if (rc == 0 && d.no_memory)
        rc = error_set(e, ATOLL_ENOMEM, "no memory to remove a part of the log");
    for (size_t i = 0; i < d.count && rc == 0; i++)
        rc = files->remove(files->context, d.names[i], e);
    free(d.names);
    return rc;
}
