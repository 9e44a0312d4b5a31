/*
 * Starting atoll-cc. posix_spawn does not copy the address space of a process that may hold
 * thousands of arenas. The program gets an empty environment (nothing there may change what LLVM
 * generates), default signals, and its end of a socket pair as descriptor 3. It asks the kernel
 * itself to be killed when its parent dies, and ends when the socket closes.
 */
#define _GNU_SOURCE
#include "engine/compiler_process.h"

#include "base/file.h"
#include "crypto/hash.h"
#include "engine/artefact.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- finding it ---- */

static bool executable_at(const char *directory, const char *rest, char *out, size_t cap)
{
    int used = snprintf(out, cap, "%s/%s", directory, rest);
    return used > 0 && (size_t)used < cap && access(out, X_OK) == 0;
}

int compiler_find(char *out, size_t cap, struct error *e)
{
    const char *chosen = getenv("ATOLL_CC");
    if (chosen && *chosen) {
        int used = snprintf(out, cap, "%s", chosen);
        if (used < 0 || (size_t)used >= cap)
            return error_set(e, ATOLL_ESIZE, "the path in ATOLL_CC is too long");
        return 0;
    }
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0)
        return error_set_errno(e, 0, "cannot read /proc/self/exe to find atoll-cc beside it");
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    if (executable_at(self, "atoll-cc", out, cap) ||
        executable_at(self, "../libexec/atoll/atoll-cc", out, cap))
        return 0;
    return error_set(
        e, ATOLL_ENOENT,
        "the compiler atoll-cc is neither in %s nor in ../libexec/atoll of it; install "
        "it there or set ATOLL_CC to its path",
        self);
}

/* ---- starting programs ---- */

/* Runs program with `argument`, descriptor `fd` of ours as its descriptor `target`. */
static int program_spawn(const char *program, const char *argument, int fd, int target, pid_t *pid,
                         struct error *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc == 0 && (rc = posix_spawnattr_init(&attributes)) != 0)
        posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return error_set(e, ATOLL_ENOMEM, "no memory to start %s", program);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *const arguments[] = {(char *)(uintptr_t)"atoll-cc", (char *)(uintptr_t)argument, NULL};
    char *const environment[] = {NULL};
    rc = posix_spawn_file_actions_adddup2(&actions, fd, target);
    if (rc == 0)
        rc = posix_spawn(pid, program, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc == 0)
        return 0;
    errno = rc;
    return error_set_errno(e, rc == ENOENT ? ATOLL_ENOENT : ATOLL_EUNAVAIL,
                           "cannot start the compiler %s", program);
}

static int process_reap(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

/* ---- its identity ---- */

/* A line that is different when the program's file is another one. */
static int file_identity(const char *program, char *out, size_t cap, struct error *e)
{
    struct stat s;
    if (stat(program, &s) < 0)
        return error_set_errno(e, ATOLL_ENOENT, "cannot examine the compiler %s", program);
    int used =
        snprintf(out, cap, "%llu:%llu %lld %lld.%09ld %lld.%09ld", (unsigned long long)s.st_dev,
                 (unsigned long long)s.st_ino, (long long)s.st_size, (long long)s.st_mtim.tv_sec,
                 s.st_mtim.tv_nsec, (long long)s.st_ctim.tv_sec, s.st_ctim.tv_nsec);
    assert(used > 0 && (size_t)used < cap);
    return 0;
}

static bool record_path(const char *directory, const char *program, char out[static PATH_MAX])
{
    uint8_t hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    hash_blake2b(program, strlen(program), NULL, 0, hash);
    hash_hex(hash, hex);
    int used = snprintf(out, PATH_MAX, "%s/compiler-%.16s", directory, hex);
    return used > 0 && used < PATH_MAX;
}

/* Printable, one line, of a sensible length. */
static bool build_id_valid(const uint8_t *text, size_t len)
{
    if (len == 0 || len >= COMPILER_BUILD_ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e)
            return false;
    return true;
}

/* The record is the identity, a newline, the build id, a newline. */
static bool record_read(const char *path, const char *identity,
                        char out[static COMPILER_BUILD_ID_MAX])
{
    struct buffer b = {0};
    struct error ignored;
    size_t head = strlen(identity);
    bool ok = file_read(path, 4096, &b, &ignored) == 0 && b.len > head + 2 &&
              memcmp(b.data, identity, head) == 0 && b.data[head] == '\n' &&
              b.data[b.len - 1] == '\n' && build_id_valid(b.data + head + 1, b.len - head - 2);
    if (ok)
        snprintf(out, COMPILER_BUILD_ID_MAX, "%.*s", (int)(b.len - head - 2), b.data + head + 1);
    buffer_free(&b);
    return ok;
}

static int build_id_ask(const char *program, char out[static COMPILER_BUILD_ID_MAX],
                        struct error *e)
{
    int ends[2];
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(e, 0, "cannot create a pipe to the compiler");
    int rc = program_spawn(program, "--build-id", ends[1], STDOUT_FILENO, &pid, e);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        return rc;
    }
    struct buffer b = {0};
    rc = file_read_fd(ends[0], "the compiler's build id", 4096, &b, e);
    close(ends[0]);
    int status = process_reap(pid);
    if (rc == 0 && (status != 0 || b.len < 2 || b.data[b.len - 1] != '\n' ||
                    !build_id_valid(b.data, b.len - 1)))
        rc =
            error_set(e, ATOLL_ECOMPILE, "%s does not answer --build-id as atoll-cc does", program);
    if (rc == 0)
        snprintf(out, COMPILER_BUILD_ID_MAX, "%.*s", (int)(b.len - 1), b.data);
    buffer_free(&b);
    return rc;
}

