/*
 * Loading proto-images into fresh arenas (proto_image.h; proto_format.h draws the file).
 *
 * The modules are linked as usual; then globals, tables, dropped segments and memory are set
 * through their indices, each checked against what the module declares. So whatever an image says,
 * the result is a state in which every reference leads to a function of these modules, every table
 * and memory lies within its limits, and no segment is there that its module has not.
 */
#define _GNU_SOURCE
#include "sandbox/proto_format.h"

#include "base/file.h"
#include "engine/link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAPPED_MIN (256u << 10) /* bytes of an extent that is mapped instead of read */
#define MAPPED_MAX 64u          /* extents: each takes a mapping or two */

struct load {
    const struct proto_image *image;
    struct arena *arena;
    uint32_t next;   /* extent */
    uint64_t offset; /* of its pages in the file */
    uint32_t mapped; /* extents */
};

static int misfit(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the proto-image does not fit its modules: %s", what);
}

/* ---- modules ---- */

int proto_link_module(void *context, struct arena *a, uint32_t ordinal,
                      const uint8_t wasm_sha256[HASH_LEN], enum link_mode link, struct error *e)
{
    const struct proto_module *module = context;
    struct instance *instance;
    if (ordinal || link != LINK_PRIMARY ||
        memcmp(module->artefact->wasm_sha256, wasm_sha256, HASH_LEN) != 0)
        return error_set(e, ATOLL_ESTALE, "the proto-image was made of another module");
    return instance_create(a, module->artefact, module->imports, module->import_count, &instance,
                           e);
}

static struct proto_module_head module_head(const struct load *l, uint32_t ordinal)
{
    struct proto_module_head head;
    memcpy(&head, l->image->modules[ordinal], sizeof head);
    return head;
}

static int modules_link(struct load *l, proto_link link, void *context, struct error *e)
{
    for (uint32_t k = 0; k < l->image->header.module_count; k++) {
        struct proto_module_head head = module_head(l, k);
        if (head.link > LINK_OTHER)
            return misfit(e, "a module has no place");
        int rc = link(context, l->arena, k, head.wasm_sha256, (enum link_mode)head.link, e);
        if (rc < 0)
            return rc;
        const struct artefact *artefact =
            l->arena->instance_count == k + 1 ? l->arena->instances[k]->artefact : NULL;
        if (!artefact || artefact->options.link != head.link ||
            memcmp(artefact->wasm_sha256, head.wasm_sha256, HASH_LEN) != 0)
            return error_set(e, ATOLL_ESTALE, "the proto-image was made of other modules");
    }
    return 0;
}

/* ---- references ---- */

/* The reference a pair stands for; false when there is no such function, or none that the module
 * may refer to. */
static bool reference_of(const struct load *l, struct proto_pair pair, uint64_t *out)
{
    *out = 0;
    if (pair.module == PROTO_NULL)
        return true;
    if (pair.module >= l->arena->instance_count)
        return false;
    const struct instance *i = l->arena->instances[pair.module];
    const struct wasm_module *m = &i->artefact->module;
    if (pair.function >= m->function_count ||
        (pair.function >= m->imported_functions &&
         i->artefact->layout.record_of[pair.function] == UINT32_MAX))
        return false;
    *out = instance_reference(i, pair.function);
    return true;
}

/* ---- globals, tables, segments ---- */

static int globals_set(const struct load *l, struct instance *i, uint32_t count, const uint8_t **at,
                       struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    uint32_t set = 0;
    for (uint32_t g = m->imported_globals; g < m->global_count; g++) {
        uint8_t value[AREA_SLOT];
        struct proto_pair pair;
        uint64_t reference;
        if (!m->globals[g].mutable)
            continue;
        if (set++ == count)
            return misfit(e, "globals are missing");
        memcpy(value, *at, sizeof value);
        *at += sizeof value;
        if (wasm_is_reference(m->globals[g].type)) {
            memcpy(&pair, value, sizeof pair);
            if (!reference_of(l, pair, &reference) ||
                (m->globals[g].type == WASM_EXTERNREF && reference))
                return misfit(e, "a global refers to no function");
            memset(value, 0, sizeof value);
            store_u64(value, reference);
        }
        instance_global_set(i, g, value);
    }
    return set == count ? 0 : misfit(e, "too many globals");
}

