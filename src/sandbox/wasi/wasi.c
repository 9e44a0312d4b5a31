/* The life of a struct wasi: made from a configuration, bound to imports, taken down. */
#define _GNU_SOURCE
#include "sandbox/wasi/save.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define MODULE "wasi_snapshot_preview1"

/* ---- imports ---- */

static const struct import {
    const char *name, *params, *results;
    host_function function;
} imports[] = {
#define X(name, params, results) {#name, params, results, preview1_##name},
    PREVIEW1_FUNCTIONS(X)
#undef X
};
#define IMPORTS (sizeof imports / sizeof imports[0])
_Static_assert(IMPORTS == 46, "preview 1 has 45 functions and sock_accept");

static bool bytes_are(const char *bytes, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(bytes, text, len) == 0;
}

static bool types_are(const uint8_t *types, uint32_t count, const char *letters)
{
    bool same = strlen(letters) == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = types[i] == (letters[i] == 'i' ? WASM_I32 : WASM_I64);
    }
    return same;
}

/* "i32, i64" */
static void types_print(const char *letters, char out[64])
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; letters[i] != '\0'; i++) {
        len += (size_t)snprintf(out + len, 64 - len, "%s%s", i > 0 ? ", " : "",
                                letters[i] == 'i' ? "i32" : "i64");
    }
}

static int import_bind(struct wasi *w, const struct import *import,
                       const struct wasm_signature *signature, host_function *function, void **data,
                       struct error *e)
{
    if (!types_are(signature->params, signature->param_count, import->params) ||
        !types_are(signature->results, signature->result_count, import->results)) {
        char params[64], results[64];
        types_print(import->params, params);
        types_print(import->results, results);
        return error_set(e, ATOLL_ELINK,
                         "incompatible import type: " MODULE ".%s is (%s) -> (%s); the module "
                         "declares it otherwise, rebuild it with a current WASI toolchain",
                         import->name, params, results);
    }
    *function = import->function;
    *data = w;
    return 0;
}

int wasi_resolve(struct wasi *w, const char *module, size_t module_len, const char *name,
                 size_t name_len, const struct wasm_signature *signature, host_function *function,
                 void **data, struct error *e)
{
    if (bytes_are(module, module_len, "wasi_unstable")) {
        return error_set(
            e, ATOLL_ELINK,
            "unknown import: wasi_unstable.%.*s belongs to a WASI older than preview 1; "
            "rebuild the module with a toolchain from 2020 or later",
            (int)(name_len < 64 ? name_len : 64), name);
    }
    if (!bytes_are(module, module_len, MODULE)) {
        return error_set(e, ATOLL_ENOENT, "unknown import: WASI has no module \"%.*s\"",
                         (int)(module_len < 64 ? module_len : 64), module);
    }
    for (size_t i = 0; i < IMPORTS; i++) {
        if (bytes_are(name, name_len, imports[i].name)) {
            return import_bind(w, &imports[i], signature, function, data, e);
        }
    }
    return error_set(e, ATOLL_ELINK, "unknown import: WASI preview 1 has no function \"%.*s\"",
                     (int)(name_len < 64 ? name_len : 64), name);
}

/* ---- the parts of a world ---- */

bool strings_add(struct strings *s, const char *text, size_t len)
{
    assert(!s->borrowed);
    if (len >= WASI_MAX_STRINGS - s->len) {
        return false;
    }
    char *grown = realloc(s->bytes, s->len + len + 1);
    if (grown == NULL) {
        return false;
    }
    memcpy(grown + s->len, text, len);
    grown[s->len + len] = '\0';
    s->bytes = grown;
    s->len += (uint32_t)len + 1;
    s->count++;
    return true;
}

void strings_free(struct strings *s)
{
    if (!s->borrowed) {
        free(s->bytes);
    }
    *s = (struct strings){0};
}

/* Describes fd, or closes it. */
static int describe(struct descriptor *d, int fd)
{
    int result = fd >= 0 ? descriptor_describe(d, fd) : -errno;
    if (result != 0 && fd >= 0) {
        close(fd);
    }
    errno = result != 0 ? -result : errno;
    return result;
}

static int table_full(struct error *e)
{
    return error_set(e, ATOLL_ELIMIT,
                     "the guest's descriptor table is full; raise its descriptor limit");
}

