/*
 * Who waits at objects; see live.h.
 *
 * A barrier and its lost parties. Opening a barrier makes an owner a party until it ends. When one
 * ends while others wait, or has ended before they came, they would wait for ever; they are given
 * up
 * (-ATOLL_ELOST) GT_LEASE_NS after the loss or after the first of them arrived, whichever is later,
 * unless another owner opens the barrier in its place, as the next attempt of a failed call does.
 * Losses are forgotten when all parties have met and when no party is left.
 */
#include "store/live.h"

#include <assert.h>
#include <stdlib.h>

struct owner {
    struct index_node node;
    uint64_t id;
    struct links waiting, parties;
};

struct party {
    struct links at_live, at_owner;
    struct live *live;
    struct owner *owner;
};

bool live_table_init(struct live_table *t)
{
    *t = (struct live_table){0};
    links_init(&t->to_serve);
    if (index_init(&t->lives) && index_init(&t->owners))
        return true;
    free(t->lives.buckets);
    free(t->owners.buckets);
    return false;
}

/* ---- finding and making ---- */

struct live *live_find(struct live_table *t, uint64_t id)
{
    uint64_t hash = index_hash(&t->lives, &id, sizeof id);
    for (struct index_node *n = index_find(&t->lives, hash); n; n = index_next(n)) {
        struct live *live = LINKS_OWNER(n, struct live, node);
        if (live->id == id)
            return live;
    }
    return NULL;
}

static struct live *live_find_or_make(struct live_table *t, uint64_t id, const struct operation *op)
{
    struct live *live = live_find(t, id);
    if (live)
        return live;
    live = calloc(1, sizeof *live + op->key_len);
    if (!live)
        return NULL;
    links_init(&live->waiting);
    links_init(&live->parties);
    links_init(&live->to_serve);
    live->broken.of_barrier = true;
    live->id = id;
    live->key_len = op->key_len;
    memcpy(live->key, op->key, op->key_len);
    live->node.hash = index_hash(&t->lives, &id, sizeof id);
    index_add(&t->lives, &live->node);
    return live;
}

static void live_forget(struct live_table *t, struct live *live)
{
    if (!links_alone(&live->waiting) || !links_alone(&live->parties))
        return;
    links_remove(&live->to_serve);
    deadline_unset(&t->deadlines, &live->broken);
    index_remove(&t->lives, &live->node);
    free(live);
}

static struct owner *owner_find(struct live_table *t, uint64_t id)
{
    uint64_t hash = index_hash(&t->owners, &id, sizeof id);
    for (struct index_node *n = index_find(&t->owners, hash); n; n = index_next(n)) {
        struct owner *owner = LINKS_OWNER(n, struct owner, node);
        if (owner->id == id)
            return owner;
    }
    return NULL;
}

static struct owner *owner_find_or_make(struct live_table *t, uint64_t id)
{
    struct owner *owner = owner_find(t, id);
    if (owner)
        return owner;
    owner = malloc(sizeof *owner);
    if (!owner)
        return NULL;
    owner->id = id;
    links_init(&owner->waiting);
    links_init(&owner->parties);
    owner->node.hash = index_hash(&t->owners, &id, sizeof id);
    index_add(&t->owners, &owner->node);
    return owner;
}

static void owner_forget(struct live_table *t, struct owner *owner)
{
    if (!links_alone(&owner->waiting) || !links_alone(&owner->parties))
        return;
    index_remove(&t->owners, &owner->node);
    free(owner);
}

/* Deadlines have room for every operation that waits and every barrier that may break. */
static bool deadlines_room(struct live_table *t)
{
    return deadlines_reserve(&t->deadlines, t->waiting + t->lives.count + 1);
}

