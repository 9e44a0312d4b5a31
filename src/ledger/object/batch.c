/* Pre-prepares, prepares, commits, evidence and transactions; formats in batch.h. */
#include "ledger/object/batch.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

const char *ledger_kind_name(enum ledger_kind kind)
{
    switch (kind) {
    case LEDGER_KIND_NORMAL: return "normal";
    case LEDGER_KIND_EMPTY: return "empty";
    case LEDGER_KIND_CHECKPOINT: return "checkpoint";
    case LEDGER_KIND_END_CFG: return "end_cfg";
    case LEDGER_KIND_START_CFG: return "start_cfg";
    }
    return "unknown";
}

/* ---- pre-prepare ---- */

void ledger_pp_encode(const struct ledger_pp *pp, uint8_t out[static LEDGER_PP_LEN])
{
    uint8_t *at = put_u32(out, pp->config);
    at = put_u64(at, pp->view);
    at = put_u64(at, pp->seqno);
    at = put_u8(at, (uint8_t)pp->kind);
    at = put_raw(at, pp->ledger_root, HASH_LEN);
    at = put_raw(at, pp->batch_root, HASH_LEN);
    at = put_u64(at, pp->first_index);
    at = put_u32(at, pp->count);
    at = put_raw(at, pp->nonce_commit, HASH_LEN);
    at = put_u64(at, pp->evidence_bits);
    at = put_u64(at, pp->gov_index);
    at = put_raw(at, pp->kv_digest, HASH_LEN);
    at = put_raw(at, pp->previous, HASH_LEN);
    assert(at == out + LEDGER_PP_LEN);
}

void ledger_pp_encode_signed(const struct ledger_pp *pp, uint8_t out[static LEDGER_PP_SIGNED_LEN])
{
    ledger_pp_encode(pp, out);
    put_raw(out + LEDGER_PP_LEN, pp->signature, ED25519_SIGNATURE_LEN);
}

/* The kind, and whether it may have as many transactions. */
void ledger_read_kind(struct ledger_reader *r, unsigned kind, uint32_t count)
{
    if (kind < LEDGER_KIND_NORMAL || kind > LEDGER_KIND_START_CFG)
        ledger_read_fail(r, ATOLL_ECORRUPT, "a batch has an unknown kind");
    else if (kind != LEDGER_KIND_NORMAL && count > 0)
        ledger_read_fail(r, ATOLL_ECORRUPT, "a batch of its kind has no transactions");
    else if (kind == LEDGER_KIND_NORMAL && count == 0)
        ledger_read_fail(r, ATOLL_ECORRUPT, "a normal batch has transactions");
    else if (count > LEDGER_BATCH_MAX)
        ledger_read_fail(r, ATOLL_ELIMIT, "a batch has too many transactions");
}

static void pp_fields_read(struct ledger_reader *r, struct ledger_pp *pp)
{
    pp->config = ledger_read_u32(r);
    pp->view = ledger_read_u64(r);
    pp->seqno = ledger_read_u64(r);
    unsigned kind = ledger_read_u8(r);
    pp->kind = (enum ledger_kind)kind;
    ledger_read_copy(r, pp->ledger_root, HASH_LEN);
    ledger_read_copy(r, pp->batch_root, HASH_LEN);
    pp->first_index = ledger_read_u64(r);
    pp->count = ledger_read_u32(r);
    ledger_read_copy(r, pp->nonce_commit, HASH_LEN);
    pp->evidence_bits = ledger_read_u64(r);
    pp->gov_index = ledger_read_u64(r);
    ledger_read_copy(r, pp->kv_digest, HASH_LEN);
    ledger_read_copy(r, pp->previous, HASH_LEN);
    ledger_read_kind(r, kind, pp->count);
    if (pp->seqno == 0)
        ledger_read_fail(r, ATOLL_ECORRUPT, "batches count from 1");
    if (pp->first_index > UINT64_MAX - pp->count)
        ledger_read_fail(r, ATOLL_ECORRUPT, "its transactions' indices pass the greatest number");
}

