/* The ledger's objects: one encoding each, limits before use, hashes and keys (src/ledger/object).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_canonical.h"
#include "ledger_objects.h"

#include <string.h>

static struct service service;

static int service_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    return 0;
}

static int service_teardown(void **state)
{
    (void)state;
    service_free(&service);
    return 0;
}

static void check_buffer(const char *name, again_function *again, struct buffer *sample)
{
    canonical_check(name, again, slice_of_buffer(sample));
    sample->len = 0;
}

static void refused(int code, int result, const struct error *e)
{
    assert_int_equal(result, -code);
    assert_int_equal(e->code, -code);
    assert_true(strlen(e->text) > 10);
}

/* ---- one encoding ---- */

static void requests_and_their_bodies_have_one_encoding(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct ledger_request request = service_request(&service, 1, 77, "some arguments");
    assert_true(ledger_request_encode(&request, &out));
    check_buffer("request", request_again, &out);
    service_body(&service, 1, &request, &out);
    check_buffer("body", body_again, &out);
    service_bundle(&service, 1, 3, &out);
    check_buffer("bundle", bundle_again, &out);
    buffer_free(&out);
}

static void a_members_body_has_one_encoding(void **state)
{
    (void)state;
    struct buffer bytes = {0}, bodies = {0};
    struct ledger_bundle bundle;
    size_t ends[5];
    uint8_t hash[HASH_LEN];
    struct error e;
    service_bundle(&service, 1, 5, &bytes);
    assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), 0);
    assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e), 0);
    canonical_check("first member", body_again, slice_of(bodies.data, ends[0]));
    canonical_check("last member", body_again, slice_of(bodies.data + ends[3], ends[4] - ends[3]));
    buffer_free(&bytes);
    buffer_free(&bodies);
}

static void what_batches_consist_of_has_one_encoding(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer out = {0}, votes = {0};
    uint8_t pp[LEDGER_PP_SIGNED_LEN];
    batch_make(&service, &b, 0, 3, 2);
    canonical_check("transaction", tx_again, slice_of_buffer(&b.txs[0]));
    ledger_pp_encode_signed(&b.pp, pp);
    canonical_check("pre-prepare", pp_again, slice_of(pp, LEDGER_PP_LEN));
    canonical_check("signed pre-prepare", pp_signed_again, slice_of(pp, sizeof pp));
    batch_evidence(&service, &b, batch_bits(&service, &b), &out);
    check_buffer("evidence", evidence_again, &out);
    struct ledger_certificate certificate =
        batch_certificate(&service, &b, batch_bits(&service, &b), &votes);
    assert_true(ledger_certificate_encode(&certificate, &out));
    check_buffer("certificate", certificate_again, &out);
    buffer_free(&out);
    buffer_free(&votes);
    batch_free(&b);
}

static void view_changes_and_new_views_have_one_encoding(void **state)
{
    (void)state;
    static struct batch batches[2];
    struct buffer out = {0}, members[2] = {{0}, {0}};
    for (unsigned i = 0; i < 2; i++)
        batch_make(&service, &batches[i], 2, 6 + i, 1);
    struct ledger_new_view nv = service_new_view(&service, 2);
    assert_true(ledger_new_view_encode_signed(&nv, &out));
    check_buffer("new view", new_view_again, &out);
    service_view_change(&service, 1, batches, 2, true, &members[0]);
    canonical_check("view change", view_change_again, slice_of_buffer(&members[0]));
    service_view_change(&service, 3, NULL, 0, false, &members[1]);
    canonical_check("empty view change", view_change_again, slice_of_buffer(&members[1]));
    struct ledger_vcset set = {.view = 3, .count = 2};
    for (unsigned i = 0; i < 2; i++)
        set.view_changes[i] = slice_of_buffer(&members[i]);
    assert_true(ledger_vcset_encode(&set, &out));
    check_buffer("set of view changes", vcset_again, &out);
    for (unsigned i = 0; i < 2; i++) {
        buffer_free(&members[i]);
        batch_free(&batches[i]);
    }
    buffer_free(&out);
}

