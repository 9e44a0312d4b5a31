/*
 * function-run ATOLL-CC MODULE [ARGUMENT...]: runs a command module as a function is run, in an
 * instance from a snapshot, with a file tree in memory and streams instead of descriptors. Standard
 * input is the call's input. Two calls are made, one after the other, in the same instance: when
 * the second does not print and return what the first did, that is an error.
 *
 * The tree has an empty directory data and a file fixed/file with "content". Exit codes: that of
 * the program; 134 it trapped; 3 something else went wrong. wasi.sh runs it.
 */
#include "base/bytes.h"
#include "base/file.h"
#include "engine/compile.h"
#include "engine/instance.h"
#include "sandbox/snapshot.h"
#include "sandbox/wasi/wasi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULE_MAX (64u << 20)
#define INPUT_MAX  (64u << 20)

struct host {
    struct compiler *compiler;
    struct artefact *artefact;
    struct wasi *zygote, *wasi;
    struct wasi_image *image;
    struct snapshot *snapshot;
    struct arena *arena;
    struct buffer input, output, arguments;
    struct error e;
};

_Noreturn static void host_fail(const char *what, const char *why)
{
    fprintf(stderr, "function-run: %s: %s\n", what, why);
    exit(3);
}

static void check(struct host *h, const char *what, int result)
{
    if (result < 0) {
        host_fail(what, h->e.text);
    }
}

/* ---- streams ---- */

static ssize_t take_output(void *context, const void *bytes, size_t len)
{
    struct host *h = context;
    return buffer_append(&h->output, bytes, len) ? (ssize_t)len : -1;
}

static void take_line(void *context, const char *line, size_t len)
{
    (void)context;
    fprintf(stderr, "%.*s\n", (int)len, line);
}

static struct wasi_call call_of(struct host *h)
{
    return (struct wasi_call){.streams = {.input = h->input.data,
                                          .input_len = h->input.len,
                                          .context = h,
                                          .output = take_output,
                                          .log = take_line},
                              .args = (const char *)h->arguments.data,
                              .args_len = (uint32_t)h->arguments.len};
}

/* ---- setting up ---- */

