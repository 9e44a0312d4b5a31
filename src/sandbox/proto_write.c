/*
 * Writing proto-images (proto_image.h; proto_format.h draws the file).
 *
 * References are addresses of function records, relative to B. A record lies in the field block of
 * the instance whose function it is, among its imports or its referenced functions: that gives the
 * pair (instance, function index) back.
 */
#include "sandbox/proto_format.h"
#include "sandbox/snapshot.h"

#include "base/file.h"
#include "engine/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct writer {
    struct arena *arena;
    int fd;
    struct buffer metadata;
    struct buffer extents; /* struct proto_extent */
    uint64_t page_count;
    uint32_t **functions; /* per instance: function of each record; filled on demand */
    /* The extent that is being gathered, of module `module`. */
    struct proto_extent open;
};

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory to write a proto-image");
}

static int no_reference(struct error *e)
{
    return error_set(e, ATOLL_EBUSY,
                     "the state of this arena cannot be kept: it holds a reference to an object of "
                     "the host");
}

/* ---- references ---- */

/* The function of each record of an instance. */
static const uint32_t *record_functions(struct writer *w, uint32_t ordinal)
{
    const struct artefact *artefact = w->arena->instances[ordinal]->artefact;
    if (!w->functions[ordinal]) {
        uint32_t *list = malloc(((size_t)artefact->layout.record_count + 1) * sizeof *list);
        for (uint32_t f = 0; list && f < artefact->module.function_count; f++)
            if (artefact->layout.record_of[f] != UINT32_MAX)
                list[artefact->layout.record_of[f]] = f;
        w->functions[ordinal] = list;
    }
    return w->functions[ordinal];
}

/* Which record of `count` records from `first` on stands at the address; count: none of them. */
static uint64_t record_at(const struct function_record *first, uint64_t count,
                          const uint8_t *address)
{
    uint64_t offset = (uint64_t)(address - (const uint8_t *)first);
    return address >= (const uint8_t *)first && offset % sizeof *first == 0 &&
                   offset / sizeof *first < count
               ? offset / sizeof *first
               : count;
}

static int pair_of(struct writer *w, uint64_t reference, struct proto_pair *out, struct error *e)
{
    const uint8_t *address = w->arena->base + (int64_t)reference;
    *out = (struct proto_pair){PROTO_NULL, 0};
    if (!reference)
        return 0;
    for (uint32_t k = 0; k < w->arena->instance_count; k++) {
        const struct instance *i = w->arena->instances[k];
        uint64_t imports = i->artefact->module.imported_functions;
        uint64_t records = i->artefact->layout.record_count;
        uint64_t import = record_at(instance_imports(i), imports, address);
        uint64_t record = record_at(instance_records(i), records, address);
        if (import == imports && record == records)
            continue;
        const uint32_t *functions = record < records ? record_functions(w, k) : NULL;
        if (record < records && !functions)
            return no_memory(e);
        *out = (struct proto_pair){k, functions ? functions[record] : (uint32_t)import};
        return 0;
    }
    return no_reference(e);
}

/* ---- globals, tables, segments ---- */

static int globals_write(struct writer *w, const struct instance *i, uint32_t *count,
                         struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    for (uint32_t g = m->imported_globals; g < m->global_count; g++) {
        uint8_t value[AREA_SLOT];
        struct proto_pair pair;
        if (!m->globals[g].mutable)
            continue;
        instance_global(i, g, value);
        if (m->globals[g].type == WASM_EXTERNREF && load_u64(value))
            return no_reference(e);
        if (wasm_is_reference(m->globals[g].type)) {
            int rc = pair_of(w, load_u64(value), &pair, e);
            if (rc < 0)
                return rc;
            memset(value, 0, sizeof value);
            memcpy(value, &pair, sizeof pair);
        }
        if (!buffer_append(&w->metadata, value, sizeof value))
            return no_memory(e);
        ++*count;
    }
    return 0;
}

/* One table's pairs; nulls in a row are one pair. */
static int entries_write(struct writer *w, const struct instance *i,
                         const struct table_descriptor *d, uint32_t *pairs, struct error *e)
{
    const struct function_record *entries = table_entries(i, d);
    for (uint64_t k = 0; k < d->size; ++*pairs) {
        struct proto_pair pair;
        int rc = pair_of(w, (uint64_t)entries[k].record, &pair, e);
        if (rc < 0)
            return rc;
        k++;
        if (pair.module == PROTO_NULL)
            for (pair.function = 1; k < d->size && !entries[k].record; k++)
                pair.function++;
        if (!buffer_append(&w->metadata, &pair, sizeof pair))
            return no_memory(e);
        if (w->metadata.len > PROTO_METADATA_MAX)
            return error_set(e, ATOLL_ESIZE, "the tables are too large for a proto-image");
    }
    return 0;
}

