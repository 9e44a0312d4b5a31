#include "cluster.h"

#include "adversary.h"
#include "ledger/kv/smallbank.h"

#include <assert.h>
#include <stdlib.h>

static struct sim_random *setup_of(struct sim_cluster *c)
{
    return sim_world_random(&c->world, SIM_STREAM_SETUP);
}

/* ---- the genesis ---- */

static void genesis_fill(struct sim_cluster *c, struct ledger_genesis *g, uint8_t *state)
{
    struct sim_random *r = setup_of(c);
    struct ledger_configuration *configuration = &g->configuration;

    g->name = slice_of("simulated", 9);
    memset(g->nonce, 1, sizeof g->nonce);
    g->pipeline = (uint32_t)sim_random_range(r, 1, 4);
    g->bucket_bits = 4;
    g->procedures = PROCEDURE_FAMILY_SMALLBANK;
    smallbank_state_encode((uint64_t)(SIM_BANK_SLOTS - 1) * c->bank_groups, SIM_BANK_SAVINGS,
                           SIM_BANK_CHECKING, state);
    g->state = slice_of(state, SMALLBANK_STATE_LEN);
    configuration->max_batch =
        (uint32_t)(sim_random_chance(r, 100) ? sim_random_range(r, SIM_BATCH_USUAL + 1, 64)
                                             : sim_random_range(r, 1, SIM_BATCH_USUAL));
    configuration->checkpoint_interval =
        2 * g->pipeline + (uint32_t)sim_random_below(r, sim_random_chance(r, 500) ? 8 : 200);
    configuration->view_timeout_us =
        c->stormy ? sim_random_range(r, 20000, 80000) : sim_random_skewed(r, 40000, 800000);
    configuration->member_count = 1;
    configuration->members[0] = (struct ledger_member){
        .name = slice_of("consortium", 10), .public_key = sim_key(SIM_KEYS_MAX - 1)->public_key};
    configuration->replica_count = c->replicas;
    for (unsigned i = 0; i < c->replicas; i++)
        configuration->replicas[i] = (struct ledger_node){.public_key = sim_key(i)->public_key,
                                                          .address = slice_of("simulated:1", 11)};
}

static void genesis_make(struct sim_cluster *c)
{
    struct ledger_genesis *g = calloc(1, sizeof *g);
    uint8_t state[SMALLBANK_STATE_LEN];
    struct error e;

    if (!g)
        abort();
    genesis_fill(c, g, state);
    if (!ledger_genesis_encode(g, &c->genesis_bytes) ||
        ledger_genesis_decode(slice_of_buffer(&c->genesis_bytes), &c->genesis, &e) != 0)
        abort();
    free(g);
}

/* ---- the parts ---- */

/* Whether a message gets lost for what it is. */
static bool typed_lost(struct sim_cluster *c, unsigned from, unsigned to, struct slice message)
{
    unsigned type = ledger_message_type(message);

    if (from < c->machines && to < c->machines && sim_adversary_blocks(c->adversary, to, message))
        return true;
    return from < c->machines && to < c->machines && type <= LEDGER_MESSAGE_RELAY &&
           c->typed_to >> to & 1 &&
           sim_random_chance(sim_world_random(&c->world, SIM_STREAM_NETWORK), c->typed_loss[type]);
}

static void deliver(void *ctx, unsigned from, unsigned to, const uint8_t *bytes, size_t len)
{
    struct sim_cluster *c = ctx;

    if (typed_lost(c, from, to, slice_of(bytes, len)))
        return;
    if (to >= c->machines + c->clients)
        sim_adversary_hear(c->adversary, from, slice_of(bytes, len));
    else if (to >= c->machines)
        sim_client_receive(sim_cluster_client_at(c, to), from, bytes, len);
    else if (c->machine[to].correct ||
             sim_adversary_admits(c->adversary, &c->machine[to], from, slice_of(bytes, len)))
        sim_machine_receive(&c->machine[to], from, bytes, len);
}

/* Which replicas lie: any, so that also none of the first primaries may be among them. */
static void faulty_draw(struct sim_cluster *c)
{
    unsigned left = c->options.faulty;

    while (left) {
        uint64_t bit = UINT64_C(1) << sim_random_below(setup_of(c), c->replicas);

        left -= !(c->faulty_set & bit);
        c->faulty_set |= bit;
    }
}

static void machines_open(struct sim_cluster *c)
{
    unsigned twins = sim_adversary_twins(c->adversary);

    c->machines = c->replicas;
    for (unsigned i = 0; i < c->replicas; i++)
        sim_machine_open(&c->machine[i], c, i, (uint16_t)i, !(c->faulty_set >> i & 1));
    for (unsigned i = 0; twins && i < c->replicas; i++)
        if (c->faulty_set >> i & 1) {
            sim_machine_open(&c->machine[c->machines], c, c->machines, (uint16_t)i, false);
            c->machines++;
            twins--;
        }
    assert(c->machines <= SIM_MACHINES_MAX);
}

/* Pools that a few requests fill: who waits is refused, and a primary that starves a client is
 * left. */
static void pools_draw(struct sim_cluster *c)
{
    if (!sim_random_chance(setup_of(c), 200))
        return;
    c->pool_bytes = sim_random_range(setup_of(c), 8 << 10, 64 << 10);
    c->pool_per_client = (uint32_t)sim_random_range(setup_of(c), 2, 40);
}

