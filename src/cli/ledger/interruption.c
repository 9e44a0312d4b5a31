/* See interruption.h. */
#include "cli/ledger/interruption.h"

#include "base/clock.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define PIECE_NS 50000000

static volatile sig_atomic_t caught;

static void signal_take(int number)
{
    caught = number;
}

void interruption_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = signal_take,
                               .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
}

bool interrupted(void)
{
    return caught != 0;
}

int interruption_check(struct error *e)
{
    return caught ? error_set(e, ATOLL_ECANCELED, "interrupted") : 0;
}

/* In pieces: the signal may have come to another thread. */
void interruption_nap(int64_t ns)
{
    for (int64_t until = clock_monotonic_ns() + ns, left = ns; left > 0 && !caught;
         left = until - clock_monotonic_ns())
        nanosleep(&(struct timespec){.tv_nsec = left < PIECE_NS ? left : PIECE_NS}, NULL);
}

void interruption_obey(const char *became)
{
    if (!caught)
        return;
    fprintf(stderr, "\nInterrupted; %s.\n", became);
    signal(caught, SIG_DFL);
    raise(caught);
}
