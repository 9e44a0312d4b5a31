/* What a trace tells beyond the log: what messages say, and how machines stand. */
#include "cluster.h"

#include <stdio.h>

static void votes_tell(struct sim_world *w, unsigned from, unsigned to, struct slice message)
{
    static struct ledger_view_change vc; /* large; one thread */
    static struct ledger_new_view_message nv;
    struct ledger_pre_prepare_message pre;
    struct ledger_prepare prepare;
    struct ledger_commit commit;
    struct error e;

    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE:
        if (ledger_pre_prepare_decode(message, &pre, &e) == 0)
            sim_world_note(w, "%u>%u pp (%llu, %llu) %s of %u from %llu, G %02x, M %02x", from, to,
                           (unsigned long long)pre.pp.view, (unsigned long long)pre.pp.seqno,
                           ledger_kind_name(pre.pp.kind), pre.pp.count,
                           (unsigned long long)pre.pp.first_index, pre.pp.batch_root[0],
                           pre.pp.ledger_root[0]);
        break;
    case LEDGER_MESSAGE_PREPARE:
        if (ledger_prepare_message_decode(message, &prepare, &e) == 0)
            sim_world_note(w, "%u>%u Prepare (%llu, %llu) of %u for %02x", from, to,
                           (unsigned long long)prepare.view, (unsigned long long)prepare.seqno,
                           prepare.replica, prepare.pp_hash[0]);
        break;
    case LEDGER_MESSAGE_COMMIT:
        if (ledger_commit_message_decode(message, &commit, &e) == 0)
            sim_world_note(w, "%u>%u Commit (%llu, %llu) of %u", from, to,
                           (unsigned long long)commit.view, (unsigned long long)commit.seqno,
                           commit.replica);
        break;
    case LEDGER_MESSAGE_VIEW_CHANGE:
        if (ledger_view_change_message_decode(message, &vc, NULL, &e) == 0) {
            const struct ledger_pp *tip =
                vc.certificate_count ? &vc.certificates[vc.certificate_count - 1].pp : NULL;

            sim_world_note(w,
                           "%u>%u ViewChange to %llu of %u, %u certificates up to (%llu, %llu)%s",
                           from, to, (unsigned long long)vc.new_view, vc.replica,
                           vc.certificate_count, (unsigned long long)(tip ? tip->view : 0),
                           (unsigned long long)(tip ? tip->seqno : 0),
                           vc.has_new_view ? ", with NewView" : "");
        }
        break;
    case LEDGER_MESSAGE_NEW_VIEW:
        if (ledger_new_view_message_decode(message, &nv, &e) == 0)
            sim_world_note(w, "%u>%u NewView %llu, base %llu, tip (%llu, %llu), plan of %u", from,
                           to, (unsigned long long)nv.nv.view, (unsigned long long)nv.nv.base_seqno,
                           (unsigned long long)nv.nv.tip_view, (unsigned long long)nv.nv.tip_seqno,
                           nv.nv.plan_count);
        break;
    default: break;
    }
}

void sim_tell_message(struct sim_world *w, unsigned from, unsigned to, struct slice message)
{
    if (w->trace)
        votes_tell(w, from, to, message);
}

void sim_tell_machines(struct sim_cluster *c)
{
    static const char *const phase[] = {"recovering", "normal",     "view change", "abstaining",
                                        "transfer",   "quarantine", "stopped",     "astray"};

    for (unsigned i = 0; c->world.trace && i < c->machines; i++) {
        const struct sim_machine *m = &c->machine[i];
        const struct ledger_status *s = &m->status;

        sim_world_note(&c->world,
                       "machine %u (replica %u)%s: %s, view %llu, ViewChange for %llu, last %llu, "
                       "prepared %llu, committed %llu, pool %llu%s%s",
                       i, m->replica, m->correct ? "" : " faulty",
                       !m->core                                    ? "down"
                       : s->phase < sizeof phase / sizeof phase[0] ? phase[s->phase]
                                                                   : "?",
                       (unsigned long long)s->view, (unsigned long long)s->view_change_sent,
                       (unsigned long long)s->s_last, (unsigned long long)s->s_prepared,
                       (unsigned long long)s->s_committed, (unsigned long long)s->pool_requests,
                       s->why ? ": " : "", s->why ? s->why : "");
    }
    for (unsigned i = 0; c->world.trace && i < c->clients; i++)
        sim_client_tell(c->client[i]);
}
