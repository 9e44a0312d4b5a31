/* One module, from its bytes to the bytes of its artefact. */
#ifndef ATOLL_CC_MODULE_COMPILE_H
#define ATOLL_CC_MODULE_COMPILE_H

#include "base/bytes.h"
#include "engine/abi.h"

struct compile_job {
    const uint8_t *wasm;
    size_t wasm_len;
    struct compile_options options;
    unsigned parallel; /* shard processes at once */
    int client;        /* socket: a compilation whose client is gone is given up */
    /* Called when a shard is done. A negative code ends the compilation with it. */
    int (*progress)(void *context, uint32_t done, uint32_t total, struct error *);
    void *context;
};

/* -ATOLL_ECANCELED when the client is gone. */
int module_compile(const struct compile_job *, struct buffer *artefact, struct error *e);

#endif
