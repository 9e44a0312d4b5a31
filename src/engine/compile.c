/*
 * The client of the compiler process, with the cache in front of it.
 *
 * A module's bytes are only hashed here; decoding, validating and compiling them happens in
 * atoll-cc, so a flaw there does not reach the process that holds the keys. What comes back is
 * opened like any artefact and must be of the module and the options that were asked for.
 */
#define _GNU_SOURCE
#include "engine/compile.h"

#include "base/file.h"
#include "engine/artefact_seal.h"
#include "engine/cache.h"
#include "engine/compiler_process.h"
#include "engine/cpu.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PARALLEL_MAX   256u
#define CANCEL_POLL_MS 100

struct compiler {
    char program[PATH_MAX];
    struct cache *cache; /* NULL: none */
    unsigned parallel;
    void (*progress)(void *context, uint32_t shards_done, uint32_t shards);
    void *progress_context;
    bool (*cancelled)(void *context);
    void *cancelled_context;
    struct compiler_process process;
    char build_id[COMPILER_BUILD_ID_MAX]; /* "" until asked */
    struct error warning;
};

int compiler_create(const struct compiler_settings *settings, struct compiler **out,
                    struct error *e)
{
    *out = NULL;
    struct compiler *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(e, ATOLL_ENOMEM, "no memory for the compiler's client");
    int rc = 0;
    if (!settings->program)
        rc = compiler_find(c->program, sizeof c->program, e);
    else if (strlen(settings->program) >= sizeof c->program)
        rc = error_set(e, ATOLL_ESIZE, "the path of the compiler is too long");
    else
        strcpy(c->program, settings->program);
    if (rc == 0 && (!settings->cache || *settings->cache))
        rc = cache_open(settings->cache, settings->cache_limit, &c->cache, e);
    if (rc < 0) {
        free(c);
        return rc;
    }
    int online = get_nprocs();
    c->parallel = settings->parallel ? settings->parallel : online > 0 ? (unsigned)online : 1;
    if (c->parallel > PARALLEL_MAX)
        c->parallel = PARALLEL_MAX;
    c->progress = settings->progress;
    c->progress_context = settings->progress_context;
    c->cancelled = settings->cancelled;
    c->cancelled_context = settings->cancelled_context;
    *out = c;
    return 0;
}

void compiler_destroy(struct compiler *c)
{
    if (!c)
        return;
    compiler_stop(&c->process);
    cache_close(c->cache);
    free(c);
}

const char *compiler_warning(const struct compiler *c)
{
    return c->warning.code ? c->warning.text : NULL;
}

/* ---- one compilation ---- */

/* The two ends no longer understand each other: a new process starts with the next module. */
static int exchange_broken(struct compiler *c, struct error *e)
{
    compiler_stop(&c->process);
    return error_set(e, ATOLL_ECOMPILE, "the answer of the compiler %s is malformed", c->program);
}

static int result_read(struct compiler *c, const struct compile_result *r, int fd,
                       struct buffer *artefact, struct error *e)
{
    if (r->code < 0) {
        *e = (struct error){.code = r->code, .offset = r->offset, .function = r->function};
        memcpy(e->text, r->text, sizeof e->text);
        e->text[sizeof e->text - 1] = '\0';
        return r->code;
    }
    if (fd < 0 || r->code > 0 || r->artefact_len > ARTEFACT_BYTES_MAX ||
        !compile_file_sealed(fd, r->artefact_len))
        return exchange_broken(c, e);
    return file_read_fd(fd, "the compiled artefact", r->artefact_len, artefact, e);
}

static int message_handle(struct compiler *c, const union compile_message *m, int fd,
                          struct buffer *artefact, bool *finished, struct error *e)
{
    *finished = m->kind == COMPILE_RESULT;
    if (*finished)
        return result_read(c, &m->result, fd, artefact, e);
    if (m->kind != COMPILE_PROGRESS)
        return exchange_broken(c, e);
    if (c->progress)
        c->progress(c->progress_context, m->progress.done, m->progress.total);
    return 0;
}

