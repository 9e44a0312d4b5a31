/*
 * Loading a module. The order of looks at the cache makes the usual start, a module that was
 * compiled before, one look: opt first. It needs the module's hash alone, so the file goes through
 * a small buffer; only a miss holds it in memory and decodes it, to learn whether it uses tail
 * calls (they change the calling convention) and how much code it has.
 */
#define _GNU_SOURCE
#include "cli/module.h"

#include "base/file.h"
#include "cli/progress.h"
#include "crypto/hash_stream.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const tier_choices[] = {"auto", "quick", "opt", NULL};
const char *const mode_choices[] = {"fast", "exact", NULL};
const char *const cpu_choices[] = {"v2", "v3", "v4", "native", NULL};

/* The level an index into cpu_choices means. */
static enum cpu_level cpu_choice_level(int choice)
{
    static const enum cpu_level levels[] = {CPU_V2, CPU_V3, CPU_V4, CPU_NATIVE};
    return levels[choice];
}

const char *tier_name(uint8_t tier)
{
    return tier == TIER_QUICK ? "quick" : "opt";
}

const char *mode_name(uint8_t mode)
{
    return mode == MODE_FAST ? "fast" : "exact";
}

bool file_readable(const char *path)
{
    struct stat status;
    const char *why = "it is no regular file";
    if (stat(path, &status) < 0 || access(path, R_OK) < 0)
        why = strerror(errno);
    else if (S_ISREG(status.st_mode))
        return true;
    fprintf(stderr, "atoll: cannot read %s: %s\n", *path ? path : "a file without a name", why);
    return false;
}

int module_open(const char *path, struct error *e)
{
    int file = file_open_regular(path, WASM_MAX_MODULE_BYTES, e);
    if (file == -ATOLL_ESIZE) /* a limit of modules, not of this machine */
        return error_set(e, ATOLL_ELIMIT, "the module is larger than the limit of %u MiB",
                         WASM_MAX_MODULE_BYTES >> 20);
    return file;
}

static struct compile_options options_of(const struct module_request *request, uint8_t tier)
{
    return (struct compile_options){
        .tier = tier,
        .mode = (uint8_t)request->mode,
        .cpu = (uint8_t)cpu_choice_level(request->cpu),
        .link = LINK_PRIMARY,
        .fuel = request->fuel,
        .deterministic = request->deterministic,
    };
}

/* SHA-256 of an open file. One that changes meanwhile gives the hash of bytes that it never had at
 * one time, which nothing is cached under. */
static int file_hash(int fd, uint8_t sha256[static HASH_LEN], struct error *e)
{
    static uint8_t piece[128 << 10];
    struct hash_stream hash;
    hash_stream_begin(&hash);
    ssize_t got;
    while ((got = read(fd, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))
        if (got > 0)
            hash_stream_add(&hash, piece, (size_t)got);
    hash_stream_end(&hash, sha256);
    return got < 0 ? error_set_errno(e, 0, "cannot read the module") : 0;
}

/* One tier's entry in the cache, under either calling convention. */
static int module_lookup(struct compiler *compiler, const struct module_request *request, int file,
                         uint8_t tier, struct artefact **out, struct error *e)
{
    uint8_t sha256[HASH_LEN];
    int result = file_hash(file, sha256, e);
    if (result < 0)
        return result;
    struct compile_options options = options_of(request, tier);
    result = compiler_lookup(compiler, sha256, &options, out, e);
    if (result == -ATOLL_ENOENT) {
        options.tail_calls = true;
        result = compiler_lookup(compiler, sha256, &options, out, e);
    }
    return result;
}

/* What a decision about compiling needs to know of the module. */
static int module_survey(const struct buffer *wasm, bool *tail_calls, uint32_t *code_bytes,
                         struct error *e)
{
    struct wasm_module module;
    int result = wasm_read(wasm->data, wasm->len, &module, e);
    if (result < 0)
        return result;
    result = wasm_validate(&module, e);
    *tail_calls = module.features & WASM_FEATURE_TAIL_CALL;
    *code_bytes = module.code.len;
    wasm_module_free(&module);
    return result;
}

/* A name that one process on this machine can hold at a time; it is free again when that process
 * ends, however it ends. Returns the descriptor that holds it, or -1 when somebody else does. */
static int background_claim(const struct buffer *wasm, const struct compile_options *options)
{
    uint8_t hash[HASH_LEN];
    char hex[2 * HASH_LEN + 1];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    hash_sha256(wasm->data, wasm->len, hash);
    hash_hex(hash, hex);
    int used =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "atoll-opt-%u-%u-%u-%u-%.40s",
                 getuid(), options->mode, options->cpu, (unsigned)options->fuel, hex);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
    if (bind(fd, (const struct sockaddr *)&address, len) == 0)
        return fd;
    close(fd);
    return -1;
}

