/* Replicas that say two things: what the others keep of it accuses them, and nobody else. */
#include "ledger_cluster.h"

static void deliver(struct cluster *c, unsigned from, unsigned to, const struct buffer *message)
{
    ledger_on_message(c->nodes[to].replica, (uint16_t)from, message->data, message->len);
    ledger_settle(c->nodes[to].replica);
    cluster_run(c);
}

/* The proof that a replica was left with blames `blamed`, by everything that a stranger checks. */
static void assert_proof(struct cluster *c, unsigned holder, enum ledger_proof_type type,
                         uint16_t blamed)
{
    struct ledger_verifier verifier = {cluster_verify, NULL};
    struct ledger_proof proof;
    struct error e;
    struct slice bytes;
    struct buffer *file = &c->nodes[holder].proof;
    assert_true(file->len > 0 && file->len <= LEDGER_PROOF_FILE_MAX);
    assert_int_equal(ledger_proof_file_decode(slice_of_buffer(file), c->genesis.hash, &bytes, &e),
                     0);
    if (ledger_proof_verify(bytes, &c->genesis.configuration, &verifier, &proof, &e))
        fail_msg("%s", e.text);
    assert_int_equal(proof.type, type);
    assert_int_equal(proof.blamed, blamed);
    /* One bit more or less, and it is none. */
    for (size_t i = 0; i < 8 * file->len; i += 7) {
        file->data[i / 8] ^= (uint8_t)(1u << i % 8);
        bool good = !ledger_proof_file_decode(slice_of_buffer(file), c->genesis.hash, &bytes, &e) &&
                    !ledger_proof_verify(bytes, &c->genesis.configuration, &verifier, &proof, &e);
        file->data[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_false(good);
    }
    size_t head = 44, len = file->len - head - HASH_LEN;
    for (size_t i = 0; i < 8 * len; i += 3) { /* nor when the file's checksum fits */
        uint8_t copy[LEDGER_PROOF_FILE_MAX];
        memcpy(copy, file->data + head, len);
        copy[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_true(ledger_proof_verify(slice_of(copy, len), &c->genesis.configuration, &verifier,
                                        &proof, &e) < 0);
    }
}

/* A Prepare of replica `who` for batch 1 of view 0 and a pp that there is not. */
static void false_prepare(struct cluster *c, uint16_t who, uint8_t mark, bool signed_by_him,
                          struct buffer *message)
{
    struct ledger_prepare p = {.view = 0, .seqno = 1, .replica = who};
    uint8_t hash[HASH_LEN];
    memset(p.pp_hash, mark, HASH_LEN);
    ledger_prepare_hash(&p, hash);
    cluster_sign(c->public_key[signed_by_him ? who : who + 1u], hash, p.signature);
    message->len = 0;
    assert_true(ledger_prepare_write(message, &p));
}

static void two_prepares_of_a_replica_are_kept_as_a_proof(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0};
    cluster_requests(c, 0, 0, 1);
    false_prepare(c, 2, 7, true, &message);
    deliver(c, 2, 1, &message);
    assert_int_equal(c->nodes[1].proofs, 1);
    assert_int_equal(cluster_status(c, 1).equivocations, 1);
    assert_proof(c, 1, LEDGER_PROOF_EQUIV_PREPARE, 2);
    /* One is enough, whatever else he says. */
    false_prepare(c, 2, 8, true, &message);
    deliver(c, 2, 1, &message);
    assert_int_equal(c->nodes[1].proofs, 1);
    /* It harms nobody. */
    cluster_requests(c, 0, 0, 3);
    cluster_assert_agree(c, 4);
    buffer_free(&message);
    cluster_destroy(c);
}

static void a_forged_contradiction_accuses_nobody(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0};
    cluster_requests(c, 0, 0, 1);
    false_prepare(c, 2, 7, false, &message);
    deliver(c, 3, 1, &message); /* passed on by a liar, in another's name */
    deliver(c, 2, 1, &message);
    assert_int_equal(c->nodes[1].proofs, 0);
    assert_int_equal(cluster_status(c, 1).equivocations, 0);
    /* A true one is heard all the same. */
    false_prepare(c, 2, 7, true, &message);
    deliver(c, 2, 1, &message);
    assert_int_equal(c->nodes[1].proofs, 1);
    buffer_free(&message);
    cluster_destroy(c);
}

