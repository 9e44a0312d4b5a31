/*
 * Requests that were executed so long ago that the index of executed requests (executed.c) has
 * forgotten them: a duplicate inside its client's window is answered with the receipt of the first
 * execution (§5), so the ledger itself is searched.
 *
 * A request is executed above its min_index, and its client chose that a moment before: the search
 * begins there and goes forward, a slice of entries every few milliseconds, whatever is asked. An
 * honest client's request is found in the first slices. Whoever names a low min_index makes his
 * search long, nobody else's slower than by his share; there are few searches at a time, one of a
 * connection.
 */
#include "ledger/replica/core.h"

#define SLICE 128 /* entries */

bool search_is_on(const struct ledger_replica *r)
{
    for (unsigned i = 0; i < SEARCHES_MAX; i++)
        if (r->searches[i].connection)
            return true;
    return false;
}

static void search_end(struct ledger_replica *r, struct search *search,
                       enum ledger_refusal_reason reason)
{
    uint64_t connection = search->connection;
    search->connection = 0;
    if (reason)
        client_refuse(r, connection, search->req_hash, reason);
}

/* The client used this request's number, we do not know where. False: too many searches are on. */
bool search_begin(struct ledger_replica *r, uint64_t connection, const struct ledger_request *q,
                  const uint8_t req_hash[static HASH_LEN])
{
    struct search *free_one = NULL;
    for (unsigned i = 0; i < SEARCHES_MAX && connection; i++) {
        struct search *search = &r->searches[i];
        if (search->connection == connection && !memcmp(search->req_hash, req_hash, HASH_LEN))
            return true; /* on its way */
        if (search->connection == connection)
            search_end(r, search, LEDGER_REFUSAL_UNKNOWN);
        if (!search->connection)
            free_one = search;
    }
    if (!free_one)
        return false;
    *free_one = (struct search){.connection = connection, .reqno = q->reqno};
    memcpy(free_one->client, q->client, ED25519_KEY_LEN);
    memcpy(free_one->req_hash, req_hash, HASH_LEN);
    free_one->next = index_locate(r, q->min_index + 1);
    return true;
}

/* One entry. True: the search has ended. */
static bool search_entry(struct ledger_replica *r, struct search *search, uint8_t type,
                         struct slice payload)
{
    struct error e;
    struct ledger_pp pp;
    struct ledger_tx tx;
    struct ledger_body body;
    uint8_t req_hash[HASH_LEN];
    if (type == LEDGER_ENTRY_PP && !ledger_pp_decode_signed(payload, &pp, &e))
        search->s = pp.seqno;
    if (type != LEDGER_ENTRY_TX || ledger_tx_decode(payload, &tx, &e) ||
        ledger_body_decode(tx.body, &body, &e) || body.request.reqno != search->reqno ||
        memcmp(body.request.client, search->client, ED25519_KEY_LEN))
        return false;
    ledger_request_hash(body.fields, req_hash);
    if (memcmp(req_hash, search->req_hash, HASH_LEN)) {
        search_end(r, search, LEDGER_REFUSAL_DUPLICATE);
        return true;
    }
    executed_note(r, search->s, req_hash, &body.request);
    uint64_t connection = search->connection;
    search_end(r, search, 0);
    if (!reply_receipt(r, connection, req_hash))
        client_refuse(r, connection, req_hash, LEDGER_REFUSAL_UNKNOWN);
    return true;
}

/* A slice of one search, then of the next one's. */
void search_run(struct ledger_replica *r)
{
    struct error e;
    uint8_t type;
    uint64_t now = r->env.now_us(r->env.context);
    struct search *search = NULL;
    if (now < r->searched_at + SEARCH_US)
        return;
    for (unsigned i = 0; i < SEARCHES_MAX && !search; i++) {
        r->search_turn = (r->search_turn + 1) % SEARCHES_MAX;
        if (r->searches[r->search_turn].connection)
            search = &r->searches[r->search_turn];
    }
    if (!search)
        return;
    r->searched_at = now;
    for (unsigned i = 0; i < SLICE; i++) {
        if (search->next >= r->position ||
            r->env.read(r->env.context, search->next, &r->search_read, &type, &e)) {
            search_end(r, search, LEDGER_REFUSAL_UNKNOWN);
            return;
        }
        search->next++;
        if (search_entry(r, search, type, slice_of_buffer(&r->search_read)))
            return;
    }
}
