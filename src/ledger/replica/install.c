/*
 * Taking over a checkpoint of others (§6, state transfer), instead of executing what led to it.
 *
 *   EVIDENCE of batch v + P, far ahead, and of v: Q signatures under a pp whose dC names c
 *     → chunks of c from all peers at once, each checked against dC (kv/checkpoint.h)
 *     → its ORIGIN, the ledger tree's frontier before the pp of c - P + 1, as f + 1 peers say it:
 *       nothing signed tells how many entries a root stands for
 *     → the ledger from there on, until evidence vouches for a batch behind c (fragment.c)
 *     → installed: the log jumps to the origin, the store becomes that of c, what follows is
 *       executed; from then on this is a replica that started from checkpoint c (open.c)
 *     → what was left out comes in the background (backlog.c)
 *
 * A peer that sends a chunk which does not fit is named in the status and not asked again. Our own
 * certificates, marks and the view that we are in stay as they are. Nothing is signed up to batch v
 * (§6): whoever sent us a false state, with more than f liars, shall not have our word
 * for what it leads to. Memory: a second store, while it is put together, and one fragment.
 *
 * Crash argument. Until the log jumps, nothing of this is on the disk. Afterwards either the
 * checkpoint's file is there, and the log from its origin on: an ordinary restart. Or it is not
 * yet: then the log is read up to the gap, rolled back to it, and all of this happens again.
 */
#include "ledger/replica/core.h"

#define ASK_BYTES        (4u << 20)
#define CHUNK_AGAIN_US   1000000
#define INSTALL_STALL_US 10000000 /* without a chunk or entry: given up, for a newer one */

/* The checkpoint that the pp's dC names; 0: the genesis. */
static uint64_t checkpoint_named(const struct ledger_replica *r, uint64_t s)
{
    return s / r->interval ? (s / r->interval - 1) * r->interval : 0;
}

/* Whether the checkpoint that batch s names spares us much: less than an interval of batches is
 * executed sooner than a state is fetched. */
static bool install_spares(const struct ledger_replica *r, uint64_t s)
{
    uint64_t c = checkpoint_named(r, s);
    return c >= r->last + r->interval && c > r->install_given_up;
}

void install_stop(struct ledger_replica *r)
{
    struct install *in = &r->install;
    uint64_t generation = in->fragment.generation + 1;
    kv_transfer_close(in->store);
    free(in->asked);
    buffer_free(&in->fragment.entries);
    *in = (struct install){.fragment.generation = generation};
}

/* No checkpoint up to this one is taken over: history is executed. */
static void install_give_up(struct ledger_replica *r, uint64_t s)
{
    r->install_given_up = s;
    install_stop(r);
    r->catching_up = true;
    r->retransmit_wait = RETRANSMIT_FIRST_US;
}

/* ---- asking ---- */

/* On the wire chunk 0 is the origin, the chunks of the store follow. */
static void ask_chunk(struct ledger_replica *r, unsigned peer, uint32_t number)
{
    struct ledger_fetch fetch = {
        .type = LEDGER_MESSAGE_FETCH_CHECKPOINT, .seqno = r->install.s, .chunk = number};
    fetch_send(r, (int)peer, &fetch);
}

static bool is_asked(const struct ledger_replica *r, uint32_t number)
{
    for (unsigned i = 0; i < r->n; i++)
        if (r->install.asked[i].out && r->install.asked[i].number == number)
            return true;
    return false;
}

/* A chunk that is missing and that nobody is asked for; false: there is none. */
static bool chunk_next(const struct ledger_replica *r, uint32_t *number)
{
    const struct install *in = &r->install;
    uint32_t count = kv_transfer_chunks(in->store);
    if (!count) {
        *number = 0;
        return !is_asked(r, 0);
    }
    for (uint32_t i = 1; (i = kv_transfer_missing(in->store, i)) < count; i++) {
        if (is_asked(r, i))
            continue;
        *number = i;
        return true;
    }
    return false;
}

/* Every peer that owes nothing is asked for one chunk more. */
static void ask_chunks(struct ledger_replica *r)
{
    struct install *in = &r->install;
    uint64_t now = r->env.now_us(r->env.context);
    uint32_t number;
    for (unsigned k = 0; k < r->n; k++) {
        unsigned peer = (in->turn + k) % r->n;
        struct chunk_asked *asked = &in->asked[peer];
        if (peer == r->self || in->banned >> peer & 1 || asked->out || now < asked->idle_until)
            continue;
        if (!chunk_next(r, &number))
            return;
        asked->out = true;
        asked->number = number;
        asked->at = now;
        ask_chunk(r, peer, number + 1);
    }
}