static void the_genesis_has_one_encoding(void **state)
{
    (void)state;
    canonical_check("genesis", genesis_again, slice_of_buffer(&service.genesis_bytes));
    canonical_check("configuration", configuration_again, service.genesis.configuration_bytes);
}

static void marks_of_signatures_have_one_encoding(void **state)
{
    (void)state;
    struct ledger_signed mark = {LEDGER_SIGNED_PREPARE, 1, 2, 3, {4}};
    uint8_t bytes[LEDGER_SIGNED_LEN];
    ledger_signed_encode(&mark, bytes);
    canonical_check("mark", signed_again, slice_of(bytes, sizeof bytes));
    struct error e;
    uint64_t position;
    ledger_rollback_encode(99, bytes);
    assert_int_equal(ledger_rollback_decode(slice_of(bytes, 8), &position, &e), 0);
    assert_int_equal(position, 99);
    refused(ATOLL_ECORRUPT, ledger_rollback_decode(slice_of(bytes, 7), &position, &e), &e);
}

/* ---- what the bytes are ---- */

static void a_pre_prepare_lies_where_its_drawing_says(void **state)
{
    (void)state;
    struct ledger_pp pp = {.config = 0x01020304,
                           .view = 5,
                           .seqno = 6,
                           .kind = LEDGER_KIND_NORMAL,
                           .first_index = 7,
                           .count = 8,
                           .evidence_bits = 9,
                           .gov_index = 10};
    memset(pp.ledger_root, 0xa1, HASH_LEN);
    memset(pp.batch_root, 0xa2, HASH_LEN);
    memset(pp.nonce_commit, 0xa3, HASH_LEN);
    memset(pp.kv_digest, 0xa4, HASH_LEN);
    memset(pp.previous, 0xa5, HASH_LEN);
    uint8_t bytes[LEDGER_PP_LEN];
    ledger_pp_encode(&pp, bytes);
    assert_int_equal(load_u32(bytes), 0x01020304);
    assert_int_equal(load_u64(bytes + 4), 5);
    assert_int_equal(load_u64(bytes + 12), 6);
    assert_int_equal(bytes[20], LEDGER_KIND_NORMAL);
    assert_true(bytes[21] == 0xa1 && bytes[53] == 0xa2 && bytes[97] == 0xa3);
    assert_int_equal(load_u64(bytes + 85), 7);
    assert_int_equal(load_u32(bytes + 93), 8);
    assert_int_equal(load_u64(bytes + 129), 9);
    assert_int_equal(load_u64(bytes + 137), 10);
    assert_true(bytes[145] == 0xa4 && bytes[177] == 0xa5 && bytes[208] == 0xa5);
}

static void hashes_begin_with_the_padded_tag(void **state)
{
    (void)state;
    uint8_t plain[16 + 3] = "atoll.req.v1", wanted[HASH_LEN], found[HASH_LEN];
    memcpy(plain + 16, "abc", 3);
    hash_sha256(plain, sizeof plain, wanted);
    ledger_hash(LEDGER_TAG_REQUEST, "abc", 3, found);
    assert_memory_equal(found, wanted, HASH_LEN);
    ledger_hash_two(LEDGER_TAG_REQUEST, text_slice("a"), text_slice("bc"), found);
    assert_memory_equal(found, wanted, HASH_LEN);
    assert_memory_equal(ledger_tag(LEDGER_TAG_PREPARE), "atoll.prepare.v1", 16);
    assert_memory_equal(ledger_tag(LEDGER_TAG_GENESIS), "atoll.genesis.v1", 16);
    for (unsigned a = 0; a < LEDGER_TAGS; a++)
        for (unsigned b = 0; b < a; b++)
            assert_memory_not_equal(ledger_tag(a), ledger_tag(b), LEDGER_TAG_LEN);
}

