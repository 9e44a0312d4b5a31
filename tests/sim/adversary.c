#include "adversary.h"

#include <assert.h>
#include <stdlib.h>

static const char *const trick_name[SIM_TRICKS + 1] = {
    [SIM_TRICK_TWIN] = "twin",
    [SIM_TRICK_EQUIVOCATE] = "equivocate",
    [SIM_TRICK_WRONG_PP] = "wrong-pp",
    [SIM_TRICK_BLIND_PREPARE] = "blind-prepare",
    [SIM_TRICK_MUTE] = "mute",
    [SIM_TRICK_WRONG_NONCE] = "wrong-nonce",
    [SIM_TRICK_OMIT_TIP] = "omit-tip",
    [SIM_TRICK_OMIT_NEW_VIEW] = "omit-new-view",
    [SIM_TRICK_ANY_TIP] = "any-tip",
    [SIM_TRICK_FORGE_NEW_VIEW] = "forge-new-view",
    [SIM_TRICK_CHOOSE_CHANGES] = "choose-changes",
    [SIM_TRICK_LATE] = "late",
    [SIM_TRICK_CENSOR] = "censor",
    [SIM_TRICK_SKIP] = "skip",
    [SIM_TRICK_GARBAGE] = "garbage",
    [SIM_TRICK_REPLAY] = "replay",
    [SIM_TRICK_BAD_HISTORY] = "bad-history",
    [SIM_TRICK_AMNESIA] = "amnesia",
    [SIM_TRICK_POISON] = "poison",
    [SIM_TRICK_HOARD] = "hoard",
    [SIM_TRICK_FALSE_TIP] = "false-tip",
    [SIM_TRICK_SIGN_AGAIN] = "sign-again",
};

const char *const *sim_adversary_tricks(void)
{
    return trick_name;
}

static uint32_t tricks_draw(struct sim_adversary *a)
{
    struct sim_random *r = sim_adversary_random(a);
    uint32_t tricks = 0;

    for (uint64_t count = sim_random_range(r, 1, 4); count--;)
        tricks |= UINT32_C(1) << sim_random_below(r, SIM_TRICKS);
    return tricks;
}

struct sim_adversary *sim_adversary_create(struct sim_cluster *c)
{
    struct sim_adversary *a = calloc(1, sizeof *a);
    const char *wanted = c->options.trick;

    if (!a)
        abort();
    a->cluster = c;
    a->tricks = tricks_draw(a);
    for (unsigned i = 0; wanted && i < SIM_TRICKS; i++)
        if (strcmp(wanted, trick_name[i]) == 0)
            a->tricks = UINT32_C(1) << i;
    if (!c->faulty_set)
        a->tricks = 0;
    for (unsigned i = 0; i < SIM_TRICKS; i++)
        c->coverage.drawn[SIM_SECTION_TRICK + i] = a->tricks >> i & 1;
    a->eagerness = (unsigned)sim_random_range(sim_adversary_random(a), 20, 1000);
    a->deaf_to = sim_random_word(sim_adversary_random(a));
    a->liar = sim_random_chance(sim_adversary_random(a), 300);
    return a;
}

void sim_adversary_destroy(struct sim_adversary *a)
{
    if (!a)
        return;
    for (unsigned i = 0; i < SIM_MEMORY_MAX; i++) {
        buffer_free(&a->certificate[i]);
        buffer_free(&a->new_view[i]);
        buffer_free(&a->message[i]);
    }
    free(a);
}

unsigned sim_adversary_twins(const struct sim_adversary *a)
{
    return a->tricks >> SIM_TRICK_TWIN & 1 ? (unsigned)__builtin_popcountll(a->cluster->faulty_set)
                                           : 0;
}

/* ---- twins ---- */

uint64_t sim_adversary_bodies(struct sim_adversary *a, unsigned from, uint16_t to)
{
    struct sim_cluster *c = a->cluster;
    uint64_t bodies = 0;

    for (unsigned i = 0, body = 0; i < c->machines; i++)
        if (c->machine[i].replica == to) {
            body++;
            if (c->machine[i].correct || !(a->tricks >> SIM_TRICK_TWIN & 1) ||
                a->hearing[from][to] & body)
                bodies |= UINT64_C(1) << i;
        }
    return bodies;
}

/* Which body of a faulty replica talks to a peer is the one that hears it. */
static bool twin_may_talk(const struct sim_adversary *a, const struct sim_machine *m, unsigned to)
{
    unsigned body = m->number < a->cluster->replicas ? 1 : 2;

    return !(a->tricks >> SIM_TRICK_TWIN & 1) || to >= a->cluster->machines ||
           a->hearing[to][m->replica] & body;
}

