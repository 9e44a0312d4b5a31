/*
 * Cutting a module into shards: runs of functions small enough to compile in parallel and within
 * bounded memory. The cut depends on the module alone, because equal modules must give equal code.
 * A function larger than a shard's share is a shard of its own.
 */
#include "engine/lower.h"

#include <stdlib.h>

struct shard_list {
    struct shard *items;
    uint32_t count, capacity;
};

static int shard_add(struct shard_list *list, uint32_t first, uint32_t count, struct error *e)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct shard *items = realloc(list->items, capacity * sizeof *items);
        if (!items)
            return error_set(e, ATOLL_ENOMEM, "no memory to list the module's shards");
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count] =
        (struct shard){.first = first, .count = count, .thunks = list->count == 0};
    list->count++;
    return 0;
}

int shard_plan(const struct wasm_module *m, struct shard **shards, uint32_t *count, struct error *e)
{
    struct shard_list list = {0};
    uint32_t first = m->imported_functions;
    uint64_t bytes = 0;
    for (uint32_t f = first; f < m->function_count; f++) {
        uint32_t len = m->functions[f].body.len;
        if (f > first && (bytes + len > SHARD_CODE_BYTES || f - first == SHARD_FUNCTIONS)) {
            if (shard_add(&list, first, f - first, e) < 0)
                goto fail;
            first = f;
            bytes = 0;
        }
        bytes += len;
    }
    if (shard_add(&list, first, m->function_count - first, e) < 0)
        goto fail;
    *shards = list.items;
    *count = list.count;
    return 0;

fail:
    free(list.items);
    return e->code;
}
