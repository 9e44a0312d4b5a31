/*
 * A function that does what its input says, for tests of nodes: "ACT [NUMBER]".
 *
 *   echo       the input          spin       never ends             trap     unreachable
 *   fail N     atoll_fail         code N     returns N              exit     output of nothing
 *   fib N      fib(N), a call for each call                         fan N    N calls at once
 *   deep N     a chain of N calls                                   park N   waits for N sleepers
 *   sleep N    waits N ms         out N      N bytes of output      log N    N lines of log
 *   eat N      takes N MiB        mark       whether earlier calls left anything in memory
 *   leave N    starts N endless calls and ends                  fork     as many of its kind as it
 * may again N    has "keeper" do mark N times, one after the other; the sum of what it found flaky
 * N    traps N times, then succeeds  push N     makes every word of "whole" N, durably add N adds 1
 * to the sum at "sum" N times, each time merged
 */
#include <atoll.h>
#include <atoll_text.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CROWD_MAX 100000u

#define ACT_MAX 64

#define WHOLE_WORDS (256u << 10 >> 3)

static char input[ACT_MAX];
static char filler[4096];
static uint8_t marks[256 << 10];

static int32_t number_output(uint64_t number)
{
    char room[24];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_u64(&text, number);
    return atoll_text_output(&text) < 0;
}

static void act_write(char *out, const char *act, uint64_t number)
{
    struct atoll_text text = {.bytes = out, .room = ACT_MAX};
    atoll_text_string(&text, act);
    atoll_text_string(&text, " ");
    atoll_text_u64(&text, number);
    out[text.len] = 0;
}

/* Starts a call of this function with another act. */
static atoll_call_t act_start(const char *act, uint64_t number)
{
    char text[ACT_MAX];
    atoll_call_t id;
    act_write(text, act, number);
    if (atoll_chain("acts", 4, text, strlen(text), NULL, &id) < 0)
        atoll_fail(90, "chain", 5);
    return id;
}

/* The number that a call returned. */
static uint64_t act_result(atoll_call_t id)
{
    struct atoll_result result;
    char text[24] = "";
    if (atoll_await(&id, 1, 1, ATOLL_FOREVER, &result) != 1 || result.status != ATOLL_ST_OK)
        atoll_fail(91, "await", 5);
    if (atoll_result_read(id, 0, text, sizeof text - 1) < 0)
        atoll_fail(92, "result", 6);
    return strtoull(text, NULL, 10);
}

static int32_t fib(uint64_t n)
{
    if (n < 2)
        return number_output(n);
    atoll_call_t a = act_start("fib", n - 1), b = act_start("fib", n - 2);
    return number_output(act_result(a) + act_result(b));
}

/* N calls of the same kind, all awaited; counts those that ended well. */
static int32_t all(const char *act, uint64_t number, uint64_t n)
{
    static atoll_call_t ids[CROWD_MAX];
    static struct atoll_result results[CROWD_MAX];
    static uint64_t offsets[CROWD_MAX + 1];
    static char inputs[CROWD_MAX * 16];
    uint64_t good = 0, at = 0;
    if (n > CROWD_MAX)
        return 1;
    for (uint64_t i = 0; i < n; i++) {
        offsets[i] = at;
        char text[ACT_MAX];
        act_write(text, act, number);
        memcpy(inputs + at, text, strlen(text));
        at += strlen(text);
    }
    offsets[n] = at;
    if (atoll_chain_batch("acts", 4, (uint32_t)n, offsets, inputs, NULL, ids) < 0)
        return 93;
    if (atoll_await(ids, (uint32_t)n, (uint32_t)n, ATOLL_FOREVER, results) != (int32_t)n)
        return 94;
    for (uint64_t i = 0; i < n; i++)
        good += results[i].status == ATOLL_ST_OK;
    return number_output(good);
}

/* Each of those that it starts does so, too. */
static int32_t forks(void)
{
    atoll_call_t id;
    while (atoll_chain("acts", 4, "fork", 4, NULL, &id) == 0) {
    }
    return 0;
}

static int32_t output(uint64_t n)
{
    memset(filler, 'x', sizeof filler);
    for (uint64_t done = 0; done < n;) {
        uint64_t piece = n - done < sizeof filler ? n - done : sizeof filler;
        int64_t rc = atoll_output_write(filler, piece);
        if (rc < 0)
            return (int32_t)-rc;
        done += piece;
    }
    return 0;
}

static int32_t eat(uint64_t mebibytes)
{
    for (uint64_t i = 0; i < mebibytes; i++) {
        volatile char *piece = malloc(1 << 20);
        if (!piece)
            return 95;
        for (size_t at = 0; at < 1 << 20; at += 4096)
            piece[at] = 1;
    }
    return number_output(mebibytes);
}

/* Says how many bytes an earlier call left, and leaves some itself: on the heap, on the stack, in
 * static memory. */
