/* The genesis and its configuration: what is in range, and who is admitted
 * (src/ledger/object/genesis.h).
 */
#include "ledger_object_service.h"

static void genesis_expect(int code, const struct ledger_genesis *g)
{
    struct buffer bytes = {0};
    static struct ledger_genesis found;
    struct error e;
    assert_true(ledger_genesis_encode(g, &bytes));
    int result = ledger_genesis_decode(slice_of_buffer(&bytes), &found, &e);
    if (code)
        refused(code, result, &e);
    else
        assert_int_equal(result, 0);
    buffer_free(&bytes);
}

static void a_genesis_out_of_range_is_refused(void **state)
{
    (void)state;
    struct ledger_genesis good, g;
    service_describe(&service, 4, &good);
    genesis_expect(0, &good);
#define CHANGED(code, change) \
    g = good;                 \
    change;                   \
    genesis_expect(code, &g)
    CHANGED(ATOLL_EINVAL, g.pipeline = 0);
    CHANGED(ATOLL_EINVAL, g.pipeline = LEDGER_PIPELINE_MAX + 1);
    CHANGED(ATOLL_EINVAL, g.pipeline = 6); /* C is 10 */
    CHANGED(ATOLL_EINVAL, g.bucket_bits = LEDGER_BUCKET_BITS_MAX + 1);
    CHANGED(ATOLL_EINVAL, g.configuration.number = 1);
    CHANGED(ATOLL_EINVAL, g.configuration.max_batch = LEDGER_BATCH_MAX + 1);
    CHANGED(ATOLL_EINVAL, g.configuration.max_batch = 0);
    CHANGED(ATOLL_EINVAL, g.configuration.view_timeout_us = 0);
    CHANGED(ATOLL_EINVAL, g.configuration.checkpoint_interval = LEDGER_CHECKPOINT_MAX + 1);
    CHANGED(ATOLL_EINVAL, g.configuration.replica_count = 3);
    CHANGED(ATOLL_EINVAL, g.configuration.member_count = 0);
    CHANGED(ATOLL_EINVAL, g.configuration.replicas[1].member = 2);
    CHANGED(ATOLL_EINVAL,
            g.configuration.replicas[1].public_key = g.configuration.replicas[0].public_key);
    CHANGED(ATOLL_EINVAL, g.configuration.replicas[2].address = text_slice(""));
    CHANGED(ATOLL_EINVAL, g.configuration.members[0].name = text_slice("line\nbreak"));
    static const uint8_t small[ED25519_KEY_LEN] = {1};
    CHANGED(ATOLL_EINVAL, g.configuration.replicas[0].public_key = small);
    static const uint8_t descending[2 * ED25519_KEY_LEN] = {2, [ED25519_KEY_LEN] = 1};
    CHANGED(ATOLL_ECORRUPT,
            (g.configuration.clients = descending, g.configuration.client_count = 2));
#undef CHANGED
}

static void an_access_list_admits_whom_it_names(void **state)
{
    (void)state;
    uint8_t keys[3 * ED25519_KEY_LEN] = {0}, stranger[ED25519_KEY_LEN] = {4};
    for (unsigned i = 0; i < 3; i++)
        keys[i * ED25519_KEY_LEN] = (uint8_t)(i + 1);
    struct ledger_configuration c = {0};
    assert_true(ledger_configuration_admits(&c, stranger));
    c.clients = keys;
    c.client_count = 3;
    assert_false(ledger_configuration_admits(&c, stranger));
    for (unsigned i = 0; i < 3; i++)
        assert_true(ledger_configuration_admits(&c, keys + i * ED25519_KEY_LEN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_genesis_out_of_range_is_refused),
        cmocka_unit_test(an_access_list_admits_whom_it_names),
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
