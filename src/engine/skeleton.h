/* The module that an artefact keeps: what instances need of it, without what was compiled or baked.
 */
#ifndef ENGINE_SKELETON_H
#define ENGINE_SKELETON_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/wasm.h"

/*
 * Appends to out the module without its code section, without custom sections other than "name" and
 * "dylink.0", and with the active data segments below baked_datas emptied (they keep their place:
 * segment numbers stay). wasm_read_skeleton reads it.
 */
int skeleton_write(const struct wasm_module *, uint32_t baked_datas, struct buffer *out,
                   struct error *e);

#endif
