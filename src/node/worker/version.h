/*
 * Versions of functions in a worker: from MESSAGE_LOAD to calls that can start.
 *
 *   LOADING ─▶ USABLE ─▶ (MESSAGE_DROP, last call ended) freed
 *      └─────▶ UNUSABLE: its calls end as REJECTED
 *
 * Loading is itself a call (call.zygote): it opens the artefact, links it, runs the module's start
 * function, _initialize and atoll_zygote, and takes the snapshot that faaslets are restored from;
 * or it loads a proto image and runs nothing. Nothing of the guest runs outside a guest thread.
 */
#ifndef NODE_WORKER_VERSION_H
#define NODE_WORKER_VERSION_H

#include "node/manifest.h"
#include "node/worker/queue.h"
#include "node/worker/worker.h"

#define VERSIONS_MAX    65536u /* in a worker */
#define ZYGOTE_LIMIT_NS 10000000000ll
#define METRICS_MAX     100u /* names of atoll_metric per version */
#define METRIC_NAME_MAX 64u

enum version_stage { VERSION_LOADING, VERSION_USABLE, VERSION_UNUSABLE };

/* What calls run of a module. */
struct entries {
    uint32_t main;
    uint32_t on_restore; /* UINT32_MAX = none */
};

/* What faaslets are restored from. Immutable, counted; several threads. */
struct proto {
    _Atomic uint32_t references;
    struct artefact *artefact;
    struct snapshot *snapshot;
    struct wasi_image *wasi;
    void *wasi_bound; /* data pointer of the snapshot's WASI imports */
    struct entries entries;
    uint32_t *record_functions; /* the function of each record, to read references */
    uint64_t charge;            /* bytes that an instance counts for at least */
};

/* What an idle faaslet's memory holds. */
enum idle_list {
    IDLE_CLEAN, /* the image */
    IDLE_DIRTY, /* what a call left; to be reset */
    IDLE_KEPT,  /* what a call left, for the next that may see it: manifest.reset */
    IDLE_LISTS
};

struct metric_name {
    char name[METRIC_NAME_MAX + 1];
    uint8_t kind;
};

struct version {
    uint32_t number;
    uint32_t stage; /* enum version_stage */
    char tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1], name[40];
    LIST_ENTRY(version) same_hash;
    struct manifest manifest;

    /* Descriptors it was loaded from, kept for loading it again. */
    int artefact_fd, image_fd; /* image_fd -1 = none */
    uint8_t artefact_id[32];   /* hash of the artefact's bytes; zeros: not known */
    int *file_fds;
    char **file_paths;
    uint32_t file_count;

    struct proto *proto;    /* while USABLE */
    struct vfs_base *files; /* made with the first proto, kept */
    uint64_t charge;        /* of the proto */

    struct faaslet *idle[IDLE_LISTS]; /* the pool, last used first */
    uint32_t idle_count[IDLE_LISTS];
    uint32_t active;                  /* calls that have started and not ended */
    uint32_t limited;                 /* of them, those that its concurrency counts */
    bool blocked;                     /* a flow left its heap because of the concurrency */
    uint32_t calls;                   /* all calls that are not freed */
    bool dropped;                     /* freed when nothing uses it */
    struct flow *flows[QUEUE_LEVELS]; /* QUEUE_PRIORITIES each, NULL before the first */
    struct flow expired;
    int64_t runtime;      /* virtual: ns * 100 / weight */
    struct error problem; /* why it is UNUSABLE */

    /* A load under way: what it has made, and how far it came. */
    struct proto *made;
    int made_fd; /* a proto image that the supervisor does not have; -1 = none */
    uint64_t made_bytes;
    uint32_t load_stage; /* enum load_stage */

    struct metric_name *metrics;
    uint32_t metric_count;

    struct message_tally tally; /* since the last one sent */
    bool tallied;               /* there is something to send */
    LIST_ENTRY(version) all;
};

/* Instances that have no call. */
static inline uint32_t version_idle(const struct version *v)
{
    return v->idle_count[IDLE_CLEAN] + v->idle_count[IDLE_DIRTY] + v->idle_count[IDLE_KEPT];
}

/* The version of that number, or NULL. Under worker.lock. */
struct version *version_find(struct worker *, uint32_t number);

/* Handles MESSAGE_LOAD; takes the descriptors over. What is wrong goes up as MESSAGE_LOADED. */
void version_receive(struct worker *, const struct message *, int *fds);
/* Handles MESSAGE_DROP. */
void version_drop(struct worker *, uint32_t number);
/* Drops the image and loads the version again from its descriptors: CALL_FLAG_CLEAR. Under
 * worker.lock; versions_drain_cleared destroys its idle faaslets afterwards, without it. */
void version_clear(struct worker *, struct version *);
void versions_drain_cleared(struct worker *);
/* Frees versions that were dropped and are not used any more. Without locks. */
void versions_bury(struct worker *);
/* A call of it has been freed: it is to be buried when it was dropped. Under worker.lock. */
void version_unused(struct worker *, struct version *);
/* Frees all, when no thread runs any more. */
void versions_free(struct worker *);

void proto_release(struct proto *); /* NULL is fine */

/* ---- load.c: what a loading call does on its guest thread, without locks ---- */

/* Opens artefact and image. 1: the call has a faaslet whose functions are to be run, then
 * load_finish; 0: done, from the image. */
int load_begin(struct worker *, struct call *, struct error *);
/* All ran: takes snapshot and image. */
int load_finish(struct worker *, struct call *, struct error *);
/* The loading call has ended: the version can be used or cannot, and the supervisor is told. Under
 * no lock; the call is not freed yet. */
void load_ended(struct worker *, struct version *, const struct call_end *);

#endif
