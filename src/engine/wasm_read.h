/*
 * Decoder of the WebAssembly binary format (Core 2.0 §5; extended-const, tail-call, threads).
 *
 * Every byte is untrusted. Errors have one of the classes ATOLL_EMALFORMED, ATOLL_ELIMIT,
 * ATOLL_EUNSUPPORTED (an encoding of a later proposal, named in the text), ATOLL_EINVALID (rules of
 * validation that are cheapest here), with the byte offset.
 */
#ifndef ENGINE_WASM_READ_H
#define ENGINE_WASM_READ_H

#include "base/error.h"
#include "engine/wasm.h"

/* Decodes the sections (function bodies are only measured). bytes must outlive the module. On
 * failure *out is empty. */
int wasm_read(const uint8_t *bytes, size_t len, struct wasm_module *out, struct error *e);
/* The same for a module as an artefact keeps it: the code section and the data section may be
 * missing. Bodies are then {0, 0}; data_count is what the data count section declares (0 without
 * one), and those segments are passive and empty, as dropped segments are. */
int wasm_read_skeleton(const uint8_t *bytes, size_t len, struct wasm_module *out, struct error *e);
void wasm_module_free(struct wasm_module *);

/* A bounded cursor. After the first failure `failed` stays set and reads yield 0. Offsets reported
 * are relative to base. */
struct wasm_cursor {
    const uint8_t *base, *at, *end;
    struct error *error;
    bool failed;
};

uint8_t wasm_cursor_u8(struct wasm_cursor *);
/* LEB128 of at most 5 or 10 bytes, unused bits checked (§5.2.2). */
uint32_t wasm_cursor_u32(struct wasm_cursor *);
int32_t wasm_cursor_s32(struct wasm_cursor *);
int64_t wasm_cursor_s33(struct wasm_cursor *);
int64_t wasm_cursor_s64(struct wasm_cursor *);
uint64_t wasm_cursor_u64(struct wasm_cursor *);
/* len bytes, NULL on failure. */
const uint8_t *wasm_cursor_bytes(struct wasm_cursor *, size_t len);
/* A name: its length, then that many bytes of UTF-8. {0, 0} on failure. */
struct wasm_span wasm_cursor_name(struct wasm_cursor *);
/* Where the cursor stands, relative to base. */
uint32_t wasm_cursor_offset(const struct wasm_cursor *);
/* Reports a failure at the cursor's position (first one wins). */
void wasm_cursor_fail(struct wasm_cursor *, int code, const char *text);
/* The same with a formatted text, at a position that has been passed. */
void wasm_cursor_report(struct wasm_cursor *, int code, const uint8_t *at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
