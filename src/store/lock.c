/*
 * The lock table; see lock.h. A claim is one request, from the moment it waits or holds until it is
 * released; it is in its lock's list of holders or of waiters, and in its owner's list. Locks and
 * owners exist as long as they have claims.
 */
#include "store/lock.h"

#include "store/index.h"
#include "store/links.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct lock {
    struct index_node node;
    struct links holders, waiters;
    uint32_t claims; /* in both */
    uint32_t key_len;
    uint8_t key[];
};

struct owner {
    struct index_node node;
    struct links claims;
    uint64_t id;
};

struct claim {
    struct links at_lock; /* holders, waiters, or the table's answers */
    struct links at_owner;
    struct deadline deadline; /* of the wait, then of the lease */
    struct lock *lock;        /* NULL: it is over and only the answer is left */
    struct owner *owner;
    enum gt_lock_mode mode;
    bool waits, answer_due;
    uint64_t token, lease_ns;
    void *ticket;
    int code;
    struct links answer;
};

struct lock_table {
    struct index locks, owners;
    struct deadlines deadlines;
    struct links answers;
    uint32_t claims, claims_max, waiting;
    bool ending; /* nobody is let in any more */
};

struct lock_table *lock_table_create(uint32_t claims_max)
{
    struct lock_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->claims_max = claims_max;
    links_init(&t->answers);
    if (index_init(&t->locks) && index_init(&t->owners))
        return t;
    free(t->locks.buckets);
    free(t->owners.buckets);
    free(t);
    return NULL;
}

/* ---- finding and making ---- */

static struct lock *lock_find(struct lock_table *t, const void *key, size_t key_len)
{
    uint64_t hash = index_hash(&t->locks, key, key_len);
    for (struct index_node *n = index_find(&t->locks, hash); n; n = index_next(n)) {
        struct lock *lock = LINKS_OWNER(n, struct lock, node);
        if (lock->key_len == key_len && memcmp(lock->key, key, key_len) == 0)
            return lock;
    }
    return NULL;
}

static struct lock *lock_find_or_make(struct lock_table *t, const void *key, size_t key_len)
{
    struct lock *lock = lock_find(t, key, key_len);
    if (lock)
        return lock;
    lock = malloc(sizeof *lock + key_len);
    if (!lock)
        return NULL;
    lock->claims = 0;
    lock->key_len = (uint32_t)key_len;
    memcpy(lock->key, key, key_len);
    links_init(&lock->holders);
    links_init(&lock->waiters);
    lock->node.hash = index_hash(&t->locks, key, key_len);
    index_add(&t->locks, &lock->node);
    return lock;
}

static struct owner *owner_find(struct lock_table *t, uint64_t id)
{
    uint64_t hash = index_hash(&t->owners, &id, sizeof id);
    for (struct index_node *n = index_find(&t->owners, hash); n; n = index_next(n)) {
        struct owner *owner = LINKS_OWNER(n, struct owner, node);
        if (owner->id == id)
            return owner;
    }
    return NULL;
}

static struct owner *owner_find_or_make(struct lock_table *t, uint64_t id)
{
    struct owner *owner = owner_find(t, id);
    if (owner)
        return owner;
    owner = malloc(sizeof *owner);
    if (!owner)
        return NULL;
    owner->id = id;
    links_init(&owner->claims);
    owner->node.hash = index_hash(&t->owners, &id, sizeof id);
    index_add(&t->owners, &owner->node);
    return owner;
}

static void lock_forget(struct lock_table *t, struct lock *lock)
{
    if (!links_alone(&lock->holders) || !links_alone(&lock->waiters))
        return;
    index_remove(&t->locks, &lock->node);
    free(lock);
}

static void owner_forget(struct lock_table *t, struct owner *owner)
{
    if (!links_alone(&owner->claims))
        return;
    index_remove(&t->owners, &owner->node);
    free(owner);
}

/* ---- claims ---- */

static void claim_free(struct lock_table *t, struct claim *claim)
{
    assert(!claim->lock && !claim->answer_due);
    t->claims--;
    free(claim);
}

static void claim_answer(struct lock_table *t, struct claim *claim, int code)
{
    assert(claim->waits);
    claim->waits = false;
    claim->code = code;
    claim->answer_due = true;
    t->waiting--;
    links_append(&t->answers, &claim->answer);
}

