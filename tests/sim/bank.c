#include "bank.h"

#include <assert.h>

/* Procedures and statuses by their numbers in the specification of SmallBank, on purpose not by the
 * constants of the code under test. */
enum { CREATE = 1, BALANCE, DEPOSIT, TRANSACT, PAY, AMALGAMATE, CHECK };
enum { OK, INSUFFICIENT, NO_ACCOUNT, ACCOUNT_EXISTS };

void sim_bank_open(struct sim_bank *b, unsigned groups)
{
    assert(groups && groups <= SIM_BANK_GROUPS);
    memset(b, 0, sizeof *b);
    b->groups = groups;
    for (unsigned g = 0; g < groups; g++)
        for (unsigned slot = 0; slot + 1 < SIM_BANK_SLOTS; slot++) {
            b->group[g].savings[slot] = SIM_BANK_SAVINGS;
            b->group[g].checking[slot] = SIM_BANK_CHECKING;
            b->group[g].exists |= UINT64_C(1) << slot;
        }
}

static void call_put(struct sim_bank_call *c, uint64_t word)
{
    memcpy(c->args + c->args_len, &word, sizeof word);
    c->args_len += (uint32_t)sizeof word;
}

void sim_bank_draw(struct sim_bank_call *c, struct sim_random *r, unsigned groups, unsigned *group)
{
    unsigned first = (unsigned)sim_random_below(r, SIM_BANK_SLOTS);
    unsigned second =
        (first + 1 + (unsigned)sim_random_below(r, SIM_BANK_SLOTS - 1)) % SIM_BANK_SLOTS;
    uint64_t amount = sim_random_below(r, 400000);

    memset(c, 0, sizeof *c);
    c->groups = groups;
    c->proc = (uint32_t)sim_random_range(r, CREATE, CHECK);
    *group = (unsigned)sim_random_below(r, groups);
    if (c->proc == CREATE) {
        if (sim_random_chance(r, 700))
            first = SIM_BANK_SLOTS - 1;
        call_put(c, first * groups + *group);
        call_put(c, amount);
        call_put(c, amount / 2);
        return;
    }
    call_put(c, first * groups + *group);
    if (c->proc == PAY || c->proc == AMALGAMATE)
        call_put(c, second * groups + *group);
    if (c->proc == TRANSACT && sim_random_chance(r, 500))
        call_put(c, 0 - amount);
    else if (c->proc != BALANCE && c->proc != AMALGAMATE)
        call_put(c, amount);
}

static uint64_t call_word(const struct sim_bank_call *c, unsigned number)
{
    uint64_t word;

    assert(8 * (number + 1) <= c->args_len);
    memcpy(&word, c->args + 8 * number, sizeof word);
    return word;
}

static void call_answer(struct sim_bank_call *c, int32_t status, bool with_output, int64_t value)
{
    c->status = status;
    c->output_len = 0;
    if (status == OK && with_output) {
        c->output_len = sizeof value;
        memcpy(c->output, &value, sizeof value);
    }
}

/* Takes `amount` from *from, when there is as much, and gives it to *to. */
static int32_t move(int64_t *from, int64_t *to, int64_t amount)
{
    if (*from < amount)
        return INSUFFICIENT;
    *from -= amount;
    *to += amount;
    return OK;
}

static void create(struct sim_bank_group *g, struct sim_bank_call *c, unsigned slot)
{
    if (g->exists >> slot & 1) {
        call_answer(c, ACCOUNT_EXISTS, false, 0);
        return;
    }
    g->exists |= UINT64_C(1) << slot;
    g->savings[slot] = (int64_t)call_word(c, 1);
    g->checking[slot] = (int64_t)call_word(c, 2);
    call_answer(c, OK, false, 0);
}

