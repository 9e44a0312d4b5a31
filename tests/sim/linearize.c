/*
 * The operations of a group are a doubly linked list of events, calls and returns, in the order of
 * time. The search takes the first call that the model accepts, lifts it and its return out of the
 * list and starts again from the front; at a return (its call has to come before everything behind
 * it, and was not accepted) it goes back: it undoes the last choice and tries the next call.
 */
#include "linearize.h"

#include "world.h"

#include <assert.h>
#include <stdlib.h>

struct entry {
    const struct sim_operation *operation;
    unsigned number; /* of the operation in its group */
    bool is_call;
    uint64_t at_us;
    struct entry *match; /* of a call: its return; NULL when it never came */
    struct entry *previous, *next;
};

struct configuration {
    uint64_t done[SIM_GROUP_MAX / 64];
    uint8_t state[SIM_STATE_MAX];
};

struct choice {
    struct entry *call;
    uint8_t state[SIM_STATE_MAX]; /* before it */
};

struct seen {
    struct configuration *slot;
    uint8_t *used;
    size_t count, capacity; /* a power of two */
};

struct search {
    const struct sim_model *model;
    struct entry head, *entry;
    size_t entries, operations, answered_left;
    struct configuration now;
    struct choice *choice;
    size_t choices;
    struct seen seen;
    uint64_t budget;
};

static uint64_t configuration_hash(const struct configuration *c, size_t state_len)
{
    uint64_t hash = 0, word;

    for (size_t i = 0; i < SIM_GROUP_MAX / 64; i++) {
        hash ^= c->done[i];
        hash = sim_mix_next(&hash);
    }
    for (size_t i = 0; i < state_len; i += sizeof word) {
        word = 0;
        memcpy(&word, c->state + i, state_len - i < sizeof word ? state_len - i : sizeof word);
        hash ^= word;
        hash = sim_mix_next(&hash);
    }
    return hash;
}

static size_t seen_slot(const struct seen *seen, const struct configuration *c, size_t state_len)
{
    size_t at = configuration_hash(c, state_len) & (seen->capacity - 1);

    while (seen->used[at] && memcmp(&seen->slot[at], c, sizeof *c) != 0)
        at = (at + 1) & (seen->capacity - 1);
    return at;
}

static void seen_grow(struct seen *seen, size_t state_len)
{
    struct seen larger = {.capacity = seen->capacity ? 2 * seen->capacity : 64};

    larger.slot = sim_allocate(larger.capacity * sizeof *larger.slot);
    larger.used = calloc(larger.capacity, 1);
    if (!larger.used)
        abort();
    for (size_t i = 0; i < seen->capacity; i++)
        if (seen->used[i]) {
            size_t at = seen_slot(&larger, &seen->slot[i], state_len);

            larger.used[at] = 1;
            larger.slot[at] = seen->slot[i];
        }
    larger.count = seen->count;
    free(seen->slot);
    free(seen->used);
    *seen = larger;
}

/* False when the configuration was there already. */
static bool seen_add(struct seen *seen, const struct configuration *c, size_t state_len)
{
    size_t at;

    if (2 * seen->count >= seen->capacity)
        seen_grow(seen, state_len);
    at = seen_slot(seen, c, state_len);
    if (seen->used[at])
        return false;
    seen->used[at] = 1;
    seen->slot[at] = *c;
    seen->count++;
    return true;
}

static void entry_unlink(struct entry *e)
{
    e->previous->next = e->next;
    if (e->next)
        e->next->previous = e->previous;
}

static void entry_relink(struct entry *e)
{
    e->previous->next = e;
    if (e->next)
        e->next->previous = e;
}

static void call_lift(struct entry *call)
{
    entry_unlink(call);
    if (call->match)
        entry_unlink(call->match);
}

static void call_lower(struct entry *call)
{
    if (call->match)
        entry_relink(call->match);
    entry_relink(call);
}

/* Tries to do the call now. False when its answer does not fit or this was tried before. */
static bool search_take(struct search *s, struct entry *call)
{
    struct configuration after = s->now;

    if (!s->model->step(s->model->ctx, after.state, call->operation->call, call->match != NULL))
        return false;
    after.done[call->number / 64] |= UINT64_C(1) << call->number % 64;
    if (!seen_add(&s->seen, &after, s->model->state_len))
        return false;
    s->choice[s->choices].call = call;
    memcpy(s->choice[s->choices++].state, s->now.state, SIM_STATE_MAX);
    s->now = after;
    s->answered_left -= call->match != NULL;
    call_lift(call);
    return true;
}

/* Takes the last choice back and returns what was chosen; NULL when there is none. */
static struct entry *search_back(struct search *s)
{
    struct choice *last;

    if (!s->choices)
        return NULL;
    last = &s->choice[--s->choices];
    memcpy(s->now.state, last->state, SIM_STATE_MAX);
    s->now.done[last->call->number / 64] &= ~(UINT64_C(1) << last->call->number % 64);
    s->answered_left += last->call->match != NULL;
    call_lower(last->call);
    return last->call;
}

