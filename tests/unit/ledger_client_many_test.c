/* Many calls of a client of the ledger: bundles, windows, queues, identities, links
 * (src/ledger/client). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_client_world.h"

/* ---- many ---- */

static void calls_share_a_signature_up_to_the_size_of_a_bundle(void **state)
{
    (void)state;
    static struct batch b;
    client_open(3, 0, 0);
    for (unsigned i = 0; i < 7; i++)
        call(0);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 3);
    static const unsigned types[] = {LEDGER_MESSAGE_BUNDLE, LEDGER_MESSAGE_BUNDLE,
                                     LEDGER_MESSAGE_REQUEST};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ledger_message_type(slice_of_buffer(&sent[i].message)), types[i]);
    batch_execute(&b, 0, 1);
    assert_int_equal(b.pp.count, 7);
    replyx_from(&b, 0);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 7);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_member_of_a_bundle_that_got_lost_is_sent_again_with_its_path(void **state)
{
    (void)state;
    static struct batch b;
    client_open(4, 0, 0);
    for (unsigned i = 0; i < 4; i++)
        call(0);
    ledger_client_settle(client);
    sent_count = 0;
    wait_us(RETRY_US);
    wait_us(RETRY_US);
    batch_execute(&b, 0, 1);
    assert_int_equal(b.pp.count, 4);
    replyx_from(&b, 0);
    for (uint16_t i = 0; i < 3; i++)
        reply_from(&b, i);
    assert_int_equal(ended_count, 4);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void no_more_are_on_their_way_than_the_window_has(void **state)
{
    (void)state;
    static struct batch b;
    client_open(1, 4, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(call(0), 10 + i);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 4);
    assert_int_equal(status().waiting, 6);
    batch_execute(&b, 0, 1);
    /* The second, third and fourth end: the first still holds the window. */
    for (uint32_t i = 1; i < 4; i++)
        receipt_from(&b, 1, i, false);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 1);
    receipt_from(&b, 1, 0, false);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 4);
    assert_int_equal(status().waiting, 2);
    client_close();
    batch_free(&b);
}