static void move_between(struct sim_bank_group *g, struct sim_bank_call *c, unsigned from,
                         unsigned to)
{
    if (!(g->exists >> to & 1)) {
        call_answer(c, NO_ACCOUNT, false, 0);
    } else if (c->proc == PAY) {
        int32_t status = move(&g->checking[from], &g->checking[to], (int64_t)call_word(c, 2));

        call_answer(c, status, true, g->checking[from]);
    } else {
        g->checking[to] += g->checking[from] + g->savings[from];
        g->checking[from] = g->savings[from] = 0;
        call_answer(c, OK, true, g->checking[to]);
    }
}

static void group_apply(struct sim_bank_group *g, struct sim_bank_call *c)
{
    unsigned slot = (unsigned)(call_word(c, 0) / c->groups), to;
    int64_t amount = c->proc == BALANCE || c->proc == AMALGAMATE ? 0 : (int64_t)call_word(c, 1);

    assert(slot < SIM_BANK_SLOTS);
    if (c->proc == CREATE) {
        create(g, c, slot);
        return;
    }
    if (!(g->exists >> slot & 1)) {
        call_answer(c, NO_ACCOUNT, false, 0);
        return;
    }
    switch (c->proc) {
    case BALANCE: call_answer(c, OK, true, g->savings[slot] + g->checking[slot]); break;
    case DEPOSIT:
        g->checking[slot] += amount;
        call_answer(c, OK, true, g->checking[slot]);
        break;
    case TRANSACT:
        if (g->savings[slot] + amount < 0) {
            call_answer(c, INSUFFICIENT, false, 0);
            break;
        }
        g->savings[slot] += amount;
        call_answer(c, OK, true, g->savings[slot]);
        break;
    case CHECK:
        if (g->savings[slot] + g->checking[slot] < amount) {
            call_answer(c, INSUFFICIENT, false, 0);
            break;
        }
        g->checking[slot] -= amount;
        call_answer(c, OK, true, g->checking[slot]);
        break;
    default:
        to = (unsigned)(call_word(c, 1) / c->groups);
        assert(to < SIM_BANK_SLOTS && to != slot);
        move_between(g, c, slot, to);
    }
}

void sim_bank_apply(struct sim_bank *b, struct sim_bank_call *c)
{
    c->groups = b->groups;
    group_apply(&b->group[call_word(c, 0) % b->groups], c);
}

int64_t sim_bank_total(const struct sim_bank *b)
{
    int64_t total = 0;

    for (unsigned g = 0; g < b->groups; g++)
        for (unsigned slot = 0; slot < SIM_BANK_SLOTS; slot++)
            total += b->group[g].savings[slot] + b->group[g].checking[slot];
    return total;
}

int64_t sim_bank_brought(const struct sim_bank_call *c)
{
    if (c->status != OK)
        return 0;
    switch (c->proc) {
    case CREATE: return (int64_t)call_word(c, 1) + (int64_t)call_word(c, 2);
    case DEPOSIT:
    case TRANSACT: return (int64_t)call_word(c, 1);
    case CHECK: return -(int64_t)call_word(c, 1);
    default: return 0;
    }
}

/* ---- the model of the linearizability checker ---- */

static void model_initial(void *ctx, unsigned group, void *state)
{
    struct sim_bank bank;

    (void)ctx;
    (void)group;
    sim_bank_open(&bank, 1);
    memcpy(state, &bank.group[0], sizeof bank.group[0]);
}

static bool model_step(void *ctx, void *state, const void *call, bool answered)
{
    const struct sim_bank_call *heard = call;
    struct sim_bank_call c = *heard;

    (void)ctx;
    group_apply(state, &c);
    return !answered || (c.status == heard->status && c.output_len == heard->output_len &&
                         memcmp(c.output, heard->output, c.output_len) == 0);
}

struct sim_model sim_bank_model(void)
{
    return (struct sim_model){
        .state_len = sizeof(struct sim_bank_group),
        .initial = model_initial,
        .step = model_step,
    };
}
