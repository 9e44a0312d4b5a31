/* Slots of the address space, for arenas (abi.h draws one). Thread-safe. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "engine/arena.h"

/* A reserved slot with its gate pages. */
struct slot {
    uint32_t index;
    uint8_t *stack_low, *stack_high; /* a stack that is mapped in it, empty; NULL: none */
};

uint8_t *slot_address(uint32_t index);
/* Takes a slot (SLOT_ANY: a random free one). -ATOLL_EBUSY when the given one is taken,
 * -ATOLL_ENOMEM when slots or mappings are exhausted. engine_initialize has succeeded. */
int slot_take(uint32_t wanted, struct slot *out, struct error *e);
/* Drops everything in a slot but its gate pages and stack, and keeps or frees it. */
void slot_give_back(const struct slot *);
/* Makes a range inaccessible again, its contents gone; false when the kernel refuses. */
bool slot_close(uint8_t *start, const uint8_t *end);

#endif
