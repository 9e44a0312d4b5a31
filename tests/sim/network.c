#include "network.h"

#include <assert.h>

struct parcel {
    uint16_t from, to;
    uint32_t len;
    uint8_t bytes[];
};

void sim_network_open(struct sim_network *n, struct sim_world *world, unsigned endpoints,
                      uint32_t delay_low_us, uint32_t delay_high_us, sim_deliver *deliver,
                      void *ctx)
{
    assert(endpoints <= SIM_ENDPOINTS_MAX && delay_low_us <= delay_high_us);
    memset(n, 0, sizeof *n);
    n->world = world;
    n->deliver = deliver;
    n->ctx = ctx;
    n->endpoints = endpoints;
    for (unsigned from = 0; from < endpoints; from++)
        for (unsigned to = 0; to < endpoints; to++) {
            n->link[from][to].delay_low_us = delay_low_us;
            n->link[from][to].delay_high_us = delay_high_us;
        }
}

static void parcel_arrive(void *ctx, void *payload)
{
    struct sim_network *n = ctx;
    struct parcel *p = payload;

    n->deliver(n->ctx, p->from, p->to, p->bytes, p->len);
}

static void parcel_post(struct sim_network *n, struct sim_link *link, unsigned from, unsigned to,
                        const uint8_t *bytes, size_t len)
{
    struct sim_random *random = sim_world_random(n->world, SIM_STREAM_NETWORK);
    uint64_t at =
        n->world->now_us + sim_random_skewed(random, link->delay_low_us, link->delay_high_us);
    struct parcel *p = sim_allocate(sizeof *p + len);

    if (!sim_random_chance(random, link->reorder)) {
        if (at < link->busy_until_us)
            at = link->busy_until_us;
        link->busy_until_us = at;
    }
    p->from = (uint16_t)from;
    p->to = (uint16_t)to;
    p->len = (uint32_t)len;
    memcpy(p->bytes, bytes, len);
    sim_world_after(n->world, at - n->world->now_us, parcel_arrive, n, p);
}

bool sim_network_send(struct sim_network *n, unsigned from, unsigned to, const uint8_t *bytes,
                      size_t len)
{
    struct sim_link *link = &n->link[from][to];
    struct sim_random *random = sim_world_random(n->world, SIM_STREAM_NETWORK);

    assert(from < n->endpoints && to < n->endpoints);
    n->sent++;
    if (link->cut || sim_random_chance(random, link->loss)) {
        n->lost++;
        return false;
    }
    parcel_post(n, link, from, to, bytes, len);
    if (sim_random_chance(random, link->duplicate))
        parcel_post(n, link, from, to, bytes, len);
    return true;
}

void sim_network_faults(struct sim_network *n, unsigned loss, unsigned duplicate, unsigned reorder)
{
    for (unsigned from = 0; from < n->endpoints; from++)
        for (unsigned to = 0; to < n->endpoints; to++) {
            n->link[from][to].loss = (uint16_t)loss;
            n->link[from][to].duplicate = (uint16_t)duplicate;
            n->link[from][to].reorder = (uint16_t)reorder;
        }
}

void sim_network_slow(struct sim_network *n, unsigned endpoint, unsigned factor)
{
    for (unsigned other = 0; other < n->endpoints; other++) {
        n->link[endpoint][other].delay_low_us *= factor;
        n->link[endpoint][other].delay_high_us *= factor;
        n->link[other][endpoint].delay_low_us *= factor;
        n->link[other][endpoint].delay_high_us *= factor;
    }
}

static bool endpoint_in(uint64_t side, unsigned endpoint)
{
    return endpoint < 64 && side >> endpoint & 1;
}

void sim_network_partition(struct sim_network *n, uint64_t side, bool both_directions)
{
    for (unsigned from = 0; from < n->endpoints; from++)
        for (unsigned to = 0; to < n->endpoints; to++) {
            bool inside = endpoint_in(side, from);

            if (inside != endpoint_in(side, to) && (inside || both_directions))
                n->link[from][to].cut = true;
        }
}

void sim_network_cut(struct sim_network *n, unsigned from, unsigned to, bool cut)
{
    n->link[from][to].cut = cut;
}

void sim_network_heal(struct sim_network *n)
{
    for (unsigned from = 0; from < n->endpoints; from++)
        for (unsigned to = 0; to < n->endpoints; to++)
            n->link[from][to].cut = false;
}
