/* See version.h. */
#define _GNU_SOURCE
#include "node/worker/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the table ---- */

static struct version_bucket *bucket_of(struct worker *w, uint32_t number)
{
    return &w->versions[number % VERSION_BUCKETS];
}

struct version *version_find(struct worker *w, uint32_t number)
{
    struct version *v = LIST_FIRST(bucket_of(w, number));
    while (v && v->number != number)
        v = LIST_NEXT(v, same_hash);
    return v;
}

static void fds_close(int *fds, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        if (fds[k] >= 0)
            close(fds[k]);
}

/* It is in no table and has no calls, no faaslets. */
static void version_free(struct version *v)
{
    proto_release(v->proto);
    proto_release(v->made);
    vfs_base_release(v->files);
    for (uint32_t k = 0; k < v->file_count; k++)
        free(v->file_paths[k]);
    fds_close(v->file_fds, v->file_count);
    fds_close(&v->artefact_fd, 1);
    fds_close(&v->image_fd, 1);
    fds_close(&v->made_fd, 1);
    queue_version_free(v);
    manifest_free(&v->manifest);
    free(v->file_fds);
    free(v->file_paths);
    free(v->metrics);
    free(v);
}

void version_unused(struct worker *w, struct version *v)
{
    if (!v->dropped || v->calls)
        return;
    LIST_REMOVE(v, same_hash);
    LIST_REMOVE(v, all);
    LIST_INSERT_HEAD(&w->dead_versions, v, all);
    timekeeper_need(w, clock_monotonic_ns());
}

void versions_bury(struct worker *w)
{
    for (;;) {
        pthread_mutex_lock(&w->lock);
        struct version *v = LIST_FIRST(&w->dead_versions);
        if (v) {
            LIST_REMOVE(v, all);
            w->version_count--;
        }
        pthread_mutex_unlock(&w->lock);
        if (!v)
            return;
        pool_drain(w, v);
        version_free(v);
    }
}

void versions_free(struct worker *w)
{
    struct version *v;
    while ((v = LIST_FIRST(&w->all_versions))) {
        LIST_REMOVE(v, all);
        pool_drain(w, v);
        version_free(v);
    }
}

/* ---- loading ---- */

/* Makes the call that loads the version. Under worker.lock. */
static int load_start(struct worker *w, struct version *v)
{
    struct call *c = call_create(w, NULL, UINT64_MAX - v->number);
    if (!c)
        return -ATOLL_ENOMEM;
    c->version = v;
    c->zygote = true;
    c->depth = CALL_DEPTH_MAX; /* others wait for it */
    c->queued_ns = clock_monotonic_ns();
    c->deadline_ns = c->queued_ns + ZYGOTE_LIMIT_NS;
    timer_set(&w->wheel, &c->deadline, c->deadline_ns);
    timekeeper_need(w, c->deadline_ns);
    v->calls++;
    v->stage = VERSION_LOADING;
    queue_version_blocked(w, v);
    queue_ready(w, c);
    return 0;
}

/* Calls that waited for a version that cannot be used. Under worker.lock. */
static void calls_refuse(struct worker *w, struct version *v)
{
    for (struct call *c; (c = queue_version_evict(w, v));)
        queue_ready(w, c); /* pool_take tells why */
}

static const char *end_text(const struct call_end *end)
{
    if (end->status == CALL_OK)
        return "";
    return end->text ? end->text : "atoll_zygote returned an error";
}

static void loaded_send(struct worker *w, uint32_t number, uint32_t stage, uint64_t image_bytes,
                        const struct call_end *end, int fd)
{
    const char *text = end_text(end);
    bool good = end->status == CALL_OK;
    struct message m = {
        .header = {.kind = MESSAGE_LOADED, .id = number},
        .loaded = {.code = good            ? 0
                           : end->code < 0 ? end->code
                                           : -ATOLL_ETRAP,
                   .stage = good ? LOAD_OK : stage,
                   .image_bytes = image_bytes,
                   .has_image = fd >= 0},
        .parts = {(const uint8_t *)text},
        .part_len = {(uint32_t)strnlen(text, MESSAGE_TEXT_MAX)},
    };
    worker_send(w, &m, &fd, fd >= 0);
}

/* Under worker.lock. */
static void version_use(struct worker *w, struct version *v)
{
    v->proto = v->made;
    v->charge = v->proto->charge;
    v->stage = VERSION_USABLE;
    /* For a cold start by force: from the image, like the first one after a restart. */
    if (v->made_fd >= 0 && v->image_fd < 0)
        v->image_fd = fcntl(v->made_fd, F_DUPFD_CLOEXEC, 0);
    queue_version_unblocked(w, v);
}

static void version_refuse(struct worker *w, struct version *v, const struct call_end *end)
{
    v->stage = VERSION_UNUSABLE;
    error_set(&v->problem, end->code < 0 ? -end->code : ATOLL_ETRAP, "%s", end_text(end));
    proto_release(v->made);
    calls_refuse(w, v);
}

void load_ended(struct worker *w, struct version *v, const struct call_end *end)
{
    pthread_mutex_lock(&w->lock);
    uint32_t stage = v->load_stage;
    uint64_t bytes = v->made_bytes;
    int fd = v->made_fd;
    if (end->status == CALL_OK)
        version_use(w, v);
    else
        version_refuse(w, v, end);
    v->made = NULL;
    v->made_fd = -1;
    pthread_mutex_unlock(&w->lock);
    loaded_send(w, v->number, stage, bytes, end, fd);
    if (fd >= 0)
        close(fd);
    guest_announce(w);
}

void version_clear(struct worker *w, struct version *v)
{
    if (v->stage == VERSION_LOADING)
        return;
    struct proto *old = v->proto;
    v->proto = NULL;
    if (load_start(w, v) < 0) {
        v->proto = old;
        return;
    }
    w->cleared = true; /* its idle faaslets go when the lock is released */
    proto_release(old);
}

