/* Receipts: building, reading, checking; formats and rules in receipt.h. */
#include "ledger/object/receipt.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

enum { SUBJECT_BATCH = 0, SUBJECT_TRANSACTION = 1 };

const char *ledger_rule_name(enum ledger_rule rule)
{
    static const char *const names[LEDGER_RULES] = {
        [LEDGER_RULE_HOLDS] = "ok",
        [LEDGER_RULE_FORMAT] = "format",
        [LEDGER_RULE_CONFIGURATION] = "configuration",
        [LEDGER_RULE_SUBJECT] = "subject",
        [LEDGER_RULE_POSITION] = "position",
        [LEDGER_RULE_PATH] = "path",
        [LEDGER_RULE_QUORUM] = "quorum",
        [LEDGER_RULE_COMMITMENT] = "commitment",
        [LEDGER_RULE_REQUEST] = "request",
        [LEDGER_RULE_REQUEST_SIGNATURE] = "request signature",
        [LEDGER_RULE_PRIMARY_SIGNATURE] = "primary signature",
        [LEDGER_RULE_PREPARE_SIGNATURE] = "prepare signature",
        [LEDGER_RULE_MIN_INDEX] = "min_index",
    };
    return (unsigned)rule < LEDGER_RULES ? names[rule] : "unknown";
}

/* ---- encoding ---- */

bool ledger_receipt_encode(const struct ledger_receipt *receipt, struct buffer *out)
{
    size_t signatures = (size_t)receipt->signer_count * ED25519_SIGNATURE_LEN;
    size_t nonces = (size_t)receipt->signer_count * LEDGER_NONCE_LEN;
    size_t path = (size_t)receipt->path_len * HASH_LEN;
    assert(receipt->signer_count == (unsigned)__builtin_popcountll(receipt->bits));
    size_t len = LEDGER_PP_LEN + 8 + 4 + signatures + 4 + nonces + 1;
    if (receipt->of_transaction)
        len += 4 + receipt->tx_bytes.len + 4 + 4 + path;
    uint8_t *at = buffer_extend(out, len);
    if (!at)
        return false;
    ledger_pp_encode(&receipt->pp, at);
    at = put_u64(at + LEDGER_PP_LEN, receipt->bits);
    at = put_list(at, receipt->signer_count, receipt->signatures, signatures);
    at = put_list(at, receipt->signer_count, receipt->nonces, nonces);
    at = put_u8(at, receipt->of_transaction ? SUBJECT_TRANSACTION : SUBJECT_BATCH);
    if (receipt->of_transaction) {
        at = put_bytes(at, receipt->tx_bytes);
        at = put_u32(at, receipt->position);
        put_list(at, receipt->path_len, receipt->path, path);
    }
    return true;
}

/* ---- decoding ---- */

static void signers_read(struct ledger_reader *r, struct ledger_receipt *receipt)
{
    receipt->bits = ledger_read_u64(r);
    receipt->signer_count = ledger_read_count(r, LEDGER_REPLICAS_MAX, ED25519_SIGNATURE_LEN,
                                              "it has more signatures than replicas");
    receipt->signatures = ledger_read_raw(r, (size_t)receipt->signer_count * ED25519_SIGNATURE_LEN);
    uint32_t nonces = ledger_read_count(r, LEDGER_REPLICAS_MAX, LEDGER_NONCE_LEN,
                                        "it has more nonces than replicas");
    receipt->nonces = ledger_read_raw(r, (size_t)nonces * LEDGER_NONCE_LEN);
    if (receipt->signer_count != (unsigned)__builtin_popcountll(receipt->bits) ||
        receipt->signer_count != nonces)
        ledger_read_fail(r, ATOLL_ECORRUPT, "its lists are not as long as its bits say");
}

static void transaction_read(struct ledger_reader *r, struct ledger_receipt *receipt)
{
    receipt->tx_bytes =
        ledger_read_bytes(r, LEDGER_TX_MAX, "its transaction is longer than one may be");
    receipt->position = ledger_read_u32(r);
    receipt->path_len = ledger_read_count(r, LEDGER_BATCH_PATH_MAX, HASH_LEN,
                                          "its path is longer than that of any batch");
    receipt->path =
        (const struct merkle_hash *)ledger_read_raw(r, (size_t)receipt->path_len * HASH_LEN);
}

