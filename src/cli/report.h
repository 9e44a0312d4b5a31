/* What the commands say when something fails, in words or as JSON. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "engine/instance.h"

#include <cjson/cJSON.h>

/* The trap, the function it happened in and its callers, innermost first, on the error output. */
void report_trap(const struct artefact *, const struct trap_info *);
/* The same as an object: kind, message, frames [{function, name, offset}], truncated. NULL when
 * memory is exhausted. */
cJSON *trap_to_json(const struct artefact *, const struct trap_info *);
/* Code name, text, and offset and function when known. */
cJSON *error_to_json(const struct error *);
/* Prints and deletes an object; NULL (memory exhausted) is reported. Returns an exit code. */
int json_print(cJSON *, bool to_error_output);
/* A string value of bytes that need not be UTF-8 or NUL-terminated: what is not becomes '?'. */
cJSON *json_text(const uint8_t *bytes, size_t len);

#endif
