/* Receipts: what holds, which rule fails, how large they are (src/ledger/object/receipt.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_canonical.h"
#include "ledger_objects.h"

#include "crypto/ed25519_batch.h"
#include "ledger/object/receipt_batch.h"

#include <string.h>

static struct service service;
static struct batch batch;   /* of 300, primary is replica 1 */
static struct buffer sample; /* the receipt of its transaction 123 */

static int world_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    batch_make(&service, &batch, 1, 9, BATCH_TXS);
    batch_receipt(&service, &batch, 123, 0xb, &sample);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    buffer_free(&sample);
    batch_free(&batch);
    service_free(&service);
    return 0;
}

static int rule_of(struct slice bytes, enum ledger_rule *failed)
{
    struct ledger_receipt_info info;
    struct error e = {0};
    int result = ledger_receipt_verify(bytes, &service.keys, NULL, &info, &e);
    *failed = info.failed;
    assert_true((result == 0) == (info.failed == LEDGER_RULE_HOLDS));
    if (result < 0)
        assert_true(e.code == result && strlen(e.text) > 10);
    return result;
}

static void expect(struct slice bytes, int code, enum ledger_rule wanted)
{
    enum ledger_rule failed;
    int result = rule_of(bytes, &failed);
    assert_string_equal(ledger_rule_name(failed), ledger_rule_name(wanted));
    assert_int_equal(result, -code);
}

/* The sample decoded, to be changed and encoded again. */
static struct ledger_receipt sample_open(void)
{
    struct ledger_receipt receipt;
    struct error e;
    assert_int_equal(ledger_receipt_decode(slice_of_buffer(&sample), &receipt, &e), 0);
    return receipt;
}

static void expect_changed(const struct ledger_receipt *receipt, int code, enum ledger_rule wanted)
{
    struct buffer bytes = {0};
    assert_true(ledger_receipt_encode(receipt, &bytes));
    expect(slice_of_buffer(&bytes), code, wanted);
    buffer_free(&bytes);
}

/* ---- what holds ---- */

static void every_transaction_of_a_batch_has_a_receipt_that_holds(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    for (uint32_t i = 0; i < BATCH_TXS; i += 13) {
        bytes.len = 0;
        batch_receipt(&service, &batch, i, 0xe, &bytes);
        expect(slice_of_buffer(&bytes), 0, LEDGER_RULE_HOLDS);
    }
    bytes.len = 0;
    batch_receipt(&service, &batch, UINT32_MAX, 7, &bytes);
    expect(slice_of_buffer(&bytes), 0, LEDGER_RULE_HOLDS);
    buffer_free(&bytes);
}

static void any_quorum_with_the_primary_will_do(void **state)
{
    (void)state;
    static const unsigned sizes[] = {4, 5, 6, 7, 10, 16};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        static struct service s;
        static struct batch b;
        service_make(&s, sizes[k]);
        unsigned quorum = ledger_quorum(&s.genesis.configuration);
        for (unsigned view = 0; view < sizes[k]; view++) {
            struct buffer bytes = {0};
            struct ledger_receipt_info info;
            struct error e;
            batch_make(&s, &b, view, 1, 1);
            uint64_t last = ((UINT64_C(1) << quorum) - 1) << (sizes[k] - quorum);
            uint64_t bits = last >> view & 1 ? last : batch_bits(&s, &b);
            batch_receipt(&s, &b, 0, bits, &bytes);
            assert_int_equal(
                ledger_receipt_verify(slice_of_buffer(&bytes), &s.keys, NULL, &info, &e), 0);
            buffer_free(&bytes);
            batch_free(&b);
        }
        service_free(&s);
    }
}