static void ask_origins(struct ledger_replica *r)
{
    for (unsigned peer = 0; peer < r->n; peer++)
        if (peer != r->self && !r->install.asked[peer].has_origin)
            ask_chunk(r, peer, 0);
}

/* The pp is one that Q replicas signed, of a batch that is final. */
static void install_begin(struct ledger_replica *r, const struct ledger_pp *pp)
{
    struct install *in = &r->install;
    struct error e;
    install_stop(r);
    in->s = checkpoint_named(r, pp->seqno);
    in->vouched_s = pp->seqno;
    memcpy(in->digest, pp->kv_digest, HASH_LEN);
    in->asked = calloc(r->n, sizeof *in->asked);
    if (!in->asked || kv_transfer_open(in->digest, r->genesis.bucket_bits, r->genesis.bucket_key,
                                       &in->store, &e)) {
        install_stop(r);
        return;
    }
    transfer_stop(r);
    r->silent = in->vouched_s > r->silent ? in->vouched_s : r->silent;
    in->active = true;
    in->progress_at = r->env.now_us(r->env.context);
    in->fragment.source = (uint16_t)((r->self + 1) % r->n);
    ask_origins(r);
    ask_chunks(r);
}

/*
 * Evidence for this batch is valid. True: its checkpoint, or one little older, is taken over.
 *
 * We sign nothing up to the batch that vouches. So it must be one that no view change can propose
 * again, or the others might wait for us: P batches before one that is committed.
 */
bool install_vouched(struct ledger_replica *r, const struct ledger_pp *pp, uint16_t from)
{
    uint64_t s = pp->seqno;
    if (!r->env.jump || r->stopped || pp->view < ledger_view(r) || pp->view < r->view ||
        !install_spares(r, s))
        return false;
    if (r->install.active)
        return true;
    if (s > r->install_known)
        r->install_known = s;
    if (s + r->pipeline <= r->install_known) {
        install_begin(r, pp);
        return true;
    }
    if (!install_spares(r, s - r->pipeline))
        return false;
    fetch_send(
        r, from,
        &(struct ledger_fetch){.type = LEDGER_MESSAGE_FETCH_EVIDENCE, .seqno = s - r->pipeline});
    return true;
}

static void install_ask_entries(struct ledger_replica *r)
{
    fragment_ask(r, &r->install.fragment, UINT64_MAX, ASK_BYTES, NULL);
}

/* Every 100 ms. */
void install_again(struct ledger_replica *r)
{
    struct install *in = &r->install;
    uint64_t now = r->env.now_us(r->env.context);
    if (!in->active)
        return;
    if (now >= in->progress_at + INSTALL_STALL_US) {
        /* Nobody keeps it any more; evidence of a later batch may name a newer one. */
        install_give_up(r, in->s);
        return;
    }
    in->turn = (in->turn + 1) % r->n;
    for (unsigned i = 0; i < r->n; i++) {
        struct chunk_asked *asked = &in->asked[i];
        if (!asked->out || now < asked->at + CHUNK_AGAIN_US)
            continue;
        asked->out = false; /* others first */
        asked->idle_until = now + CHUNK_AGAIN_US;
    }
    if (!in->has_origin && now >= in->origins_at + CHUNK_AGAIN_US) {
        in->origins_at = now;
        ask_origins(r);
    }
    if (!in->whole)
        ask_chunks(r);
    else if (in->has_origin && fragment_is_silent(r, &in->fragment)) {
        fragment_other_source(r, &in->fragment);
        fragment_begin(r, &in->fragment, &in->fragment.before);
        install_ask_entries(r);
    }
}

/* ---- answering ---- */

static bool origin_write(struct ledger_replica *r, uint64_t s)
{
    struct merkle_frontier f;
    uint8_t bytes[8 + MERKLE_FRONTIER_MAX];
    if (!r->env.checkpoint_origin || r->env.checkpoint_origin(r->env.context, s, &f) || !f.size)
        return false;
    store_u64(bytes, f.size);
    r->scratch_read.len = 0;
    return buffer_append(&r->scratch_read, bytes, 8 + merkle_frontier_pack(&f, bytes + 8));
}