static void a_transaction_is_the_same_leaf_in_both_trees(void **state)
{
    (void)state;
    static struct batch b;
    uint8_t hash[HASH_LEN];
    batch_make(&service, &b, 0, 1, 1);
    ledger_tx_hash(slice_of_buffer(&b.txs[0]), hash);
    struct merkle_hash leaf = merkle_leaf(hash, HASH_LEN);
    assert_memory_equal(leaf.bytes, b.pp.batch_root, HASH_LEN);
    struct merkle_hash entry = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(&b.txs[0]));
    assert_memory_equal(entry.bytes, leaf.bytes, HASH_LEN);
    batch_free(&b);
}

static void a_signature_is_no_part_of_the_leaf_of_what_it_signs(void **state)
{
    (void)state;
    static struct batch b;
    uint8_t payload[LEDGER_PP_SIGNED_LEN];
    batch_make(&service, &b, 0, 1, 1);
    ledger_pp_encode_signed(&b.pp, payload);
    struct slice bytes = slice_of(payload, sizeof payload);
    struct merkle_hash one = ledger_entry_leaf(LEDGER_ENTRY_PP, bytes);
    payload[sizeof payload - 1] ^= 1;
    struct merkle_hash same = ledger_entry_leaf(LEDGER_ENTRY_PP, bytes);
    assert_memory_equal(one.bytes, same.bytes, HASH_LEN);
    payload[sizeof payload - ED25519_SIGNATURE_LEN - 1] ^= 1;
    struct merkle_hash other = ledger_entry_leaf(LEDGER_ENTRY_PP, bytes);
    assert_memory_not_equal(one.bytes, other.bytes, HASH_LEN);
    batch_free(&b);
}

static void every_entry_type_checks_its_own_payload(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer out = {0};
    struct error e;
    batch_make(&service, &b, 0, 1, 1);
    assert_int_equal(
        ledger_entry_check(LEDGER_ENTRY_GENESIS, slice_of_buffer(&service.genesis_bytes), &e), 0);
    assert_int_equal(ledger_entry_check(LEDGER_ENTRY_TX, slice_of_buffer(&b.txs[0]), &e), 0);
    batch_evidence(&service, &b, 7, &out);
    assert_int_equal(ledger_entry_check(LEDGER_ENTRY_EVIDENCE, slice_of_buffer(&out), &e), 0);
    for (unsigned type = LEDGER_ENTRY_GENESIS; type <= LEDGER_ENTRY_NEW_VIEW; type++)
        if (type != LEDGER_ENTRY_EVIDENCE)
            assert_true(ledger_entry_check(type, slice_of_buffer(&out), &e) < 0);
    refused(ATOLL_ECORRUPT, ledger_entry_check(99, slice_of_buffer(&out), &e), &e);
    assert_string_equal(ledger_entry_name(LEDGER_ENTRY_VCSET), "vcset");
    assert_string_equal(ledger_entry_name(0), "unknown");
    buffer_free(&out);
    batch_free(&b);
}

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

/* ---- quorums ---- */

static void all_verify(const struct ledger_signature *work, int count)
{
    bool valid[LEDGER_RECEIPT_SIGNATURES_MAX];
    struct error e;
    assert_true(count > 0);
    assert_int_equal(LEDGER_VERIFIER_SINGLE.verify(NULL, work, (size_t)count, valid, &e), 0);
    for (int i = 0; i < count; i++)
        assert_true(valid[i]);
}

