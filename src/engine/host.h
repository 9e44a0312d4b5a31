/*
 * What a host function sees of the guest that calls it.
 *
 * It runs on the worker's host stack. It either finishes (HOST_DONE, results in the slots), or
 * parks (HOST_PARK): it has done nothing yet, says in call->park what it waits for, and is called
 * again, with the same arguments and call->resumed set, when that happens or the deadline passes.
 * Because a parked call has no state but its arguments and its deadline, it can be captured and go
 * on in another process. Never hold a lock or a pointer into guest memory across a park.
 */
#ifndef ENGINE_HOST_H
#define ENGINE_HOST_H

#include "base/error.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum host_status {
    HOST_DONE,
    HOST_PARK,
    HOST_EXIT, /* end the program; call->exit_code says how. Guest frames are dropped */
    HOST_TRAP, /* call->message says why (shown to people) */
};

/* 16 bytes of an argument or result. i32 in the low 4 bytes (upper bits undefined on arguments;
 * host functions write zero), references in 8. */
union host_slot {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    float f32;
    double f64;
    uint8_t bytes[16];
};

#define HOST_NO_DEADLINE INT64_MAX
#define HOST_PARK_FDS    256

/* What a parked call waits for: any of the descriptors, or the deadline. */
struct host_park {
    int64_t deadline_ns; /* CLOCK_MONOTONIC; HOST_NO_DEADLINE. Kept while the call stays parked */
    uint32_t fd_count;
    struct pollfd fds[HOST_PARK_FDS];
};

struct host_call {
    struct arena *arena;
    void *data;             /* given when the import was bound */
    union host_slot *slots; /* arguments in, results out; the same storage */
    struct host_park *park;
    bool resumed;      /* called again after a park */
    int32_t exit_code; /* with HOST_EXIT */
    char message[160]; /* with HOST_TRAP */
};

typedef enum host_status (*host_function)(struct host_call *);

/*
 * Guest memory. A range is good iff it lies wholly in [0, memory size) or wholly in one mapped
 * region of the window with the needed right. Other instances may write to regions at any moment:
 * copy in once, then check the copy.
 */
enum guest_right { GUEST_READ = 1, GUEST_WRITE = 2 };

/* The host address of a good range, else NULL (len 0 is good at any address <= memory size). For
 * handing to system calls, which answer EFAULT on trouble. Not to be dereferenced by host code:
 * pages may vanish (truncated region); use the copies below. */
void *guest_range(struct arena *, uint32_t address, uint64_t len, enum guest_right);
/* 0 or -ATOLL_EFAULT; survive pages that vanish. */
int guest_read(struct arena *, void *to, uint32_t address, size_t len);
int guest_write(struct arena *, uint32_t address, const void *from, size_t len);

#endif
