/*
 * A whole ledger on one machine: keys, genesis and a directory for each of its replicas, for
 * demonstrations, benchmarks and tests. Every replica has a member of its own.
 *
 *   DIR/genesis
 *   DIR/replica-I/genesis, replica.key      what ledger_server_open wants
 *   DIR/replica-I/member.key                who answers for it
 */
#ifndef LEDGER_SERVICE_LOCAL_H
#define LEDGER_SERVICE_LOCAL_H

#include "ledger/service/genesis_draft.h"

struct ledger_local_settings {
    struct genesis_terms terms;
    uint32_t replicas; /* LEDGER_REPLICAS_MIN … LEDGER_REPLICAS_MAX */
    uint16_t first_port;
};

/* Four replicas, P = 4, batches of 800, a checkpoint every 1,000, 2 s, 500,000 accounts. */
void ledger_local_defaults(struct ledger_local_settings *);

/* Makes all of it in a directory that is made where it is missing. ATOLL_EEXIST when there is a
 * ledger already; ATOLL_EINVAL for settings out of range; what the disk says. */
int ledger_local_make(const char *directory, const struct ledger_local_settings *, struct error *);

/* The settings of the ledger in a directory, but for its name and ports. ATOLL_ENOENT when there is
 * none, ATOLL_ECORRUPT, what the disk says. */
int ledger_local_read(const char *directory, struct ledger_local_settings *, struct error *);

/* TCP ports on the loopback that nothing listens at, `count` in a row; 0 when there are none. */
uint16_t ledger_local_ports(uint32_t count);

#endif