static void evidence_and_certificates_name_the_signatures_of_a_quorum(void **state)
{
    (void)state;
    static const unsigned sizes[] = {4, 5, 7, 13};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        static struct service s;
        static struct batch b;
        struct buffer bytes = {0}, votes = {0};
        struct ledger_signature work[LEDGER_REPLICAS_MAX];
        struct ledger_evidence evidence;
        struct error e;
        service_make(&s, sizes[k]);
        const struct ledger_configuration *c = &s.genesis.configuration;
        batch_make(&s, &b, sizes[k] - 1, 3, 1); /* the last replica is primary */
        batch_evidence(&s, &b, batch_bits(&s, &b), &bytes);
        assert_int_equal(ledger_evidence_decode(slice_of_buffer(&bytes), &evidence, &e), 0);
        int count = ledger_evidence_check(c, &b.pp, &evidence, work, &e);
        assert_int_equal(count, ledger_quorum(c));
        assert_int_equal(count, sizes[k] - (sizes[k] - 1) / 3);
        all_verify(work, count);
        struct ledger_certificate certificate =
            batch_certificate(&s, &b, batch_bits(&s, &b), &votes);
        assert_int_equal(ledger_certificate_check(c, &certificate, work, &e), count);
        all_verify(work, count);
        buffer_free(&bytes);
        buffer_free(&votes);
        batch_free(&b);
        service_free(&s);
    }
}

static void too_few_too_many_or_the_wrong_replicas_are_no_quorum(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer signatures = {0}, nonces = {0}, votes = {0};
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    const struct ledger_configuration *c = &service.genesis.configuration;
    struct error e;
    batch_make(&service, &b, 0, 3, 1);
    /* two, four, without the primary, with a fifth replica */
    static const uint64_t wrong[] = {3, 15, 14, 1 | 2 | 16};
    for (size_t i = 0; i < 4; i++) {
        batch_votes(&service, &b, 15, false, &signatures, &nonces);
        refused(ATOLL_EQUORUM,
                ledger_quorum_opened(c, &b.pp, b.pp_hash, wrong[i], signatures.data, nonces.data,
                                     work, &e),
                &e);
    }
    struct ledger_certificate certificate = batch_certificate(&service, &b, 7, &votes);
    certificate.bits = 5; /* counts the primary */
    refused(ATOLL_EQUORUM, ledger_certificate_check(c, &certificate, work, &e), &e);
    certificate.bits = 14;
    refused(ATOLL_EQUORUM, ledger_certificate_check(c, &certificate, work, &e), &e);
    buffer_free(&signatures);
    buffer_free(&nonces);
    buffer_free(&votes);
    batch_free(&b);
}

static void a_nonce_that_opens_nothing_is_noticed(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer signatures = {0}, nonces = {0};
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    const struct ledger_configuration *c = &service.genesis.configuration;
    struct error e;
    batch_make(&service, &b, 0, 3, 1);
    batch_votes(&service, &b, 7, false, &signatures, &nonces);
    nonces.data[0] ^= 1; /* the primary's */
    refused(ATOLL_ESIGNATURE,
            ledger_quorum_opened(c, &b.pp, b.pp_hash, 7, signatures.data, nonces.data, work, &e),
            &e);
    nonces.data[0] ^= 1;
    nonces.data[LEDGER_NONCE_LEN] ^= 1; /* a backup's: its Prepare becomes another one */
    assert_int_equal(
        ledger_quorum_opened(c, &b.pp, b.pp_hash, 7, signatures.data, nonces.data, work, &e), 3);
    assert_false(ed25519_verify(work[1].public_key, work[1].hash, HASH_LEN, work[1].signature));
    assert_true(ed25519_verify(work[2].public_key, work[2].hash, HASH_LEN, work[2].signature));
    buffer_free(&signatures);
    buffer_free(&nonces);
    batch_free(&b);
}

/* ---- view changes ---- */

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

/* ---- genesis ---- */