int preopen_add(struct wasi *w, const char *host_path, const char *guest_name, bool read_only,
                struct error *e)
{
    if (guest_name[0] == '\0' || strlen(guest_name) >= WASI_MAX_PATH) {
        return error_set(e, ATOLL_EINVAL, "the guest name of directory %s is empty or too long",
                         host_path);
    }
    struct preopen *grown = realloc(w->preopens, (w->preopen_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for the directory %s", host_path);
    }
    w->preopens = grown;
    struct preopen made = {.back_end = &back_end_host, .read_only = read_only};
    made.fd = open(host_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made.fd < 0) {
        return error_set_errno(e, 0, "cannot open the directory %s for the guest", host_path);
    }
    made.guest_name = strdup(guest_name);
    if (made.guest_name == NULL) {
        close(made.fd);
        return error_set(e, ATOLL_ENOMEM, "no memory for the directory %s", host_path);
    }
    w->preopens[w->preopen_count++] = made;
    return 0;
}

/* The descriptor by which the guest finds the preopen. It has an open file of its own, which the
 * guest may close. */
static int preopen_show(struct wasi *w, uint32_t index, struct error *e)
{
    const struct saved preopen = {
        .kind = DESCRIPTOR_PREOPEN, .filetype = WASI_FILETYPE_DIRECTORY, .source = index};
    struct descriptor made = {
        .kind = DESCRIPTOR_PREOPEN, .source = index, .inheriting = WASI_RIGHTS_ALL};
    uint32_t number;
    int result = w->preopens[index].back_end->reopen(w, &preopen, &made, e);
    if (result != 0) {
        return result;
    }
    made.base = descriptor_rights(&made);
    return descriptor_add(w, &made, 3, &number) == WASI_SUCCESS ? 0 : table_full(e);
}

/* Another open file for the same pipe or terminal, which may be non-blocking without anyone else
 * noticing; where that is not allowed, a duplicate of the given one. */
static int standard_open(int host_fd, const struct stat *status)
{
    struct stat reopened;
    char proc[40];
    int flags = fcntl(host_fd, F_GETFL);
    if (flags >= 0 && (S_ISFIFO(status->st_mode) || isatty(host_fd))) {
        snprintf(proc, sizeof proc, "/proc/self/fd/%d", host_fd);
        int fd = open(proc, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &reopened) == 0 && reopened.st_dev == status->st_dev &&
            reopened.st_ino == status->st_ino) {
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    return fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
}

static uint64_t access_rights(int fd)
{
    switch (fcntl(fd, F_GETFL) & O_ACCMODE) {
    case O_RDONLY:
        return ~(WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE);
    case O_WRONLY: return ~WASI_RIGHT_FD_READ;
    default: return ~0ull;
    }
}

int standard_add(struct wasi *w, uint32_t number, uint32_t source, int host_fd, struct error *e)
{
    struct stat status;
    if (host_fd < 0 || fcntl(host_fd, F_GETFD) < 0) {
        return 0; /* this process itself was started without it: so is the guest */
    }
    struct descriptor made = {.kind = DESCRIPTOR_STANDARD, .source = source};
    if (fstat(host_fd, &status) != 0 || describe(&made, standard_open(host_fd, &status)) != 0) {
        return error_set_errno(e, 0,
                               "cannot duplicate descriptor %d for the guest's standard "
                               "stream %u",
                               host_fd, source);
    }
    made.base = descriptor_rights(&made) & access_rights(made.fd);
    return descriptor_put(w, &made, number) == WASI_SUCCESS ? 0 : table_full(e);
}

/* accept4 has no flag against waiting, so a listening socket itself is made non-blocking. */
static int socket_add(struct wasi *w, const struct wasi_socket *socket, uint32_t *number,
                      struct error *e)
{
    struct descriptor made = {.kind = DESCRIPTOR_SOCKET};
    struct descriptor *taken;
    struct stat status;
    int listening = 0;
    if (fstat(socket->fd, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return error_set(e, ATOLL_EINVAL, "descriptor %d is not a socket", socket->fd);
    }
    if (socket->guest_fd != WASI_ANY_FD &&
        (socket->guest_fd >= w->limit ||
         descriptor_get(w, socket->guest_fd, 0, &taken) != WASI_EBADF)) {
        return error_set(e, ATOLL_EINVAL, "the guest's descriptor %u for a socket is %s",
                         socket->guest_fd, socket->guest_fd >= w->limit ? "too high" : "in use");
    }
    getsockopt(socket->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &(socklen_t){sizeof listening});
    if ((listening && fcntl(socket->fd, F_SETFL, fcntl(socket->fd, F_GETFL) | O_NONBLOCK) != 0) ||
        describe(&made, fcntl(socket->fd, F_DUPFD_CLOEXEC, 0)) != 0) {
        return error_set_errno(e, 0, "cannot duplicate socket %d for the guest", socket->fd);
    }
    made.base = made.inheriting = descriptor_rights(&made);
    *number = socket->guest_fd;
    uint16_t error = socket->guest_fd == WASI_ANY_FD ? descriptor_add(w, &made, 3, number)
                                                     : descriptor_put(w, &made, socket->guest_fd);
    return error == WASI_SUCCESS ? 0 : table_full(e);
}

int wasi_add_socket(struct wasi *w, int fd, uint32_t *guest_fd, struct error *e)
{
    return socket_add(w, &(struct wasi_socket){.fd = fd, .guest_fd = WASI_ANY_FD}, guest_fd, e);
}

int world_create(const struct wasi_config *config, struct wasi **out, struct error *e)
{
    if (config->tree != NULL && config->preopen_count > 0) {
        return error_set(e, ATOLL_EINVAL,
                         "a program has either directories of the host or a file tree in memory");
    }
    bool openat2 =
        config->tree == NULL && config->resolution != WASI_RESOLVE_WALK && path_openat2_works();
    if (config->resolution == WASI_RESOLVE_OPENAT2 && !openat2) {
        return error_set(e, ATOLL_EUNAVAIL,
                         "this kernel or its system call filter has no openat2; choose the walk");
    }
    struct wasi *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return error_set(e, ATOLL_ENOMEM, "no memory for a WASI world");
    }
    if (config->tree != NULL) {
        world_plant(w, config->tree);
    }
    w->has_streams = config->streams != NULL;
    w->streams = w->has_streams ? *config->streams : (struct wasi_streams){0};
    w->openat2 = openat2;
    w->resolution_ns = config->clock_resolution_ns != 0 ? config->clock_resolution_ns
                       : config->tree != NULL           ? WASI_FUNCTION_RESOLUTION_NS
                                                        : 1;
    w->limit = config->descriptor_limit != 0 ? config->descriptor_limit : WASI_DESCRIPTOR_LIMIT;
    w->limit = w->limit < WASI_MAX_DESCRIPTORS ? w->limit : WASI_MAX_DESCRIPTORS;
    w->clock_offset[WASI_CLOCK_MONOTONIC] = config->monotonic_offset_ns;
    for (uint32_t clock = WASI_CLOCK_PROCESS; clock <= WASI_CLOCK_THREAD; clock++) {
        w->clock_offset[clock] = -host_clock(w, clock);
    }
    *out = w;
    return 0;
}

static int strings_fill(struct strings *s, const char *const *list, uint32_t count,
                        const char *what, struct error *e)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!strings_add(s, list[i], strlen(list[i]))) {
            return error_set(e, ATOLL_ELIMIT, "the %s are too long: more than %u bytes together",
                             what, WASI_MAX_STRINGS);
        }
    }
    return 0;
}

