/*
 * The other engines of the differential test: V8 (in Node) and wasm-interp (of wabt). Each runs the
 * modules DIRECTORY/0.wasm … and leaves a transcript; a verdict on validity comes from V8 and, when
 * asked, from wasm-validate.
 */
#ifndef CONFORMANCE_ORACLE_H
#define CONFORMANCE_ORACLE_H

#include "base/error.h"
#include "transcript.h"

struct oracle {
    const char *node, *script; /* program; path of differential.mjs */
    const char *interpreter, *validator;
};

/* Fills the text of a transcript, not yet parsed. */
int oracle_run_v8(const struct oracle *, const char *directory, uint32_t count, struct transcript *,
                  struct error *);
int oracle_run_interpreter(const struct oracle *, const char *directory, uint32_t count,
                           struct transcript *, struct error *);
/* valid[N] for each module. */
int oracle_validate_v8(const struct oracle *, const char *directory, uint32_t count, bool *valid,
                       struct error *);
int oracle_validate_wabt(const struct oracle *, const char *path, bool *valid, struct error *);

#endif
