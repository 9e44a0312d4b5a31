/* `atoll inspect`: what a module asks for and offers, from its bytes alone; nothing is run. */
#include "base/file.h"
#include "cli/module.h"
#include "cli/options.h"
#include "cli/report.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const kind_names[] = {"function", "table", "memory", "global"};

#define TYPE_TEXT_MAX 1024

static size_t types_append(char *out, size_t used, const uint8_t *types, uint32_t count)
{
    for (uint32_t i = 0; i < count && used + 16 < TYPE_TEXT_MAX; i++)
        used += (size_t)snprintf(out + used, TYPE_TEXT_MAX - used, "%s%s", i ? " " : "",
                                 wasm_type_name(types[i]));
    return used;
}

static void limits_text(const struct wasm_limits *limits, const char *unit, char *out, size_t cap)
{
    int used = snprintf(out, cap, "%u", limits->min);
    if (limits->has_max)
        used += snprintf(out + used, cap - (size_t)used, "..%u", limits->max);
    else
        used += snprintf(out + used, cap - (size_t)used, " or more");
    snprintf(out + used, cap - (size_t)used, " %s%s", unit, limits->shared ? ", shared" : "");
}

/* "(i32 i64) -> (f64)", "1..4 pages", "mutable i32", … */
static void type_text(const struct wasm_module *m, uint8_t kind, uint32_t index,
                      char out[static TYPE_TEXT_MAX])
{
    size_t used;
    struct wasm_signature signature;
    switch (kind) {
    case WASM_KIND_FUNC:
        signature = wasm_function_signature(m, index);
        used = (size_t)snprintf(out, TYPE_TEXT_MAX, "(");
        used = types_append(out, used, signature.params, signature.param_count);
        used += (size_t)snprintf(out + used, TYPE_TEXT_MAX - used, ") -> (");
        used = types_append(out, used, signature.results, signature.result_count);
        snprintf(out + used, TYPE_TEXT_MAX - used, ")");
        break;
    case WASM_KIND_TABLE:
        used = (size_t)snprintf(out, TYPE_TEXT_MAX, "%s, ", wasm_type_name(m->tables[index].type));
        limits_text(&m->tables[index].limits, "entries", out + used, TYPE_TEXT_MAX - used);
        break;
    case WASM_KIND_MEMORY:
        limits_text(&m->memories[index].limits, "pages", out, TYPE_TEXT_MAX);
        break;
    default:
        snprintf(out, TYPE_TEXT_MAX, "%s%s", m->globals[index].mutable ? "mutable " : "",
                 wasm_type_name(m->globals[index].type));
    }
}

/* ---- words ---- */

static void name_print(const struct wasm_module *m, struct wasm_span name)
{
    cJSON *clean = json_text(m->bytes + name.offset, name.len);
    printf("%s", clean ? clean->valuestring : "?");
    cJSON_Delete(clean);
}

static void features_print(const struct wasm_module *m)
{
    printf("features:");
    for (uint32_t bit = 1; bit && bit <= m->features; bit <<= 1) {
        if (m->features & bit)
            printf(" %s", wasm_feature_name(bit));
    }
    printf("%s\n", m->features ? "" : " none beyond WebAssembly 1.0");
}

static void words_print(const struct wasm_module *m)
{
    char type[TYPE_TEXT_MAX];
    printf("%zu bytes, %u of them code\n", m->len, m->code.len);
    printf("%u functions (%u imported), %u types, %u tables, %u memories, %u globals, "
           "%u element segments, %u data segments\n",
           m->function_count, m->imported_functions, m->type_count, m->table_count, m->memory_count,
           m->global_count, m->element_count, m->data_count);
    features_print(m);
    for (uint32_t i = 0; i < m->import_count; i++) {
        const struct wasm_import *import = &m->imports[i];
        type_text(m, import->kind, import->index, type);
        printf("import %s ", kind_names[import->kind]);
        name_print(m, import->module);
        putchar('.');
        name_print(m, import->name);
        printf(": %s\n", type);
    }
    for (uint32_t i = 0; i < m->export_count; i++) {
        const struct wasm_export *export = &m->exports[i];
        type_text(m, export->kind, export->index, type);
        printf("export %s ", kind_names[export->kind]);
        name_print(m, export->name);
        printf(": %s\n", type);
    }
    if (m->start != UINT32_MAX)
        printf("start function %u\n", m->start);
}

/* ---- JSON ---- */

