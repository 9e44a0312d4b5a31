/*
 * Global locks: leases of the global tier, kept alive while a call holds them (tier.h).
 *
 *     asked ──▶ held ──(renewed every 3 s)──▶ held … ──▶ returned
 *                 └── refused, or not renewed in time ──▶ lost
 *
 * A lease counts as held until `until`, by this node's clock, measured from when its last renewal
 * was sent, so this node never believes in it longer than the store does, but for the first grant,
 * whose moment only the store knows; the fencing token, which every push under the lock carries,
 * settles what is left of doubt. A lost lease stays lost until the call unlocks: pushes fail.
 */
#include "state/tier.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define LEASE_RETRY_NS 500000000ll /* after the store did not answer */

enum lease_state { LEASE_ASKED, LEASE_HELD, LEASE_LOST };

/* Owned by its attachment; by itself once that is gone and operations are under way. */
struct lease {
    struct state_tier *tier;
    struct attachment *attachment; /* NULL: gone */
    struct replica *value;         /* pinned */
    struct pending *pending;       /* who asked, until it is answered */
    enum lease_state state;
    uint32_t references; /* operations under way, and the attachment */
    uint64_t token;
    int64_t until_ns, sent_ns;
    bool renewing;
    struct alarm alarm;
};

static void lease_unreference(struct lease *l)
{
    if (--l->references)
        return;
    alarm_clear(&l->tier->alarms, &l->alarm);
    replica_unpin(l->value);
    free(l);
}

static void lease_lost(struct lease *l)
{
    l->state = LEASE_LOST;
    alarm_clear(&l->tier->alarms, &l->alarm);
}

static void lease_alarm(struct alarm *alarm);

static void lease_wake_at(struct lease *l, int64_t at)
{
    at = at < l->until_ns ? at : l->until_ns;
    if (tier_alarm(l->tier, &l->alarm, at) < 0)
        lease_lost(l); /* without an alarm it cannot be kept */
}

static void lease_renewed(void *context, const struct gt_result *r)
{
    struct lease *l = context;
    l->renewing = false;
    if (l->attachment && l->state == LEASE_HELD) {
        if (!r->code) {
            l->until_ns = l->sent_ns + STATE_LEASE_NS;
            lease_wake_at(l, l->sent_ns + STATE_RENEW_NS);
        } else if (r->code == -ATOLL_ESTALE) {
            lease_lost(l);
        } else {
            lease_wake_at(l, tier_now(l->tier) + LEASE_RETRY_NS);
        }
    }
    lease_unreference(l);
}

static void lease_alarm(struct alarm *alarm)
{
    struct lease *l = (struct lease *)((char *)alarm - offsetof(struct lease, alarm));
    struct gt *gt = l->tier->gt;
    struct gt_key key = replica_key(l->value);
    struct error e;
    int64_t now = tier_now(l->tier);
    if (now >= l->until_ns) {
        lease_lost(l);
        return;
    }
    if (l->renewing)
        return lease_wake_at(l, l->until_ns);
    if (gt->ops->renew(gt, &key, l->token, STATE_LEASE_NS, (struct gt_callback){lease_renewed, l},
                       &e) < 0)
        return lease_wake_at(l, now + LEASE_RETRY_NS);
    l->sent_ns = now;
    l->renewing = true;
    l->references++;
    lease_wake_at(l, l->until_ns);
}

/* ---- getting ---- */

static void lease_give_back(struct lease *l, struct gt_callback callback)
{
    struct gt *gt = l->tier->gt;
    struct gt_key key = replica_key(l->value);
    struct error e;
    int code = gt->ops->unlock(gt, &key, l->token, callback, &e);
    if (code < 0 && callback.done)
        callback.done(callback.context, &(struct gt_result){.code = code, .error = &e});
}

static void lease_detach(struct lease *l)
{
    l->attachment->lease = NULL;
    l->attachment = NULL;
    alarm_clear(&l->tier->alarms, &l->alarm);
    lease_unreference(l);
}

static void lease_refused(struct lease *l, const struct gt_result *r)
{
    struct pending *p = l->pending;
    if (l->attachment)
        lease_detach(l);
    pending_store_error(p, r);
}

static void lease_answered(void *context, const struct gt_result *r)
{
    struct lease *l = context;
    struct pending *p = l->pending;
    if (r->code) {
        lease_refused(l, r);
    } else if (!l->attachment) {
        l->token = (uint64_t)r->value;
        lease_give_back(l, (struct gt_callback){0});
        pending_fail(p, ATOLL_ECANCELED, "the value was closed");
    } else {
        l->token = (uint64_t)r->value;
        l->state = LEASE_HELD;
        l->sent_ns = tier_now(l->tier);
        l->until_ns = l->sent_ns + STATE_LEASE_NS;
        l->alarm.fire = lease_alarm;
        lease_wake_at(l, l->sent_ns + STATE_RENEW_NS);
        pending_result(p, r->value);
    }
    lease_unreference(l);
}

void lease_start(struct pending *p)
{
    struct attachment *a = p->attachment;
    struct replica *v = p->value;
    struct gt *gt = p->tier->gt;
    struct error e;
    if (v->local)
        return pending_fail(p, ATOLL_EINVAL, "the value is local to the node: lock it there");
    if (a->lease)
        return pending_fail(p, ATOLL_EDEADLK, "this call has the lock, or waits for it, already");
    struct lease *l = calloc(1, sizeof *l);
    if (!l)
        return pending_fail(p, ATOLL_ENOMEM, "no memory for a lock");
    struct gt_key key = replica_key(v);
    *l =
        (struct lease){.tier = p->tier, .attachment = a, .value = v, .pending = p, .references = 2};
    p->call->known_to_store = true;
    if (gt->ops->lock(gt, &key, (enum gt_lock_mode)p->request.mode, p->call->owner, STATE_LEASE_NS,
                      p->request.timeout_ns, (struct gt_callback){lease_answered, l}, &e) < 0) {
        free(l);
        pending_error(p, &e);
        return;
    }
    a->lease = l;
    replica_pin(v);
}

/* ---- giving back ---- */

static void lease_returned(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    if (r->code)
        pending_store_error(p, r);
    else
        pending_result(p, 0);
}

void lease_release(struct pending *p)
{
    struct lease *l = p->attachment->lease;
    if (!l || l->state == LEASE_ASKED)
        return pending_fail(p, ATOLL_ENOENT, "this call does not have the lock");
    enum lease_state state = l->state;
    l->references++;
    lease_detach(l);
    if (state == LEASE_LOST)
        pending_fail(p, ATOLL_ESTALE, "the lock was lost before it was given back");
    else
        lease_give_back(l, (struct gt_callback){lease_returned, p});
    lease_unreference(l);
}

void lease_end(struct attachment *a)
{
    struct lease *l = a->lease;
    if (!l)
        return;
    l->references++;
    lease_detach(l);
    /* The end of a call tells the store itself. */
    if (l->state == LEASE_HELD && !a->call->ended && !l->tier->closing)
        lease_give_back(l, (struct gt_callback){0});
    lease_unreference(l);
}

int lease_fence(const struct attachment *a, uint64_t *token)
{
    const struct lease *l = a->lease;
    *token = 0;
    if (!l || l->state == LEASE_ASKED)
        return 0;
    if (l->state == LEASE_LOST || tier_now(l->tier) >= l->until_ns)
        return -ATOLL_ESTALE;
    *token = l->token;
    return 0;
}
