/*
 * See checkpoints.h.
 *
 * A state is hashed and written while the replica goes on, perhaps on the same two processors as
 * three others and their clients; so both are done bit by bit, with rests between. One thread
 * hashes: the replica will wait for the digest, so this thread never waits for a disk and does not
 * rest any more when the next checkpoint is there. The other one, of the lowest priority, writes
 * files: of what comes while it is at work, or soon after, only the newest gets one.
 *
 *   submitted → hashed → told and kept (the loop's) ─────────────────┐
 *                └ prepared for giving and writing → written, if it is time → freed by the last one
 */
#define _GNU_SOURCE
#include "ledger/service/checkpoints.h"

#include "base/clock.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define PREFIX     "ckpt_"
#define META_FIXED (7 * 8 + 4 + 32 + 8 + 32)
/* Of the time between two files, how much writing one may take; within it, how much is work. */
#define WRITING_SHARE 10
#define WORKING_SHARE 5
/* Hashing is spread over half the time between two checkpoints, as far as rests of this many times
 * the work do it. */
#define HASHING_SHARE_MAX 20
/* "nice": the digest must come in time whatever else runs here, the file need not. */
#define HASHER_PRIORITY     5
#define WRITER_PRIORITY     19
#define HASHING_REST_MAX_NS 20000000

struct job {
    struct job *next;
    struct ledger_checkpoint checkpoint;
    struct kv_snapshot *snapshot;
    struct kv_checkpoint *open; /* once it is prepared, under the lock */
    uint8_t digest[HASH_LEN];
    bool busy, dropped; /* under the lock: a thread is at it; it is no longer kept */
};

/* A checkpoint of before the start, given from its file. */
struct stored {
    uint64_t s;
    struct merkle_frontier origin;
    struct kv_checkpoint_reader *reader; /* NULL: none */
};

struct checkpoints {
    char directory[PATH_MAX - 64];
    uint8_t genesis[HASH_LEN];
    pthread_mutex_t lock;
    pthread_cond_t more; /* something to do, or the end */
    pthread_t hasher, writer;
    bool hashing, threaded, stopping;
    struct job *file;       /* the newest, to be written in its turn; NULL: none */
    int64_t write_after_ns; /* when the next one may be */
    int64_t rested_ns;      /* the writer's: when it last rested */
    /* The hasher's: */
    int64_t begun_ns;  /* when it took its last job */
    int64_t hashed_ns; /* its processor time when it last rested */
    int64_t worked_ns; /* … that the last job took; 0: there was none */
    int64_t share;     /* of the time that passes, one part is to be work */
    struct job *todo, **todo_end, *done, **done_end;
    struct job *kept[CHECKPOINTS_KEPT];     /* newest first */
    struct stored stored[CHECKPOINTS_KEPT]; /* the same, all older than those */
    struct error failure;                   /* of the file written last, under the lock */
    bool failed, failure_told;
    checkpoint_done tell;
    checkpoint_unwritten unwritten; /* NULL: nobody asked */
    void *context;
    uv_async_t wake;
    void (*closed)(void *);
    void *closed_context;
};

/* ---- meta ---- */

static bool frontier_encode(const struct merkle_frontier *f, struct buffer *out)
{
    uint8_t hashes[MERKLE_FRONTIER_MAX];
    return buffer_append_u64(out, f->size) &&
           buffer_append(out, hashes, merkle_frontier_pack(f, hashes));
}

/* Takes one from the front of `bytes`. */
static bool frontier_decode(struct slice *bytes, struct merkle_frontier *f)
{
    uint64_t size = bytes->len >= 8 ? load_u64(bytes->data) : UINT64_MAX;
    size_t len = size <= MERKLE_SIZE_MAX ? 8 + merkle_frontier_packed(size) : SIZE_MAX;
    if (len > bytes->len)
        return false;
    merkle_frontier_unpack(f, size, bytes->data + 8);
    *bytes = slice_of(bytes->data + len, bytes->len - len);
    return true;
}

bool checkpoint_meta_encode(const struct ledger_checkpoint *c, struct buffer *out)
{
    return buffer_append_u64(out, c->s) && buffer_append_u64(out, c->position) &&
           buffer_append_u64(out, c->needed) && buffer_append_u64(out, c->silent) &&
           buffer_append_u64(out, c->next_index) && buffer_append_u64(out, c->gov_index) &&
           buffer_append_u64(out, c->view) && buffer_append_u32(out, c->config) &&
           buffer_append(out, c->pp_hash, HASH_LEN) && buffer_append_u64(out, c->before_s) &&
           buffer_append(out, c->before_digest, HASH_LEN) && frontier_encode(&c->frontier, out) &&
           frontier_encode(&c->origin, out);
}

