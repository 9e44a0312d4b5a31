/* Records between a worker and the local tier: what is written is read, anything else is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "state/wire.h"

#include <cmocka.h>

static uint8_t record[STATE_REQUEST_MAX + 16];

static const struct state_request open_request = {
    .op = STATE_OP_OPEN,
    .flags = STATE_OPEN_READ | STATE_OPEN_CREATE,
    .slot = 7,
    .gen = 9,
    .len = 1ull << 40,
    .key = (const uint8_t *)"a/key",
    .key_len = 5,
};

static int decode(uint32_t len, struct state_request *out)
{
    struct error e;
    return state_request_decode(record, len, out, &e);
}

static void a_request_comes_out_as_it_went_in(void **state)
{
    (void)state;
    struct state_request r = {.op = STATE_OP_OBJECT,
                              .len = 123456,
                              .timeout_ns = UINT64_MAX,
                              .a = INT64_MIN,
                              .b = -1,
                              .mode = 6,
                              .number = 77,
                              .key = (const uint8_t *)"object",
                              .key_len = 6,
                              .data = (const uint8_t *)"\0data",
                              .data_len = 5},
                         out;
    uint32_t len = state_request_encode(&r, record);
    assert_int_equal(decode(len, &out), 0);
    assert_int_equal(out.op, r.op);
    assert_int_equal(out.len, r.len);
    assert_true(out.timeout_ns == r.timeout_ns && out.a == r.a && out.b == r.b);
    assert_int_equal(out.mode, 6);
    assert_int_equal(out.number, 77);
    assert_int_equal(out.key_len, 6);
    assert_memory_equal(out.key, "object", 6);
    assert_int_equal(out.data_len, 5);
    assert_memory_equal(out.data, "\0data", 5);
}

static void a_request_of_any_other_length_is_refused(void **state)
{
    (void)state;
    struct state_request out;
    uint32_t len = state_request_encode(&open_request, record);
    for (uint32_t n = 0; n < len + 16; n++)
        assert_int_equal(decode(n, &out), n == len ? 0 : -ATOLL_EINVAL);
}

static void a_field_that_the_operation_does_not_have_is_refused(void **state)
{
    (void)state;
    struct state_request out;
    /* Offsets of op, slot and gen, off, version, timeout, a, b, number, zero: of CLOSE. */
    static const uint32_t fields[] = {16, 24, 32, 40, 48, 56, 64, 68, 76};
    const struct state_request close = {.op = STATE_OP_CLOSE, .slot = 1, .gen = 1};
    for (uint32_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        uint32_t len = state_request_encode(&close, record);
        assert_int_equal(decode(len, &out), 0);
        record[fields[i]] = 1;
        assert_int_equal(decode(len, &out), -ATOLL_EINVAL);
    }
}

static void unknown_operations_flags_and_numbers_are_refused(void **state)
{
    (void)state;
    struct state_request r = open_request, out;
    uint32_t len = state_request_encode(&r, record);
    record[0] = STATE_OPS;
    assert_int_equal(decode(len, &out), -ATOLL_EINVAL);
    record[0] = 0;
    assert_int_equal(decode(len, &out), -ATOLL_EINVAL);
    r.flags = 256;
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
    r = (struct state_request){.op = STATE_OP_MERGE, .gen = 1, .mode = 8};
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
    r = (struct state_request){.op = STATE_OP_LOCK, .gen = 1, .number = 2};
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
    r = (struct state_request){.op = STATE_OP_PULL, .gen = 0};
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
}

static void keys_without_bytes_or_with_a_nul_are_refused(void **state)
{
    (void)state;
    struct state_request r = open_request, out;
    r.key_len = 0;
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
    r.key = (const uint8_t *)"a\0b";
    r.key_len = 3;
    assert_int_equal(decode(state_request_encode(&r, record), &out), -ATOLL_EINVAL);
    r = (struct state_request){.op = STATE_OP_LIST};
    assert_int_equal(decode(state_request_encode(&r, record), &out), 0);
}

static void an_answer_comes_out_as_it_went_in_and_no_other_way(void **state)
{
    (void)state;
    static uint8_t answer[STATE_ANSWER_MAX];
    uint64_t lens[2] = {3, UINT64_MAX};
    struct state_reply r = {.slot = 1,
                            .gen = 2,
                            .size = 3,
                            .version = 4,
                            .moved = 5,
                            .number = 6,
                            .count = 2,
                            .data_len = 3,
                            .lens = (const uint8_t *)lens,
                            .data = (const uint8_t *)"abc"},
                       out;
    struct error e;
    uint32_t len = state_reply_encode(&r, answer);
    for (uint32_t n = 1; n < len + 8; n++)
        assert_int_equal(state_reply_decode(answer, n, &out, &e), n == len ? 0 : -ATOLL_ECORRUPT);
    assert_int_equal(state_reply_decode(answer, len, &out, &e), 0);
    assert_true(out.slot == 1 && out.gen == 2 && out.size == 3 && out.version == 4 &&
                out.moved == 5 && out.number == 6);
    assert_true(load_u64(out.lens + 8) == UINT64_MAX);
    assert_memory_equal(out.data, "abc", 3);
    assert_int_equal(state_reply_decode(answer, 0, &out, &e), 0);
    assert_int_equal(out.gen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_out_as_it_went_in),
        cmocka_unit_test(a_request_of_any_other_length_is_refused),
        cmocka_unit_test(a_field_that_the_operation_does_not_have_is_refused),
        cmocka_unit_test(unknown_operations_flags_and_numbers_are_refused),
        cmocka_unit_test(keys_without_bytes_or_with_a_nul_are_refused),
        cmocka_unit_test(an_answer_comes_out_as_it_went_in_and_no_other_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
