/*
 * Fragments of the ledger that a peer sends: entries from a place where we know the ledger tree's
 * frontier, gathered until somebody whom we believe vouches for a batch among them.
 *
 * The pp of a batch commits all entries before it by M and its own transactions by G; a NewView all
 * before it. So one valid signature of a quorum, as EVIDENCE among the entries has it or something
 * else names it, makes everything up to there ours to use; nothing is used before.
 *
 *   fragment   | entries …, PP s, TX …, …, EVIDENCE s, … |
 *              before         └ vouched for: used up to here, the rest stays held
 *
 * Three use this: transfer.c, install.c, backlog.c. They differ in where the fragment begins and in
 * what they do with what is vouched for.
 */
#include "ledger/replica/core.h"

struct walk walk_start(const struct fragment *f)
{
    const struct buffer *b = &f->entries;
    return (struct walk){.at = b->data, .end = b->data + b->len, .position = f->before.size - 1};
}

bool walk_next(struct walk *w)
{
    if (w->at == w->end)
        return false;
    w->type = w->at[0];
    w->payload = slice_of(w->at + 5, load_u32(w->at + 1));
    w->at += 5 + w->payload.len;
    w->position++;
    return true;
}

/* ---- gathering ---- */

/* Nothing is held; what comes next stands behind this frontier. */
void fragment_begin(struct ledger_replica *r, struct fragment *f,
                    const struct merkle_frontier *before)
{
    f->before = *before;
    f->entries.len = 0;
    f->held = 0;
    f->waiting = false;
    f->generation++;
    f->begun_at = r->env.now_us(r->env.context);
}

/* Asks the source for what follows; `link` may be NULL. */
void fragment_ask(struct ledger_replica *r, struct fragment *f, uint64_t until, uint32_t max_bytes,
                  const uint8_t *link)
{
    struct ledger_fetch fetch = {.type = LEDGER_MESSAGE_FETCH_LEDGER,
                                 .from = f->before.size + f->held,
                                 .until = until,
                                 .max_bytes = max_bytes};
    if (link)
        memcpy(fetch.link, link, HASH_LEN);
    f->asked_at = r->env.now_us(r->env.context);
    f->waiting = true;
    if (f->source != r->self)
        fetch_send(r, f->source, &fetch);
}

/* The next peer that is not banned; when all are, everyone gets another chance. */
void fragment_other_source(struct ledger_replica *r, struct fragment *f)
{
    for (unsigned i = 1; i <= r->n; i++) {
        uint16_t next = (uint16_t)((f->source + i) % r->n);
        if (next != r->self && !(f->banned >> next & 1)) {
            f->source = next;
            return;
        }
    }
    f->banned = 0;
}

/* The source sent what does not fit: the next one, from the start. */
void fragment_ban(struct ledger_replica *r, struct fragment *f)
{
    f->banned |= UINT64_C(1) << f->source;
    r->counters.messages_dropped++;
    fragment_other_source(r, f);
    fragment_begin(r, f, &f->before);
}

/* Whether the source does not answer, or sends entries for which nothing ever vouches. */
bool fragment_is_silent(struct ledger_replica *r, const struct fragment *f)
{
    uint64_t now = r->env.now_us(r->env.context);
    return !f->job_out &&
           (now >= f->asked_at + 2 * FETCH_AGAIN_US || now >= f->begun_at + TRANSFER_STALL_US);
}

/* Whether entries from that position on, of that peer, are what was asked for. */
bool fragment_expects(const struct fragment *f, uint16_t from, uint64_t position)
{
    return from == f->source && position == f->before.size + f->held;
}

/* False: the source has to be banned (an empty answer would be asked for again at once, for ever).
 */
bool fragment_take(struct ledger_replica *r, struct fragment *f, struct ledger_list entries)
{
    struct ledger_list_entry entry;
    struct error e;
    f->waiting = false;
    if (!entries.left)
        return false;
    while (ledger_list_next_entry(&entries, &entry)) {
        if (f->entries.len + entry.payload.len > TRANSFER_BYTES_MAX ||
            f->held == TRANSFER_ENTRIES_MAX || ledger_entry_check(entry.type, entry.payload, &e))
            return false;
        uint8_t head[5] = {entry.type};
        store_u32(head + 1, (uint32_t)entry.payload.len);
        if (!buffer_append(&f->entries, head, sizeof head) ||
            !buffer_append(&f->entries, entry.payload.data, entry.payload.len)) {
            replica_stop(r, "no memory");
            return true;
        }
        f->held++;
    }
    return true;
}

