/*
 * Call graphs: who called whom, with times, for an app (the tree of calls under one root) while it
 * runs and for an hour after; as many as fit a fixed number of records, oldest apps dropped first.
 *
 * Loop thread only; used by calls.c.
 */
#ifndef NODE_CALL_GRAPH_H
#define NODE_CALL_GRAPH_H

#include "node/calls.h"

#define CALL_GRAPH_RECORDS_MAX 262144u /* of all apps together */
#define CALL_GRAPH_APPS_MAX    16384u
#define CALL_GRAPH_TTL_NS      3600000000000ll

struct call_graphs;

struct call_graphs *call_graphs_create(void); /* NULL: no memory */
void call_graphs_destroy(struct call_graphs *);
/* A chained call has ended. */
void call_graph_child(struct call_graphs *, uint64_t id, const struct message_child *,
                      const struct function_version *);
/* A root has ended. */
void call_graph_root(struct call_graphs *, const struct call_outcome *, int64_t now_ns);
void call_graph_expire(struct call_graphs *, int64_t now_ns);
/* Whose app it was; NULL when it is not known (any longer). */
const char *call_graph_tenant(const struct call_graphs *, uint64_t app);
/* JSON: {"app":"…","calls":[{…}],"dropped":n}. running: the root, while it runs, or NULL.
 * -ATOLL_ENOENT. */
int call_graph_render(const struct call_graphs *, uint64_t app, const struct call_outcome *running,
                      struct buffer *out, struct error *);

/* "ok", "failed", … and "hot", "warm", … as everything that is printed says them. */
const char *call_status_name(enum call_status);
const char *call_temperature_name(enum call_temperature);

#endif
