/*
 * Measures from inside what a call can do; `atoll bench` calls it with "ACT NUMBER". What puts out
 * times puts out one u32 per repetition, in nanoseconds.
 *
 *   chain N     times: chains the function "noop" and awaits it
 *   direct N    times: the same of "ready", which has instances waiting that were reset before
 *   kept N      times: the same of "kept", which is not reset
 *   fresh N     times: never in a used instance
 *   fan N       N calls at once
 *   fib N       fib(N), a call for each call
 *   map N       atoll_map over N items
 *   open N      times: opens and closes a value of 1 GiB
 *   attach N    times: maps all of it and reads a byte
 *   hold N      reads all of a value of 256 MiB and waits N ms with it mapped
 *   add N       adds 1 to "sum" N times, by merging
 *   count N     adds 1 to "count" N times, by version
 */
#include <atoll.h>
#include <atoll_map.h>
#include <atoll_text.h>

#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMES_MAX      20000u
#define CROWD_MAX      100000u
#define LARGE          (1ull << 30)
#define SHARED         (256ull << 20)
#define PUSH_EVERY     10000u
#define DIRECT_AT_ONCE 8u /* fewer than "ready" has instances */

static char input[64];
static uint32_t times[TIMES_MAX];
static atoll_call_t ids[CROWD_MAX];
static struct atoll_result results[CROWD_MAX];
static uint64_t offsets[CROWD_MAX + 1];
static struct atoll_span items[CROWD_MAX];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int32_t times_output(uint32_t n)
{
    return atoll_output_write(times, n * sizeof *times) < 0;
}

static int32_t number_output(uint64_t number)
{
    char room[24];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_u64(&text, number);
    return atoll_text_output(&text) < 0;
}

/* ---- chaining ---- */

/* Whether one call was made and ended well; how long that took. */
static bool chain_one(const char *name, uint32_t flags, uint32_t *took)
{
    struct atoll_chain_opts options = {.size = sizeof options, .flags = flags};
    struct atoll_result result;
    atoll_call_t id;
    uint64_t begun = now_ns();
    if (atoll_chain(name, (uint32_t)strlen(name), NULL, 0, &options, &id) < 0 ||
        atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) != 1 || result.status != ATOLL_ST_OK)
        return false;
    *took = (uint32_t)(now_ns() - begun);
    (void)atoll_forget(id);
    return true;
}

static int32_t chain(const char *name, uint32_t n, uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++)
        if (!chain_one(name, flags, &times[i]))
            return 90;
    return times_output(n);
}

/* A few at a time, and then a pause in which threads without work reset what was used. */
static int32_t direct(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i % DIRECT_AT_ONCE == 0)
            poll(NULL, 0, 1);
        if (!chain_one("ready", 0, &times[i]))
            return 90;
    }
    return times_output(n);
}

static int32_t fan(uint32_t n)
{
    if (n > CROWD_MAX || atoll_chain_batch("noop", 4, n, offsets, "", NULL, ids) < 0)
        return 91;
    return atoll_await_all(ids, n, results) == 0 ? number_output(n) : 92;
}

static atoll_call_t fib_start(uint64_t n)
{
    char room[32];
    atoll_call_t id;
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_string(&text, "fib ");
    atoll_text_u64(&text, n);
    if (atoll_chain("probe", 5, room, text.len, NULL, &id) < 0)
        atoll_fail(93, "chain", 5);
    return id;
}

static uint64_t fib_result(atoll_call_t id)
{
    char text[24] = "";
    struct atoll_result result;
    if (atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) != 1 || result.status != ATOLL_ST_OK ||
        atoll_result_read(id, 0, text, sizeof text - 1) < 0)
        atoll_fail(94, "await", 5);
    return strtoull(text, NULL, 10);
}

static int32_t fib(uint64_t n)
{
    if (n < 2)
        return number_output(n);
    atoll_call_t a = fib_start(n - 1), b = fib_start(n - 2);
    return number_output(fib_result(a) + fib_result(b));
}

static int32_t map_each(void *context, uint32_t index, const struct atoll_result *result)
{
    (void)index;
    *(uint64_t *)context += result->status == ATOLL_ST_OK;
    return 0;
}

static int32_t map(uint32_t n)
{
    uint64_t good = 0;
    if (n > CROWD_MAX || atoll_map("noop", items, n, NULL, map_each, &good) < 0)
        return 95;
    return number_output(good);
}

/* ---- state ---- */

