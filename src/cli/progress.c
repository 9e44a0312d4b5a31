/* The bar appears only when there is someone to wait for it: on a terminal, after a second. */
#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS INT64_C(1000000000)
#define BAR_WIDTH   30

void progress_begin(struct progress *p, const char *name)
{
    const char *slash = strrchr(name, '/');
    *p = (struct progress){.name = slash ? slash + 1 : name,
                           .started_ns = clock_monotonic_ns(),
                           .terminal = isatty(STDERR_FILENO) == 1};
}

void progress_update(void *progress, uint32_t done, uint32_t all)
{
    struct progress *p = progress;
    if (!p->terminal || all == 0 || clock_monotonic_ns() - p->started_ns < PATIENCE_NS)
        return;
    int filled = (int)((uint64_t)done * BAR_WIDTH / all);
    fprintf(stderr, "\rcompiling %.40s [%.*s%*s] %u of %u", p->name, filled,
            "##############################", BAR_WIDTH - filled, "", done, all);
    fflush(stderr);
    p->shown = true;
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fputs("\r\033[K", stderr);
    p->shown = false;
}
