/*
 * The supervisor: one loop thread that owns everything of a node but the guests.
 *
 *   gateway ─▶ calls ─▶ workers ═══ rings ═══▶ worker processes (guests)
 *      │         │         │
 *      ├─▶ registry ─▶ builder threads ─▶ atoll-cc
 *      ├─▶ state tier ─▶ store threads (LMDB)
 *      └─▶ access (tokens, tenants, grants), files, metrics, log
 *
 * Parts hold a pointer to the node and find each other through it.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "node/config.h"

#include <stdbool.h>
#include <stdint.h>

struct uv_loop_s;
struct store;
struct state_tier;
struct registry;
struct calls;
struct workers;
struct builder;
struct access;
struct files;
struct metrics;
struct gateway;
struct asker;
struct shares;
struct expiry;
struct large_pages;
struct network;

struct node {
    struct node_config config;
    struct uv_loop_s *loop;
    struct store *store;
    struct state_tier *state;
    struct builder *builder;
    struct registry *registry;
    struct workers *workers;
    struct calls *calls;
    struct access *access;
    struct files *files;
    struct metrics *metrics;
    struct gateway *gateway;
    struct shares *shares;
    struct expiry *expiry;
    struct large_pages *large_pages;
    struct network *network; /* what functions reach */
    struct asker *foreign;   /* calls that workers asked for; requests.c */
    uint16_t port;           /* that the gateway listens on; no guest may connect to it, … */
    uint16_t metrics_port;   /* … nor to this; 0: none */
    uint32_t boot_epoch;     /* 12 bits, counted in the store */
    int64_t started_ns;      /* CLOCK_REALTIME */
    uint32_t disk_jobs;      /* of parts, in libuv's pool; node_destroy waits for them */
    bool draining;
};

/* Everything up and listening, or an error that names what failed; data directories are locked
 * against a second node. */
int node_create(const struct node_config *, struct node **out, struct error *);
/* Serves until node_stop, SIGTERM or SIGINT; then drains: readiness goes off, no new calls, running
 * ones get config.drain_ns. The process's exit status. */
int node_run(struct node *);
void node_stop(struct node *); /* loop thread */
void node_destroy(struct node *);
/* The address it listens at: "http://127.0.0.1:7777". */
const char *node_url(const struct node *);

#endif
