/*
 * Loading a version on a guest thread: artefact, zygote, image.
 *
 * With a proto image nothing of the guest runs: the arena is put into the image's state, a snapshot
 * of it is taken, and the arena is thrown away. Without one, an instance is linked, and the call
 * runs its start function, _initialize and atoll_zygote like any other guest code, but as a zygote:
 * no chaining, no sockets, no pushes, and ZYGOTE_LIMIT_NS. Then the snapshot is taken, and a proto
 * image is written for the supervisor to keep.
 *
 * The owner's section of a proto image holds what wasi_save gives. An image comes from a file and
 * is not trusted; one that cannot be used makes the load fail with stage LOAD_IMAGE, and the
 * supervisor sends the version again without it.
 */
#define _GNU_SOURCE
#include "node/worker/process.h"

#include "base/file.h"
#include "sandbox/proto_image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHARGE_MIN (256u << 10) /* stack, tables and the host's part of an instance */

/* ---- the parts ---- */

static int artefact_from(const struct version *v, struct artefact **out, struct error *e)
{
    static const uint8_t unknown[HASH_LEN];
    bool known = memcmp(v->artefact_id, unknown, HASH_LEN) != 0;
    return artefact_open_file(v->artefact_fd, known ? v->artefact_id : NULL, out, e);
}

static int files_make(struct version *v, struct error *e)
{
    struct vfs_entry *entries = calloc(v->file_count + 1u, sizeof *entries);
    if (!entries)
        return error_set(e, ATOLL_ENOMEM, "no memory for a function's files");
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < v->file_count; k++) {
        struct stat st;
        if (fstat(v->file_fds[k], &st) < 0)
            rc = error_set_errno(e, 0, "cannot look at the file %s", v->file_paths[k]);
        else
            entries[k] = (struct vfs_entry){.path = v->file_paths[k],
                                            .type = VFS_FILE,
                                            .fd = v->file_fds[k],
                                            .len = (uint64_t)st.st_size};
    }
    if (rc == 0)
        rc = vfs_base_create(entries, v->file_count, &v->files, e);
    free(entries);
    return rc;
}

/* The world that the zygote runs in. */
static int zygote_world(struct version *v, struct faaslet *f, struct error *e)
{
    const struct vfs_config tree = {.base = v->files};
    const struct manifest *m = &v->manifest;
    const char *args[] = {v->function};
    const struct wasi_streams streams = faaslet_streams(f, NULL);
    char **env = calloc(m->env_count + 1u, sizeof *env);
    int rc = env ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for an environment");
    for (uint32_t k = 0; rc == 0 && k < m->env_count; k++)
        if (asprintf(&env[k], "%s=%s", m->env[k].name, m->env[k].value) < 0)
            rc = error_set(e, ATOLL_ENOMEM, "no memory for an environment");
    struct wasi_config config = {.args = args,
                                 .arg_count = 1,
                                 .env = (const char *const *)env,
                                 .env_count = m->env_count,
                                 .tree = &tree,
                                 .streams = &streams,
                                 .clock_resolution_ns = m->clock_resolution_ns,
                                 .descriptor_limit = DESCRIPTORS_MAX};
    if (rc == 0)
        rc = wasi_create(&config, &f->wasi, e);
    for (uint32_t k = 0; env && k < m->env_count; k++)
        free(env[k]);
    free(env);
    return rc;
}

/* ---- what is to be called ---- */

static uint32_t export_function(const struct instance *i, const char *name)
{
    uint32_t index;
    return instance_export(i, name, strlen(name), &index) == WASM_KIND_FUNC ? index : UINT32_MAX;
}

/* () -> (), or () -> i32 where a result is allowed. */
static bool callable(const struct instance *i, uint32_t function, bool result)
{
    struct wasm_signature s = wasm_function_signature(&instance_artefact(i)->module, function);
    if (s.param_count != 0 || s.result_count > (result ? 1u : 0u))
        return false;
    return s.result_count == 0 || s.results[0] == WASM_I32;
}

static int entry_check(const struct instance *i, uint32_t function, const char *name, bool result,
                       struct error *e)
{
    if (function == UINT32_MAX || callable(i, function, result))
        return 0;
    return error_set(e, ATOLL_ETYPE, "the export %s has parameters or results that it may not have",
                     name);
}

