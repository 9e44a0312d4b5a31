#include "adversary.h"

#include <stdlib.h>

/* ---- what was seen ---- */

static void remember(struct buffer *memory, unsigned *count, struct slice bytes)
{
    struct buffer *slot = &memory[(*count)++ % SIM_MEMORY_MAX];

    slot->len = 0;
    if (!buffer_append(slot, bytes.data, bytes.len))
        abort();
}

static struct slice recall(struct sim_adversary *a, const struct buffer *memory, unsigned count)
{
    unsigned held = count < SIM_MEMORY_MAX ? count : SIM_MEMORY_MAX;

    return held ? slice_of_buffer(&memory[sim_random_below(sim_adversary_random(a), held)])
                : (struct slice){0};
}

static void view_change_learn(struct sim_adversary *a, struct slice signed_bytes)
{
    static struct ledger_view_change vc; /* large; one thread */
    struct buffer bytes = {0};
    struct error e;

    if (ledger_view_change_decode_signed(signed_bytes, &vc, &e) != 0)
        return;
    for (uint32_t i = 0; i < vc.certificate_count; i++) {
        bytes.len = 0;
        if (!ledger_certificate_encode(&vc.certificates[i], &bytes))
            abort();
        remember(a->certificate, &a->certificates, slice_of_buffer(&bytes));
    }
    if (vc.has_new_view) {
        bytes.len = 0;
        if (!ledger_new_view_encode_signed(&vc.nv, &bytes))
            abort();
        remember(a->new_view, &a->new_views, slice_of_buffer(&bytes));
    }
    buffer_free(&bytes);
}

/* ---- certificates of our own ---- */

static void ballot_count(struct sim_adversary *a, struct sim_ballot *b)
{
    uint8_t votes[LEDGER_REPLICAS_MAX][LEDGER_CERTIFICATE_VOTE_LEN];
    struct ledger_certificate certificate = {.pp = b->pp, .votes = votes[0]};
    struct buffer bytes = {0};

    for (unsigned i = 0; i < a->cluster->replicas; i++)
        if (b->bits >> i & 1 && certificate.vote_count < a->cluster->quorum - 1) {
            certificate.bits |= UINT64_C(1) << i;
            memcpy(votes[certificate.vote_count++], b->votes[i], sizeof votes[0]);
        }
    if (b->made || certificate.vote_count < a->cluster->quorum - 1)
        return;
    b->made = true;
    if (!ledger_certificate_encode(&certificate, &bytes))
        abort();
    remember(a->certificate, &a->certificates, slice_of_buffer(&bytes));
    buffer_free(&bytes);
}

static void pre_prepare_learn(struct sim_adversary *a, struct slice message)
{
    struct ledger_pre_prepare_message pre;
    struct sim_ballot *b;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_pre_prepare_decode(message, &pre, &e) != 0)
        return;
    ledger_pp_hash(&pre.pp, hash);
    for (unsigned i = 0; i < SIM_BALLOTS_MAX; i++)
        if (memcmp(a->ballot[i].pp_hash, hash, HASH_LEN) == 0)
            return;
    b = &a->ballot[a->ballots++ % SIM_BALLOTS_MAX];
    memset(b, 0, sizeof *b);
    b->pp = pre.pp;
    memcpy(b->pp_hash, hash, HASH_LEN);
}

static void prepare_learn(struct sim_adversary *a, struct slice message)
{
    struct ledger_prepare prepare;
    struct error e;

    if (ledger_prepare_message_decode(message, &prepare, &e) != 0 ||
        prepare.replica >= a->cluster->replicas)
        return;
    for (unsigned i = 0; i < SIM_BALLOTS_MAX; i++) {
        struct sim_ballot *b = &a->ballot[i];

        if (memcmp(b->pp_hash, prepare.pp_hash, HASH_LEN) != 0 || b->bits >> prepare.replica & 1)
            continue;
        b->bits |= UINT64_C(1) << prepare.replica;
        memcpy(b->votes[prepare.replica], prepare.nonce_commit, HASH_LEN);
        memcpy(b->votes[prepare.replica] + HASH_LEN, prepare.signature, ED25519_SIGNATURE_LEN);
        ballot_count(a, b);
    }
}

