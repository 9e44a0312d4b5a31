/* See artefact_file.h. One compiler process for the whole program; a module is compiled once. */
#define _GNU_SOURCE
#include "artefact_file.h"

#include "base/file.h"
#include "engine/compile.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODULES_MAX 32

static struct compiler *compiler;
static struct {
    char *path;
    int fd;
} made[MODULES_MAX];

static void compiler_stop(void)
{
    for (int k = 0; k < MODULES_MAX && made[k].path; k++) {
        close(made[k].fd);
        free(made[k].path);
        made[k].path = NULL;
    }
    compiler_destroy(compiler);
}

static void check(int rc, const struct error *e)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "a guest cannot be compiled: %s\n", e->text);
    exit(99);
}

static int artefact_make(const char *path)
{
    struct error e;
    struct buffer wasm = {0}, bytes = {0};
    struct artefact *artefact;
    const char *chosen = getenv("ATOLL_CC");
    struct compiler_settings settings = {.program = chosen ? chosen : ATOLL_CC, .cache = ""};
    const struct compile_options options = {
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    if (!compiler) {
        check(compiler_create(&settings, &compiler, &e), &e);
        atexit(compiler_stop);
    }
    check(file_read(path, 64u << 20, &wasm, &e), &e);
    check(compiler_load(compiler, wasm.data, wasm.len, &options, &artefact, NULL, &e), &e);
    check(artefact_bytes(artefact, &bytes, &e), &e);
    int fd = memory_file("artefact", bytes.data, bytes.len, bytes.len, true, false, &e);
    check(fd, &e);
    artefact_release(artefact);
    buffer_free(&wasm);
    buffer_free(&bytes);
    return fd;
}

int artefact_file(const char *path)
{
    struct error e;
    int k = 0;
    while (k < MODULES_MAX && made[k].path && strcmp(made[k].path, path) != 0)
        k++;
    if (k == MODULES_MAX)
        check(error_set(&e, ATOLL_ELIMIT, "more than %d modules", MODULES_MAX), &e);
    if (!made[k].path) {
        made[k].fd = artefact_make(path);
        made[k].path = strdup(path);
    }
    return fcntl(made[k].fd, F_DUPFD_CLOEXEC, 0);
}
