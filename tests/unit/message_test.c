/* Messages between supervisor and worker (src/node/message.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/message.h"

#include <stdio.h>
#include <stdlib.h>

static struct error failure;
static uint8_t record[MESSAGE_MAX + 64], copy[MESSAGE_MAX];

static void part_set(struct message *m, uint32_t k, const void *bytes, uint32_t len)
{
    m->parts[k] = bytes;
    m->part_len[k] = len;
}

/* One message of every kind, with parts. */
static struct message sample(enum message_kind kind)
{
    static const uint8_t input[300] = {1, 2, 3}, files[] = {3, 0, 0, 0, 'a', '/', 'b', 0, 0, 0, 0};
    struct message m = {.header = {.kind = (uint16_t)kind, .id = 77}};
    switch (kind) {
    case MESSAGE_LOAD:
        snprintf(m.load.tenant, sizeof m.load.tenant, "acme");
        m.load.file_count = 2;
        m.load.has_image = 1;
        m.header.fds = 4;
        part_set(&m, 0, "{}", 2);
        part_set(&m, 1, files, sizeof files);
        break;
    case MESSAGE_CALL:
        m.call.deadline_ns = 5;
        part_set(&m, 0, "GET / HTTP", 10);
        part_set(&m, 1, "one\0two", 8);
        part_set(&m, 2, input, sizeof input);
        break;
    case MESSAGE_ANSWER:
        m.answer.result = -4;
        m.answer.fd = 1;
        m.header.fds = 1;
        part_set(&m, 0, input, 17);
        break;
    case MESSAGE_ALIAS: part_set(&m, 0, "acme/score", 10); break;
    case MESSAGE_LOADED: part_set(&m, 0, "no memory", 9); break;
    case MESSAGE_RESULT:
        m.result.status = CALL_FAILED;
        part_set(&m, 0, "why", 3);
        part_set(&m, 2, input, 5);
        break;
    case MESSAGE_CHILD: m.child.status = CALL_OK; break;
    case MESSAGE_LOG: part_set(&m, 0, "line", 4); break;
    case MESSAGE_METRIC: part_set(&m, 0, "name", 4); break;
    case MESSAGE_REQUEST:
        m.request.kind = REQUEST_STATE;
        part_set(&m, 0, input, sizeof input);
        break;
    default: break;
    }
    return m;
}

static const enum message_kind kinds[] = {
    MESSAGE_LOAD,  MESSAGE_DROP, MESSAGE_CALL,   MESSAGE_CANCEL, MESSAGE_ANSWER,
    MESSAGE_ALIAS, MESSAGE_STOP, MESSAGE_HELLO,  MESSAGE_LOADED, MESSAGE_RESULT,
    MESSAGE_CHILD, MESSAGE_LOG,  MESSAGE_METRIC, MESSAGE_TALLY,  MESSAGE_REQUEST,
};
#define KINDS (sizeof kinds / sizeof *kinds)

static uint32_t encode(struct message *m)
{
    uint32_t len = message_measure(m);
    assert_true(len > 0 && len <= MESSAGE_MAX);
    message_encode(m, record);
    return len;
}

static bool upward(enum message_kind kind)
{
    return kind >= MESSAGE_HELLO;
}

static void every_kind_comes_back_as_it_was(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct message m = sample(kinds[k]), back;
        uint32_t len = encode(&m);
        if (message_decode(record, len, upward(kinds[k]), copy, &back, &failure) < 0)
            fail_msg("kind %d: %s", kinds[k], failure.text);
        assert_memory_equal(&back.header, &m.header, sizeof m.header);
        for (int p = 0; p < 4; p++) {
            assert_int_equal(back.part_len[p], m.part_len[p]);
            if (m.part_len[p])
                assert_memory_equal(back.parts[p], m.parts[p], m.part_len[p]);
        }
        assert_int_equal(message_measure(&back), len);
    }
}

static void a_message_cut_or_lengthened_anywhere_is_refused(void **state)
{
    (void)state;
    struct message back;
    for (size_t k = 0; k < KINDS; k++) {
        struct message m = sample(kinds[k]);
        uint32_t len = encode(&m);
        for (uint32_t cut = 0; cut < len + 9; cut++)
            if (cut != len)
                assert_int_equal(
                    message_decode(record, cut, upward(kinds[k]), copy, &back, &failure),
                    -ATOLL_ECORRUPT);
    }
}

static void a_kind_of_the_other_direction_is_refused(void **state)
{
    (void)state;
    struct message back;
    for (size_t k = 0; k < KINDS; k++) {
        struct message m = sample(kinds[k]);
        uint32_t len = encode(&m);
        assert_int_equal(message_decode(record, len, !upward(kinds[k]), copy, &back, &failure),
                         -ATOLL_ECORRUPT);
    }
}

