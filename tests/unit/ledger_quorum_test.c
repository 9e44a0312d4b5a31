/* Batches, the votes on them and what a quorum of votes is (src/ledger/object/batch.h, quorum.h).
 */
#include "ledger_object_service.h"

/* ---- batches ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pre_prepare_is_of_a_batch_that_can_be),
        cmocka_unit_test(votes_are_of_replicas_that_a_configuration_can_have),
        cmocka_unit_test(evidence_has_as_many_of_everything_as_its_bits_say),
        cmocka_unit_test(evidence_and_certificates_name_the_signatures_of_a_quorum),
        cmocka_unit_test(too_few_too_many_or_the_wrong_replicas_are_no_quorum),
        cmocka_unit_test(a_nonce_that_opens_nothing_is_noticed),
    };
    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
