/*
 * Atoll's side of the differential test: runs a batch of modules in each configuration. It runs in
 * a process of its own, so that a crash is a finding about one module.
 */
#ifndef CONFORMANCE_SUBJECT_H
#define CONFORMANCE_SUBJECT_H

#include "engine/compile.h"

#include <stdio.h>

struct subject_configuration {
    const char *name;
    uint8_t mode, tier;
    bool fast;
    uint8_t link; /* enum link_mode: LINK_OTHER checks bounds explicitly */
};

#define SUBJECT_CONFIGURATIONS 5u
extern const struct subject_configuration subject_configurations[SUBJECT_CONFIGURATIONS];

/* Runs module n (a file) in every configuration and appends records to the transcript file, flushed
 * after every line. */
void subject_run(struct compiler *, const char *path, uint32_t n, FILE *transcript);

/* Decodes and validates a module that may be damaged. What is valid is also compiled in one
 * configuration (chosen by n), started and called, each for a few milliseconds. Writes "N valid",
 * "N malformed TEXT", "N invalid TEXT", "N limit TEXT" or "N unsupported TEXT", then "N done", or
 * "N broken TEXT" when the engine failed at something it had accepted. */
void subject_judge(struct compiler *, const char *path, uint32_t n, FILE *verdicts);

#endif