void sim_forge_learn(struct sim_adversary *a, struct slice message)
{
    static struct ledger_view_change vc;
    static struct ledger_new_view_message nv;
    struct slice bytes;
    struct error e;

    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE: pre_prepare_learn(a, message); break;
    case LEDGER_MESSAGE_PREPARE: prepare_learn(a, message); break;
    case LEDGER_MESSAGE_VIEW_CHANGE:
        if (ledger_view_change_message_decode(message, &vc, &bytes, &e) == 0)
            view_change_learn(a, bytes);
        break;
    case LEDGER_MESSAGE_NEW_VIEW:
        if (ledger_new_view_message_decode(message, &nv, &e) != 0)
            break;
        remember(a->new_view, &a->new_views, nv.signed_bytes);
        for (uint32_t i = 0; i < nv.vcset.count; i++)
            view_change_learn(a, nv.vcset.view_changes[i]);
        break;
    default: break;
    }
    if (sim_random_chance(sim_adversary_random(a), 100))
        remember(a->message, &a->messages, message);
}

static void sign_as(struct sim_adversary *a, const struct sim_machine *m, const uint8_t *hash,
                    uint8_t *signature)
{
    sim_sign(&a->cluster->signatures, sim_key(m->replica), hash, signature);
}

/* ---- nonces of the adversary's own ---- */

static void nonce_own(const struct sim_machine *m, uint64_t view, uint64_t seqno, uint8_t out[32])
{
    uint64_t x = (uint64_t)m->replica << 48 ^ view << 24 ^ seqno ^ 0xadadad;

    for (int i = 0; i < 4; i++) {
        uint64_t word = sim_mix_next(&x);

        memcpy(out + 8 * i, &word, sizeof word);
    }
}

/* ---- batches ---- */

/* Mostly everyone gets the same spoilt pp, so that a quorum could prepare it. */
static void pp_spoil(struct sim_adversary *a, struct ledger_pp *pp)
{
    struct sim_random own, *r = &own;
    uint64_t per_peer = sim_random_chance(sim_adversary_random(a), 200)
                            ? sim_random_word(sim_adversary_random(a))
                            : 0;
    uint8_t *hashes[] = {pp->ledger_root, pp->batch_root, pp->kv_digest, pp->previous};

    sim_random_seed(&own, a->cluster->options.seed ^ per_peer, pp->view << 32 ^ pp->seqno);
    switch (sim_random_below(r, 8)) {
    case 0: pp->evidence_bits ^= UINT64_C(1) << sim_random_below(r, a->cluster->replicas); break;
    case 1: pp->gov_index++; break;
    case 2: pp->first_index++; break;
    case 3: pp->seqno += sim_random_range(r, 1, 3); break;
    default: hashes[sim_random_below(r, 4)][sim_random_below(r, 32)] ^= 1; break;
    }
}

/* Another pp message with the same bodies and evidence. */
static bool pre_prepare_rewrite(const struct ledger_pre_prepare_message *pre,
                                const struct ledger_pp *pp, struct buffer *out)
{
    struct ledger_list items = pre->items;
    struct ledger_message_writer writer;
    struct ledger_batch_item item;

    out->len = 0;
    if (!ledger_pre_prepare_begin(&writer, out, pp, pre->evidence))
        return false;
    while (ledger_list_next_item(&items, &item))
        if (item.hash ? !ledger_pre_prepare_hash(&writer, item.hash)
                      : !ledger_pre_prepare_body(&writer, item.body))
            return false;
    ledger_message_end(&writer);
    return true;
}

/* Some of the peers get the other pp: those in a set that depends on the batch alone, so that each
 * hears one version, also when it is sent again. */
static bool hears_other(const struct sim_adversary *a, uint64_t view, uint64_t seqno, unsigned to)
{
    uint64_t x = a->cluster->options.seed ^ view << 20 ^ seqno;

    if (!(a->tricks >> SIM_TRICK_EQUIVOCATE & 1) || sim_mix_next(&x) % 1000 >= a->eagerness)
        return false;
    return sim_mix_next(&x) >> to % 64 & 1;
}

static struct slice pre_prepare_forge(struct sim_adversary *a, const struct sim_machine *m,
                                      unsigned to, struct slice message, struct buffer *out)
{
    struct ledger_pre_prepare_message pre;
    struct ledger_pp pp;
    struct error e;
    uint8_t hash[HASH_LEN], nonce[LEDGER_NONCE_LEN];

    if (ledger_pre_prepare_decode(message, &pre, &e) != 0 ||
        pre.pp.view % a->cluster->replicas != m->replica)
        return message;
    pp = pre.pp;
    if (sim_adversary_uses(a, SIM_TRICK_WRONG_PP)) {
        pp_spoil(a, &pp);
        sim_acted(a, SIM_TRICK_WRONG_PP);
    } else if (hears_other(a, pp.view, pp.seqno, to)) {
        nonce_own(m, pp.view, pp.seqno, nonce);
        ledger_nonce_hash(nonce, pp.nonce_commit);
        sim_acted(a, SIM_TRICK_EQUIVOCATE);
    } else {
        return message;
    }
    ledger_pp_hash(&pp, hash);
    sign_as(a, m, hash, pp.signature);
    if (!pre_prepare_rewrite(&pre, &pp, out))
        abort();
    return slice_of_buffer(out);
}

