/*
 * See builder.h. Mutex-guarded queues towards the threads, one back, and a uv_async_t that says
 * there is something in it. Each thread owns a compiler client: its atoll-cc ends with it.
 *
 * A queue towards the threads has a line for each tenant with jobs in it, and the lines take turns:
 *
 *   first ─▶ a1 ─next─▶ b1 ─next─▶ c1        taken: a1, b1, c1, a2, b2, a3
 *            │          │
 *          behind     behind
 *            ▼          ▼
 *            a2 ─▶ a3   b2
 *
 * The job at the head of a line stands for it; when it is taken, the next of the line goes to the
 * end of the queue.
 */
#define _GNU_SOURCE
#include "node/builder.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/compile.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#define MODULE_BYTES_MAX  (1ull << 30)
#define QUICK_FIRST_BYTES (3ull << 20)
#define SECOND_NS         1000000000ll

struct job {
    struct job *next;           /* the head of the next tenant's line; what was finished next */
    struct job *behind, **last; /* the rest of its line; where that ends, at the head of one */
    char tenant[NAME_MAX_LEN + 1];
    char *path;
    enum build_tier tier;
    build_done done;
    void *context;
    struct built built;
};

struct queue {
    struct job *first, **last;
};

enum size { SMALL, LARGE, SIZES };

/* One thread. */
struct lane {
    struct builder *builder;
    enum size prefers;
    pthread_t thread;
    int64_t deadline_ns; /* of the job in hand */
};

struct builder {
    struct lane lanes[SIZES]; /* that of small modules takes no others */
    uint32_t lane_count;      /* that run */
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct queue waiting[SIZES], finished;
    uint32_t waiting_count;
    _Atomic bool stop;
    char *cache;
    int64_t time_max_ns;
    uv_async_t async;
};

static void queue_push(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
}

static struct job *queue_pop(struct queue *q)
{
    struct job *j = q->first;
    if (j == NULL)
        return NULL;
    q->first = j->next;
    if (q->first == NULL)
        q->last = &q->first;
    return j;
}

/* At the end of its tenant's line, or as a line of its own. At most BUILDER_QUEUE_MAX are looked
 * at. */
static void line_push(struct queue *q, struct job *j)
{
    struct job *head = q->first;
    while (head && strcmp(head->tenant, j->tenant) != 0)
        head = head->next;
    if (head == NULL) {
        j->last = &j->behind;
        queue_push(q, j);
        return;
    }
    *head->last = j;
    head->last = &j->behind;
}

static struct job *line_pop(struct queue *q)
{
    struct job *j = queue_pop(q);
    if (j && j->behind) {
        struct job *head = j->behind;
        head->last = head->behind ? j->last : &head->behind;
        j->behind = NULL;
        queue_push(q, head);
    }
    return j;
}

static uint32_t line_count(const struct queue *q, const char *tenant)
{
    const struct job *j = q->first;
    uint32_t count = 0;
    while (j && strcmp(j->tenant, tenant) != 0)
        j = j->next;
    for (; j; j = j->behind)
        count++;
    return count;
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
                          struct built *b, struct error *e)
{
    struct compile_options o = {.tier = tier, .mode = MODE_FAST, .cpu = CPU_V3};
    int64_t begun = clock_monotonic_ns();
    bool cached = false;
    int rc = compiler_load(c, wasm->data, wasm->len, &o, &b->artefact, &cached, e);
    if (rc == -ATOLL_EUNSUPPORTED) {
        o.tail_calls = true;
        rc = compiler_load(c, wasm->data, wasm->len, &o, &b->artefact, &cached, e);
    }
    if (rc == 0 && !cached)
        b->compile_ns = clock_monotonic_ns() - begun;
    return rc;
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
    if (rc == 0)
        rc = module_lookup(c, &wasm, TIER_OPT, &b->artefact, e);
    if (rc == -ATOLL_ENOENT)
        rc = module_compile(c, &wasm, j->tier == BUILD_FIRST ? TIER_QUICK : TIER_OPT, b, e);
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
    struct builder *b = lane->builder;
    struct job *j = line_pop(&b->waiting[lane->prefers]);
    if (j == NULL && lane->prefers != SMALL)
        j = line_pop(&b->waiting[SMALL]);
    b->waiting_count -= j != NULL;
    return j;
}

static bool job_given_up(void *context)
{
    const struct lane *lane = context;
    return lane->builder->stop || clock_monotonic_ns() >= lane->deadline_ns;
}

static int stopping_tell(struct built *b)
{
    return b->code = error_set(&b->error, ATOLL_ECANCELED, "the node is stopping");
}

