/*
 * The builder: two threads that turn modules into artefacts, through the cache and atoll-cc. One
 * takes modules of at most BUILDER_SMALL_BYTES only, so that these never wait for the minutes that
 * a large one may take; the other prefers large ones. Each takes one after the other, of tenants in
 * turn: a thousand modules of one hold up another's by one. What compiles for too long is given up.
 * The supervisor itself never looks into a module.
 *
 * Called on the loop thread; callbacks come on the loop thread.
 */
#ifndef NODE_BUILDER_H
#define NODE_BUILDER_H

#include "engine/artefact.h"
#include "node/manifest.h"

#include <stdbool.h>

struct builder;
struct uv_loop_s;

#define BUILDER_QUEUE_MAX   4096u
#define BUILDER_TENANT_MAX  1024u /* of one tenant, small ones and large ones each */
#define BUILDER_SMALL_BYTES (256u << 10)

struct built {
    int code; /* 0, or negative with the sentence in error */
    struct error error;
    struct artefact *artefact; /* the receiver's; NULL on failure */
    int fd;                    /* its bytes in a sealed memory file, the receiver's; -1 */
    int64_t compile_ns;        /* what compiling took; 0: it was in the cache, or failed */
};
typedef void (*build_done)(void *context, struct built *);

enum build_tier {
    BUILD_BEST,  /* opt */
    BUILD_FIRST, /* what makes a big module ready soon: quick unless opt is in the cache */
};

/* A build may take time_max_ns: beyond, it ends with -ATOLL_ETIMEDOUT. */
int builder_create(struct uv_loop_s *, const char *cache_directory, int64_t time_max_ns,
                   struct builder **out, struct error *);
/* Builds in progress and those that wait end with -ATOLL_ECANCELED before this returns. */
void builder_destroy(struct builder *);
/* Builds in progress and those that wait end with -ATOLL_ECANCELED soon; nothing is built any more.
 */
void builder_stop(struct builder *);
/* Builds the module at path (copied) in the tenant's turn. -ATOLL_EAGAIN: the queue is full, or the
 * tenant has its share of it; -ATOLL_ECANCELED: the builder was stopped. */
int builder_submit(struct builder *, const char *tenant, const char *module_path, enum build_tier,
                   build_done, void *context, struct error *);
/* Whether a module of this size is built at quick first. */
bool builder_prefers_quick(uint64_t module_bytes);

#endif
