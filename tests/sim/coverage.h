/*
 * What a run has really been through: how often each fault struck, each trick of a faulty replica
 * changed something, each lie was told, each thing of note happened. A trick that never acts is no
 * test; `ledger-sim --coverage A-B` prints this as a table and fails when a row of it is empty.
 */
#ifndef SIM_COVERAGE_H
#define SIM_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Rows of the table, in four sections; the rows of a section are numbered where they are made. */
enum sim_section {
    SIM_SECTION_FAULT = 0,  /* fault.c */
    SIM_SECTION_TRICK = 32, /* adversary.c */
    SIM_SECTION_LIE = 64,   /* liar.c */
    SIM_SECTION_EVENT = 80, /* below */
    SIM_ROWS = 112,
};

enum sim_event_kind {
    SIM_EVENT_CRASH,
    SIM_EVENT_POWER_CUT,
    SIM_EVENT_RECEIPT,
    SIM_EVENT_TIMEOUT,     /* a client's deadline passed */
    SIM_EVENT_LINE_BROKEN, /* a client's connection */
    SIM_EVENT_VIEW,        /* a machine entered a view */
    SIM_EVENT_ROLLBACK,    /* a machine took entries back */
    SIM_EVENT_JUMP,        /* … went on from a checkpoint of others */
    SIM_EVENT_GAP_FILLED,  /* … has all of what it left out */
    SIM_EVENT_TRANSFER,    /* … began to fetch history */
    SIM_EVENT_ABSTAIN,     /* … signs nothing more in its view */
    SIM_EVENT_QUARANTINE,  /* … signs nothing after losing power */
    SIM_EVENT_REJOINED,    /* … does again */
    SIM_EVENT_CHECKPOINT,  /* … has one */
    SIM_EVENT_RESTORE,     /* … starts from one */
    SIM_EVENT_STOPPED,     /* … votes no more */
    SIM_EVENT_SET_ASIDE,   /* … found damage in its log */
    SIM_EVENT_UNDECIDED,   /* the search for a linearization was given up */
    SIM_EVENTS,
};

struct sim_coverage {
    uint64_t drawn[SIM_ROWS]; /* 1: the seed's profile has it; summed up: in how many seeds */
    uint64_t times[SIM_ROWS];
    uint64_t seeds[SIM_ROWS]; /* summed up: in how many it acted */
};

static inline void sim_covered(struct sim_coverage *c, unsigned section, unsigned row)
{
    c->times[section + row]++;
}

/* Adds one seed's to the sum of many. */
void sim_coverage_add(struct sim_coverage *sum, const struct sim_coverage *one);
/* Adds up sums. */
void sim_coverage_merge(struct sim_coverage *sum, const struct sim_coverage *other);
/* Prints the table of these many seeds, as docs/ledger.md has it. False: a row is empty. */
bool sim_coverage_print(const struct sim_coverage *, uint64_t seeds);

#endif
