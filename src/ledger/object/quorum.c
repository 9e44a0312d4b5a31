/* The signatures behind a quorum's statements; see quorum.h. */
#include "ledger/object/quorum.h"

#include "ledger/object/tag.h"

static uint64_t all_bits(const struct ledger_configuration *c)
{
    return c->replica_count == 64 ? UINT64_MAX : (UINT64_C(1) << c->replica_count) - 1;
}

static int bits_check(const struct ledger_configuration *c, uint64_t bits, unsigned wanted,
                      const char *what, struct error *e)
{
    unsigned found = (unsigned)__builtin_popcountll(bits);
    if (bits & ~all_bits(c))
        return error_set(e, ATOLL_EQUORUM, "%s names replicas beyond the %u of configuration %u",
                         what, c->replica_count, c->number);
    if (found != wanted)
        return error_set(e, ATOLL_EQUORUM, "%s names %u replicas; exactly %u of %u are needed",
                         what, found, wanted, c->replica_count);
    return 0;
}

static void primary_work(const struct ledger_configuration *c, const struct ledger_pp *pp,
                         const uint8_t *pp_hash, const uint8_t *signature,
                         struct ledger_signature *work)
{
    memcpy(work->hash, pp_hash, HASH_LEN);
    work->public_key = c->replicas[ledger_primary(c, pp->view)].public_key;
    work->signature = signature;
}

static void prepare_work(const struct ledger_configuration *c, const struct ledger_pp *pp,
                         const uint8_t *pp_hash, uint16_t replica, const uint8_t *nonce_commit,
                         const uint8_t *signature, struct ledger_signature *work)
{
    struct ledger_prepare prepare = {
        .config = pp->config, .view = pp->view, .seqno = pp->seqno, .replica = replica};
    memcpy(prepare.nonce_commit, nonce_commit, HASH_LEN);
    memcpy(prepare.pp_hash, pp_hash, HASH_LEN);
    ledger_prepare_hash(&prepare, work->hash);
    work->public_key = c->replicas[replica].public_key;
    work->signature = signature;
}

static int quorum_check(const struct ledger_configuration *c, const struct ledger_pp *pp,
                        uint64_t bits, struct error *e)
{
    uint16_t primary = ledger_primary(c, pp->view);
    int result = bits_check(c, bits, ledger_quorum(c), "the quorum of a batch", e);
    if (result == 0 && !(bits >> primary & 1))
        return error_set(e, ATOLL_EQUORUM,
                         "the quorum of a batch lacks replica %u, the primary of its view",
                         primary);
    return result;
}

/* The work of a quorum. `signatures` has the primary's among them when it_too, else the pp does. */
static int quorum_work(const struct ledger_configuration *c, const struct ledger_pp *pp,
                       const uint8_t *pp_hash, uint64_t bits, const uint8_t *signatures,
                       bool it_too, const uint8_t *nonces, struct ledger_signature *work,
                       struct error *e)
{
    uint16_t primary = ledger_primary(c, pp->view);
    unsigned next = 1;
    int result = quorum_check(c, pp, bits, e);
    if (result < 0)
        return result;
    for (uint64_t left = bits; left; left &= left - 1, nonces += LEDGER_NONCE_LEN) {
        uint16_t replica = (uint16_t)__builtin_ctzll(left);
        uint8_t commitment[HASH_LEN];
        ledger_nonce_hash(nonces, commitment);
        if (replica != primary) {
            prepare_work(c, pp, pp_hash, replica, commitment, signatures, &work[next++]);
        } else {
            if (!hash_equal(commitment, pp->nonce_commit))
                return error_set(e, ATOLL_ESIGNATURE,
                                 "the nonce of replica %u, the primary, does not open the "
                                 "commitment in its pre-prepare",
                                 primary);
            primary_work(c, pp, pp_hash, it_too ? signatures : pp->signature, &work[0]);
        }
        if (replica != primary || it_too)
            signatures += ED25519_SIGNATURE_LEN;
    }
    return (int)next;
}

int ledger_quorum_opened(const struct ledger_configuration *c, const struct ledger_pp *pp,
                         const uint8_t pp_hash[static HASH_LEN], uint64_t bits,
                         const uint8_t *backup_signatures, const uint8_t *nonces,
                         struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *e)
{
    return quorum_work(c, pp, pp_hash, bits, backup_signatures, false, nonces, work, e);
}

int ledger_quorum_signed(const struct ledger_configuration *c, const struct ledger_pp *pp,
                         const uint8_t pp_hash[static HASH_LEN], uint64_t bits,
                         const uint8_t *signatures, const uint8_t *nonces,
                         struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *e)
{
    return quorum_work(c, pp, pp_hash, bits, signatures, true, nonces, work, e);
}

int ledger_evidence_check(const struct ledger_configuration *c, const struct ledger_pp *pp,
                          const struct ledger_evidence *evidence,
                          struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *e)
{
    if (evidence->view != pp->view || evidence->seqno != pp->seqno)
        return error_set(e, ATOLL_EINVAL,
                         "the evidence is for batch %llu of view %llu, not for batch %llu of view "
                         "%llu",
                         (unsigned long long)evidence->seqno, (unsigned long long)evidence->view,
                         (unsigned long long)pp->seqno, (unsigned long long)pp->view);
    uint8_t pp_hash[HASH_LEN];
    ledger_pp_hash(pp, pp_hash);
    return ledger_quorum_opened(c, pp, pp_hash, evidence->bits, evidence->signatures,
                                evidence->nonces, work, e);
}

int ledger_certificate_check(const struct ledger_configuration *c,
                             const struct ledger_certificate *certificate,
                             struct ledger_signature work[static LEDGER_REPLICAS_MAX],
                             struct error *e)
{
    const struct ledger_pp *pp = &certificate->pp;
    unsigned quorum = ledger_quorum(c), next = 1;
    int result = bits_check(c, certificate->bits, quorum - 1, "a certificate", e);
    if (result < 0)
        return result;
    uint16_t primary = ledger_primary(c, pp->view);
    if (certificate->bits >> primary & 1)
        return error_set(e, ATOLL_EQUORUM,
                         "a certificate counts replica %u, the primary, among the backups",
                         primary);
    uint8_t pp_hash[HASH_LEN];
    ledger_pp_hash(pp, pp_hash);
    primary_work(c, pp, pp_hash, pp->signature, &work[0]);
    const uint8_t *vote = certificate->votes;
    for (uint64_t left = certificate->bits; left; left &= left - 1) {
        prepare_work(c, pp, pp_hash, (uint16_t)__builtin_ctzll(left), vote, vote + HASH_LEN,
                     &work[next++]);
        vote += LEDGER_CERTIFICATE_VOTE_LEN;
    }
    return (int)quorum;
}