static void a_bundles_member_has_a_receipt_of_its_own(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer bundle_bytes = {0}, bodies = {0}, bytes = {0};
    struct ledger_bundle bundle;
    size_t ends[16];
    uint8_t hash[HASH_LEN];
    struct error e;
    service_bundle(&service, 2, 16, &bundle_bytes);
    assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bundle_bytes), &bundle, &e), 0);
    assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e), 0);
    batch_make(&service, &b, 0, 1, 0);
    b.pp.kind = LEDGER_KIND_NORMAL;
    b.pp.count = 3; /* the bundle is split: members 4, 5 and 6 are in this batch */
    for (uint32_t i = 0; i < 3; i++)
        batch_tx_add(&b, slice_of(bodies.data + ends[3 + i], ends[4 + i] - ends[3 + i]),
                     b.pp.first_index + i);
    struct merkle_hash root = merkle_tree_root(b.tree);
    memcpy(b.pp.batch_root, root.bytes, HASH_LEN);
    batch_sign(&service, &b);
    for (uint32_t i = 0; i < 3; i++) {
        bytes.len = 0;
        batch_receipt(&service, &b, i, 7, &bytes);
        expect(slice_of_buffer(&bytes), 0, LEDGER_RULE_HOLDS);
    }
    buffer_free(&bundle_bytes);
    buffer_free(&bodies);
    buffer_free(&bytes);
    batch_free(&b);
}

/* ---- which rule fails ---- */

static void the_rule_that_fails_is_named_exactly(void **state)
{
    (void)state;
    struct ledger_receipt good = sample_open(), r;
    r = good;
    r.pp.config = 1;
    expect_changed(&r, ATOLL_ENOENT, LEDGER_RULE_CONFIGURATION);
    r = good;
    r.pp.kind = LEDGER_KIND_CHECKPOINT;
    r.pp.count = 0;
    expect_changed(&r, ATOLL_EINVAL, LEDGER_RULE_SUBJECT);
    r = good;
    r.position = BATCH_TXS;
    expect_changed(&r, ATOLL_ERANGE, LEDGER_RULE_POSITION);
    r = good;
    r.pp.first_index++;
    expect_changed(&r, ATOLL_ERANGE, LEDGER_RULE_POSITION);
    r = good;
    r.path_len--;
    expect_changed(&r, ATOLL_EPATH, LEDGER_RULE_PATH);
    r = good;
    r.pp.batch_root[0] ^= 1;
    expect_changed(&r, ATOLL_EPATH, LEDGER_RULE_PATH);
    r = good;
    r.bits = 0xd; /* without replica 1 */
    expect_changed(&r, ATOLL_EQUORUM, LEDGER_RULE_QUORUM);
    r = good;
    r.bits = 0x13; /* with a replica 4 */
    expect_changed(&r, ATOLL_EQUORUM, LEDGER_RULE_QUORUM);
    r = good;
    r.bits = 3;
    r.signer_count = 2;
    expect_changed(&r, ATOLL_EQUORUM, LEDGER_RULE_QUORUM);
    r = good;
    r.pp.nonce_commit[5] ^= 1;
    expect_changed(&r, ATOLL_ESIGNATURE, LEDGER_RULE_COMMITMENT);
    r = good;
    r.pp.kv_digest[5] ^= 1;
    expect_changed(&r, ATOLL_ESIGNATURE, LEDGER_RULE_PRIMARY_SIGNATURE);
    r = good;
    r.bits = 0xe; /* signatures of 0, 1, 3 passed off as those of 1, 2, 3 */
    expect_changed(&r, ATOLL_ESIGNATURE, LEDGER_RULE_COMMITMENT);
}

