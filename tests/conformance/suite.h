/*
 * The files of the core suite and their conversion by wast2json (of wabt).
 * Used by conformance.c.
 */
#ifndef CONFORMANCE_SUITE_H
#define CONFORMANCE_SUITE_H

#include "base/error.h"

#include <stdbool.h>

struct suite_file {
    char *path;
    char *name;   /* relative to the suite */
    bool threads; /* of the threads proposal, which changes what is malformed */
};

struct suite {
    struct suite_file *files; /* sorted by name */
    uint32_t count;
};

/* Finds *.wast in the directory and in the proposals that the engine implements. The owner calls
 * suite_free. */
int suite_find(const char *directory, struct suite *out, struct error *e);
void suite_free(struct suite *);

/* Makes the directory and in it out.json and the modules of the file. An error quotes what
 * wast2json said; its crash or empty output is an error too. */
int suite_convert(const struct suite_file *, const char *wast2json, const char *directory,
                  struct error *e);

#endif