static int world_fill(struct wasi *w, const struct wasi_config *config, struct error *e)
{
    int result = strings_fill(&w->args, config->args, config->arg_count, "arguments", e);
    if (result == 0) {
        result = strings_fill(&w->env, config->env, config->env_count, "environment variables", e);
    }
    const int standard[] = {config->stdin_fd, config->stdout_fd, config->stderr_fd};
    for (uint32_t i = 0; result == 0 && i < 3; i++) {
        result = w->has_streams ? stream_add(w, i, i, e) : standard_add(w, i, i, standard[i], e);
    }
    if (result == 0 && config->tree != NULL) {
        result = preopen_add_tree(w, "/", e);
        result = result == 0 ? preopen_show(w, 0, e) : result;
    }
    for (uint32_t i = 0; result == 0 && i < config->preopen_count; i++) {
        const struct wasi_preopen *p = &config->preopens[i];
        result = preopen_add(w, p->host_path, p->guest_name, p->read_only, e);
        if (result == 0) {
            result = preopen_show(w, i, e);
        }
    }
    for (uint32_t i = 0; result == 0 && i < config->socket_count; i++) {
        uint32_t number;
        result = socket_add(w, &config->sockets[i], &number, e);
    }
    return result;
}

int wasi_create(const struct wasi_config *config, struct wasi **out, struct error *e)
{
    struct wasi *w;
    int result = world_create(config, &w, e);
    if (result == 0) {
        result = world_fill(w, config, e);
        if (result != 0) {
            wasi_destroy(w);
        } else {
            *out = w;
        }
    }
    return result;
}

void wasi_destroy(struct wasi *w)
{
    if (w == NULL) {
        return;
    }
    for (uint32_t i = 0; i < w->capacity; i++) {
        if (w->descriptors[i].kind != DESCRIPTOR_FREE) {
            descriptor_close(w, &w->descriptors[i]);
        }
    }
    for (uint32_t i = 0; i < w->preopen_count; i++) {
        if (w->preopens[i].fd >= 0) {
            close(w->preopens[i].fd);
        }
        free(w->preopens[i].guest_name);
    }
    if (w->tree.base != NULL) {
        vfs_end(&w->tree);
    }
    free(w->descriptors);
    free(w->preopens);
    strings_free(&w->args);
    strings_free(&w->env);
    free(w->line);
    wasi_image_release(w->image);
    free(w);
}
