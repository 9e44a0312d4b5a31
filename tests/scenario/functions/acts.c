/*
 * A function that does what its input says, for tests of nodes: "ACT [NUMBER]".
 *
 *   echo       the input          spin       never ends             trap     unreachable
 *   fail N     atoll_fail         code N     returns N              exit     output of nothing
 *   fib N      fib(N), a call for each call                         fan N    N calls at once
 *   deep N     a chain of N calls                                   park N   waits for N sleepers
 *   sleep N    waits N ms         out N      N bytes of output      log N    N lines of log
 *   eat N      takes N MiB        mark       whether earlier calls left anything in memory
 */
#include <atoll.h>
#include <atoll_text.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CROWD_MAX 100000u

#define ACT_MAX 64

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

ATOLL_FUNCTION(acts)
{
    int64_t len = atoll_input_read(0, input, sizeof input - 1);
    if (len < 0)
        return 1;
    char *space = strchr(input, ' ');
    uint64_t n = space ? strtoull(space + 1, NULL, 10) : 0;
    if (space)
        *space = 0;
    const char *act = input;
    if (strcmp(act, "echo") == 0)
        return atoll_output_write(input, (uint64_t)len) < 0;
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
    return 99;
}
