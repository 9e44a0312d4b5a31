/*
 * Changing views (§6): what a replica reports of its ledger when it leaves a view (tip.c, view.c),
 * how the next one is chosen and entered (new_view.c), and messages that are early for it
 * (early.c).
 *
 * Part of core.h.
 */
#ifndef LEDGER_REPLICA_VIEWS_H
#define LEDGER_REPLICA_VIEWS_H

#include "ledger/replica/batches.h"
#include "ledger/replica/choice.h"

struct ledger_replica;
struct job;

/* Messages held for views that we have not entered, of one peer. */
#define EARLY_MESSAGES_MAX (6 * LEDGER_PIPELINE_MAX)
#define EARLY_BYTES_MAX    (16u << 20)

/* A ViewChange of a replica: the one for the highest view that it sent. */
struct held_view_change {
    bool held, valid;
    uint64_t new_view;
    struct buffer bytes;    /* signed */
    struct buffer checking; /* another one, whose signatures are being checked */
    bool job_out;
};

/* What our next ViewChange reports: the last prepared batches of one view. */
struct tip {
    uint64_t view, s;
    unsigned count;
    uint8_t pp_hash[HASH_LEN];
    struct buffer certificates[LEDGER_PIPELINE_MAX]; /* encoded; oldest first */
    struct buffer new_view;                          /* NewView(view), signed; empty for view 0 */
};

/* A NewView that is being made or checked, until it is in force. */
enum pending_view_state { PENDING_NONE, PENDING_FETCHING };

struct pending_view {
    enum pending_view_state state;
    bool ours; /* we are its primary */
    uint64_t view;
    uint64_t chosen_at; /* ours: when its ViewChanges were */
    struct buffer vcset;
    struct ledger_new_view nv; /* ours: made when it is entered */
    struct choice choice;
};

/* A NEW_VIEW message whose signatures are being checked. */
struct new_view_check {
    struct buffer message;
    struct ledger_new_view_message decoded;
    struct ledger_view_change *vcs;
    struct choice choice;
    uint16_t from;
};

struct early {
    struct buffer *messages;
    size_t count, bytes;
};

/* tip.c */
bool tip_can_follow(struct ledger_replica *, const struct slot *);
void tip_add(struct ledger_replica *, const struct slot *, struct slice encoded);
bool tip_recover(struct ledger_replica *, struct slice encoded);
bool tip_find_point(const struct ledger_replica *, uint64_t s, const uint8_t link[static HASH_LEN],
                    const struct view_entry **after);

/* view.c: leaving a view */
void view_leave(struct ledger_replica *, uint64_t new_view);
void view_change_sent_durable(struct ledger_replica *, uint64_t new_view);
void view_change_message(struct ledger_replica *, uint16_t from, struct slice message);
void view_change_verified(struct ledger_replica *, struct job *);
bool view_change_check(const struct ledger_replica *, const struct ledger_view_change *,
                       struct slice signed_bytes, struct job *);
void view_change_send(struct ledger_replica *, int to);
void view_run(struct ledger_replica *);
unsigned view_changes_at_least(const struct ledger_replica *, uint64_t view);

/* new_view.c: entering one */
void new_view_try(struct ledger_replica *);
void new_view_message(struct ledger_replica *, uint16_t from, struct slice message);
void new_view_verified(struct ledger_replica *, struct job *);
void new_view_continue(struct ledger_replica *);
bool plan_wants(const struct ledger_replica *, const uint8_t g[static HASH_LEN]);
void new_view_drop(struct ledger_replica *);
void new_view_send(struct ledger_replica *, int to);
bool new_view_first_prepare_may_leave(struct ledger_replica *);
bool new_view_is_another(const struct ledger_replica *, const struct ledger_new_view *);
void new_view_check_free(struct new_view_check *);
void new_view_follow(struct ledger_replica *, const struct ledger_new_view *,
                     struct slice signed_bytes, struct slice vcset, uint64_t start);

/* early.c: messages of views that we have not entered */
void early_hold(struct ledger_replica *, uint16_t from, struct slice message);
void early_replay(struct ledger_replica *);
void early_free(struct ledger_replica *);

#endif
