/*
 * poll_oneoff: waiting for the first of several clocks and descriptors.
 *
 * The call either has events to give at once or parks on the descriptors and the earliest deadline,
 * and is made again. A relative timeout counts from the first call, whose time nothing remembers
 * but the deadline that the park keeps: if the earliest deadline was that of the shortest relative
 * timeout, the others follow from it.
 *
 * A subscription in guest memory: userdata u64 @0, kind u8 @8; clock: id u32 @16, timeout u64 @24,
 * flags u16 @40; descriptor: its number u32 @16. An event: userdata u64 @0, error u16 @8, kind u8
 * @10, bytes ready u64 @16, flags u16 @24.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "sandbox/wasi/back_end.h"

#include <errno.h>
#include <poll.h>

#define SUBSCRIPTION_BYTES 48
#define EVENT_BYTES        32
#define NOT_POLLED         UINT32_MAX

struct subscription {
    uint64_t userdata, timeout;
    uint16_t error;
    uint8_t kind;
    bool relative;
    uint32_t clock, number;
    uint32_t polled;     /* index of its descriptor in the park, or NOT_POLLED: always ready */
    int64_t deadline_ns; /* host's monotonic clock; of a clock that is not relative */
    const struct descriptor *descriptor;
};

struct waiting {
    struct subscription list[WASI_MAX_SUBSCRIPTIONS];
    uint32_t count, event_count, event_address;
    int64_t shortest_ns; /* of the relative timeouts; HOST_NO_DEADLINE without one */
};

static int64_t time_add(int64_t a, uint64_t b)
{
    int64_t sum;
    bool over = b > INT64_MAX || __builtin_add_overflow(a, (int64_t)b, &sum);
    return over ? HOST_NO_DEADLINE : sum;
}

static void clock_prepare(struct wasi *w, struct waiting *waiting, struct subscription *s)
{
    int64_t now;
    if (s->clock > WASI_CLOCK_MONOTONIC || !world_clock(w, s->clock, &now)) {
        s->error = s->clock < WASI_CLOCKS ? WASI_ENOTSUP : WASI_EINVAL;
    } else if (s->relative) {
        int64_t timeout = time_add(0, s->timeout);
        waiting->shortest_ns = timeout < waiting->shortest_ns ? timeout : waiting->shortest_ns;
    } else {
        uint64_t left = s->timeout > (uint64_t)now ? s->timeout - (uint64_t)now : 0;
        s->deadline_ns = time_add(clock_monotonic_ns(), left);
    }
}

/* Finds the descriptor, and its place among those to be polled. EINVAL when there are too many. */
static uint16_t descriptor_prepare(struct host_call *call, struct subscription *s)
{
    struct host_park *park = call->park;
    struct descriptor *d;
    bool reads = s->kind == WASI_EVENT_FD_READ;
    uint64_t rights =
        WASI_RIGHT_POLL_FD_READWRITE | (reads ? WASI_RIGHT_FD_READ : WASI_RIGHT_FD_WRITE);
    s->polled = NOT_POLLED;
    s->error = descriptor_get(call_world(call), s->number, rights, &d);
    if (s->error != WASI_SUCCESS) {
        return WASI_SUCCESS;
    }
    s->descriptor = d;
    if (!d->waits) {
        return WASI_SUCCESS;
    }
    uint32_t i = 0;
    while (i < park->fd_count && park->fds[i].fd != d->fd) {
        i++;
    }
    if (i == HOST_PARK_FDS) {
        return WASI_EINVAL;
    }
    if (i == park->fd_count) {
        park->fds[park->fd_count++] = (struct pollfd){.fd = d->fd};
    }
    park->fds[i].events = (short)(park->fds[i].events | (reads ? POLLIN | POLLRDHUP : POLLOUT));
    s->polled = i;
    return WASI_SUCCESS;
}

static uint16_t subscription_read(struct host_call *call, uint32_t address, struct waiting *waiting)
{
    uint8_t bytes[SUBSCRIPTION_BYTES];
    if (guest_read(call->arena, bytes, address, sizeof bytes) != 0) {
        return WASI_EFAULT;
    }
    struct subscription *s = &waiting->list[waiting->count++];
    *s = (struct subscription){.userdata = load_u64(bytes), .kind = bytes[8]};
    s->clock = s->number = load_u32(bytes + 16);
    s->timeout = load_u64(bytes + 24);
    s->relative = (load_u16(bytes + 40) & WASI_SUBCLOCK_ABSTIME) == 0;
    switch (s->kind) {
    case WASI_EVENT_CLOCK: clock_prepare(call_world(call), waiting, s); return WASI_SUCCESS;
    case WASI_EVENT_FD_READ:
    case WASI_EVENT_FD_WRITE: return descriptor_prepare(call, s);
    default: return WASI_EINVAL;
    }
}

static uint16_t event_give(struct host_call *call, struct waiting *waiting,
                           const struct subscription *s, uint16_t error, uint64_t bytes_ready,
                           uint16_t flags)
{
    uint8_t event[EVENT_BYTES] = {0};
    store_u64(event, s->userdata);
    memcpy(event + 8, &error, 2);
    event[10] = s->kind;
    store_u64(event + 16, bytes_ready);
    memcpy(event + 24, &flags, 2);
    uint32_t address = waiting->event_address + EVENT_BYTES * waiting->event_count++;
    return guest_write(call->arena, address, event, sizeof event) == 0 ? WASI_SUCCESS : WASI_EFAULT;
}

