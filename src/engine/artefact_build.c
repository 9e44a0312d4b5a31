/*
 * Makes the bytes of an artefact. Runs in atoll-cc, after compiling: the checks that need time and
 * a disassembler (admission) are done here, once, and vouched for by the MAC from then on.
 */
#include "engine/artefact_format.h"
#include "engine/cpu.h"
#include "engine/skeleton.h"

#include <assert.h>
#include <stdlib.h>

static int no_memory(struct error *e)
{
    return error_set(e, ATOLL_ENOMEM, "no memory for the artefact");
}

/* ---- admission ---- */

static int offset_compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void starts_append(uint32_t *starts, uint32_t *used, const uint32_t *offsets, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (offsets[i] != UINT32_MAX)
            starts[(*used)++] = offsets[i];
}

static int code_admit(const struct wasm_module *m, const struct code_image *code, struct error *e)
{
    uint32_t functions = m->function_count - m->imported_functions;
    uint64_t most = (uint64_t)functions + m->type_count + m->imported_functions;
    uint32_t *starts = malloc((most + 1) * sizeof *starts), used = 0;
    if (!starts)
        return no_memory(e);
    starts_append(starts, &used, code->function_offsets, functions);
    starts_append(starts, &used, code->entry_offsets, m->type_count);
    starts_append(starts, &used, code->import_offsets, m->imported_functions);
    qsort(starts, used, sizeof *starts, offset_compare);
    int rc = code_scan(code->bytes.data, code->text_size, starts, used, e);
    free(starts);
    return rc;
}

/* ---- parts ---- */

static bool bodies_append(const struct wasm_module *m, struct buffer *out)
{
    bool ok = true;
    for (uint32_t f = m->imported_functions; ok && f < m->function_count; f++)
        ok = buffer_append_u32(out, m->functions[f].body.offset);
    return ok;
}

static bool extent_bytes_append(const struct initial_image *image, struct buffer *out)
{
    const struct image_extent *extents = (const void *)image->extents.data;
    bool ok = true;
    for (size_t i = 0; ok && i < image->extents.len / sizeof *extents; i++)
        ok = buffer_append(out, image->bytes + extents[i].offset, extents[i].size);
    return ok;
}

static uint32_t flags_of(const struct compile_options *options, const struct code_image *code,
                         const struct initial_image *image)
{
    return (options->fuel ? ARTEFACT_FUEL : 0u) | (options->tail_calls ? ARTEFACT_TAIL_CALLS : 0u) |
           (options->deterministic ? ARTEFACT_DETERMINISTIC : 0u) |
           (code->degraded ? ARTEFACT_DEGRADED : 0u) |
           (image->globals_baked ? ARTEFACT_GLOBALS_BAKED : 0u);
}

/* ---- the whole ---- */

struct parts {
    struct initial_image image;
    struct buffer row_blocks, row_bytes, skeleton;
};

static int parts_make(const struct wasm_module *m, const struct abi_layout *layout,
                      const struct compile_options *options, const struct code_image *code,
                      struct parts *parts, struct error *e)
{
    int rc = initial_image_build(m, layout, (enum link_mode)options->link, code, &parts->image, e);
    if (rc == 0 &&
        !line_rows_pack(code->rows, code->row_count, &parts->row_blocks, &parts->row_bytes))
        rc = no_memory(e);
    if (rc == 0)
        rc = skeleton_write(m, parts->image.baked_datas, &parts->skeleton, e);
    if (rc == 0 && parts->row_bytes.len > UINT32_MAX)
        rc = error_set(e, ATOLL_ELIMIT, "the line table takes %zu bytes", parts->row_bytes.len);
    return rc;
}

static void parts_free(struct parts *parts)
{
    initial_image_free(&parts->image);
    buffer_free(&parts->row_blocks);
    buffer_free(&parts->row_bytes);
    buffer_free(&parts->skeleton);
}

static struct artefact_header header_make(const struct wasm_module *m,
                                          const struct compile_options *options,
                                          const struct code_image *code, const struct parts *parts)
{
    struct artefact_header h = {
        .magic = ARTEFACT_MAGIC,
        .format = ARTEFACT_FORMAT,
        .tier = options->tier,
        .mode = options->mode,
        .cpu = options->cpu,
        .link = options->link,
        .flags = flags_of(options, code, &parts->image),
        .text_size = code->text_size,
        .cpu_features = cpu_level_features((enum cpu_level)options->cpu),
        .functions = m->function_count - m->imported_functions,
        .types = m->type_count,
        .imports = m->imported_functions,
        .rows = code->row_count,
        .row_bytes = (uint32_t)parts->row_bytes.len,
        .skeleton_size = (uint32_t)parts->skeleton.len,
        .extents = (uint32_t)(parts->image.extents.len / sizeof(struct image_extent)),
        .code_size = (uint32_t)align_up(code->bytes.len, ARTEFACT_PAGE),
        .data_size = parts->image.size,
        .baked_elements = parts->image.baked_elements,
        .baked_datas = parts->image.baked_datas,
    };
    hash_sha256(m->bytes, m->len, h.wasm_sha256);
    return h;
}

static bool parts_append(const struct wasm_module *m, const struct artefact_header *h,
                         const struct code_image *code, const struct parts *parts,
                         struct buffer *out)
{
    size_t table = sizeof(uint32_t);
    return buffer_append(out, h, sizeof *h) &&
           buffer_append(out, code->function_offsets, h->functions * table) &&
           buffer_append(out, code->function_sizes, h->functions * table) &&
           bodies_append(m, out) && buffer_append(out, code->entry_offsets, h->types * table) &&
           buffer_append(out, code->import_offsets, h->imports * table) && buffer_align(out, 8) &&
           buffer_append(out, parts->image.extents.data, parts->image.extents.len) &&
           buffer_append(out, parts->row_blocks.data, parts->row_blocks.len) &&
           buffer_append(out, parts->row_bytes.data, parts->row_bytes.len) &&
           buffer_append(out, parts->skeleton.data, parts->skeleton.len) &&
           buffer_align(out, ARTEFACT_PAGE) &&
           buffer_append(out, code->bytes.data, code->bytes.len) &&
           buffer_append(out, NULL, h->code_size - code->bytes.len) &&
           extent_bytes_append(&parts->image, out);
}

int artefact_build(const struct wasm_module *m, const struct abi_layout *layout,
                   const struct compile_options *options, const struct code_image *code,
                   struct buffer *out, struct error *e)
{
    assert(out->len == 0); /* alignment inside the file counts from its first byte */
    int rc = code_admit(m, code, e);
    if (rc < 0)
        return rc;
    struct parts parts = {0};
    rc = parts_make(m, layout, options, code, &parts, e);
    if (rc == 0) {
        struct artefact_header h = header_make(m, options, code, &parts);
        if (!parts_append(m, &h, code, &parts, out))
            rc = no_memory(e);
        else if (out->len > ARTEFACT_BYTES_MAX)
            rc = error_set(e, ATOLL_ELIMIT, "the artefact has %zu bytes, more than %llu", out->len,
                           ARTEFACT_BYTES_MAX);
    }
    parts_free(&parts);
    if (rc < 0)
        buffer_free(out);
    return rc;
}
