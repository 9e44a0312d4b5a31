/*
 * Inside the module reader: one section after the other, each with a cursor of its own. wasm_read.c
 * finds the sections, allocates the index spaces and hands the later sections to wasm_segments.c.
 */
#ifndef ENGINE_WASM_SECTIONS_H
#define ENGINE_WASM_SECTIONS_H

#include "engine/wasm_const.h"

/* By their binary code. */
enum wasm_section {
    SECTION_CUSTOM,
    SECTION_TYPE,
    SECTION_IMPORT,
    SECTION_FUNCTION,
    SECTION_TABLE,
    SECTION_MEMORY,
    SECTION_GLOBAL,
    SECTION_EXPORT,
    SECTION_START,
    SECTION_ELEMENT,
    SECTION_CODE,
    SECTION_DATA,
    SECTION_DATA_COUNT,
    SECTION_COUNT,
};

struct module_reader {
    struct wasm_module *m;
    struct wasm_cursor c; /* over the section being read */
    struct {
        struct wasm_span payload;
        bool present;
    } sections[SECTION_COUNT];
    uint32_t defined[4]; /* by enum wasm_kind: how many the module defines */
    uint8_t section;     /* the one that an error is in */
    bool skeleton;
};

/* The number of entries that follow. Refuses, before anything is allocated for them, more than the
 * limit (ATOLL_ELIMIT) and more than the section's bytes can hold. what: "types", … */
uint32_t section_count(struct module_reader *, const char *what, uint32_t limit,
                       uint32_t min_bytes);
/* Zeroed room for count entries (never NULL without a failure of the cursor). */
void *section_allocate(struct module_reader *, uint32_t count, size_t size);

void section_read_elements(struct module_reader *);
void section_read_code(struct module_reader *);
void section_read_data(struct module_reader *);
/* Instead of a data section, in a skeleton. */
void section_skip_data(struct module_reader *);

#endif
