/*
 * The three ways bench/engine.c runs a kernel: compiled natively and loaded into this process, as
 * an instance of Atoll in this process, and in V8 in a child process. All report CPU time and the
 * checksum, so that one loop can compare them.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "base/error.h"
#include "engine/compile.h"
#include "engine/instance.h"

#include <stdio.h>
#include <sys/types.h>

struct measurement {
    double ns;       /* CPU time of the run */
    double checksum; /* compared bit for bit */
};

/* A shared library with `double run(int)`. */
struct native {
    void *library;
    double (*run)(int repeat);
};
int native_open(const char *path, struct native *out, struct error *e);
void native_close(struct native *);
void native_run(struct native *, int repeat, struct measurement *out);

/* A kernel's module, linked and ready to call. */
struct kernel {
    struct artefact *artefact;
    struct arena *arena;
    struct instance *instance;
    uint32_t function;
};
int kernel_open(struct compiler *, const char *path, const struct compile_options *,
                struct kernel *out, struct error *e);
void kernel_close(struct kernel *);
int kernel_run(struct kernel *, int repeat, struct measurement *out, struct error *e);

/* A node process that answers run requests (v8.mjs). */
struct v8 {
    pid_t pid;
    FILE *requests, *answers;
};
/* -ATOLL_EUNAVAIL when there is no node to run. */
int v8_start(const char *script, struct v8 *out, struct error *e);
void v8_stop(struct v8 *);
int v8_run(struct v8 *, const char *wasm_path, int repeat, struct measurement *out,
           struct error *e);

#endif