bool sim_forge_blind(struct sim_adversary *a, const struct sim_machine *m, struct slice pre_prepare,
                     struct buffer *prepare_out, struct buffer *commit_out)
{
    struct ledger_pre_prepare_message pre;
    struct ledger_prepare prepare;
    struct ledger_commit commit;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_pre_prepare_decode(pre_prepare, &pre, &e) != 0 ||
        pre.pp.view % a->cluster->replicas == m->replica)
        return false;
    commit =
        (struct ledger_commit){.view = pre.pp.view, .seqno = pre.pp.seqno, .replica = m->replica};
    nonce_own(m, pre.pp.view, pre.pp.seqno, commit.nonce);
    prepare = (struct ledger_prepare){
        .config = pre.pp.config, .view = pre.pp.view, .seqno = pre.pp.seqno, .replica = m->replica};
    ledger_nonce_hash(commit.nonce, prepare.nonce_commit);
    ledger_pp_hash(&pre.pp, prepare.pp_hash);
    ledger_prepare_hash(&prepare, hash);
    sign_as(a, m, hash, prepare.signature);
    if (!ledger_prepare_write(prepare_out, &prepare) || !ledger_commit_write(commit_out, &commit))
        abort();
    return true;
}

static struct slice commit_forge(struct sim_adversary *a, const struct sim_machine *m, unsigned to,
                                 struct slice message, struct buffer *out)
{
    struct ledger_commit commit;
    struct error e;

    if (ledger_commit_message_decode(message, &commit, &e) != 0 || commit.replica != m->replica)
        return message;
    if (sim_adversary_uses(a, SIM_TRICK_MUTE)) {
        sim_acted(a, SIM_TRICK_MUTE);
        return (struct slice){0};
    }
    if (sim_adversary_uses(a, SIM_TRICK_WRONG_NONCE)) {
        sim_acted(a, SIM_TRICK_WRONG_NONCE);
        commit.nonce[sim_random_below(sim_adversary_random(a), LEDGER_NONCE_LEN)] ^= 4;
    } else if (hears_other(a, commit.view, commit.seqno, to))
        nonce_own(m, commit.view, commit.seqno, commit.nonce);
    else
        return message;
    if (!ledger_commit_write(out, &commit))
        abort();
    return slice_of_buffer(out);
}

static struct slice reply_forge(struct sim_adversary *a, struct slice message, struct buffer *out)
{
    struct ledger_reply reply;
    struct error e;

    if (ledger_reply_decode(message, &reply, &e) != 0)
        return message;
    if (sim_adversary_uses(a, SIM_TRICK_MUTE)) {
        sim_acted(a, SIM_TRICK_MUTE);
        return (struct slice){0};
    }
    if (!sim_adversary_uses(a, SIM_TRICK_WRONG_NONCE))
        return message;
    sim_acted(a, SIM_TRICK_WRONG_NONCE);
    reply.nonce[3] ^= 1;
    if (!buffer_append(out, NULL, LEDGER_REPLY_MESSAGE_LEN))
        abort();
    ledger_reply_encode(&reply, out->data);
    return slice_of_buffer(out);
}

/* ---- view changes ---- */

