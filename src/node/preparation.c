/*
 * See registry.h: making a version runnable. Its artefact comes from the builder (cache or
 * atoll-cc), its proto image from a file or from a worker that runs its constructors. Whoever asks
 * meanwhile waits; a version that could not be made is tried again when it is asked for again.
 *
 *   images/VERSION.atpf    proto images; may be missing or damaged, and are then made again
 */
#define _GNU_SOURCE
#include "node/registry_table.h"

#include "base/file.h"
#include "node/builder.h"
#include "node/metrics.h"
#include "node/node.h"
#include "node/workers.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define IMAGE_BYTES_MAX (4ull << 30)

struct version_waiter {
    struct version_waiter *next;
    version_ready ready;
    void *context;
};

static void waiters_run(struct registry *r, struct function_version *v, const struct error *failed)
{
    struct version_waiter *list = v->waiters;
    v->waiters = NULL;
    version_retain(v);
    while (list) {
        struct version_waiter *w = list;
        list = w->next;
        w->ready(w->context, v, failed);
        free(w);
    }
    version_release(r, v);
}

static void version_fail(struct registry *r, struct function_version *v, const char *stage,
                         const struct error *e)
{
    v->state = VERSION_BROKEN;
    v->stage = stage;
    v->problem = *e;
    waiters_run(r, v, &v->problem);
}

static void version_ready_now(struct registry *r, struct function_version *v)
{
    v->state = VERSION_READY;
    v->problem = (struct error){0};
    v->stage = NULL;
    waiters_run(r, v, NULL);
}

struct preparation {
    struct registry *registry;
    struct function_version *version;
};

static struct preparation *preparation_make(struct registry *r, struct function_version *v)
{
    struct preparation *p = malloc(sizeof *p);
    if (p)
        *p = (struct preparation){r, version_retain(v)};
    return p;
}

static const char *load_stage_name(uint32_t stage)
{
    return stage == LOAD_ZYGOTE ? "zygote" : stage == LOAD_CODEGEN ? "codegen" : "validate";
}

static void load_finished(void *context, const struct message_loaded *loaded, const char *text,
                          int image_fd)
{
    struct preparation *p = context;
    struct registry *r = p->registry;
    struct function_version *v = p->version;
    struct error e;
    if (loaded->code != 0) {
        error_set(&e, -loaded->code, "%s", text);
        version_fail(r, v, load_stage_name(loaded->stage), &e);
    } else {
        if (image_fd >= 0)
            registry_image_made(r, v, image_fd, loaded->image_bytes);
        version_ready_now(r, v);
    }
    version_release(r, v);
    free(p);
}

static void build_note(struct registry *r, const struct built *b)
{
    if (b->compile_ns > 0)
        metrics_codegen(r->node->metrics, (uint64_t)b->compile_ns);
}

static void best_built(void *context, struct built *b)
{
    struct preparation *p = context;
    struct function_version *v = p->version;
    build_note(p->registry, b);
    if (b->code == 0) {
        artefact_release(v->artefact);
        close(v->artefact_fd);
        v->artefact = b->artefact;
        v->artefact_fd = b->fd;
    }
    version_release(p->registry, v);
    free(p);
}

/* A big module runs at quick first; workers that start later get the better code. */
static void best_begin(struct registry *r, struct function_version *v, const char *path)
{
    struct error e;
    struct preparation *p = preparation_make(r, v);
    if (p && builder_submit(r->node->builder, v->function->tenant, path, BUILD_BEST, best_built, p,
                            &e) != 0) {
        version_release(r, v);
        free(p);
    }
}

static const char *build_stage(int code)
{
    switch (-code) {
    case ATOLL_EMALFORMED:
    case ATOLL_EINVALID:
    case ATOLL_EUNSUPPORTED:
    case ATOLL_ELIMIT: return "validate";
    default: return "codegen";
    }
}