/* Fills a table from its pairs; false when they do not come out at its size. */
static bool entries_set(const struct load *l, const struct instance *i, uint32_t table,
                        const struct proto_table_head *head, const uint8_t *at)
{
    struct table_descriptor *d = instance_table(i, table);
    struct function_record *entries = table_entries(i, d);
    bool functions = i->artefact->module.tables[table].type == WASM_FUNCREF;
    uint64_t filled = 0, reference;
    for (uint32_t k = 0; k < head->pairs; k++, at += sizeof(struct proto_pair)) {
        struct proto_pair pair;
        memcpy(&pair, at, sizeof pair);
        uint64_t count = pair.module == PROTO_NULL ? pair.function : 1;
        if (count > head->size - filled || !reference_of(l, pair, &reference) ||
            (reference && !functions))
            return false;
        struct function_record entry = {0};
        if (reference)
            memcpy(&entry, l->arena->base + (int64_t)reference, sizeof entry);
        for (uint64_t n = 0; n < count; n++)
            entries[filled++] = entry;
    }
    d->size = filled;
    return filled == head->size;
}

static int table_set(const struct load *l, const struct instance *i, uint32_t table,
                     const uint8_t **at, struct error *e)
{
    const struct table_descriptor *d = instance_table(i, table);
    struct proto_table_head head;
    memcpy(&head, *at, sizeof head);
    *at += sizeof head;
    const uint8_t *pairs = *at;
    *at += (size_t)head.pairs * sizeof(struct proto_pair);
    if (head.size > d->limit ||
        (head.size > d->size && !arena_table_room(l->arena, head.size - d->size)))
        return error_set(e, ATOLL_ELIMIT,
                         "a table of the proto-image has %u entries, more than "
                         "are allowed here",
                         head.size);
    if (head.size < d->size)
        return misfit(e, "a table is smaller than it begins");
    return entries_set(l, i, table, &head, pairs)
               ? 0
               : misfit(e, "a table's entries do not come out at its size");
}

/* A segment may be dropped; one that is, in a fresh instance, cannot come back. */
static int segments_set(const struct instance *i, const uint8_t *at, struct error *e)
{
    uint8_t *dropped = i->vm - i->artefact->layout.dropped;
    uint32_t count = i->artefact->module.data_count + i->artefact->module.element_count;
    for (uint32_t s = 0; s < count; s++)
        if (at[s] > 1 || at[s] < dropped[s])
            return misfit(e, "a segment is there that cannot be");
    memcpy(dropped, at, count);
    return 0;
}

/* ---- memory ---- */