/* Why it was given up: nobody but job_given_up says so. */
static void cancellation_tell(const struct builder *b, struct built *built)
{
    if (b->stop)
        stopping_tell(built);
    else
        built->code = error_set(&built->error, ATOLL_ETIMEDOUT,
                                "compiling the module took more than %.3g seconds, which is all "
                                "that this node gives to one (limits.compile)",
                                (double)b->time_max_ns / SECOND_NS);
}

static void *lane_run(void *argument)
{
    struct lane *lane = argument;
    struct builder *b = lane->builder;
    struct compiler *compiler = NULL;
    struct compiler_settings settings = {
        .cache = b->cache, .cancelled = job_given_up, .cancelled_context = lane};
    pthread_mutex_lock(&b->lock);
    while (!b->stop) {
        struct job *j = job_take(lane);
        if (j == NULL) {
            pthread_cond_wait(&b->work, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        lane->deadline_ns = clock_monotonic_ns() + b->time_max_ns;
        int rc = compiler ? 0 : compiler_create(&settings, &compiler, &j->built.error);
        if (rc == 0)
            job_run(compiler, j);
        else
            j->built.code = rc;
        if (j->built.code == -ATOLL_ECANCELED)
            cancellation_tell(b, &j->built);
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

void builder_stop(struct builder *b)
{
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    for (int i = 0; i < SIZES; i++) {
        for (struct job *j; (j = line_pop(&b->waiting[i])) != NULL; queue_push(&b->finished, j))
            stopping_tell(&j->built);
    }
    b->waiting_count = 0;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    uv_async_send(&b->async);
}

static void threads_join(struct builder *b)
{
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

int builder_create(struct uv_loop_s *loop, const char *cache, int64_t time_max_ns,
                   struct builder **out, struct error *e)
{
    *out = NULL;
    struct builder *b = calloc(1, sizeof *b);
    if (b == NULL || (b->cache = strdup(cache)) == NULL) {
        free(b);
        return error_set(e, ATOLL_ENOMEM, "no memory for the builder");
    }
    b->time_max_ns = time_max_ns;
    for (int i = 0; i < SIZES; i++)
        b->waiting[i].last = &b->waiting[i].first;
    b->finished.last = &b->finished.first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    b->async.data = b;
    if (uv_async_init(loop, &b->async, finished_deliver) != 0) {
        builder_free((uv_handle_t *)&b->async);
    } else if (threads_start(b)) {
        *out = b;
        return 0;
    } else {
        builder_stop(b);
        threads_join(b);
        uv_close((uv_handle_t *)&b->async, builder_free);
    }
    return error_set(e, ATOLL_ENOMEM, "the builder's threads could not be started");
}

void builder_destroy(struct builder *b)
{
    if (b == NULL)
        return;
    builder_stop(b);
    threads_join(b);
    finished_deliver(&b->async);
    uv_close((uv_handle_t *)&b->async, builder_free);
}

/* 0 when there is room for a job of the tenant; under the lock. */
static int queue_admit(const struct builder *b, enum size size, const char *tenant, struct error *e)
{
    if (b->stop)
        return error_set(e, ATOLL_ECANCELED, "the node is stopping");
    if (b->waiting_count >= BUILDER_QUEUE_MAX)
        return error_set(e, ATOLL_EAGAIN, "%u modules wait to be compiled already; try again later",
                         BUILDER_QUEUE_MAX);
    if (line_count(&b->waiting[size], tenant) >= BUILDER_TENANT_MAX)
        return error_set(e, ATOLL_EAGAIN,
                         "%u modules of tenant %s wait to be compiled already; try again later",
                         BUILDER_TENANT_MAX, tenant);
    return 0;
}

int builder_submit(struct builder *b, const char *tenant, const char *path, enum build_tier tier,
                   build_done done, void *context, struct error *e)
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
    snprintf(j->tenant, sizeof j->tenant, "%s", tenant);
    struct stat status; /* what cannot be read is told soon */
    bool large = stat(path, &status) == 0 && status.st_size > BUILDER_SMALL_BYTES;
    enum size size = large ? LARGE : SMALL;
    pthread_mutex_lock(&b->lock);
    int rc = queue_admit(b, size, tenant, e);
    if (rc == 0) {
        line_push(&b->waiting[size], j);
        b->waiting_count++;
        pthread_cond_broadcast(&b->work);
    }
    pthread_mutex_unlock(&b->lock);
    if (rc != 0) {
        free(j->path);
        free(j);
    }
    return rc;
}

bool builder_prefers_quick(uint64_t module_bytes)
{
    return module_bytes > QUICK_FIRST_BYTES;
}
