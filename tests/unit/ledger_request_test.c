/* Requests and bundles of them: what is well formed, and which signature speaks for it
 * (src/ledger/object/request.h). */
#include "ledger_object_service.h"

/* ---- requests ---- */

static void a_signed_request_asks_for_one_signature_check_that_holds(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct ledger_body body;
    struct ledger_signature left;
    struct error e;
    uint8_t req_hash[HASH_LEN];
    struct ledger_request request = service_request(&service, 2, 1, "x");
    service_body(&service, 2, &request, &bytes);
    assert_int_equal(ledger_body_decode(slice_of_buffer(&bytes), &body, &e), 0);
    assert_int_equal(ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), 0);
    assert_memory_equal(left.hash, req_hash, HASH_LEN);
    assert_true(ed25519_verify(left.public_key, left.hash, HASH_LEN, left.signature));
    bytes.data[70] ^= 1;
    assert_int_equal(ledger_body_decode(slice_of_buffer(&bytes), &body, &e), 0);
    assert_int_equal(ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), 0);
    assert_false(ed25519_verify(left.public_key, left.hash, HASH_LEN, left.signature));
    buffer_free(&bytes);
}

static void a_request_of_another_service_or_of_anyones_key_is_ill_formed(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct ledger_body body;
    struct ledger_signature left;
    struct error e;
    uint8_t req_hash[HASH_LEN], other[HASH_LEN] = {1};
    struct ledger_request request = service_request(&service, 2, 1, "x");
    service_body(&service, 2, &request, &bytes);
    assert_int_equal(ledger_body_decode(slice_of_buffer(&bytes), &body, &e), 0);
    refused(ATOLL_EINVAL, ledger_body_check(&body, other, req_hash, &left, &e), &e);
    memset(bytes.data + 1 + HASH_LEN, 0, ED25519_KEY_LEN);
    assert_int_equal(ledger_body_decode(slice_of_buffer(&bytes), &body, &e), 0);
    refused(ATOLL_EPERM, ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), &e);
    buffer_free(&bytes);
}

static void flags_that_nobody_defined_are_refused(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct error e;
    struct ledger_request request = service_request(&service, 0, 1, "x");
    request.flags = 1;
    assert_true(ledger_request_encode(&request, &bytes));
    refused(ATOLL_ECORRUPT, ledger_request_decode(slice_of_buffer(&bytes), &request, &e), &e);
    buffer_free(&bytes);
}

static void limits_are_checked_before_lengths_are_believed(void **state)
{
    (void)state;
    struct error e;
    struct buffer bytes = {0};
    struct ledger_request request = service_request(&service, 0, 1, "");
    struct ledger_body body;
    assert_true(ledger_request_encode(&request, &bytes));
    store_u32(bytes.data + 84, LEDGER_BODY_MAX + 1);
    refused(ATOLL_ELIMIT, ledger_request_decode(slice_of_buffer(&bytes), &request, &e), &e);
    store_u32(bytes.data + 84, UINT32_MAX);
    refused(ATOLL_ELIMIT, ledger_request_decode(slice_of_buffer(&bytes), &request, &e), &e);
    bytes.len = 0;
    assert_true(buffer_append(&bytes, NULL, LEDGER_BODY_MAX + 1));
    refused(ATOLL_ELIMIT, ledger_body_decode(slice_of_buffer(&bytes), &body, &e), &e);
    buffer_free(&bytes);
}

static void the_largest_request_passes_and_a_larger_one_does_not(void **state)
{
    (void)state;
    struct error e;
    struct buffer bytes = {0};
    struct ledger_body body;
    static uint8_t args[LEDGER_BODY_MAX];
    struct ledger_request request = service_request(&service, 0, 1, "");
    size_t most = LEDGER_BODY_MAX - 1 - LEDGER_REQUEST_FIXED_LEN - ED25519_SIGNATURE_LEN;
    request.args = slice_of(args, most);
    service_body(&service, 0, &request, &bytes);
    assert_int_equal(bytes.len, LEDGER_BODY_MAX);
    assert_int_equal(ledger_body_decode(slice_of_buffer(&bytes), &body, &e), 0);
    request.args.len++;
    bytes.len = 0;
    service_body(&service, 0, &request, &bytes);
    refused(ATOLL_ELIMIT, ledger_body_decode(slice_of_buffer(&bytes), &body, &e), &e);
    buffer_free(&bytes);
}

/* ---- bundles ---- */