static int table_write(struct writer *w, const struct instance *i, uint32_t table, struct error *e)
{
    const struct table_descriptor *d = instance_table(i, table);
    struct proto_table_head head = {.size = (uint32_t)d->size};
    size_t at = w->metadata.len;
    if (!buffer_append(&w->metadata, &head, sizeof head))
        return no_memory(e);
    int rc = entries_write(w, i, d, &head.pairs, e);
    memcpy(w->metadata.data + at, &head, sizeof head);
    return rc;
}

static int module_write(struct writer *w, const struct instance *i, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    struct proto_module_head head = {
        .link = i->artefact->options.link,
        .tables = m->table_count - m->imported_tables,
        .segments = m->data_count + m->element_count,
        .memory_bytes = m->imported_memories ? 0 : instance_memory_bytes(i),
    };
    size_t at = w->metadata.len;
    memcpy(head.wasm_sha256, i->artefact->wasm_sha256, HASH_LEN);
    if (!buffer_append(&w->metadata, &head, sizeof head))
        return no_memory(e);
    int rc = globals_write(w, i, &head.globals, e);
    for (uint32_t t = m->imported_tables; rc == 0 && t < m->table_count; t++)
        rc = table_write(w, i, t, e);
    if (rc < 0)
        return rc;
    memcpy(w->metadata.data + at, &head, sizeof head);
    return buffer_append(&w->metadata, i->vm - i->artefact->layout.dropped, head.segments) &&
                   buffer_align(&w->metadata, 8)
               ? 0
               : no_memory(e);
}

/* ---- memory ---- */

static int extent_close(struct writer *w, struct error *e)
{
    if (w->open.pages && !buffer_append(&w->extents, &w->open, sizeof w->open))
        return no_memory(e);
    w->page_count += w->open.pages;
    w->open.pages = 0;
    return 0;
}

/* Joins a run of non-zero pages to the open extent when the gap is short. */
static int run_gather(void *context, const uint8_t *start, uint64_t len, struct error *e)
{
    struct writer *w = context;
    struct proto_extent *open = &w->open;
    const uint8_t *memory = instance_memory(w->arena->instances[open->module]);
    uint64_t page = (uint64_t)(start - memory) / PAGE_BYTES, pages = len / PAGE_BYTES;
    uint64_t end = open->page + open->pages;
    if (open->pages && page - end >= PROTO_HOLE_PAGES) {
        int rc = extent_close(w, e);
        if (rc < 0)
            return rc;
    }
    if (!open->pages)
        open->page = page;
    open->pages = (uint32_t)(page + pages - open->page);
    return 0;
}

/* What of an instance's own memory may be other than zero. */
static struct arena_extent memory_extent(const struct instance *i)
{
    const struct artefact *artefact = i->artefact;
    uint64_t low = artefact->layout.low_size, len = instance_memory_bytes(i);
    struct arena_extent x = {.from_b = instance_memory(i) - i->arena->base, .len = len};
    if (i->arena->from_snapshot) {
        x.known = len;
    } else if (artefact->options.link == LINK_PRIMARY && artefact->data_populated > low) {
        x.known = align_up(artefact->data_populated - low, PAGE_BYTES);
        x.image = artefact;
        x.image_offset = low;
    }
    return x;
}

static int extents_gather(struct writer *w, struct error *e)
{
    for (uint32_t k = 0; k < w->arena->instance_count; k++) {
        const struct instance *i = w->arena->instances[k];
        if (i->artefact->module.imported_memories || !instance_memory_bytes(i))
            continue;
        struct arena_extent memory = memory_extent(i);
        w->open = (struct proto_extent){.module = k};
        int rc = extent_visit(w->arena, &memory, run_gather, w, e);
        if (rc < 0 || (rc = extent_close(w, e)) < 0)
            return rc;
    }
    return 0;
}

/* ---- the file ---- */

static int write_at(int fd, const void *data, uint64_t len, uint64_t offset, struct error *e)
{
    if (file_write_at(fd, data, len, offset, e) < 0)
        return error_set(e, ATOLL_EIO, "cannot write a proto-image: %s", e->text);
    return 0;
}