static void first_built(void *context, struct built *b)
{
    struct preparation *p = context;
    struct registry *r = p->registry;
    struct function_version *v = p->version;
    build_note(r, b);
    if (b->code != 0) {
        version_fail(r, v, build_stage(b->code), &b->error);
        version_release(r, v);
        free(p);
        return;
    }
    v->artefact = b->artefact;
    v->artefact_fd = b->fd;
    if (v->artefact->options.tier == TIER_QUICK) {
        char path[PATH_MAX];
        registry_module_path(r, v, path);
        best_begin(r, v, path);
    }
    if (v->image_fd >= 0) {
        version_ready_now(r, v);
        version_release(r, v);
        free(p);
        return;
    }
    workers_load(r->node->workers, v, load_finished, p);
}

void registry_prepare(struct registry *r, struct function_version *v, version_ready ready,
                      void *context)
{
    if (v->state == VERSION_READY) {
        ready(context, v, NULL);
        return;
    }
    struct error e;
    struct version_waiter *w = malloc(sizeof *w);
    if (w == NULL) {
        error_set(&e, ATOLL_ENOMEM, "no memory to prepare a function");
        ready(context, v, &e);
        return;
    }
    *w = (struct version_waiter){v->waiters, ready, context};
    v->waiters = w;
    if (v->state == VERSION_BUILDING)
        return;
    v->state = VERSION_BUILDING;
    char path[PATH_MAX];
    registry_module_path(r, v, path);
    enum build_tier tier = builder_prefers_quick(v->module_bytes) ? BUILD_FIRST : BUILD_BEST;
    struct preparation *p = preparation_make(r, v);
    int rc =
        p ? builder_submit(r->node->builder, v->function->tenant, path, tier, first_built, p, &e)
          : error_set(&e, ATOLL_ENOMEM, "no memory to prepare a function");
    if (rc == 0)
        return;
    if (p)
        version_release(r, v);
    free(p);
    version_fail(r, v, "codegen", &e);
}

/* ---- proto images ---- */

void registry_image_bad(struct registry *r, struct function_version *v)
{
    char path[PATH_MAX];
    registry_path(r, "images", v->name, ".atpf", path);
    unlink(path);
    if (v->image_fd >= 0)
        close(v->image_fd);
    v->image_fd = -1;
    v->image_bytes = 0;
}

/* The file is a copy that later starts use; that it cannot be written costs only time then. */
struct image_copy {
    uv_work_t work;
    struct node *node;
    int fd;
    char path[PATH_MAX];
};

static void image_copy(uv_work_t *work)
{
    struct image_copy *c = work->data;
    struct buffer bytes = {0};
    struct error e;
    if (lseek(c->fd, 0, SEEK_SET) == 0 &&
        file_read_fd(c->fd, c->path, IMAGE_BYTES_MAX, &bytes, &e) == 0)
        file_replace(c->path, bytes.data, bytes.len, 0600, &e);
    buffer_free(&bytes);
}

static void image_copied(uv_work_t *work, int status)
{
    struct image_copy *c = work->data;
    (void)status;
    c->node->disk_jobs--;
    close(c->fd);
    free(c);
}

static void image_store(struct registry *r, const struct function_version *v)
{
    struct image_copy *c = malloc(sizeof *c);
    if (c == NULL)
        return;
    *c = (struct image_copy){.node = r->node, .fd = fcntl(v->image_fd, F_DUPFD_CLOEXEC, 3)};
    c->work.data = c;
    registry_path(r, "images", v->name, ".atpf", c->path);
    if (c->fd < 0 || uv_queue_work(r->node->loop, &c->work, image_copy, image_copied) != 0) {
        if (c->fd >= 0)
            close(c->fd);
        free(c);
        return;
    }
    r->node->disk_jobs++;
}

void registry_image_made(struct registry *r, struct function_version *v, int fd, uint64_t bytes)
{
    if (v->image_fd >= 0)
        return;
    v->image_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    v->image_bytes = bytes;
    if (v->image_fd >= 0)
        image_store(r, v);
}

void image_find(struct registry *r, struct function_version *v)
{
    char path[PATH_MAX];
    struct stat st;
    registry_path(r, "images", v->name, ".atpf", path);
    v->image_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (v->image_fd >= 0 && fstat(v->image_fd, &st) == 0)
        v->image_bytes = (uint64_t)st.st_size;
}