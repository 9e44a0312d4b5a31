/*
 * Read, validate, cut into shards, compile these in parallel, merge, build. Only the shards are
 * compiled in other processes; everything before and after is our own code, which bounds every
 * step.
 *
 * A shard that fails at tier opt is tried once more at quick, and the artefact says so (degraded).
 * A shard that fails at quick fails the module. The shards' objects are kept in shard order, so the
 * artefact does not depend on which child finishes first.
 */
#define _GNU_SOURCE
#include "atoll-cc/module_compile.h"

#include "atoll-cc/shard_process.h"
#include "engine/artefact.h"
#include "engine/wasm_read.h"
#include "engine/wasm_validate.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define POLL_MS      1000
#define PARALLEL_MAX 256u

struct shard_pool {
    const struct compile_job *job;
    struct shard_input input;
    struct shard *shards;
    uint32_t count, next, done;
    struct buffer *objects; /* per shard */
    struct shard_process processes[PARALLEL_MAX];
    struct pollfd polled[1 + 2 * PARALLEL_MAX];
    unsigned slots;
    bool degraded;
};

static int pool_fill(struct shard_pool *pool, struct error *e)
{
    for (unsigned i = 0; i < pool->slots && pool->next < pool->count; i++) {
        if (pool->processes[i].pid)
            continue;
        uint32_t number = pool->next++;
        int rc = shard_start(&pool->processes[i], &pool->input, number, &pool->shards[number],
                             pool->job->options.tier, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Takes a finished child's object, or starts its shard again at tier quick. */
static int process_collect(struct shard_pool *pool, struct shard_process *p, struct error *e)
{
    uint32_t number = p->number;
    uint8_t tier = p->tier;
    int rc = shard_finish(p, &pool->objects[number], e);
    if (rc < 0 && tier == TIER_OPT) {
        pool->degraded = true;
        return shard_start(p, &pool->input, number, &pool->shards[number], TIER_QUICK, e);
    }
    if (rc < 0)
        return rc;
    pool->done++;
    return pool->job->progress(pool->job->context, pool->done, pool->count, e);
}

static int pool_step(struct shard_pool *pool, struct error *e)
{
    pool->polled[0] = (struct pollfd){.fd = pool->job->client, .events = POLLRDHUP};
    for (unsigned i = 0; i < pool->slots; i++)
        shard_poll(&pool->processes[i], &pool->polled[1 + 2 * i]);
    if (poll(pool->polled, 1 + 2 * pool->slots, POLL_MS) < 0 && errno != EINTR)
        return error_set_errno(e, 0, "cannot wait for the shards");
    if (pool->polled[0].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
        return error_set(e, ATOLL_ECANCELED, "the client is gone");
    for (unsigned i = 0; i < pool->slots; i++) {
        struct shard_process *p = &pool->processes[i];
        if (!p->pid || !shard_advance(p, &pool->polled[1 + 2 * i]))
            continue;
        int rc = process_collect(pool, p, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int pool_run(struct shard_pool *pool, struct error *e)
{
    int rc = 0;
    while (rc == 0 && pool->done < pool->count) {
        rc = pool_fill(pool, e);
        if (rc == 0)
            rc = pool_step(pool, e);
    }
    for (unsigned i = 0; i < pool->slots; i++)
        shard_kill(&pool->processes[i]);
    return rc;
}

static int artefact_finish(const struct shard_pool *pool, struct buffer *artefact, struct error *e)
{
    struct code_image image;
    int rc = object_merge(pool->input.module, pool->objects, pool->count, &image, e);
    if (rc < 0)
        return rc;
    image.degraded = pool->degraded;
    rc = artefact_build(pool->input.module, pool->input.layout, &pool->job->options, &image,
                        artefact, e);
    code_image_free(&image);
    return rc;
}

static int shards_compile(const struct compile_job *job, const struct wasm_module *m,
                          const struct abi_layout *layout, struct buffer *artefact, struct error *e)
{
    struct shard_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return error_set(e, ATOLL_ENOMEM, "no memory to compile a module");
    pool->job = job;
    pool->input = (struct shard_input){m, layout, job->options};
    pool->slots = job->parallel < PARALLEL_MAX ? job->parallel : PARALLEL_MAX;
    int rc = shard_plan(m, &pool->shards, &pool->count, e);
    if (rc == 0) {
        pool->objects = calloc(pool->count + 1ull, sizeof *pool->objects);
        if (!pool->objects)
            rc = error_set(e, ATOLL_ENOMEM, "no memory to compile a module");
    }
    if (rc == 0)
        rc = pool_run(pool, e);
    if (rc == 0)
        rc = artefact_finish(pool, artefact, e);
    for (uint32_t i = 0; pool->objects && i < pool->count; i++)
        buffer_free(&pool->objects[i]);
    free(pool->objects);
    free(pool->shards);
    free(pool);
    return rc;
}

int module_compile(const struct compile_job *job, struct buffer *artefact, struct error *e)
{
    struct wasm_module m;
    struct abi_layout layout;
    int rc = wasm_read(job->wasm, job->wasm_len, &m, e);
    if (rc < 0)
        return rc;
    rc = wasm_validate(&m, e);
    if (rc == 0 &&
        (rc = abi_layout_compute(&m, (enum link_mode)job->options.link, &layout, e)) == 0) {
        rc = shards_compile(job, &m, &layout, artefact, e);
        abi_layout_free(&layout);
    }
    wasm_module_free(&m);
    return rc;
}