/* Any certificate ever seen as the tip, with those right before it in its view, and any NewView. */
static void tip_any(struct sim_adversary *a, struct ledger_view_change *vc)
{
    struct sim_random *r = sim_adversary_random(a);
    struct ledger_certificate tip, other;
    struct slice seen = recall(a, a->certificate, a->certificates);
    unsigned want = (unsigned)sim_random_range(r, 1, a->cluster->genesis.pipeline);
    unsigned held = a->certificates < SIM_MEMORY_MAX ? a->certificates : SIM_MEMORY_MAX;
    struct error e;

    if (!seen.len || ledger_certificate_decode(seen, &tip, &e) != 0)
        return;
    vc->certificate_count = 1;
    vc->certificates[0] = tip;
    for (unsigned i = 0; i < held && vc->certificate_count < want; i++)
        if (ledger_certificate_decode(slice_of_buffer(&a->certificate[i]), &other, &e) == 0 &&
            other.pp.view == tip.pp.view && other.pp.seqno + 1 == vc->certificates[0].pp.seqno) {
            memmove(&vc->certificates[1], &vc->certificates[0],
                    vc->certificate_count * sizeof vc->certificates[0]);
            vc->certificates[0] = other;
            vc->certificate_count++;
            i = 0;
        }
    vc->has_new_view = false;
    for (unsigned i = 0; i < 2 * SIM_MEMORY_MAX && !sim_random_chance(r, 20); i++) {
        struct ledger_new_view nv;

        seen = recall(a, a->new_view, a->new_views);
        if (seen.len && ledger_new_view_decode_signed(seen, &nv, &e) == 0 &&
            (nv.view == tip.pp.view || sim_random_chance(r, 30))) {
            vc->nv = nv;
            vc->has_new_view = true;
            break;
        }
    }
}

/* The certificate of a hoard alone: without its NewView, or with one of our own making behind which
 * nothing is planned any more. */
static void hoard_report(struct sim_adversary *a, const struct sim_machine *m,
                         struct ledger_view_change *vc)
{
    const struct ledger_pp *tip = &vc->certificates[vc->certificate_count - 1].pp;
    uint8_t hash[HASH_LEN];

    if (vc->new_view & 1 || !vc->has_new_view) {
        vc->has_new_view = false;
        return;
    }
    vc->nv.tip_seqno = tip->seqno;
    vc->nv.plan_count = (uint32_t)(tip->seqno - vc->nv.base_seqno);
    ledger_new_view_hash(&vc->nv, hash);
    sign_as(a, m, hash, vc->nv.signature);
}

/* The last certificate for other contents: such as anybody has, so that only the signatures tell.
 */
static void tip_falsify(struct sim_adversary *a, struct ledger_view_change *vc)
{
    struct ledger_pp *tip = &vc->certificates[vc->certificate_count - 1].pp;
    struct merkle_hash root = ledger_batch_root_empty();

    tip->kind = LEDGER_KIND_EMPTY;
    tip->count = 0;
    memcpy(tip->batch_root, root.bytes, HASH_LEN);
    sim_random_fill(sim_adversary_random(a), tip->nonce_commit, HASH_LEN);
}

static bool reports_hoard(const struct sim_adversary *a, const struct sim_machine *m,
                          const struct ledger_view_change *vc)
{
    return a->tricks >> SIM_TRICK_HOARD & 1 && vc->certificate_count &&
           vc->certificates[vc->certificate_count - 1].pp.view == a->hoard_view[m->number] &&
           a->hoard_view[m->number];
}

static struct slice view_change_forge(struct sim_adversary *a, const struct sim_machine *m,
                                      struct slice message, struct buffer *out)
{
    static struct ledger_view_change vc;
    struct buffer bytes = {0};
    struct error e;
    uint8_t hash[HASH_LEN];
    uint32_t drop;

    if (ledger_view_change_message_decode(message, &vc, NULL, &e) != 0 || vc.replica != m->replica)
        return message;
    if (reports_hoard(a, m, &vc)) {
        hoard_report(a, m, &vc);
    } else if (sim_adversary_uses(a, SIM_TRICK_OMIT_TIP)) {
        /* Mostly all of them: what is left of a row is valid only at the beginning of a view. */
        drop = sim_random_chance(sim_adversary_random(a), 700)
                   ? vc.certificate_count
                   : (uint32_t)sim_random_range(sim_adversary_random(a), 0, vc.certificate_count);
        vc.certificate_count -= drop;
        if (drop)
            sim_acted(a, SIM_TRICK_OMIT_TIP);
        if (!vc.certificate_count)
            vc.has_new_view = false;
    } else if (sim_adversary_uses(a, SIM_TRICK_OMIT_NEW_VIEW)) {
        if (vc.has_new_view)
            sim_acted(a, SIM_TRICK_OMIT_NEW_VIEW);
        vc.has_new_view = false;
    } else if (sim_adversary_uses(a, SIM_TRICK_ANY_TIP)) {
        sim_acted(a, SIM_TRICK_ANY_TIP);
        tip_any(a, &vc);
    } else if (vc.certificate_count && sim_adversary_uses(a, SIM_TRICK_FALSE_TIP)) {
        sim_acted(a, SIM_TRICK_FALSE_TIP);
        tip_falsify(a, &vc);
    } else {
        return message;
    }
    if (!ledger_view_change_hash(&vc, hash))
        abort();
    sign_as(a, m, hash, vc.signature);
    if (!ledger_view_change_encode_signed(&vc, &bytes) ||
        !ledger_view_change_write(out, slice_of_buffer(&bytes)))
        abort();
    buffer_free(&bytes);
    return slice_of_buffer(out);
}