/* Both, or neither and an error. */
static int pair_make(struct live_table *t, uint64_t id, const struct operation *op, uint64_t owner,
                     struct live **live, struct owner **out, struct error *e)
{
    *live = deadlines_room(t) ? live_find_or_make(t, id, op) : NULL;
    *out = *live ? owner_find_or_make(t, owner) : NULL;
    if (*out)
        return 0;
    if (*live)
        live_forget(t, *live);
    return error_set(e, ATOLL_ENOMEM, "no memory to wait at an object");
}

/* ---- waiting ---- */

static void barrier_watch(struct live_table *t, struct live *live)
{
    uint64_t since = live->lost_ns > live->first_ns ? live->lost_ns : live->first_ns;
    bool hopeless = live->lost > 0 && live->waiting_count > 0;
    deadline_set(&t->deadlines, &live->broken, hopeless ? since + GT_LEASE_NS : DEADLINE_NEVER);
}

int live_wait(struct live_table *t, uint64_t id, struct operation *op, uint64_t now_ns,
              struct error *e)
{
    struct live *live;
    struct owner *owner;
    uint64_t timeout = op->object.call.timeout_ns;
    if (timeout == 0)
        return error_set(e, ATOLL_EAGAIN, "the operation would have to wait");
    if (t->waiting >= STORE_WAITING_MAX)
        return error_set(e, ATOLL_ELIMIT, "%u operations wait at objects already", t->waiting);
    int rc = pair_make(t, id, op, op->object.call.owner, &live, &owner, e);
    if (rc < 0)
        return rc;
    op->object.live = live;
    op->object.deadline = (struct deadline){0};
    links_append(&live->waiting, &op->object.waiting);
    links_append(&owner->waiting, &op->object.owned);
    deadline_set(&t->deadlines, &op->object.deadline,
                 timeout >= DEADLINE_NEVER - now_ns ? DEADLINE_NEVER : now_ns + timeout);
    if (live->waiting_count++ == 0)
        live->first_ns = now_ns;
    t->waiting++;
    barrier_watch(t, live);
    return OBJECT_WAITS;
}

/* Takes the operation out of its line and puts it among the answered. */
static void wait_end(struct live_table *t, struct operation *op, int code, const char *sentence)
{
    struct error e;
    struct owner *owner = owner_find(t, op->object.call.owner);
    op->object.live->waiting_count--;
    t->waiting--;
    links_remove(&op->object.waiting);
    links_remove(&op->object.owned);
    deadline_unset(&t->deadlines, &op->object.deadline);
    owner_forget(t, owner);
    if (code < 0)
        operation_fail(op, error_set(&e, -code, "%s", sentence), &e);
    operation_list_add(&t->answered, op);
}

void live_answer(struct live_table *t, struct operation *op, int code, const char *sentence)
{
    struct live *live = op->object.live;
    wait_end(t, op, code, sentence);
    barrier_watch(t, live);
    live_forget(t, live);
}

/* Answers without having got what it waited for: those behind it may go on now. */
static void wait_abandon(struct live_table *t, struct operation *op, int code, const char *sentence)
{
    struct live *live = op->object.live;
    wait_end(t, op, code, sentence);
    if (links_alone(&live->to_serve))
        links_append(&t->to_serve, &live->to_serve);
    barrier_watch(t, live);
    live_forget(t, live);
}

static struct operation *waiting_first(const struct live *live)
{
    return LINKS_OWNER(links_first(&live->waiting), struct operation, object.waiting);
}

static void waiting_fail(struct live_table *t, struct live *live, int code, const char *sentence)
{
    while (live->waiting_count > 0)
        wait_end(t, waiting_first(live), code, sentence);
}

/* ---- barriers ---- */

static bool owner_takes_part(const struct owner *owner, const struct live *live)
{
    for (const struct links *l = owner->parties.next; l != &owner->parties; l = l->next) {
        if (LINKS_OWNER(l, struct party, at_owner)->live == live)
            return true;
    }
    return false;
}