int compiler_build_id(const char *program, const char *directory,
                      char out[static COMPILER_BUILD_ID_MAX], struct error *e)
{
    char identity[160], path[PATH_MAX];
    int rc = file_identity(program, identity, sizeof identity, e);
    if (rc < 0)
        return rc;
    bool kept = directory && record_path(directory, program, path);
    if (kept && record_read(path, identity, out))
        return 0;
    rc = build_id_ask(program, out, e);
    if (rc < 0 || !kept)
        return rc;
    char record[sizeof identity + COMPILER_BUILD_ID_MAX + 2];
    int len = snprintf(record, sizeof record, "%s\n%s\n", identity, out);
    struct error ignored; /* without the record the next start asks again */
    (void)file_replace(path, record, (size_t)len, 0600, &ignored);
    return 0;
}

/* ---- the process ---- */

static int greeting_read(struct compiler_process *p, const char *program, struct error *e)
{
    union compile_message m;
    int fd;
    int rc = compile_receive(p->socket, &m, &fd, e);
    if (fd >= 0)
        close(fd);
    if (rc == -ATOLL_ELOST) {
        char how[128];
        compiler_bury(p, how, sizeof how);
        return error_set(e, ATOLL_ECOMPILE, "the compiler %s %s before it was ready", program, how);
    }
    if (rc == 0 && (m.kind != COMPILE_HELLO || m.hello.protocol != COMPILE_PROTOCOL ||
                    m.hello.artefact_format != ARTEFACT_FORMAT))
        rc = error_set(e, ATOLL_ECOMPILE, "the compiler %s belongs to another release of Atoll",
                       program);
    if (rc < 0)
        compiler_stop(p);
    return rc;
}

int compiler_start(struct compiler_process *p, const char *program, struct error *e)
{
    int ends[2];
    assert(!p->pid);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(e, 0, "cannot create a socket to the compiler");
    int rc = program_spawn(program, "--serve", ends[1], COMPILE_SOCKET, &p->pid, e);
    close(ends[1]);
    if (rc < 0) {
        close(ends[0]);
        p->pid = 0;
        return rc;
    }
    p->socket = ends[0];
    return greeting_read(p, program, e);
}

void compiler_stop(struct compiler_process *p)
{
    if (!p->pid)
        return;
    close(p->socket);
    kill(p->pid, SIGKILL); /* its shard processes die with it */
    process_reap(p->pid);
    *p = (struct compiler_process){0};
}

void compiler_bury(struct compiler_process *p, char *how, size_t cap)
{
    close(p->socket);
    kill(p->pid, SIGKILL); /* it may have closed the socket and live on */
    int status = process_reap(p->pid);
    *p = (struct compiler_process){0};
    if (WIFSIGNALED(status))
        snprintf(how, cap, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(how, cap, "exited with status %d", WEXITSTATUS(status));
}

int compiler_ask(struct compiler_process *p, const uint8_t *wasm, size_t len,
                 const struct compile_options *options, unsigned parallel, struct error *e)
{
    int fd = memory_file("module", wasm, len, len, true, false, e);
    if (fd < 0)
        return fd;
    struct compile_request request = {
        .kind = COMPILE_REQUEST, .parallel = parallel, .wasm_len = len, .options = *options};
    int rc = compile_send(p->socket, &request, sizeof request, fd, e);
    close(fd);
    return rc;
}
