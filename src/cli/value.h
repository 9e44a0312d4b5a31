/* WebAssembly values as people write them: arguments and results of `atoll run --invoke`. */
#ifndef CLI_VALUE_H
#define CLI_VALUE_H

#include "engine/instance.h"

#define VALUE_TEXT_MAX 80

/* Parses an argument of a value type: integers in decimal (signed or unsigned) or hexadecimal;
 * floats as C writes them, with nan and inf; v128 as 0x and 32 hexadecimal digits, last lane first;
 * references as null, externref also as a number. -ATOLL_EINVAL says what was expected. */
int value_parse(struct arena *, uint8_t type, const char *text, union host_slot *out,
                struct error *);
/* The opposite; floats so that they read back exactly. */
void value_print(const struct arena *, uint8_t type, const union host_slot *,
                 char out[static VALUE_TEXT_MAX]);

#endif