static struct slice new_view_forge(struct sim_adversary *a, const struct sim_machine *m,
                                   struct slice message, struct buffer *out)
{
    static struct ledger_new_view_message nv;
    struct sim_random *r = sim_adversary_random(a);
    struct buffer bytes = {0};
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_new_view_message_decode(message, &nv, &e) != 0 ||
        nv.nv.view % a->cluster->replicas != m->replica ||
        !sim_adversary_uses(a, SIM_TRICK_FORGE_NEW_VIEW))
        return message;
    sim_acted(a, SIM_TRICK_FORGE_NEW_VIEW);
    switch (sim_random_below(r, 6)) {
    case 0:
        if (nv.nv.plan_count) {
            nv.nv.plan_count--;
            nv.nv.tip_seqno--;
        }
        break;
    case 1:
        if (nv.nv.plan_count)
            nv.nv.plan[sim_random_below(r, nv.nv.plan_count)].batch_root[0] ^= 1;
        break;
    case 2: nv.nv.tip_view = sim_random_below(r, nv.nv.view); break;
    case 3: nv.nv.ledger_root[0] ^= 1; break;
    case 4: nv.nv.base_pp_hash[0] ^= 1; break;
    default: nv.nv.vcset_hash[0] ^= 1; break;
    }
    ledger_new_view_hash(&nv.nv, hash);
    sign_as(a, m, hash, nv.nv.signature);
    if (!ledger_new_view_encode_signed(&nv.nv, &bytes) ||
        !ledger_new_view_write(out, slice_of_buffer(&bytes), nv.vcset_bytes))
        abort();
    buffer_free(&bytes);
    return slice_of_buffer(out);
}

/* ---- damage ---- */

static struct slice damage(struct sim_adversary *a, struct slice message, struct buffer *out)
{
    struct sim_random *r = sim_adversary_random(a);

    out->len = 0;
    if (!buffer_append(out, message.data, message.len))
        abort();
    switch (sim_random_below(r, 4)) {
    case 0: out->len = sim_random_below(r, out->len); break;
    case 1:
        if (!buffer_append(out, NULL, sim_random_range(r, 1, 40)))
            abort();
        break;
    default:
        for (uint64_t flips = sim_random_range(r, 1, 3); flips--;)
            out->data[sim_random_below(r, out->len)] ^= (uint8_t)sim_random_range(r, 1, 255);
    }
    return slice_of_buffer(out);
}

/* ---- other signatures ---- */

static void sign_again_as(struct sim_adversary *a, const struct sim_machine *m, const uint8_t *hash,
                          uint8_t *signature)
{
    sim_sign_again(&a->cluster->signatures, sim_key(m->replica), hash, signature);
    sim_acted(a, SIM_TRICK_SIGN_AGAIN);
}

static bool pre_prepare_sign_again(struct sim_adversary *a, const struct sim_machine *m,
                                   struct slice message, struct buffer *out)
{
    struct ledger_pre_prepare_message pre;
    struct ledger_pp pp;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_pre_prepare_decode(message, &pre, &e) != 0 ||
        pre.pp.view % a->cluster->replicas != m->replica)
        return false;
    pp = pre.pp;
    ledger_pp_hash(&pp, hash);
    sign_again_as(a, m, hash, pp.signature);
    return pre_prepare_rewrite(&pre, &pp, out);
}

static bool prepare_sign_again(struct sim_adversary *a, const struct sim_machine *m,
                               struct slice message, struct buffer *out)
{
    struct ledger_prepare prepare;
    struct error e;
    uint8_t hash[HASH_LEN];

    if (ledger_prepare_message_decode(message, &prepare, &e) != 0 || prepare.replica != m->replica)
        return false;
    ledger_prepare_hash(&prepare, hash);
    sign_again_as(a, m, hash, prepare.signature);
    return ledger_prepare_write(out, &prepare);
}

static bool new_view_sign_again(struct sim_adversary *a, const struct sim_machine *m,
                                struct slice message, struct buffer *out)
{
    static struct ledger_new_view_message nv; /* large; one thread */
    struct buffer bytes = {0};
    struct error e;
    uint8_t hash[HASH_LEN];
    bool written;

