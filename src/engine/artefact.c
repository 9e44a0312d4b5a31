/*
 * Opens artefacts: from bytes to tables in memory and two sealed memory files, one of code, one of
 * the initial image. artefact_format.h draws the bytes.
 *
 * The bytes carry a MAC that was checked, so they are what atoll-cc made. They are parsed as if
 * they were not: a wrong byte may yield an error or a useless artefact, never an access out of
 * bounds.
 */
#define _GNU_SOURCE
#include "engine/artefact.h"

#include "base/file.h"
#include "engine/artefact_format.h"
#include "engine/cpu.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int corrupt(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the artefact is damaged (%s); compile the module again",
                     what);
}

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for an artefact");
}

/* ---- header ---- */

static int header_read(const uint8_t *bytes, size_t len, struct artefact_header *h, struct error *e)
{
    if (len < sizeof *h)
        return corrupt(e, "cut off");
    memcpy(h, bytes, sizeof *h);
    if (memcmp(h->magic, ARTEFACT_MAGIC, sizeof h->magic) != 0)
        return error_set(e, ATOLL_ECORRUPT, "these bytes are not an artefact");
    if (h->format != ARTEFACT_FORMAT)
        return error_set(
            e, ATOLL_ESTALE,
            "the artefact has format %u, this release uses %u; compile the module again", h->format,
            ARTEFACT_FORMAT);
    if (h->tier > TIER_OPT || h->mode > MODE_EXACT || h->cpu < CPU_NATIVE || h->cpu > CPU_V4 ||
        h->link > LINK_OTHER || h->flags & ~(uint32_t)ARTEFACT_FLAGS_ALL)
        return corrupt(e, "unknown options");
    if (h->code_size % 4096 || h->code_size > ARENA_IMAGES_SIZE || h->text_size > h->code_size)
        return corrupt(e, "code size");
    struct artefact_tables t = artefact_tables_place(h);
    if (t.extent_bytes > len)
        return corrupt(e, "cut off");
    return 0;
}

static void options_read(const struct artefact_header *h, struct artefact *a)
{
    a->options = (struct compile_options){
        .tier = h->tier,
        .mode = h->mode,
        .cpu = h->cpu,
        .link = h->link,
        .fuel = h->flags & ARTEFACT_FUEL,
        .tail_calls = h->flags & ARTEFACT_TAIL_CALLS,
        .deterministic = h->flags & ARTEFACT_DETERMINISTIC,
    };
    a->degraded = h->flags & ARTEFACT_DEGRADED;
    a->globals_baked = h->flags & ARTEFACT_GLOBALS_BAKED;
    a->cpu_features = h->cpu_features;
    a->baked_elements = h->baked_elements;
    a->baked_datas = h->baked_datas;
    a->data_size = h->data_size;
    a->text_size = h->text_size;
    a->code_size = h->code_size;
    memcpy(a->wasm_sha256, h->wasm_sha256, HASH_LEN);
}

/* ---- module ---- */

static int module_open(const struct artefact_header *h, const struct artefact_tables *t,
                       struct artefact *a, struct error *e)
{
    int rc = wasm_read_skeleton(a->tables + t->skeleton, h->skeleton_size, &a->module, e);
    if (rc == 0)
        rc = wasm_validate_module(&a->module, e);
    if (rc == 0)
        rc = abi_layout_compute(&a->module, (enum link_mode)h->link, &a->layout, e);
    if (rc < 0)
        return rc == -ATOLL_ENOMEM ? rc : corrupt(e, "module");
    const struct wasm_module *m = &a->module;
    if (h->functions != m->function_count - m->imported_functions || h->types != m->type_count ||
        h->imports != m->imported_functions || h->baked_elements > m->element_count ||
        h->baked_datas > m->data_count)
        return corrupt(e, "counts");
    if (h->data_size != initial_image_size(m, &a->layout, (enum link_mode)h->link))
        return corrupt(e, "image size");
    return 0;
}

/* ---- tables ---- */