static int entries_find(const struct version *v, const struct instance *i, struct entries *out,
                        struct error *e)
{
    const char *name = v->manifest.entry ? v->manifest.entry : "atoll_main";
    out->main = export_function(i, name);
    if (out->main == UINT32_MAX && !v->manifest.entry)
        out->main = export_function(i, name = "_start");
    out->on_restore = export_function(i, "atoll_on_restore");
    if (out->main == UINT32_MAX)
        return v->manifest.entry
                   ? error_set(e, ATOLL_ENOENT,
                               "the module does not export %s, its entry by the "
                               "manifest",
                               name)
                   : error_set(e, ATOLL_ENOENT,
                               "the module exports neither atoll_main nor _start: nothing to call");
    if (v->manifest.reset != RESET_ALWAYS && strcmp(name, "_start") == 0)
        return error_set(e, ATOLL_EINVAL,
                         "_start runs once in a memory, so its function must be reset; export "
                         "atoll_main, or leave reset out of the manifest");
    int rc = entry_check(i, out->main, name, true, e);
    return rc < 0 ? rc : entry_check(i, out->on_restore, "atoll_on_restore", false, e);
}

/* The start function, _initialize and atoll_zygote, as far as there are any. */
static int zygote_functions(struct faaslet *f, struct error *e)
{
    const struct instance *i = arena_primary(f->arena);
    uint32_t start = instance_artefact(i)->module.start;
    uint32_t initialize = export_function(i, "_initialize");
    uint32_t zygote = export_function(i, "atoll_zygote");
    int rc = entry_check(i, initialize, "_initialize", false, e);
    if (rc == 0)
        rc = entry_check(i, zygote, "atoll_zygote", true, e);
    f->function_at = f->function_count = 0;
    if (start != UINT32_MAX)
        f->functions[f->function_count++] = start;
    if (initialize != UINT32_MAX)
        f->functions[f->function_count++] = initialize;
    if (zygote != UINT32_MAX)
        f->functions[f->function_count++] = zygote;
    return rc;
}

/* ---- the image ---- */

void proto_release(struct proto *p)
{
    if (!p || atomic_fetch_sub(&p->references, 1) != 1)
        return;
    snapshot_release(p->snapshot);
    wasi_image_release(p->wasi);
    artefact_release(p->artefact);
    free(p->record_functions);
    free(p);
}

/* The function of each record, for references found in tables. */
static uint32_t *record_functions(const struct artefact *a)
{
    uint32_t *list = malloc((a->layout.record_count + 1ull) * sizeof *list);
    for (uint32_t f = 0; list && f < a->module.function_count; f++)
        if (a->layout.record_of[f] != UINT32_MAX)
            list[a->layout.record_of[f]] = f;
    return list;
}

static int proto_make(struct version *v, struct arena *arena, struct wasi *wasi, struct error *e)
{
    struct instance *i = arena_primary(arena);
    struct proto *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(e, ATOLL_ENOMEM, "no memory for an image");
    p->references = 1;
    p->artefact = artefact_retain(i->artefact);
    p->wasi_bound = wasi;
    p->record_functions = record_functions(i->artefact);
    int rc = p->record_functions ? entries_find(v, i, &p->entries, e)
                                 : error_set(e, ATOLL_ENOMEM, "no memory for an image");
    if (rc == 0)
        rc = wasi_image_take(wasi, &p->wasi, e);
    if (rc == 0)
        rc = snapshot_take(arena, &p->snapshot, e);
    if (rc < 0) {
        proto_release(p);
        return rc;
    }
    p->charge = instance_memory_bytes(i) + CHARGE_MIN;
    v->made = p;
    return 0;
}

/* The file that the supervisor keeps. */
static int image_write(struct version *v, struct arena *arena, const struct wasi *wasi,
                       struct error *e)
{
    struct buffer owner = {0};
    struct stat st;
    int fd = memory_file("atoll-image", NULL, 0, 0, false, false, e);
    int rc = fd < 0 ? fd : wasi_save(wasi, &owner, e);
    if (rc == 0)
        rc = proto_image_write(arena, owner.data, owner.len, fd, e);
    if (rc == 0)
        rc = memory_file_seal(fd, e);
    if (rc == 0 && fstat(fd, &st) == 0) {
        v->made_fd = fd;
        v->made_bytes = (uint64_t)st.st_size;
    } else if (fd >= 0) {
        close(fd);
    }
    buffer_free(&owner);
    return rc;
}

/* ---- from an image ---- */

