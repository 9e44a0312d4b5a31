/* View changes, sets of them and new views: what they may say (src/ledger/object/view_change.h). */
#include "ledger_object_service.h"

static void certificates_of_a_view_change_are_one_row(void **state)
{
    (void)state;
    static struct batch batches[2];
    static struct ledger_view_change vc;
    struct buffer out = {0};
    struct error e;
    static const struct {
        uint64_t view, seqno;
    } second[] = {{2, 8}, {3, 7}, {2, 6}};
    for (size_t i = 0; i < 3; i++) {
        batch_make(&service, &batches[0], 2, 6, 1);
        batch_make(&service, &batches[1], second[i].view, second[i].seqno, 1);
        out.len = 0;
        service_view_change(&service, 1, batches, 2, false, &out);
        refused(ATOLL_ECORRUPT, ledger_view_change_decode_signed(slice_of_buffer(&out), &vc, &e),
                &e);
        batch_free(&batches[0]);
        batch_free(&batches[1]);
    }
    buffer_free(&out);
}

static void view_changes_of_a_set_stand_in_order_and_once(void **state)
{
    (void)state;
    struct buffer out = {0}, one = {0}, three = {0};
    struct ledger_vcset set = {.view = 3, .count = 2};
    struct error e;
    service_view_change(&service, 1, NULL, 0, false, &one);
    service_view_change(&service, 3, NULL, 0, false, &three);
    const struct slice orders[2][2] = {{slice_of_buffer(&three), slice_of_buffer(&one)},
                                       {slice_of_buffer(&one), slice_of_buffer(&one)}};
    for (size_t i = 0; i < 2; i++) {
        out.len = 0;
        memcpy(set.view_changes, orders[i], sizeof orders[i]);
        assert_true(ledger_vcset_encode(&set, &out));
        refused(ATOLL_ECORRUPT, ledger_vcset_decode(slice_of_buffer(&out), &set, &e), &e);
        set = (struct ledger_vcset){.view = 3, .count = 2};
    }
    buffer_free(&out);
    buffer_free(&one);
    buffer_free(&three);
}

static void a_new_view_plans_every_batch_from_its_base_to_its_tip(void **state)
{
    (void)state;
    /* config 4 | view 8 | base 8 | hash 32 | tip 8, 8 | count 4 at 68 | plans of 53: s 8, kind 1, …
     */
    static const struct {
        size_t at;
        uint8_t value;
        int code;
        const char *words;
    } changes[] = {
        {68, LEDGER_PIPELINE_MAX + 1, ATOLL_ELIMIT, "more batches than any pipeline"},
        {68, LEDGER_PIPELINE_MAX, ATOLL_ECORRUPT, "more items than bytes"},
        {60, 6, ATOLL_ECORRUPT, "from base to tip"},
        {12, 9, ATOLL_ECORRUPT, "from base to tip"},
        {72 + 53, 8, ATOLL_ECORRUPT, "leaves out a batch"},
        {72 + 8, 0, ATOLL_ECORRUPT, "unknown kind"},
        {72 + 8, LEDGER_KIND_EMPTY, ATOLL_ECORRUPT, "no transactions"},
    };
    struct ledger_new_view nv = service_new_view(&service, 2), again;
    struct buffer bytes = {0};
    struct error e;
    uint8_t hash[HASH_LEN], expected[HASH_LEN];
    assert_true(ledger_new_view_encode_signed(&nv, &bytes));
    ledger_new_view_hash(&nv, hash);
    ledger_hash(LEDGER_TAG_NEW_VIEW, bytes.data, bytes.len - ED25519_SIGNATURE_LEN, expected);
    assert_memory_equal(hash, expected, HASH_LEN);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint8_t was = bytes.data[changes[i].at];
        bytes.data[changes[i].at] = changes[i].value;
        refused(changes[i].code, ledger_new_view_decode_signed(slice_of_buffer(&bytes), &again, &e),
                &e);
        if (!strstr(e.text, changes[i].words))
            fail_msg("\"%s\" instead of \"%s\"", e.text, changes[i].words);
        bytes.data[changes[i].at] = was;
    }
    assert_int_equal(ledger_new_view_decode_signed(slice_of_buffer(&bytes), &again, &e), 0);
    buffer_free(&bytes);
}

static void a_view_change_says_yes_or_no_and_has_its_bounds(void **state)
{
    (void)state;
    static struct ledger_view_change vc;
    struct buffer bytes = {0}, set_bytes = {0};
    struct ledger_vcset set = {.view = 3};
    struct error e;
    uint8_t hash[HASH_LEN], expected[HASH_LEN];
    /* config 4 | view 8 | replica 2 | count 4 at 14 | whether it has a NewView at 18 | … */
    service_view_change(&service, 1, NULL, 0, false, &bytes);
    assert_int_equal(ledger_view_change_decode_signed(slice_of_buffer(&bytes), &vc, &e), 0);
    bytes.data[18] = 2;
    refused(ATOLL_ECORRUPT, ledger_view_change_decode_signed(slice_of_buffer(&bytes), &vc, &e), &e);
    assert_non_null(strstr(e.text, "neither yes nor no"));
    bytes.data[18] = 0;
    bytes.data[14] = LEDGER_PIPELINE_MAX + 1;
    refused(ATOLL_ELIMIT, ledger_view_change_decode_signed(slice_of_buffer(&bytes), &vc, &e), &e);
    bytes.data[14] = LEDGER_PIPELINE_MAX;
    refused(ATOLL_ECORRUPT, ledger_view_change_decode_signed(slice_of_buffer(&bytes), &vc, &e), &e);
    assert_true(ledger_vcset_encode(&set, &set_bytes));
    ledger_vcset_hash(slice_of_buffer(&set_bytes), hash);
    ledger_hash(LEDGER_TAG_ENTRY_VCSET, set_bytes.data, set_bytes.len, expected);
    assert_memory_equal(hash, expected, HASH_LEN);
    store_u32(set_bytes.data + 8, LEDGER_REPLICAS_MAX + 1);
    refused(ATOLL_ELIMIT, ledger_vcset_decode(slice_of_buffer(&set_bytes), &set, &e), &e);
    store_u32(set_bytes.data + 8, LEDGER_REPLICAS_MAX);
    refused(ATOLL_ECORRUPT, ledger_vcset_decode(slice_of_buffer(&set_bytes), &set, &e), &e);
    buffer_free(&bytes);
    buffer_free(&set_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_a_view_change_are_one_row),
        cmocka_unit_test(view_changes_of_a_set_stand_in_order_and_once),
        cmocka_unit_test(a_new_view_plans_every_batch_from_its_base_to_its_tip),
        cmocka_unit_test(a_view_change_says_yes_or_no_and_has_its_bounds),
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
