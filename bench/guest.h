/* Compiling and calling guests, for the benchmarks: whatever goes wrong ends the program, except
 * where an error is asked for. */
#ifndef BENCH_GUEST_H
#define BENCH_GUEST_H

#include "engine/compile.h"
#include "engine/instance.h"

/* Reads and compiles a module file through the compiler's cache. */
int guest_compile(struct compiler *, const char *path, const struct compile_options *,
                  struct artefact **out, struct error *e);

/* For programs that measure one thing: makes a compiler (program NULL: one directory above this
 * executable), compiles guests/NAME.wasm beside this executable at tier opt. */
struct artefact *guest_artefact(const char *program, const char *name);
/* An arena with one instance of it, without imports. */
struct instance *guest_instance(struct artefact *);
uint32_t guest_function(const struct instance *, const char *name);
/* One i32 in, one i32 out. */
int32_t guest_call(struct instance *, uint32_t function, int32_t argument);

/* Ends the program with the error's text when rc is negative. */
void bench_check(int rc, const struct error *e);

#endif
