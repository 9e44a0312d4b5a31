/*
 * Regions of a call: memory that an import maps and that ends with the call.
 */
#define _GNU_SOURCE
#include "node.h"

#include <stdlib.h>
#include <sys/mman.h>

struct region *region_new(struct native_call *call, enum region_kind kind, size_t bytes)
{
    struct region *region = calloc(1, sizeof *region);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!region || base == MAP_FAILED) {
        if (base != MAP_FAILED)
            munmap(base, bytes);
        free(region);
        return NULL;
    }
    *region = (struct region){
        .next = call->regions,
        .kind = kind,
        .base = base,
        .map_bytes = bytes,
        .address = base,
        .len = bytes,
        .references = 1,
    };
    call->regions = region;
    return region;
}

struct region *region_at(struct native_call *call, enum region_kind kind, uint64_t owner)
{
    struct region *region = call->regions;
    while (region && (region->kind != kind || region->owner != owner))
        region = region->next;
    return region;
}

void region_remove(struct native_call *call, struct region *region)
{
    for (struct region **at = &call->regions; *at; at = &(*at)->next) {
        if (*at == region) {
            *at = region->next;
            munmap(region->base, region->map_bytes);
            free(region);
            return;
        }
    }
}

void regions_drop(struct native_call *call)
{
    while (call->regions)
        region_remove(call, call->regions);
}
