/* See interruption.h. */
#include "cli/ledger/interruption.h"

#include "base/clock.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#define PIECE_NS 50000000

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t caught;

/* The next one ends the process, whichever it is. */
static void signal_take(int number)
{
    struct sigaction now;
    caught = number;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == signal_take)
            signal(numbers[i], SIG_DFL);
}

void interruption_catch(void)
{
    const struct sigaction action = {.sa_handler = signal_take, .sa_flags = SA_RESTART};
    struct sigaction now;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], NULL, &now);
        if (numbers[i] != SIGHUP || now.sa_handler != SIG_IGN) /* under nohup it stays ignored */
            sigaction(numbers[i], &action, NULL);
    }
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