static void twins_shuffle(void *ctx, void *payload)
{
    struct sim_adversary *a = ctx;
    struct sim_random *r = sim_adversary_random(a);

    (void)payload;
    for (unsigned peer = 0; peer < SIM_MACHINES_MAX; peer++)
        for (unsigned to = 0; to < a->cluster->replicas; to++)
            a->hearing[peer][to] = (uint8_t)sim_random_range(r, 1, 3);
    if (sim_random_chance(r, 800))
        sim_world_after(&a->cluster->world, sim_random_skewed(r, 20000, 3000000), twins_shuffle, a,
                        NULL);
}

/* ---- hoarding ---- */

bool sim_adversary_blocks(const struct sim_adversary *a, unsigned to, struct slice message)
{
    struct ledger_prepare prepare;
    struct error e;

    if (!(a->tricks >> SIM_TRICK_HOARD & 1) || !a->cluster->machine[to].correct ||
        ledger_prepare_message_decode(message, &prepare, &e) != 0)
        return false;
    for (unsigned i = 0; i < a->cluster->machines; i++)
        if (prepare.view && a->hoard_view[i] == prepare.view)
            return true;
    return false;
}

/* Whether a pp of ours is kept back: all but the first of a view that we took over. */
static bool hoard_keeps(struct sim_adversary *a, const struct sim_machine *m, struct slice message)
{
    struct ledger_pre_prepare_message pre;
    struct error e;

    if (!(a->tricks >> SIM_TRICK_HOARD & 1) ||
        ledger_message_type(message) != LEDGER_MESSAGE_PRE_PREPARE ||
        ledger_pre_prepare_decode(message, &pre, &e) != 0 || !pre.pp.view ||
        pre.pp.view % a->cluster->replicas != m->replica)
        return false;
    if (pre.pp.view > a->hoard_view[m->number] && sim_random_chance(sim_adversary_random(a), 500)) {
        a->hoard_view[m->number] = pre.pp.view;
        a->hoard_first[m->number] = pre.pp.seqno;
    }
    return pre.pp.view == a->hoard_view[m->number] && pre.pp.seqno > a->hoard_first[m->number];
}

/* ---- sending ---- */

struct late {
    uint16_t from, to;
    uint32_t len;
    uint8_t bytes[];
};

static void late_due(void *ctx, void *payload)
{
    struct sim_adversary *a = ctx;
    struct late *l = payload;

    sim_network_send(&a->cluster->network, l->from, l->to, l->bytes, l->len);
}

static void send_late(struct sim_adversary *a, unsigned from, unsigned to, struct slice message)
{
    struct late *l = sim_allocate(sizeof *l + message.len);

    *l = (struct late){.from = (uint16_t)from, .to = (uint16_t)to, .len = (uint32_t)message.len};
    memcpy(l->bytes, message.data, message.len);
    sim_world_after(&a->cluster->world, sim_random_skewed(sim_adversary_random(a), 20000, 3000000),
                    late_due, a, l);
}

static bool is_vote(struct slice message)
{
    unsigned type = ledger_message_type(message);

    return type == LEDGER_MESSAGE_PREPARE || type == LEDGER_MESSAGE_COMMIT;
}

void sim_adversary_send(struct sim_adversary *a, struct sim_machine *m, unsigned to,
                        struct slice message)
{
    struct buffer out = {0};

    if (!twin_may_talk(a, m, to))
        return;
    if (m->number >= a->cluster->replicas)
        sim_acted(a, SIM_TRICK_TWIN);
    sim_forge_learn(a, message);
    if (hoard_keeps(a, m, message)) {
        sim_acted(a, SIM_TRICK_HOARD);
        return;
    }
    /* Who prepares blindly has signed another Prepare already. */
    if (a->tricks >> SIM_TRICK_BLIND_PREPARE & 1 && is_vote(message) &&
        !sim_adversary_uses(a, SIM_TRICK_BLIND_PREPARE))
        return;
    message = sim_forge(a, m, to, message, &out);
    if (message.len && message.data == out.data)
        sim_forge_learn(a, message);
    if (message.len && is_vote(message) && sim_adversary_uses(a, SIM_TRICK_LATE)) {
        sim_acted(a, SIM_TRICK_LATE);
        send_late(a, m->number, to, message);
    } else if (message.len) {
        sim_post(a->cluster, m->number, to, message);
    }
    buffer_free(&out);
}

/* ---- hearing ---- */