void ledger_read_pp_fields(struct ledger_reader *r, struct ledger_pp *pp)
{
    pp_fields_read(r, pp);
    memset(pp->signature, 0, sizeof pp->signature);
}

void ledger_read_pp_signed(struct ledger_reader *r, struct ledger_pp *pp)
{
    pp_fields_read(r, pp);
    ledger_read_copy(r, pp->signature, ED25519_SIGNATURE_LEN);
}

int ledger_pp_decode(struct slice bytes, struct ledger_pp *pp, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "pre-prepare");
    ledger_read_pp_fields(&r, pp);
    return ledger_read_end(&r, e);
}

int ledger_pp_decode_signed(struct slice bytes, struct ledger_pp *pp, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "signed pre-prepare");
    ledger_read_pp_signed(&r, pp);
    return ledger_read_end(&r, e);
}

void ledger_pp_hash(const struct ledger_pp *pp, uint8_t out[static HASH_LEN])
{
    uint8_t fields[LEDGER_PP_LEN];
    ledger_pp_encode(pp, fields);
    ledger_hash(LEDGER_TAG_PP, fields, sizeof fields, out);
}

/* ---- prepare and commit ---- */

static void prepare_encode(const struct ledger_prepare *p, uint8_t out[static LEDGER_PREPARE_LEN])
{
    uint8_t *at = put_u32(out, p->config);
    at = put_u64(at, p->view);
    at = put_u64(at, p->seqno);
    at = put_u16(at, p->replica);
    at = put_raw(at, p->nonce_commit, HASH_LEN);
    at = put_raw(at, p->pp_hash, HASH_LEN);
    assert(at == out + LEDGER_PREPARE_LEN);
}

void ledger_prepare_encode_signed(const struct ledger_prepare *p,
                                  uint8_t out[static LEDGER_PREPARE_SIGNED_LEN])
{
    prepare_encode(p, out);
    put_raw(out + LEDGER_PREPARE_LEN, p->signature, ED25519_SIGNATURE_LEN);
}

/* Replicas are places in a configuration, whoever says so. */
uint16_t ledger_read_replica(struct ledger_reader *r)
{
    uint16_t replica = ledger_read_u16(r);
    if (replica >= LEDGER_REPLICAS_MAX)
        ledger_read_fail(r, ATOLL_ECORRUPT, "no configuration has that many replicas");
    return replica;
}

int ledger_prepare_decode_signed(struct slice bytes, struct ledger_prepare *p, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "prepare");
    p->config = ledger_read_u32(&r);
    p->view = ledger_read_u64(&r);
    p->seqno = ledger_read_u64(&r);
    p->replica = ledger_read_replica(&r);
    ledger_read_copy(&r, p->nonce_commit, HASH_LEN);
    ledger_read_copy(&r, p->pp_hash, HASH_LEN);
    ledger_read_copy(&r, p->signature, ED25519_SIGNATURE_LEN);
    return ledger_read_end(&r, e);
}

void ledger_prepare_hash(const struct ledger_prepare *p, uint8_t out[static HASH_LEN])
{
    uint8_t fields[LEDGER_PREPARE_LEN];
    prepare_encode(p, fields);
    ledger_hash(LEDGER_TAG_PREPARE, fields, sizeof fields, out);
}

void ledger_commit_encode(const struct ledger_commit *c, uint8_t out[static LEDGER_COMMIT_LEN])
{
    uint8_t *at = put_u64(out, c->view);
    at = put_u64(at, c->seqno);
    at = put_u16(at, c->replica);
    at = put_raw(at, c->nonce, LEDGER_NONCE_LEN);
    assert(at == out + LEDGER_COMMIT_LEN);
}

int ledger_commit_decode(struct slice bytes, struct ledger_commit *c, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "commit");
    c->view = ledger_read_u64(&r);
    c->seqno = ledger_read_u64(&r);
    c->replica = ledger_read_replica(&r);
    ledger_read_copy(&r, c->nonce, LEDGER_NONCE_LEN);
    return ledger_read_end(&r, e);
}

