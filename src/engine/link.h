/*
 * How instances come to be: shared by the files that number types, map modules and link them.
 */
#ifndef ENGINE_LINK_H
#define ENGINE_LINK_H

#include "engine/arena.h"

/* ---- instance.c: the parts of a field block ---- */
struct function_record *instance_records(const struct instance *);
struct function_record *instance_imports(const struct instance *);
/* The arena's number of a type of the instance's module. */
uint64_t instance_signature(const struct instance *, uint32_t type);

/* ---- type_number.c ---- */
bool signature_equal(struct wasm_signature, struct wasm_signature);
/* The number of a type in this arena (a new one gets `known`, or if that is 0 the primary's or a
 * fresh number); 0 when memory is exhausted. */
uint64_t type_intern(struct arena *, struct wasm_signature, uint64_t known);
/* Gives linked modules the numbers of the primary that has just joined. */
void types_renumber(struct arena *);

/* ---- place.c: an instance's place in the slot ---- */
/* Gives the instance its number in the arena, which owns it from then on. */
int arena_add(struct arena *, struct instance *, struct error *);
/* Notes which vector registers host calls must clear for code of this level. */
void arena_widen_vectors(struct arena *, uint8_t level);
/* Map code, tables, fields and memory. */
int instance_map_primary(struct instance *, struct error *);
int instance_map_linked(struct instance *, struct error *);

#endif