static bool functions_inside(const struct artefact *a, uint32_t count)
{
    for (uint32_t f = 0; f < count; f++) {
        if (a->function_offsets[f] > a->text_size ||
            a->function_sizes[f] > a->text_size - a->function_offsets[f])
            return false;
        if (f && a->body_offsets[f] < a->body_offsets[f - 1])
            return false;
    }
    return true;
}

/* What instance_invoke relies on: a thunk for every function that can be called from outside. */
static bool thunks_inside(const struct artefact *a)
{
    const struct wasm_module *m = &a->module;
    for (uint32_t t = 0; t < m->type_count; t++)
        if (a->entry_offsets[t] >= a->text_size && a->entry_offsets[t] != UINT32_MAX)
            return false;
    for (uint32_t f = 0; f < m->imported_functions; f++)
        if (a->import_offsets[f] >= a->text_size)
            return false;
    for (uint32_t f = 0; f < m->function_count; f++)
        if ((wasm_function_referenced(m, f) || f == m->start) &&
            a->entry_offsets[m->types[m->functions[f].type].canonical] == UINT32_MAX)
            return false;
    return true;
}

struct ordered_function {
    uint32_t offset, index;
};

static int function_compare(const void *left, const void *right)
{
    const struct ordered_function *a = left, *b = right;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Shards usually emit functions in order; when not, lookups by address need a permutation. */
static bool functions_order(struct artefact *a, uint32_t count)
{
    uint32_t f = 1;
    while (f < count && a->function_offsets[f] >= a->function_offsets[f - 1])
        f++;
    if (f >= count)
        return true;
    struct ordered_function *ordered = malloc(count * sizeof *ordered);
    a->function_order = malloc(count * sizeof *a->function_order);
    for (uint32_t i = 0; ordered && i < count; i++)
        ordered[i] = (struct ordered_function){a->function_offsets[i], i};
    if (ordered)
        qsort(ordered, count, sizeof *ordered, function_compare);
    for (uint32_t i = 0; ordered && a->function_order && i < count; i++)
        a->function_order[i] = ordered[i].index;
    bool ok = ordered && a->function_order;
    free(ordered);
    return ok;
}

static int tables_open(const struct artefact_header *h, const struct artefact_tables *t,
                       struct artefact *a, struct error *e)
{
    /* The header has 128 bytes and every table before these 4-byte entries, so they are aligned. */
    a->function_offsets = (const uint32_t *)(const void *)(a->tables + t->function_offsets);
    a->function_sizes = (const uint32_t *)(const void *)(a->tables + t->function_sizes);
    a->body_offsets = (const uint32_t *)(const void *)(a->tables + t->body_offsets);
    a->entry_offsets = (const uint32_t *)(const void *)(a->tables + t->entry_offsets);
    a->import_offsets = (const uint32_t *)(const void *)(a->tables + t->import_offsets);
    if (!functions_inside(a, h->functions) || !thunks_inside(a))
        return corrupt(e, "offsets");
    if (!functions_order(a, h->functions))
        return no_memory(e);
    a->rows = (struct line_rows){
        .blocks = (const struct row_block *)(const void *)(a->tables + t->row_blocks),
        .bytes = a->tables + t->row_bytes,
        .count = h->rows,
        .size = h->row_bytes};
    return 0;
}

/* ---- memory files ---- */

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif

/* Whether nobody can change the file any more, and its pages may be mapped to be executed. */
static bool file_is_code(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS), needed = F_SEAL_SHRINK | F_SEAL_WRITE;
    return seals >= 0 && (seals & needed) == needed && !(seals & F_SEAL_EXEC);
}

