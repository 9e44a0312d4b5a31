/*
 * Inside a machine: what its files share. machine.c is its life, clock, messages and stages,
 * storage.c its log on the simulated disk, checkpoint.c the checkpoints that lie beside it. From
 * outside it is seen through cluster.h.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "cluster.h"

/* Where the seqno lies in a pp: batch.h. */
#define PP_SEQNO_AT 12

/* What an event for a machine brings along. */
struct visit {
    uint32_t life, version;
    uint64_t number;
    void *pointer;
};

static inline struct sim_world *machine_world(const struct sim_machine *m)
{
    return &m->cluster->world;
}

/* Every completion is an event that carries the number of the machine's life, so that nothing
 * reaches a core that was started later. */
void machine_plan(struct sim_machine *, uint64_t delay_us, sim_action *, struct visit);
bool visit_is_late(const struct sim_machine *, const struct visit *);
/* The core has done something: looks at it, and plans for it to settle. */
void machine_after_event(struct sim_machine *);
/* How long a job on another processor takes. */
uint64_t machine_stage_delay(struct sim_machine *);
/* The parts of a message or record in one piece, in `out`. */
struct slice parts_join(struct buffer *out, const struct slice *parts, unsigned count);
/* Something of note happened to it. */
static inline void machine_covered(struct sim_machine *m, enum sim_event_kind event)
{
    if (m->correct)
        sim_covered(&m->cluster->coverage, SIM_SECTION_EVENT, event);
}

/* ---- storage.c ---- */

/* Fills in what a core asks of its log. */
void storage_env(struct ledger_env *);
/* Looks at the records as they lie there now, after a stop that may have taken some; sets aside
 * what is damaged. */
void storage_find(struct sim_machine *);
/* Feeds them to a core that was opened. */
bool storage_feed(struct sim_machine *, struct error *);
void storage_close(struct sim_machine *);

/* Makes room for entries up to a position; what is new lies nowhere yet. */
void entries_extend(struct sim_machine *, uint64_t end);
/* The record with this number is the entry at its position. */
void entry_place(struct sim_machine *, size_t record);

/* ---- gap.c ---- */

/* In the place of a record's number: the entry is missing. */
#define SIM_NOWHERE SIZE_MAX

/* Fills in what a core asks of gaps. */
void gap_env(struct ledger_env *);
/* A jump's record is found, or made. */
void gap_note(struct sim_machine *, size_t record);
void gaps_rollback(struct sim_machine *, uint64_t position);
/* Puts the entries found into the gaps found. */
void gaps_find(struct sim_machine *);
/* Something is missing. */
bool gaps_open(const struct sim_machine *);
/* Feeds the entries of the gap before this jump to a core, if all are here. */
int gap_feed(struct sim_machine *, size_t jump, struct error *);

/* ---- checkpoint.c ---- */

/* Fills in what a core asks of checkpoints. */
void checkpoint_env(struct ledger_env *);
/* Digests that are being computed are given up. */
void checkpoint_forget_pending(struct sim_machine *);
void checkpoint_forget_all(struct sim_machine *);
/* The store to start from: of the newest checkpoint below batch `below` that no view change can
 * roll back any more, or of the genesis (*at NULL). */
struct kv *checkpoint_store(struct sim_machine *, uint64_t below,
                            const struct ledger_checkpoint **at);

#endif
