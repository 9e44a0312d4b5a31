/*
 * Where requests were executed: for clients that ask again (§5: a duplicate is answered with the
 * receipt of the first execution).
 *
 * An index of two keys a request, its hash and (client, reqno), gives the batch. It is a cache of
 * bounded size: buckets of four entries, of which the oldest gives way. An entry may be stale or of
 * another request; the batch itself decides. Batches whose slots are gone are read from the log.
 */
#include "crypto/siphash.h"
#include "ledger/replica/core.h"

#define WAYS 4

static uint64_t key_of_hash(const uint8_t *req_hash)
{
    return load_u64(req_hash);
}

static uint64_t key_of_reqno(const struct ledger_replica *r, const uint8_t *client, uint64_t reqno)
{
    uint8_t both[ED25519_KEY_LEN + 8];
    memcpy(both, client, ED25519_KEY_LEN);
    store_u64(both + ED25519_KEY_LEN, reqno);
    return siphash(r->table_key, both, sizeof both);
}

/* Puts an entry into its bucket. False: the bucket is full, and the oldest had to give way. */
static bool index_put(struct executed_entry *index, size_t size, uint64_t key, uint64_t s)
{
    struct executed_entry *bucket = &index[key % (size / WAYS) * WAYS];
    struct executed_entry *place = bucket;
    for (unsigned i = 0; i < WAYS; i++) {
        if (bucket[i].key == key && bucket[i].s) {
            bucket[i].s = s;
            return true;
        }
        if (bucket[i].s < place->s)
            place = &bucket[i];
    }
    bool free_place = !place->s;
    *place = (struct executed_entry){key, s};
    return free_place;
}

static bool index_has_room(const struct ledger_replica *r, uint64_t key)
{
    const struct executed_entry *bucket = &r->executed[key % (r->executed_size / WAYS) * WAYS];
    for (unsigned i = 0; i < WAYS; i++)
        if (!bucket[i].s || bucket[i].key == key)
            return true;
    return false;
}

/* Four times the room, until all entries fit or it is as large as it may be. */
static bool index_grow(struct ledger_replica *r)
{
    for (size_t size = r->executed_size ? 4 * r->executed_size : 256; size <= EXECUTED_MAX;
         size *= 4) {
        /* A bucket is a line of the cache. */
        struct executed_entry *grown = aligned_alloc(WAYS * sizeof *grown, size * sizeof *grown);
        if (!grown)
            return false;
        memset(grown, 0, size * sizeof *grown);
        bool all = true;
        for (size_t i = 0; i < r->executed_size; i++)
            if (r->executed[i].s)
                all = index_put(grown, size, r->executed[i].key, r->executed[i].s) && all;
        if (!all && size < EXECUTED_MAX) {
            free(grown);
            continue;
        }
        free(r->executed);
        r->executed = grown;
        r->executed_size = size;
        return true;
    }
    return false;
}

static void index_note(struct ledger_replica *r, uint64_t key, uint64_t s)
{
    while ((!r->executed || !index_has_room(r, key)) && index_grow(r))
        ;
    if (r->executed)
        index_put(r->executed, r->executed_size, key, s);
}

/* The index lies in no cache: an entry is put into it some entries later, when the memory of its
 * bucket has come. */
static void note_begin(struct ledger_replica *r, uint64_t key, uint64_t s)
{
    struct executed_entry *place = &r->noting[r->noting_next++ % EXECUTED_NOTING];
    if (place->s)
        index_note(r, place->key, place->s);
    *place = (struct executed_entry){key, s};
    if (r->executed)
        __builtin_prefetch(&r->executed[key % (r->executed_size / WAYS) * WAYS], 1);
}

static void notes_finish(struct ledger_replica *r)
{
    for (unsigned i = 0; i < EXECUTED_NOTING; i++) {
        struct executed_entry *place = &r->noting[r->noting_next++ % EXECUTED_NOTING];
        if (place->s)
            index_note(r, place->key, place->s);
        place->s = 0;
    }
}

