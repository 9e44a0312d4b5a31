/*
 * What goes wrong in a run. Every seed has a profile of its own, in which some faults never happen
 * and others often: mixtures in which everything happens a little hide what needs much of one kind.
 */
#include "cluster.h"

#include <stdlib.h>

enum fault {
    FAULT_CRASH,     /* a process dies and is started again */
    FAULT_POWER,     /* a machine loses power */
    FAULT_POWER_ALL, /* all do, at about the same time */
    FAULT_PARTITION, /* two sides do not hear each other */
    FAULT_DEAF,      /* one side is heard but does not hear, or the other way round */
    FAULT_ISOLATE,   /* the primary is alone */
    FAULT_LINKS,     /* single links are cut */
    FAULT_TYPED,     /* some kinds of message do not reach some */
    FAULT_WEATHER,   /* loss, duplicates, reordering everywhere */
    FAULT_SLOW,      /* one machine's links */
    FAULT_SLOW_DISK, /* one machine's syncs take half a second */
    FAULT_FULL_DISK,
    FAULT_ROT,    /* a record of a machine's segments is damaged: of an entry, old or new */
    FAULT_CLOCK,  /* a machine's clock jumps ahead, as after a pause */
    FAULT_CLIENT, /* a client dies, with or without power, and goes on with its receipt store */
    FAULT_KINDS,
};

static const char *const fault_name[FAULT_KINDS + 1] = {
    [FAULT_CRASH] = "a process dies",
    [FAULT_POWER] = "a machine loses power",
    [FAULT_POWER_ALL] = "all machines lose power",
    [FAULT_PARTITION] = "two sides do not hear each other",
    [FAULT_DEAF] = "one side does not hear, or is not heard",
    [FAULT_ISOLATE] = "the primary is alone",
    [FAULT_LINKS] = "single links are cut",
    [FAULT_TYPED] = "some kinds of message are lost on their way to some",
    [FAULT_WEATHER] = "loss, duplicates, reordering everywhere",
    [FAULT_SLOW] = "one machine's links are slow",
    [FAULT_SLOW_DISK] = "one machine's disk is slow",
    [FAULT_FULL_DISK] = "one machine's disk is full",
    [FAULT_ROT] = "a record of one machine is damaged at rest",
    [FAULT_CLOCK] = "a clock jumps ahead",
    [FAULT_CLIENT] = "a client dies and goes on with its receipt store",
};

const char *const *sim_fault_names(void)
{
    return fault_name;
}

struct plan {
    struct sim_cluster *cluster;
    uint64_t until_us;
    uint32_t gap_us; /* between two faults, at most */
    unsigned weight[FAULT_KINDS], weights;
    unsigned power_victim; /* the only one that may lose power when durability is asynchronous */
    unsigned rot_victim;   /* … whose log is damaged */
};

static struct sim_random *random_of(struct sim_cluster *c)
{
    return sim_world_random(&c->world, SIM_STREAM_FAULT);
}

static unsigned any_machine(struct sim_cluster *c)
{
    return (unsigned)sim_random_below(random_of(c), c->machines);
}

static void partition_end(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;

    (void)payload;
    sim_world_log(&c->world, "healed", 0, 0, 0);
    sim_network_heal(&c->network);
}

static void weather_end(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;

    (void)payload;
    sim_network_faults(&c->network, 0, 0, 0);
}

static void typed_end(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;

    (void)payload;
    memset(c->typed_loss, 0, sizeof c->typed_loss);
}

/* One or two kinds of message, or everything but one kind. */
static void typed_begin(struct sim_cluster *c, uint64_t lasts_us)
{
    struct sim_random *r = random_of(c);
    bool but = sim_random_chance(r, 200);
    uint16_t loss = (uint16_t)sim_random_range(r, 300, 1000);
    uint64_t kinds = sim_random_range(r, 1, 2);

    for (unsigned i = 0; but && i <= LEDGER_MESSAGE_RELAY; i++)
        c->typed_loss[i] = loss;
    while (kinds--)
        c->typed_loss[sim_random_chance(r, 700)
                          ? sim_random_range(r, LEDGER_MESSAGE_PRE_PREPARE, LEDGER_MESSAGE_NEW_VIEW)
                          : sim_random_range(r, 1, LEDGER_MESSAGE_RELAY)] = but ? 0 : loss;
    c->typed_to = sim_random_word(r) | sim_random_word(r);
    sim_world_after(&c->world, lasts_us, typed_end, c, NULL);
}

static void disks_end(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;

    (void)payload;
    for (unsigned i = 0; i < c->machines; i++) {
        c->machine[i].disk.sync_high_us = 8000;
        if (!c->machine[i].disk.full)
            continue;
        /* Room was made; whoever stopped because of it is started again. */
        c->machine[i].disk.full = false;
        sim_machine_crash(&c->machine[i], false, 1000);
    }
}