static void module_load(struct host *h, const char *program, const char *path)
{
    struct buffer wasm = {0};
    const struct compiler_settings settings = {.program = program};
    const struct compile_options options = {
        .tier = TIER_QUICK, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    check(h, "loading", engine_initialize(&h->e));
    check(h, "loading", file_read(path, MODULE_MAX, &wasm, &h->e));
    check(h, "loading", compiler_create(&settings, &h->compiler, &h->e));
    check(h, "loading",
          compiler_load(h->compiler, wasm.data, wasm.len, &options, &h->artefact, NULL, &h->e));
    buffer_free(&wasm);
}

static void module_link(struct host *h)
{
    const struct wasm_module *m = &h->artefact->module;
    struct link_import *imports = calloc(m->import_count + 1u, sizeof *imports);
    struct instance *instance;
    if (imports == NULL) {
        host_fail("linking", "out of memory");
    }
    for (uint32_t i = 0; i < m->import_count; i++) {
        const struct wasm_import *import = &m->imports[i];
        struct wasm_signature signature = wasm_function_signature(m, import->index);
        imports[i].how = LINK_HOST;
        check(h, "linking",
              wasi_resolve(h->zygote, (const char *)m->bytes + import->module.offset,
                           import->module.len, (const char *)m->bytes + import->name.offset,
                           import->name.len, &signature, &imports[i].function, &imports[i].data,
                           &h->e));
    }
    check(h, "linking", arena_create(SLOT_ANY, &(struct arena_limits){0}, &h->arena, &h->e));
    check(h, "linking",
          instance_create(h->arena, h->artefact, imports, m->import_count, &instance, &h->e));
    free(imports);
}

/* From the zygote to an instance with a world of its own. */
static void instance_make(struct host *h, const struct vfs_config *tree)
{
    check(h, "taking a snapshot", snapshot_take(h->arena, &h->snapshot, &h->e));
    check(h, "taking an image", wasi_image_take(h->zygote, &h->image, &h->e));
    arena_destroy(h->arena);
    check(h, "restoring", snapshot_restore(h->snapshot, SLOT_ANY, &h->arena, &h->e));
    check(h, "restoring", wasi_instantiate(h->image, tree, &h->wasi, &h->e));
    instance_rebind(arena_primary(h->arena), h->zygote, h->wasi);
    wasi_destroy(h->zygote);
}

static void zygote_make(struct host *h, struct vfs_config *tree)
{
    static const struct vfs_entry entries[] = {
        {.path = "data", .type = VFS_DIRECTORY},
        {.path = "fixed/file", .type = VFS_FILE, .bytes = "content", .len = 7},
    };
    static const char *const env[] = {"A=1", "B=two words"};
    const struct wasi_streams streams = call_of(h).streams;
    const struct wasi_config config = {
        .env = env, .env_count = 2, .tree = tree, .streams = &streams};
    check(h, "making a tree", vfs_base_create(entries, 2, &tree->base, &h->e));
    check(h, "making a world", wasi_create(&config, &h->zygote, &h->e));
}

/* ---- calls ---- */

static int call_run(struct host *h)
{
    union host_slot none = {0};
    struct run_result result = {0};
    uint32_t start;
    const struct wasi_call call = call_of(h);
    h->output.len = 0;
    check(h, "resetting", snapshot_reset(h->snapshot, h->arena, &h->e));
    check(h, "resetting", wasi_reset(h->wasi, &call, &h->e));
    if (instance_export(arena_primary(h->arena), "_start", 6, &start) != WASM_KIND_FUNC) {
        host_fail("running", "the module is no command");
    }
    check(h, "running", instance_invoke(arena_primary(h->arena), start, &none, &result, &h->e));
    while (result.status == RUN_PARKED) {
        arena_wait(h->arena);
        check(h, "running", arena_resume(h->arena, &none, &result, &h->e));
    }
    wasi_flush(h->wasi);
    return result.status == RUN_DONE ? 0 : result.status == RUN_EXIT ? result.exit_code : 134;
}

static int calls_run(struct host *h)
{
    int code = call_run(h);
    struct buffer first = h->output;
    h->output = (struct buffer){0};
    if (call_run(h) != code || h->output.len != first.len ||
        (first.len > 0 && memcmp(h->output.data, first.data, first.len) != 0)) {
        host_fail("the second call", "it did not do what the first did");
    }
    check(h, "printing", file_write_all(STDOUT_FILENO, first.data, first.len, &h->e));
    buffer_free(&first);
    return code;
}

int main(int argc, char **argv)
{
    struct host h = {0};
    struct vfs_config tree = {0};
    if (argc < 3) {
        host_fail("usage", "function-run ATOLL-CC MODULE [ARGUMENT...]");
    }
    for (int i = 2; i < argc; i++) {
        if (!buffer_append(&h.arguments, argv[i], strlen(argv[i]) + 1)) {
            host_fail("arguments", "out of memory");
        }
    }
    check(&h, "input", file_read_fd(STDIN_FILENO, "standard input", INPUT_MAX, &h.input, &h.e));
    module_load(&h, argv[1], argv[2]);
    zygote_make(&h, &tree);
    module_link(&h);
    instance_make(&h, &tree);
    int code = calls_run(&h);
    arena_destroy(h.arena);
    wasi_destroy(h.wasi);
    snapshot_release(h.snapshot);
    wasi_image_release(h.image);
    vfs_base_release(tree.base);
    artefact_release(h.artefact);
    compiler_destroy(h.compiler);
    buffer_free(&h.input);
    buffer_free(&h.output);
    buffer_free(&h.arguments);
    return code;
}
