/* For tests that compare the ledgers of a cluster: when they can be compared, by what the replicas
 * say and what lies in their directories, however busy the machine is. */
#ifndef LEDGER_REST_H
#define LEDGER_REST_H

#include "cli/ledger/cluster.h"
#include "cli/ledger/source.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#define REST_WAITS 1200 /* of 50 ms */
#define REST_QUIET 20   /* in a row */

static inline void rest_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
}

/* The last committed batch of a replica; 0 while it does not answer. */
static inline uint64_t rest_committed(const struct cluster *c, uint32_t replica)
{
    struct cluster_status status;
    struct error ignored;
    return cluster_status(c, replica, &status, &ignored) == 0 ? status.batch_committed : 0;
}

/* Until nobody commits anything for a second, and nobody is behind by more than the last batches:
 * those are EMPTY ones, and nobody misses their commits. */
static inline bool rest_wait(const struct cluster *c, struct error *e)
{
    uint64_t last[LEDGER_REPLICAS_MAX] = {0}, least = 0, most = 0;
    for (int i = 0, quiet = 0; i < REST_WAITS; i++) {
        bool moved = false;
        least = UINT64_MAX;
        most = 0;
        for (uint32_t k = 0; k < c->settings.replicas; k++) {
            uint64_t batch = rest_committed(c, k);
            moved = moved || batch != last[k] || batch == 0;
            last[k] = batch;
            least = batch < least ? batch : least;
            most = batch > most ? batch : most;
        }
        quiet = moved || least + c->settings.terms.pipeline < most ? 0 : quiet + 1;
        if (quiet == REST_QUIET)
            return true;
        rest_nap();
    }
    error_set(e, ATOLL_ETIMEDOUT,
              "the replicas do not come to rest: they have committed %" PRIu64 " to %" PRIu64
              " batches",
              least, most);
    return false;
}

static inline int rest_entry(void *context, uint64_t position, uint8_t type, struct slice payload,
                             struct error *e)
{
    (void)context;
    (void)position;
    (void)type;
    (void)payload;
    (void)e;
    return 0;
}

/* Until no entry of a replica's ledger is still to come: it may have jumped over some. */
static inline bool rest_whole_wait(const struct cluster *c, uint32_t replica, struct error *e)
{
    char path[640];
    struct source source;
    snprintf(path, sizeof path, "%s/replica-%u", c->directory, replica);
    for (int i = 0; i < REST_WAITS; i++) {
        int rc = source_open(path, &source, e);
        if (rc == 0)
            rc = source_visit(&source, 0, UINT64_MAX, NULL, rest_entry, NULL, e);
        source_close(&source);
        if (rc == 0)
            return true;
        rest_nap();
    }
    return false;
}

/* Both, of all. */
static inline bool rest_all(const struct cluster *c, struct error *e)
{
    bool good = rest_wait(c, e);
    for (uint32_t i = 0; good && i < c->settings.replicas; i++)
        good = rest_whole_wait(c, i, e);
    return good;
}

#endif