/* It is enough that every operation with an answer found its place. */
static enum sim_linearizable search_run(struct search *s)
{
    struct entry *at = s->head.next;

    while (s->answered_left) {
        if (!s->budget--)
            return SIM_UNDECIDED;
        if (at && at->is_call) {
            at = search_take(s, at) ? s->head.next : at->next;
            continue;
        }
        at = search_back(s);
        if (!at)
            return SIM_NOT_LINEARIZABLE;
        at = at->next;
    }
    return SIM_LINEARIZABLE;
}

static int entry_compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->at_us != y->at_us)
        return x->at_us < y->at_us ? -1 : 1;
    /* At one time calls come before returns: they overlap. */
    if (x->is_call != y->is_call)
        return x->is_call ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void search_link(struct search *s)
{
    struct entry *last = &s->head, *call[SIM_GROUP_MAX];

    qsort(s->entry, s->entries, sizeof *s->entry, entry_compare);
    for (size_t i = 0; i < s->entries; i++) {
        struct entry *e = &s->entry[i];

        if (e->is_call)
            call[e->number] = e;
        else
            call[e->number]->match = e;
        e->previous = last;
        last->next = e;
        last = e;
    }
}

static bool search_open(struct search *s, const struct sim_operation *operations, size_t count,
                        unsigned group)
{
    s->entry = sim_allocate(2 * SIM_GROUP_MAX * sizeof *s->entry);
    s->choice = sim_allocate(SIM_GROUP_MAX * sizeof *s->choice);
    for (size_t i = 0; i < count; i++) {
        const struct sim_operation *o = &operations[i];
        struct entry e = {.operation = o,
                          .number = (unsigned)s->operations,
                          .is_call = true,
                          .at_us = o->invoked_us};

        if (o->group != group)
            continue;
        if (s->operations++ == SIM_GROUP_MAX)
            return false;
        s->entry[s->entries++] = e;
        e.is_call = false;
        e.at_us = o->returned_us;
        if (o->returned_us != SIM_NEVER) {
            s->entry[s->entries++] = e;
            s->answered_left++;
        }
    }
    search_link(s);
    s->model->initial(s->model->ctx, group, s->now.state);
    return true;
}

static void search_close(struct search *s)
{
    free(s->entry);
    free(s->choice);
    free(s->seen.slot);
    free(s->seen.used);
}

/* ---- the order that is claimed ---- */

static int hint_compare(const void *a, const void *b)
{
    const struct sim_operation *const *x = a, *const *y = b;

    return ((*x)->hint > (*y)->hint) - ((*x)->hint < (*y)->hint);
}

/* The operations of a group that have a hint, in its order; *whole: every one that was answered has
 * one. */
static size_t hints_gather(const struct sim_operation *operations, size_t count, unsigned group,
                           const struct sim_operation **out, bool *whole)
{
    size_t found = 0;

    *whole = true;
    for (size_t i = 0; i < count; i++) {
        if (operations[i].group != group)
            continue;
        if (operations[i].hint)
            out[found++] = &operations[i];
        else
            *whole &= operations[i].returned_us == SIM_NEVER;
    }
    qsort(out, found, sizeof(const struct sim_operation *), hint_compare);
    return found;
}

/* Whether the claimed order is a linearization of the group. */
static bool hint_holds(const struct sim_operation *operations, size_t count,
                       const struct sim_model *model, unsigned group)
{
    const struct sim_operation **order =
        sim_allocate((count ? count : 1) * sizeof(const struct sim_operation *));
    uint8_t state[SIM_STATE_MAX] = {0};
    uint64_t began_us = 0; /* the latest so far: whoever follows has not ended before that */
    bool holds;
    size_t found = hints_gather(operations, count, group, order, &holds);

    model->initial(model->ctx, group, state);
    for (size_t i = 0; i < found && holds; i++) {
        const struct sim_operation *o = order[i];

        holds = o->returned_us >= began_us &&
                model->step(model->ctx, state, o->call, o->returned_us != SIM_NEVER);
        began_us = o->invoked_us > began_us ? o->invoked_us : began_us;
    }
    free(order);
    return holds;
}

enum sim_linearizable sim_linearize(const struct sim_operation *operations, size_t count,
                                    const struct sim_model *model, uint64_t budget,
                                    unsigned *group_out)
{
    unsigned groups = 0;

    assert(model->state_len <= SIM_STATE_MAX);
    for (size_t i = 0; i < count; i++)
        if (operations[i].group >= groups)
            groups = operations[i].group + 1;
    for (unsigned group = 0; group < groups; group++) {
        struct search s = {.model = model, .budget = budget};
        enum sim_linearizable verdict = SIM_UNDECIDED;

        if (hint_holds(operations, count, model, group))
            continue;
        if (search_open(&s, operations, count, group))
            verdict = search_run(&s);
        search_close(&s);
        if (verdict != SIM_LINEARIZABLE) {
            *group_out = group;
            return verdict;
        }
    }
    return SIM_LINEARIZABLE;
}