/* The request was executed in batch s. */
void executed_note(struct ledger_replica *r, uint64_t s, const uint8_t req_hash[static HASH_LEN],
                   const struct ledger_request *q)
{
    note_begin(r, key_of_hash(req_hash), s);
    note_begin(r, key_of_reqno(r, q->client, q->reqno), s);
}

static uint64_t index_find(struct ledger_replica *r, uint64_t key)
{
    notes_finish(r);
    if (!r->executed)
        return 0;
    const struct executed_entry *bucket = &r->executed[key % (r->executed_size / WAYS) * WAYS];
    for (unsigned i = 0; i < WAYS; i++)
        if (bucket[i].key == key)
            return bucket[i].s;
    return 0;
}

/* ---- old batches ---- */

static bool read_tx(struct ledger_replica *r, struct slot *slot, uint32_t i)
{
    struct error e;
    struct ledger_tx tx;
    struct ledger_body body;
    uint8_t type;
    struct slot_tx *st = &slot->txs[i];
    if (r->env.read(r->env.context, slot->pp_position + 1 + i, &r->scratch_read, &type, &e) ||
        type != LEDGER_ENTRY_TX || ledger_tx_decode(slice_of_buffer(&r->scratch_read), &tx, &e) ||
        ledger_body_decode(tx.body, &body, &e))
        return false;
    st->start = (uint32_t)slot->entries.len;
    st->len = (uint32_t)r->scratch_read.len;
    st->leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(&r->scratch_read));
    ledger_request_hash(body.fields, st->req_hash);
    return buffer_append(&slot->entries, r->scratch_read.data, r->scratch_read.len) &&
           !merkle_tree_append(slot->g, &st->leaf, &e);
}

/* Batch s as a slot: its own, or one that is filled from the log. NULL: it cannot be had. */
static struct slot *executed_slot(struct ledger_replica *r, uint64_t s)
{
    struct error e;
    struct slot *slot = slot_in_ledger(r, s);
    if (slot && !slot_is_hollow(r, slot))
        return slot;
    slot = &r->old;
    if (slot->s == s)
        return slot;
    slot->s = 0;
    slot->evidence.len = 0;
    uint64_t position;
    if (!s || batch_locate(r, s, &position, &slot->pp, &e) ||
        !slot_prepare_room(slot, slot->pp.count))
        return NULL;
    slot->pp_position = position;
    slot->view = slot->pp.view;
    for (uint32_t i = 0; i < slot->pp.count; i++)
        if (!read_tx(r, slot, i))
            return NULL;
    struct ledger_pp pp;
    if (!fetch_read_evidence(r, s, &pp, &slot->evidence))
        return NULL;
    slot->s = s; /* final: it does not change any more */
    return slot;
}

/* The batch in which the request with this hash was executed, and where in it. NULL: unknown. */
struct slot *executed_find(struct ledger_replica *r, const uint8_t req_hash[static HASH_LEN],
                           uint32_t *index)
{
    struct slot *slot = executed_slot(r, index_find(r, key_of_hash(req_hash)));
    for (uint32_t i = 0; slot && i < slot->pp.count; i++) {
        if (!memcmp(slot->txs[i].req_hash, req_hash, HASH_LEN)) {
            *index = i;
            return slot;
        }
    }
    return NULL;
}

/* Whether we know that the client used this reqno for another request than the one of this hash. */
bool executed_otherwise(struct ledger_replica *r, const struct ledger_request *q,
                        const uint8_t req_hash[static HASH_LEN])
{
    struct error e;
    struct slot *slot = executed_slot(r, index_find(r, key_of_reqno(r, q->client, q->reqno)));
    for (uint32_t i = 0; slot && i < slot->pp.count; i++) {
        struct ledger_tx tx;
        struct ledger_body body;
        const struct slot_tx *st = &slot->txs[i];
        if (!ledger_tx_decode(slice_of(slot->entries.data + st->start, st->len), &tx, &e) &&
            !ledger_body_decode(tx.body, &body, &e) && body.request.reqno == q->reqno &&
            !memcmp(body.request.client, q->client, ED25519_KEY_LEN))
            return memcmp(st->req_hash, req_hash, HASH_LEN) != 0;
    }
    return false;
}

void executed_free(struct ledger_replica *r)
{
    free(r->executed);
}