static int32_t mark(void)
{
    uint64_t left = 0;
    volatile uint8_t *heap = malloc(sizeof marks);
    volatile uint8_t stack[16384];
    for (size_t i = 0; i < sizeof marks; i++)
        left += marks[i] == 0xaa;
    for (size_t i = 0; i < sizeof marks; i++)
        left += heap[i] == 0xbb;
    for (size_t i = 0; i < sizeof stack; i++)
        left += stack[i] == 0xcc;
    memset(marks, 0xaa, sizeof marks);
    for (size_t i = 0; i < sizeof marks; i++)
        heap[i] = 0xbb;
    for (size_t i = 0; i < sizeof stack; i++)
        stack[i] = 0xcc;
    return number_output(left);
}

/* Fails until it was tried often enough; the tries are counted outside of the call. */
static int32_t flaky(uint64_t failures)
{
    atoll_h tries = atoll_obj_open(ATOLL_O_COUNTER, "tries", 5, 0);
    int64_t count =
        tries < 0 ? tries
                  : atoll_obj_op(tries, ATOLL_COUNTER_ADD, 1, 0, NULL, 0, NULL, 0, ATOLL_FOREVER);
    if (count < 0)
        return 96;
    if ((uint64_t)count % (failures + 1) != 0)
        __builtin_trap();
    return number_output((uint64_t)count);
}

/* A value that is either all of one push or all of another. */
static int32_t push(uint64_t number)
{
    atoll_addr at;
    atoll_h h = atoll_state_open("whole", 5, WHOLE_WORDS * 8ull,
                                 ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (h < 0 || atoll_state_map(h, 0, WHOLE_WORDS * 8ull, ATOLL_S_READ | ATOLL_S_WRITE, &at) < 0)
        return 97;
    uint64_t *words = atoll_pointer(at);
    for (uint32_t i = 0; i < WHOLE_WORDS; i++)
        words[i] = number;
    int64_t version = atoll_state_push(h, 0, 0, ATOLL_PUSH_DURABLE, 0);
    return version < 0 ? 98 : number_output((uint64_t)version);
}

/* Many calls may do this at a time: the additions are summed up by the pushes. */
static int32_t add(uint64_t times)
{
    atoll_addr at;
    atoll_h h = atoll_state_open("sum", 3, 8, ATOLL_S_READ | ATOLL_S_WRITE | ATOLL_S_CREATE);
    if (h < 0 || atoll_state_merge(h, 0, 8, ATOLL_M_ADD_I64) < 0 ||
        atoll_state_map(h, 0, 8, ATOLL_S_READ | ATOLL_S_WRITE, &at) < 0)
        return 97;
    for (uint64_t i = 0; i < times; i++)
        __atomic_fetch_add((int64_t *)atoll_pointer(at), 1, __ATOMIC_RELAXED);
    if (atoll_state_dirty(h, 0, 8) < 0)
        return 98;
    return atoll_state_push(h, 0, 8, ATOLL_PUSH_DIRTY, 0) < 0 ? 98 : number_output(times);
}

static int32_t again(uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        atoll_call_t id;
        if (atoll_chain("keeper", 6, "mark", 4, NULL, &id) < 0)
            return 90;
        sum += act_result(id);
    }
    return number_output(sum);
}

ATOLL_FUNCTION(acts)
{
    int64_t len = atoll_input_read(0, input, sizeof input - 1);
    if (len < 0)
        return 1;
    if (strncmp(input, "echo", 4) == 0)
        return atoll_output_write(input, (uint64_t)len) < 0;
    char *space = strchr(input, ' ');
    uint64_t n = space ? strtoull(space + 1, NULL, 10) : 0;
    if (space)
        *space = 0;
    const char *act = input;
    if (strcmp(act, "spin") == 0)
        for (volatile uint64_t i = 0;; i++)
            ;
    if (strcmp(act, "trap") == 0)
        __builtin_trap();
    if (strcmp(act, "fail") == 0)
        atoll_fail((int32_t)n, "as asked", 8);
    if (strcmp(act, "code") == 0)
        return (int32_t)n;
    if (strcmp(act, "exit") == 0)
        return 0;
    if (strcmp(act, "fib") == 0)
        return fib(n);
    if (strcmp(act, "fan") == 0)
        return all("exit", 0, n);
    if (strcmp(act, "park") == 0)
        return all("sleep", 200, n);
    if (strcmp(act, "leave") == 0) {
        for (uint64_t i = 0; i < n; i++)
            act_start("spin", 0);
        return 0;
    }
    if (strcmp(act, "fork") == 0)
        return forks();
    if (strcmp(act, "deep") == 0)
        return number_output(n ? act_result(act_start("deep", n - 1)) + 1 : 0);
    if (strcmp(act, "sleep") == 0)
        return poll(NULL, 0, (int)n) < 0;
    if (strcmp(act, "out") == 0)
        return output(n);
    if (strcmp(act, "log") == 0) {
        for (uint64_t i = 0; i < n; i++)
            atoll_log(2, "a line of the log", 17);
        return 0;
    }
    if (strcmp(act, "eat") == 0)
        return eat(n);
    if (strcmp(act, "mark") == 0)
        return mark();
    if (strcmp(act, "again") == 0)
        return again(n);
    if (strcmp(act, "flaky") == 0)
        return flaky(n);
    if (strcmp(act, "push") == 0)
        return push(n);
    if (strcmp(act, "add") == 0)
        return add(n);
    return 99;
}