/* Returns when there is something to receive, or nobody wants it any more; which is asked before
 * each message, too: many small shards tell of their progress without a pause. */
static int answer_await(struct compiler *c, struct error *e)
{
    struct pollfd socket = {.fd = c->process.socket, .events = POLLIN};
    while (c->cancelled) {
        if (c->cancelled(c->cancelled_context)) {
            compiler_stop(&c->process);
            return error_set(e, ATOLL_ECANCELED, "the compilation was given up");
        }
        int ready = poll(&socket, 1, CANCEL_POLL_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR))
            break; /* an error shows again in receiving */
    }
    return 0;
}

/* Sends the module to the running process and waits for the result. -ATOLL_ELOST: it died. */
static int module_exchange(struct compiler *c, const uint8_t *wasm, size_t len,
                           const struct compile_options *options, struct buffer *artefact,
                           struct error *e)
{
    int rc = compiler_ask(&c->process, wasm, len, options, c->parallel, e);
    for (bool finished = false; rc == 0 && !finished;) {
        union compile_message m;
        int fd = -1;
        rc = answer_await(c, e);
        if (rc == 0)
            rc = compile_receive(c->process.socket, &m, &fd, e);
        if (rc == -ATOLL_EINVAL)
            rc = exchange_broken(c, e);
        if (rc == 0)
            rc = message_handle(c, &m, fd, artefact, &finished, e);
        if (fd >= 0)
            close(fd);
    }
    return rc;
}

/* A process that died is started again once: it may have been killed for reasons of its own (memory
 * pressure, an operator). One that dies over this module twice is reported. */
static int module_compile(struct compiler *c, const uint8_t *wasm, size_t len,
                          const struct compile_options *options, struct buffer *artefact,
                          struct error *e)
{
    char how[128] = "";
    for (int attempt = 0; attempt < 2; attempt++) {
        int rc = c->process.pid ? 0 : compiler_start(&c->process, c->program, e);
        if (rc == 0)
            rc = module_exchange(c, wasm, len, options, artefact, e);
        if (rc != -ATOLL_ELOST)
            return rc;
        buffer_free(artefact);
        compiler_bury(&c->process, how, sizeof how);
    }
    return error_set(e, ATOLL_ECOMPILE, "the compiler process %s while it compiled the module",
                     how);
}

static bool options_equal(const struct compile_options *a, const struct compile_options *b)
{
    return a->tier == b->tier && a->mode == b->mode && a->cpu == b->cpu && a->link == b->link &&
           a->fuel == b->fuel && a->tail_calls == b->tail_calls &&
           a->deterministic == b->deterministic;
}

static int artefact_match(const struct artefact *a, const struct compile_options *options,
                          const uint8_t sha256[static HASH_LEN], struct error *e)
{
    if (!options_equal(&a->options, options) || memcmp(a->wasm_sha256, sha256, HASH_LEN) != 0)
        return error_set(e, ATOLL_ECOMPILE, "the compiler returned the artefact of another module");
    return cpu_require(a->cpu_features, e);
}

static void warning_set(struct compiler *c, const struct error *why)
{
    c->warning = *why;
    error_prefix(&c->warning, "the compiled module was not kept in the cache");
}

/* Compiles, stores, opens. key NULL: no cache. */
static int artefact_make(struct compiler *c, const uint8_t *wasm, size_t len,
                         const struct compile_options *options, const uint8_t *key,
                         struct artefact **out, struct error *e)
{
    struct buffer bytes = {0};
    uint8_t id[HASH_LEN];
    int rc = module_compile(c, wasm, len, options, &bytes, e);
    if (rc == 0) {
        artefact_identify(bytes.data, bytes.len, id);
        rc = artefact_open_known(bytes.data, bytes.len, id, out, e);
    }
    if (rc == 0 && key) {
        struct error why;
        memcpy((*out)->key, key, HASH_LEN);
        if (cache_put(c->cache, key, id, bytes.data, bytes.len, &why) < 0)
            warning_set(c, &why);
    }
    buffer_free(&bytes);
    return rc;
}