static void prepare_blindly(struct sim_adversary *a, struct sim_machine *m, struct slice message)
{
    struct sim_cluster *c = a->cluster;
    struct buffer prepare = {0}, commit = {0};

    if (sim_forge_blind(a, m, message, &prepare, &commit)) {
        sim_acted(a, SIM_TRICK_BLIND_PREPARE);
        for (unsigned i = 0; i < c->machines; i++)
            if (c->machine[i].replica != m->replica) {
                sim_network_send(&c->network, m->number, i, prepare.data, prepare.len);
                sim_network_send(&c->network, m->number, i, commit.data, commit.len);
            }
    }
    buffer_free(&prepare);
    buffer_free(&commit);
}

static void poison(struct sim_adversary *a, struct sim_machine *m, struct slice message)
{
    struct sim_cluster *c = a->cluster;
    struct buffer spoilt = {0}, prepare = {0};

    sim_acted(a, SIM_TRICK_POISON);
    sim_forge_poison(a, message, &spoilt);
    for (unsigned i = 0; i < c->machines; i++) {
        if (!c->machine[i].correct)
            continue; /* it would poison in turn, without end */
        sim_network_send(&c->network, m->number, i, spoilt.data, spoilt.len);
        prepare.len = 0;
        if (sim_forge_prepare(a, message, &prepare))
            sim_network_send(&c->network, m->number, i, prepare.data, prepare.len);
    }
    buffer_free(&spoilt);
    buffer_free(&prepare);
}

/* Whether it acts as if it had not heard. */
static bool ignores(struct sim_adversary *a, enum sim_trick trick)
{
    bool does = sim_adversary_uses(a, trick);

    if (does)
        sim_acted(a, trick);
    return does;
}

bool sim_adversary_admits(struct sim_adversary *a, struct sim_machine *m, unsigned from,
                          struct slice message)
{
    bool from_client = from >= a->cluster->machines;

    sim_forge_learn(a, message);
    switch (ledger_message_type(message)) {
    case LEDGER_MESSAGE_PRE_PREPARE:
        if (sim_adversary_uses(a, SIM_TRICK_BLIND_PREPARE))
            prepare_blindly(a, m, message);
        if (sim_adversary_uses(a, SIM_TRICK_POISON))
            poison(a, m, message);
        return true;
    case LEDGER_MESSAGE_VIEW_CHANGE: return !ignores(a, SIM_TRICK_CHOOSE_CHANGES);
    case LEDGER_MESSAGE_RELAY: return !ignores(a, SIM_TRICK_CENSOR);
    default: return !(from_client && a->deaf_to >> from & 1 && ignores(a, SIM_TRICK_CENSOR));
    }
}

/* ---- what happens by itself ---- */

/* A faulty replica forgets all it ever did. */
static void forget_due(void *ctx, void *payload)
{
    struct sim_adversary *a = ctx;
    struct sim_random *r = sim_adversary_random(a);
    struct sim_machine *m = &a->cluster->machine[sim_random_below(r, a->cluster->machines)];

    (void)payload;
    if (!m->correct) {
        sim_acted(a, SIM_TRICK_AMNESIA);
        sim_machine_forget(m, sim_random_skewed(r, 1000, 300000));
    }
    sim_world_after(&a->cluster->world, sim_random_skewed(r, 50000, 2000000), forget_due, a, NULL);
}

static void lie_due(void *ctx, void *payload)
{
    struct sim_adversary *a = ctx;
    struct sim_cluster *c = a->cluster;
    struct sim_random *r = sim_adversary_random(a);
    struct buffer message = {0};
    unsigned endpoint = c->machines + c->clients;
    uint64_t to = sim_random_word(r) | sim_random_word(r);

    (void)payload;
    sim_lie(a, &message);
    for (unsigned i = 0; i < c->machines; i++)
        if (to >> i & 1)
            sim_network_send(&c->network, endpoint, i, message.data, message.len);
    buffer_free(&message);
    sim_world_after(&c->world, sim_random_skewed(r, 1000, 400000), lie_due, a, NULL);
}

void sim_adversary_hear(struct sim_adversary *a, unsigned from, struct slice message)
{
    (void)from;
    sim_forge_learn(a, message);
}

void sim_adversary_start(struct sim_adversary *a)
{
    if (a->tricks >> SIM_TRICK_TWIN & 1)
        twins_shuffle(a, NULL);
    if (a->tricks >> SIM_TRICK_AMNESIA & 1)
        sim_world_after(&a->cluster->world, 100000, forget_due, a, NULL);
    if (a->liar)
        sim_world_after(&a->cluster->world, 10000, lie_due, a, NULL);
}