static void one_signature_stands_for_every_member_of_a_bundle(void **state)
{
    (void)state;
    static size_t ends[LEDGER_BUNDLE_MAX];
    static uint8_t req_hashes[LEDGER_BUNDLE_MAX][HASH_LEN];
    static const uint32_t sizes[] = {1, 2, 3, 16, 100, LEDGER_BUNDLE_MAX};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        struct buffer bytes = {0}, bodies = {0};
        struct ledger_bundle bundle;
        uint8_t hash[HASH_LEN];
        struct error e;
        service_bundle(&service, 1, sizes[k], &bytes);
        assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), 0);
        assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, req_hashes, hash, &e), 0);
        assert_true(ed25519_verify(bundle.client, hash, HASH_LEN, bundle.signature));
        for (uint32_t i = 0; i < sizes[k]; i++) {
            struct ledger_body body;
            struct ledger_signature left;
            uint8_t req_hash[HASH_LEN];
            size_t from = i ? ends[i - 1] : 0;
            assert_int_equal(
                ledger_body_decode(slice_of(bodies.data + from, ends[i] - from), &body, &e), 0);
            assert_int_equal(ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e),
                             0);
            assert_memory_equal(req_hash, req_hashes[i], HASH_LEN);
            assert_memory_equal(left.hash, hash, HASH_LEN);
            assert_int_equal(body.request.reqno, i + 1);
        }
        buffer_free(&bytes);
        buffer_free(&bodies);
    }
}

static void a_foreign_member_does_not_lead_to_what_the_client_signed(void **state)
{
    (void)state;
    struct buffer bytes = {0}, bodies = {0};
    struct ledger_bundle bundle;
    struct ledger_body body;
    struct ledger_signature left;
    size_t ends[4];
    uint8_t hash[HASH_LEN], req_hash[HASH_LEN];
    struct error e;
    service_bundle(&service, 1, 4, &bytes);
    assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), 0);
    assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e), 0);
    struct slice first = slice_of(bodies.data, ends[0]);
    bodies.data[1 + 64] ^= 1; /* its reqno */
    assert_int_equal(ledger_body_decode(first, &body, &e), 0);
    assert_int_equal(ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), 0);
    assert_memory_not_equal(left.hash, hash, HASH_LEN);
    bodies.data[1 + 64] ^= 1;
    body.position = 1;
    assert_int_equal(ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), 0);
    assert_memory_not_equal(left.hash, hash, HASH_LEN);
    body.path_len = 1;
    refused(ATOLL_EPATH, ledger_body_check(&body, service.genesis.hash, req_hash, &left, &e), &e);
    buffer_free(&bytes);
    buffer_free(&bodies);
}

static void a_bundle_has_members_and_not_too_many(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct ledger_bundle bundle;
    struct error e;
    service_bundle(&service, 1, 1, &bytes);
    store_u32(bytes.data + 64, 0);
    refused(ATOLL_ECORRUPT, ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), &e);
    store_u32(bytes.data + 64, LEDGER_BUNDLE_MAX + 1);
    refused(ATOLL_ELIMIT, ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), &e);
    bytes.len = 64; /* nothing but a signature behind a count of 0 */
    assert_true(buffer_append(&bytes, NULL, 4 + ED25519_SIGNATURE_LEN));
    store_u32(bytes.data + 64, 0);
    refused(ATOLL_ECORRUPT, ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), &e);
    assert_non_null(strstr(e.text, "no members"));
    static uint8_t zeros[LEDGER_BUNDLE_BYTES_MAX + 1];
    refused(ATOLL_ECORRUPT,
            ledger_bundle_decode(slice_of(zeros, LEDGER_BUNDLE_BYTES_MAX), &bundle, &e), &e);
    refused(ATOLL_ELIMIT, ledger_bundle_decode(slice_of(zeros, sizeof zeros), &bundle, &e), &e);
    buffer_free(&bytes);
}

/* The body of member `i` of three of client 1, in `bodies`. */
static struct slice three_open(uint64_t first_reqno, struct buffer *bodies, unsigned i,
                               uint8_t hash[static HASH_LEN])
{
    struct ledger_request requests[3];
    struct ledger_bundle bundle;
    struct buffer bytes = {0};
    uint8_t signature[ED25519_SIGNATURE_LEN] = {0};
    size_t ends[3];
    struct error e;
    for (unsigned k = 0; k < 3; k++)
        requests[k] = service_request(&service, 1, first_reqno + k, "argument");
    assert_true(ledger_bundle_encode(requests, 3, signature, &bytes));
    assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), 0);
    assert_int_equal(ledger_bundle_open(&bundle, bodies, ends, NULL, hash, &e), 0);
    buffer_free(&bytes);
    size_t from = i ? ends[i - 1] : 0;
    return slice_of(bodies->data + from, ends[i] - from);
}

