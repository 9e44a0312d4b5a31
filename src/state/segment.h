/*
 * A tenant's slots: what every worker of the tenant may know of a value without asking.
 *
 * One memory file per tenant holds STATE_SLOTS_MAX slots of 64 bytes. The supervisor writes it;
 * workers map it for reading and cannot do more (the file is sealed against new writable mappings
 * and against changes of its size). A slot belongs to one value of the local tier while its gen
 * stays the same; a handle is a slot and a gen, so a slot that was given to another value is
 * noticed.
 *
 * A slot is written under a sequence number that is odd meanwhile; a reader takes a copy and tries
 * again when the number was odd or has changed.
 */
#ifndef STATE_SEGMENT_H
#define STATE_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STATE_SLOTS_MAX 65536u

enum state_slot_flag {
    STATE_SLOT_COMPLETE = 1, /* every byte is here: map and read without asking */
    STATE_SLOT_STALE = 2,    /* deleted, here or elsewhere */
};

struct state_slot {
    _Atomic uint32_t sequence;
    _Atomic uint32_t gen; /* 0: free */
    _Atomic uint64_t size, version;
    _Atomic uint32_t flags;
    uint32_t pad[9];
};
_Static_assert(sizeof(struct state_slot) == 64, "a slot is one cache line");

struct state_slot_view {
    uint32_t gen, flags;
    uint64_t size, version;
};

/* False after many tries, when the writer stopped in the middle: ask instead. */
static inline bool state_slot_read(const struct state_slot *slot, struct state_slot_view *out)
{
    for (int tries = 0; tries < 1000; tries++) {
        uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        out->gen = atomic_load_explicit(&slot->gen, memory_order_relaxed);
        out->flags = atomic_load_explicit(&slot->flags, memory_order_relaxed);
        out->size = atomic_load_explicit(&slot->size, memory_order_relaxed);
        out->version = atomic_load_explicit(&slot->version, memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&slot->sequence, memory_order_relaxed) == before)
            return true;
    }
    return false;
}

static inline void state_slot_write(struct state_slot *slot, const struct state_slot_view *view)
{
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&slot->gen, view->gen, memory_order_relaxed);
    atomic_store_explicit(&slot->flags, view->flags, memory_order_relaxed);
    atomic_store_explicit(&slot->size, view->size, memory_order_relaxed);
    atomic_store_explicit(&slot->version, view->version, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
}

#endif