static int image_load(struct version *v, struct artefact *artefact, const struct proto_image *image,
                      struct error *e)
{
    size_t owner_len;
    const uint8_t *owner = proto_image_owner(image, &owner_len);
    const struct vfs_config tree = {.base = v->files};
    const struct wasi_streams streams = faaslet_streams(NULL, NULL); /* nothing runs in it */
    const struct wasi_config config = {.tree = &tree, .streams = &streams};
    const struct arena_limits limits = {.memory_bytes = v->manifest.memory_bytes,
                                        .stack_bytes = v->manifest.stack_bytes};
    struct wasi *wasi = NULL;
    struct arena *arena = NULL;
    struct proto_module module = {.artefact = artefact,
                                  .import_count = artefact->module.import_count};
    struct link_import *imports = NULL;
    int rc = wasi_restore(owner, owner_len, &config, &wasi, e);
    if (rc == 0)
        rc = imports_resolve(&artefact->module, wasi, v->manifest.allow_unknown_imports, &imports,
                             e);
    module.imports = imports;
    if (rc == 0)
        rc = proto_image_load(image, &limits, proto_link_module, &module, &arena, e);
    if (rc == 0)
        rc = proto_make(v, arena, wasi, e);
    free(imports);
    arena_destroy(arena);
    wasi_destroy(wasi);
    return rc;
}

static int image_use(struct worker *w, struct version *v, struct artefact *artefact,
                     struct error *e)
{
    struct proto_image *image;
    v->load_stage = LOAD_IMAGE;
    int rc = proto_image_open(v->image_fd, &image, e);
    if (rc < 0)
        return rc;
    rc = arena_admit(w, e);
    if (rc == 0) {
        rc = image_load(v, artefact, image, e);
        arena_dismiss(w);
    }
    proto_image_close(image);
    return rc;
}

/* ---- from the module ---- */

static int zygote_link(struct worker *w, struct version *v, struct artefact *artefact,
                       struct faaslet *f, struct error *e)
{
    const struct arena_limits limits = {.memory_bytes = v->manifest.memory_bytes,
                                        .stack_bytes = v->manifest.stack_bytes};
    struct link_import *imports;
    struct instance *instance;
    struct entries unused;
    v->load_stage = LOAD_LINK;
    int rc = zygote_world(v, f, e);
    if (rc < 0)
        return rc;
    rc =
        imports_resolve(&artefact->module, f->wasi, v->manifest.allow_unknown_imports, &imports, e);
    if (rc < 0)
        return rc;
    rc = arena_admit(w, e);
    if (rc == 0 && (rc = arena_create(SLOT_ANY, &limits, &f->arena, e)) < 0)
        arena_dismiss(w);
    if (rc == 0) {
        f->arena->owner = f;
        rc = instance_create(f->arena, artefact, imports, artefact->module.import_count, &instance,
                             e);
    }
    free(imports);
    if (rc == 0 && !instance_memory(instance))
        rc = error_set(e, ATOLL_ELINK, "the module has no memory");
    if (rc == 0)
        rc = entries_find(v, instance, &unused, e);
    return rc == 0 ? zygote_functions(f, e) : rc;
}

static int zygote_make(struct worker *w, struct call *c, struct artefact *artefact, struct error *e)
{
    struct version *v = c->version;
    struct faaslet *f = faaslet_create(w, v);
    if (!f)
        return error_set(e, ATOLL_ENOMEM, "no memory for an instance");
    f->call = c;
    int rc = zygote_link(w, v, artefact, f, e);
    if (rc < 0) {
        faaslet_destroy(f);
        return rc;
    }
    f->used = f->trapped = true; /* never into the pool */
    call_output_begin(&f->output, 0);
    c->faaslet = f;
    v->load_stage = LOAD_ZYGOTE;
    return 1;
}

/* ---- the two steps ---- */

int load_begin(struct worker *w, struct call *c, struct error *e)
{
    struct version *v = c->version;
    struct artefact *artefact;
    v->load_stage = LOAD_CODEGEN;
    int rc = v->files ? 0 : files_make(v, e);
    if (rc == 0)
        rc = artefact_from(v, &artefact, e);
    if (rc < 0)
        return rc;
    rc = v->image_fd >= 0 ? image_use(w, v, artefact, e) : zygote_make(w, c, artefact, e);
    artefact_release(artefact);
    return rc;
}

int load_finish(struct worker *w, struct call *c, struct error *e)
{
    struct version *v = c->version;
    struct faaslet *f = c->faaslet;
    (void)w;
    int rc = proto_make(v, f->arena, f->wasi, e);
    if (rc == 0)
        rc = image_write(v, f->arena, f->wasi, e);
    if (rc < 0) {
        proto_release(v->made);
        v->made = NULL;
    }
    return rc;
}
