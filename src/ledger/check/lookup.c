/* See lookup.h. */
#include "ledger/check/lookup.h"

#include "ledger/object/receipt.h"

#include <inttypes.h>

void ledger_lookup_free(struct ledger_lookup *l)
{
    buffer_free(&l->tx);
}

static int entry_read(const struct ledger_entry_source *s, uint64_t position, struct buffer *bytes,
                      uint8_t *type, struct error *e)
{
    bytes->len = 0;
    return s->read(s->context, position, bytes, type, e);
}

/* ---- the transaction ---- */

/* Looks from `from` on, below `to`, for an entry that says how far the indices are there: *index is
 * that of the first transaction at or behind *at. ATOLL_ENOENT: there is none. */
static int index_at(const struct ledger_entry_source *s, uint64_t from, uint64_t to,
                    struct buffer *bytes, uint64_t *at, uint64_t *index, bool *is_tx,
                    struct error *e)
{
    for (uint64_t position = from; position < to; position++) {
        uint8_t type = 0;
        struct ledger_pp pp;
        int rc = entry_read(s, position, bytes, &type, e);
        *is_tx = type == LEDGER_ENTRY_TX;
        if (rc == 0 && *is_tx && bytes->len < 8)
            rc = error_set(e, ATOLL_ECORRUPT, "entry %" PRIu64 " is no transaction", position);
        if (rc == 0 && type == LEDGER_ENTRY_PP)
            rc = ledger_pp_decode_signed(slice_of_buffer(bytes), &pp, e);
        if (rc != 0)
            return rc;
        if (!*is_tx && type != LEDGER_ENTRY_PP)
            continue;
        *at = position;
        *index = *is_tx ? load_u64(bytes->data) : pp.first_index;
        return 0;
    }
    return -ATOLL_ENOENT;
}

static int tx_find(const struct ledger_entry_source *s, uint64_t wanted, uint64_t *position,
                   struct buffer *bytes, struct error *e)
{
    uint64_t low = 1, high = s->end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, at, index;
        bool is_tx;
        int rc = index_at(s, middle, high, bytes, &at, &index, &is_tx, e);
        if (rc != 0 && rc != -ATOLL_ENOENT)
            return rc;
        if (rc == 0 && is_tx && index == wanted) {
            *position = at;
            return 0;
        }
        if (rc == 0 && index <= wanted)
            low = at + 1;
        else
            high = middle;
    }
    return error_set(e, ATOLL_ENOENT, "the ledger has no transaction %" PRIu64, wanted);
}

/* Whether the entry `back` before the transaction is of its batch, too: then it is the transaction
 * `back` indices earlier. */
static int same_batch(const struct ledger_entry_source *s, uint64_t position, uint64_t index,
                      uint64_t back, struct buffer *bytes, bool *same, struct error *e)
{
    uint8_t type;
    int rc = entry_read(s, position - back, bytes, &type, e);
    *same = rc == 0 && type == LEDGER_ENTRY_TX && bytes->len >= 8 && index >= back &&
            load_u64(bytes->data) == index - back;
    return rc;
}

static int pp_find(const struct ledger_entry_source *s, uint64_t index, struct ledger_lookup *l,
                   struct error *e)
{
    /* The least distance back that is not of the batch any more. */
    uint64_t low = 1, high = l->position < LEDGER_BATCH_MAX ? l->position : LEDGER_BATCH_MAX;
    struct buffer bytes = {0};
    uint8_t type = 0;
    int rc = 0;
    while (low < high && rc == 0) {
        uint64_t middle = low + (high - low) / 2;
        bool same;
        rc = same_batch(s, l->position, index, middle, &bytes, &same, e);
        if (same)
            low = middle + 1;
        else
            high = middle;
    }
    l->pp_position = l->position - low;
    if (rc == 0)
        rc = entry_read(s, l->pp_position, &bytes, &type, e);
    if (rc == 0 && type != LEDGER_ENTRY_PP)
        rc = error_set(e, ATOLL_ECORRUPT, "transaction %" PRIu64 " has no batch", index);
    if (rc == 0)
        rc = ledger_pp_decode_signed(slice_of_buffer(&bytes), &l->pp, e);
    buffer_free(&bytes);
    return rc;
}

int ledger_lookup_tx(const struct ledger_entry_source *s, uint64_t index, struct ledger_lookup *l,
                     struct error *e)
{
    int rc = tx_find(s, index, &l->position, &l->tx, e);
    return rc == 0 ? pp_find(s, index, l, e) : rc;
}

/* ---- its receipt ---- */

/* Evidence for batch s stands before the pp of s + P; behind our batch, that is a walk over a few
 * batches. */