void versions_drain_cleared(struct worker *w)
{
    for (;;) {
        struct version *v;
        pthread_mutex_lock(&w->lock);
        LIST_FOREACH(v, &w->all_versions, all)
        {
            if (!v->proto && version_idle(v))
                break;
        }
        if (v)
            v->calls++;
        else
            w->cleared = false;
        pthread_mutex_unlock(&w->lock);
        if (!v)
            return;
        pool_drain(w, v);
        pthread_mutex_lock(&w->lock);
        if (--v->calls == 0)
            version_unused(w, v);
        pthread_mutex_unlock(&w->lock);
    }
}

/* ---- messages ---- */

static int files_take(struct version *v, const struct message *m, const int *fds, struct error *e)
{
    const uint8_t *at = m->parts[1];
    uint32_t count = m->load.file_count;
    v->file_fds = calloc(count + 1u, sizeof *v->file_fds);
    v->file_paths = calloc(count + 1u, sizeof *v->file_paths);
    if (!v->file_fds || !v->file_paths)
        return error_set(e, ATOLL_ENOMEM, "no memory for a function's files");
    for (uint32_t k = 0; k < count; k++) {
        uint32_t len = load_u32(at);
        v->file_fds[v->file_count] = fds[k];
        v->file_paths[v->file_count] = strndup((const char *)at + 4, len);
        if (!v->file_paths[v->file_count++])
            return error_set(e, ATOLL_ENOMEM, "no memory for a function's files");
        at += 4 + len;
    }
    return 0;
}

/* The version that the message describes, not yet in the table; its descriptors are taken over. */
static int version_make(const struct message *m, int *fds, struct version **out, struct error *e)
{
    const struct message_load *load = &m->load;
    struct version *v = calloc(1, sizeof *v);
    *out = v;
    if (!v) {
        fds_close(fds, m->header.fds);
        return error_set(e, ATOLL_ENOMEM, "no memory for a version");
    }
    v->number = (uint32_t)m->header.id;
    v->artefact_fd = fds[0];
    memcpy(v->artefact_id, load->artefact_id, sizeof v->artefact_id);
    v->image_fd = load->has_image ? fds[1] : -1;
    v->made_fd = -1;
    memcpy(v->tenant, load->tenant, sizeof v->tenant);
    memcpy(v->function, load->function, sizeof v->function);
    memcpy(v->name, load->version, sizeof v->name);
    v->tenant[sizeof v->tenant - 1] = v->function[sizeof v->function - 1] = 0;
    int rc = files_take(v, m, fds + 1 + load->has_image, e);
    if (rc < 0)
        fds_close(fds + 1 + load->has_image + v->file_count, load->file_count - v->file_count);
    if (rc == 0)
        rc = manifest_parse(m->parts[0], m->part_len[0], NULL, &v->manifest, e);
    return rc;
}

static void load_refuse(struct worker *w, uint64_t number, const struct error *e)
{
    const struct call_end end = {.status = CALL_FAILED, .code = e->code, .text = e->text};
    loaded_send(w, (uint32_t)number, LOAD_LINK, 0, &end, -1);
}

/* Puts it into the table; a version of that number that failed to load is replaced. */
static int version_add(struct worker *w, struct version *v, struct error *e)
{
    struct version *old = version_find(w, v->number);
    if (old && old->stage != VERSION_UNUSABLE)
        return error_set(e, ATOLL_EEXIST, "version %u is loaded already", v->number);
    if (w->version_count >= VERSIONS_MAX)
        return error_set(e, ATOLL_ELIMIT, "a worker holds at most %u versions", VERSIONS_MAX);
    if (old) {
        old->dropped = true;
        version_unused(w, old);
        if (version_find(w, v->number) == old) {
            LIST_REMOVE(old, same_hash); /* calls of it are still about to end */
            LIST_INSERT_HEAD(&w->unnamed, old, same_hash);
        }
    }
    LIST_INSERT_HEAD(bucket_of(w, v->number), v, same_hash);
    LIST_INSERT_HEAD(&w->all_versions, v, all);
    w->version_count++;
    if (!w->tenant[0])
        memcpy(w->tenant, v->tenant, sizeof w->tenant);
    if (load_start(w, v) == 0)
        return 0;
    LIST_REMOVE(v, same_hash);
    LIST_REMOVE(v, all);
    w->version_count--;
    return error_set(e, ATOLL_ENOMEM, "no memory to load a version");
}

void version_receive(struct worker *w, const struct message *m, int *fds)
{
    struct version *v;
    struct error e;
    int rc = m->header.id > UINT32_MAX - 1
                 ? error_set(&e, ATOLL_ECORRUPT, "a version's number is too large")
                 : 0;
    if (rc < 0) {
        fds_close(fds, m->header.fds);
        load_refuse(w, m->header.id, &e);
        return;
    }
    rc = version_make(m, fds, &v, &e);
    if (rc == 0) {
        pthread_mutex_lock(&w->lock);
        rc = version_add(w, v, &e);
        pthread_mutex_unlock(&w->lock);
    }
    if (rc == 0) {
        guest_announce(w);
        return;
    }
    if (v)
        version_free(v);
    load_refuse(w, m->header.id, &e);
}

void version_drop(struct worker *w, uint32_t number)
{
    pthread_mutex_lock(&w->lock);
    struct version *v = version_find(w, number);
    if (v) {
        v->dropped = true;
        version_unused(w, v);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- for import files ---- */

bool version_state_right(const struct version *v, const void *key, uint32_t len, uint32_t rights)
{
    return (manifest_state_rights(&v->manifest, key, len) & rights) == rights;
}