/* A peer asks for a piece of a checkpoint that we keep. */
void install_answer(struct ledger_replica *r, uint16_t to, const struct ledger_fetch *f)
{
    struct ledger_chunk chunk = {.seqno = f->seqno, .chunk = f->chunk};
    uint32_t count = 1;
    if (f->chunk == 0 ? !origin_write(r, f->seqno)
                      : !r->env.checkpoint_chunk ||
                            r->env.checkpoint_chunk(r->env.context, f->seqno, f->chunk - 1,
                                                    &r->scratch_read, &count))
        return;
    chunk.chunks = count + 1;
    chunk.data = slice_of_buffer(&r->scratch_read);
    r->scratch.len = 0;
    if (ledger_chunk_write(&r->scratch, &chunk))
        send_to(r, to, slice_of_buffer(&r->scratch));
}

/* ---- arrival ---- */

static void install_ban(struct ledger_replica *r, uint16_t peer, const char *what)
{
    r->install.banned |= UINT64_C(1) << peer;
    r->install.asked[peer].out = false;
    r->counters.messages_dropped++;
    snprintf(r->refusal, sizeof r->refusal,
             "replica %u sent a false piece of checkpoint %llu: %.150s", peer,
             (unsigned long long)r->install.s, what);
}

/* What a peer says the origin is; f + 1 who say the same have a correct one among them. */
static void origin_heard(struct ledger_replica *r, uint16_t from, struct slice bytes)
{
    struct install *in = &r->install;
    struct chunk_asked *asked = &in->asked[from];
    uint64_t size = bytes.len >= 8 ? load_u64(bytes.data) : 0;
    if (in->has_origin || asked->has_origin)
        return;
    if (!size || size > MERKLE_SIZE_MAX || bytes.len != 8 + merkle_frontier_packed(size)) {
        install_ban(r, from, "not an origin");
        return;
    }
    asked->has_origin = true;
    merkle_frontier_unpack(&asked->origin, size, bytes.data + 8);
    unsigned same = 0;
    for (unsigned i = 0; i < r->n; i++)
        same +=
            in->asked[i].has_origin && merkle_frontier_equal(&in->asked[i].origin, &asked->origin);
    if (same <= r->f)
        return;
    in->has_origin = true;
    fragment_begin(r, &in->fragment, &asked->origin);
    if (in->whole)
        install_ask_entries(r);
}

static void store_heard(struct ledger_replica *r, uint16_t from, uint32_t number,
                        struct slice bytes)
{
    struct install *in = &r->install;
    struct chunk_asked *asked = &in->asked[from];
    struct error e;
    if (!asked->out || asked->number != number)
        return; /* not asked for, or too late */
    asked->out = false;
    int rc = kv_transfer_chunk(in->store, number, bytes.data, bytes.len, &e);
    if (rc == -ATOLL_ECORRUPT || rc == -ATOLL_ERANGE)
        install_ban(r, from, e.text);
    if (rc == -ATOLL_ENOMEM) {
        snprintf(r->refusal, sizeof r->refusal, "%.200s", e.text);
        install_stop(r);
        return;
    }
    if (rc == 0)
        in->progress_at = r->env.now_us(r->env.context);
    uint32_t count = kv_transfer_chunks(in->store);
    in->whole = count && kv_transfer_missing(in->store, 1) == count;
    if (!in->whole)
        ask_chunks(r);
    else if (in->has_origin)
        install_ask_entries(r);
}

void install_chunk(struct ledger_replica *r, uint16_t from, struct slice message)
{
    struct install *in = &r->install;
    struct ledger_chunk chunk;
    struct error e;
    if (ledger_chunk_decode(message, &chunk, &e)) {
        r->counters.messages_dropped++;
        return;
    }
    if (!in->active || chunk.seqno != in->s || in->banned >> from & 1)
        return;
    if (chunk.chunk == 0)
        origin_heard(r, from, chunk.data);
    else if (!in->whole)
        store_heard(r, from, chunk.chunk - 1, chunk.data);
}

/* ---- the ledger around it ---- */

/* Looks for the checkpoint's batch among the entries up to the stop, and what is to be known of it.
 * False: it is not there. *offset: behind it. */
