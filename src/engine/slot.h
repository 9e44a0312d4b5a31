/* Slots of the address space, for arenas (abi.h draws one). Thread-safe. */
#ifndef ENGINE_SLOT_H
#define ENGINE_SLOT_H

#include "base/error.h"
#include "crypto/hash.h"

#include <stdbool.h>
#include <stdint.h>

/* Code that is mapped at ARENA_IMAGES of a slot; size 0: none. */
struct slot_code {
    uint8_t id[HASH_LEN]; /* of the artefact */
    uint32_t size;
};

bool slot_code_equal(const struct slot_code *, const struct slot_code *);

/* A reserved slot with its gate pages, and what its last arena left mapped in it. */
struct slot {
    uint32_t index;
    uint8_t *stack_low, *stack_high; /* a stack, empty; NULL: none */
    struct slot_code code;
    /* Offsets of a private mapping of a file, without private pages: tables, fields and memory of
     * an instance of that code. 0, 0: none. The source tells which file it is, 0: unknown. */
    uint64_t data_low, data_high, data_source;
};

uint8_t *slot_address(uint32_t index);
/* Takes a slot: the wanted one, or with SLOT_ANY one that is free: of those kept, one that has the
 * code mapped (only such a one comes with data), else any; else a random one. code may be NULL.
 * -ATOLL_EBUSY when the wanted one is taken, -ATOLL_ENOMEM when slots or mappings are exhausted.
 * engine_initialize has succeeded. */
int slot_take(uint32_t wanted, const struct slot_code *code, struct slot *out, struct error *e);
/* Drops everything in a slot but its gate pages, stack, code and data, and keeps or frees it. What
 * was mapped lies below these offsets in the slot: code images, and tables, fields, memories. */
void slot_give_back(const struct slot *, uint64_t images_end, uint64_t data_end);
/* Makes a range inaccessible again, its contents gone; false when the kernel refuses. */
bool slot_close(uint8_t *start, const uint8_t *end);

#endif
