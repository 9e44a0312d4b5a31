/*
 * Values as the suite's scripts write them (objects with "type", "value", for vectors "lane_type"),
 * against values as the engine holds them.
 */
#ifndef CONFORMANCE_VALUE_H
#define CONFORMANCE_VALUE_H

#include "engine/instance.h"

#include <cjson/cJSON.h>

/* The value type a script's value names, or WASM_ANY if it names none that we know. */
uint8_t value_type(const cJSON *);
/* Puts a script's value into a slot; references become handles of the arena. */
int value_parse(const cJSON *, struct arena *, union host_slot *out, struct error *);
/* Whether a result is what the script expects: equal bits, a NaN of the class it names, or the same
 * reference. The type is value_type's. */
bool value_matches(const cJSON *expected, struct arena *, const union host_slot *actual);
/* "i32:7", "f32:nan:canonical", … for messages. */
void value_describe(const cJSON *, char *out, size_t size);
void value_print(uint8_t type, struct arena *, const union host_slot *, char *out, size_t size);

#endif