int checkpoint_meta_decode(struct slice bytes, struct ledger_checkpoint *c, struct error *e)
{
    const uint8_t *p = bytes.data;
    if (bytes.len < META_FIXED)
        return error_set(e, ATOLL_ECORRUPT, "the meta of a checkpoint is too short");
    *c = (struct ledger_checkpoint){.s = load_u64(p),
                                    .position = load_u64(p + 8),
                                    .needed = load_u64(p + 16),
                                    .silent = load_u64(p + 24),
                                    .next_index = load_u64(p + 32),
                                    .gov_index = load_u64(p + 40),
                                    .view = load_u64(p + 48),
                                    .config = load_u32(p + 56),
                                    .before_s = load_u64(p + 92)};
    memcpy(c->pp_hash, p + 60, HASH_LEN);
    memcpy(c->before_digest, p + 100, HASH_LEN);
    bytes = slice_of(p + META_FIXED, bytes.len - META_FIXED);
    if (!frontier_decode(&bytes, &c->frontier) || !frontier_decode(&bytes, &c->origin) || bytes.len)
        return error_set(e, ATOLL_ECORRUPT, "the meta of a checkpoint has the wrong length");
    return 0;
}

/* ---- files ---- */

static void file_path(const char *directory, uint64_t s, char out[static PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/" PREFIX "%" PRIu64, directory, s);
}

/* The greatest s below `below` for which there is a file; 0 when there is none. Files older than
 * `keep_from` are removed on the way. */
static uint64_t files_newest(const char *directory, uint64_t below, uint64_t keep_from)
{
    uint64_t newest = 0;
    DIR *d = opendir(directory);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        char *end, path[PATH_MAX];
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0)
            continue;
        uint64_t s = strtoull(entry->d_name + strlen(PREFIX), &end, 10);
        if (*end != 0 || s == 0)
            continue;
        if (s < below && s > newest)
            newest = s;
        if (s < keep_from) {
            file_path(directory, s, path);
            unlink(path);
        }
    }
    if (d)
        closedir(d);
    return newest;
}

static int file_load(const char *directory, uint64_t s, const struct ledger_genesis *g,
                     struct ledger_checkpoint *out, struct kv **kv, struct error *e)
{
    char path[PATH_MAX];
    struct kv_checkpoint_file file = {0};
    file_path(directory, s, path);
    int rc = kv_checkpoint_read(path, g->hash, g->bucket_bits, g->bucket_key, NULL, &file, kv, e);
    if (rc != 0)
        return rc;
    rc = checkpoint_meta_decode(slice_of_buffer(&file.meta), out, e);
    buffer_free(&file.meta);
    if (rc == 0 && (out->s != s || file.s != s))
        rc = error_set(e, ATOLL_ECORRUPT, "%s is the checkpoint of batch %" PRIu64, path, out->s);
    if (rc != 0)
        kv_destroy(*kv);
    return rc;
}

int checkpoints_load(const char *directory, const struct ledger_genesis *g, uint64_t below,
                     void (*tell)(void *, const struct error *), void *context,
                     struct ledger_checkpoint *out, struct kv **kv, struct error *e)
{
    for (uint64_t s = below; (s = files_newest(directory, s, 0)) != 0;) {
        int rc = file_load(directory, s, g, out, kv, e);
        if (rc == 0 || rc == -ATOLL_ENOMEM)
            return rc;
        if (tell)
            tell(context, e);
    }
    return error_set(e, ATOLL_ENOENT, "there is no checkpoint in %s", directory);
}

/* ---- giving from files ---- */

static void stored_close(struct stored *f)
{
    kv_checkpoint_reader_close(f->reader);
    *f = (struct stored){0};
}

static int stored_open(struct stored *f, const char *directory, uint64_t s, const uint8_t *digest,
                       const struct ledger_genesis *g, struct error *e)
{
    char path[PATH_MAX];
    struct ledger_checkpoint at;
    struct kv_checkpoint_file file;
    file_path(directory, s, path);
    int rc = kv_checkpoint_reader_open(path, g->hash, g->bucket_bits, g->bucket_key, digest, &file,
                                       &f->reader, e);
    if (rc != 0)
        return rc;
    rc = checkpoint_meta_decode(slice_of_buffer(&file.meta), &at, e);
    buffer_free(&file.meta);
    if (rc == 0 && (at.s != s || file.s != s))
        rc = error_set(e, ATOLL_ECORRUPT, "%s is the checkpoint of batch %" PRIu64, path, at.s);
    if (rc != 0) {
        stored_close(f);
        return rc;
    }
    f->s = s;
    f->origin = at.origin;
    return 0;
}