int live_join(struct live_table *t, uint64_t id, const struct operation *op, uint64_t owner_id,
              struct error *e)
{
    struct live *live;
    struct owner *owner;
    int rc = pair_make(t, id, op, owner_id, &live, &owner, e);
    if (rc < 0 || owner_takes_part(owner, live))
        return rc;
    struct party *party = t->members < STORE_WAITING_MAX ? malloc(sizeof *party) : NULL;
    if (!party) {
        live_forget(t, live);
        owner_forget(t, owner);
        return error_set(e, ATOLL_ELIMIT, "there are too many parties of barriers");
    }
    *party = (struct party){.live = live, .owner = owner};
    links_append(&live->parties, &party->at_live);
    links_append(&owner->parties, &party->at_owner);
    t->members++;
    if (live->lost > 0)
        live->lost--;
    barrier_watch(t, live);
    return 0;
}

static void party_end(struct live_table *t, struct party *party)
{
    links_remove(&party->at_live);
    links_remove(&party->at_owner);
    t->members--;
    free(party);
}

void live_release(struct live_table *t, struct live *live)
{
    for (int64_t rank = 0; live->waiting_count > 0; rank++) {
        struct operation *op = waiting_first(live);
        op->result.value = rank;
        wait_end(t, op, 0, NULL);
    }
    live->lost = 0;
    barrier_watch(t, live);
    live_forget(t, live);
}

/* ---- ends ---- */

void live_delete(struct live_table *t, uint64_t id)
{
    struct live *live = live_find(t, id);
    if (!live)
        return;
    waiting_fail(t, live, -ATOLL_ESTALE, "the object was deleted");
    for (struct links *first; (first = links_first(&live->parties));) {
        struct party *party = LINKS_OWNER(first, struct party, at_live);
        struct owner *owner = party->owner;
        party_end(t, party);
        owner_forget(t, owner);
    }
    live_forget(t, live);
}

static void party_lose(struct live_table *t, struct party *party, uint64_t now_ns)
{
    struct live *live = party->live;
    party_end(t, party);
    live->lost++;
    live->lost_ns = now_ns;
    barrier_watch(t, live);
    live_forget(t, live);
}

void live_owner_end(struct live_table *t, uint64_t id, uint64_t now_ns)
{
    struct owner *owner = owner_find(t, id);
    if (!owner)
        return;
    struct links pin; /* keeps the owner while its lists are emptied */
    links_append(&owner->parties, &pin);
    for (struct links *first; (first = links_first(&owner->waiting));)
        wait_abandon(t, LINKS_OWNER(first, struct operation, object.owned), -ATOLL_ECANCELED,
                     "the call that waited has ended");
    for (struct links *first; (first = links_first(&owner->parties)) != &pin;)
        party_lose(t, LINKS_OWNER(first, struct party, at_owner), now_ns);
    links_remove(&pin);
    owner_forget(t, owner);
}

void live_expire(struct live_table *t, uint64_t now_ns)
{
    for (struct deadline *d; (d = deadlines_passed(&t->deadlines, now_ns));) {
        if (!d->of_barrier) {
            wait_abandon(t, LINKS_OWNER(d, struct operation, object.deadline), -ATOLL_ETIMEDOUT,
                         "it did not come about in time");
            continue;
        }
        struct live *live = LINKS_OWNER(d, struct live, broken);
        waiting_fail(t, live, -ATOLL_ELOST, "a party of the barrier ended and was not replaced");
        live->lost = 0;
        barrier_watch(t, live);
        live_forget(t, live);
    }
}

void live_cancel_all(struct live_table *t)
{
    for (size_t i = 0; i < t->owners.bucket_count; i++) {
        while (t->owners.buckets[i])
            live_owner_end(t, LINKS_OWNER(t->owners.buckets[i], struct owner, node)->id, 0);
    }
}

void live_table_free(struct live_table *t)
{
    assert(t->waiting == 0 && t->members == 0);
    deadlines_free(&t->deadlines);
    index_free(&t->lives);
    index_free(&t->owners);
}
