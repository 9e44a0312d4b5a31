/*
 * The initial image of an instance: the bytes of [vm - low_size, vm + initial memory) as they stand
 * before the first instruction, as far as they can be known without the imports. Built once, when
 * the artefact is made, so that a new instance is a mapping and not a computation.
 */
#ifndef ENGINE_INITIAL_IMAGE_H
#define ENGINE_INITIAL_IMAGE_H

#include "base/bytes.h"
#include "engine/abi.h"
#include "engine/object.h"

/* A run of the image's bytes that is not all zero. Part of the artefact format. */
struct image_extent {
    uint64_t offset, size;
};

struct initial_image {
    uint8_t *bytes; /* size bytes, mostly untouched */
    uint64_t size;
    uint64_t vm;           /* offset of vm in the image: low_size */
    struct buffer extents; /* struct image_extent, ascending, disjoint */
    /* Segments [0, n) are dealt with: the active ones among them stand in the image. */
    uint32_t baked_elements, baked_datas;
    bool globals_baked; /* every defined global has its value */
};

int initial_image_build(const struct wasm_module *, const struct abi_layout *, enum link_mode,
                        const struct code_image *, struct initial_image *out, struct error *e);
void initial_image_free(struct initial_image *);

/* Size of the image: low_size, plus the initial memory of a primary module that defines one. */
uint64_t initial_image_size(const struct wasm_module *, const struct abi_layout *, enum link_mode);

#endif