static bool checkpoint_find(const struct ledger_replica *r, const struct stop *stop,
                            struct ledger_checkpoint *c, size_t *offset)
{
    const struct install *in = &r->install;
    struct merkle_frontier f = in->fragment.before;
    struct ledger_pp pp;
    struct error e;
    uint64_t first = 0;
    struct walk w = walk_start(&in->fragment);
    const uint8_t *start = w.at, *end = w.at + stop->offset;
    while (w.at < end && walk_next(&w)) {
        struct merkle_hash leaf = ledger_entry_leaf(w.type, w.payload);
        if (merkle_frontier_append(&f, &leaf, &e))
            return false;
        if (w.type != LEDGER_ENTRY_PP || ledger_pp_decode_signed(w.payload, &pp, &e))
            continue;
        first = first ? first : pp.seqno;
        if (pp.seqno != in->s)
            continue;
        *c = (struct ledger_checkpoint){.s = pp.seqno,
                                        .position = f.size,
                                        .needed = in->fragment.before.size,
                                        .silent = in->vouched_s,
                                        .next_index = pp.first_index,
                                        .gov_index = pp.gov_index,
                                        .view = pp.view,
                                        .config = pp.config,
                                        .before_s = pp.seqno - r->interval,
                                        .frontier = f,
                                        .origin = in->fragment.before};
        ledger_pp_hash(&pp, c->pp_hash);
        memcpy(c->before_digest, pp.kv_digest, HASH_LEN);
        *offset = (size_t)(w.at - start);
        return pp.kind == LEDGER_KIND_CHECKPOINT && !pp.count && first + r->pipeline == in->s + 1;
    }
    return false;
}

/* Forgets the ledger as it was: what is known about batches, and where they lie. */
static void ledger_forget(struct ledger_replica *r)
{
    accept_clear(r);
    replay_reset(r);
    for (unsigned i = 0; i < SLOTS; i++) {
        r->slots[i].s = 0;
        r->slots[i].in_ledger = false;
    }
    r->old.s = 0;
    r->position_count = 0;
    r->view_entry_count = 0;
    memset(r->digests, 0, sizeof r->digests);
}

/* The view that the checkpoint's batch stands in, when we were in a lower one. */
static void view_follow(struct ledger_replica *r, uint64_t view)
{
    if (view <= r->view)
        return;
    r->new_view.len = r->new_view_vcset.len = 0;
    r->plan_base = r->plan_end = 0;
    r->plan_count = 0;
    r->plan_complete = true;
    r->new_view_ready = false;
    r->pp_rejected = false;
}

/* The entries up to the checkpoint are written and noted, not executed. */
static void entries_note(struct ledger_replica *r, size_t offset)
{
    struct ledger_pp pp;
    struct error e;
    struct walk w = walk_start(&r->install.fragment);
    const uint8_t *end = w.at + offset;
    while (w.at < end && walk_next(&w) && !r->stopped) {
        if (w.type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(w.payload, &pp, &e)) {
            if (!positions_set(r, pp.seqno, w.position))
                replica_stop(r, "no memory");
            slot_make_hollow(r, &pp);
        }
        append_entry(r, (enum ledger_entry_type)w.type, w.payload, NULL);
    }
}

/* What follows is executed. */
static void entries_replay(struct ledger_replica *r, size_t from, size_t to)
{
    struct error e;
    struct walk w = walk_start(&r->install.fragment);
    const uint8_t *end = w.at + to;
    w.at += from;
    while (w.at < end && walk_next(&w) && !r->stopped) {
        if (replay_entry(r, w.type, w.payload, &e)) {
            snprintf(r->refusal, sizeof r->refusal,
                     "history behind a checkpoint cannot be followed: %.180s", e.text);
            replica_stop(r, r->refusal);
        }
    }
}