/* Some clients speak with a single replica, a correct one, as long as there are faults. */
static void reach_draw(struct sim_cluster *c, unsigned client)
{
    unsigned only = (unsigned)sim_random_below(setup_of(c), c->replicas);

    c->reach[client] = UINT64_MAX;
    if (sim_random_chance(setup_of(c), 100) && c->machine[only].correct)
        c->reach[client] = UINT64_C(1) << only;
}

static void cluster_open(struct sim_cluster *c)
{
    struct sim_random *r;
    uint32_t delay;

    sim_world_open(&c->world, c->options.seed, c->options.trace);
    r = setup_of(c);
    sim_signatures_open(&c->signatures, c->options.crypto, c->options.seed);
    c->replicas = c->options.replicas;
    c->faulty_max = (c->replicas - 1) / 3;
    c->quorum = c->replicas - c->faulty_max;
    c->async = sim_random_chance(r, 150);
    c->stormy = sim_random_chance(r, 350);
    c->clocks_differ = sim_random_chance(r, 300);
    c->bank_groups = (unsigned)sim_random_range(r, 1, 4);
    pools_draw(c);
    c->stage_high_us = (uint32_t)sim_random_skewed(r, 100, 20000);
    faulty_draw(c);
    genesis_make(c);
    c->witness = sim_witness_create(c);
    c->adversary = sim_adversary_create(c);
    machines_open(c);
    c->clients = (unsigned)sim_random_range(r, 1, 4);
    delay = (uint32_t)sim_random_skewed(r, 20, c->stormy ? 8000 : 4000);
    /* The last endpoint is the adversary's own. */
    sim_network_open(&c->network, &c->world, c->machines + c->clients + 1, delay,
                     delay * (uint32_t)sim_random_range(r, 1, 12), deliver, c);
    for (unsigned i = 0; i < c->clients; i++) {
        reach_draw(c, i);
        c->client[i] = sim_client_create(c, i, (unsigned)sim_random_range(r, 4, 25));
    }
}

static bool clients_done(const struct sim_cluster *c)
{
    for (unsigned i = 0; i < c->clients; i++)
        if (!sim_client_done(c->client[i]))
            return false;
    return true;
}

/* Machines that took over a checkpoint of others have the ledger before it. */
static bool histories_whole(const struct sim_cluster *c)
{
    for (unsigned i = 0; i < c->machines; i++)
        if (c->machine[i].correct && c->machine[i].core && sim_machine_is_hollow(&c->machine[i]))
            return false;
    return true;
}

/* One may come late, with nothing: one of five times, and mostly where others lie about history. */
static void machines_start(struct sim_cluster *c)
{
    bool lies = c->adversary->tricks >> SIM_TRICK_BAD_HISTORY & 1;
    unsigned late = (unsigned)sim_random_below(setup_of(c), (lies ? 1 : 5) * c->machines);

    for (unsigned i = 0; i < c->machines && !c->world.stopped; i++)
        if (i == late)
            sim_machine_crash(&c->machine[i], false, sim_random_range(setup_of(c), 1000, 4000000));
        else
            sim_machine_start(&c->machine[i]);
}

/* How long after the faults everything has to be done: many doublings of the view timer. */
#define HEALED_US 200000000

void sim_cluster_run(struct sim_cluster *c, const struct sim_options *options)
{
    uint64_t faults_us, limit_us;

    memset(c, 0, sizeof *c);
    c->options = *options;
    c->digests.value_len = HASH_LEN;
    cluster_open(c);
    machines_start(c);
    for (unsigned i = 0; i < c->clients; i++)
        sim_client_start(c->client[i]);
    sim_adversary_start(c->adversary);
    faults_us = sim_random_range(setup_of(c), 500000, 5000000);
    sim_world_note(&c->world,
                   "N %u, faulty %llx, tricks %x, P %u, C %u, batches of %u, view timeout %llu, "
                   "%u clients%s%s",
                   c->replicas, (unsigned long long)c->faulty_set, c->adversary->tricks,
                   c->genesis.pipeline, c->genesis.configuration.checkpoint_interval,
                   c->genesis.configuration.max_batch,
                   (unsigned long long)c->genesis.configuration.view_timeout_us, c->clients,
                   c->async ? ", asynchronous" : "", c->stormy ? ", stormy" : "");
    sim_fault_start(c, faults_us);
    sim_world_run(&c->world, faults_us);
    if (!c->world.stopped)
        sim_fault_heal(c);
    limit_us = faults_us + (options->liveness ? HEALED_US : 3000000);
    while (!c->world.stopped && !clients_done(c) && c->world.now_us < limit_us)
        sim_world_run(&c->world, c->world.now_us + 100000);
    /* So that the last batches' evidence comes into the ledger. */
    sim_world_run(&c->world, c->world.now_us + 2000000);
    while (!c->world.stopped && options->liveness && !histories_whole(c) &&
           c->world.now_us < limit_us)
        sim_world_run(&c->world, c->world.now_us + 100000);
    sim_tell_machines(c);
    if (!c->world.stopped)
        sim_judge(c);
}

void sim_cluster_close(struct sim_cluster *c)
{
    for (unsigned i = 0; i < c->machines; i++)
        sim_machine_close(&c->machine[i]);
    for (unsigned i = 0; i < c->clients; i++)
        sim_client_destroy(c->client[i]);
    sim_witness_destroy(c->witness);
    sim_adversary_destroy(c->adversary);
    sim_world_close(&c->world);
    sim_table_close(&c->digests);
    buffer_free(&c->genesis_bytes);
}