static void a_pre_prepare_is_of_a_batch_that_can_be(void **state)
{
    (void)state;
    static struct batch b;
    const struct {
        uint64_t seqno, first_index;
        unsigned kind;
        uint32_t count;
        int code;
        const char *words;
    } cases[] = {
        {1, 1, LEDGER_KIND_NORMAL, 1, 0, NULL},
        {1, 1, LEDGER_KIND_NORMAL, LEDGER_BATCH_MAX, 0, NULL},
        {1, UINT64_MAX - 3, LEDGER_KIND_NORMAL, 3, 0, NULL},
        {1, 1, LEDGER_KIND_START_CFG, 0, 0, NULL},
        {1, 1, LEDGER_KIND_EMPTY, 0, 0, NULL},
        {1, 1, LEDGER_KIND_NORMAL, LEDGER_BATCH_MAX + 1, ATOLL_ELIMIT, "too many"},
        {1, 1, LEDGER_KIND_NORMAL, 0, ATOLL_ECORRUPT, "a normal batch has"},
        {1, 1, LEDGER_KIND_EMPTY, 1, ATOLL_ECORRUPT, "has no transactions"},
        {1, 1, LEDGER_KIND_NORMAL - 1, 1, ATOLL_ECORRUPT, "unknown kind"},
        {1, 1, LEDGER_KIND_START_CFG + 1, 0, ATOLL_ECORRUPT, "unknown kind"},
        {0, 1, LEDGER_KIND_NORMAL, 1, ATOLL_ECORRUPT, "count from 1"},
        {1, UINT64_MAX - 2, LEDGER_KIND_NORMAL, 3, ATOLL_ECORRUPT, "pass the greatest number"},
    };
    batch_make(&service, &b, 0, 1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[LEDGER_PP_LEN];
        struct ledger_pp pp = b.pp, again;
        struct error e = {0};
        pp.seqno = cases[i].seqno;
        pp.first_index = cases[i].first_index;
        pp.kind = (enum ledger_kind)cases[i].kind;
        pp.count = cases[i].count;
        ledger_pp_encode(&pp, bytes);
        int rc = ledger_pp_decode(slice_of(bytes, sizeof bytes), &again, &e);
        assert_int_equal(rc, -cases[i].code);
        if (cases[i].words && !strstr(e.text, cases[i].words))
            fail_msg("\"%s\" instead of \"%s\"", e.text, cases[i].words);
    }
    batch_free(&b);
}

static void votes_are_of_replicas_that_a_configuration_can_have(void **state)
{
    (void)state;
    struct ledger_prepare prepare = {.seqno = 1, .replica = LEDGER_REPLICAS_MAX - 1}, again;
    struct ledger_commit commit = {.seqno = 1, .replica = LEDGER_REPLICAS_MAX}, opened;
    uint8_t bytes[LEDGER_PREPARE_SIGNED_LEN], nonce_hash[HASH_LEN], expected[HASH_LEN];
    struct error e;
    ledger_prepare_encode_signed(&prepare, bytes);
    assert_int_equal(ledger_prepare_decode_signed(slice_of(bytes, sizeof bytes), &again, &e), 0);
    prepare.replica = LEDGER_REPLICAS_MAX;
    ledger_prepare_encode_signed(&prepare, bytes);
    refused(ATOLL_ECORRUPT, ledger_prepare_decode_signed(slice_of(bytes, sizeof bytes), &again, &e),
            &e);
    ledger_commit_encode(&commit, bytes);
    refused(ATOLL_ECORRUPT, ledger_commit_decode(slice_of(bytes, LEDGER_COMMIT_LEN), &opened, &e),
            &e);
    ledger_nonce_hash(commit.nonce, nonce_hash);
    ledger_hash(LEDGER_TAG_NONCE, commit.nonce, LEDGER_NONCE_LEN, expected);
    assert_memory_equal(nonce_hash, expected, HASH_LEN);
}