/* Takes it off its lock and owner; its lock stays. A claim whose answer is due stays until then. */
static void claim_detach(struct lock_table *t, struct claim *claim)
{
    struct owner *owner = claim->owner;
    links_remove(&claim->at_lock);
    links_remove(&claim->at_owner);
    deadline_unset(&t->deadlines, &claim->deadline);
    claim->lock->claims--;
    claim->lock = NULL;
    owner_forget(t, owner);
    if (!claim->answer_due)
        claim_free(t, claim);
}

static void claim_hold(struct lock_table *t, struct claim *claim, uint64_t now_ns)
{
    uint64_t until = now_ns + claim->lease_ns;
    links_append(&claim->lock->holders, &claim->at_lock);
    deadline_set(&t->deadlines, &claim->deadline,
                 until < now_ns || until == DEADLINE_NEVER ? DEADLINE_NEVER - 1 : until);
}

static bool lock_free_for(const struct lock *lock, enum gt_lock_mode mode)
{
    const struct links *first = links_first(&lock->holders);
    return !first || (mode == GT_LOCK_READ &&
                      LINKS_OWNER(first, struct claim, at_lock)->mode == GT_LOCK_READ);
}

/* Lets in as many as may; forgets the lock when nobody is left. */
static void lock_admit(struct lock_table *t, struct lock *lock, uint64_t now_ns)
{
    for (struct links *first; !t->ending && (first = links_first(&lock->waiters));) {
        struct claim *claim = LINKS_OWNER(first, struct claim, at_lock);
        if (!lock_free_for(lock, claim->mode))
            return;
        links_remove(first);
        claim_answer(t, claim, 0);
        claim_hold(t, claim, now_ns);
    }
    lock_forget(t, lock);
}

static void claim_end(struct lock_table *t, struct claim *claim, uint64_t now_ns)
{
    struct lock *lock = claim->lock;
    claim_detach(t, claim);
    lock_admit(t, lock, now_ns);
}

void lock_expire(struct lock_table *t, uint64_t now_ns)
{
    for (struct deadline *d; (d = deadlines_passed(&t->deadlines, now_ns));) {
        struct claim *claim = LINKS_OWNER(d, struct claim, deadline);
        if (claim->waits)
            claim_answer(t, claim, -ATOLL_ETIMEDOUT);
        claim_end(t, claim, now_ns);
    }
}

/* ---- requests ---- */

static bool list_has_owner(const struct links *head, const struct owner *owner)
{
    for (const struct links *l = head->next; l != head; l = l->next) {
        if (LINKS_OWNER(l, struct claim, at_lock)->owner == owner)
            return true;
    }
    return false;
}

/* Costs the shorter way: by what the owner claims or by who claims the lock. */
static bool owner_claims(const struct owner *owner, const struct lock *lock)
{
    uint32_t steps = 0;
    for (const struct links *l = owner->claims.next; l != &owner->claims; l = l->next, steps++) {
        if (LINKS_OWNER(l, struct claim, at_owner)->lock == lock)
            return true;
        if (steps > lock->claims)
            break;
    }
    return steps > lock->claims &&
           (list_has_owner(&lock->holders, owner) || list_has_owner(&lock->waiters, owner));
}

static int claim_make(struct lock_table *t, const struct lock_request *request, struct claim **out,
                      struct error *e)
{
    struct claim *claim = calloc(1, sizeof *claim);
    struct lock *lock = lock_find_or_make(t, request->key, request->key_len);
    struct owner *owner = lock ? owner_find_or_make(t, request->owner) : NULL;
    if (!claim || !owner || !deadlines_reserve(&t->deadlines, t->claims)) {
        free(claim);
        if (owner)
            owner_forget(t, owner);
        if (lock)
            lock_forget(t, lock);
        return error_set(e, ATOLL_ENOMEM, "no memory for another lock");
    }
    *claim = (struct claim){.lock = lock,
                            .owner = owner,
                            .mode = request->mode,
                            .token = request->token,
                            .lease_ns = request->lease_ns,
                            .ticket = request->ticket};
    links_init(&claim->at_lock);
    links_init(&claim->answer);
    links_append(&owner->claims, &claim->at_owner);
    lock->claims++;
    t->claims++;
    *out = claim;
    return 0;
}

static int request_refuse(struct lock_table *t, const struct lock_request *request,
                          const struct lock *lock, bool waits, uint64_t now_ns, struct error *e)
{
    const struct owner *owner = owner_find(t, request->owner);
    if (lock && owner && owner_claims(owner, lock))
        return error_set(
            e, ATOLL_EDEADLK,
            "this call holds the lock or waits for it already: locks are not recursive");
    if (waits && request->wait_until_ns <= now_ns)
        return error_set(e, ATOLL_EAGAIN, "another call holds the lock");
    if (t->claims >= t->claims_max)
        return error_set(e, ATOLL_ELIMIT, "there are %u locks already", t->claims);
    return 0;
}

