/*
 * The inside of a replica: its state. The files of this folder include this header and no other
 * part; nobody outside of it does, but its tests. What it is made of, and what the files offer each
 * other, by subject (a function's comment stands above its body):
 *
 *   requests.h   those that wait, those that were executed, the clients behind them
 *   batches.h    slots, votes; execute, propose, accept, vote
 *   effects.h    jobs, records and durability, timers
 *   views.h      leaving a view, choosing and entering the next
 *   history.h    stretches of the ledger from peers, and those that were left
 *   peers.h      asking, answering, accusing
 *
 * The ledger is a row of batches s = 1, 2, …, between which stand the entries of view changes:
 *
 *   genesis | PP 1 | TX … | … | VCSET | NEW_VIEW | EVIDENCE s-P | PP s | TX … |
 *                             ↑ struct view_entry  ↑ start, of struct slot    ↑ its end
 *
 *      final <= committed <= prepared <= last        (sequence numbers)
 *
 * Batches up to `final` are never taken back: their evidence lies in the history behind every tip
 * that a view change can choose (§6). Later ones can be, at the price of kv_rollback, a copy of a
 * frontier and one ROLLBACK record. A slot holds what is known about one s, also before the batch
 * is in the ledger (votes may come first). Slots form a ring; those of old batches stay until their
 * place is needed, to answer clients and peers.
 *
 * One rule lives in one function (rules.c, tip.c), so that it can be read, tested and, in a mutated
 * build of the simulator, broken.
 */
#ifndef LEDGER_REPLICA_CORE_H
#define LEDGER_REPLICA_CORE_H

#include "crypto/kdf.h"
#include "crypto/siphash.h"
#include "ledger/kv/client_table.h"
#include "ledger/kv/procedure.h"
#include "ledger/object/message.h"
#include "ledger/object/receipt.h"
#include "ledger/replica/batches.h"
#include "ledger/replica/effects.h"
#include "ledger/replica/history.h"
#include "ledger/replica/peers.h"
#include "ledger/replica/requests.h"
#include "ledger/replica/views.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct ledger_replica {
    struct ledger_env env;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    const struct ledger_configuration *configuration;
    struct choice_terms terms;
    struct ledger_keys keys;
    uint8_t configuration_hash[HASH_LEN];
    uint16_t self;
    unsigned n, f, quorum;
    uint64_t pipeline, interval;
    struct ledger_body_memo memo; /* of the bodies that were checked last */
    uint8_t nonce_key[32];
    uint8_t table_key[SIPHASH_KEY_LEN];
    uint64_t pool_bytes_max;
    uint32_t pool_per_client;

    bool started;
    const char *stopped; /* why, or NULL */
    bool quarantine;
    uint64_t quarantine_view; /* the last one that we can have signed in */

    /* the view */
    uint64_t view;
    uint64_t view_change_sent; /* no Prepare below it */
    uint64_t abstain_view;     /* UINT64_MAX: none */
    bool pp_rejected;
    unsigned view_changes_in_a_row;
    struct buffer new_view; /* of `view`, signed; empty in the first */
    bool astray;            /* the ledger stands on another NewView of `view` than this one */
    struct buffer new_view_vcset;
    uint64_t plan_end; /* batches up to it are planned by NewView(view) */
    uint64_t plan_base;
    struct ledger_plan plan[LEDGER_PIPELINE_MAX];
    unsigned plan_count;
    bool plan_complete;  /* all that the first Prepare of the view waits for is here */
    bool new_view_ready; /* ours is durable and may be sent */

    /* the ledger */
    struct merkle_frontier frontier, genesis_frontier;
    struct merkle_frontier frontier_before; /* the batch that is being appended */
    uint64_t position_before;
    uint64_t position, next_index, gov_index;
    uint8_t previous[HASH_LEN]; /* what the next pp's prev_pp must be */
    uint64_t last, prepared, committed;
    uint64_t floor;  /* highest s ever committed here */
    uint64_t hollow; /* batches up to it came as a checkpoint, the last one of this view */
    uint64_t hollow_view;
    uint64_t rooted; /* the last batch before the ledger's last jump, which vouches for it */
    uint8_t (*floor_g)[HASH_LEN]; /* ring of SLOTS: G of committed batches */
    struct slot *slots;
    uint64_t *positions; /* of the PP of batch s, at s - positions_base */
    uint64_t positions_base;
    size_t position_count, position_capacity;
    struct view_entry *view_entries;
    size_t view_entry_count, view_entry_capacity;
    struct stash *stashes;
    uint64_t stash_clock;
    struct kv *kv;
    struct procedure_table *procedures;
    struct checkpoint_digest digests[4]; /* by (s / interval) mod 4 */

    struct pool pool;
    struct executed_entry *executed;
    size_t executed_size;
    struct executed_entry noting[EXECUTED_NOTING]; /* on their way into it, a ring */
    unsigned noting_next;
    struct slot old; /* a batch from the log, for clients that ask late */
    struct incoming *incoming[SLOTS];
    struct incoming *incoming_spare;
    const struct candidate **run; /* room for one batch */
    struct early *early;
    struct held_view_change *view_changes;
    struct buffer own_view_change;
    uint64_t own_view_change_view; /* that it is for, as the log says */
    bool own_view_change_ready;
    struct tip tip;
    struct tip tip_read; /* while the log is read: the next one, as far as it was found */
    struct pending_view pending;
    struct transfer transfer;
    struct install install;
    struct backlog backlog;
    /* By enum ledger_proof_type: replicas whose contradictions are being checked, are proven. */
    uint64_t conflicts_out[3], conflicts_proven[3];
    struct search searches[SEARCHES_MAX];
    unsigned search_turn;
    uint64_t searched_at;
    struct buffer search_read;
    uint64_t install_given_up; /* the last checkpoint that nobody would give us, or that the
                                   log had no place for */
    uint64_t silent; /* nothing is signed up to this batch: it vouched for a checkpoint of others */
    uint64_t install_known; /* a batch that is committed, as evidence said */
    bool abstain_doubt;     /* what we signed may stand in what is still missing of the ledger */
    bool recover_hole;      /* the log goes on behind a gap, where we cannot follow */
    struct abandoned abandoned;
    struct replay replay;
    struct peer *peers;
    uint64_t asked_at;    /* when we last asked for what a view change needs */
    uint64_t passed_over; /* replicas whose ViewChange rested on what could not be had */

    struct job *jobs_out, *jobs_spare, *vote_job, *request_job, *suspect_job;
    unsigned request_jobs_out; /* sent away, without those of suspects */
    struct waiter *waiters;
    size_t waiter_first, waiter_count, waiter_capacity;
    uint64_t lsn_last, lsn_asked, lsn_durable;

    uint64_t signed_view, signed_s; /* the last (view, s) that was marked */
    uint8_t signed_hash[HASH_LEN];
    uint64_t signed_view_change; /* of the last ViewChange that the log says we signed */
    uint64_t signed_new_view;    /* view + 1 of the last NewView we signed */

    bool view_timer_set;
    uint64_t retransmit_wait;
    bool retransmit_set, idle_set, idle_due, transfer_timer_set, pace_set;
    uint64_t paced_until; /* no batch that is not full is made before (propose_paced) */
    uint64_t batches_committed;
    uint64_t reply_stamp;

    struct buffer scratch, scratch_reply, scratch_read;
    bool catching_up;      /* just started: peers may know more */
    uint64_t replay_start; /* entries before it are not replayed */
    uint64_t skipped_s;    /* the batch that is being skipped */
    bool checkpoint_seen;  /* the log has come to where the checkpoint stands */
    uint64_t logged_view;  /* of the last NEW_VIEW record read */
    struct buffer logged_new_view;
    uint64_t *run_connections; /* room for replies: two for each transaction */
    size_t connections_room, *bundle_ends;

    struct ledger_status counters;
    char refusal[256]; /* why the last pp was refused, for people */
};