static void evidence_has_as_many_of_everything_as_its_bits_say(void **state)
{
    (void)state;
    static struct batch b;
    struct ledger_evidence evidence;
    struct buffer bytes = {0};
    struct error e;
    /* view 8 | s 8 | bits 8 at 16 | count at 24, two signatures | count at 156, three nonces */
    static const struct {
        size_t at;
        uint32_t value;
        int code;
    } changes[] = {
        {16, 15, ATOLL_ECORRUPT},
        {24, LEDGER_REPLICAS_MAX, ATOLL_ECORRUPT},
        {24, LEDGER_REPLICAS_MAX + 1, ATOLL_ELIMIT},
        {156, LEDGER_REPLICAS_MAX, ATOLL_ECORRUPT},
        {156, LEDGER_REPLICAS_MAX + 1, ATOLL_ELIMIT},
    };
    batch_make(&service, &b, 0, 1, 1);
    batch_evidence(&service, &b, 7, &bytes);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        uint32_t was = load_u32(bytes.data + changes[i].at);
        store_u32(bytes.data + changes[i].at, changes[i].value);
        refused(changes[i].code, ledger_evidence_decode(slice_of_buffer(&bytes), &evidence, &e),
                &e);
        store_u32(bytes.data + changes[i].at, was);
    }
    assert_int_equal(ledger_evidence_decode(slice_of_buffer(&bytes), &evidence, &e), 0);
    buffer_free(&bytes);
    batch_free(&b);
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
        cmocka_unit_test(requests_and_their_bodies_have_one_encoding),
        cmocka_unit_test(a_members_body_has_one_encoding),
        cmocka_unit_test(what_batches_consist_of_has_one_encoding),
        cmocka_unit_test(view_changes_and_new_views_have_one_encoding),
        cmocka_unit_test(the_genesis_has_one_encoding),
        cmocka_unit_test(marks_of_signatures_have_one_encoding),
        cmocka_unit_test(a_pre_prepare_lies_where_its_drawing_says),
        cmocka_unit_test(hashes_begin_with_the_padded_tag),
        cmocka_unit_test(a_transaction_is_the_same_leaf_in_both_trees),
        cmocka_unit_test(a_signature_is_no_part_of_the_leaf_of_what_it_signs),
        cmocka_unit_test(every_entry_type_checks_its_own_payload),
        cmocka_unit_test(a_signed_request_asks_for_one_signature_check_that_holds),
        cmocka_unit_test(a_request_of_another_service_or_of_anyones_key_is_ill_formed),
        cmocka_unit_test(flags_that_nobody_defined_are_refused),
        cmocka_unit_test(limits_are_checked_before_lengths_are_believed),
        cmocka_unit_test(the_largest_request_passes_and_a_larger_one_does_not),
        cmocka_unit_test(one_signature_stands_for_every_member_of_a_bundle),
        cmocka_unit_test(a_foreign_member_does_not_lead_to_what_the_client_signed),
        cmocka_unit_test(a_bundle_has_members_and_not_too_many),
        cmocka_unit_test(a_pre_prepare_is_of_a_batch_that_can_be),
        cmocka_unit_test(votes_are_of_replicas_that_a_configuration_can_have),
        cmocka_unit_test(evidence_has_as_many_of_everything_as_its_bits_say),
        cmocka_unit_test(a_new_view_plans_every_batch_from_its_base_to_its_tip),
        cmocka_unit_test(a_view_change_says_yes_or_no_and_has_its_bounds),
        cmocka_unit_test(a_members_place_is_within_its_bundle_and_its_bundle_within_limits),
        cmocka_unit_test(what_is_remembered_of_one_bundle_does_not_speak_for_another),
        cmocka_unit_test(a_bodys_hash_names_its_signature_too),
        cmocka_unit_test(evidence_and_certificates_name_the_signatures_of_a_quorum),
        cmocka_unit_test(too_few_too_many_or_the_wrong_replicas_are_no_quorum),
        cmocka_unit_test(a_nonce_that_opens_nothing_is_noticed),
        cmocka_unit_test(certificates_of_a_view_change_are_one_row),
        cmocka_unit_test(view_changes_of_a_set_stand_in_order_and_once),
        cmocka_unit_test(a_genesis_out_of_range_is_refused),
        cmocka_unit_test(an_access_list_admits_whom_it_names),
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
