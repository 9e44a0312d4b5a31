/* The ledger's objects have one encoding each, whose bytes and hashes are those of their drawings
 * (src/ledger/object). */
#include "ledger_object_service.h"

#include "ledger_canonical.h"

static void check_buffer(const char *name, again_function *again, struct buffer *sample)
{
    canonical_check(name, again, slice_of_buffer(sample));
    sample->len = 0;
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
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
