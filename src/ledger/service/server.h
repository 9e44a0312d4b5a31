/*
 * One replica as a process: the pure replica (ledger/replica/replica.h) with a log on the disk,
 * connections, threads for signatures and checkpoints, and a clock.
 *
 *   DIR/genesis        the genesis, as every replica has it
 *   DIR/replica.key    the signing key (crypto/secret.h): tells which replica this is
 *   DIR/log/           segments, vote log, state file
 *   DIR/checkpoints/   the last two checkpoints
 *   DIR/lives          which starts of the others are known (lives.h)
 *
 *            links ──messages──▶ replica ──records──▶ log      (a thread that writes and syncs)
 *              ▲                 │     │
 *              └────messages─────┘     ├──jobs──▶ verifier     (threads)
 *                                      └──snapshots──▶ checkpoints (a thread)
 *
 * Everything but those threads runs on the loop of the caller, who may run other things on it.
 */
#ifndef LEDGER_SERVICE_SERVER_H
#define LEDGER_SERVICE_SERVER_H

#include "ledger/log/log.h"
#include "ledger/object/genesis.h"
#include "ledger/object/proof.h"
#include "ledger/replica/replica.h"
#include "ledger/service/links.h"

struct ledger_server;

struct ledger_server_config {
    const char *directory;
    const char *passphrase; /* of the key; NULL: it is not sealed */
    const char *listen;     /* instead of the address in the genesis; NULL: that one */
    enum ledger_log_mode mode;
    unsigned verify_threads; /* 0: 1 */
    /* What people should know, one line each: a recovery, a stop, damage. May be NULL. */
    void (*tell)(void *context, const char *line);
    /* The process has to end, as its disk failed, or it is an old image of its replica; the server
     * still has to be closed. Not for a replica that votes no more, which goes on serving what it
     * has. May be NULL. */
    void (*stopped)(void *context, const char *why);
    void *context;
};

/*
 * Opens the log, brings the replica up to its end, and begins to take part. What config points to
 * is copied, but for the context. ATOLL_ENOENT: no genesis or key there. ATOLL_EPERM: the key is
 * not of a replica of this genesis. ATOLL_EBUSY: another process runs this replica. ATOLL_ECORRUPT,
 * ATOLL_EIO, ATOLL_EUNAVAIL, ATOLL_ENOMEM.
 */
int ledger_server_open(uv_loop_t *, const struct ledger_server_config *, struct ledger_server **,
                       struct error *);
/* Stops taking part and writes what is left; freed when the loop has closed the handles, and then
 * `closed` is called (may be NULL). */
void ledger_server_close(struct ledger_server *, void (*closed)(void *context), void *context);

uint16_t ledger_server_number(const struct ledger_server *);
const struct ledger_genesis *ledger_server_genesis(const struct ledger_server *);
/* For looking in, and for whoever answers requests on the same loop (the HTTP view). */
struct ledger_replica *ledger_server_replica(struct ledger_server *);
struct ledger_log *ledger_server_log(struct ledger_server *);
/* The file of the proof of this type against a replica, if one is kept (object/proof.h): replaces
 * what is in `out`. ATOLL_ENOENT: none is. ATOLL_ESIZE, ATOLL_EIO, ATOLL_ENOMEM. */
int ledger_server_proof(const struct ledger_server *, enum ledger_proof_type, uint16_t replica,
                        struct buffer *out, struct error *);
/* What the replica replies to connections whose number has this bit goes to `reply`; the links
 * never give such a number. It may come from within ledger_on_client and must not call the replica.
 * NULL: dropped. */
#define LEDGER_SERVER_CONNECTION (UINT64_C(1) << 63)
void ledger_server_replies(struct ledger_server *,
                           void (*reply)(void *context, uint64_t connection,
                                         const struct slice *parts, unsigned count),
                           void *context);
struct links_counts ledger_server_links(const struct ledger_server *);

#endif