static void a_changed_signature_or_nonce_is_pinned_on_its_replica(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    /* Signers 0, 1 (primary), 3: their signatures begin at 221, their nonces at 417. */
    static const struct {
        size_t at;
        enum ledger_rule rule;
        const char *who;
    } changes[] = {
        {221, LEDGER_RULE_PREPARE_SIGNATURE, "replica 0"},
        {221 + 64, LEDGER_RULE_PRIMARY_SIGNATURE, "replica 1"},
        {221 + 128, LEDGER_RULE_PREPARE_SIGNATURE, "replica 3"},
        {417, LEDGER_RULE_PREPARE_SIGNATURE, "replica 0"},
        {417 + 32, LEDGER_RULE_COMMITMENT, "replica 1"},
        {417 + 64, LEDGER_RULE_PREPARE_SIGNATURE, "replica 3"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct ledger_receipt_info info;
        struct error e;
        bytes.len = 0;
        assert_true(buffer_append(&bytes, sample.data, sample.len));
        bytes.data[changes[i].at] ^= 4;
        assert_int_equal(
            ledger_receipt_verify(slice_of_buffer(&bytes), &service.keys, NULL, &info, &e),
            -ATOLL_ESIGNATURE);
        assert_int_equal(info.failed, changes[i].rule);
        assert_non_null(strstr(e.text, changes[i].who));
    }
    buffer_free(&bytes);
}

static void a_receipt_of_another_services_request_does_not_hold(void **state)
{
    (void)state;
    struct ledger_keys keys = service.keys;
    struct ledger_receipt_info info;
    struct error e;
    keys.genesis[0] ^= 1;
    assert_int_equal(ledger_receipt_verify(slice_of_buffer(&sample), &keys, NULL, &info, &e),
                     -ATOLL_EINVAL);
    assert_int_equal(info.failed, LEDGER_RULE_REQUEST);
}

/* A batch of one transaction, whose request the replicas took as it is. */
static void expect_with_request(const struct ledger_request *request, unsigned signer, int code,
                                enum ledger_rule rule)
{
    static struct batch b;
    struct buffer body = {0}, bytes = {0};
    batch_make(&service, &b, 0, 1, 0);
    service_body(&service, signer, request, &body);
    b.pp.count = 1;
    batch_tx_add(&b, slice_of_buffer(&body), b.pp.first_index);
    struct merkle_hash root = merkle_tree_root(b.tree);
    memcpy(b.pp.batch_root, root.bytes, HASH_LEN);
    batch_sign(&service, &b);
    batch_receipt(&service, &b, 0, 7, &bytes);
    expect(slice_of_buffer(&bytes), code, rule);
    buffer_free(&body);
    buffer_free(&bytes);
    batch_free(&b);
}

static void replicas_cannot_make_up_a_clients_request(void **state)
{
    (void)state;
    struct ledger_request request = service_request(&service, 0, 1, "x");
    expect_with_request(&request, 0, 0, LEDGER_RULE_HOLDS);
    expect_with_request(&request, 1, ATOLL_ESIGNATURE, LEDGER_RULE_REQUEST_SIGNATURE);
    memset(request.client, 0, sizeof request.client);
    request.client[0] = 1;
    expect_with_request(&request, 0, ATOLL_EPERM, LEDGER_RULE_REQUEST);
}

static void an_index_at_or_below_min_index_breaks_a_rule_in_an_otherwise_good_receipt(void **state)
{
    (void)state;
    struct ledger_request request = service_request(&service, 0, 1, "x");
    request.min_index = 999; /* the batch begins at 1000 */
    expect_with_request(&request, 0, 0, LEDGER_RULE_HOLDS);
    request.min_index = 1000;
    expect_with_request(&request, 0, ATOLL_ERANGE, LEDGER_RULE_MIN_INDEX);
    /* It is judged last, so that it blames nobody who did not sign. */
    expect_with_request(&request, 1, ATOLL_ESIGNATURE, LEDGER_RULE_REQUEST_SIGNATURE);
}

static void an_empty_batch_has_an_empty_tree(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer bytes = {0};
    batch_make(&service, &b, 0, 1, 0);
    b.pp.kind = LEDGER_KIND_EMPTY;
    batch_sign(&service, &b);
    batch_receipt(&service, &b, UINT32_MAX, 7, &bytes);
    expect(slice_of_buffer(&bytes), 0, LEDGER_RULE_HOLDS);
    bytes.len = 0;
    b.pp.batch_root[0] ^= 1;
    batch_sign(&service, &b);
    batch_receipt(&service, &b, UINT32_MAX, 7, &bytes);
    expect(slice_of_buffer(&bytes), ATOLL_EINVAL, LEDGER_RULE_SUBJECT);
    buffer_free(&bytes);
    batch_free(&b);
}

/* ---- bytes ---- */

static void receipts_and_their_files_have_one_encoding(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer bytes = {0}, file = {0};
    batch_make(&service, &b, 0, 1, 2);
    batch_receipt(&service, &b, 1, 7, &bytes);
    canonical_check("receipt", receipt_again, slice_of_buffer(&bytes));
    assert_true(ledger_receipt_file_encode(slice_of_buffer(&bytes), service.genesis.hash, &file));
    canonical_check("receipt file", receipt_file_again, slice_of_buffer(&file));
    bytes.len = 0;
    batch_receipt(&service, &b, UINT32_MAX, 7, &bytes);
    canonical_check("batch receipt", receipt_again, slice_of_buffer(&bytes));
    buffer_free(&bytes);
    buffer_free(&file);
    batch_free(&b);
}

static void no_changed_bit_of_a_receipt_goes_unnoticed(void **state)
{
    (void)state;
    static struct batch b;
    struct buffer bytes = {0};
    enum ledger_rule failed;
    batch_make(&service, &b, 0, 1, 2);
    batch_receipt(&service, &b, 1, 7, &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= (uint8_t)(1u << i % 8);
        if (rule_of(slice_of_buffer(&bytes), &failed) == 0)
            fail_msg("bit %zu of byte %zu may be changed", i % 8, i);
        bytes.data[i] ^= (uint8_t)(1u << i % 8);
    }
    buffer_free(&bytes);
    batch_free(&b);
}

static void a_receipt_of_a_batch_of_300_takes_less_than_a_kilobyte(void **state)
{
    (void)state;
    struct ledger_receipt receipt = sample_open();
    assert_int_equal(receipt.path_len, 9);
    assert_int_equal(sample.len - receipt.tx_bytes.len, 814);
    struct buffer file = {0};
    assert_true(ledger_receipt_file_encode(slice_of_buffer(&sample), service.genesis.hash, &file));
    assert_int_equal(file.len, sample.len + LEDGER_FILE_OVERHEAD);
    buffer_free(&file);
}

static void a_damaged_file_says_so(void **state)
{
    (void)state;
    struct buffer file = {0};
    struct slice receipt;
    uint8_t genesis[HASH_LEN];
    struct error e;
    assert_true(ledger_receipt_file_encode(slice_of_buffer(&sample), service.genesis.hash, &file));
    assert_int_equal(ledger_receipt_file_decode(slice_of_buffer(&file), &receipt, genesis, &e), 0);
    assert_memory_equal(genesis, service.genesis.hash, HASH_LEN);
    assert_true(slice_equal(receipt, slice_of_buffer(&sample)));
    file.data[file.len / 2] ^= 1;
    assert_int_equal(ledger_receipt_file_decode(slice_of_buffer(&file), &receipt, genesis, &e),
                     -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "checksum"));
    file.data[8] = 2;
    assert_int_equal(ledger_receipt_file_decode(slice_of_buffer(&file), &receipt, genesis, &e),
                     -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "version 2"));
    assert_int_equal(ledger_receipt_file_decode(text_slice("nothing"), &receipt, genesis, &e),
                     -ATOLL_ECORRUPT);
    buffer_free(&file);
}

