/* A progress bar on the error output while a module is compiled. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *name; /* what is compiled */
    int64_t started_ns;
    bool terminal, shown;
};

void progress_begin(struct progress *, const char *name);
/* Draws once a second has passed and the error output is a terminal. Fits compiler_settings. */
void progress_update(void *progress, uint32_t done, uint32_t all);
/* Removes the bar. */
void progress_end(struct progress *);

#endif
