/* Two statements that contradict each other; see proof.h. */
#include "ledger/object/proof.h"

#include "ledger/object/read.h"
#include "ledger/object/sealed_file.h"
#include "ledger/object/write.h"

const char *ledger_proof_name(enum ledger_proof_type type)
{
    return type == LEDGER_PROOF_EQUIV_PP ? "EQUIV_PP" : "EQUIV_PREPARE";
}

static int proof_append(enum ledger_proof_type type, struct slice a, struct slice b, int order,
                        struct buffer *out, struct error *e)
{
    uint8_t *at = buffer_extend(out, 1 + 4 + 4 + a.len + 4 + b.len);
    if (!at)
        return error_set(e, ATOLL_ENOMEM, "no memory for a proof");
    at = put_u8(at, (uint8_t)type);
    at = put_u32(at, 0);
    at = put_bytes(at, order < 0 ? a : b);
    put_bytes(at, order < 0 ? b : a);
    return 0;
}

static int no_contradiction(struct error *e)
{
    return error_set(e, ATOLL_EINVAL, "these two statements do not contradict each other");
}

int ledger_proof_of_pps(const struct ledger_pp *a, const struct ledger_pp *b, struct buffer *out,
                        struct error *e)
{
    uint8_t bytes[2][LEDGER_PP_SIGNED_LEN], hash[2][HASH_LEN];
    ledger_pp_hash(a, hash[0]);
    ledger_pp_hash(b, hash[1]);
    int order = memcmp(hash[0], hash[1], HASH_LEN);
    if (a->config != b->config || a->view != b->view || a->seqno != b->seqno || order == 0)
        return no_contradiction(e);
    ledger_pp_encode_signed(a, bytes[0]);
    ledger_pp_encode_signed(b, bytes[1]);
    return proof_append(LEDGER_PROOF_EQUIV_PP, slice_of(bytes[0], sizeof bytes[0]),
                        slice_of(bytes[1], sizeof bytes[1]), order, out, e);
}

int ledger_proof_of_prepares(const struct ledger_prepare *a, const struct ledger_prepare *b,
                             struct buffer *out, struct error *e)
{
    uint8_t bytes[2][LEDGER_PREPARE_SIGNED_LEN];
    int order = memcmp(a->pp_hash, b->pp_hash, HASH_LEN);
    if (a->config != b->config || a->view != b->view || a->seqno != b->seqno ||
        a->replica != b->replica || order == 0)
        return no_contradiction(e);
    ledger_prepare_encode_signed(a, bytes[0]);
    ledger_prepare_encode_signed(b, bytes[1]);
    return proof_append(LEDGER_PROOF_EQUIV_PREPARE, slice_of(bytes[0], sizeof bytes[0]),
                        slice_of(bytes[1], sizeof bytes[1]), order, out, e);
}

/* What a statement is about, and which pp it is for. */
struct statement {
    uint32_t config;
    uint64_t view, seqno;
    uint16_t replica;
    uint8_t pp_hash[HASH_LEN];
};

static int statement_decode(enum ledger_proof_type type, struct slice bytes, struct statement *out,
                            struct error *e)
{
    struct ledger_pp pp;
    struct ledger_prepare prepare;
    int rc;
    if (type == LEDGER_PROOF_EQUIV_PP) {
        rc = ledger_pp_decode_signed(bytes, &pp, e);
        if (rc)
            return rc;
        *out = (struct statement){pp.config, pp.view, pp.seqno, 0, {0}};
        ledger_pp_hash(&pp, out->pp_hash);
        return 0;
    }
    rc = ledger_prepare_decode_signed(bytes, &prepare, e);
    if (rc)
        return rc;
    *out = (struct statement){prepare.config, prepare.view, prepare.seqno, prepare.replica, {0}};
    memcpy(out->pp_hash, prepare.pp_hash, HASH_LEN);
    return 0;
}

