/* What replicas send: the messages, whole receipts, refusals. Replies of batches: answer.c. */
#include "ledger/client/core.h"

/* ---- receipts ---- */

/* Judges a receipt. When it carries the very bytes that we signed for `call`, our own signature
 * needs no check. */
static bool receipt_holds(struct ledger_client *c, const struct ledger_receipt *receipt,
                          const struct call *call)
{
    struct ledger_signature work[LEDGER_RECEIPT_SIGNATURES_MAX];
    bool valid[LEDGER_RECEIPT_SIGNATURES_MAX];
    const struct ledger_verifier *v = &c->settings.verifier;
    enum ledger_rule failed;
    struct error e;
    int count = ledger_receipt_check(receipt, &c->keys, work, &failed, &e);
    if (count < 0)
        return false;
    unsigned known = call_matches(c, call, &receipt->body);
    valid[0] = true;
    if (v->verify(v->context, work + known, (size_t)count - known, valid + known, &e) < 0)
        return false;
    /* A broken min_index is no reason to doubt it: the call says so at its end. */
    return ledger_receipt_judge(receipt, &c->keys, valid, &failed, &e) == 0 ||
           failed == LEDGER_RULE_MIN_INDEX;
}

static void receipt_take(struct ledger_client *c, struct slice bytes)
{
    struct ledger_receipt receipt;
    struct error e;
    if (ledger_receipt_decode(bytes, &receipt, &e) < 0 || !receipt.of_transaction) {
        c->counts.answers_bad++;
        return;
    }
    const struct identity *who = identity_find(c, receipt.body.request.client);
    struct call *call = who ? call_sent(who, receipt.body.request.reqno) : NULL;
    if (!call)
        return; /* answered before, or not ours */
    if (receipt_is_known(c, &receipt))
        return;
    if (!receipt_holds(c, &receipt, call)) {
        c->counts.answers_bad++;
        return;
    }
    uint8_t req_hash[HASH_LEN];
    ledger_request_hash(receipt.body.fields, req_hash);
    if (hash_equal(req_hash, call->req_hash)) {
        call_answer(c, call, &receipt, bytes);
        return;
    }
    struct ledger_outcome outcome = {.result = -ATOLL_EEXIST,
                                     .text = "another request of this key has the same number: "
                                             "the key is in use elsewhere, too",
                                     .index = receipt.tx.index,
                                     .status = receipt.tx.status,
                                     .output = receipt.tx.output,
                                     .receipt = bytes};
    call_conclude(c, call, &outcome);
}

/* ---- refusals ---- */

/* A reason that no later time changes: believed when one correct replica gives it. */
static void refusal_final(struct ledger_client *c, struct call *call, uint16_t from,
                          enum ledger_refusal_reason reason)
{
    static const char *const texts[LEDGER_REFUSAL_LAST + 1] = {
        [LEDGER_REFUSAL_TOO_OLD] = "the replicas have seen much greater numbers under this key: "
                                   "begin with a greater one",
        [LEDGER_REFUSAL_MALFORMED] = "the replicas say that the request is malformed",
        [LEDGER_REFUSAL_SIGNATURE] = "the replicas say that the request is not signed by its key",
        [LEDGER_REFUSAL_STRANGER] = "the service's access list does not have this client's key",
    };
    call->refused[reason] |= UINT64_C(1) << from;
    if ((unsigned)__builtin_popcountll(call->refused[reason]) <=
        ledger_faulty_max(c->configuration))
        return;
    struct ledger_outcome outcome = {.result = -ATOLL_EREJECTED, .text = texts[reason]};
    call_conclude(c, call, &outcome);
}

/* The primary has no room: only its word puts a call off, and not for longer than retry_us. */
static void refusal_busy(struct ledger_client *c, struct call *call, uint16_t from,
                         uint32_t retry_after_ms)
{
    if (from != c->primary)
        return;
    uint64_t most = c->settings.retry_us, wait = retry_after_ms * UINT64_C(1000);
    uint64_t least = most / 16 << (call->busy < 4 ? call->busy : 4);
    wait = wait < least ? least : wait;
    call->busy++;
    call_schedule(c, call, c->env.now_us(c->env.context), wait < most ? wait : most, false);
}

static void refusal_take(struct ledger_client *c, uint16_t from, const struct ledger_refusal *r)
{
    struct call *call = call_of_hash(c, r->req_hash);
    c->counts.refusals++;
    if (!call)
        return;
    switch (r->reason) {
    case LEDGER_REFUSAL_BUSY:
    case LEDGER_REFUSAL_QUOTA: refusal_busy(c, call, from, r->retry_after_ms); return;
    case LEDGER_REFUSAL_TOO_OLD:
    case LEDGER_REFUSAL_MALFORMED:
    case LEDGER_REFUSAL_SIGNATURE:
    case LEDGER_REFUSAL_STRANGER: refusal_final(c, call, from, r->reason); return;
    case LEDGER_REFUSAL_NOT_PRIMARY:
        if (r->primary < c->replicas)
            c->primary = r->primary; /* a hint: if it is wrong, the next try goes to all */
        return;
    case LEDGER_REFUSAL_PENDING:
    case LEDGER_REFUSAL_UNKNOWN:
    case LEDGER_REFUSAL_DUPLICATE: return; /* a receipt follows, or the next try */
    }
}

/* ---- messages ---- */

void ledger_client_on_message(struct ledger_client *c, uint16_t from, struct slice message)
{
    struct ledger_reply reply;
    struct ledger_replyx replyx;
    struct ledger_refusal refusal;
    struct slice receipt;
    struct error e;
    if (from >= c->replicas)
        return;
    unsigned type = ledger_message_type(message);
    if (type == LEDGER_MESSAGE_REPLY && ledger_reply_decode(message, &reply, &e) == 0)
        reply_take(c, from, &reply);
    else if (type == LEDGER_MESSAGE_REPLYX && ledger_replyx_decode(message, &replyx, &e) == 0)
        replyx_take(c, from, &replyx);
    else if (type == LEDGER_MESSAGE_RECEIPT &&
             ledger_receipt_message_decode(message, &receipt, &e) == 0)
        receipt_take(c, receipt);
    else if (type == LEDGER_MESSAGE_REFUSAL && ledger_refusal_decode(message, &refusal, &e) == 0)
        refusal_take(c, from, &refusal);
    else
        c->counts.answers_bad++;
}
