/*
 * One script of the core suite, as converted by wast2json: a list of commands over modules in files
 * beside it. Used by conformance.c, in a process per script.
 */
#ifndef CONFORMANCE_SCRIPT_H
#define CONFORMANCE_SCRIPT_H

#include "engine/compile.h"

#include <stdatomic.h>

/* What became of a script's commands. In memory shared with the process that watches this one, so
 * that the count survives a crash. */
struct script_progress {
    _Atomic uint32_t commands; /* to be run, over all configurations */
    _Atomic uint32_t passed, failed, skipped;
    _Atomic uint32_t line, configuration; /* of the command being run */
};

struct script_configuration {
    const char *name; /* "exact-quick", … */
    uint8_t mode, tier;
};

struct script;

/* Reads DIRECTORY/out.json. name is for messages. */
int script_open(const char *directory, const char *name, struct script **out, struct error *e);
void script_close(struct script *);

/*
 * Runs all commands once per configuration; what only concerns decoding and validation runs in the
 * first. Failures are printed, one line each. A command that takes longer than two minutes ends the
 * process with SIGALRM.
 */
void script_run(struct script *, struct compiler *, const struct script_configuration *,
                uint32_t count, struct script_progress *);

#endif
