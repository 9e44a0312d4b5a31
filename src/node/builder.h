/*
 * The builder: one thread that turns modules into artefacts, through the cache and atoll-cc, one
 * after the other. The supervisor itself never looks into a module.
 *
 * Called on the loop thread; callbacks come on the loop thread.
 */
#ifndef NODE_BUILDER_H
#define NODE_BUILDER_H

#include "engine/artefact.h"

#include <stdbool.h>

struct builder;
struct uv_loop_s;

#define BUILDER_QUEUE_MAX 4096u

struct built {
    int code; /* 0, or negative with the sentence in error */
    struct error error;
    struct artefact *artefact; /* the receiver's; NULL on failure */
    int fd;                    /* its bytes in a sealed memory file, the receiver's; -1 */
    bool cached;
};
typedef void (*build_done)(void *context, struct built *);

enum build_tier {
    BUILD_BEST,  /* opt */
    BUILD_FIRST, /* what makes a big module ready soon: quick unless opt is in the cache */
};

int builder_create(struct uv_loop_s *, const char *cache_directory, struct builder **out,
                   struct error *);
/* Waits for the build in progress; the rest end with -ATOLL_ECANCELED before this returns. */
void builder_destroy(struct builder *);
/* Builds the module at path (copied). -ATOLL_ELIMIT: the queue is full. */
int builder_submit(struct builder *, const char *module_path, enum build_tier, build_done,
                   void *context, struct error *);
/* Whether a module of this size is built at quick first. */
bool builder_prefers_quick(uint64_t module_bytes);

#endif
