/* See builder.h. Mutex-guarded queues towards the threads, one back, and a uv_async_t that says
 * there is something in it. Each thread owns a compiler client: its atoll-cc ends with it. */
#define _GNU_SOURCE
#include "node/builder.h"

#include "base/file.h"
#include "engine/compile.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define MODULE_BYTES_MAX  (1ull << 30)
#define QUICK_FIRST_BYTES (3ull << 20)

struct job {
    struct job *next;
    char *path;
    enum build_tier tier;
    build_done done;
    void *context;
    struct built built;
};

struct queue {
    struct job *first, **last;
    uint32_t count;
};

enum size { SMALL, LARGE, SIZES };

/* One thread. */
struct lane {
    struct builder *builder;
    enum size prefers;
    pthread_t thread;
};

struct builder {
    struct lane lanes[SIZES]; /* that of small modules takes no others */
    uint32_t lane_count;      /* that run */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue waiting[SIZES], finished;
    _Atomic bool stop;
    char *cache;
    uv_async_t async;
};

static void queue_push(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
    q->count++;
}

static struct job *queue_pop(struct queue *q)
{
    struct job *j = q->first;
    if (j == NULL)
        return NULL;
    q->first = j->next;
    if (q->first == NULL)
        q->last = &q->first;
    q->count--;
    return j;
}

/* Modules with tail calls have another calling convention, which is part of the key; only the
 * compiler looks into a module, so its refusal decides. */
static int module_lookup(struct compiler *c, const struct buffer *wasm, uint8_t tier,
                         struct artefact **out, struct error *e)
{
    struct compile_options o = {.tier = tier, .mode = MODE_FAST, .cpu = CPU_V3};
    uint8_t sha256[HASH_LEN];
    hash_sha256(wasm->data, wasm->len, sha256);
    int rc = compiler_lookup(c, sha256, &o, out, e);
    if (rc != -ATOLL_ENOENT)
        return rc;
    o.tail_calls = true;
    return compiler_lookup(c, sha256, &o, out, e);
}

static int module_compile(struct compiler *c, const struct buffer *wasm, uint8_t tier,
                          struct artefact **out, struct error *e)
{
    struct compile_options o = {.tier = tier, .mode = MODE_FAST, .cpu = CPU_V3};
    bool cached;
    int rc = compiler_load(c, wasm->data, wasm->len, &o, out, &cached, e);
    if (rc != -ATOLL_EUNSUPPORTED)
        return rc;
    o.tail_calls = true;
    return compiler_load(c, wasm->data, wasm->len, &o, out, &cached, e);
}

static int artefact_to_file(const struct artefact *a, int *fd, struct error *e)
{
    struct buffer bytes = {0};
    int rc = artefact_bytes(a, &bytes, e);
    if (rc == 0) {
        *fd = memory_file("atoll-artefact", bytes.data, bytes.len, bytes.len, true, true, e);
        rc = *fd < 0 ? *fd : 0;
    }
    buffer_free(&bytes);
    return rc;
}

static void job_run(struct compiler *c, struct job *j)
{
    struct buffer wasm = {0};
    struct built *b = &j->built;
    struct error *e = &b->error;
    int rc = file_read(j->path, MODULE_BYTES_MAX, &wasm, e);
    if (rc == 0) {
        rc = module_lookup(c, &wasm, TIER_OPT, &b->artefact, e);
        b->cached = rc == 0;
    }
    if (rc == -ATOLL_ENOENT)
        rc = module_compile(c, &wasm, j->tier == BUILD_FIRST ? TIER_QUICK : TIER_OPT, &b->artefact,
                            e);
    if (rc == 0)
        rc = artefact_to_file(b->artefact, &b->fd, e);
    if (rc != 0 && b->artefact) {
        artefact_release(b->artefact);
        b->artefact = NULL;
    }
    b->code = rc;
    buffer_free(&wasm);
}

static struct job *job_take(struct lane *lane)
{
    struct job *j = queue_pop(&lane->builder->waiting[lane->prefers]);
    return j || lane->prefers == SMALL ? j : queue_pop(&lane->builder->waiting[SMALL]);
}

static bool builder_stops(void *context)
{
    const struct builder *b = context;
    return b->stop;
}