static void a_members_place_is_within_its_bundle_and_its_bundle_within_limits(void **state)
{
    (void)state;
    struct buffer bodies = {0};
    struct ledger_body body;
    struct error e;
    uint8_t hash[HASH_LEN];
    struct slice member = three_open(1, &bodies, 0, hash);
    assert_int_equal(ledger_body_decode(member, &body, &e), 0);
    /* Behind the signature: count, position, count of the path. */
    uint8_t *place = (uint8_t *)(uintptr_t)body.signature + ED25519_SIGNATURE_LEN;
    store_u32(place, LEDGER_BUNDLE_MAX);
    assert_int_equal(ledger_body_decode(member, &body, &e), 0);
    store_u32(place, LEDGER_BUNDLE_MAX + 1);
    refused(ATOLL_ELIMIT, ledger_body_decode(member, &body, &e), &e);
    store_u32(place, 3);
    store_u32(place + 4, 2);
    assert_int_equal(ledger_body_decode(member, &body, &e), 0);
    store_u32(place + 4, 3);
    refused(ATOLL_ECORRUPT, ledger_body_decode(member, &body, &e), &e);
    assert_non_null(strstr(e.text, "outside of its bundle"));
    store_u32(place + 4, 0);
    store_u32(place + 8, LEDGER_BUNDLE_PATH_MAX + 1);
    refused(ATOLL_ELIMIT, ledger_body_decode(member, &body, &e), &e);
    store_u32(place + 8, LEDGER_BUNDLE_PATH_MAX);
    refused(ATOLL_ECORRUPT, ledger_body_decode(member, &body, &e), &e);
    buffer_free(&bodies);
}

static void what_is_remembered_of_one_bundle_does_not_speak_for_another(void **state)
{
    (void)state;
    struct buffer bodies = {0}, others = {0};
    struct ledger_body body, other;
    struct ledger_body_memo memo = {0};
    struct ledger_signature first, again;
    struct error e;
    uint8_t hash[HASH_LEN], other_hash[HASH_LEN], req_hash[HASH_LEN];
    const uint8_t *genesis = service.genesis.hash;
    assert_int_equal(ledger_body_decode(three_open(1, &bodies, 0, hash), &body, &e), 0);
    assert_int_equal(ledger_body_decode(three_open(7, &others, 0, other_hash), &other, &e), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(ledger_body_check_after(&memo, &body, genesis, req_hash, &first, &e), 0);
        assert_memory_equal(first.hash, hash, HASH_LEN);
        assert_int_equal(ledger_body_check_after(&memo, &other, genesis, req_hash, &again, &e), 0);
        assert_memory_equal(again.hash, other_hash, HASH_LEN);
    }
    /* The same leaf and path in a bundle that says it has four members: the root is the same, what
     * was signed is not. */
    assert_int_equal(ledger_body_check_after(&memo, &body, genesis, req_hash, &first, &e), 0);
    body.count = 4;
    assert_int_equal(ledger_body_check_after(&memo, &body, genesis, req_hash, &again, &e), 0);
    assert_memory_not_equal(again.hash, first.hash, HASH_LEN);
    body.count = 3;
    assert_int_equal(ledger_body_check_after(&memo, &body, genesis, req_hash, &again, &e), 0);
    assert_memory_equal(again.hash, first.hash, HASH_LEN);
    buffer_free(&bodies);
    buffer_free(&others);
}

static void a_bodys_hash_names_its_signature_too(void **state)
{
    (void)state;
    struct ledger_request request = service_request(&service, 0, 1, "x");
    struct buffer bytes = {0};
    uint8_t first[HASH_LEN], again[HASH_LEN], expected[HASH_LEN];
    service_body(&service, 0, &request, &bytes);
    ledger_body_hash(slice_of_buffer(&bytes), first);
    ledger_hash(LEDGER_TAG_BODY, bytes.data, bytes.len, expected);
    assert_memory_equal(first, expected, HASH_LEN);
    bytes.data[bytes.len - 1] ^= 1;
    ledger_body_hash(slice_of_buffer(&bytes), again);
    assert_memory_not_equal(first, again, HASH_LEN);
    buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signed_request_asks_for_one_signature_check_that_holds),
        cmocka_unit_test(a_request_of_another_service_or_of_anyones_key_is_ill_formed),
        cmocka_unit_test(flags_that_nobody_defined_are_refused),
        cmocka_unit_test(limits_are_checked_before_lengths_are_believed),
        cmocka_unit_test(the_largest_request_passes_and_a_larger_one_does_not),
        cmocka_unit_test(one_signature_stands_for_every_member_of_a_bundle),
        cmocka_unit_test(a_foreign_member_does_not_lead_to_what_the_client_signed),
        cmocka_unit_test(a_bundle_has_members_and_not_too_many),
        cmocka_unit_test(a_members_place_is_within_its_bundle_and_its_bundle_within_limits),
        cmocka_unit_test(what_is_remembered_of_one_bundle_does_not_speak_for_another),
        cmocka_unit_test(a_bodys_hash_names_its_signature_too),
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