int lock_acquire(struct lock_table *t, const struct lock_request *request, uint64_t now_ns,
                 struct error *e)
{
    struct claim *claim;
    assert(request->key_len > 0 && request->key_len <= LOCK_KEY_MAX && request->token != 0);
    lock_expire(t, now_ns);
    struct lock *lock = lock_find(t, request->key, request->key_len);
    bool waits = lock && (!links_alone(&lock->waiters) || !lock_free_for(lock, request->mode));
    int rc = request_refuse(t, request, lock, waits, now_ns, e);
    if (rc == 0)
        rc = claim_make(t, request, &claim, e);
    if (rc < 0)
        return rc;
    if (!waits) {
        claim_hold(t, claim, now_ns);
        return 0;
    }
    claim->waits = true;
    t->waiting++;
    links_append(&lock->waiters, &claim->at_lock);
    deadline_set(&t->deadlines, &claim->deadline, request->wait_until_ns);
    return LOCK_WAITS;
}

static struct claim *holder_find(struct lock_table *t, const void *key, size_t key_len,
                                 uint64_t token, uint64_t now_ns)
{
    lock_expire(t, now_ns);
    const struct lock *lock = lock_find(t, key, key_len);
    for (struct links *l = lock ? lock->holders.next : NULL; l && l != &lock->holders;
         l = l->next) {
        struct claim *claim = LINKS_OWNER(l, struct claim, at_lock);
        if (claim->token == token)
            return claim;
    }
    return NULL;
}

static int lock_lost(struct error *e)
{
    return error_set(e, ATOLL_ESTALE, "the lock is no longer held: its lease ran out");
}

int lock_renew(struct lock_table *t, const void *key, size_t key_len, uint64_t token,
               uint64_t lease_ns, uint64_t now_ns, struct error *e)
{
    struct claim *claim = holder_find(t, key, key_len, token, now_ns);
    if (!claim)
        return lock_lost(e);
    claim->lease_ns = lease_ns;
    links_remove(&claim->at_lock);
    claim_hold(t, claim, now_ns);
    return 0;
}

int lock_release(struct lock_table *t, const void *key, size_t key_len, uint64_t token,
                 uint64_t now_ns, struct error *e)
{
    struct claim *claim = holder_find(t, key, key_len, token, now_ns);
    if (!claim)
        return lock_lost(e);
    claim_end(t, claim, now_ns);
    return 0;
}

bool lock_held(struct lock_table *t, const void *key, size_t key_len, uint64_t token,
               uint64_t now_ns)
{
    return holder_find(t, key, key_len, token, now_ns) != NULL;
}

void lock_owner_end(struct lock_table *t, uint64_t id, uint64_t now_ns)
{
    lock_expire(t, now_ns);
    struct owner *owner = owner_find(t, id);
    bool last = !owner;
    while (!last) {
        struct claim *claim = LINKS_OWNER(links_first(&owner->claims), struct claim, at_owner);
        last = claim->at_owner.next == claim->at_owner.previous; /* the owner goes with it */
        if (claim->waits)
            claim_answer(t, claim, -ATOLL_ECANCELED);
        claim_end(t, claim, now_ns);
    }
}

uint64_t lock_next(const struct lock_table *t)
{
    return deadlines_next(&t->deadlines);
}

uint32_t lock_waiting(const struct lock_table *t)
{
    return t->waiting;
}

bool lock_answered(struct lock_table *t, struct lock_answer *out)
{
    struct links *first = links_first(&t->answers);
    if (!first)
        return false;
    struct claim *claim = LINKS_OWNER(first, struct claim, answer);
    links_remove(first);
    claim->answer_due = false;
    *out = (struct lock_answer){claim->ticket, claim->token, claim->code};
    if (!claim->lock)
        claim_free(t, claim);
    return true;
}

void lock_cancel_all(struct lock_table *t)
{
    t->ending = true;
    for (size_t i = 0; i < t->owners.bucket_count; i++) {
        while (t->owners.buckets[i])
            lock_owner_end(t, LINKS_OWNER(t->owners.buckets[i], struct owner, node)->id, 0);
    }
    t->ending = false;
}

void lock_table_destroy(struct lock_table *t)
{
    struct lock_answer answer;
    if (!t)
        return;
    lock_cancel_all(t);
    while (lock_answered(t, &answer))
        ;
    deadlines_free(&t->deadlines);
    index_free(&t->locks);
    index_free(&t->owners);
    free(t);
}
