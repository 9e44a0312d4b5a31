/* Running a guest program to its end, its time-out or its checkpoint, and telling how it went. */
#define _GNU_SOURCE
#include "cli/program.h"

#include "base/clock.h"
#include "cli/module.h"
#include "cli/report.h"
#include "cli/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "HOST::GUEST[::ro]", or "DIR", which is the same directory under the same name. */
static bool preopen_parse(char *text, struct wasi_preopen *out)
{
    *out = (struct wasi_preopen){.host_path = text, .guest_name = text};
    char *guest = strstr(text, "::");
    if (guest) {
        *guest = '\0';
        out->guest_name = guest + 2;
        char *right = strstr(guest + 2, "::");
        if (right) {
            *right = '\0';
            out->read_only = strcmp(right + 2, "ro") == 0;
            if (!out->read_only && strcmp(right + 2, "rw") != 0)
                return false;
        }
    }
    return *out->host_path && *out->guest_name;
}

/* A time of 0 is refused: it would mean "never" to what reads it. */
static int times_check(struct program *p)
{
    int64_t *times[] = {&p->timeout_ns, &p->checkpoint_after_ns};
    static const char *const names[] = {"timeout", "checkpoint-after"};
    for (size_t i = 0; i < 2; i++) {
        if (*times[i] == 0)
            return usage_error(p->command, "--%s takes a time longer than 0.", names[i]);
        if (*times[i] == TIME_NOT_GIVEN)
            *times[i] = 0;
    }
    if (p->checkpoint_after_ns && !p->checkpoint)
        return usage_error(p->command, "--checkpoint-after needs --checkpoint FILE.");
    return EXIT_OK;
}

int program_options_check(struct program *p)
{
    int code = times_check(p);
    if (code != EXIT_OK)
        return code;
    if (p->checkpoint && !*p->checkpoint)
        return usage_error(p->command, "--checkpoint takes the name of a file, not \"\".");
    if (p->dirs.count > PREOPENS_MAX)
        return usage_error(p->command, "--dir can be given %d times.", PREOPENS_MAX);
    for (size_t i = 0; i < p->dirs.count; i++) {
        p->preopen_texts[i] = strdup(p->dirs.items[i]);
        if (!p->preopen_texts[i] || !preopen_parse(p->preopen_texts[i], &p->preopens[i]))
            return usage_error(p->command,
                               "--dir takes HOST::GUEST or HOST::GUEST::ro, not \"%s\".",
                               p->dirs.items[i]);
    }
    if (p->checkpoint)
        watch_block_signal();
    return EXIT_OK;
}

int program_prepare_call(struct program *p)
{
    p->artefact = instance_artefact(p->guest.instance);
    p->signature = wasm_function_signature(&p->artefact->module, p->call.function);
    uint32_t count = p->signature.param_count > p->signature.result_count
                         ? p->signature.param_count
                         : p->signature.result_count;
    p->slots = calloc(count + 1u, sizeof *p->slots);
    if (p->slots)
        return EXIT_OK;
    fprintf(stderr, "atoll: out of memory\n");
    return EXIT_ATOLL;
}

int program_begin(struct program *p, struct error *e)
{
    const struct watch_settings settings = {.timeout_ns = p->timeout_ns,
                                            .checkpoint_ns = p->checkpoint_after_ns,
                                            .on_signal = p->checkpoint != NULL};
    p->began_ns = clock_monotonic_ns();
    return watch_start(p->guest.arena, &settings, &p->watch, e);
}

int program_settle(struct program *p, struct error *e)
{
    while (p->end == GUEST_STOPPED) {
        if (checkpoint_write(&p->guest, &p->call, p->checkpoint, &p->captured, e) == 0)
            return 0;
        report_error(e);
        fprintf(stderr, "atoll: there is no checkpoint; the program goes on\n");
        watch_checkpoint_done(p->watch);
        int failed = guest_continue(&p->guest, p->slots, p->watch, &p->result, &p->end, e);
        if (failed < 0)
            return failed;
    }
    return 0;
}

