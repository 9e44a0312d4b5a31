#include "coverage.h"

#include "cluster.h"

#include <stdio.h>

static const char *const event_name[SIM_EVENTS + 1] = {
    [SIM_EVENT_CRASH] = "a process died",
    [SIM_EVENT_POWER_CUT] = "a machine lost power",
    [SIM_EVENT_RECEIPT] = "a client got a receipt",
    [SIM_EVENT_TIMEOUT] = "a client's deadline passed",
    [SIM_EVENT_LINE_BROKEN] = "a client's connection broke",
    [SIM_EVENT_VIEW] = "a replica entered a view",
    [SIM_EVENT_ROLLBACK] = "a replica took entries back",
    [SIM_EVENT_JUMP] = "a replica went on from a checkpoint of others",
    [SIM_EVENT_GAP_FILLED] = "a replica got the history before it",
    [SIM_EVENT_TRANSFER] = "a replica fetched history",
    [SIM_EVENT_ABSTAIN] = "a replica abstained",
    [SIM_EVENT_QUARANTINE] = "a replica started in quarantine",
    [SIM_EVENT_REJOINED] = "a replica rejoined",
    [SIM_EVENT_CHECKPOINT] = "a replica made a checkpoint",
    [SIM_EVENT_RESTORE] = "a replica started from a checkpoint",
    [SIM_EVENT_STOPPED] = "a replica stopped voting",
    [SIM_EVENT_SET_ASIDE] = "a replica set damaged records aside",
    [SIM_EVENT_UNDECIDED] = "a history was left undecided",
};

void sim_coverage_add(struct sim_coverage *sum, const struct sim_coverage *one)
{
    for (unsigned i = 0; i < SIM_ROWS; i++) {
        sum->drawn[i] += one->drawn[i];
        sum->times[i] += one->times[i];
        sum->seeds[i] += one->times[i] > 0;
    }
}

void sim_coverage_merge(struct sim_coverage *sum, const struct sim_coverage *other)
{
    for (unsigned i = 0; i < SIM_ROWS; i++) {
        sum->drawn[i] += other->drawn[i];
        sum->times[i] += other->times[i];
        sum->seeds[i] += other->seeds[i];
    }
}

static bool section_print(const struct sim_coverage *c, const char *title, unsigned first,
                          const char *const *names, bool drawn)
{
    bool whole = true;

    printf("| %s | %s | acted in seeds | times |\n|---|---|---|---|\n", title,
           drawn ? "seeds that have it" : " ");
    for (unsigned i = 0; names[i]; i++) {
        char of[24] = " ";

        if (drawn)
            snprintf(of, sizeof of, "%llu", (unsigned long long)c->drawn[first + i]);
        printf("| %s | %s | %llu | %llu |\n", names[i], of, (unsigned long long)c->seeds[first + i],
               (unsigned long long)c->times[first + i]);
        whole &= c->times[first + i] > 0;
    }
    putchar('\n');
    return whole;
}

bool sim_coverage_print(const struct sim_coverage *c, uint64_t seeds)
{
    bool whole = true;

    printf("%llu seeds\n\n", (unsigned long long)seeds);
    whole &= section_print(c, "fault", SIM_SECTION_FAULT, sim_fault_names(), true);
    whole &= section_print(c, "trick of a faulty replica", SIM_SECTION_TRICK,
                           sim_adversary_tricks(), true);
    whole &= section_print(c, "lie of a client", SIM_SECTION_LIE, sim_lie_names(), false);
    /* A history that is left undecided is nothing to wish for. */
    section_print(c, "what happened", SIM_SECTION_EVENT, event_name, false);
    return whole;
}
