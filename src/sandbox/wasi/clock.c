/*
 * The guest's clocks: the host's plus an offset, rounded down to the configured resolution.
 *
 * The CPU clocks start at zero with the world; of a function they count its calls only. Monotonic
 * and CPU clocks never go back, neither when a guest moves between threads nor across a checkpoint:
 * the value seen last is remembered.
 */
#include "base/clock.h"
#include "sandbox/wasi/world.h"

static const clockid_t host_clocks[WASI_CLOCKS] = {
    [WASI_CLOCK_REALTIME] = CLOCK_REALTIME,
    [WASI_CLOCK_MONOTONIC] = CLOCK_MONOTONIC,
    [WASI_CLOCK_PROCESS] = CLOCK_PROCESS_CPUTIME_ID,
    [WASI_CLOCK_THREAD] = CLOCK_THREAD_CPUTIME_ID,
};

static bool is_cpu(uint32_t clock)
{
    return clock == WASI_CLOCK_PROCESS || clock == WASI_CLOCK_THREAD;
}

int64_t host_clock(const struct wasi *w, uint32_t clock)
{
    return is_cpu(clock) && w->streams.cpu_ns != NULL ? w->streams.cpu_ns(w->streams.context)
                                                      : clock_ns(host_clocks[clock]);
}

/* After a reset the CPU clocks go on from when somebody looks at one: to ask for them each time
 * would be a system call. */
static void cpu_clocks_begin(struct wasi *w)
{
    for (uint32_t clock = WASI_CLOCK_PROCESS; clock <= WASI_CLOCK_THREAD; clock++) {
        w->clock_offset[clock] = w->clock_last[clock] - host_clock(w, clock);
    }
    w->cpu_due = false;
}

bool world_clock(struct wasi *w, uint32_t clock, int64_t *ns)
{
    if (clock >= WASI_CLOCKS) {
        return false;
    }
    if (w->cpu_due && is_cpu(clock)) {
        cpu_clocks_begin(w);
    }
    if (__builtin_add_overflow(host_clock(w, clock), w->clock_offset[clock], ns)) {
        *ns = w->clock_offset[clock] < 0 ? 0 : INT64_MAX;
    }
    if (*ns < 0) {
        *ns = 0;
    }
    if (clock != WASI_CLOCK_REALTIME) {
        if (*ns < w->clock_last[clock]) {
            *ns = w->clock_last[clock];
        }
        w->clock_last[clock] = *ns;
    }
    return true;
}

enum host_status preview1_clock_res_get(struct host_call *call)
{
    struct timespec resolution;
    uint32_t clock = call->slots[0].u32;
    if (clock >= WASI_CLOCKS || clock_getres(host_clocks[clock], &resolution) != 0) {
        return call_done(call, WASI_EINVAL);
    }
    uint64_t ns = (uint64_t)resolution.tv_sec * 1000000000u + (uint64_t)resolution.tv_nsec;
    if (ns < call_world(call)->resolution_ns) {
        ns = call_world(call)->resolution_ns;
    }
    return call_done(call, call_store_u64(call, call->slots[1].u32, ns));
}

static int64_t rounded(const struct wasi *w, int64_t ns)
{
    return (int64_t)((uint64_t)ns - (uint64_t)ns % w->resolution_ns);
}

enum host_status preview1_clock_time_get(struct host_call *call)
{
    int64_t ns;
    struct wasi *w = call_world(call);
    if (!world_clock(w, call->slots[0].u32, &ns)) {
        return call_done(call, WASI_EINVAL);
    }
    return call_done(call, call_store_u64(call, call->slots[2].u32, (uint64_t)rounded(w, ns)));
}

int wasi_now(struct wasi *w, uint32_t clock, int64_t *ns)
{
    if (!world_clock(w, clock, ns)) {
        return -ATOLL_EINVAL;
    }
    *ns = rounded(w, *ns);
    return 0;
}

int64_t wasi_monotonic_at(const struct wasi *w, int64_t host_ns)
{
    int64_t ns;
    return __builtin_add_overflow(host_ns, w->clock_offset[WASI_CLOCK_MONOTONIC], &ns) ? INT64_MAX
                                                                                       : ns;
}
