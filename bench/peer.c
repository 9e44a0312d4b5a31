/* Native, Atoll and V8 behind one face; see peer.h. */
#define _GNU_SOURCE
#include "peer.h"

#include "cli/bench/measure.h"
#include "guest.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- native ---- */

int native_open(const char *path, struct native *out, struct error *e)
{
    *out = (struct native){.library = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!out->library)
        return error_set(e, ATOLL_EIO, "cannot load the native kernel: %s", dlerror());
    /* POSIX guarantees that dlsym's result can be a function's address; C has no cast for it. */
    void *symbol = dlsym(out->library, "run");
    memcpy(&out->run, &symbol, sizeof symbol);
    if (symbol)
        return 0;
    native_close(out);
    return error_set(e, ATOLL_ENOENT, "%s has no function run", path);
}

void native_close(struct native *n)
{
    if (n->library)
        dlclose(n->library);
    *n = (struct native){0};
}

void native_run(struct native *n, int repeat, struct measurement *out)
{
    int64_t begin = measure_thread_ns();
    out->checksum = n->run(repeat);
    out->ns = (double)(measure_thread_ns() - begin);
}

/* ---- Atoll ---- */

static int kernel_link(struct kernel *k, struct error *e)
{
    const struct arena_limits limits = {0};
    int rc = arena_create(SLOT_ANY, &limits, &k->arena, e);
    if (rc == 0)
        rc = instance_create(k->arena, k->artefact, NULL, 0, &k->instance, e);
    if (rc < 0)
        return rc;
    if (instance_export(k->instance, "run", 3, &k->function) != WASM_KIND_FUNC)
        return error_set(e, ATOLL_ENOENT, "the module exports no function run");
    return 0;
}

int kernel_open(struct compiler *compiler, const char *path, const struct compile_options *options,
                struct kernel *out, struct error *e)
{
    *out = (struct kernel){0};
    int rc = guest_compile(compiler, path, options, &out->artefact, e);
    if (rc == 0)
        rc = kernel_link(out, e);
    if (rc < 0)
        kernel_close(out);
    return rc;
}

void kernel_close(struct kernel *k)
{
    if (k->arena)
        arena_destroy(k->arena);
    artefact_release(k->artefact);
    *k = (struct kernel){0};
}

int kernel_run(struct kernel *k, int repeat, struct measurement *out, struct error *e)
{
    union host_slot slot = {.i64 = repeat};
    struct run_result result = {0};
    int64_t begin = measure_thread_ns();
    int rc = instance_invoke(k->instance, k->function, &slot, &result, e);
    out->ns = (double)(measure_thread_ns() - begin);
    out->checksum = slot.f64;
    if (rc < 0)
        return rc;
    if (result.status == RUN_TRAP)
        return error_set(e, ATOLL_ETRAP, "the kernel trapped: %s",
                         trap_kind_name(result.trap.kind));
    if (result.status != RUN_DONE)
        return error_set(e, ATOLL_ETRAP, "the kernel did not finish (status %d)",
                         (int)result.status);
    return 0;
}

/* ---- V8 ---- */

int v8_start(const char *script, struct v8 *out, struct error *e)
{
    int to[2], from[2];
    *out = (struct v8){0};
    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        return error_set_errno(e, 0, "cannot make pipes to node");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    char *arguments[] = {"node", "--no-liftoff", (char *)(uintptr_t)script, NULL};
    int failure = posix_spawnp(&out->pid, "node", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    if (failure) {
        close(to[1]);
        close(from[0]);
        return error_set(e, ATOLL_EUNAVAIL, "cannot run node: %s", strerror(failure));
    }
    out->requests = fdopen(to[1], "w");
    out->answers = fdopen(from[0], "r");
    if (!out->requests || !out->answers)
        return error_set_errno(e, 0, "cannot talk to node");
    return 0;
}

void v8_stop(struct v8 *v)
{
    if (v->requests)
        fclose(v->requests);
    if (v->answers)
        fclose(v->answers);
    if (v->pid > 0)
        waitpid(v->pid, NULL, 0);
    *v = (struct v8){0};
}

int v8_run(struct v8 *v, const char *wasm_path, int repeat, struct measurement *out,
           struct error *e)
{
    char answer[512];
    uint64_t bits;
    fprintf(v->requests, "%s %d\n", wasm_path, repeat);
    fflush(v->requests);
    if (!fgets(answer, sizeof answer, v->answers))
        return error_set(e, ATOLL_ELOST, "node ended before it answered");
    answer[strcspn(answer, "\n")] = 0;
    if (sscanf(answer, "%lf %" SCNx64, &out->ns, &bits) != 2)
        return error_set(e, ATOLL_EIO, "V8: %s", answer);
    memcpy(&out->checksum, &bits, sizeof bits);
    return 0;
}
