/* Certificates, view changes and new views; formats in view_change.h. */
#include "ledger/object/view_change.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

/* ---- certificate ---- */

bool ledger_certificate_encode(const struct ledger_certificate *c, struct buffer *out)
{
    size_t votes = (size_t)c->vote_count * LEDGER_CERTIFICATE_VOTE_LEN;
    assert(c->vote_count == (unsigned)__builtin_popcountll(c->bits));
    uint8_t *at = buffer_extend(out, LEDGER_PP_SIGNED_LEN + 8 + 4 + votes);
    if (!at)
        return false;
    ledger_pp_encode_signed(&c->pp, at);
    at = put_u64(at + LEDGER_PP_SIGNED_LEN, c->bits);
    put_list(at, c->vote_count, c->votes, votes);
    return true;
}

static void certificate_read(struct ledger_reader *r, struct ledger_certificate *c)
{
    ledger_read_pp_signed(r, &c->pp);
    c->bits = ledger_read_u64(r);
    c->vote_count = ledger_read_count(r, LEDGER_REPLICAS_MAX, LEDGER_CERTIFICATE_VOTE_LEN,
                                      "a certificate has more votes than replicas");
    c->votes = ledger_read_raw(r, (size_t)c->vote_count * LEDGER_CERTIFICATE_VOTE_LEN);
    if (c->vote_count != (unsigned)__builtin_popcountll(c->bits))
        ledger_read_fail(r, ATOLL_ECORRUPT, "a certificate has not as many votes as bits");
}

int ledger_certificate_decode(struct slice bytes, struct ledger_certificate *c, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "certificate");
    certificate_read(&r, c);
    return ledger_read_end(&r, e);
}

/* ---- new view ---- */

static uint8_t *new_view_put(uint8_t *at, const struct ledger_new_view *nv)
{
    assert(nv->plan_count <= LEDGER_PIPELINE_MAX &&
           nv->plan_count == nv->tip_seqno - nv->base_seqno);
    at = put_u32(at, nv->config);
    at = put_u64(at, nv->view);
    at = put_u64(at, nv->base_seqno);
    at = put_raw(at, nv->base_pp_hash, HASH_LEN);
    at = put_u64(at, nv->tip_view);
    at = put_u64(at, nv->tip_seqno);
    at = put_u32(at, nv->plan_count);
    for (uint32_t i = 0; i < nv->plan_count; i++) {
        const struct ledger_plan *plan = &nv->plan[i];
        at = put_u64(at, plan->seqno);
        at = put_u8(at, (uint8_t)plan->kind);
        at = put_u64(at, plan->first_index);
        at = put_u32(at, plan->count);
        at = put_raw(at, plan->batch_root, HASH_LEN);
    }
    at = put_raw(at, nv->ledger_root, HASH_LEN);
    return put_raw(at, nv->vcset_hash, HASH_LEN);
}

bool ledger_new_view_encode_signed(const struct ledger_new_view *nv, struct buffer *out)
{
    uint8_t fields[LEDGER_NEW_VIEW_LEN_MAX];
    size_t len = (size_t)(new_view_put(fields, nv) - fields);
    uint8_t *at = buffer_extend(out, len + ED25519_SIGNATURE_LEN);
    if (!at)
        return false;
    put_raw(put_raw(at, fields, len), nv->signature, ED25519_SIGNATURE_LEN);
    return true;
}

void ledger_new_view_hash(const struct ledger_new_view *nv, uint8_t out[static HASH_LEN])
{
    uint8_t fields[LEDGER_NEW_VIEW_LEN_MAX];
    size_t len = (size_t)(new_view_put(fields, nv) - fields);
    ledger_hash(LEDGER_TAG_NEW_VIEW, fields, len, out);
}

static void plan_read(struct ledger_reader *r, uint64_t seqno, struct ledger_plan *plan)
{
    plan->seqno = ledger_read_u64(r);
    unsigned kind = ledger_read_u8(r);
    plan->kind = (enum ledger_kind)kind;
    plan->first_index = ledger_read_u64(r);
    plan->count = ledger_read_u32(r);
    ledger_read_copy(r, plan->batch_root, HASH_LEN);
    ledger_read_kind(r, kind, plan->count);
    if (plan->seqno != seqno)
        ledger_read_fail(r, ATOLL_ECORRUPT, "a new view's plan leaves out a batch");
}

static void new_view_signed_read(struct ledger_reader *r, struct ledger_new_view *nv)
{
    nv->config = ledger_read_u32(r);
    nv->view = ledger_read_u64(r);
    nv->base_seqno = ledger_read_u64(r);
    ledger_read_copy(r, nv->base_pp_hash, HASH_LEN);
    nv->tip_view = ledger_read_u64(r);
    nv->tip_seqno = ledger_read_u64(r);
    nv->plan_count = ledger_read_count(r, LEDGER_PIPELINE_MAX, LEDGER_PLAN_LEN,
                                       "a new view plans more batches than any pipeline holds");
    if (nv->tip_seqno < nv->base_seqno || nv->tip_seqno - nv->base_seqno != nv->plan_count)
        ledger_read_fail(r, ATOLL_ECORRUPT, "a new view's plan does not lead from base to tip");
    for (uint32_t i = 0; i < nv->plan_count; i++)
        plan_read(r, nv->base_seqno + 1 + i, &nv->plan[i]);
    ledger_read_copy(r, nv->ledger_root, HASH_LEN);
    ledger_read_copy(r, nv->vcset_hash, HASH_LEN);
    ledger_read_copy(r, nv->signature, ED25519_SIGNATURE_LEN);
}