static void a_full_queue_says_so_and_a_large_one_works(void **state)
{
    (void)state;
    static struct batch b;
    uint64_t reqno;
    struct error e;
    client_open(1, 100, 0);
    for (unsigned i = 0; i < 1000; i++)
        call(0);
    assert_int_equal(ledger_client_call(client, 0, 0, text_slice(""), NULL, &reqno, &e),
                     -ATOLL_EBUSY);
    for (uint64_t s = 1; s <= 10; s++) {
        ledger_client_settle(client);
        batch_execute(&b, 0, s);
        assert_int_equal(b.pp.count, 100);
        quorum_answers(&b);
        batch_free(&b);
    }
    assert_int_equal(ended_count, 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(ended[i].outcome.reqno, 10 + i);
    receipts_hold();
    client_close();
}

static void arguments_that_no_request_holds_are_refused(void **state)
{
    (void)state;
    static uint8_t args[LEDGER_BODY_MAX];
    uint64_t reqno;
    struct error e;
    client_open(1024, 0, 0);
    assert_int_equal(
        ledger_client_call(client, 0, 0, slice_of(args, sizeof args), NULL, &reqno, &e),
        -ATOLL_ESIZE);
    /* The largest that are taken go through, alone and in bundles that stay in their limits. */
    size_t most = LEDGER_BODY_MAX - 1 - LEDGER_REQUEST_FIXED_LEN - ED25519_SIGNATURE_LEN - 12 -
                  LEDGER_BUNDLE_PATH_MAX * HASH_LEN;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(ledger_client_call(client, 0, 0, slice_of(args, most), NULL, &reqno, &e),
                         0);
    ledger_client_settle(client);
    assert_int_equal(status().sent, 20);
    for (unsigned i = 0; i < sent_count; i++)
        assert_true(sent[i].message.len < 2u << 20);
    client_close();
}

static void identities_have_their_own_numbers_and_share_what_is_checked(void **state)
{
    (void)state;
    static struct batch b;
    struct error e;
    const uint8_t *keys;
    uint32_t count;
    client_open(1, 0, 0);
    ledger_client_on_connected(client, 0);
    assert_int_equal(ledger_hello_decode(slice_of_buffer(&sent[0].message), &keys, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_memory_equal(keys + ED25519_KEY_LEN, secret_public(service.clients[1]), ED25519_KEY_LEN);
    sent_count = 0;
    assert_int_equal(call(0), 10);
    assert_int_equal(call(1), 5000);
    assert_int_equal(call(1), 5001);
    ledger_client_settle(client);
    assert_int_equal(sent_count, 1); /* one message for all */
    batch_execute(&b, 0, 1);
    quorum_answers(&b);
    assert_int_equal(ended_count, 3);
    assert_int_equal(ended[0].outcome.identity, 0);
    assert_int_equal(ended[2].outcome.identity, 1);
    assert_int_equal(ended[2].outcome.reqno, 5001);
    receipts_hold();
    client_close();
    batch_free(&b);
}

static void a_link_that_comes_back_gets_what_was_on_its_way(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call(0);
    call(1);
    ledger_client_settle(client);
    sent_count = 0;
    ledger_client_on_connected(client, 2);
    assert_int_equal(sent_count, 1); /* not the primary: only who listens */
    ledger_client_on_connected(client, 0);
    assert_int_equal(sent_count, 3);
    assert_int_equal(ledger_message_type(slice_of_buffer(&sent[1].message)), LEDGER_MESSAGE_HELLO);
    struct ledger_list list;
    struct error e;
    assert_int_equal(ledger_bodies_decode(slice_of_buffer(&sent[2].message), &list, &e), 0);
    assert_int_equal(list.left, 2);
    client_close();
}

static unsigned requests_to(uint16_t to)
{
    unsigned count = 0;
    for (unsigned i = 0; i < sent_count; i++)
        count += sent[i].to == to &&
                 ledger_message_type(slice_of_buffer(&sent[i].message)) != LEDGER_MESSAGE_HELLO;
    return count;
}

static void what_is_on_its_way_goes_to_all_when_the_primarys_link_is_lost(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    for (uint16_t i = 0; i < 4; i++)
        ledger_client_on_connected(client, i);
    call(0);
    call(1);
    ledger_client_settle(client);
    sent_count = 0;
    ledger_client_on_disconnected(client, 2); /* somebody else's */
    assert_int_equal(sent_count, 0);
    ledger_client_on_disconnected(client, 0);
    for (uint16_t i = 0; i < 4; i++)
        assert_int_equal(requests_to(i), 1);
    /* It is no try: nobody is asked for receipts for it, and the next one comes when it is due. */
    assert_int_equal(status().retries, 0);
    sent_count = 0;
    wait_us(RETRY_US - 1);
    assert_int_equal(sent_count, 0);
    wait_us(RETRY_US / 8 + 1);
    assert_int_equal(requests_to(1), 1);
    client_close();
}

static void while_the_primarys_link_is_lost_everything_goes_to_all(void **state)
{
    (void)state;
    client_open(2, 0, 0);
    ledger_client_on_connected(client, 0);
    ledger_client_on_disconnected(client, 0);
    sent_count = 0;
    for (unsigned i = 0; i < 3; i++)
        call(0); /* a bundle of two and one alone */
    ledger_client_settle(client);
    for (uint16_t i = 0; i < 4; i++)
        assert_int_equal(requests_to(i), 2);
    ledger_client_on_connected(client, 0);
    sent_count = 0;
    call_sent();
    assert_int_equal(requests_to(0), 1);
    assert_int_equal(requests_to(1), 0);
    client_close();
}

static void a_link_that_comes_and_goes_does_not_multiply_what_is_sent(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call_sent();
    sent_count = 0;
    for (unsigned i = 0; i < 50; i++) {
        ledger_client_on_disconnected(client, 0);
        ledger_client_on_connected(client, 0);
    }
    assert_int_equal(requests_to(1), 1);
    client_close();
}

static void numbers_are_reserved_before_they_are_used(void **state)
{
    (void)state;
    uint64_t reqno;
    struct error e;
    client_open(1, 0, 0);
    reserve_result = -ATOLL_EIO;
    assert_int_equal(ledger_client_call(client, 0, 0, text_slice(""), NULL, &reqno, &e),
                     -ATOLL_EIO);
    reserve_result = 0;
    assert_int_equal(call(0), 10);
    assert_true(reserved[0] > 10);
    client_close();
}

static void nonsense_is_counted_and_dropped(void **state)
{
    (void)state;
    client_open(1, 0, 0);
    call_sent();
    ledger_client_on_message(client, 0, slice_of(NULL, 0));
    ledger_client_on_message(client, 0, text_slice("1234"));
    ledger_client_on_message(client, 0, text_slice("0"));
    ledger_client_on_message(client, 0, slice_of_buffer(&sent[0].message));
    ledger_client_on_message(client, 4, text_slice("no such replica"));
    assert_int_equal(status().answers_bad, 4);
    assert_int_equal(status().sent, 1);
    client_close();
}

static void settings_out_of_range_are_refused(void **state)
{
    (void)state;
    struct ledger_client_identity two[2] = {{.first_reqno = 1}, {.first_reqno = 1}};
    memcpy(two[0].public_key, secret_public(service.clients[0]), ED25519_KEY_LEN);
    memcpy(two[1].public_key, secret_public(service.clients[0]), ED25519_KEY_LEN);
    const struct ledger_client_settings good = {
        .genesis = &service.genesis, .identities = two, .identity_count = 1, .bundle_max = 1};
    struct ledger_client_settings wrong[5] = {good, good, good, good, good};
    wrong[0].identity_count = 0;
    wrong[1].identity_count = 2; /* the same key */
    wrong[2].bundle_max = 0;
    wrong[3].bundle_max = LEDGER_CLIENT_WINDOW + 1;
    wrong[4].window = LEDGER_CLIENT_WINDOW + 1;
    struct ledger_client_env env = {0};
    struct error e;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ledger_client_open(&wrong[i], &env, &client, &e), -ATOLL_EINVAL);
    memset(two[0].public_key, 0, ED25519_KEY_LEN);
    assert_int_equal(ledger_client_open(&good, &env, &client, &e), -ATOLL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_share_a_signature_up_to_the_size_of_a_bundle),
        cmocka_unit_test(a_member_of_a_bundle_that_got_lost_is_sent_again_with_its_path),
        cmocka_unit_test(no_more_are_on_their_way_than_the_window_has),
        cmocka_unit_test(a_full_queue_says_so_and_a_large_one_works),
        cmocka_unit_test(arguments_that_no_request_holds_are_refused),
        cmocka_unit_test(identities_have_their_own_numbers_and_share_what_is_checked),
        cmocka_unit_test(a_link_that_comes_back_gets_what_was_on_its_way),
        cmocka_unit_test(what_is_on_its_way_goes_to_all_when_the_primarys_link_is_lost),
        cmocka_unit_test(while_the_primarys_link_is_lost_everything_goes_to_all),
        cmocka_unit_test(a_link_that_comes_and_goes_does_not_multiply_what_is_sent),
        cmocka_unit_test(numbers_are_reserved_before_they_are_used),
        cmocka_unit_test(nonsense_is_counted_and_dropped),
        cmocka_unit_test(settings_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