static void every_list_has_its_bound_before_its_bytes_are_looked_at(void **state)
{
    (void)state;
    struct ledger_receipt receipt = sample_open();
    /* Three signers: bits at 209, signatures' count at 217, nonces' at 413, subject at 513, the
     * transaction's length at 514; position and path behind it. */
    size_t path = 518 + receipt.tx_bytes.len + 4;
    const struct {
        size_t at;
        uint32_t value;
        int code;
    } changes[] = {
        {217, LEDGER_REPLICAS_MAX, ATOLL_ECORRUPT},
        {217, LEDGER_REPLICAS_MAX + 1, ATOLL_ELIMIT},
        {413, LEDGER_REPLICAS_MAX, ATOLL_ECORRUPT},
        {413, LEDGER_REPLICAS_MAX + 1, ATOLL_ELIMIT},
        {514, LEDGER_TX_MAX, ATOLL_ECORRUPT},
        {514, LEDGER_TX_MAX + 1, ATOLL_ELIMIT},
        {path, LEDGER_BATCH_PATH_MAX, ATOLL_ECORRUPT},
        {path, LEDGER_BATCH_PATH_MAX + 1, ATOLL_ELIMIT},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buffer bytes = {0};
        assert_true(buffer_append(&bytes, sample.data, sample.len));
        store_u32(bytes.data + changes[i].at, changes[i].value);
        expect(slice_of_buffer(&bytes), changes[i].code, LEDGER_RULE_FORMAT);
        buffer_free(&bytes);
    }
    static uint8_t zeros[LEDGER_RECEIPT_MAX + 1];
    expect(slice_of(zeros, LEDGER_RECEIPT_MAX), ATOLL_ECORRUPT, LEDGER_RULE_FORMAT);
    expect(slice_of(zeros, LEDGER_RECEIPT_MAX + 1), ATOLL_ELIMIT, LEDGER_RULE_FORMAT);
}