int ledger_new_view_decode_signed(struct slice bytes, struct ledger_new_view *nv, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "new view");
    new_view_signed_read(&r, nv);
    return ledger_read_end(&r, e);
}

/* ---- view change ---- */

static bool view_change_encode(const struct ledger_view_change *vc, struct buffer *out)
{
    assert(vc->certificate_count <= LEDGER_PIPELINE_MAX);
    uint8_t head[4 + 8 + 2 + 4];
    put_u32(put_u16(put_u64(put_u32(head, vc->config), vc->new_view), vc->replica),
            vc->certificate_count);
    bool done = buffer_append(out, head, sizeof head);
    for (uint32_t i = 0; done && i < vc->certificate_count; i++)
        done = ledger_certificate_encode(&vc->certificates[i], out);
    uint8_t has_new_view = vc->has_new_view;
    done = done && buffer_append(out, &has_new_view, 1);
    if (done && vc->has_new_view)
        done = ledger_new_view_encode_signed(&vc->nv, out);
    return done && buffer_append_u64(out, vc->stable.seqno) &&
           buffer_append(out, vc->stable.ledger_root, HASH_LEN) &&
           buffer_append(out, vc->stable.pp_hash, HASH_LEN);
}

bool ledger_view_change_encode_signed(const struct ledger_view_change *vc, struct buffer *out)
{
    return view_change_encode(vc, out) && buffer_append(out, vc->signature, ED25519_SIGNATURE_LEN);
}

/* That a certificate continues the list before it. */
static void continuity_check(struct ledger_reader *r, const struct ledger_view_change *vc,
                             uint32_t i)
{
    const struct ledger_pp *pp = &vc->certificates[i].pp;
    const struct ledger_pp *before = i ? &vc->certificates[i - 1].pp : NULL;
    if (before && (pp->config != before->config || pp->view != before->view ||
                   pp->seqno != before->seqno + 1))
        ledger_read_fail(r, ATOLL_ECORRUPT, "its certificates are not one row of one view");
}

int ledger_view_change_decode_signed(struct slice bytes, struct ledger_view_change *vc,
                                     struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "view change");
    vc->config = ledger_read_u32(&r);
    vc->new_view = ledger_read_u64(&r);
    vc->replica = ledger_read_replica(&r);
    vc->certificate_count = ledger_read_count(&r, LEDGER_PIPELINE_MAX, LEDGER_PP_SIGNED_LEN + 8 + 4,
                                              "it has more certificates than any pipeline holds");
    for (uint32_t i = 0; i < vc->certificate_count; i++) {
        certificate_read(&r, &vc->certificates[i]);
        continuity_check(&r, vc, i);
    }
    unsigned has_new_view = ledger_read_u8(&r);
    if (has_new_view > 1)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "whether it has a new view is neither yes nor no");
    vc->has_new_view = has_new_view == 1;
    if (vc->has_new_view)
        new_view_signed_read(&r, &vc->nv);
    vc->stable.seqno = ledger_read_u64(&r);
    ledger_read_copy(&r, vc->stable.ledger_root, HASH_LEN);
    ledger_read_copy(&r, vc->stable.pp_hash, HASH_LEN);
    ledger_read_copy(&r, vc->signature, ED25519_SIGNATURE_LEN);
    return ledger_read_end(&r, e);
}

bool ledger_view_change_hash(const struct ledger_view_change *vc, uint8_t out[static HASH_LEN])
{
    struct buffer fields = {0};
    bool done = view_change_encode(vc, &fields);
    if (done)
        ledger_hash(LEDGER_TAG_VIEW_CHANGE, fields.data, fields.len, out);
    buffer_free(&fields);
    return done;
}

void ledger_view_change_hash_bytes(struct slice signed_bytes, uint8_t out[static HASH_LEN])
{
    assert(signed_bytes.len > ED25519_SIGNATURE_LEN);
    ledger_hash(LEDGER_TAG_VIEW_CHANGE, signed_bytes.data, signed_bytes.len - ED25519_SIGNATURE_LEN,
                out);
}

/* ---- the set of view changes ---- */

bool ledger_vcset_encode(const struct ledger_vcset *set, struct buffer *out)
{
    assert(set->count <= LEDGER_REPLICAS_MAX);
    bool done = buffer_append_u64(out, set->view) && buffer_append_u32(out, set->count);
    for (uint32_t i = 0; done && i < set->count; i++)
        done = buffer_append_u32(out, (uint32_t)set->view_changes[i].len) &&
               buffer_append(out, set->view_changes[i].data, set->view_changes[i].len);
    return done;
}

/* The sender's number stands at a fixed place in a view change: config 4, new_view 8, replica 2. */
static int sender_of(struct slice view_change)
{
    return view_change.len >= 14 ? load_u16(view_change.data + 12) : -1;
}

int ledger_vcset_decode(struct slice bytes, struct ledger_vcset *set, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "set of view changes");
    set->view = ledger_read_u64(&r);
    set->count = ledger_read_count(&r, LEDGER_REPLICAS_MAX, 4, "it has more than replicas");
    int before = -1;
    for (uint32_t i = 0; i < set->count; i++) {
        set->view_changes[i] =
            ledger_read_bytes(&r, LEDGER_MESSAGE_MAX, "a view change is longer than a message");
        int sender = sender_of(set->view_changes[i]);
        if (sender <= before)
            ledger_read_fail(&r, ATOLL_ECORRUPT, "its senders are not in ascending order");
        before = sender;
    }
    return ledger_read_end(&r, e);
}

void ledger_vcset_hash(struct slice bytes, uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_ENTRY_VCSET, bytes.data, bytes.len, out);
}
