/* Wording of failures. Names come from guests: they are printed without control characters. */
#include "cli/report.h"

#include "cli/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 600

void report_error(const struct error *e)
{
    fprintf(stderr, "atoll: %s", e->text);
    if (e->offset != ERROR_NOWHERE) {
        fprintf(stderr, " (at byte 0x%llx of the module", (unsigned long long)e->offset);
        if (e->function != UINT32_MAX)
            fprintf(stderr, ", in function %u", e->function);
        fputc(')', stderr);
    }
    fputc('\n', stderr);
}

int exit_code_of(const struct error *e)
{
    switch (e->code) {
    case -ATOLL_EMALFORMED:
    case -ATOLL_EINVALID:
    case -ATOLL_EUNSUPPORTED:
    case -ATOLL_ELIMIT:
    case -ATOLL_ELINK:
    case -ATOLL_ECPU:
    case -ATOLL_ESIGNATURE: return EXIT_REFUSED;
    case -ATOLL_ETRAP: return EXIT_TRAP;
    case -ATOLL_ETIMEDOUT: return EXIT_TIMEOUT;
    default: return EXIT_ATOLL;
    }
}

/* Printable ASCII and well-formed UTF-8 stay; everything else becomes '?'. */
static void name_clean(const uint8_t *bytes, size_t len, char out[static NAME_MAX_LEN + 1])
{
    size_t used = 0;
    for (size_t i = 0; i < len && used + 4 < NAME_MAX_LEN;) {
        uint8_t lead = bytes[i];
        size_t more = lead >= 0xf0 && lead < 0xf5   ? 3
                      : lead >= 0xe0 && lead < 0xf0 ? 2
                      : lead >= 0xc2 && lead < 0xe0 ? 1
                                                    : 0;
        bool good = lead < 0x80 ? lead >= 0x20 && lead != 0x7f : more > 0 && i + more < len;
        for (size_t k = 1; good && k <= more; k++)
            good = (bytes[i + k] & 0xc0) == 0x80;
        /* Overlong forms, surrogates, C1 controls and what lies beyond Unicode. */
        if (good && more > 0) {
            uint8_t next = bytes[i + 1];
            good = !(lead == 0xe0 && next < 0xa0) && !(lead == 0xed && next >= 0xa0) &&
                   !(lead == 0xf0 && next < 0x90) && !(lead == 0xf4 && next >= 0x90) &&
                   !(lead == 0xc2 && next < 0xa0);
        }
        if (!good) {
            out[used++] = '?';
            i++;
            continue;
        }
        memcpy(out + used, bytes + i, more + 1);
        used += more + 1;
        i += more + 1;
    }
    out[used] = '\0';
}

cJSON *json_text(const uint8_t *bytes, size_t len)
{
    char text[NAME_MAX_LEN + 1];
    name_clean(bytes, len, text);
    return cJSON_CreateString(text);
}

/* The module's name for a function, or "". */
static void function_name(const struct artefact *artefact, uint32_t function,
                          char out[static NAME_MAX_LEN + 1])
{
    struct wasm_span name = wasm_function_name(&artefact->module, function);
    name_clean(artefact->module.bytes + name.offset, name.len, out);
}

static void frame_print(const struct artefact *artefact, const struct trap_frame *frame, bool first)
{
    char name[NAME_MAX_LEN + 1];
    uint32_t source = artefact_source_function(artefact, frame->function, frame->wasm_offset);
    function_name(artefact, source, name);
    fprintf(stderr, "  %s %s%sfunction %u", first ? "in" : "called by", name, name[0] ? ", " : "",
            source);
    if (frame->wasm_offset)
        fprintf(stderr, ", at byte 0x%x of the module", frame->wasm_offset);
    if (source != frame->function) {
        function_name(artefact, frame->function, name);
        fprintf(stderr, "\n    inlined into %s%sfunction %u", name, name[0] ? ", " : "",
                frame->function);
    }
    fputc('\n', stderr);
}

void report_trap(const struct artefact *artefact, const struct trap_info *trap)
{
    fprintf(stderr, "atoll: trap: %s", trap_kind_name(trap->kind));
    if (trap->message[0])
        fprintf(stderr, ": %s", trap->message);
    fputc('\n', stderr);
    for (uint32_t i = 0; i < trap->frame_count; i++)
        frame_print(artefact, &trap->frames[i], i == 0);
    if (trap->truncated)
        fprintf(stderr, "  and more\n");
}

static cJSON *frame_to_json(const struct artefact *artefact, const struct trap_frame *frame)
{
    char name[NAME_MAX_LEN + 1];
    uint32_t source = artefact_source_function(artefact, frame->function, frame->wasm_offset);
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "function", source);
    function_name(artefact, source, name);
    if (name[0])
        cJSON_AddStringToObject(object, "name", name);
    if (frame->wasm_offset)
        cJSON_AddNumberToObject(object, "offset", frame->wasm_offset);
    if (source != frame->function)
        cJSON_AddNumberToObject(object, "inlined_into", frame->function);
    return object;
}

cJSON *trap_to_json(const struct artefact *artefact, const struct trap_info *trap)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "kind", trap_kind_name(trap->kind));
    if (trap->message[0])
        cJSON_AddItemToObject(object, "message",
                              json_text((const uint8_t *)trap->message, strlen(trap->message)));
    cJSON *frames = cJSON_AddArrayToObject(object, "frames");
    for (uint32_t i = 0; i < trap->frame_count; i++)
        cJSON_AddItemToArray(frames, frame_to_json(artefact, &trap->frames[i]));
    cJSON_AddBoolToObject(object, "truncated", trap->truncated);
    return object;
}

cJSON *error_to_json(const struct error *e)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "code", atoll_error_name(e->code));
    cJSON_AddItemToObject(object, "text", json_text((const uint8_t *)e->text, strlen(e->text)));
    if (e->offset != ERROR_NOWHERE)
        cJSON_AddNumberToObject(object, "offset", (double)e->offset);
    if (e->function != UINT32_MAX)
        cJSON_AddNumberToObject(object, "function", e->function);
    return object;
}

int json_print(cJSON *object, bool to_error_output)
{
    char *text = object ? cJSON_Print(object) : NULL;
    cJSON_Delete(object);
    if (!text) {
        fprintf(stderr, "atoll: cannot write JSON: out of memory\n");
        return EXIT_ATOLL;
    }
    FILE *output = to_error_output ? stderr : stdout;
    int failed = fprintf(output, "%s\n", text) < 0 || fflush(output) != 0;
    free(text);
    return failed ? EXIT_ATOLL : EXIT_OK;
}