static void lists_and_subject_fit_what_is_said_of_them(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    assert_true(buffer_append(&bytes, sample.data, sample.len));
    bytes.data[209] ^= 4; /* one bit more, or less, than signatures */
    expect(slice_of_buffer(&bytes), ATOLL_ECORRUPT, LEDGER_RULE_FORMAT);
    bytes.len = 0;
    batch_receipt(&service, &batch, UINT32_MAX, 7, &bytes);
    expect(slice_of_buffer(&bytes), 0, LEDGER_RULE_HOLDS);
    bytes.data[bytes.len - 1] = 2; /* neither a batch's nor a transaction's */
    expect(slice_of_buffer(&bytes), ATOLL_ECORRUPT, LEDGER_RULE_FORMAT);
    buffer_free(&bytes);
}

static void a_place_behind_the_batch_is_none_though_the_index_would_fit(void **state)
{
    (void)state;
    struct ledger_receipt r = sample_open();
    r.position = BATCH_TXS;
    r.pp.first_index = r.tx.index - BATCH_TXS;
    expect_changed(&r, ATOLL_ERANGE, LEDGER_RULE_POSITION);
}

static void of_many_signers_the_one_that_did_not_sign_is_named(void **state)
{
    (void)state;
    static struct service s;
    static struct batch b;
    service_make(&s, 10); /* seven sign: 0 to 6, of whom 2 is the primary */
    batch_make(&s, &b, 2, 1, 1);
    for (unsigned i = 0; i < 7; i++) {
        struct buffer bytes = {0};
        struct ledger_receipt_info info;
        struct error e;
        char who[32];
        batch_receipt(&s, &b, 0, 0x7f, &bytes);
        bytes.data[221 + 64 * i] ^= 1;
        snprintf(who, sizeof who, "replica %u", i);
        assert_int_equal(ledger_receipt_verify(slice_of_buffer(&bytes), &s.keys, NULL, &info, &e),
                         -ATOLL_ESIGNATURE);
        assert_int_equal(info.failed,
                         i == 2 ? LEDGER_RULE_PRIMARY_SIGNATURE : LEDGER_RULE_PREPARE_SIGNATURE);
        assert_non_null(strstr(e.text, who));
        buffer_free(&bytes);
    }
    batch_free(&b);
    service_free(&s);
}