/* ---- requests ---- */

struct request {
    uint8_t sha256[HASH_LEN], key[HASH_LEN];
};

static int request_prepare(struct compiler *c, const uint8_t sha256[static HASH_LEN],
                           const struct compile_options *o, struct request *r, struct error *e)
{
    c->warning = (struct error){0};
    if (o->tier > TIER_OPT || o->mode > MODE_EXACT || o->cpu < CPU_NATIVE || o->cpu > CPU_V4 ||
        o->link > LINK_OTHER)
        return error_set(e, ATOLL_EINVAL, "unknown compile options");
    memcpy(r->sha256, sha256, HASH_LEN);
    if (!c->cache)
        return 0;
    if (!*c->build_id) {
        int rc = compiler_build_id(c->program, c->cache->directory, c->build_id, e);
        if (rc < 0)
            return rc;
    }
    cache_key(c->build_id, o, r->sha256, r->key);
    return 0;
}

/* With the key's lock held, looks again (another process may just have built it), then builds. */
static int artefact_get_or_make(struct compiler *c, const uint8_t *wasm, size_t len,
                                const struct compile_options *options, const struct request *r,
                                struct artefact **out, bool *hit, struct error *e)
{
    int rc = cache_get(c->cache, r->key, out, e);
    *hit = rc == 0;
    if (rc != -ATOLL_ENOENT)
        return rc;
    int lock = cache_lock(c->cache, r->key, e);
    if (lock < 0) {
        struct error why = *e;
        rc = artefact_make(c, wasm, len, options, NULL, out, e);
        warning_set(c, &why);
        return rc;
    }
    rc = cache_get(c->cache, r->key, out, e);
    *hit = rc == 0;
    if (rc == -ATOLL_ENOENT)
        rc = artefact_make(c, wasm, len, options, r->key, out, e);
    cache_unlock(c->cache, r->key, lock);
    return rc;
}

int compiler_load(struct compiler *c, const uint8_t *wasm, size_t len,
                  const struct compile_options *options, struct artefact **out, bool *cached,
                  struct error *e)
{
    struct request r;
    bool hit = false;
    *out = NULL;
    if (len > WASM_MAX_MODULE_BYTES)
        return error_set(e, ATOLL_ELIMIT, "the module has %zu bytes, more than the limit of %u",
                         len, WASM_MAX_MODULE_BYTES);
    uint8_t sha256[HASH_LEN];
    hash_sha256(wasm, len, sha256);
    int rc = request_prepare(c, sha256, options, &r, e);
    if (rc == 0)
        rc = cpu_require(cpu_level_features((enum cpu_level)options->cpu), e);
    if (rc < 0)
        return rc;
    rc = c->cache ? artefact_get_or_make(c, wasm, len, options, &r, out, &hit, e)
                  : artefact_make(c, wasm, len, options, NULL, out, e);
    if (rc == 0 && (rc = artefact_match(*out, options, r.sha256, e)) < 0) {
        artefact_release(*out);
        *out = NULL;
    }
    if (cached)
        *cached = hit;
    return rc;
}

int compiler_lookup(struct compiler *c, const uint8_t wasm_sha256[static HASH_LEN],
                    const struct compile_options *options, struct artefact **out, struct error *e)
{
    struct request r;
    *out = NULL;
    int rc = request_prepare(c, wasm_sha256, options, &r, e);
    if (rc < 0)
        return rc;
    if (!c->cache)
        return error_set(e, ATOLL_ENOENT, "there is no compile cache");
    rc = cache_get(c->cache, r.key, out, e);
    if (rc == 0 && (rc = artefact_match(*out, options, r.sha256, e)) < 0) {
        artefact_release(*out);
        *out = NULL;
    }
    return rc;
}
