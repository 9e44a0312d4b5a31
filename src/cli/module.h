/*
 * From a .wasm file named on the command line to a loaded artefact: which tier, through the cache,
 * with a progress bar. Shared by run and compile.
 */
#ifndef CLI_MODULE_H
#define CLI_MODULE_H

#include "cli/options.h"
#include "engine/compile.h"

enum tier_choice { CHOOSE_AUTO, CHOOSE_QUICK, CHOOSE_OPT };

/* With tier auto, modules with more code than this start at quick, while opt is compiled in the
 * background for the next start. As much code takes opt some four seconds of one core. */
#define AUTO_OPT_CODE_BYTES (64u << 10)

struct module_request {
    const char *path;
    int tier; /* enum tier_choice */
    int mode; /* enum compile_mode */
    int cpu;  /* index into cpu_choices */
    bool fuel, deterministic, no_cache;
};

/* Words for the options --tier, --mode and --cpu. */
extern const char *const tier_choices[], *const mode_choices[], *const cpu_choices[];
#define CPU_CHOICE_DEFAULT 1

/* Help that run and compile share. */
#define MODE_HELP                                           \
    "fast (default): loads whose value is never used may\n" \
    "not trap; exact: every trap of the standard"
#define CPU_HELP           "x86-64 level to compile for (v3)"
#define DETERMINISTIC_HELP "make the bits of NaN results the same everywhere"

/* Reads, and loads from the cache or compiles. cached (may be NULL): no compiler ran. */
int module_load(const struct module_request *, struct artefact **out, bool *cached, struct error *);
/* The file of a module: its descriptor, or -ATOLL_ELIMIT beyond the largest that modules may be. */
int module_open(const char *path, struct error *);
/* Whether a regular file can be opened for reading; says so on the error output when not. */
bool file_readable(const char *path);
const char *tier_name(uint8_t tier);
const char *mode_name(uint8_t mode);

#endif
