/* Adds with C's atomics, beside what goes wrong when only they are switched on: errno and variables
 * of a thread. */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <threads.h>

static _Atomic uint64_t sum;
static _Thread_local int zero;
static thread_local int seven = 7;
static __thread int eight = 8;

int main(int argc, char **argv)
{
    (void)argv;
    for (int i = 0; i < 1000; i++)
        atomic_fetch_add_explicit(&sum, 2, memory_order_relaxed);
    uint64_t expected = 2000;
    if (!atomic_compare_exchange_strong(&sum, &expected, 1))
        return 1;
    errno = 0;
    if (strtoull("99999999999999999999", NULL, 10) != UINT64_MAX || errno != ERANGE)
        return 2;
    zero += argc;
    seven += argc;
    eight += argc;
    return zero == 1 && seven == 8 && eight == 9 ? 0 : 3;
}
