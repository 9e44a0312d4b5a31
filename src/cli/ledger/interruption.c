/* See interruption.h. */
#include "cli/ledger/interruption.h"

#include <signal.h>
#include <time.h>

static volatile sig_atomic_t caught;

static void catch(int number)
{
    caught = number;
}

void interruption_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    /* Sleeps end when it comes: no SA_RESTART. */
    struct sigaction action = {.sa_handler = catch, .sa_flags = (int)SA_RESETHAND};
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

void interruption_nap(int64_t ns)
{
    if (!caught)
        nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

void interruption_obey(void)
{
    if (!caught)
        return;
    signal(caught, SIG_DFL);
    raise(caught);
}
