/* When a client of the ledger sends again, asks for receipts, and gives up (src/ledger/client). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_client_world.h"

/* ---- time ---- */

static void what_is_not_answered_is_sent_to_all_with_the_same_bytes(void **state)
{
    (void)state;
    struct buffer first = {0};
    client_open(1, 0, 0);
    call_sent();
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].to, 0);
    assert_true(buffer_append(&first, sent[0].message.data, sent[0].message.len));
    sent_count = 0;
    /* Nothing at all was answered: asking for receipts would be of no use. */
    wait_us(RETRY_US - 1);
    assert_int_equal(sent_count, 0);
    wait_us(RETRY_US / 8 + 1);
    assert_int_equal(sent_count, 4);
    for (uint16_t i = 0; i < 4; i++) {
        assert_int_equal(sent[i].to, i);
        assert_true(slice_equal(slice_of_buffer(&sent[i].message), slice_of_buffer(&first)));
    }
    client_close();
    buffer_free(&first);
}

static unsigned fetches_sent(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sent_count; i++)
        count +=
            ledger_message_type(slice_of_buffer(&sent[i].message)) == LEDGER_MESSAGE_FETCH_RECEIPT;
    return count;
}

static void a_replyx_that_does_not_come_is_asked_for_as_a_receipt(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    call_executed(&b, 1);
    now_us += 1000;
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    wait_us(RETRY_US / 2 + RETRY_US / 16);
    assert_int_equal(fetches_sent(), 1);
    /* From one replica after the other. */
    uint16_t to = sent[0].to;
    sent_count = 0;
    wait_us(RETRY_US / 4);
    wait_us(RETRY_US / 4 - RETRY_US / 8);
    for (unsigned i = 0; i < sent_count; i++)
        assert_true(sent[i].to != to);
    receipt_from(&b, 2, 0, false);
    assert_int_equal(ended_count, 1);
    client_close();
    batch_free(&b);
}

static void a_call_that_later_ones_overtook_is_asked_for_soon(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    /* Answers take a millisecond or two. */
    for (uint64_t s = 1; s < 100; s++) {
        call_executed(&b, s);
        now_us += 1000 + s % 2 * 1000;
        quorum_answers(&b);
        batch_free(&b);
    }
    call(0); /* goes unanswered */
    ledger_client_settle(client);
    now_us += 500;
    sent_count = 0;
    call_executed(&b, 100);
    now_us += 1500;
    quorum_answers(&b);
    assert_int_equal(ended_count, 100);
    wait_us(30000);
    assert_int_equal(fetches_sent(), 1);
    client_close();
    batch_free(&b);
}

static void a_service_that_is_slow_because_it_is_busy_is_not_sent_everything_again(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 0, 0);
    /* Ever later, to three times the time between tries. */
    for (uint64_t s = 1; s < 100; s++) {
        call_executed(&b, s);
        wait_us(RETRY_US * 3 * s / 100);
        quorum_answers(&b);
        batch_free(&b);
    }
    assert_int_equal(ended_count, 99);
    assert_true(status().retries < 10 && status().fetches < 10);
    client_close();
}

static void tries_come_further_and_further_apart(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call_sent();
    unsigned tries[2] = {0, 0};
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < 100; i++) {
            wait_us(RETRY_US / 4);
            sent_count = 0;
        }
        tries[half] = (unsigned)status().retries - (half ? tries[0] : 0);
    }
    assert_true(tries[0] > 2 && tries[1] > 0 && tries[1] < tries[0]);
    client_close();
}

static void a_deadline_ends_calls_that_were_sent_and_calls_that_wait(void **state)
{
    (void)state;
    client_open(1, 1, RETRY_US / 4);
    call(0);
    call_sent();
    assert_int_equal(status().waiting, 1);
    wait_us(RETRY_US / 4 - 1);
    assert_int_equal(ended_count, 0);
    wait_us(1);
    assert_int_equal(ended_count, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(ended[i].outcome.result, -ATOLL_ETIMEDOUT);
    assert_true(status().waiting == 0 && status().sent == 0);
    /* And the window is free again. */
    sent_count = 0;
    call_sent();
    assert_int_equal(sent_count, 1);
    client_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_answered_is_sent_to_all_with_the_same_bytes),
        cmocka_unit_test(a_replyx_that_does_not_come_is_asked_for_as_a_receipt),
        cmocka_unit_test(a_call_that_later_ones_overtook_is_asked_for_soon),
        cmocka_unit_test(a_service_that_is_slow_because_it_is_busy_is_not_sent_everything_again),
        cmocka_unit_test(tries_come_further_and_further_apart),
        cmocka_unit_test(a_deadline_ends_calls_that_were_sent_and_calls_that_wait),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
