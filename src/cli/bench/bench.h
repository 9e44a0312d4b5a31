/*
 * `atoll bench`: what a node does, measured from where its users stand.
 *
 * Each topic (a file of this folder) starts a node of its own on an empty data directory and a free
 * port, deploys the functions of share/atoll/sdk/bench, measures in rounds and adds figures; the
 * command prints them in one table at the end. A figure names its bar, when the specification sets
 * one (section 14), and says whether it was met: a bar that was missed is told, not an error. What
 * cannot be had here (nginx, node) is skipped by name.
 *
 * Anything that keeps a measurement from being made ends the command with bench_fail; the node dies
 * with it, and its directory goes (cli/scratch.h).
 */
#ifndef CLI_BENCH_BENCH_H
#define CLI_BENCH_BENCH_H

#include "base/bytes.h"
#include "cli/bench/measure.h"

#include <sys/types.h>

struct figures;

struct figure {
    const char *topic, *name, *unit;
    double value, low, high; /* the middle one, and the least and the most of the rounds */
    double bar;              /* NAN: none */
    bool at_least;           /* the bar is a least, not a most */
    const char *peer;        /* NULL: none */
    double ratio;            /* to the peer's figure of the same run; NAN: none */
};

struct bench {
    struct figures *figures;
    double seconds; /* of a round of load */
    bool full;      /* sizes of the specification; else smaller ones, which the names tell */
};

/* ---- figures (figures.c) ---- */
struct figures *figures_create(void);
void figures_add(struct figures *, const struct figure *); /* copies */
/* One number, without a spread. */
void figures_note(struct figures *, const char *topic, const char *name, const char *unit,
                  double value);
/* The middle of the samples with their spread, scaled. Frees them. */
void figures_samples(struct figures *, struct figure, struct samples *, double scale);
void figures_skip(struct figures *, const char *name, const char *reason);
void figures_print(const struct figures *);
void figures_print_json(const struct figures *);
void figures_free(struct figures *);

/* ---- a node (node.c) ---- */
struct bench_node {
    pid_t pid;
    uint16_t port;
    char url[64], directory[192];
    struct http_client *client;
};

/* Starts one in a directory of its own; settings: "key=value" texts, NULL-terminated, or NULL. */
void bench_node_start(struct bench_node *, const char *const *settings);
void bench_node_stop(struct bench_node *);
/* Another client of a node, for another thread. */
void bench_node_join(struct bench_node *out, const struct bench_node *);
void bench_node_leave(struct bench_node *);
/* Deploys share/atoll/sdk/bench/SOURCE.c under a name, with lines of a manifest ("" = none). */
void bench_deploy(const struct bench_node *, const char *source, const char *name,
                  const char *manifest);
/* The same for a module. */
void bench_deploy_module(const struct bench_node *, const char *path, const char *name,
                         const char *manifest);
/* Runs a command line (the first word is found by PATH), its standard output to the file, if not
 * NULL. */
void bench_command(const char *const *arguments, const char *output);
/* How one call went. output: freed by the caller with buffer_free. */
struct bench_reply {
    unsigned status;
    struct buffer output;
    double wall_us;    /* from the client's side */
    double restore_us; /* from the server's: until the instance was there */
    char temperature[8];
};
/* start: NULL, "fresh" or "cold" (the header Atoll-Start). */
void bench_call(struct bench_node *, const char *function, const char *input, const char *start,
                struct bench_reply *);
void bench_call_bytes(struct bench_node *, const char *function, const void *input, size_t len,
                      const char *start, struct bench_reply *);
/* bench_call, and anything but 200 ends the program. */
void bench_call_good(struct bench_node *, const char *function, const char *input,
                     const char *start, struct bench_reply *);
/* Calls an act of the function "probe" that puts out times; adds them in microseconds. */
void bench_times(struct bench_node *, const char *act, uint32_t n, struct samples *us);
/* How long an act takes that puts out a number, in ms; another number than `wanted` ends the
 * program. */
double bench_act_ms(struct bench_node *, const char *act, uint32_t n, const char *wanted);
/* Starts `count` calls without waiting. */
void bench_batch(struct bench_node *, const char *function, const char *input, uint32_t count);
/* A value of 8 bytes in state. */
double bench_state_u64(struct bench_node *, const char *key);
/* A number of the node's summary (GET /v1/top). */
double bench_top(struct bench_node *, const char *name);

/* Memory of the node's workers. */
struct bench_memory {
    double pss_kib, tables_kib; /* PSS of smaps_rollup; VmPTE */
    uint32_t workers;
};
void bench_memory(const struct bench_node *, struct bench_memory *);

/* ---- modules and programs (sources.c) ---- */
/* Builds share/atoll/sdk/bench/SOURCE.c into the node's directory; path: room for the module's. */
void bench_source_module(const struct bench_node *, const char *source, char path[static 256]);
/* Builds share/atoll/examples/SOURCE for guests, with -O3. */
void bench_example_module(const struct bench_node *, const char *source, char path[static 256]);
/* Builds it for this machine with the same compiler, -O3 and the processor level that guests are
 * compiled for. flags: further ones, NULL-terminated, or NULL. */
void bench_example_native(const struct bench_node *, const char *source, const char *const *flags,
                          char path[static 256]);

/* ---- topics ---- */
void bench_cold(struct bench *);
void bench_chain(struct bench *);
void bench_http(struct bench *);
void bench_state(struct bench *);
void bench_density(struct bench *);
void bench_training(struct bench *);
void bench_inference(struct bench *);
void bench_churn(struct bench *);
void bench_deadline(struct bench *);

#endif
