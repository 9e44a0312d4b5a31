/*
 * A guest without an engine: a piece of memory, and host functions called directly. Defines the
 * guest memory functions of engine/host.h, so that a program links without the runtime's. Included
 * by the tests and the fuzzer of WASI only, once per program; MEMORY_BYTES may be defined before.
 */
#ifndef TESTS_UNIT_WASI_GUEST_H
#define TESTS_UNIT_WASI_GUEST_H

#include "sandbox/wasi/preview1.h"
#include "sandbox/wasi/wasi.h"

#ifndef MEMORY_BYTES
#define MEMORY_BYTES (1u << 20)
#endif

struct arena {
    uint8_t memory[MEMORY_BYTES];
    uint32_t text_end;       /* for guest_text */
    uint32_t lost, lost_end; /* a region whose file was cut off; lost_end 0: none */
};

static struct arena arena;
static struct wasi *wasi;
static struct host_park park;
static struct host_call last_call;
static union host_slot slots[16];

void *guest_range(struct arena *a, uint32_t address, uint64_t len, enum guest_right right)
{
    (void)right;
    bool good = address <= MEMORY_BYTES && len <= MEMORY_BYTES - address;
    return good ? a->memory + address : NULL;
}

int guest_read(struct arena *a, void *to, uint32_t address, size_t len)
{
    const void *from = guest_range(a, address, len, GUEST_READ);
    if (from == NULL || (len > 0 && address < a->lost_end && address + len > a->lost)) {
        return -ATOLL_EFAULT;
    }
    memcpy(to, from, len);
    return 0;
}

int guest_write(struct arena *a, uint32_t address, const void *from, size_t len)
{
    void *to = guest_range(a, address, len, GUEST_WRITE);
    if (to != NULL && len > 0) {
        memcpy(to, from, len);
    }
    return to != NULL ? 0 : -ATOLL_EFAULT;
}

/* Makes the call, or makes it again after a park. Arguments of i32 have garbage above them. */
static inline enum host_status guest_call(host_function function, const uint64_t *args,
                                          size_t count, bool resumed)
{
    last_call = (struct host_call){
        .arena = &arena, .data = wasi, .slots = slots, .park = &park, .resumed = resumed};
    if (!resumed) {
        park.fd_count = 0;
        park.deadline_ns = HOST_NO_DEADLINE;
    }
    memset(slots, 0xee, sizeof slots);
    for (size_t i = 0; i < count; i++) {
        slots[i].u64 = args[i];
    }
    return function(&last_call);
}

#endif