static atoll_h large_open(void)
{
    return atoll_state_open("large", 5, LARGE, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
}

static int32_t open_close(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t begun = now_ns();
        atoll_h h = large_open();
        if (h < 0 || atoll_state_close(h) < 0)
            return 96;
        times[i] = (uint32_t)(now_ns() - begun);
    }
    return times_output(n);
}

static int32_t attach(uint32_t n)
{
    atoll_addr at;
    atoll_h h = large_open();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t begun = now_ns();
        if (atoll_state_map(h, 0, LARGE, ATOLL_S_READ, &at) < 0)
            return 96;
        (void)*(volatile uint8_t *)atoll_pointer(at);
        times[i] = (uint32_t)(now_ns() - begun);
        if (atoll_state_unmap(at) < 0)
            return 96;
    }
    return times_output(n);
}

static int32_t hold(uint32_t ms)
{
    atoll_addr at;
    uint64_t sum = 0;
    atoll_h h =
        atoll_state_open("shared", 6, SHARED, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (h < 0 || atoll_state_map(h, 0, SHARED, ATOLL_S_READ, &at) < 0)
        return 96;
    const volatile uint8_t *bytes = atoll_pointer(at);
    for (uint64_t i = 0; i < SHARED; i += 4096)
        sum += bytes[i];
    (void)poll(NULL, 0, (int)ms);
    return number_output(sum);
}

static int32_t add(uint32_t n)
{
    atoll_addr at;
    atoll_h h = atoll_state_open("sum", 3, 8, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (h < 0 || atoll_state_merge(h, 0, 8, ATOLL_M_ADD_I64) < 0 ||
        atoll_state_map(h, 0, 8, ATOLL_S_READ | ATOLL_S_WRITE, &at) < 0)
        return 97;
    for (uint32_t i = 1; i <= n; i++) {
        __atomic_fetch_add((int64_t *)atoll_pointer(at), 1, __ATOMIC_RELAXED);
        if ((i % PUSH_EVERY == 0 || i == n) &&
            (atoll_state_dirty(h, 0, 8) < 0 || atoll_state_push(h, 0, 8, ATOLL_PUSH_DIRTY, 0) < 0))
            return 98;
    }
    return number_output(n);
}

/* A global lock would do as well; this is the way without one. */
static int32_t count(uint32_t n)
{
    uint64_t tries = 0, value;
    atoll_h h = atoll_state_open("count", 5, 8, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (h < 0)
        return 97;
    for (uint32_t done = 0; done < n; tries++) {
        /* The bytes here are those of all calls of the node: one at a time changes them. */
        if (atoll_state_lock(h, ATOLL_LOCK_WRITE, ATOLL_SCOPE_NODE, ATOLL_FOREVER) < 0 ||
            atoll_state_pull(h, 0, 8, ATOLL_PULL_DISCARD) < 0 ||
            atoll_state_read(h, 0, &value, 8) != 8)
            return 98;
        int64_t version = atoll_state_version(h, 0);
        value++;
        if (version < 0 || atoll_state_write(h, 0, &value, 8) != 8)
            return 99;
        done += atoll_state_push(h, 0, 8, ATOLL_PUSH_IFVER, (uint64_t)version) > 0;
        (void)atoll_state_unlock(h, ATOLL_SCOPE_NODE);
    }
    return number_output(tries);
}

ATOLL_FUNCTION(probe)
{
    int64_t len = atoll_input_read(0, input, sizeof input - 1);
    char *space = len > 0 ? strchr(input, ' ') : NULL;
    if (!space)
        return 1;
    uint32_t n = (uint32_t)strtoul(space + 1, NULL, 10);
    *space = 0;
    uint32_t some = n < TIMES_MAX ? n : TIMES_MAX;
    if (strcmp(input, "chain") == 0)
        return chain("noop", some, 0);
    if (strcmp(input, "direct") == 0)
        return direct(some);
    if (strcmp(input, "kept") == 0)
        return chain("kept", some, 0);
    if (strcmp(input, "fresh") == 0)
        return chain("noop", some, ATOLL_CHAIN_FRESH);
    if (strcmp(input, "fan") == 0)
        return fan(n);
    if (strcmp(input, "fib") == 0)
        return fib(n);
    if (strcmp(input, "map") == 0)
        return map(n);
    if (strcmp(input, "open") == 0)
        return open_close(some);
    if (strcmp(input, "attach") == 0)
        return attach(some);
    if (strcmp(input, "hold") == 0)
        return hold(n);
    if (strcmp(input, "add") == 0)
        return add(n);
    if (strcmp(input, "count") == 0)
        return count(n);
    return 2;
}
