/*
 * Statements that contradict each other: two pps, or two Prepares, of one replica for one (view,
 * s). No correct replica signs both, so whoever holds both holds a proof (object/proof.h), which
 * the driver is given to keep.
 *
 * Of a replica one proof of each type is enough, and one pair at a time is checked for it: a liar
 * with many contradictions costs no more than one with one.
 */
#include "ledger/object/proof.h"
#include "ledger/replica/core.h"

struct conflict {
    struct ledger_proof proof;
    struct buffer bytes;
};

void conflict_free(struct conflict *c)
{
    if (c)
        buffer_free(&c->bytes);
    free(c);
}

static uint64_t conflict_bit(uint16_t replica)
{
    return UINT64_C(1) << replica;
}

/* Takes the proof's bytes over and has the signatures checked. */
static void conflict_send(struct ledger_replica *r, uint16_t blamed, enum ledger_proof_type type,
                          struct buffer *bytes)
{
    struct error e;
    struct conflict *c = calloc(1, sizeof *c);
    struct job *job = c ? job_take(r, JOB_CONFLICT, 2) : NULL;
    if (!job) {
        buffer_free(bytes);
        free(c);
        return;
    }
    c->bytes = *bytes;
    if (ledger_proof_decode(slice_of_buffer(&c->bytes), &c->proof, &e) ||
        ledger_proof_check(r->configuration, &c->proof, job->items, &e) < 0) {
        job_give(r, job);
        conflict_free(c);
        return;
    }
    job->count = 2;
    job->subject = c;
    r->conflicts_out[type] |= conflict_bit(blamed);
    job_send(r, job);
}

static bool conflict_is_news(const struct ledger_replica *r, uint16_t blamed,
                             enum ledger_proof_type type)
{
    return blamed != r->self &&
           !((r->conflicts_out[type] | r->conflicts_proven[type]) & conflict_bit(blamed));
}

/* Two pps of one primary; they need not contradict each other, nor be signed at all. */
void conflict_pps(struct ledger_replica *r, const struct ledger_pp *a, const struct ledger_pp *b)
{
    struct error e;
    struct buffer bytes = {0};
    uint16_t primary = primary_of(r, a->view);
    if (conflict_is_news(r, primary, LEDGER_PROOF_EQUIV_PP) &&
        !ledger_proof_of_pps(a, b, &bytes, &e))
        conflict_send(r, primary, LEDGER_PROOF_EQUIV_PP, &bytes);
}

/* Two Prepares of one backup; as above. */
void conflict_prepares(struct ledger_replica *r, const struct ledger_prepare *a,
                       const struct ledger_prepare *b)
{
    struct error e;
    struct buffer bytes = {0};
    if (conflict_is_news(r, a->replica, LEDGER_PROOF_EQUIV_PREPARE) &&
        !ledger_proof_of_prepares(a, b, &bytes, &e))
        conflict_send(r, a->replica, LEDGER_PROOF_EQUIV_PREPARE, &bytes);
}

/* Evidence of another batch than ours in the same view: what its signers said, against what they
 * said here. */
void conflict_evidence(struct ledger_replica *r, const struct slot *slot,
                       const struct ledger_pp *pp, const struct ledger_evidence *evidence)
{
    uint16_t primary = primary_of(r, pp->view);
    struct ledger_prepare prepare = {.config = pp->config, .view = pp->view, .seqno = pp->seqno};
    const uint8_t *signature = evidence->signatures, *nonce = evidence->nonces;
    if (slot->view != pp->view)
        return;
    conflict_pps(r, &slot->pp, pp);
    ledger_pp_hash(pp, prepare.pp_hash);
    for (uint16_t i = 0; i < r->n; i++) {
        if (!(evidence->bits >> i & 1))
            continue;
        if (i != primary) {
            prepare.replica = i;
            ledger_nonce_hash(nonce, prepare.nonce_commit);
            memcpy(prepare.signature, signature, ED25519_SIGNATURE_LEN);
            if (slot->votes[i].valid)
                conflict_prepares(r, &slot->votes[i].prepare, &prepare);
            signature += ED25519_SIGNATURE_LEN;
        }
        nonce += LEDGER_NONCE_LEN;
    }
}

void conflict_verified(struct ledger_replica *r, struct job *job)
{
    struct conflict *c = job->subject;
    uint64_t bit = conflict_bit(c->proof.blamed);
    r->conflicts_out[c->proof.type] &= ~bit;
    if (job->valid[0] && job->valid[1]) {
        r->conflicts_proven[c->proof.type] |= bit;
        r->counters.equivocations++;
        r->scratch.len = 0;
        if (r->env.proof &&
            ledger_proof_file_encode(slice_of_buffer(&c->bytes), r->genesis.hash, &r->scratch))
            r->env.proof(r->env.context, &c->proof, slice_of_buffer(&r->scratch));
    } else {
        r->counters.signatures_bad++;
    }
    conflict_free(c);
}
