/*
 * A writer of WebAssembly binaries for tests: integers, names, and parts with a size in front.
 *
 * A sized part (a section, a function body) is opened with module_open and closed with
 * module_close, which puts the length in front of what was written between; parts nest. Running out
 * of memory ends the process: this is test code that makes small modules. The owner calls
 * module_writer_free.
 */
#ifndef CONFORMANCE_MODULE_WRITER_H
#define CONFORMANCE_MODULE_WRITER_H

#include "base/bytes.h"

#define MODULE_WRITER_DEPTH 4

struct module_writer {
    struct buffer bytes;
    size_t open[MODULE_WRITER_DEPTH];
    unsigned depth;
};

enum module_section {
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
};

/* The magic number and the version. */
void module_begin(struct module_writer *);
void module_byte(struct module_writer *, uint8_t);
void module_bytes(struct module_writer *, const void *, size_t);
void module_u32(struct module_writer *, uint32_t);
void module_s32(struct module_writer *, int32_t);
void module_s64(struct module_writer *, int64_t);
void module_name(struct module_writer *, const char *);
/* An operator: one byte, or prefix << 12 | sub-opcode, as in wasm_ops.h. */
void module_op(struct module_writer *, uint32_t op);
void module_open(struct module_writer *);
/* The section's number, then as module_open. */
void module_open_section(struct module_writer *, enum module_section);
void module_close(struct module_writer *);
void module_writer_free(struct module_writer *);

#endif