static void all_of_64_replicas_can_be_in_a_quorum(void **state)
{
    (void)state;
    static struct ledger_configuration c = {.replica_count = LEDGER_REPLICAS_MAX};
    static uint8_t key[ED25519_KEY_LEN], signatures[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN],
        nonces[LEDGER_REPLICAS_MAX][LEDGER_NONCE_LEN];
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    struct ledger_pp pp = {.view = 63, .seqno = 1, .kind = LEDGER_KIND_NORMAL, .count = 1};
    uint8_t hash[HASH_LEN];
    struct error e;
    for (unsigned i = 0; i < LEDGER_REPLICAS_MAX; i++)
        c.replicas[i].public_key = key;
    ledger_nonce_hash(nonces[0], pp.nonce_commit);
    ledger_pp_hash(&pp, hash);
    uint64_t last = UINT64_MAX << 21; /* 43 of them: Q */
    assert_int_equal(ledger_quorum_signed(&c, &pp, hash, last, signatures[0], nonces[0], work, &e),
                     43);
    c.replica_count = 63;
    pp.view = 62;
    assert_int_equal(
        ledger_quorum_signed(&c, &pp, hash, last << 1, signatures[0], nonces[0], work, &e),
        -ATOLL_EQUORUM);
    assert_non_null(strstr(e.text, "beyond the 63"));
}

static void every_rule_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LEDGER_RULES; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(ledger_rule_name((enum ledger_rule)i),
                                    ledger_rule_name((enum ledger_rule)k));
    assert_string_equal(ledger_rule_name(LEDGER_RULE_FORMAT), "format");
    assert_string_equal(ledger_rule_name(LEDGER_RULE_PREPARE_SIGNATURE), "prepare signature");
    assert_string_equal(ledger_rule_name(LEDGER_RULES), "unknown");
}

/* ---- many at once ---- */

#define MANY 100

static void many_receipts_get_the_verdicts_of_each(void **state)
{
    (void)state;
    static struct buffer bytes[MANY];
    struct slice slices[MANY];
    enum ledger_rule failed[MANY], single;
    static const size_t capacities[] = {1, 65, 200, 8192};
    struct error e;
    for (uint32_t i = 0; i < MANY; i++) {
        batch_receipt(&service, &batch, i, i % 2 ? 0xe : 7, &bytes[i]);
        if (i % 7 == 3) /* changed somewhere, another place in each */
            bytes[i].data[(size_t)i * 9] ^= 1;
        if (i % 31 == 5)
            bytes[i].len -= i;
        slices[i] = slice_of_buffer(&bytes[i]);
    }
    for (size_t k = 0; k < sizeof capacities / sizeof capacities[0]; k++) {
        struct ledger_batch_verifier *verifier;
        for (uint32_t i = 0; i < MANY; i++)
            failed[i] = LEDGER_RULES;
        assert_int_equal(ledger_batch_verifier_create(capacities[k], &verifier, &e), 0);
        assert_int_equal(ledger_receipts_verify(verifier, slices, MANY, &service.keys, failed, &e),
                         0);
        unsigned good = 0;
        for (uint32_t i = 0; i < MANY; i++) {
            rule_of(slices[i], &single);
            assert_int_equal(failed[i], single);
            good += single == LEDGER_RULE_HOLDS;
        }
        assert_true(good > MANY / 2 && good < MANY);
        ledger_batch_verifier_destroy(verifier);
    }
    for (uint32_t i = 0; i < MANY; i++)
        buffer_free(&bytes[i]);
}