int ledger_receipt_decode(struct slice bytes, struct ledger_receipt *receipt, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "receipt");
    *receipt = (struct ledger_receipt){0};
    if (bytes.len > LEDGER_RECEIPT_MAX)
        ledger_read_fail(&r, ATOLL_ELIMIT, "it is longer than a receipt may be");
    ledger_read_pp_fields(&r, &receipt->pp);
    signers_read(&r, receipt);
    unsigned subject = ledger_read_u8(&r);
    receipt->of_transaction = subject == SUBJECT_TRANSACTION;
    if (subject > SUBJECT_TRANSACTION)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "it is neither of a batch nor of a transaction");
    if (receipt->of_transaction)
        transaction_read(&r, receipt);
    int result = ledger_read_end(&r, e);
    if (result == 0 && receipt->of_transaction)
        result = ledger_tx_decode(receipt->tx_bytes, &receipt->tx, e);
    if (result == 0 && receipt->of_transaction)
        result = ledger_body_decode(receipt->tx.body, &receipt->body, e);
    return result;
}

/* ---- checking ---- */

struct ledger_keys ledger_keys_of(const struct ledger_genesis *genesis)
{
    struct ledger_keys keys = {.configurations = &genesis->configuration, .configuration_count = 1};
    memcpy(keys.genesis, genesis->hash, HASH_LEN);
    return keys;
}

static int subject_check(const struct ledger_receipt *receipt, struct error *e)
{
    const struct ledger_pp *pp = &receipt->pp;
    if (receipt->of_transaction && pp->kind != LEDGER_KIND_NORMAL)
        return error_set(e, ATOLL_EINVAL, "a batch of kind %s has no transactions",
                         ledger_kind_name(pp->kind));
    struct merkle_hash empty = ledger_batch_root_empty();
    if (pp->kind == LEDGER_KIND_EMPTY && !hash_equal(pp->batch_root, empty.bytes))
        return error_set(e, ATOLL_EINVAL, "the batch is empty, but its tree is not");
    return 0;
}

static int position_check(const struct ledger_receipt *receipt, struct error *e)
{
    const struct ledger_pp *pp = &receipt->pp;
    if (receipt->position >= pp->count)
        return error_set(e, ATOLL_ERANGE, "the transaction is number %u of a batch of %u",
                         receipt->position, pp->count);
    if (receipt->tx.index != pp->first_index + receipt->position)
        return error_set(e, ATOLL_ERANGE,
                         "the transaction says that its index is %llu; its place in the batch "
                         "makes it %llu",
                         (unsigned long long)receipt->tx.index,
                         (unsigned long long)(pp->first_index + receipt->position));
    return 0;
}

static int path_check(const struct ledger_receipt *receipt, struct error *e)
{
    struct merkle_hash root, leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, receipt->tx_bytes);
    memcpy(root.bytes, receipt->pp.batch_root, HASH_LEN);
    if (!merkle_path_verify(&leaf, receipt->position, receipt->pp.count, receipt->path,
                            receipt->path_len, &root))
        return error_set(e, ATOLL_EPATH,
                         "transaction and path do not lead to the root of the batch's tree: one "
                         "of them is not what the replicas signed");
    return 0;
}

int ledger_receipt_check(const struct ledger_receipt *receipt, const struct ledger_keys *keys,
                         struct ledger_signature work[static LEDGER_RECEIPT_SIGNATURES_MAX],
                         enum ledger_rule *failed, struct error *e)
{
    const struct ledger_pp *pp = &receipt->pp;
    *failed = LEDGER_RULE_CONFIGURATION;
    if (pp->config >= keys->configuration_count)
        return error_set(e, ATOLL_ENOENT,
                         "the receipt is of configuration %u, and the keys of only %u "
                         "configurations are known",
                         pp->config, keys->configuration_count);
    *failed = LEDGER_RULE_SUBJECT;
    int result = subject_check(receipt, e);
    if (result == 0 && receipt->of_transaction) {
        *failed = LEDGER_RULE_POSITION;
        result = position_check(receipt, e);
    }
    if (result == 0 && receipt->of_transaction) {
        *failed = LEDGER_RULE_PATH;
        result = path_check(receipt, e);
    }
    if (result < 0)
        return result;
    unsigned first = receipt->of_transaction;
    uint8_t pp_hash[HASH_LEN], req_hash[HASH_LEN];
    ledger_pp_hash(pp, pp_hash);
    int count = ledger_quorum_signed(&keys->configurations[pp->config], pp, pp_hash, receipt->bits,
                                     receipt->signatures, receipt->nonces, work + first, e);
    *failed = count == -ATOLL_ESIGNATURE ? LEDGER_RULE_COMMITMENT : LEDGER_RULE_QUORUM;
    if (count < 0 || !receipt->of_transaction)
        return count;
    *failed = LEDGER_RULE_REQUEST;
    result = ledger_body_check(&receipt->body, keys->genesis, req_hash, &work[0], e);
    return result < 0 ? result : count + 1;
}

