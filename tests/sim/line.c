/*
 * The connections between clients and machines. What they carry can be late, but a message that the
 * network loses breaks its connection, as TCP does: the client dials again, at growing distances,
 * and its core is told when a link stands. So no end waits for ever for what was lost, and a core
 * sees connections come and go.
 */
#include "cluster.h"

#include <assert.h>

#define BACKOFF_FIRST_US 20000
#define BACKOFF_LAST_US  1000000

struct dial {
    unsigned client, machine;
};

static struct sim_line *line_of(struct sim_cluster *c, unsigned client, unsigned machine)
{
    assert(client < c->clients && machine < c->machines);
    return &c->line[client][machine];
}

static bool links_open(const struct sim_network *n, unsigned a, unsigned b)
{
    return !n->link[a][b].cut && !n->link[b][a].cut;
}

static void dial_plan(struct sim_cluster *c, unsigned client, unsigned machine, uint64_t delay_us);

static void dial_due(void *ctx, void *payload)
{
    struct sim_cluster *c = ctx;
    const struct dial *d = payload;
    struct sim_line *line = line_of(c, d->client, d->machine);
    unsigned endpoint = c->machines + d->client;

    line->dialling = false;
    if (line->standing || !sim_client_is_up(c->client[d->client]))
        return;
    if (!c->machine[d->machine].core || !links_open(&c->network, endpoint, d->machine)) {
        dial_plan(c, d->client, d->machine, line->backoff_us);
        if (line->backoff_us < BACKOFF_LAST_US)
            line->backoff_us *= 2;
        return;
    }
    line->standing = true;
    line->backoff_us = BACKOFF_FIRST_US;
    sim_machine_accept(&c->machine[d->machine], endpoint);
    sim_client_connected(c->client[d->client], c->machine[d->machine].replica);
}

static void dial_plan(struct sim_cluster *c, unsigned client, unsigned machine, uint64_t delay_us)
{
    struct sim_line *line = line_of(c, client, machine);
    struct dial *d;

    if (line->dialling)
        return;
    line->dialling = true;
    d = sim_allocate(sizeof *d);
    *d = (struct dial){client, machine};
    sim_world_after(&c->world, delay_us, dial_due, c, d);
}

void sim_line_dial(struct sim_cluster *c, unsigned client)
{
    for (unsigned m = 0; m < c->machines; m++) {
        if (!(c->reach[client] >> m & 1))
            continue;
        line_of(c, client, m)->backoff_us = BACKOFF_FIRST_US;
        dial_plan(c, client, m, 0);
    }
}

void sim_line_break(struct sim_cluster *c, unsigned client, unsigned machine)
{
    struct sim_line *line = line_of(c, client, machine);

    if (!line->standing)
        return;
    line->standing = false;
    sim_covered(&c->coverage, SIM_SECTION_EVENT, SIM_EVENT_LINE_BROKEN);
    dial_plan(c, client, machine, line->backoff_us);
}

void sim_line_ask(struct sim_cluster *c, unsigned client, unsigned machine, struct slice message)
{
    if (line_of(c, client, machine)->standing &&
        !sim_network_send(&c->network, c->machines + client, machine, message.data, message.len))
        sim_line_break(c, client, machine);
}

void sim_post(struct sim_cluster *c, unsigned from, unsigned to, struct slice message)
{
    bool to_client = to >= c->machines && to < c->machines + c->clients;

    if (to_client && !line_of(c, to - c->machines, from)->standing)
        return;
    if (!sim_network_send(&c->network, from, to, message.data, message.len) && to_client)
        sim_line_break(c, to - c->machines, from);
}