/* Writes the non-zero pages of each extent; what is between stays a hole. */
static int extents_write(const struct writer *w, uint64_t offset, struct error *e)
{
    for (size_t at = 0; at < w->extents.len; at += sizeof(struct proto_extent)) {
        struct proto_extent extent;
        memcpy(&extent, w->extents.data + at, sizeof extent);
        const uint8_t *start =
            instance_memory(w->arena->instances[extent.module]) + extent.page * PAGE_BYTES;
        uint64_t len = (uint64_t)extent.pages * PAGE_BYTES;
        for (uint64_t from = 0; from < len;) {
            uint64_t to = from;
            while (to < len && !page_is_zero(start + to))
                to += PAGE_BYTES;
            int rc = to > from ? write_at(w->fd, start + from, to - from, offset + from, e) : 0;
            if (rc < 0)
                return rc;
            from = to + PAGE_BYTES;
        }
        offset += len;
    }
    return 0;
}

static int root_write(int fd, uint64_t len, struct error *e)
{
    uint8_t root[HASH_LEN];
    const uint8_t *bytes = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED)
        return error_set_errno(e, ATOLL_EIO, "cannot read back a proto-image");
    int rc = proto_root(bytes, len, root, e);
    munmap((void *)bytes, len);
    return rc < 0 ? rc : write_at(fd, root, sizeof root, offsetof(struct proto_header, root), e);
}

static int file_write(struct writer *w, const void *owner, size_t owner_len, struct error *e)
{
    struct proto_header header = {
        .format = PROTO_FORMAT,
        .owner_len = owner_len,
        .memory_bytes = arena_memory_size(w->arena),
        .module_count = w->arena->instance_count,
        .extent_count = (uint32_t)(w->extents.len / sizeof(struct proto_extent)),
    };
    memcpy(header.magic, PROTO_MAGIC, sizeof header.magic);
    proto_abi(header.abi);
    if (!buffer_append(&w->metadata, w->extents.data, w->extents.len) ||
        !buffer_append(&w->metadata, owner, owner_len))
        return no_memory(e);
    if (w->metadata.len > PROTO_METADATA_MAX)
        return error_set(e, ATOLL_ESIZE,
                         "globals, tables and the owner's bytes are too large for "
                         "a proto-image");
    header.metadata_len = w->metadata.len;
    uint64_t pages = PAGE_BYTES + align_up(w->metadata.len, PAGE_BYTES);
    header.file_bytes = pages + w->page_count * PAGE_BYTES;
    if (ftruncate(w->fd, (off_t)header.file_bytes) != 0)
        return error_set_errno(e, ATOLL_EIO, "cannot write a proto-image");
    int rc = write_at(w->fd, &header, sizeof header, 0, e);
    if (rc == 0)
        rc = write_at(w->fd, w->metadata.data, w->metadata.len, PAGE_BYTES, e);
    if (rc == 0)
        rc = extents_write(w, pages, e);
    return rc < 0 ? rc : root_write(w->fd, header.file_bytes, e);
}

static int arena_write(struct writer *w, const void *owner, size_t owner_len, struct error *e)
{
    for (uint32_t k = 0; k < w->arena->instance_count; k++) {
        int rc = module_write(w, w->arena->instances[k], e);
        if (rc < 0)
            return rc;
    }
    int rc = extents_gather(w, e);
    return rc < 0 ? rc : file_write(w, owner, owner_len, e);
}

int proto_image_write(struct arena *a, const void *owner, size_t owner_len, int fd, struct error *e)
{
    struct writer w = {.arena = a, .fd = fd};
    int rc = arena_quiescent(a, e);
    if (rc < 0)
        return rc;
    if (!a->instance_count)
        return error_set(e, ATOLL_EINVAL, "nothing is linked into the arena");
    if (owner_len > PROTO_OWNER_MAX)
        return error_set(e, ATOLL_ESIZE, "the owner's section of a proto-image holds %u bytes",
                         PROTO_OWNER_MAX);
    w.functions = calloc(a->instance_count, sizeof(uint32_t *));
    rc = w.functions ? arena_write(&w, owner, owner_len, e) : no_memory(e);
    for (uint32_t k = 0; w.functions && k < a->instance_count; k++)
        free(w.functions[k]);
    free(w.functions);
    buffer_free(&w.metadata);
    buffer_free(&w.extents);
    return rc;
}