/* The signature of a pp or NewView entry, or nothing. */
static bool entry_signature(const struct ledger_replica *r, const struct walk *w,
                            struct ledger_signature *item)
{
    struct error e;
    struct ledger_pp pp;
    struct ledger_new_view nv;
    if (w->type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w->payload, &pp, &e)) {
        ledger_pp_hash(&pp, item->hash);
        item->public_key = r->configuration->replicas[primary_of(r, pp.view)].public_key;
    } else if (w->type == LEDGER_ENTRY_NEW_VIEW &&
               !ledger_new_view_decode_signed(w->payload, &nv, &e)) {
        ledger_new_view_hash(&nv, item->hash);
        item->public_key = r->configuration->replicas[primary_of(r, nv.view)].public_key;
    } else {
        return false;
    }
    item->signature = w->payload.data + w->payload.len - ED25519_SIGNATURE_LEN;
    return true;
}

/*
 * Sends the signatures of pps and NewViews behind this offset away to be checked: the roots that
 * vouch for entries do not cover them (entry.h). False: there are none, go on at once.
 */
bool fragment_check_signatures(struct ledger_replica *r, struct fragment *f, size_t from)
{
    struct evidence_check *check = calloc(1, sizeof *check);
    struct job *job = check ? job_take(r, JOB_TRANSFER, 64) : NULL;
    struct ledger_signature item;
    bool room = job;
    struct walk w = walk_start(f);
    w.at += from;
    while (room && walk_next(&w)) {
        if (!entry_signature(r, &w, &item))
            continue;
        room = job_room(job, job->count + 1);
        if (!room)
            break;
        memcpy(job->copies[job->count], item.signature, ED25519_SIGNATURE_LEN);
        job->items[job->count++] = item;
    }
    if (!room)
        replica_stop(r, "no memory");
    if (!room || !job->count) {
        if (job)
            job_give(r, job);
        evidence_check_free(check);
        return !room;
    }
    for (size_t i = 0; i < job->count; i++)
        job->items[i].signature = job->copies[i]; /* the fragment moves */
    check->fragment = f;
    check->of_entries = true;
    job->subject = check;
    job->references[0].s = f->generation;
    f->job_out = true;
    job_send(r, job);
    return true;
}

/* ---- what may vouch ---- */

/* The batch, or NewView, of the fragment that `link` names; batches must be whole. */
struct stop fragment_find_link(const struct fragment *f, const uint8_t link[static HASH_LEN])
{
    struct stop stop = {0};
    struct ledger_pp pp = {0};
    struct ledger_new_view nv;
    struct error e;
    uint64_t left = 0;
    bool here = false;
    for (struct walk w = walk_start(f); walk_next(&w);) {
        if (w.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w.payload, &pp, &e)) {
            ledger_pp_hash(&pp, stop.hash);
            here = !memcmp(stop.hash, link, HASH_LEN);
            stop.view = pp.view;
            stop.is_new_view = false;
            left = pp.count;
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW &&
                   !ledger_new_view_decode_signed(w.payload, &nv, &e)) {
            ledger_new_view_hash(&nv, stop.hash);
            here = !memcmp(stop.hash, link, HASH_LEN);
            stop.view = nv.view;
            stop.is_new_view = true;
            left = 0;
        } else if (w.type == LEDGER_ENTRY_TX && left) {
            left--;
        }
        if (here && !left) {
            stop.found = true;
            stop.offset = (size_t)(w.at - f->entries.data);
            stop.entries = w.position - f->before.size + 1;
            return stop;
        }
    }
    return stop;
}

/* The last batch of the fragment for which the fragment itself holds evidence; fills in what is to
 * be checked. */
struct stop fragment_find_evidence(const struct ledger_replica *r, const struct fragment *f,
                                   struct ledger_pp *pp, struct slice *evidence_bytes)
{
    struct stop stops[LEDGER_PIPELINE_MAX + 1] = {{0}}; /* of the last P + 1 batches, by s */
    struct ledger_pp pps[LEDGER_PIPELINE_MAX + 1];
    struct stop best = {0};
    struct ledger_evidence evidence;
    struct error e;
    uint64_t left = 0, s = 0, ring = r->pipeline + 1;
    for (struct walk w = walk_start(f); walk_next(&w);) {
        struct stop *now = &stops[s % ring];
        if (w.type == LEDGER_ENTRY_PP &&
            !ledger_pp_decode_signed(w.payload, &pps[(s = load_u64(w.payload.data + 12)) % ring],
                                     &e)) {
            now = &stops[s % ring];
            *now = (struct stop){.s = s, .view = pps[s % ring].view};
            ledger_pp_hash(&pps[s % ring], now->hash);
            left = pps[s % ring].count;
        } else if (w.type == LEDGER_ENTRY_TX && left) {
            left--;
        } else if (w.type == LEDGER_ENTRY_EVIDENCE &&
                   !ledger_evidence_decode(w.payload, &evidence, &e)) {
            const struct stop *about = &stops[evidence.seqno % ring];
            if (about->found && about->s == evidence.seqno) {
                best = *about;
                *pp = pps[evidence.seqno % ring];
                *evidence_bytes = w.payload;
            }
            continue;
        }
        if ((w.type == LEDGER_ENTRY_PP || w.type == LEDGER_ENTRY_TX) && !left && now->s == s && s) {
            now->found = true;
            now->offset = (size_t)(w.at - f->entries.data);
            now->entries = w.position - f->before.size + 1;
        }
    }
    return best;
}