/* The replica behind signature i of the backups, for the message. */
static unsigned backup_number(const struct ledger_receipt *receipt,
                              const struct ledger_configuration *c, unsigned i)
{
    uint64_t left = receipt->bits & ~(UINT64_C(1) << ledger_primary(c, receipt->pp.view));
    while (i--)
        left &= left - 1;
    return (unsigned)__builtin_ctzll(left);
}

int ledger_receipt_judge(const struct ledger_receipt *receipt, const struct ledger_keys *keys,
                         const bool *valid, enum ledger_rule *failed, struct error *e)
{
    const struct ledger_configuration *c = &keys->configurations[receipt->pp.config];
    unsigned first = receipt->of_transaction;
    *failed = LEDGER_RULE_REQUEST_SIGNATURE;
    if (first && !valid[0])
        return error_set(e, ATOLL_ESIGNATURE, "the request is not signed by its client's key");
    *failed = LEDGER_RULE_PRIMARY_SIGNATURE;
    if (!valid[first])
        return error_set(e, ATOLL_ESIGNATURE,
                         "the pre-prepare is not signed by replica %u, the primary",
                         ledger_primary(c, receipt->pp.view));
    *failed = LEDGER_RULE_PREPARE_SIGNATURE;
    for (unsigned i = 1; i < receipt->signer_count; i++)
        if (!valid[first + i])
            return error_set(e, ATOLL_ESIGNATURE,
                             "replica %u has not signed a prepare for this batch with the "
                             "commitment that its nonce opens",
                             backup_number(receipt, c, i - 1));
    *failed = LEDGER_RULE_MIN_INDEX;
    if (receipt->of_transaction && receipt->tx.index <= receipt->body.request.min_index)
        return error_set(e, ATOLL_ERANGE,
                         "the transaction has index %llu, though its client asked for one above "
                         "%llu: the replicas that signed broke that rule",
                         (unsigned long long)receipt->tx.index,
                         (unsigned long long)receipt->body.request.min_index);
    *failed = LEDGER_RULE_HOLDS;
    return 0;
}

int ledger_receipt_verify(struct slice bytes, const struct ledger_keys *keys,
                          const struct ledger_verifier *verifier, struct ledger_receipt_info *info,
                          struct error *e)
{
    struct ledger_signature work[LEDGER_RECEIPT_SIGNATURES_MAX];
    bool valid[LEDGER_RECEIPT_SIGNATURES_MAX];
    info->failed = LEDGER_RULE_FORMAT;
    int result = ledger_receipt_decode(bytes, &info->receipt, e);
    if (result < 0)
        return result;
    int count = ledger_receipt_check(&info->receipt, keys, work, &info->failed, e);
    if (count < 0)
        return count;
    if (!verifier)
        verifier = &LEDGER_VERIFIER_SINGLE;
    result = verifier->verify(verifier->context, work, (size_t)count, valid, e);
    if (result < 0)
        return result;
    return ledger_receipt_judge(&info->receipt, keys, valid, &info->failed, e);
}

/* ---- files ---- */

static const char file_magic[] = "atollrcp";

bool ledger_receipt_file_encode(struct slice receipt, const uint8_t genesis[static HASH_LEN],
                                struct buffer *out)
{
    return ledger_file_encode(file_magic, receipt, genesis, out);
}

int ledger_receipt_file_decode(struct slice file, struct slice *receipt,
                               uint8_t genesis[static HASH_LEN], struct error *e)
{
    return ledger_file_decode(file_magic, "receipt", file, receipt, genesis, e);
}