bool program_went_well(const struct program *p)
{
    return p->end == GUEST_DONE && p->result.status == RUN_DONE;
}

static bool has_results(const struct program *p)
{
    return p->call.print_results && program_went_well(p);
}

static cJSON *outcome_to_json(const struct program *p, double seconds, int code)
{
    static const char *const ends[] = {[GUEST_DONE] = "done",
                                       [GUEST_TRAPPED] = "trap",
                                       [GUEST_TIMEOUT] = "timeout",
                                       [GUEST_STOPPED] = "captured"};
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "end", ends[p->end]);
    cJSON_AddNumberToObject(object, "exit_code", code);
    if (has_results(p)) {
        cJSON *results = cJSON_AddArrayToObject(object, "results");
        char text[VALUE_TEXT_MAX];
        for (uint32_t i = 0; i < p->signature.result_count; i++) {
            value_print(p->guest.arena, p->signature.results[i], &p->slots[i], text);
            cJSON_AddItemToArray(results, cJSON_CreateString(text));
        }
    }
    if (p->end == GUEST_TRAPPED)
        cJSON_AddItemToObject(object, "trap", trap_to_json(p->artefact, &p->result.trap));
    if (p->end == GUEST_STOPPED) {
        cJSON_AddNumberToObject(object, "file_bytes", (double)p->captured.file_bytes);
        cJSON_AddNumberToObject(object, "page_bytes", (double)p->captured.page_bytes);
    }
    cJSON_AddStringToObject(object, "tier", tier_name(p->artefact->options.tier));
    cJSON_AddBoolToObject(object, "cached", p->cached);
    cJSON_AddNumberToObject(object, "seconds", seconds);
    if (p->artefact->options.fuel)
        cJSON_AddNumberToObject(object, "fuel_left", (double)arena_fuel(p->guest.arena));
    return object;
}

static void outcome_print(const struct program *p)
{
    char text[VALUE_TEXT_MAX];
    switch (p->end) {
    case GUEST_DONE:
        for (uint32_t i = 0; has_results(p) && i < p->signature.result_count; i++) {
            value_print(p->guest.arena, p->signature.results[i], &p->slots[i], text);
            puts(text);
        }
        fflush(stdout);
        break;
    case GUEST_TRAPPED: report_trap(p->artefact, &p->result.trap); break;
    case GUEST_TIMEOUT:
        fprintf(stderr, "atoll: stopped: it ran longer than --timeout allows\n");
        break;
    case GUEST_STOPPED:
        fprintf(stderr,
                "atoll: stopped and written to %s (%llu bytes); `atoll resume %s` goes on\n",
                p->checkpoint, (unsigned long long)p->captured.file_bytes, p->checkpoint);
        break;
    }
}

int program_report(struct program *p)
{
    double seconds = (double)(clock_monotonic_ns() - p->began_ns) / 1e9;
    int code = EXIT_OK;
    switch (p->end) {
    case GUEST_DONE: code = p->result.exit_code & 0xff; break;
    case GUEST_TRAPPED: code = EXIT_TRAP; break;
    case GUEST_TIMEOUT: code = EXIT_TIMEOUT; break;
    case GUEST_STOPPED: code = EXIT_CAPTURED; break;
    }
    if (p->json)
        return json_print(outcome_to_json(p, seconds, code), true) == EXIT_OK ? code : EXIT_ATOLL;
    outcome_print(p);
    return code;
}

int program_report_failure(const struct program *p, const struct error *e)
{
    if (p->json) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddStringToObject(object, "end", "refused");
        cJSON_AddNumberToObject(object, "exit_code", exit_code_of(e));
        cJSON_AddItemToObject(object, "error", error_to_json(e));
        json_print(object, true);
    } else {
        report_error(e);
    }
    return exit_code_of(e);
}

void program_free(struct program *p)
{
    watch_stop(p->watch);
    guest_destroy(&p->guest);
    for (size_t i = 0; i < PREOPENS_MAX; i++)
        free(p->preopen_texts[i]);
    free(p->dirs.items);
    free(p->slots);
}