static void the_batch_verifier_serves_single_receipts_too(void **state)
{
    (void)state;
    struct ledger_batch_verifier *batch_verifier;
    struct ledger_receipt_info info;
    struct error e;
    for (size_t capacity = 1; capacity <= 5; capacity++) { /* of four signatures */
        assert_int_equal(ledger_batch_verifier_create(capacity, &batch_verifier, &e), 0);
        struct ledger_verifier verifier = ledger_batch_verifier_of(batch_verifier);
        assert_int_equal(
            ledger_receipt_verify(slice_of_buffer(&sample), &service.keys, &verifier, &info, &e),
            0);
        assert_int_equal(info.receipt.tx.index, 9123);
        ledger_batch_verifier_destroy(batch_verifier);
    }
    assert_int_equal(ledger_batch_verifier_create(0, &batch_verifier, &e), -ATOLL_EINVAL);
    assert_int_equal(ledger_batch_verifier_create(ED25519_BATCH_MAX + 1, &batch_verifier, &e),
                     -ATOLL_EINVAL);
    ledger_batch_verifier_destroy(NULL);
}

/* A verifier of somebody else: the simulator's. */
static int nothing_verifies(void *context, const struct ledger_signature *items, size_t count,
                            bool *valid, struct error *e)
{
    (void)items, (void)e;
    *(size_t *)context += count;
    memset(valid, 0, count * sizeof *valid);
    return 0;
}

static void whoever_calls_may_bring_a_verifier(void **state)
{
    (void)state;
    size_t asked = 0;
    struct ledger_verifier verifier = {nothing_verifies, &asked};
    struct ledger_receipt_info info;
    struct error e;
    assert_int_equal(
        ledger_receipt_verify(slice_of_buffer(&sample), &service.keys, &verifier, &info, &e),
        -ATOLL_ESIGNATURE);
    assert_int_equal(asked, 4);
}

static int nothing_is_judged(void *context, const struct ledger_signature *items, size_t count,
                             bool *valid, struct error *e)
{
    (void)context, (void)items;
    memset(valid, 1, count * sizeof *valid);
    return error_set(e, ATOLL_EUNAVAIL, "no verdicts today");
}

static void without_verdicts_nothing_holds(void **state)
{
    (void)state;
    struct ledger_verifier verifier = {nothing_is_judged, NULL};
    struct ledger_receipt_info info;
    struct error e;
    assert_int_equal(
        ledger_receipt_verify(slice_of_buffer(&sample), &service.keys, &verifier, &info, &e),
        -ATOLL_EUNAVAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_transaction_of_a_batch_has_a_receipt_that_holds),
        cmocka_unit_test(any_quorum_with_the_primary_will_do),
        cmocka_unit_test(a_bundles_member_has_a_receipt_of_its_own),
        cmocka_unit_test(the_rule_that_fails_is_named_exactly),
        cmocka_unit_test(a_changed_signature_or_nonce_is_pinned_on_its_replica),
        cmocka_unit_test(a_receipt_of_another_services_request_does_not_hold),
        cmocka_unit_test(replicas_cannot_make_up_a_clients_request),
        cmocka_unit_test(an_index_at_or_below_min_index_breaks_a_rule_in_an_otherwise_good_receipt),
        cmocka_unit_test(an_empty_batch_has_an_empty_tree),
        cmocka_unit_test(receipts_and_their_files_have_one_encoding),
        cmocka_unit_test(no_changed_bit_of_a_receipt_goes_unnoticed),
        cmocka_unit_test(a_receipt_of_a_batch_of_300_takes_less_than_a_kilobyte),
        cmocka_unit_test(a_damaged_file_says_so),
        cmocka_unit_test(many_receipts_get_the_verdicts_of_each),
        cmocka_unit_test(the_batch_verifier_serves_single_receipts_too),
        cmocka_unit_test(whoever_calls_may_bring_a_verifier),
        cmocka_unit_test(without_verdicts_nothing_holds),
        cmocka_unit_test(every_list_has_its_bound_before_its_bytes_are_looked_at),
        cmocka_unit_test(lists_and_subject_fit_what_is_said_of_them),
        cmocka_unit_test(a_place_behind_the_batch_is_none_though_the_index_would_fit),
        cmocka_unit_test(of_many_signers_the_one_that_did_not_sign_is_named),
        cmocka_unit_test(every_rule_has_a_name_of_its_own),
        cmocka_unit_test(all_of_64_replicas_can_be_in_a_quorum),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