/* In the child: becomes `atoll compile` at low priority, keeping only the claim. */
static _Noreturn void background_become(const struct module_request *request, int claim)
{
    /* Twice, so that nobody has to wait for the one that works. */
    if (setsid() < 0 || fork() != 0)
        _exit(0);
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= 2 && nothing >= 0; fd++)
        dup2(nothing, fd);
    if (claim != 3)
        dup2(claim, 3);
    fcntl(3, F_SETFD, 0);
    closefrom(4);
    setpriority(PRIO_PROCESS, 0, 10);
    const char *arguments[16] = {"atoll",  "compile",
                                 "--tier", "opt",
                                 "--mode", mode_choices[request->mode],
                                 "--cpu",  cpu_choices[request->cpu]};
    size_t count = 8;
    if (request->fuel)
        arguments[count++] = "--fuel";
    if (request->deterministic)
        arguments[count++] = "--deterministic";
    arguments[count++] = "--";
    arguments[count] = request->path;
    execv("/proc/self/exe", (char *const *)arguments);
    _exit(EXIT_ATOLL);
}

/* Compiles the module at opt into the cache in a process that outlives this one and yields to
 * everything else. Best effort: if it fails, the next start is at quick and tries again. */
static void background_compile(const struct module_request *request, const struct buffer *wasm)
{
    struct compile_options options = options_of(request, TIER_OPT);
    int claim = background_claim(wasm, &options);
    if (claim < 0)
        return;
    pid_t child = fork();
    if (child == 0)
        background_become(request, claim);
    close(claim);
    if (child > 0)
        waitpid(child, NULL, 0);
}

static int module_compile(struct compiler *compiler, const struct module_request *request, int file,
                          bool background, struct artefact **out, bool *cached, struct error *e)
{
    bool tail_calls;
    uint32_t code_bytes;
    struct buffer wasm = {0};
    int result = lseek(file, 0, SEEK_SET) < 0
                     ? error_set_errno(e, 0, "cannot read the module again")
                     : file_read_fd(file, "the module", WASM_MAX_MODULE_BYTES, &wasm, e);
    if (result == 0)
        result = module_survey(&wasm, &tail_calls, &code_bytes, e);
    if (result < 0) {
        buffer_free(&wasm);
        return result;
    }
    bool quick = request->tier == CHOOSE_QUICK ||
                 (request->tier == CHOOSE_AUTO && code_bytes > AUTO_OPT_CODE_BYTES);
    struct compile_options options = options_of(request, quick ? TIER_QUICK : TIER_OPT);
    options.tail_calls = tail_calls;
    result = compiler_load(compiler, wasm.data, wasm.len, &options, out, cached, e);
    if (result == 0 && quick && background)
        background_compile(request, &wasm);
    buffer_free(&wasm);
    return result;
}

static int module_find(struct compiler *compiler, const struct module_request *request, int file,
                       struct artefact **out, bool *cached, struct error *e)
{
    *cached = true;
    int result = -ATOLL_ENOENT;
    if (!request->no_cache)
        result = module_lookup(compiler, request, file,
                               request->tier == CHOOSE_QUICK ? TIER_QUICK : TIER_OPT, out, e);
    if (result != -ATOLL_ENOENT)
        return result;
    bool background = request->tier == CHOOSE_AUTO && !request->no_cache;
    return module_compile(compiler, request, file, background, out, cached, e);
}

int module_load(const struct module_request *request, struct artefact **out, bool *cached,
                struct error *e)
{
    struct compiler *compiler = NULL;
    bool from_cache = false;
    int file = module_open(request->path, e);
    if (file < 0)
        return error_prefix(e, "%s", request->path);
    struct progress progress;
    progress_begin(&progress, request->path);
    struct compiler_settings settings = {.cache = request->no_cache ? "" : NULL,
                                         .progress = progress_update,
                                         .progress_context = &progress};
    int result = compiler_create(&settings, &compiler, e);
    if (result == 0)
        result = module_find(compiler, request, file, out, &from_cache, e);
    progress_end(&progress);
    compiler_destroy(compiler);
    close(file);
    if (cached)
        *cached = from_cache;
    return result < 0 ? error_prefix(e, "%s", request->path) : 0;
}
