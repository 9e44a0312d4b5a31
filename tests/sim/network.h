/*
 * The simulated network: a directed link between every two endpoints, each with its own delay,
 * loss, duplication and reordering, and each open or cut. Links keep the order of what they carry
 * unless they reorder; a cut link loses what is sent, and what was under way still arrives.
 */
#ifndef SIM_NETWORK_H
#define SIM_NETWORK_H

#include "world.h"

#define SIM_ENDPOINTS_MAX 96

struct sim_link {
    uint32_t delay_low_us, delay_high_us;
    uint16_t loss, duplicate, reorder; /* in a thousand */
    bool cut;
    uint64_t busy_until_us; /* arrival of the last ordered message */
};

/* What arrives. The bytes are the network's, for the time of the call. */
typedef void sim_deliver(void *ctx, unsigned from, unsigned to, const uint8_t *bytes, size_t len);

struct sim_network {
    struct sim_world *world;
    sim_deliver *deliver;
    void *ctx;
    unsigned endpoints;
    uint64_t sent, lost;
    struct sim_link link[SIM_ENDPOINTS_MAX][SIM_ENDPOINTS_MAX]; /* [from][to] */
};

/* All links open, without faults, with the same delays. */
void sim_network_open(struct sim_network *, struct sim_world *, unsigned endpoints,
                      uint32_t delay_low_us, uint32_t delay_high_us, sim_deliver *, void *ctx);
/* False: it is lost. */
bool sim_network_send(struct sim_network *, unsigned from, unsigned to, const uint8_t *bytes,
                      size_t len);

/* Gives every link the same rates of loss, duplication and reordering, in a thousand. */
void sim_network_faults(struct sim_network *, unsigned loss, unsigned duplicate, unsigned reorder);
/* Multiplies the delays of an endpoint's links by `factor`. */
void sim_network_slow(struct sim_network *, unsigned endpoint, unsigned factor);
/* Cuts all links between endpoints of `side` (a bitmap of the first 64) and those outside, in both
 * directions or only what leaves the side. Endpoints from 64 on count as outside. */
void sim_network_partition(struct sim_network *, uint64_t side, bool both_directions);
void sim_network_cut(struct sim_network *, unsigned from, unsigned to, bool cut);
/* Opens every link; rates and delays stay. */
void sim_network_heal(struct sim_network *);

#endif
