/*
 * Fanning out: one function over many inputs, a bounded number at a time, results in order.
 *
 *     static int32_t add(void *sum, uint32_t index, const struct atoll_result *result) { … }
 *
 *     int32_t status = atoll_map("count", parts, part_count, NULL, add, &sum);
 */
#ifndef ATOLL_MAP_H
#define ATOLL_MAP_H

#include <atoll.h>
#include <string.h>

#define ATOLL_MAP_WINDOW     64u   /* calls in flight, unless the options say otherwise */
#define ATOLL_MAP_WINDOW_MAX 1024u /* more count as this many */

struct atoll_span {
    const void *data;
    uint64_t len;
};

struct atoll_map_opts {
    uint32_t window;                      /* calls in flight; 0: ATOLL_MAP_WINDOW */
    const struct atoll_chain_opts *chain; /* of each call; NULL: none */
};

/* Sees the result of items[index], in the order of items, whatever its status. The output is there
 * for atoll_result_read and atoll_result_map until it returns. Anything but 0 stops the map. */
typedef int32_t (*atoll_map_each)(void *context, uint32_t index, const struct atoll_result *result);

/* Waits for all of `n` children and fills their results. Returns how many did not end OK, or
 * -ATOLL_E…. */
static inline int32_t atoll_await_all(const atoll_call_t *ids, uint32_t n,
                                      struct atoll_result *results)
{
    int32_t ended = atoll_await(ids, n, n, ATOLL_FOREVER, results), bad = 0;
    if (ended < 0)
        return ended;
    for (uint32_t i = 0; i < n; i++)
        bad += results[i].status != ATOLL_ST_OK;
    return bad;
}

/* Ends what still runs of ring places [from, to), and drops its results. */
static inline void atoll_map_stop(const atoll_call_t *ring, uint32_t window, uint32_t from,
                                  uint32_t to)
{
    struct atoll_result result;
    for (uint32_t i = from; i < to; i++)
        (void)atoll_cancel(ring[i % window]);
    for (uint32_t i = from; i < to; i++) {
        (void)atoll_await(&ring[i % window], 1, 1, ATOLL_FOREVER, &result);
        (void)atoll_forget(ring[i % window]);
    }
}

/* Calls `fn` with each item. Returns 0 when every result has been seen; what `each` returned when
 * it stopped the map; or -ATOLL_E… when a call could not be started. In these cases calls in flight
 * are cancelled. Results are forgotten once seen, so that memory stays bounded. */
static inline int32_t atoll_map(const char *fn, const struct atoll_span *items, uint32_t n,
                                const struct atoll_map_opts *opts, atoll_map_each each,
                                void *context)
{
    atoll_call_t ring[ATOLL_MAP_WINDOW_MAX];
    struct atoll_result result;
    uint32_t fnlen = (uint32_t)strlen(fn), started = 0, seen = 0;
    uint32_t window = opts && opts->window ? opts->window : ATOLL_MAP_WINDOW;
    int32_t status = 0;
    if (window > ATOLL_MAP_WINDOW_MAX)
        window = ATOLL_MAP_WINDOW_MAX;
    while (seen < n && status == 0) {
        while (started < n && started - seen < window && status == 0) {
            status = atoll_chain(fn, fnlen, items[started].data, items[started].len,
                                 opts ? opts->chain : NULL, &ring[started % window]);
            started += status == 0;
        }
        if (status == 0) {
            status = atoll_await(&ring[seen % window], 1, 1, ATOLL_FOREVER, &result);
            if (status > 0)
                status = each(context, seen, &result);
            if (status == 0)
                (void)atoll_forget(ring[seen++ % window]);
        }
    }
    atoll_map_stop(ring, window, seen, started);
    return status;
}

#endif
