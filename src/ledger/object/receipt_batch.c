/* Many receipts at once; see receipt_batch.h. */
#include "ledger/object/receipt_batch.h"

#include "crypto/ed25519_batch.h"

#include <assert.h>
#include <stdlib.h>

struct ledger_batch_verifier {
    struct ed25519_batch *batch;
    size_t capacity;
    struct ed25519_item *items; /* capacity of them */
    /* Of ledger_receipts_verify: capacity signatures (or one receipt's) and their verdicts. */
    size_t work_capacity;
    struct ledger_signature *work;
    bool *valid;
};

void ledger_batch_verifier_destroy(struct ledger_batch_verifier *v)
{
    if (!v)
        return;
    free(v->valid);
    free(v->work);
    free(v->items);
    ed25519_batch_destroy(v->batch);
    free(v);
}

int ledger_batch_verifier_create(size_t capacity, struct ledger_batch_verifier **out,
                                 struct error *e)
{
    struct ledger_batch_verifier *v = calloc(1, sizeof *v);
    if (!v)
        return error_set(e, ATOLL_ENOMEM, "no memory for a verifier of signatures");
    int result = ed25519_batch_create(capacity, ED25519_KERNEL_BEST, &v->batch, e);
    if (result < 0)
        goto fail;
    v->capacity = capacity;
    v->work_capacity =
        capacity < LEDGER_RECEIPT_SIGNATURES_MAX ? LEDGER_RECEIPT_SIGNATURES_MAX : capacity;
    v->items = calloc(capacity, sizeof *v->items);
    v->work = calloc(v->work_capacity, sizeof *v->work);
    v->valid = calloc(v->work_capacity, sizeof *v->valid);
    if (!v->items || !v->work || !v->valid) {
        result = error_set(e, ATOLL_ENOMEM, "no memory for batches of %zu signatures", capacity);
        goto fail;
    }
    *out = v;
    return 0;
fail:
    ledger_batch_verifier_destroy(v);
    return result;
}

static int batch_verify(void *context, const struct ledger_signature *work, size_t count,
                        bool *valid, struct error *e)
{
    struct ledger_batch_verifier *v = context;
    int result = 0;
    for (size_t done = 0; result == 0 && done < count;) {
        size_t piece = count - done < v->capacity ? count - done : v->capacity;
        for (size_t i = 0; i < piece; i++)
            v->items[i] = (struct ed25519_item){work[done + i].public_key, work[done + i].signature,
                                                work[done + i].hash, HASH_LEN};
        result = ed25519_batch_verify(v->batch, v->items, piece, valid + done, e);
        done += piece;
    }
    return result;
}

struct ledger_verifier ledger_batch_verifier_of(struct ledger_batch_verifier *v)
{
    return (struct ledger_verifier){batch_verify, v};
}

/* ---- receipts ---- */

/* A group of receipts whose signatures fill a batch. Decoding again when the verdicts are there
 * costs far less than a signature, and needs no memory for the decoded ones. */
struct group {
    size_t first, end; /* receipts */
    size_t signatures;
};

/* Judges all but the signatures; how many signatures of it went into work. */
static size_t receipt_collect(struct slice bytes, const struct ledger_keys *keys,
                              struct ledger_signature *work, enum ledger_rule *failed)
{
    struct ledger_receipt receipt;
    struct error e;
    *failed = LEDGER_RULE_FORMAT;
    if (ledger_receipt_decode(bytes, &receipt, &e) < 0)
        return 0;
    int count = ledger_receipt_check(&receipt, keys, work, failed, &e);
    if (count < 0)
        return 0;
    *failed = LEDGER_RULE_HOLDS;
    return (size_t)count;
}

static void group_judge(struct ledger_batch_verifier *v, const struct slice *receipts,
                        const struct group *group, const struct ledger_keys *keys,
                        enum ledger_rule *failed)
{
    const bool *valid = v->valid;
    for (size_t i = group->first; i < group->end; i++) {
        if (failed[i] != LEDGER_RULE_HOLDS)
            continue;
        struct ledger_receipt receipt;
        struct error e;
        int result = ledger_receipt_decode(receipts[i], &receipt, &e);
        assert(result == 0);
        (void)result;
        ledger_receipt_judge(&receipt, keys, valid, &failed[i], &e);
        valid += receipt.signer_count + receipt.of_transaction;
    }
    assert(valid == v->valid + group->signatures);
}

int ledger_receipts_verify(struct ledger_batch_verifier *v, const struct slice *receipts,
                           size_t count, const struct ledger_keys *keys, enum ledger_rule *failed,
                           struct error *e)
{
    for (size_t next = 0; next < count;) {
        struct group group = {.first = next};
        while (next < count &&
               v->work_capacity - group.signatures >= LEDGER_RECEIPT_SIGNATURES_MAX) {
            group.signatures +=
                receipt_collect(receipts[next], keys, v->work + group.signatures, &failed[next]);
            next++;
        }
        group.end = next;
        int result = batch_verify(v, v->work, group.signatures, v->valid, e);
        if (result < 0)
            return result;
        group_judge(v, receipts, &group, keys, failed);
    }
    return 0;
}