void checkpoints_offer(struct checkpoints *c, const struct ledger_genesis *g,
                       const struct ledger_checkpoint *at,
                       void (*tell)(void *, const struct error *), void *context)
{
    struct error e;
    const uint64_t s[CHECKPOINTS_KEPT] = {at->s, at->before_s};
    const uint8_t *const digests[CHECKPOINTS_KEPT] = {NULL, at->before_digest};
    for (unsigned i = 0; i < CHECKPOINTS_KEPT && s[i] != 0; i++) {
        stored_close(&c->stored[i]);
        int rc = stored_open(&c->stored[i], c->directory, s[i], digests[i], g, &e);
        if (rc != 0 && rc != -ATOLL_ENOENT)
            tell(context, &e);
    }
}

/* ---- the thread ---- */

static void job_free(struct job *j)
{
    if (j == NULL)
        return;
    kv_checkpoint_close(j->open);
    kv_snapshot_release(j->snapshot);
    free(j);
}

/* Rests after a bit of hashing, by the processor's time that it took. */
static void hash_wait(void *context)
{
    struct checkpoints *c = context;
    int64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    struct timespec rest = {.tv_nsec = (now - c->hashed_ns) * (c->share - 1)};
    c->worked_ns += now - c->hashed_ns;
    c->hashed_ns = now;
    pthread_mutex_lock(&c->lock);
    bool hurry = c->todo || c->stopping;
    pthread_mutex_unlock(&c->lock);
    if (rest.tv_nsec > HASHING_REST_MAX_NS)
        rest.tv_nsec = HASHING_REST_MAX_NS;
    if (!hurry)
        nanosleep(&rest, NULL);
}