/* Whether the entries up to the stop are what the stop's pp or NewView commits to: all before it by
 * its root M, its own transactions by G, and nothing else behind it. */
bool fragment_holds(const struct fragment *fragment, const struct stop *stop)
{
    struct error e;
    struct merkle_frontier f = fragment->before, g = {0};
    struct ledger_pp pp = {0};
    struct ledger_new_view nv;
    uint8_t hash[HASH_LEN];
    uint32_t txs = 0;
    bool holds = false;
    struct walk w = walk_start(fragment);
    const uint8_t *end = w.at + stop->offset;
    while (w.at < end && walk_next(&w)) {
        if (w.type == 0 || w.type > LEDGER_ENTRY_NEW_VIEW)
            return false;
        struct merkle_hash root = merkle_frontier_root(&f);
        struct merkle_hash leaf = ledger_entry_leaf(w.type, w.payload);
        if (w.type == LEDGER_ENTRY_PP) {
            if (ledger_pp_decode_signed(w.payload, &pp, &e))
                return false;
            g = (struct merkle_frontier){0};
            txs = 0;
            ledger_pp_hash(&pp, hash);
            holds = !stop->is_new_view && !memcmp(hash, stop->hash, HASH_LEN) &&
                    !memcmp(root.bytes, pp.ledger_root, HASH_LEN);
        } else if (w.type == LEDGER_ENTRY_TX) {
            merkle_frontier_append(&g, &leaf, &e);
            txs++;
        } else if (w.type == LEDGER_ENTRY_NEW_VIEW && stop->is_new_view) {
            if (ledger_new_view_decode_signed(w.payload, &nv, &e))
                return false;
            ledger_new_view_hash(&nv, hash);
            holds = !memcmp(hash, stop->hash, HASH_LEN) &&
                    !memcmp(root.bytes, nv.ledger_root, HASH_LEN);
            txs = 0;
        } else {
            holds = false; /* a pp of later must vouch for it */
        }
        merkle_frontier_append(&f, &leaf, &e);
    }
    if (txs != (stop->is_new_view ? 0 : pp.count))
        return false;
    if (holds && !stop->is_new_view && pp.count) {
        struct merkle_hash root = merkle_frontier_root(&g);
        holds = !memcmp(root.bytes, pp.batch_root, HASH_LEN);
    }
    return holds;
}

/* ---- checking evidence ---- */

/* Sends the signatures of evidence that was found away to be checked. False: it is no evidence of
 * that batch, and the source has to be banned. */
bool fragment_check(struct ledger_replica *r, struct fragment *f, const struct ledger_pp *pp,
                    struct slice bytes)
{
    struct error e;
    struct ledger_evidence evidence;
    struct ledger_signature work[LEDGER_REPLICAS_MAX];
    if (ledger_evidence_decode(bytes, &evidence, &e) ||
        ledger_evidence_check(r->configuration, pp, &evidence, work, &e) < 0)
        return false;
    struct evidence_check *check = calloc(1, sizeof *check);
    struct job *job = check ? job_take(r, JOB_TRANSFER, LEDGER_REPLICAS_MAX) : NULL;
    if (!job || !ledger_evidence_write(&check->message, pp, bytes) ||
        ledger_evidence_message_decode(slice_of_buffer(&check->message), &check->decoded, &e)) {
        if (job)
            job_give(r, job);
        evidence_check_free(check);
        return true; /* no memory: tried again */
    }
    /* The work must point into the copy: the fragment moves. */
    int count = ledger_evidence_check(r->configuration, &check->decoded.pp,
                                      &check->decoded.evidence, work, &e);
    memcpy(job->items, work, (size_t)count * sizeof *work);
    job->count = (size_t)count;
    check->fragment = f;
    job->subject = check;
    job->references[0].s = f->generation;
    f->job_out = true;
    job_send(r, job);
    return true;
}

/* A job of fragment_check, about what is held, is back. False: the evidence is not valid, and the
 * source has to be banned. *stop is the batch; not found: other evidence came behind it meanwhile,
 * which is to be checked instead. */
bool fragment_checked(const struct ledger_replica *r, struct fragment *f, const struct job *job,
                      struct stop *stop)
{
    const struct evidence_check *check = job->subject;
    struct ledger_pp pp;
    struct slice bytes;
    uint8_t hash[HASH_LEN];
    bool valid = true;
    for (size_t i = 0; i < job->count; i++)
        valid = valid && job->valid[i];
    *stop = fragment_find_evidence(r, f, &pp, &bytes);
    ledger_pp_hash(&check->decoded.pp, hash);
    stop->found = stop->found && !memcmp(stop->hash, hash, HASH_LEN);
    return valid;
}
