/*
 * The rules on which safety and sound blame rest (§4.1, §5, §6), each in one function: who may
 * vote, what may be signed, when a nonce may leave, when to abstain, what the committed floor
 * forbids. The rule of the effective tip and the binding are in tip.c.
 */
#include "ledger/replica/core.h"

/* Whether we may sign a pp or Prepare in `view` now (I2). */
bool rule_may_vote(const struct ledger_replica *r, uint64_t view)
{
    return r->started && !r->stopped && !r->quarantine && view == r->view &&
           (r->view_change_sent <= view || MUTATED(VOTE_AFTER_CHANGE)) && r->abstain_view != view;
}

/*
 * Whether a checkpoint of others silences us up to batch s, in whatever view it is proposed: if the
 * digest that its pp names is wrong, all its signers are blamed for it (§9.2).
 */
bool rule_is_silent(const struct ledger_replica *r, uint64_t s)
{
    return s <= r->silent;
}

/*
 * Whether we may sign batch s of our view: not up to the one that vouched for a checkpoint of
 * others from which we went on (§6), and not at or below what we signed before (I1). A damaged log
 * may have lost what its marks name: then batches come again that we signed once.
 */
bool rule_may_sign_batch(const struct ledger_replica *r, uint64_t s)
{
    return !rule_is_silent(r, s) &&
           (r->view > r->signed_view || (r->view == r->signed_view && s > r->signed_s));
}

/*
 * Writes down that we are about to sign; the caller sends what is signed when the record is durable
 * (I9). Never two statements at one (view, s) (I1): signing goes up, or repeats itself.
 */
void rule_mark_signed(struct ledger_replica *r, enum ledger_signed_what what, uint64_t view,
                      uint64_t s, const uint8_t hash[static HASH_LEN])
{
    if (what == LEDGER_SIGNED_PP || what == LEDGER_SIGNED_PREPARE) {
        assert(view > r->signed_view || (view == r->signed_view && s > r->signed_s) ||
               (view == r->signed_view && s == r->signed_s &&
                !memcmp(hash, r->signed_hash, HASH_LEN)));
        assert(view >= r->view_change_sent);
        r->signed_view = view;
        r->signed_s = s;
        memcpy(r->signed_hash, hash, HASH_LEN);
    } else if (what == LEDGER_SIGNED_NEW_VIEW) {
        assert(view + 1 > r->signed_new_view);
        r->signed_new_view = view + 1;
    }
    struct ledger_signed mark = {
        .what = what, .config = r->configuration->number, .view = view, .seqno = s};
    memcpy(mark.hash, hash, HASH_LEN);
    uint8_t payload[LEDGER_SIGNED_LEN];
    ledger_signed_encode(&mark, payload);
    append_record(r, LEDGER_RECORD_SIGNED, 0, slice_of(payload, sizeof payload));
}

/*
 * The nonce rule (§4.1, I4): the certificate is durable, and no ViewChange for a later view is
 * signed that does not report the batch.
 */
bool rule_nonce_may_leave(const struct ledger_replica *r, const struct slot *slot)
{
    if ((!slot->certain && !MUTATED(NONCE_EARLY)) || !slot->own_ready || r->quarantine)
        return false;
    if (r->view_change_sent <= slot->view || MUTATED(NONCE_AFTER_CHANGE))
        return true;
    return r->tip.view == slot->view && slot->s <= r->tip.s && slot->s + r->tip.count > r->tip.s;
}

/* nonce = HMAC(k_nonce, role ‖ config ‖ v ‖ s ‖ x), x = G of the primary's batch, pp_hash of a
 * backup's: the same after a restart. */
void rule_nonce(const struct ledger_replica *r, bool primary, uint64_t view, uint64_t s,
                const uint8_t x[static HASH_LEN], uint8_t nonce[static LEDGER_NONCE_LEN])
{
    uint8_t head[1 + 4 + 8 + 8];
    if (LEDGER_BARE) {
        memset(nonce, 0, LEDGER_NONCE_LEN);
        return;
    }
    head[0] = primary;
    store_u32(head + 1, r->configuration->number);
    store_u64(head + 5, view);
    store_u64(head + 13, s);
    struct hash_part parts[] = {{head, sizeof head}, {x, HASH_LEN}};
    hmac_sha256(r->nonce_key, sizeof r->nonce_key, parts, 2, nonce);
}

/*
 * Abstain (§5): the history that we follow lacks a batch that we signed in its view, so a later
 * signature in this view would contradict the earlier one. Called when history was taken over, and
 * when the log has been read.
 */
void rule_abstain(struct ledger_replica *r, uint64_t view)
{
    struct ledger_batch_info info;
    struct error e;
    if (r->signed_view != view || !r->signed_s || MUTATED(NO_ABSTAIN))
        return;
    int rc = ledger_batch_at(r, r->signed_s, &info, &e);
    if (rc || memcmp(info.pp_hash, r->signed_hash, HASH_LEN))
        r->abstain_view = view;
    if (rc && r->signed_s <= r->last)
        r->abstain_doubt = true; /* until the backlog is here */
}

/*
 * Quarantine (§4.1, async mode after a stop of the machine): we may have signed what our log has
 * lost, at most P beyond what the others had certified. It ends with a certificate beyond all that,
 * which is our tip: of a later view than we were in, or of this one and farther than P beyond the
 * last batch that Q others report.
 */
void rule_leave_quarantine(struct ledger_replica *r)
{
    unsigned reports = 0;
    uint64_t last = 0;
    if (!r->quarantine || !r->tip.count)
        return;
    for (unsigned i = 0; i < r->n; i++) {
        if (!r->peers[i].heard)
            continue;
        reports++;
        last = r->peers[i].first_last > last ? r->peers[i].first_last : last;
    }
    if (r->tip.view > r->quarantine_view ||
        (r->tip.view == r->quarantine_view && reports >= r->quorum && r->tip.s > last &&
         r->tip.s - last > r->pipeline)) { /* a liar may report any number */
        r->quarantine = false;
        if (r->env.rejoined)
            r->env.rejoined(r->env.context);
    }
}

/* The committed floor (§6): where we hold Q opened nonces, contents never change. */
bool rule_floor_allows(const struct ledger_replica *r, uint64_t s, const uint8_t g[static HASH_LEN])
{
    if (s > r->floor || s + SLOTS <= r->floor || MUTATED(NO_FLOOR))
        return true;
    return memcmp(r->floor_g[s % SLOTS], g, HASH_LEN) == 0;
}