/* The descriptor to map the code from; file: where the bytes come from, -1 = memory. */
static int code_file(int file, const uint8_t *bytes, uint64_t at, struct artefact *a,
                     struct error *e)
{
    if (file < 0 || !file_is_code(file))
        return memory_file("atoll-code", bytes + at, a->code_size, a->code_size, true, true, e);
    int fd = fcntl(file, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot keep the file of an artefact");
    a->code_at = at;
    return fd;
}

static int code_open(int file, const uint8_t *bytes, uint64_t at, struct artefact *a,
                     struct error *e)
{
    a->code_fd = code_file(file, bytes, at, a, e);
    if (a->code_fd < 0)
        return a->code_fd;
    if (a->code_size == 0)
        return 0;
    void *mapped = mmap(NULL, a->code_size, PROT_READ, MAP_SHARED, a->code_fd, (off_t)a->code_at);
    if (mapped == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the code of an artefact");
    a->code = mapped;
    return 0;
}

static const struct image_extent *extents_of(const uint8_t *tables, const struct artefact_tables *t)
{
    return (const struct image_extent *)(const void *)(tables + t->extents);
}

/* The extents ascend inside the image, and their bytes are exactly what follows the code. */
static int extents_check(const struct artefact_header *h, const struct image_extent *extents,
                         uint64_t bytes, struct artefact *a, struct error *e)
{
    uint64_t end = 0, total = 0;
    for (uint32_t i = 0; i < h->extents; i++) {
        const struct image_extent *x = &extents[i];
        if (x->offset < end || x->offset > h->data_size || x->size > h->data_size - x->offset)
            return corrupt(e, "initial image");
        end = x->offset + x->size;
        total += x->size;
    }
    if (total != bytes)
        return corrupt(e, "length");
    a->data_populated = end;
    return 0;
}

static int extents_write(int fd, const struct image_extent *extents, uint32_t count,
                         const uint8_t *bytes, struct error *e)
{
    for (uint32_t i = 0; i < count; i++) {
        if (file_write_at(fd, bytes, extents[i].size, extents[i].offset, e) < 0)
            return error_prefix(e, "cannot fill the initial image of an artefact");
        bytes += extents[i].size;
    }
    return memory_file_seal(fd, e);
}

static int data_open(const struct artefact_header *h, const struct artefact_tables *t,
                     const uint8_t *bytes, size_t len, struct artefact *a, struct error *e)
{
    const struct image_extent *extents = extents_of(a->tables, t);
    int rc = extents_check(h, extents, len - t->extent_bytes, a, e);
    if (rc < 0)
        return rc;
    a->data_fd = memory_file("atoll-data", NULL, 0, a->data_size, false, false, e);
    if (a->data_fd < 0)
        return a->data_fd;
    return extents_write(a->data_fd, extents, h->extents, bytes + t->extent_bytes, e);
}

/* ---- open and release ---- */

static int artefact_fill(int file, const uint8_t *bytes, size_t len,
                         const struct artefact_header *h, struct artefact *a, struct error *e)
{
    struct artefact_tables t = artefact_tables_place(h);
    a->tables_size = t.code;
    a->tables = malloc(t.code);
    if (!a->tables)
        return no_memory(e);
    memcpy(a->tables, bytes, t.code);
    options_read(h, a);
    int rc = module_open(h, &t, a, e);
    if (rc == 0)
        rc = tables_open(h, &t, a, e);
    if (rc == 0)
        rc = code_open(file, bytes, t.code, a, e);
    if (rc == 0)
        rc = data_open(h, &t, bytes, len, a, e);
    return rc;
}

static int artefact_open_from(int file, const uint8_t *bytes, size_t len,
                              const uint8_t id[static HASH_LEN], struct artefact **out,
                              struct error *e)
{
    struct artefact_header h;
    *out = NULL;
    int rc = header_read(bytes, len, &h, e);
    if (rc < 0)
        return rc;
    struct artefact *a = calloc(1, sizeof *a);
    if (!a)
        return no_memory(e);
    a->references = 1;
    a->code_fd = a->data_fd = -1;
    memcpy(a->id, id, HASH_LEN);
    rc = artefact_fill(file, bytes, len, &h, a, e);
    if (rc < 0) {
        artefact_release(a);
        return rc;
    }
    *out = a;
    return 0;
}

void artefact_identify(const uint8_t *bytes, size_t len, uint8_t id[static HASH_LEN])
{
    hash_sha256(bytes, len, id);
}

int artefact_open_known(const uint8_t *bytes, size_t len, const uint8_t id[static HASH_LEN],
                        struct artefact **out, struct error *e)
{
    return artefact_open_from(-1, bytes, len, id, out, e);
}

int artefact_open(const uint8_t *bytes, size_t len, struct artefact **out, struct error *e)
{
    uint8_t id[HASH_LEN];
    artefact_identify(bytes, len, id);
    return artefact_open_known(bytes, len, id, out, e);
}

int artefact_open_file(int fd, const uint8_t *id, struct artefact **out, struct error *e)
{
    struct stat st;
    uint8_t hash[HASH_LEN];
    *out = NULL;
    if (fstat(fd, &st) < 0 || st.st_size <= 0)
        return error_set(e, ATOLL_ECORRUPT, "the descriptor of an artefact holds none");
    size_t len = (size_t)st.st_size;
    void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map an artefact");
    if (!id)
        artefact_identify(bytes, len, hash);
    int rc = artefact_open_from(fd, bytes, len, id ? id : hash, out, e);
    munmap(bytes, len);
    return rc;
}

struct artefact *artefact_retain(struct artefact *a)
{
    __atomic_add_fetch(&a->references, 1, __ATOMIC_RELAXED);
    return a;
}

void artefact_release(struct artefact *a)
{
    if (!a || __atomic_sub_fetch(&a->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (a->code)
        munmap((void *)(uintptr_t)a->code, a->code_size);
    if (a->code_fd >= 0)
        close(a->code_fd);
    if (a->data_fd >= 0)
        close(a->data_fd);
    abi_layout_free(&a->layout);
    wasm_module_free(&a->module);
    free(a->function_order);
    free(a->tables);
    free(a);
}

/* ---- the initial image ---- */

static struct artefact_header header_of(const struct artefact *a)
{
    struct artefact_header h;
    memcpy(&h, a->tables, sizeof h);
    return h;
}

uint32_t artefact_run_count(const struct artefact *a)
{
    return header_of(a).extents;
}

void artefact_run(const struct artefact *a, uint32_t run, uint64_t *offset, uint64_t *size)
{
    struct artefact_header h = header_of(a);
    struct artefact_tables t = artefact_tables_place(&h);
    assert(run < h.extents);
    *offset = extents_of(a->tables, &t)[run].offset;
    *size = extents_of(a->tables, &t)[run].size;
}

/* ---- back to bytes ---- */

int artefact_bytes(const struct artefact *a, struct buffer *out, struct error *e)
{
    struct artefact_header h = header_of(a);
    struct artefact_tables t = artefact_tables_place(&h);
    const struct image_extent *extents = extents_of(a->tables, &t);
    if (!buffer_append(out, a->tables, a->tables_size) ||
        !buffer_append(out, a->code, a->code_size))
        return no_memory(e);
    for (uint32_t i = 0; i < h.extents; i++) {
        if (!buffer_reserve(out, extents[i].size))
            return no_memory(e);
        if (file_read_at(a->data_fd, out->data + out->len, extents[i].size, extents[i].offset, e) <
            0)
            return error_prefix(e, "cannot read the initial image of an artefact");
        out->len += extents[i].size;
    }
    return 0;
}

/* ---- lookups ---- */

uint32_t artefact_wasm_offset(const struct artefact *a, uint32_t code_offset)
{
    return code_offset < a->text_size ? line_rows_find(&a->rows, code_offset) : 0;
}

uint32_t artefact_function_at(const struct artefact *a, uint32_t code_offset)
{
    uint32_t imported = a->module.imported_functions;
    uint32_t low = 0, high = a->module.function_count - imported;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t f = a->function_order ? a->function_order[middle] : middle;
        if (a->function_offsets[f] <= code_offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return UINT32_MAX;
    uint32_t f = a->function_order ? a->function_order[low - 1] : low - 1;
    return code_offset - a->function_offsets[f] < a->function_sizes[f] ? imported + f : UINT32_MAX;
}

uint32_t artefact_source_function(const struct artefact *a, uint32_t function, uint32_t wasm_offset)
{
    uint32_t low = 0, high = a->module.function_count - a->module.imported_functions;
    if (wasm_offset == 0 || high == 0 || wasm_offset < a->body_offsets[0])
        return function;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (a->body_offsets[middle] <= wasm_offset)
            low = middle;
        else
            high = middle;
    }
    return a->module.imported_functions + low;
}