/* The store, the ledger's end and the log become those of the checkpoint. */
static void checkpoint_enter(struct ledger_replica *r, const struct ledger_checkpoint *c,
                             struct kv *store, size_t offset)
{
    struct error e;
    struct kv_snapshot *snapshot;
    uint8_t digest[HASH_LEN];
    memcpy(digest, r->install.digest, HASH_LEN);
    ledger_forget(r);
    kv_replace(r->kv, store, c->s);
    view_follow(r, c->view);
    if (!start_at_checkpoint(r, c)) {
        replica_stop(r, "no memory");
        return;
    }
    r->checkpoint_seen = true;
    r->position = c->origin.size;
    r->frontier = c->origin;
    entries_note(r, offset);
    if (r->stopped)
        return;
    assert(r->position == c->position && merkle_frontier_equal(&r->frontier, &c->frontier));
    r->digests[(c->before_s / r->interval) % 4] =
        (struct checkpoint_digest){.known = true, .s = c->before_s};
    memcpy(r->digests[(c->before_s / r->interval) % 4].digest, c->before_digest, HASH_LEN);
    r->digests[(c->s / r->interval) % 4] = (struct checkpoint_digest){.known = true, .s = c->s};
    memcpy(r->digests[(c->s / r->interval) % 4].digest, digest, HASH_LEN);
    if (kv_snapshot_take(r->kv, &snapshot, &e))
        replica_stop(r, "no memory");
    else
        r->env.digest(r->env.context, c, snapshot); /* for the file, and for others */
}

/* The stop is vouched for by evidence. */
static void install_apply(struct ledger_replica *r, const struct stop *stop)
{
    struct install *in = &r->install;
    struct ledger_checkpoint c;
    struct error e;
    struct kv *store;
    size_t offset;
    if (!fragment_holds(&in->fragment, stop) || !checkpoint_find(r, stop, &c, &offset)) {
        fragment_ban(r, &in->fragment);
        install_ask_entries(r);
        return;
    }
    if (kv_transfer_finish(in->store, &store, &e)) {
        snprintf(r->refusal, sizeof r->refusal, "%.200s", e.text);
        install_stop(r);
        return;
    }
    rollback_to_batch(r, final_batch(r), NULL);
    if (r->stopped || r->position >= c.origin.size) {
        kv_destroy(store);
        install_stop(r);
        return;
    }
    if (r->env.jump(r->env.context, &c.origin, &e)) {
        kv_destroy(store);
        snprintf(r->refusal, sizeof r->refusal, "the log cannot jump: %.200s", e.text);
        install_give_up(r, UINT64_MAX);
        return;
    }
    checkpoint_enter(r, &c, store, offset);
    if (!r->stopped)
        entries_replay(r, offset, stop->offset);
    if (r->stopped)
        return;
    transfer_committed(r, stop->s);
    rule_abstain(r, r->view);
    /* The primary of this very view would know its batches, unless it has lost its log. */
    if (is_primary(r) && r->view == ledger_view(r))
        r->abstain_view = r->view;
    pool_unpark(r);
    install_stop(r);
    backlog_start(r);
}

static void install_examine(struct ledger_replica *r)
{
    struct install *in = &r->install;
    struct ledger_pp pp;
    struct slice evidence;
    if (in->fragment.job_out)
        return;
    struct stop stop = fragment_find_evidence(r, &in->fragment, &pp, &evidence);
    if (stop.found && stop.s > in->s && !fragment_check(r, &in->fragment, &pp, evidence))
        fragment_ban(r, &in->fragment);
}

void install_verified(struct ledger_replica *r, struct job *job)
{
    struct fragment *f = &r->install.fragment;
    struct stop stop;
    if (!r->install.active)
        return;
    if (!fragment_checked(r, f, job, &stop)) {
        fragment_ban(r, f);
        install_ask_entries(r);
    } else if (stop.found) {
        install_apply(r, &stop);
    } else {
        install_examine(r);
    }
}

/* The signatures of the entries that came last have been checked. */
void install_entries_checked(struct ledger_replica *r, bool valid)
{
    struct install *in = &r->install;
    struct fragment *f = &in->fragment;
    if (!in->active)
        return;
    if (!valid) {
        fragment_ban(r, f);
        install_ask_entries(r);
        return;
    }
    uint64_t generation = f->generation;
    install_examine(r);
    if (in->active && !f->job_out && f->generation == generation &&
        f->before.size + f->held < f->end)
        install_ask_entries(r);
}

void install_entries(struct ledger_replica *r, const struct ledger_entries *m)
{
    struct install *in = &r->install;
    struct fragment *f = &in->fragment;
    size_t before = f->entries.len;
    if (!in->whole)
        return;
    in->progress_at = r->env.now_us(r->env.context);
    if (!fragment_take(r, f, m->entries)) {
        fragment_ban(r, f);
        install_ask_entries(r);
        return;
    }
    f->end = m->end;
    if (!fragment_check_signatures(r, f, before))
        install_entries_checked(r, true);
}
