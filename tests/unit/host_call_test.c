/* Host functions with bad arguments, each with the code that it must answer (src/node/worker). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/bare_worker.h"

#include <stdio.h>
#include <stdlib.h>

static struct bare_worker *worker;

static int begin(void **state)
{
    (void)state;
    worker = bare_worker_create("garbage",
                                "{\"name\":\"acme/garbage\",\"limits\":{\"output\":\"1MiB\"}}");
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

/* Every function with arguments at the edges of everything, many times over. */
static void no_argument_of_any_host_function_hurts(void **state)
{
    (void)state;
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
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
    uint8_t stream[4096];
    uint64_t ended[CALL_STATUSES] = {0};
    for (int round = 0; round < 1500; round++) {
        uint32_t len = 0;
        while (len < 3000) {
            stream[len++] = (uint8_t)random_next();
            for (uint32_t k = 0; k < 9;
                 k++) { /* more than any has: the rest begins the next call */
                uint64_t value = random_next() % 3 ? edges[random_next() % 18] : random_next();
                uint8_t kind = (uint8_t)(random_next() % 10);
                stream[len++] = kind;
                memcpy(stream + len, &value, 8);
                len += kind ? 2 : 8;
            }
        }
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
    assert_true(worker->requests > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_argument_of_any_host_function_hurts, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