static void *lane_run(void *argument)
{
    struct lane *lane = argument;
    struct builder *b = lane->builder;
    struct compiler *compiler = NULL;
    struct compiler_settings settings = {
        .cache = b->cache, .cancelled = builder_stops, .cancelled_context = b};
    pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        struct job *j = job_take(lane);
        if (j == NULL) {
            pthread_cond_wait(&b->work, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        int rc = compiler ? 0 : compiler_create(&settings, &compiler, &j->built.error);
        if (rc == 0)
            job_run(compiler, j);
        else
            j->built.code = rc;
        pthread_mutex_lock(&b->lock);
        queue_push(&b->finished, j);
        uv_async_send(&b->async);
    }
    pthread_mutex_unlock(&b->lock);
    compiler_destroy(compiler);
    return NULL;
}

static void job_finish(struct job *j)
{
    j->done(j->context, &j->built);
    free(j->path);
    free(j);
}

static void finished_deliver(uv_async_t *async)
{
    struct builder *b = async->data;
    for (;;) {
        pthread_mutex_lock(&b->lock);
        struct job *j = queue_pop(&b->finished);
        pthread_mutex_unlock(&b->lock);
        if (j == NULL)
            return;
        job_finish(j);
    }
}

static void threads_stop(struct builder *b)
{
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    while (b->lane_count > 0)
        pthread_join(b->lanes[--b->lane_count].thread, NULL);
}

static bool threads_start(struct builder *b)
{
    for (; b->lane_count < SIZES; b->lane_count++) {
        struct lane *lane = &b->lanes[b->lane_count];
        *lane = (struct lane){.builder = b, .prefers = (enum size)b->lane_count};
        if (pthread_create(&lane->thread, NULL, lane_run, lane) != 0)
            return false;
    }
    return true;
}

static void builder_free(uv_handle_t *handle)
{
    struct builder *b = handle->data;
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->work);
    free(b->cache);
    free(b);
}

int builder_create(struct uv_loop_s *loop, const char *cache, struct builder **out, struct error *e)
{
    *out = NULL;
    struct builder *b = calloc(1, sizeof *b);
    if (b == NULL || (b->cache = strdup(cache)) == NULL) {
        free(b);
        return error_set(e, ATOLL_ENOMEM, "no memory for the builder");
    }
    for (int i = 0; i < SIZES; i++)
        b->waiting[i].last = &b->waiting[i].first;
    b->finished.last = &b->finished.first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    int rc = uv_async_init(loop, &b->async, finished_deliver);
    b->async.data = b;
    if (rc == 0 && threads_start(b)) {
        *out = b;
        return 0;
    }
    threads_stop(b);
    if (rc == 0)
        uv_close((uv_handle_t *)&b->async, builder_free);
    else
        builder_free((uv_handle_t *)&b->async);
    return error_set(e, ATOLL_ENOMEM, "the builder's threads could not be started");
}

void builder_destroy(struct builder *b)
{
    if (b == NULL)
        return;
    threads_stop(b);
    finished_deliver(&b->async);
    for (int i = 0; i < SIZES; i++)
        for (struct job *j; (j = queue_pop(&b->waiting[i])) != NULL; job_finish(j))
            j->built.code = error_set(&j->built.error, ATOLL_ECANCELED, "the node is stopping");
    uv_close((uv_handle_t *)&b->async, builder_free);
}

int builder_submit(struct builder *b, const char *path, enum build_tier tier, build_done done,
                   void *context, struct error *e)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL || (j->path = strdup(path)) == NULL) {
        free(j);
        return error_set(e, ATOLL_ENOMEM, "no memory to build a module");
    }
    j->tier = tier;
    j->done = done;
    j->context = context;
    j->built.fd = -1;
    struct stat status; /* what cannot be read is told soon */
    bool large = stat(path, &status) == 0 && status.st_size > BUILDER_SMALL_BYTES;
    pthread_mutex_lock(&b->lock);
    bool full = b->waiting[SMALL].count + b->waiting[LARGE].count >= BUILDER_QUEUE_MAX;
    if (!full)
        queue_push(&b->waiting[large ? LARGE : SMALL], j);
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    if (!full)
        return 0;
    free(j->path);
    free(j);
    return error_set(e, ATOLL_ELIMIT, "%u modules wait to be compiled already; try again later",
                     BUILDER_QUEUE_MAX);
}

bool builder_prefers_quick(uint64_t module_bytes)
{
    return module_bytes > QUICK_FIRST_BYTES;
}