static void counts_add(cJSON *object, const struct wasm_module *m)
{
    const struct {
        const char *name;
        uint32_t count;
    } counts[] = {
        {"types", m->type_count},         {"functions", m->function_count},
        {"tables", m->table_count},       {"memories", m->memory_count},
        {"globals", m->global_count},     {"element_segments", m->element_count},
        {"data_segments", m->data_count}, {"imported_functions", m->imported_functions},
    };
    cJSON *list = cJSON_AddObjectToObject(object, "counts");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        cJSON_AddNumberToObject(list, counts[i].name, counts[i].count);
}

static cJSON *entry_to_json(const struct wasm_module *m, uint8_t kind, uint32_t index,
                            struct wasm_span name)
{
    char type[TYPE_TEXT_MAX];
    type_text(m, kind, index, type);
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "kind", kind_names[kind]);
    cJSON_AddItemToObject(entry, "name", json_text(m->bytes + name.offset, name.len));
    cJSON_AddStringToObject(entry, "type", type);
    return entry;
}

static cJSON *module_to_json(const struct wasm_module *m)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "bytes", (double)m->len);
    cJSON_AddNumberToObject(object, "code_bytes", m->code.len);
    counts_add(object, m);
    cJSON *features = cJSON_AddArrayToObject(object, "features");
    for (uint32_t bit = 1; bit && bit <= m->features; bit <<= 1) {
        if (m->features & bit)
            cJSON_AddItemToArray(features, cJSON_CreateString(wasm_feature_name(bit)));
    }
    cJSON *imports = cJSON_AddArrayToObject(object, "imports");
    for (uint32_t i = 0; i < m->import_count; i++) {
        const struct wasm_import *import = &m->imports[i];
        cJSON *entry = entry_to_json(m, import->kind, import->index, import->name);
        cJSON_AddItemToObject(entry, "module",
                              json_text(m->bytes + import->module.offset, import->module.len));
        cJSON_AddItemToArray(imports, entry);
    }
    cJSON *exports = cJSON_AddArrayToObject(object, "exports");
    for (uint32_t i = 0; i < m->export_count; i++)
        cJSON_AddItemToArray(
            exports, entry_to_json(m, m->exports[i].kind, m->exports[i].index, m->exports[i].name));
    if (m->start != UINT32_MAX)
        cJSON_AddNumberToObject(object, "start", m->start);
    return object;
}

static int module_inspect(const char *path, bool json)
{
    struct error e;
    struct buffer bytes = {0};
    struct wasm_module module = {0};
    int file = module_open(path, &e);
    int result =
        file < 0 ? file : file_read_fd(file, "the module", WASM_MAX_MODULE_BYTES, &bytes, &e);
    if (file >= 0)
        close(file);
    if (result == 0)
        result = wasm_read(bytes.data, bytes.len, &module, &e);
    if (result == 0)
        result = wasm_validate(&module, &e);
    if (result < 0) {
        error_prefix(&e, "%s", path);
        if (json)
            json_print(error_to_json(&e), true);
        else
            report_error(&e);
        result = exit_code_of(&e);
    } else if (json) {
        result = json_print(module_to_json(&module), false);
    } else {
        words_print(&module);
    }
    wasm_module_free(&module);
    buffer_free(&bytes);
    return result;
}

static int inspect_run(int argc, char **argv)
{
    bool json = false;
    const struct option_spec options[] = {
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &json, NULL},
    };
    struct text_list operands = {0};
    int code = EXIT_USAGE;
    switch (options_parse(&command_inspect, options, 1, argc, argv, 1, 1, &operands)) {
    case OPTIONS_HELP: code = EXIT_OK; break;
    case OPTIONS_BAD: break;
    case OPTIONS_GO:
        code = file_readable(operands.items[0]) ? module_inspect(operands.items[0], json)
                                                : EXIT_NO_FILE;
    }
    free(operands.items);
    return code;
}

const struct command command_inspect = {
    .name = "inspect",
    .usage = "[--json] FILE.wasm",
    .summary = "show what a module imports, exports and needs",
    .description =
        "Checks FILE.wasm and shows its sizes, the WebAssembly features it uses, its imports and\n"
        "its exports with their types. A module that is refused is refused here with the same\n"
        "words as by `atoll run`.\n"
        "\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  Atoll or the system failed\n"
        "  126  the module is malformed, invalid, unsupported or beyond a limit\n"
        "  127  FILE.wasm cannot be read",
    .run = inspect_run,
};
