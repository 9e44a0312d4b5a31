/*
 * Shared regions: memory files mapped into the window [WINDOW_START, WINDOW_END) of memory 0.
 *
 * A region is an ordinary guest range: plain loads and stores reach it, page protection enforces
 * its rights. One allocator places all of them: first fit, 64 KiB granularity, a 64 KiB unmapped
 * gap behind each. Regions are in no snapshot; a captured image records name, part and place.
 */
#ifndef SANDBOX_REGION_H
#define SANDBOX_REGION_H

#include "engine/arena.h"

#define REGION_ALIGNMENT (64u << 10)

/* Maps len bytes (whole pages) at offset (multiple of 4096) of a memory file, with rights of enum
 * guest_right (a writable region is readable). name: by which a captured instance re-attaches it,
 * at most 63 bytes. The same part with the same rights mapped again gives the same address
 * (counted). The descriptor may be closed afterwards. Seal the file against shrinking
 * (F_SEAL_SHRINK), or a truncation becomes a trap. */
int region_map(struct arena *, const char *name, int fd, uint64_t offset, uint64_t len,
               uint32_t rights, uint32_t *address, struct error *e);
/* The same at a given address, as a captured instance had it. */
int region_map_at(struct arena *, const char *name, int fd, uint64_t offset, uint64_t len,
                  uint32_t rights, uint32_t address, struct error *e);

/* A memory file that was looked at once, for those who map it often. */
struct region_file {
    int fd; /* borrowed */
    uint64_t device, inode;
};

int region_file_look(int fd, struct region_file *, struct error *e);
/* As region_map, without looking at the file: the caller knows that it is long enough (what lies
 * behind its end traps when it is touched). */
int region_map_file(struct arena *, const char *name, const struct region_file *, uint64_t offset,
                    uint64_t len, uint32_t rights, uint32_t *address, struct error *e);

int region_unmap(struct arena *, uint32_t address, struct error *e);
void region_unmap_all(struct arena *);

#endif