static void refused(struct message *m, const char *what)
{
    struct message back;
    uint32_t len = message_measure(m);
    message_encode(m, record);
    if (message_decode(record, len, upward(m->header.kind), copy, &back, &failure) == 0)
        fail_msg("%s was taken", what);
}

static void values_without_a_meaning_are_refused(void **state)
{
    (void)state;
    struct message m = sample(MESSAGE_LOAD);
    memset(m.load.function, 'x', sizeof m.load.function);
    refused(&m, "a name without an end");
    m = sample(MESSAGE_LOAD);
    m.load.file_count = 3;
    m.header.fds = 5;
    refused(&m, "a missing path");
    m = sample(MESSAGE_LOAD);
    m.header.fds = 3;
    refused(&m, "a missing descriptor");
    m = sample(MESSAGE_CALL);
    m.call.flags = 8;
    refused(&m, "an unknown flag");
    m = sample(MESSAGE_CALL);
    m.part_len[1] = 7;
    refused(&m, "an argument without an end");
    m = sample(MESSAGE_CALL);
    m.call.input_fd = 2;
    refused(&m, "two descriptors for one input");
    m = sample(MESSAGE_RESULT);
    m.result.status = CALL_RUNNING;
    refused(&m, "a result that is none");
    m = sample(MESSAGE_RESULT);
    m.result.status = CALL_EXPIRED + 1;
    refused(&m, "an unknown status");
    m = sample(MESSAGE_LOG);
    m.log.level = 5;
    refused(&m, "an unknown level");
    m = sample(MESSAGE_METRIC);
    m.metric.kind = 3;
    refused(&m, "an unknown metric");
    m = sample(MESSAGE_REQUEST);
    m.request.kind = 0;
    refused(&m, "no request");
    m = sample(MESSAGE_REQUEST);
    m.request.kind = REQUEST_IDS + 1;
    refused(&m, "an unknown request");
    m = sample(MESSAGE_STOP);
    m.header.fds = 1;
    refused(&m, "a descriptor too many");
}

static void a_large_input_is_in_the_descriptor_and_its_length_in_the_message(void **state)
{
    (void)state;
    struct message m = sample(MESSAGE_CALL), back;
    part_set(&m, 2, NULL, 0);
    m.call.input_fd = 1;
    m.call.input_len = 5ull << 30;
    m.header.fds = 1;
    uint32_t len = encode(&m);
    assert_int_equal(message_decode(record, len, false, copy, &back, &failure), 0);
    assert_int_equal(back.call.input_len, 5ull << 30);
    assert_int_equal(back.part_len[2], 0);
}

static void a_part_beyond_its_bound_has_no_size(void **state)
{
    (void)state;
    static const uint8_t large[MESSAGE_INLINE + 1];
    struct message m = sample(MESSAGE_CALL);
    part_set(&m, 2, large, sizeof large);
    assert_int_equal(message_measure(&m), 0);
    part_set(&m, 2, large, sizeof large - 1);
    assert_true(message_measure(&m) > MESSAGE_INLINE);
    m = sample(MESSAGE_LOG);
    part_set(&m, 0, large, MESSAGE_TEXT_MAX + 1);
    assert_int_equal(message_measure(&m), 0);
}

static void a_call_inside_a_request_decodes_like_one_outside(void **state)
{
    (void)state;
    struct message m = sample(MESSAGE_CALL), back;
    uint32_t len = message_measure(&m) - (uint32_t)sizeof m.header;
    message_encode_body(&m, record);
    assert_int_equal(message_decode_body(MESSAGE_CALL, record, len, 0, &back, &failure), 0);
    assert_int_equal(back.part_len[2], 300);
    assert_int_equal(message_decode_body(MESSAGE_CALL, record, len, 1, &back, &failure),
                     -ATOLL_ECORRUPT);
    assert_int_equal(message_decode_body(MESSAGE_CALL, record, len - 1, 0, &back, &failure),
                     -ATOLL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back_as_it_was),
        cmocka_unit_test(a_message_cut_or_lengthened_anywhere_is_refused),
        cmocka_unit_test(a_kind_of_the_other_direction_is_refused),
        cmocka_unit_test(values_without_a_meaning_are_refused),
        cmocka_unit_test(a_large_input_is_in_the_descriptor_and_its_length_in_the_message),
        cmocka_unit_test(a_part_beyond_its_bound_has_no_size),
        cmocka_unit_test(a_call_inside_a_request_decodes_like_one_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
