/*
 * Counters and histograms of the node, and their text for Prometheus (spec faaslets §13 "Metrics":
 * names, labels, buckets 1 µs … 60 s in steps of 2.5).
 *
 * Labels are bounded: tenants, functions and statuses, never call ids; beyond METRICS_FUNCTIONS_MAX
 * functions the rest is counted under function="other". Loop thread only.
 */
#ifndef NODE_METRICS_H
#define NODE_METRICS_H

#include "base/bytes.h"
#include "base/error.h"
#include "node/message.h"

struct node;
struct metrics;
struct function_version;

#define METRICS_FUNCTIONS_MAX 2000u
#define METRICS_GUEST_SERIES  100u /* per function */

int metrics_create(struct node *, struct metrics **out, struct error *);
void metrics_destroy(struct metrics *);

/* A root call has ended. */
struct metrics_call {
    enum call_status status;
    enum call_temperature temperature;
    uint64_t queue_ns, restore_ns, run_ns, cpu_ns, memory_bytes;
};
void metrics_call(struct metrics *, const struct function_version *, const struct metrics_call *);
void metrics_rejected(struct metrics *, const char *reason);
void metrics_http(struct metrics *, unsigned status);
void metrics_codegen(struct metrics *, uint64_t ns);
/* Chained calls of a version that have ended, from a worker (differences, not totals; the instance
 * counts are those of that worker now). */
void metrics_tally(struct metrics *, uint32_t worker, const struct function_version *,
                   const struct message_tally *);
void metrics_worker_gone(struct metrics *, uint32_t worker);
/* atoll_metric of a guest. */
void metrics_guest(struct metrics *, const struct function_version *, const char *name, size_t len,
                   double value, uint32_t kind);
/* Appends the whole text. */
int metrics_render(struct metrics *, struct buffer *out, struct error *);

/* For `atoll top` and the live page: per function totals and latency quantiles of the last minute.
 */
struct metrics_summary {
    char tenant[64], function[64];
    uint64_t calls, failed;  /* since the start */
    double calls_per_s;      /* over the last 10 s */
    uint64_t p50_ns, p99_ns; /* run + queue + restore, from the histogram's buckets */
    uint64_t hot, warm, cold;
};
uint32_t metrics_summarise(struct metrics *, struct metrics_summary *out, uint32_t max);

#endif
