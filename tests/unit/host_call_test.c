/* Host functions with bad arguments, each with the code that it must answer (src/node/worker). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/bare_worker.h"
#include "../guest/functions/garbage.h"

#include <stdio.h>
#include <stdlib.h>

static struct bare_worker *worker;

static int begin(void **state)
{
    (void)state;
    worker =
        bare_worker_create("garbage", "{\"name\":\"acme/garbage\",\"limits\":{\"output\":\"1MiB\"},"
                                      "\"state\":[{\"prefix\":\"\",\"rights\":\"rwld\"}]}");
    return 0;
}

static uint64_t state_of_random = 88172645463325252ull;

static uint64_t random_next(void)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return state_of_random;
}

static uint64_t edge(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     4, /* the length of the name that guests have */
                                     7,
                                     64,
                                     4096,
                                     65535,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xa0000000,
                                     0xfffeffff,
                                     0xffffffff,
                                     0x100000000,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0xffffffffffffffff,
                                     0xfffffffffffff000};
    return random_next() % 3 ? edges[random_next() % (sizeof edges / sizeof *edges)]
                             : random_next();
}

/* One call with arguments at the edges; its bytes. */
static uint32_t call_put(uint8_t *to)
{
    uint32_t function = (uint32_t)(random_next() % sizeof garbage_parameters), len = 1;
    if (function == GARBAGE_FAIL && random_next() % 8)
        function = 0;
    to[0] = (uint8_t)function;
    for (uint32_t k = 0; k < garbage_parameters[function]; k++) {
        uint64_t value = edge();
        uint8_t kind = (uint8_t)(random_next() % GARBAGE_KINDS);
        to[len++] = kind;
        memcpy(to + len, &value, 8);
        len += kind == GARBAGE_RAW ? 8 : 2;
    }
    return len;
}

static void no_argument_of_any_host_function_hurts(void **state)
{
    (void)state;
    uint8_t stream[4096];
    uint64_t ended[CALL_STATUSES] = {0};
    for (int round = 0; round < 1500; round++) {
        uint32_t len = 0;
        while (len < 3000)
            len += call_put(stream + len);
        bare_worker_run(worker, stream, len, round & 1 ? "GET /\n" : NULL);
        ended[worker->result.status]++;
        bare_worker_run(worker, "", 0, NULL);
        assert_int_equal(worker->result.status, CALL_OK);
        assert_int_equal(load_u64(worker->output), 0);
        assert_int_equal(worker->worker.slots_used, 0);
        assert_int_equal(worker->worker.memory_used, 0);
    }
    /* The streams did get somewhere: some to their end, some to atoll_fail. */
    assert_true(ended[CALL_OK] > 10);
    assert_true(ended[CALL_FAILED] > 10);
    assert_true(worker->requests > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_argument_of_any_host_function_hurts, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