/* ---- what follows from it ---- */

static inline uint16_t primary_of(const struct ledger_replica *r, uint64_t view)
{
    return ledger_primary(r->configuration, view);
}

static inline bool is_primary(const struct ledger_replica *r)
{
    return primary_of(r, r->view) == r->self;
}

uint64_t ledger_view(const struct ledger_replica *);

/* Follows its view and takes part in it (voting is the rules' matter). The ledger may stand in a
 * lower view while history is taken over. */
static inline bool in_view(const struct ledger_replica *r)
{
    return r->started && !r->stopped && r->view_change_sent <= r->view && !r->astray &&
           r->pending.state != PENDING_FETCHING && ledger_view(r) == r->view;
}

/* What cannot be taken back any more: P batches before one that is committed, and all that a
 * checkpoint of others, or our own, stands for. */
static inline uint64_t final_batch(const struct ledger_replica *r)
{
    uint64_t final = r->floor > r->pipeline ? r->floor - r->pipeline : 0;
    final = final > r->rooted ? final : r->rooted;
    return final > r->hollow ? final : r->hollow;
}

/* open.c */
bool start_at_checkpoint(struct ledger_replica *, const struct ledger_checkpoint *);
void replica_stop(struct ledger_replica *, const char *why);

/* rules.c: the rules that make or break the protocol */
bool rule_may_vote(const struct ledger_replica *, uint64_t view);
bool rule_is_silent(const struct ledger_replica *, uint64_t s);
bool rule_may_sign_batch(const struct ledger_replica *, uint64_t s);
void rule_mark_signed(struct ledger_replica *, enum ledger_signed_what, uint64_t view, uint64_t s,
                      const uint8_t hash[static HASH_LEN]);
bool rule_nonce_may_leave(const struct ledger_replica *, const struct slot *);
void rule_nonce(const struct ledger_replica *, bool primary, uint64_t view, uint64_t s,
                const uint8_t x[static HASH_LEN], uint8_t nonce[static LEDGER_NONCE_LEN]);
void rule_leave_quarantine(struct ledger_replica *);
void rule_abstain(struct ledger_replica *, uint64_t view);
bool rule_floor_allows(const struct ledger_replica *, uint64_t s, const uint8_t g[static HASH_LEN]);

#endif