static int memory_grow(struct instance *i, uint64_t bytes, struct error *e)
{
    struct memory_view memory = instance_memory_view(i);
    if (i->artefact->module.imported_memories || !memory.base)
        return bytes ? misfit(e, "a module has memory of its own that should not") : 0;
    uint64_t now = *memory.size;
    if (bytes % WASM_PAGE || bytes < now)
        return misfit(e, "a memory is smaller than it begins");
    if (bytes > *memory.limit)
        return error_set(e, ATOLL_ELIMIT,
                         "the proto-image needs %llu MiB of memory but may have %llu MiB; raise "
                         "the memory limit",
                         (unsigned long long)bytes >> 20, (unsigned long long)*memory.limit >> 20);
    arena_reach(i->arena, memory.base + bytes);
    if (bytes > now && mprotect(memory.base + now, bytes - now, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the memory of a proto-image");
    *memory.size = bytes;
    return 0;
}

static void pages_clear(uint8_t *from, const uint8_t *to)
{
    for (; from < to; from += PAGE_BYTES)
        if (!page_is_zero(from))
            memset(from, 0, PAGE_BYTES);
}

/* The memory of a fresh instance, as far as it need not be zero. Where the artefact's initial image
 * is all there is in it, only the pages that this was written to are looked at: reading one of its
 * holes costs a page. */
struct fresh {
    const struct instance *instance;
    uint8_t *end;
    bool known;   /* what is not zero lies in the runs of the initial image … */
    uint32_t run; /* … of which those before this one are behind us */
};

static struct fresh fresh_begin(const struct instance *i, uint64_t bytes)
{
    const struct artefact *artefact = i->artefact;
    return (struct fresh){.instance = i,
                          .end = instance_memory(i) + bytes,
                          .known = artefact->options.link == LINK_PRIMARY &&
                                   artefact->baked_datas == artefact->module.data_count};
}

/* Makes [from, to) zero; what is asked for ascends. */
static void fresh_clear(struct fresh *f, uint8_t *from, uint8_t *to)
{
    const struct artefact *artefact = f->instance->artefact;
    to = to < f->end ? to : f->end;
    if (!f->known)
        pages_clear(from, to);
    for (; f->known && f->run < artefact_run_count(artefact); f->run++) {
        uint64_t offset, size;
        artefact_run(artefact, f->run, &offset, &size);
        uint8_t *image = f->instance->vm - artefact->layout.low_size;
        uint8_t *start = image + offset / PAGE_BYTES * PAGE_BYTES;
        uint8_t *end = image + align_up(offset + size, PAGE_BYTES);
        pages_clear(start > from ? start : from, end < to ? end : to);
        if (end > to)
            break;
    }
}

static int extent_read(const struct load *l, uint8_t *to, uint64_t len, uint64_t offset,
                       struct error *e)
{
    if (file_read_at(l->image->fd, to, len, offset, e) < 0)
        return error_set(e, ATOLL_ENOMEM, "cannot read the memory of a proto-image: %s", e->text);
    return 0;
}

/* Large extents are mapped, private, so that only what reads or writes them costs anything. */
static int extent_place(struct load *l, uint8_t *to, uint64_t len, uint64_t offset, struct error *e)
{
    if (len < MAPPED_MIN || l->mapped == MAPPED_MAX)
        return extent_read(l, to, len, offset, e);
    l->mapped++;
    if (mmap(to, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, l->image->fd,
             (off_t)offset) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the memory of a proto-image");
    return 0;
}

/* Sets the memory of module `ordinal`; `before`: its size when it was linked. */
static int memory_set(struct load *l, uint32_t ordinal, uint64_t before, struct error *e)
{
    struct instance *i = l->arena->instances[ordinal];
    uint8_t *memory = instance_memory(i), *cleared = memory;
    struct fresh fresh = fresh_begin(i, before);
    uint64_t size = module_head(l, ordinal).memory_bytes;
    for (; l->next < l->image->header.extent_count; l->next++) {
        struct proto_extent x;
        memcpy(&x, l->image->extents + (size_t)l->next * sizeof x, sizeof x);
        if (x.module != ordinal)
            break;
        uint64_t at = x.page * PAGE_BYTES, len = (uint64_t)x.pages * PAGE_BYTES;
        if (at > size || len > size - at)
            return misfit(e, "pages lie beyond the end of a memory");
        fresh_clear(&fresh, cleared, memory + at);
        int rc = extent_place(l, memory + at, len, l->offset, e);
        if (rc < 0)
            return rc;
        l->offset += len;
        cleared = memory + at + len;
    }
    fresh_clear(&fresh, cleared, fresh.end);
    return 0;
}

/* ---- the whole ---- */

static int module_set(const struct load *l, uint32_t ordinal, struct error *e)
{
    struct instance *i = l->arena->instances[ordinal];
    const struct wasm_module *m = &i->artefact->module;
    struct proto_module_head head = module_head(l, ordinal);
    const uint8_t *at = l->image->modules[ordinal] + sizeof head;
    if (head.tables != m->table_count - m->imported_tables ||
        head.segments != m->data_count + m->element_count)
        return misfit(e, "tables or segments are missing");
    int rc = globals_set(l, i, head.globals, &at, e);
    for (uint32_t t = m->imported_tables; rc == 0 && t < m->table_count; t++)
        rc = table_set(l, i, t, &at, e);
    return rc < 0 ? rc : segments_set(i, at, e);
}

static int state_set(struct load *l, struct error *e)
{
    l->offset = (uint64_t)(l->image->pages - l->image->bytes);
    for (uint32_t k = 0; k < l->arena->instance_count; k++) {
        struct instance *i = l->arena->instances[k];
        bool own = !i->artefact->module.imported_memories;
        uint64_t before = own ? instance_memory_bytes(i) : 0;
        int rc = module_set(l, k, e);
        if (rc == 0)
            rc = memory_grow(i, module_head(l, k).memory_bytes, e);
        if (rc == 0 && own && instance_memory(i))
            rc = memory_set(l, k, before, e);
        if (rc < 0)
            return rc;
    }
    if (l->next != l->image->header.extent_count)
        return misfit(e, "pages of a memory that does not exist");
    return arena_memory_size(l->arena) == l->image->header.memory_bytes
               ? 0
               : misfit(e, "memory 0 has another size");
}

int proto_image_load(const struct proto_image *image, const struct arena_limits *limits,
                     proto_link link, void *context, struct arena **out, struct error *e)
{
    struct load l = {.image = image};
    *out = NULL;
    int rc = arena_create(SLOT_ANY, limits, &l.arena, e);
    if (rc < 0)
        return rc;
    rc = modules_link(&l, link, context, e);
    if (rc == 0)
        rc = state_set(&l, e);
    if (rc < 0) {
        arena_destroy(l.arena);
        return rc;
    }
    l.arena->from_snapshot |= l.mapped > 0; /* what is not private is not the artefact's */
    *out = l.arena;
    return 0;
}
