/*
 * Requests in, artefacts out (engine/compile_protocol.h). Errors of a module are answers; only a
 * broken socket ends the loop.
 */
#define _GNU_SOURCE
#include "atoll-cc/server.h"

#include "atoll-cc/module_compile.h"
#include "base/file.h"
#include "engine/artefact.h"
#include "engine/compile_protocol.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int progress_send(void *context, uint32_t done, uint32_t total, struct error *e)
{
    struct compile_progress m = {COMPILE_PROGRESS, done, total};
    return compile_send(*(const int *)context, &m, sizeof m, -1, e);
}

static bool options_valid(const struct compile_options *o)
{
    return o->tier <= TIER_OPT && o->mode <= MODE_EXACT && o->cpu >= CPU_NATIVE &&
           o->cpu <= CPU_V4 && o->link <= LINK_OTHER;
}

/* The module's bytes, mapped: nobody can change them while they are compiled, because the file is
 * sealed. */
static int module_map(const struct compile_request *r, int fd, const uint8_t **out, struct error *e)
{
    static const uint8_t nothing[1];
    *out = nothing;
    if (!options_valid(&r->options) || r->parallel == 0)
        return error_set(e, ATOLL_EINVAL, "unknown compile options");
    if (r->wasm_len > WASM_MAX_MODULE_BYTES)
        return error_set(e, ATOLL_ELIMIT, "the module has %llu bytes, more than the limit of %u",
                         (unsigned long long)r->wasm_len, WASM_MAX_MODULE_BYTES);
    if (fd < 0 || !compile_file_sealed(fd, r->wasm_len))
        return error_set(e, ATOLL_EINVAL, "the module did not come as a sealed file");
    if (r->wasm_len == 0)
        return 0;
    void *mapped = mmap(NULL, r->wasm_len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the module");
    *out = mapped;
    return 0;
}

static int request_compile(int socket, const struct compile_request *r, int fd,
                           struct buffer *artefact, struct error *e)
{
    const uint8_t *wasm;
    int rc = module_map(r, fd, &wasm, e);
    if (rc < 0)
        return rc;
    struct compile_job job = {.wasm = wasm,
                              .wasm_len = r->wasm_len,
                              .options = r->options,
                              .parallel = r->parallel,
                              .client = socket,
                              .progress = progress_send,
                              .context = &socket};
    rc = module_compile(&job, artefact, e);
    if (r->wasm_len)
        munmap((void *)(uintptr_t)wasm, r->wasm_len);
    return rc;
}

/* Sends the artefact, or the error when rc is negative. */
static int result_send(int socket, int rc, const struct buffer *artefact,
                       const struct error *compile_error, struct error *e)
{
    struct compile_result m = {.kind = COMPILE_RESULT, .code = rc};
    int fd = -1;
    struct error file_error, *why = (struct error *)(uintptr_t)compile_error;
    if (rc == 0) {
        m.artefact_len = artefact->len;
        fd = memory_file("artefact", artefact->data, artefact->len, artefact->len, true, false,
                         &file_error);
        if (fd < 0) {
            m.code = fd;
            why = &file_error;
        }
    }
    if (m.code < 0) {
        m.offset = why->offset;
        m.function = why->function;
        memcpy(m.text, why->text, sizeof m.text);
    }
    rc = compile_send(socket, &m, sizeof m, fd, e);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int request_serve(int socket, const struct compile_request *r, int fd, struct error *e)
{
    struct buffer artefact = {0};
    struct error compile_error = {.offset = ERROR_NOWHERE, .function = UINT32_MAX};
    int rc = request_compile(socket, r, fd, &artefact, &compile_error);
    rc = result_send(socket, rc, &artefact, &compile_error, e);
    buffer_free(&artefact);
    return rc;
}

int server_run(int socket, struct error *e)
{
    struct compile_hello hello = {COMPILE_HELLO, COMPILE_PROTOCOL, ARTEFACT_FORMAT};
    int rc = compile_send(socket, &hello, sizeof hello, -1, e);
    while (rc == 0) {
        union compile_message m;
        int fd;
        rc = compile_receive(socket, &m, &fd, e);
        if (rc == 0)
            rc = m.kind == COMPILE_REQUEST
                     ? request_serve(socket, &m.request, fd, e)
                     : error_set(e, ATOLL_EINVAL, "the engine sent something else than a request");
        if (fd >= 0)
            close(fd);
    }
    return rc == -ATOLL_ELOST ? 0 : rc;
}