void ledger_nonce_hash(const uint8_t nonce[static LEDGER_NONCE_LEN], uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_NONCE, nonce, LEDGER_NONCE_LEN, out);
}

/* ---- evidence ---- */

bool ledger_evidence_encode(const struct ledger_evidence *evidence, struct buffer *out)
{
    size_t signatures = (size_t)evidence->prepare_count * ED25519_SIGNATURE_LEN;
    size_t nonces = (size_t)evidence->nonce_count * LEDGER_NONCE_LEN;
    assert(evidence->nonce_count == (unsigned)__builtin_popcountll(evidence->bits) &&
           evidence->nonce_count == evidence->prepare_count + 1);
    uint8_t *at = buffer_extend(out, 8 + 8 + 8 + 4 + signatures + 4 + nonces);
    if (!at)
        return false;
    at = put_u64(at, evidence->view);
    at = put_u64(at, evidence->seqno);
    at = put_u64(at, evidence->bits);
    at = put_list(at, evidence->prepare_count, evidence->signatures, signatures);
    put_list(at, evidence->nonce_count, evidence->nonces, nonces);
    return true;
}

int ledger_evidence_decode(struct slice bytes, struct ledger_evidence *evidence, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "evidence");
    evidence->view = ledger_read_u64(&r);
    evidence->seqno = ledger_read_u64(&r);
    evidence->bits = ledger_read_u64(&r);
    evidence->prepare_count = ledger_read_count(&r, LEDGER_REPLICAS_MAX, ED25519_SIGNATURE_LEN,
                                                "it has more signatures than replicas");
    evidence->signatures =
        ledger_read_raw(&r, (size_t)evidence->prepare_count * ED25519_SIGNATURE_LEN);
    evidence->nonce_count = ledger_read_count(&r, LEDGER_REPLICAS_MAX, LEDGER_NONCE_LEN,
                                              "it has more nonces than replicas");
    evidence->nonces = ledger_read_raw(&r, (size_t)evidence->nonce_count * LEDGER_NONCE_LEN);
    if (evidence->nonce_count != (unsigned)__builtin_popcountll(evidence->bits) ||
        evidence->nonce_count != evidence->prepare_count + 1)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "its lists are not as long as its bits say");
    return ledger_read_end(&r, e);
}

/* ---- transactions ---- */

bool ledger_tx_encode(const struct ledger_tx *tx, struct buffer *out)
{
    assert(tx->body.len <= LEDGER_BODY_MAX && tx->output.len <= LEDGER_OUTPUT_MAX);
    uint8_t *at = buffer_extend(out, LEDGER_TX_FIXED_LEN + tx->body.len + tx->output.len);
    if (!at)
        return false;
    at = put_u64(at, tx->index);
    at = put_bytes(at, tx->body);
    at = put_u32(at, (uint32_t)tx->status);
    at = put_bytes(at, tx->output);
    put_raw(at, tx->writeset_hash, HASH_LEN);
    return true;
}

int ledger_tx_decode(struct slice bytes, struct ledger_tx *tx, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "transaction");
    tx->index = ledger_read_u64(&r);
    tx->body = ledger_read_bytes(&r, LEDGER_BODY_MAX, "its request is longer than one may be");
    tx->status = (int32_t)ledger_read_u32(&r);
    tx->output = ledger_read_bytes(&r, LEDGER_OUTPUT_MAX, "its output is longer than one may be");
    ledger_read_copy(&r, tx->writeset_hash, HASH_LEN);
    return ledger_read_end(&r, e);
}

void ledger_tx_hash(struct slice bytes, uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_TX, bytes.data, bytes.len, out);
}

struct merkle_hash ledger_batch_root_empty(void)
{
    return merkle_empty();
}

struct merkle_hash
ledger_batch_root_configuration(const uint8_t configuration_hash[static HASH_LEN])
{
    return merkle_leaf(configuration_hash, HASH_LEN);
}