static int evidence_find(const struct ledger_entry_source *s, const struct ledger_lookup *l,
                         struct buffer *bytes, struct ledger_evidence *out, struct error *e)
{
    uint64_t at = l->pp_position + 1 + l->pp.count;
    while (at < s->end) {
        uint8_t type;
        struct ledger_pp pp = {0};
        int rc = entry_read(s, at, bytes, &type, e);
        if (rc == 0 && type == LEDGER_ENTRY_EVIDENCE) {
            rc = ledger_evidence_decode(slice_of_buffer(bytes), out, e);
            if (rc == 0 && out->seqno == l->pp.seqno)
                return 0;
        } else if (rc == 0 && type == LEDGER_ENTRY_PP) {
            rc = ledger_pp_decode_signed(slice_of_buffer(bytes), &pp, e);
        }
        if (rc != 0)
            return rc;
        if (type == LEDGER_ENTRY_PP && pp.seqno > l->pp.seqno + LEDGER_PIPELINE_MAX)
            return error_set(e, ATOLL_ECORRUPT, "batch %" PRIu64 " has no evidence", l->pp.seqno);
        at += 1 + pp.count;
    }
    return error_set(e, ATOLL_EAGAIN, "the evidence for batch %" PRIu64 " is not complete yet",
                     l->pp.seqno);
}

/* The path of the transaction in its batch. Returns its length. */
static int path_make(const struct ledger_entry_source *s, const struct ledger_lookup *l,
                     struct merkle_hash path[static MERKLE_LEVELS], struct error *e)
{
    struct merkle_tree *tree;
    struct buffer bytes = {0};
    int rc = merkle_tree_create(&tree, e);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < l->pp.count && rc == 0; i++) {
        uint8_t type;
        rc = entry_read(s, l->pp_position + 1 + i, &bytes, &type, e);
        if (rc == 0 && type != LEDGER_ENTRY_TX)
            rc = error_set(e, ATOLL_ECORRUPT, "batch %" PRIu64 " is cut short", l->pp.seqno);
        if (rc != 0)
            break;
        struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(&bytes));
        rc = merkle_tree_append(tree, &leaf, e);
    }
    if (rc == 0)
        rc = merkle_tree_path(tree, l->position - l->pp_position - 1, l->pp.count, path, e);
    merkle_tree_destroy(tree);
    buffer_free(&bytes);
    return rc;
}

/* The signatures of the evidence with the primary's among them, as receipts have them. */
static uint32_t signatures_gather(const struct ledger_genesis *g, const struct ledger_pp *pp,
                                  const struct ledger_evidence *evidence,
                                  uint8_t out[static LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN])
{
    uint16_t primary = ledger_primary(&g->configuration, pp->view);
    uint32_t count = 0, taken = 0;
    for (unsigned k = 0; k < LEDGER_REPLICAS_MAX; k++) {
        if (!(evidence->bits >> k & 1) || (k != primary && taken == evidence->prepare_count))
            continue;
        memcpy(out[count++],
               k == primary ? pp->signature
                            : evidence->signatures + (size_t)taken * ED25519_SIGNATURE_LEN,
               ED25519_SIGNATURE_LEN);
        taken += k != primary;
    }
    return count;
}

int ledger_lookup_receipt(const struct ledger_entry_source *s, const struct ledger_genesis *g,
                          const struct ledger_lookup *l, struct buffer *out, struct error *e)
{
    uint8_t signatures[LEDGER_REPLICAS_MAX][ED25519_SIGNATURE_LEN];
    struct merkle_hash path[MERKLE_LEVELS];
    struct ledger_evidence evidence;
    struct buffer bytes = {0};
    struct ledger_receipt receipt = {.pp = l->pp,
                                     .of_transaction = true,
                                     .position = (uint32_t)(l->position - l->pp_position - 1),
                                     .tx_bytes = slice_of_buffer(&l->tx),
                                     .signatures = signatures[0],
                                     .path = path};
    int rc = evidence_find(s, l, &bytes, &evidence, e);
    int length = rc == 0 ? path_make(s, l, path, e) : rc;
    if (rc == 0 && length < 0)
        rc = length;
    if (rc == 0)
        rc = ledger_tx_decode(receipt.tx_bytes, &receipt.tx, e);
    if (rc == 0)
        rc = ledger_body_decode(receipt.tx.body, &receipt.body, e);
    if (rc == 0) {
        receipt.path_len = (uint32_t)length;
        receipt.bits = evidence.bits;
        receipt.nonces = evidence.nonces;
        receipt.signer_count = signatures_gather(g, &l->pp, &evidence, signatures);
        if (receipt.signer_count != evidence.nonce_count)
            rc = error_set(e, ATOLL_ECORRUPT, "the evidence for batch %" PRIu64 " is incomplete",
                           l->pp.seqno);
        else if (!ledger_receipt_encode(&receipt, out))
            rc = error_set(e, ATOLL_ENOMEM, "no memory for a receipt");
    }
    buffer_free(&bytes);
    return rc;
}
