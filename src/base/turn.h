/*
 * Turns of a thread at the processor.
 *
 * Linux gives each runnable thread the processor for a slice of some milliseconds, and a thread
 * that asks for short slices gets its turns sooner after it wakes (6.12; before, and where the
 * system refuses, asking changes nothing). That is for threads that do little at a time and for
 * which others wait. A thread passes its setting on to those that it creates.
 */
#ifndef BASE_TURN_H
#define BASE_TURN_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TURN_SHORT_NS 100000u /* the least that the kernel takes */

struct turn_attributes { /* struct sched_attr of linux/sched/types.h, its first version */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* The calling thread: slices of this length; 0: the system's own. An ordinary thread only. */
static inline void turn_set(uint64_t slice_ns)
{
    struct turn_attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) == 0 && a.policy == 0) {
        a.runtime_ns = slice_ns;
        (void)syscall(SYS_sched_setattr, 0, &a, 0);
    }
}

#endif