static void slow_end(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;
    struct sim_link usual = c->network.link[c->machines][c->machines];

    (void)payload;
    for (unsigned i = 0; i < c->network.endpoints; i++)
        for (unsigned j = 0; j < c->network.endpoints; j++) {
            c->network.link[i][j].delay_low_us = usual.delay_low_us;
            c->network.link[i][j].delay_high_us = usual.delay_high_us;
            /* What is still on its way may take minutes; what follows overtakes it, as over a
             * connection that was opened anew. */
            c->network.link[i][j].busy_until_us = 0;
        }
}

static void links_cut(struct sim_cluster *c)
{
    unsigned count = (unsigned)sim_random_range(random_of(c), 1, 2 * c->replicas);

    while (count--)
        sim_network_cut(&c->network, any_machine(c), any_machine(c), true);
}

/* The machine of the highest view's primary. */
static unsigned primary_now(const struct sim_cluster *c)
{
    uint64_t view = 0;

    for (unsigned i = 0; i < c->machines; i++)
        if (c->machine[i].core && c->machine[i].status.view > view)
            view = c->machine[i].status.view;
    return (unsigned)(view % c->replicas);
}

static void power_all(struct sim_cluster *c)
{
    struct sim_random *r = random_of(c);

    for (unsigned i = 0; i < c->machines; i++)
        sim_machine_crash(&c->machine[i], true, sim_random_range(r, 1000, 200000));
}

static void network_strike(struct sim_cluster *c, enum fault fault, uint64_t lasts_us)
{
    struct sim_random *r = random_of(c);
    uint64_t side = sim_random_word(r) & ((UINT64_C(1) << c->network.endpoints) - 1);

    switch (fault) {
    case FAULT_PARTITION: sim_network_partition(&c->network, side, true); break;
    case FAULT_DEAF: sim_network_partition(&c->network, side, false); break;
    case FAULT_ISOLATE:
        sim_network_partition(&c->network, UINT64_C(1) << primary_now(c),
                              sim_random_chance(r, 700));
        break;
    default: links_cut(c); break;
    }
    sim_world_after(&c->world, lasts_us, partition_end, c, NULL);
}

static bool is_damaged(const struct sim_machine *m)
{
    for (size_t i = 0; i < m->disk.count; i++)
        if (m->disk.record[i].rotten)
            return true;
    return false;
}

/* While it is down, or while it runs: then reading the entry fails until somebody starts it again.
 */
static bool rot_strike(struct sim_cluster *c, struct sim_machine *m, uint64_t lasts_us)
{
    if (sim_random_chance(random_of(c), 600))
        sim_machine_crash(m, false, lasts_us);
    return sim_disk_rot(&m->disk, SIM_FILE_SEGMENT, LEDGER_RECORD_ENTRY) != NULL;
}

static bool client_strike(struct sim_cluster *c)
{
    struct sim_random *r = random_of(c);
    struct sim_client *client = c->client[sim_random_below(r, c->clients)];

    return sim_client_crash(client, sim_random_chance(r, 500), sim_random_range(r, 1000, 300000));
}

/* False: it did not meet anything. */
static bool strike_begin(struct plan *p, enum fault fault)
{
    struct sim_cluster *c = p->cluster;
    struct sim_random *r = random_of(c);
    uint64_t lasts_us = sim_random_skewed(r, 10000, c->stormy ? 300000 : 1500000);
    unsigned victim = any_machine(c);

    sim_world_log(&c->world, "fault", fault, victim, lasts_us);
    switch (fault) {
    case FAULT_CRASH: sim_machine_crash(&c->machine[victim], false, lasts_us); break;
    case FAULT_POWER:
        sim_machine_crash(&c->machine[c->async ? p->power_victim : victim], true, lasts_us);
        break;
    case FAULT_POWER_ALL: power_all(c); break;
    case FAULT_TYPED: typed_begin(c, lasts_us); break;
    case FAULT_WEATHER:
        sim_network_faults(&c->network, (unsigned)sim_random_below(r, 300),
                           (unsigned)sim_random_below(r, 200), (unsigned)sim_random_below(r, 300));
        sim_world_after(&c->world, lasts_us, weather_end, c, NULL);
        break;
    case FAULT_SLOW:
        sim_network_slow(&c->network, victim, (unsigned)sim_random_range(r, 5, 100));
        sim_world_after(&c->world, lasts_us, slow_end, c, NULL);
        break;
    case FAULT_SLOW_DISK:
        c->machine[victim].disk.sync_high_us = 500000;
        sim_world_after(&c->world, lasts_us, disks_end, c, NULL);
        break;
    case FAULT_FULL_DISK:
        c->machine[victim].disk.full = true;
        sim_world_after(&c->world, lasts_us, disks_end, c, NULL);
        break;
    case FAULT_ROT: return rot_strike(c, &c->machine[p->rot_victim], lasts_us);
    case FAULT_CLOCK:
        sim_machine_clock_jump(&c->machine[victim], sim_random_skewed(r, 1000, 10000000));
        break;
    case FAULT_CLIENT: return client_strike(c);
    default: network_strike(c, fault, lasts_us);
    }
    return true;
}