int ledger_proof_decode(struct slice bytes, struct ledger_proof *proof, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "proof");
    struct statement said[2];
    unsigned type = ledger_read_u8(&r);
    if (type != LEDGER_PROOF_EQUIV_PP && type != LEDGER_PROOF_EQUIV_PREPARE)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "there is no such type of proof");
    if (ledger_read_u32(&r) != 0)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "configurations do not change yet");
    proof->type = (enum ledger_proof_type)type;
    for (int i = 0; i < 2; i++)
        proof->statements[i] =
            ledger_read_bytes(&r, LEDGER_PP_SIGNED_LEN, "a statement is too long");
    int rc = ledger_read_end(&r, e);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = statement_decode(proof->type, proof->statements[i], &said[i], e);
    if (rc)
        return rc;
    if (said[0].config != said[1].config || said[0].view != said[1].view ||
        said[0].seqno != said[1].seqno || said[0].replica != said[1].replica ||
        memcmp(said[0].pp_hash, said[1].pp_hash, HASH_LEN) >= 0)
        return error_set(e, ATOLL_ECORRUPT,
                         "the two statements of the proof do not contradict each other, or stand "
                         "in the wrong order");
    proof->config = said[0].config;
    proof->view = said[0].view;
    proof->seqno = said[0].seqno;
    proof->blamed = said[0].replica;
    return 0;
}

int ledger_proof_check(const struct ledger_configuration *c, struct ledger_proof *proof,
                       struct ledger_signature work[static 2], struct error *e)
{
    bool pps = proof->type == LEDGER_PROOF_EQUIV_PP;
    uint16_t primary = ledger_primary(c, proof->view);
    if (proof->config != c->number)
        return error_set(e, ATOLL_EINVAL, "the proof is of configuration %u, not %u", proof->config,
                         c->number);
    if (pps)
        proof->blamed = primary;
    else if (proof->blamed >= c->replica_count || proof->blamed == primary)
        return error_set(e, ATOLL_EINVAL, "replica %u is no backup of view %llu", proof->blamed,
                         (unsigned long long)proof->view);
    for (int i = 0; i < 2; i++) {
        struct ledger_pp pp;
        struct ledger_prepare prepare;
        const struct slice *s = &proof->statements[i];
        int rc = pps ? ledger_pp_decode_signed(*s, &pp, e)
                     : ledger_prepare_decode_signed(*s, &prepare, e);
        if (rc)
            return rc;
        if (pps)
            ledger_pp_hash(&pp, work[i].hash);
        else
            ledger_prepare_hash(&prepare, work[i].hash);
        work[i].public_key = c->replicas[proof->blamed].public_key;
        work[i].signature = s->data + s->len - ED25519_SIGNATURE_LEN;
    }
    return 2;
}

int ledger_proof_verify(struct slice bytes, const struct ledger_configuration *c,
                        const struct ledger_verifier *verifier, struct ledger_proof *out,
                        struct error *e)
{
    struct ledger_signature work[2];
    bool valid[2] = {false, false};
    int rc = ledger_proof_decode(bytes, out, e);
    if (rc == 0)
        rc = ledger_proof_check(c, out, work, e);
    if (rc < 0)
        return rc;
    rc = verifier->verify(verifier->context, work, 2, valid, e);
    if (rc < 0)
        return rc;
    if (!valid[0] || !valid[1])
        return error_set(e, ATOLL_ESIGNATURE,
                         "a signature is not replica %u's: the proof proves nothing", out->blamed);
    return 0;
}

/* ---- files ---- */

static const char file_magic[] = "atollpom";

bool ledger_proof_file_encode(struct slice proof, const uint8_t genesis[static HASH_LEN],
                              struct buffer *out)
{
    return ledger_file_encode(file_magic, proof, genesis, out);
}

int ledger_proof_file_decode(struct slice file, const uint8_t genesis[static HASH_LEN],
                             struct slice *proof, struct error *e)
{
    uint8_t service[HASH_LEN];
    int rc = ledger_file_decode(file_magic, "proof", file, proof, service, e);
    if (rc == 0 && memcmp(service, genesis, HASH_LEN) != 0)
        return error_set(e, ATOLL_EINVAL, "the proof is of another service");
    return rc;
}