    if (ledger_new_view_message_decode(message, &nv, &e) != 0 ||
        nv.nv.view % a->cluster->replicas != m->replica)
        return false;
    ledger_new_view_hash(&nv.nv, hash);
    sign_again_as(a, m, hash, nv.nv.signature);
    written = ledger_new_view_encode_signed(&nv.nv, &bytes) &&
              ledger_new_view_write(out, slice_of_buffer(&bytes), nv.vcset_bytes);
    buffer_free(&bytes);
    return written;
}

/* False: it is no statement of ours. */
static bool sign_again(struct sim_adversary *a, const struct sim_machine *m, struct slice message,
                       struct buffer *out)
{
    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE: return pre_prepare_sign_again(a, m, message, out);
    case LEDGER_MESSAGE_PREPARE: return prepare_sign_again(a, m, message, out);
    case LEDGER_MESSAGE_NEW_VIEW: return new_view_sign_again(a, m, message, out);
    default: return false;
    }
}

static bool tells_history(struct slice message)
{
    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_EVIDENCE:
    case LEDGER_MESSAGE_CONTENT:
    case LEDGER_MESSAGE_LEDGER:
    case LEDGER_MESSAGE_CHECKPOINT:
    case LEDGER_MESSAGE_STATUS:
    case LEDGER_MESSAGE_RECEIPT:
    case LEDGER_MESSAGE_REPLYX: return true;
    default: return false;
    }
}

struct slice sim_forge(struct sim_adversary *a, const struct sim_machine *m, unsigned to,
                       struct slice message, struct buffer *out)
{
    struct slice seen;

    out->len = 0;
    if (sim_adversary_uses(a, SIM_TRICK_SKIP) && a->deaf_to >> to & 1) {
        sim_acted(a, SIM_TRICK_SKIP);
        return (struct slice){0};
    }
    if (sim_adversary_uses(a, SIM_TRICK_GARBAGE)) {
        sim_acted(a, SIM_TRICK_GARBAGE);
        return damage(a, message, out);
    }
    if (tells_history(message) && sim_adversary_uses(a, SIM_TRICK_BAD_HISTORY)) {
        sim_acted(a, SIM_TRICK_BAD_HISTORY);
        return damage(a, message, out);
    }
    if (sim_adversary_uses(a, SIM_TRICK_REPLAY) && to < a->cluster->machines &&
        (seen = recall(a, a->message, a->messages)).len) {
        sim_acted(a, SIM_TRICK_REPLAY);
        return seen;
    }
    if (sim_adversary_uses(a, SIM_TRICK_SIGN_AGAIN) && sign_again(a, m, message, out))
        return slice_of_buffer(out);
    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE: return pre_prepare_forge(a, m, to, message, out);
    case LEDGER_MESSAGE_COMMIT: return commit_forge(a, m, to, message, out);
    case LEDGER_MESSAGE_REPLY: return reply_forge(a, message, out);
    case LEDGER_MESSAGE_VIEW_CHANGE: return view_change_forge(a, m, message, out);
    case LEDGER_MESSAGE_NEW_VIEW: return new_view_forge(a, m, message, out);
    default: return message;
    }
}

struct slice sim_forge_poison(struct sim_adversary *a, struct slice pre_prepare, struct buffer *out)
{
    /* Behind the type and the signed pp lie the evidence and the bodies. */
    size_t from = 1 + LEDGER_PP_SIGNED_LEN + 4;

    out->len = 0;
    if (!buffer_append(out, pre_prepare.data, pre_prepare.len))
        abort();
    if (out->len > from)
        out->data[from + sim_random_below(sim_adversary_random(a), out->len - from)] ^= 1;
    return slice_of_buffer(out);
}

bool sim_forge_prepare(struct sim_adversary *a, struct slice pre_prepare, struct buffer *out)
{
    struct ledger_pre_prepare_message pre;
    struct ledger_prepare prepare;
    struct error e;

    if (ledger_pre_prepare_decode(pre_prepare, &pre, &e) != 0)
        return false;
    prepare = (struct ledger_prepare){
        .config = pre.pp.config,
        .view = pre.pp.view,
        .seqno = pre.pp.seqno,
        .replica = (uint16_t)sim_random_below(sim_adversary_random(a), a->cluster->replicas)};
    ledger_pp_hash(&pre.pp, prepare.pp_hash);
    return ledger_prepare_write(out, &prepare);
}