static void strike(struct plan *p, enum fault fault)
{
    if (strike_begin(p, fault))
        sim_covered(&p->cluster->coverage, SIM_SECTION_FAULT, fault);
}

static void fault_due(void *ctx, void *payload)
{
    struct plan *p = payload, *next;
    struct sim_cluster *c = ctx;
    unsigned pick = (unsigned)sim_random_below(random_of(c), p->weights), fault = 0;

    if (c->world.now_us >= p->until_us)
        return;
    while (pick >= p->weight[fault])
        pick -= p->weight[fault++];
    strike(p, (enum fault)fault);
    next = sim_allocate(sizeof *next);
    *next = *p;
    sim_world_after(&c->world, sim_random_skewed(random_of(c), 1000, p->gap_us), fault_due, c,
                    next);
}

static bool is_of_network(enum fault fault)
{
    return fault >= FAULT_PARTITION && fault <= FAULT_WEATHER;
}

void sim_fault_start(struct sim_cluster *c, uint64_t until_us)
{
    struct sim_random *r = random_of(c);
    struct plan *p = sim_allocate(sizeof *p);

    *p = (struct plan){.cluster = c, .until_us = until_us};
    p->gap_us =
        (uint32_t)sim_random_range(r, c->stormy ? 20000 : 100000, c->stormy ? 200000 : 1500000);
    p->power_victim = any_machine(c);
    p->rot_victim = any_machine(c);
    for (unsigned i = 0; i < FAULT_KINDS; i++) {
        unsigned often = c->stormy && is_of_network((enum fault)i) ? 800 : 400;

        /* With asynchronous durability a machine without power counts as one more faulty one until
         * it has rejoined: one at most, and none beyond f; and none whose log is damaged beside it.
         */
        if (c->async && (i == FAULT_POWER_ALL || i == FAULT_ROT ||
                         (i == FAULT_POWER && c->options.faulty >= c->faulty_max)))
            continue;
        p->weight[i] = sim_random_chance(r, often) ? (unsigned)sim_random_range(r, 1, 10) : 0;
        c->coverage.drawn[SIM_SECTION_FAULT + i] = p->weight[i] > 0;
        p->weights += p->weight[i];
    }
    if (!p->weights) {
        free(p); /* a run in fair weather */
        return;
    }
    sim_world_after(&c->world, sim_random_below(r, p->gap_us), fault_due, c, p);
}

/* The network and the disks become as fast as the view timer expects of them. */
static void delays_calm(struct sim_cluster *c)
{
    uint32_t most = (uint32_t)(c->genesis.configuration.view_timeout_us / 20);

    for (unsigned i = 0; i < c->network.endpoints; i++)
        for (unsigned j = 0; j < c->network.endpoints; j++) {
            struct sim_link *link = &c->network.link[i][j];

            link->delay_high_us = link->delay_high_us < most ? link->delay_high_us : most;
            link->delay_low_us = link->delay_low_us < most ? link->delay_low_us : most;
        }
    c->stage_high_us = c->stage_high_us < most ? c->stage_high_us : most;
    for (unsigned i = 0; i < c->machines; i++)
        c->machine[i].disk.sync_high_us = most < 8000 ? most : 8000;
}

void sim_fault_heal(struct sim_cluster *c)
{
    sim_world_log(&c->world, "heal", 0, 0, 0);
    partition_end(c, NULL);
    weather_end(c, NULL);
    typed_end(c, NULL);
    slow_end(c, NULL);
    disks_end(c, NULL);
    delays_calm(c);
    for (unsigned i = 0; i < c->clients; i++) { /* whoever knew of one replica asks them all */
        c->reach[i] = UINT64_MAX;
        sim_line_dial(c, i);
    }
    for (unsigned i = 0; i < c->machines; i++)
        if (is_damaged(&c->machine[i]))
            sim_machine_crash(&c->machine[i], false, 1000);
    for (unsigned i = 0; i < c->machines; i++)
        if (!c->machine[i].core && !c->machine[i].restart_planned)
            sim_machine_crash(&c->machine[i], false, 1000);
}