/* What poll found for the subscription's descriptor; nothing when it is not ready. */
static uint16_t descriptor_event(struct host_call *call, struct waiting *waiting,
                                 const struct subscription *s)
{
    short found = POLLIN | POLLOUT;
    if (s->polled != NOT_POLLED) {
        found = call->park->fds[s->polled].revents;
    }
    bool reads = s->kind == WASI_EVENT_FD_READ;
    short wanted = reads ? POLLIN | POLLRDHUP : POLLOUT;
    if ((found & (wanted | POLLHUP | POLLERR | POLLNVAL)) == 0) {
        return WASI_SUCCESS;
    }
    uint16_t error = WASI_SUCCESS;
    uint16_t flags = found & (POLLHUP | POLLRDHUP) ? WASI_EVENT_HANGUP : 0;
    if (found & POLLNVAL) {
        error = WASI_EBADF;
    } else if ((found & POLLERR) && s->descriptor->filetype == WASI_FILETYPE_UNKNOWN) {
        error = WASI_EPIPE; /* a pipe whose readers are gone */
        flags = WASI_EVENT_HANGUP;
    }
    uint64_t ready = error == WASI_SUCCESS
                         ? s->descriptor->back_end->ready(call_world(call), s->descriptor, reads)
                         : 0;
    return event_give(call, waiting, s, error, ready, flags);
}

static bool absolute_expired(const struct waiting *waiting, int64_t now_ns)
{
    for (uint32_t i = 0; i < waiting->count; i++) {
        const struct subscription *s = &waiting->list[i];
        if (s->kind == WASI_EVENT_CLOCK && s->error == WASI_SUCCESS && !s->relative &&
            s->deadline_ns <= now_ns) {
            return true;
        }
    }
    return false;
}

static uint16_t events_gather(struct host_call *call, struct waiting *waiting, int64_t began_ns)
{
    int64_t now_ns = clock_monotonic_ns();
    uint16_t result = WASI_SUCCESS;
    /* The park may have been for an absolute clock: then began_ns is too early, and relative
     * timeouts are left for the guest's next call. */
    bool doubtful = call->resumed && absolute_expired(waiting, now_ns);
    for (uint32_t i = 0; i < waiting->count && result == WASI_SUCCESS; i++) {
        const struct subscription *s = &waiting->list[i];
        if (s->error != WASI_SUCCESS) {
            result = event_give(call, waiting, s, s->error, 0, 0);
        } else if (s->kind != WASI_EVENT_CLOCK) {
            result = descriptor_event(call, waiting, s);
        } else if (s->relative ? !doubtful && time_add(began_ns, s->timeout) <= now_ns
                               : s->deadline_ns <= now_ns) {
            result = event_give(call, waiting, s, WASI_SUCCESS, 0, 0);
        }
    }
    return result;
}

/* When the relative timeouts began, by the deadline that the park was for; too early a time when
 * that was another's. */
static int64_t began(const struct host_call *call, const struct waiting *waiting,
                     int64_t parked_until_ns)
{
    if (!call->resumed) {
        return clock_monotonic_ns();
    }
    if (waiting->shortest_ns == HOST_NO_DEADLINE || parked_until_ns == HOST_NO_DEADLINE) {
        return HOST_NO_DEADLINE;
    }
    return parked_until_ns - waiting->shortest_ns;
}

static int64_t earliest(const struct waiting *waiting, int64_t began_ns)
{
    int64_t deadline = HOST_NO_DEADLINE;
    for (uint32_t i = 0; i < waiting->count; i++) {
        const struct subscription *s = &waiting->list[i];
        if (s->kind == WASI_EVENT_CLOCK) {
            int64_t own = s->relative ? time_add(began_ns, s->timeout) : s->deadline_ns;
            deadline = own < deadline ? own : deadline;
        }
    }
    return deadline;
}

/* Reads every subscription and fills the park's descriptors. */
static uint16_t subscriptions_read(struct host_call *call, struct waiting *waiting)
{
    uint32_t address = call->slots[0].u32, count = call->slots[2].u32;
    if (count == 0 || count > WASI_MAX_SUBSCRIPTIONS) {
        return WASI_EINVAL;
    }
    waiting->event_address = call->slots[1].u32;
    if (guest_range(call->arena, address, (uint64_t)count * SUBSCRIPTION_BYTES, GUEST_READ) ==
            NULL ||
        call_room(call, waiting->event_address, (uint64_t)count * EVENT_BYTES) != WASI_SUCCESS) {
        return WASI_EFAULT;
    }
    call->park->fd_count = 0;
    uint16_t error = WASI_SUCCESS;
    for (uint32_t i = 0; i < count && error == WASI_SUCCESS; i++) {
        error = subscription_read(call, address + SUBSCRIPTION_BYTES * i, waiting);
    }
    return error;
}

enum host_status preview1_poll_oneoff(struct host_call *call)
{
    struct waiting waiting = {.shortest_ns = HOST_NO_DEADLINE};
    int64_t parked_until_ns = call->resumed ? call->park->deadline_ns : HOST_NO_DEADLINE;
    uint32_t count_address = call->slots[3].u32;
    uint16_t error = call_room(call, count_address, 4);
    if (error == WASI_SUCCESS) {
        error = subscriptions_read(call, &waiting);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    if (call->park->fd_count > 0 && poll(call->park->fds, call->park->fd_count, 0) < 0) {
        return call_done(call, wasi_errno(errno));
    }
    int64_t began_ns = began(call, &waiting, parked_until_ns);
    error = events_gather(call, &waiting, began_ns);
    if (error == WASI_SUCCESS && waiting.event_count == 0) {
        call->park->deadline_ns = earliest(&waiting, began_ns);
        return HOST_PARK;
    }
    return call_done(call, error != WASI_SUCCESS
                               ? error
                               : call_store_u32(call, count_address, waiting.event_count));
}
