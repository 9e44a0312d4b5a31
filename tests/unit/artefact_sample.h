/*
 * Artefacts for tests, without a compiler: the code image is made up (every function only returns),
 * everything else is real. GUEST_MODULES is the directory of the guests of tests/guest.
 */
#ifndef TESTS_ARTEFACT_SAMPLE_H
#define TESTS_ARTEFACT_SAMPLE_H

#include "base/file.h"
#include "engine/artefact.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SAMPLE_STEP 16u /* bytes of code per function or thunk */

static const struct compile_options sample_options = {
    .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V2, .link = LINK_PRIMARY};

static inline struct buffer sample_module(const char *name)
{
    struct buffer wasm = {0};
    struct error e;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    if (file_read(path, 1u << 20, &wasm, &e) < 0)
        fail_msg("%s", e.text);
    return wasm;
}

static inline uint32_t *sample_offsets(uint32_t count, uint32_t *next)
{
    uint32_t *offsets = calloc(count + 1u, sizeof *offsets);
    assert_non_null(offsets);
    for (uint32_t i = 0; i < count; i++, *next += SAMPLE_STEP)
        offsets[i] = *next;
    return offsets;
}

/* Functions first, then entry thunks, then import thunks; two rows. */
static inline struct code_image sample_image(const struct wasm_module *m)
{
    struct code_image image = {0};
    uint32_t next = 0, functions = m->function_count - m->imported_functions;
    image.function_offsets = sample_offsets(functions, &next);
    image.function_sizes = calloc(functions + 1u, sizeof(uint32_t));
    assert_non_null(image.function_sizes);
    for (uint32_t f = 0; f < functions; f++)
        image.function_sizes[f] = 1 + f % 8;
    image.entry_offsets = sample_offsets(m->type_count, &next);
    image.import_offsets = sample_offsets(m->imported_functions, &next);
    for (uint32_t at = 0; at < next; at++)
        assert_true(buffer_append(&image.bytes, at % SAMPLE_STEP ? "\x90" : "\xc3", 1));
    image.text_size = next;
    assert_true(buffer_append(&image.bytes, "constants", 9));
    image.rows = calloc(3, sizeof *image.rows);
    assert_non_null(image.rows);
    image.rows[0] = (struct line_row){0, 100000};
    image.rows[1] = (struct line_row){next > 20 ? 20 : next, 7};
    image.rows[2] = (struct line_row){next > 24 ? 24 : next, 0};
    image.row_count = 3;
    return image;
}

/* The artefact's bytes; change, if not NULL, edits the image before. */
static inline int sample_build(const struct buffer *wasm, const struct compile_options *options,
                               void (*change)(struct code_image *), struct buffer *out,
                               struct error *e)
{
    struct wasm_module m;
    struct abi_layout layout;
    assert_int_equal(wasm_read(wasm->data, wasm->len, &m, e), 0);
    assert_int_equal(wasm_validate(&m, e), 0);
    assert_int_equal(abi_layout_compute(&m, (enum link_mode)options->link, &layout, e), 0);
    struct code_image image = sample_image(&m);
    if (change)
        change(&image);
    int rc = artefact_build(&m, &layout, options, &image, out, e);
    code_image_free(&image);
    abi_layout_free(&layout);
    wasm_module_free(&m);
    return rc;
}

static inline struct buffer sample_bytes(const char *name, const struct compile_options *options)
{
    struct buffer wasm = sample_module(name), bytes = {0};
    struct error e = {0};
    if (sample_build(&wasm, options, NULL, &bytes, &e) < 0)
        fail_msg("%s: %s", name, e.text);
    buffer_free(&wasm);
    return bytes;
}

static inline struct artefact *sample_open(const struct buffer *bytes)
{
    struct artefact *a;
    struct error e = {0};
    if (artefact_open(bytes->data, bytes->len, &a, &e) < 0)
        fail_msg("%s", e.text);
    return a;
}

static inline struct artefact *sample_artefact(const char *name,
                                               const struct compile_options *options)
{
    struct buffer bytes = sample_bytes(name, options);
    struct artefact *a = sample_open(&bytes);
    buffer_free(&bytes);
    return a;
}

#endif