/* Takes the time of a job that begins, and how much of it may be work. */
static void hashing_begin(struct checkpoints *c)
{
    int64_t now = clock_monotonic_ns();
    if (c->worked_ns > 0) {
        int64_t share = (now - c->begun_ns) / 2 / c->worked_ns;
        c->share = share < 1 ? 1 : share > HASHING_SHARE_MAX ? HASHING_SHARE_MAX : share;
    }
    c->begun_ns = now;
    c->worked_ns = 0;
    c->hashed_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* The thread has done what it does with a job. Under the lock. */
static void job_finish(struct job *j)
{
    j->busy = false;
    if (j->dropped)
        job_free(j);
}

/* Takes the next job: its digest is told, and the loop keeps it from then on. Under the lock, which
 * is open meanwhile. */
static void job_hash(struct checkpoints *c)
{
    struct error e;
    struct job *j = c->todo;
    struct kv_pace pace = {hash_wait, c};
    if ((c->todo = j->next) == NULL)
        c->todo_end = &c->todo;
    pthread_mutex_unlock(&c->lock);
    struct kv_snapshot *snapshot = j->snapshot;
    struct kv_checkpoint *open;
    hashing_begin(c);
    kv_snapshot_hash(snapshot, &pace);
    kv_snapshot_digest(snapshot, j->digest);
    pthread_mutex_lock(&c->lock);
    j->snapshot = NULL; /* the checkpoint's, which comes */
    j->busy = true;
    j->next = NULL;
    *c->done_end = j;
    c->done_end = &j->next;
    uv_async_send(&c->wake);
    pthread_mutex_unlock(&c->lock);
    if (kv_checkpoint_open(snapshot, &pace, &open, &e) != 0)
        open = NULL;
    pthread_mutex_lock(&c->lock);
    j->open = open;
    if (open == NULL) {
        job_finish(j);
        return;
    }
    if (c->file)
        job_finish(c->file);
    c->file = j;
    pthread_cond_broadcast(&c->more);
}

/* Rests for a multiple of the time that was worked, unless the end is near. */
static void pace_wait(void *context)
{
    struct checkpoints *c = context;
    struct timespec until;
    int64_t rest = (clock_monotonic_ns() - c->rested_ns) * (WORKING_SHARE - 1);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (until.tv_nsec + rest) / 1000000000;
    until.tv_nsec = (until.tv_nsec + rest) % 1000000000;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping && pthread_cond_timedwait(&c->more, &c->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&c->lock);
    c->rested_ns = clock_monotonic_ns();
}

static int job_write(struct checkpoints *c, const struct job *j, struct error *e)
{
    char path[PATH_MAX];
    struct buffer meta = {0};
    struct kv_pace pace = {pace_wait, c};
    uint64_t s = j->checkpoint.s;
    c->rested_ns = clock_monotonic_ns();
    file_path(c->directory, s, path);
    int rc = checkpoint_meta_encode(&j->checkpoint, &meta)
                 ? kv_checkpoint_write(j->open, path, c->genesis, s, meta.data, meta.len, &pace, e)
                 : error_set(e, ATOLL_ENOMEM, "no memory for the file of a checkpoint");
    if (rc == 0)
        files_newest(c->directory, 0, files_newest(c->directory, s, 0));
    buffer_free(&meta);
    return rc;
}

/* Without memory or room the replica restarts from an older one. Under the lock. */
static void writing_note(struct checkpoints *c, int rc, const struct error *e)
{
    if (rc != 0)
        c->failure = *e;
    c->failed = rc != 0;
    c->failure_told &= c->failed;
    uv_async_send(&c->wake);
}

static void *hasher_run(void *argument)
{
    struct checkpoints *c = argument;
    pthread_setname_np(pthread_self(), "checkpoint");
    setpriority(PRIO_PROCESS, (id_t)gettid(), HASHER_PRIORITY); /* of this thread */
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->stopping && c->todo == NULL)
            pthread_cond_wait(&c->more, &c->lock);
        if (c->stopping)
            break;
        job_hash(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Until there is a job for which it is time; NULL: the end. Under the lock. */
static struct job *file_wait(struct checkpoints *c)
{
    while (!c->stopping) {
        struct timespec until = {.tv_sec = c->write_after_ns / 1000000000,
                                 .tv_nsec = c->write_after_ns % 1000000000};
        if (c->file && clock_monotonic_ns() >= c->write_after_ns) {
            struct job *j = c->file;
            c->file = NULL;
            return j;
        }
        if (c->file)
            pthread_cond_timedwait(&c->more, &c->lock, &until);
        else
            pthread_cond_wait(&c->more, &c->lock);
    }
    return NULL;
}

static void *writer_run(void *argument)
{
    struct checkpoints *c = argument;
    pthread_setname_np(pthread_self(), "checkpoint-file");
    setpriority(PRIO_PROCESS, (id_t)gettid(), WRITER_PRIORITY); /* of this thread */
    pthread_mutex_lock(&c->lock);
    for (struct job *j; (j = file_wait(c)) != NULL; job_finish(j)) {
        struct error e;
        int64_t begun = clock_monotonic_ns();
        pthread_mutex_unlock(&c->lock);
        int rc = job_write(c, j, &e);
        pthread_mutex_lock(&c->lock);
        writing_note(c, rc, &e);
        int64_t ended = clock_monotonic_ns();
        c->write_after_ns = ended + (ended - begun) * (WRITING_SHARE - 1);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the loop's side ---- */

/* The thread may still be writing it. */
static void job_drop(struct checkpoints *c, struct job *j)
{
    if (j == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    bool busy = j->busy;
    j->dropped = busy;
    pthread_mutex_unlock(&c->lock);
    if (!busy)
        job_free(j);
}

static void done_tell(uv_async_t *wake)
{
    struct checkpoints *c = wake->data;
    pthread_mutex_lock(&c->lock);
    struct job *done = c->done;
    c->done = NULL;
    c->done_end = &c->done;
    struct error failure = c->failure;
    bool failed = c->failed && !c->failure_told && c->unwritten;
    c->failure_told |= failed;
    pthread_mutex_unlock(&c->lock);
    if (failed)
        c->unwritten(c->context, &failure);
    while (done) {
        struct job *j = done;
        done = j->next;
        job_drop(c, c->kept[CHECKPOINTS_KEPT - 1]);
        memmove(c->kept + 1, c->kept, (CHECKPOINTS_KEPT - 1) * sizeof *c->kept);
        c->kept[0] = j;
        for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++) /* it takes the oldest one's place */
            if (c->kept[CHECKPOINTS_KEPT - 1 - i])
                stored_close(&c->stored[i]);
        c->tell(c->context, &j->checkpoint, j->digest);
    }
}

int checkpoints_open(uv_loop_t *loop, const char *directory, const struct ledger_genesis *g,
                     checkpoint_done done, void *context, struct checkpoints **out, struct error *e)
{
    struct checkpoints *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for checkpoints");
    int rc = directory_make(directory, 0700, e);
    if (rc != 0 || strlen(directory) >= sizeof c->directory) {
        free(c);
        return rc ? rc : error_set(e, ATOLL_ESIZE, "the path %s is too long", directory);
    }
    strcpy(c->directory, directory);
    memcpy(c->genesis, g->hash, HASH_LEN);
    c->share = WORKING_SHARE;
    c->todo_end = &c->todo;
    c->done_end = &c->done;
    c->tell = done;
    c->context = context;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t steady;
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&c->more, &steady);
    pthread_condattr_destroy(&steady);
    uv_async_init(loop, &c->wake, done_tell);
    c->wake.data = c;
    c->hashing = pthread_create(&c->hasher, NULL, hasher_run, c) == 0;
    c->threaded = c->hashing && pthread_create(&c->writer, NULL, writer_run, c) == 0;
    if (!c->threaded) {
        checkpoints_close(c, NULL, NULL);
        return error_set(e, ATOLL_EUNAVAIL, "no thread for checkpoints");
    }
    *out = c;
    return 0;
}

void checkpoints_watch(struct checkpoints *c, checkpoint_unwritten unwritten)
{
    pthread_mutex_lock(&c->lock);
    c->unwritten = unwritten;
    pthread_mutex_unlock(&c->lock);
}

void checkpoints_submit(struct checkpoints *c, const struct ledger_checkpoint *checkpoint,
                        struct kv_snapshot *snapshot)
{
    struct job *j = calloc(1, sizeof *j);
    if (j == NULL) {
        kv_snapshot_release(snapshot);
        return;
    }
    j->checkpoint = *checkpoint;
    j->snapshot = snapshot;
    pthread_mutex_lock(&c->lock);
    *c->todo_end = j;
    c->todo_end = &j->next;
    pthread_cond_broadcast(&c->more);
    pthread_mutex_unlock(&c->lock);
}

int checkpoints_chunk(struct checkpoints *c, uint64_t s, uint32_t number, struct buffer *out,
                      uint32_t *chunks, struct error *e)
{
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++) {
        const struct job *j = c->kept[i];
        if (j == NULL || j->checkpoint.s != s)
            continue;
        pthread_mutex_lock(&c->lock);
        const struct kv_checkpoint *open = j->open; /* it stays while the loop keeps the job */
        pthread_mutex_unlock(&c->lock);
        if (open == NULL)
            continue;
        *chunks = kv_checkpoint_chunks(open);
        return kv_checkpoint_chunk(open, number, out, e);
    }
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++) {
        struct stored *f = &c->stored[i];
        if (f->reader == NULL || f->s != s)
            continue;
        *chunks = kv_checkpoint_reader_chunks(f->reader);
        int rc = kv_checkpoint_reader_chunk(f->reader, number, out, e);
        if (rc != 0 && rc != -ATOLL_ERANGE && rc != -ATOLL_ENOMEM)
            stored_close(f);
        return rc;
    }
    return error_set(e, ATOLL_ENOENT, "checkpoint %" PRIu64 " is not kept", s);
}

int checkpoints_origin(const struct checkpoints *c, uint64_t s, struct merkle_frontier *out)
{
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++) {
        if (c->kept[i] == NULL || c->kept[i]->checkpoint.s != s)
            continue;
        *out = c->kept[i]->checkpoint.origin;
        return 0;
    }
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++) {
        if (c->stored[i].reader == NULL || c->stored[i].s != s)
            continue;
        *out = c->stored[i].origin;
        return 0;
    }
    return -ATOLL_ENOENT;
}

static void jobs_free(struct job *j)
{
    while (j) {
        struct job *next = j->next;
        job_free(j);
        j = next;
    }
}

static void checkpoints_free(uv_handle_t *handle)
{
    struct checkpoints *c = handle->data;
    void (*closed)(void *) = c->closed;
    void *context = c->closed_context;
    pthread_cond_destroy(&c->more);
    pthread_mutex_destroy(&c->lock);
    free(c);
    if (closed)
        closed(context);
}

void checkpoints_close(struct checkpoints *c, void (*closed)(void *), void *context)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->more);
    pthread_mutex_unlock(&c->lock);
    if (c->hashing)
        pthread_join(c->hasher, NULL);
    if (c->threaded)
        pthread_join(c->writer, NULL);
    if (c->file)
        job_finish(c->file);
    jobs_free(c->todo);
    jobs_free(c->done);
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++)
        job_free(c->kept[i]);
    for (unsigned i = 0; i < CHECKPOINTS_KEPT; i++)
        stored_close(&c->stored[i]);
    c->closed = closed;
    c->closed_context = context;
    uv_close((uv_handle_t *)&c->wake, checkpoints_free);
}
