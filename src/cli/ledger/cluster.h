/* A whole ledger on this machine, every replica a process of its own: for `bench` and `demo`. */
#ifndef CLI_LEDGER_CLUSTER_H
#define CLI_LEDGER_CLUSTER_H

#include "ledger/log/log.h"
#include "ledger/service/local.h"

#include <sys/types.h>

struct cluster {
    char directory[512];
    struct ledger_local_settings settings;
    enum ledger_log_mode mode;
    const char *program; /* the `atoll` that replicas run; this one, unless a test says otherwise */
    struct buffer genesis;
    pid_t replicas[LEDGER_REPLICAS_MAX];      /* 0: not running */
    uint16_t http_ports[LEDGER_REPLICAS_MAX]; /* of their views, on the loopback */
    int lifeline[2]; /* a pipe: replicas stop when this process is gone, however it ended */
};

/* Makes the ledger in `directory` (NULL: one of its own beneath TMPDIR) on free ports and starts
 * all replicas; returns when each says that it runs. On failure nothing is left running. */
int cluster_start(struct cluster *, const char *program, const char *directory,
                  const struct ledger_local_settings *, enum ledger_log_mode, struct error *);
/* The same with a ledger that is there already, with its own settings: it goes on. */
int cluster_continue(struct cluster *, const char *program, const char *directory,
                     enum ledger_log_mode, struct error *);
/* One replica, which is not running. */
int cluster_replica_start(struct cluster *, uint32_t number, struct error *);
/* SIGKILL. */
void cluster_replica_kill(struct cluster *, uint32_t number);
/* SIGTERM to all, waits. With `remove`, the directory goes too. */
void cluster_stop(struct cluster *, bool remove);

/* What a running replica says of itself, over HTTP. */
struct cluster_status {
    uint64_t phase, view, batch_committed; /* enum ledger_phase */
};
int cluster_status(const struct cluster *, uint32_t number, struct cluster_status *,
                   struct error *);

/* CPU time so far of a replica, by thread name ("loop" for its first), in ns; false when it is
 * gone.
 */
struct cluster_cpu {
    int64_t loop_ns, verify_ns, log_ns, checkpoint_ns, other_ns;
};
bool cluster_cpu(const struct cluster *, uint32_t number, struct cluster_cpu *);

#endif
