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
static void frame_name(const struct artefact *artefact, const struct trap_frame *frame,
                       char out[static NAME_MAX_LEN + 1])
{
    struct wasm_span name = wasm_function_name(&artefact->module, frame->function);
    name_clean(artefact->module.bytes + name.offset, name.len, out);
}

void report_trap(const struct artefact *artefact, const struct trap_info *trap)
{
    fprintf(stderr, "atoll: trap: %s", trap_kind_name(trap->kind));
    if (trap->message[0])
        fprintf(stderr, ": %s", trap->message);
    fputc('\n', stderr);
    for (uint32_t i = 0; i < trap->frame_count; i++) {
        const struct trap_frame *frame = &trap->frames[i];
        char name[NAME_MAX_LEN + 1];
        frame_name(artefact, frame, name);
        fprintf(stderr, "  %s %s%sfunction %u", i == 0 ? "in" : "called by", name,
                name[0] ? ", " : "", frame->function);
        if (frame->wasm_offset)
            fprintf(stderr, ", at byte 0x%x of the module", frame->wasm_offset);
        fputc('\n', stderr);
    }
    if (trap->truncated)
        fprintf(stderr, "  and more\n");
}

cJSON *trap_to_json(const struct artefact *artefact, const struct trap_info *trap)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "kind", trap_kind_name(trap->kind));
    if (trap->message[0])
        cJSON_AddItemToObject(object, "message",
                              json_text((const uint8_t *)trap->message, strlen(trap->message)));
    cJSON *frames = cJSON_AddArrayToObject(object, "frames");
    for (uint32_t i = 0; i < trap->frame_count; i++) {
        char name[NAME_MAX_LEN + 1];
        frame_name(artefact, &trap->frames[i], name);
        cJSON *frame = cJSON_CreateObject();
        cJSON_AddNumberToObject(frame, "function", trap->frames[i].function);
        if (name[0])
            cJSON_AddStringToObject(frame, "name", name);
        if (trap->frames[i].wasm_offset)
            cJSON_AddNumberToObject(frame, "offset", trap->frames[i].wasm_offset);
        cJSON_AddItemToArray(frames, frame);
    }
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