static void the_same_statement_twice_accuses_nobody(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0};
    cluster_requests(c, 0, 0, 1);
    const struct slot *slot = slot_in_ledger(c->nodes[1].replica, 1);
    assert_true(slot->votes[2].valid);
    assert_true(ledger_prepare_write(&message, &slot->votes[2].prepare));
    deliver(c, 2, 1, &message);
    cluster_pass(c, 3000000);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(c->nodes[i].proofs, 0);
    buffer_free(&message);
    cluster_destroy(c);
}

static void two_pps_of_a_primary_are_kept_as_a_proof(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0};
    struct ledger_message_writer w;
    uint8_t hash[HASH_LEN];
    cluster_requests(c, 0, 0, 1);
    struct ledger_pp pp = slot_in_ledger(c->nodes[1].replica, 1)->pp;
    pp.kv_digest[0] ^= 1;
    ledger_pp_hash(&pp, hash);
    cluster_sign(c->public_key[0], hash, pp.signature);
    assert_true(ledger_pre_prepare_begin(&w, &message, &pp, (struct slice){NULL, 0}));
    struct buffer body = {0};
    cluster_body(c, 0, 1, 0, &body, hash);
    assert_true(ledger_pre_prepare_body(&w, slice_of_buffer(&body)));
    ledger_message_end(&w);
    deliver(c, 3, 1, &message); /* whoever brings it */
    assert_int_equal(c->nodes[1].proofs, 1);
    assert_proof(c, 1, LEDGER_PROOF_EQUIV_PP, 0);
    buffer_free(&body);
    buffer_free(&message);
    cluster_destroy(c);
}

static void evidence_of_another_batch_accuses_all_who_signed_both(void **state)
{
    (void)state;
    struct cluster *c = cluster_create(4);
    struct buffer message = {0}, bytes = {0};
    uint8_t hash[HASH_LEN], signatures[3][ED25519_SIGNATURE_LEN], nonces[3][LEDGER_NONCE_LEN];
    cluster_requests(c, 0, 0, 1);
    cluster_pass(c, 1000000);
    /* Primary 0 and backups 2 and 3 sign another batch 1 together: more than f. */
    struct ledger_pp pp = slot_in_ledger(c->nodes[1].replica, 1)->pp;
    memset(nonces, 5, sizeof nonces);
    ledger_nonce_hash(nonces[0], pp.nonce_commit);
    pp.batch_root[0] ^= 1;
    ledger_pp_hash(&pp, hash);
    cluster_sign(c->public_key[0], hash, pp.signature);
    for (uint16_t i = 2; i < 4; i++) {
        struct ledger_prepare p = {.view = 0, .seqno = 1, .replica = i};
        memcpy(p.nonce_commit, pp.nonce_commit, HASH_LEN);
        ledger_pp_hash(&pp, p.pp_hash);
        ledger_prepare_hash(&p, hash);
        cluster_sign(c->public_key[i], hash, signatures[i - 2]);
    }
    struct ledger_evidence evidence = {.view = 0,
                                       .seqno = 1,
                                       .bits = 0xd,
                                       .prepare_count = 2,
                                       .signatures = signatures[0],
                                       .nonce_count = 3,
                                       .nonces = nonces[0]};
    assert_true(ledger_evidence_encode(&evidence, &bytes));
    assert_true(ledger_evidence_write(&message, &pp, slice_of_buffer(&bytes)));
    struct slot *slot = slot_find(c->nodes[1].replica, 1);
    slot->evidence.len = 0; /* as if ours were not complete yet */
    deliver(c, 3, 1, &message);
    assert_int_equal(c->nodes[1].replica->conflicts_proven[LEDGER_PROOF_EQUIV_PP], 1);
    assert_int_equal(c->nodes[1].replica->conflicts_proven[LEDGER_PROOF_EQUIV_PREPARE], 0xc);
    buffer_free(&bytes);
    buffer_free(&message);
    cluster_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_prepares_of_a_replica_are_kept_as_a_proof),
        cmocka_unit_test(a_forged_contradiction_accuses_nobody),
        cmocka_unit_test(the_same_statement_twice_accuses_nobody),
        cmocka_unit_test(two_pps_of_a_primary_are_kept_as_a_proof),
        cmocka_unit_test(evidence_of_another_batch_accuses_all_who_signed_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
