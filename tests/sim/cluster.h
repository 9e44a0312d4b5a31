/*
 * A simulated service: machines that run the production core of a replica on simulated disks,
 * clients that run the production core of a client, one network, and those who watch and judge.
 *
 *   client ── line ──┐                      ┌── storage: disk, gaps
 *                    ├── network ── machine ┼── stages (verify, digest: done at some later time)
 *   machine ─────────┘             │        └── ledger_replica, unchanged object files
 *                                  └── witness: sees all that a correct machine signs, sends,
 *                                      writes and commits
 *
 * Endpoints of the network are numbered: machines first (machine i runs replica i; machines from N
 * on are twins, a second body of a faulty replica with its keys), then clients, then a client who
 * lies.
 */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "bank.h"
#include "coverage.h"
#include "disk.h"
#include "ledger/kv/checkpoint.h"
#include "ledger/kv/procedure.h"
#include "ledger/object/message.h"
#include "ledger/object/receipt.h"
#include "ledger/replica/replica.h"
#include "network.h"
#include "signature.h"
#include "table.h"
#include "world.h"

#define SIM_MACHINES_MAX    32
#define SIM_CLIENTS_MAX     8
#define SIM_REQUESTS_MAX    64 /* of one client */
#define SIM_CHECKPOINTS_MAX 3
#define SIM_PENDING_MAX     64 /* digests being computed */
#define SIM_BATCH_USUAL     12 /* transactions at most; rarely more */

struct sim_witness;
struct sim_adversary;

/* What a run is like; drawn from the seed where the command line leaves it open. */
struct sim_options {
    uint64_t seed;
    unsigned replicas; /* N */
    unsigned faulty;   /* how many of them lie */
    enum sim_crypto crypto;
    bool liveness; /* after the faults everything heals and every request must finish */
    bool trace;
    const char *trick; /* the only thing that faulty replicas do; NULL: drawn */
};

/* A checkpoint as it would lie in a file: its chunks. */
struct sim_checkpoint {
    struct ledger_checkpoint at;
    uint8_t digest[HASH_LEN];
    uint32_t chunks;
    struct buffer *chunk;
};

/* One whose digest is being computed. */
struct sim_pending {
    struct ledger_checkpoint at;
    struct kv_checkpoint *store; /* NULL: free */
};

/* What a jump left out, and up to where it has come since. */
struct sim_gap {
    size_t jump; /* the record that left it: another jump to the same place is another gap */
    struct merkle_frontier from, now, goal;
};

#define SIM_GAPS_MAX 16

struct sim_machine {
    struct sim_cluster *cluster;
    unsigned number;  /* endpoint */
    uint16_t replica; /* whose key it holds */
    bool correct;
    struct ledger_replica *core; /* NULL: it is down */
    uint32_t life; /* how often it was started: what belongs to an earlier life is dropped */
    bool restart_planned;
    bool quarantine; /* the power failed under asynchronous durability, and it has not rejoined */
    bool damaged;    /* its log once lost what was durable */
    struct sim_disk disk;
    uint64_t synced_at_us; /* the last planned sync ends then */
    size_t *entry;         /* record of the disk that holds the entry at a position */
    size_t entries, entry_capacity;
    struct sim_gap gap[SIM_GAPS_MAX]; /* ascending */
    unsigned gaps;
    uint64_t *batch; /* position of the PP of batch s, where it was seen last */
    size_t batch_capacity;
    uint32_t timer_version[LEDGER_TIMERS];
    uint64_t timer_at_us[LEDGER_TIMERS]; /* by its own clock; 0: not set */
    uint64_t clock_ahead_us;
    uint32_t clock_rate; /* in a thousand of the world's */
    bool settle_planned;
    uint32_t accepted[SIM_ENDPOINTS_MAX];                  /* how often an endpoint connected */
    struct sim_checkpoint checkpoint[SIM_CHECKPOINTS_MAX]; /* oldest first */
    unsigned checkpoints;
    struct sim_pending pending[SIM_PENDING_MAX];
    struct ledger_status status; /* after the last event */
};

struct sim_client;

/* A connection between a client and a machine. */
struct sim_line {
    bool standing, dialling;
    uint64_t backoff_us;
};

struct sim_cluster {
    struct sim_options options;
    struct sim_world world;
    struct sim_network network;
    struct sim_signatures signatures;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    unsigned replicas, faulty_max, quorum; /* N, f, Q */
    uint64_t faulty_set;                   /* bitmap of replicas */
    bool async;                            /* durability of pp, Prepare, certificates */
    bool clocks_differ;
    bool stormy;         /* many short faults of the network: view after view */
    uint64_t pool_bytes; /* of a replica, 0: plenty; requests of a client in it */
    uint32_t pool_per_client;
    uint64_t reach[SIM_CLIENTS_MAX]; /* bitmap: the machines that a client knows of */
    /* Loss of messages between replicas by their type, in a thousand, on their way to a set. */
    uint16_t typed_loss[LEDGER_MESSAGE_RELAY + 1];
    uint64_t typed_to;
    unsigned machines;
    struct sim_machine machine[SIM_MACHINES_MAX];
    unsigned bank_groups;
    unsigned clients;
    struct sim_client *client[SIM_CLIENTS_MAX];
    struct sim_line line[SIM_CLIENTS_MAX][SIM_MACHINES_MAX];
    struct sim_witness *witness;
    struct sim_adversary *adversary;
    uint32_t stage_low_us, stage_high_us; /* how long verify and digest jobs take */
    struct sim_table digests; /* of checkpoints, by pp_hash; of the genesis state, by zeros */
    struct sim_coverage coverage;
};

/* ---- the whole ---- */

/* Runs one seed from beginning to end. The verdict is in world.violation. */
void sim_cluster_run(struct sim_cluster *, const struct sim_options *);
void sim_cluster_close(struct sim_cluster *);
/* Faulty replicas are more than the protocol bears: only what each correct replica owes alone
 * holds. */
static inline bool sim_cluster_overrun(const struct sim_cluster *c)
{
    return (unsigned)__builtin_popcountll(c->faulty_set) > c->faulty_max;
}
static inline struct sim_client *sim_cluster_client_at(const struct sim_cluster *c,
                                                       unsigned endpoint)
{
    return c->client[endpoint - c->machines];
}

/* ---- machines (machine.c) ---- */

void sim_machine_open(struct sim_machine *, struct sim_cluster *, unsigned number, uint16_t replica,
                      bool correct);
void sim_machine_close(struct sim_machine *);
/* Starts the core from what is on the disk. */
void sim_machine_start(struct sim_machine *);
/* The process dies; with power, what is not durable may be lost. Starts again after restart_us, or
 * stays down (0). */
void sim_machine_crash(struct sim_machine *, bool power, uint64_t restart_us);
/* As a crash, after which its disk is empty. Only faulty machines forget. */
void sim_machine_forget(struct sim_machine *, uint64_t restart_us);
/* Its clock jumps ahead: what was to happen meanwhile is due. */
void sim_machine_clock_jump(struct sim_machine *, uint64_t ahead_us);
/* A client's connection begins, or ends. */
void sim_machine_accept(struct sim_machine *, unsigned endpoint);
void sim_machine_hang_up(struct sim_machine *, unsigned endpoint);
/* A message from another endpoint of the network. */
void sim_machine_receive(struct sim_machine *, unsigned from, const uint8_t *bytes, size_t len);
/* The last record of the disk with the entry; NULL beyond the end, or when it is missing. */
const struct sim_record *sim_machine_entry(const struct sim_machine *, uint64_t position);

/* A batch of the ledger on its disk. False: s is not in it. */
struct sim_batch {
    uint64_t position;
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
};
bool sim_machine_batch(const struct sim_machine *, uint64_t s, struct sim_batch *);
/* Some of its history is missing: it went on from a checkpoint of others. */
bool sim_machine_is_hollow(const struct sim_machine *);

/* ---- checkpoints (checkpoint.c) ---- */

/* The digest that correct machines found for the checkpoint of this pp; the genesis state's for
 * zeros. NULL: none did. */
const uint8_t *sim_checkpoint_digest(struct sim_cluster *, const uint8_t pp_hash[static 32]);

/* ---- clients (client.c) ---- */

/* They ask `requests` times and are done. */
struct sim_client *sim_client_create(struct sim_cluster *, unsigned number, unsigned requests);
void sim_client_destroy(struct sim_client *);
void sim_client_start(struct sim_client *);
/* A client with a receipt store dies, with what was not synced of it when the power fails, and
 * starts again after restart_us. False: it has none, or is down. */
bool sim_client_crash(struct sim_client *, bool power, uint64_t restart_us);
/* A link to a replica stands. */
void sim_client_connected(struct sim_client *, uint16_t replica);
void sim_client_receive(struct sim_client *, unsigned from, const uint8_t *bytes, size_t len);
/* Every request that it still knows of has ended, and there are no more to come. */
bool sim_client_done(const struct sim_client *);
bool sim_client_is_up(const struct sim_client *);
/* Removes the receipt stores that a process left behind when it died. */
void sim_client_sweep(long process);
/* Tells a trace what it waits for. */
void sim_client_tell(struct sim_client *);
/* Which transaction a request is; 0: none. */
typedef uint64_t sim_place(void *ctx, const uint8_t req_hash[static 32]);
/* What it asked and heard, for the judge: fills in operations, which has room for `room` of them,
 * and says how many. Where a request without an answer stands, `place` knows. */
size_t sim_client_history(struct sim_client *, struct sim_operation *operations, size_t room,
                          sim_place *place, void *ctx);
/* Every receipt that it holds. */
void sim_client_receipts(const struct sim_client *, void (*visit)(void *ctx, struct slice receipt),
                         void *ctx);

/* ---- connections of clients (line.c) ---- */

/* The client connects to every machine. */
void sim_line_dial(struct sim_cluster *, unsigned client);
/* The connection is lost; the client dials again. */
void sim_line_break(struct sim_cluster *, unsigned client, unsigned machine);
/* From a client to a machine, if they are connected. */
void sim_line_ask(struct sim_cluster *, unsigned client, unsigned machine, struct slice message);
/* From a machine to anyone; to a client only while they are connected. */
void sim_post(struct sim_cluster *, unsigned from, unsigned to, struct slice message);

/* ---- the one who watches (witness.c) ---- */

struct sim_witness *sim_witness_create(struct sim_cluster *);
void sim_witness_destroy(struct sim_witness *);
/* A correct machine signs a hash, writes a record, sends a message, has done an event. */
void sim_witness_signed(struct sim_witness *, const struct sim_machine *, const uint8_t hash[32]);
void sim_witness_wrote(struct sim_witness *, const struct sim_machine *, const struct sim_record *);
void sim_witness_sent(struct sim_witness *, const struct sim_machine *, struct slice message);
void sim_witness_moved(struct sim_witness *, const struct sim_machine *,
                       const struct ledger_status *before);
/* What a correct machine finds on its disk when it starts. */
void sim_witness_found(struct sim_witness *, const struct sim_machine *);
/* A client holds a valid receipt. */
void sim_witness_receipt(struct sim_witness *, const struct ledger_receipt *);
/* Contents of batch s that are settled, if they are: G. */
bool sim_witness_settled(const struct sim_witness *, uint64_t s, uint8_t g[static 32]);

/* ---- the one who judges at the end (judge.c) ---- */

void sim_judge(struct sim_cluster *);

/* ---- those who lie (adversary.c) ---- */

struct sim_adversary *sim_adversary_create(struct sim_cluster *);
void sim_adversary_destroy(struct sim_adversary *);
void sim_adversary_start(struct sim_adversary *);
/* How many faulty replicas have a second body. */
unsigned sim_adversary_twins(const struct sim_adversary *);
/* What the core of a faulty machine wants sent to an endpoint; the adversary sends what it likes.
 */
void sim_adversary_send(struct sim_adversary *, struct sim_machine *, unsigned to,
                        struct slice message);
/* Whether a message is let through to the core of a faulty machine. */
bool sim_adversary_admits(struct sim_adversary *, struct sim_machine *, unsigned from,
                          struct slice message);
/* Whether a message between replicas is lost because the adversary, who rules the network when he
 * hoards, wants it. */
bool sim_adversary_blocks(const struct sim_adversary *, unsigned to, struct slice message);
/* A message for the adversary's own endpoint, that of a client who lies. */
void sim_adversary_hear(struct sim_adversary *, unsigned from, struct slice message);
/* Which bodies of replica `to` a message for it reaches: a bitmap of machines. */
uint64_t sim_adversary_bodies(struct sim_adversary *, unsigned from, uint16_t to);
/* Names of all tricks of replicas, and lies of clients, ended by NULL. */
const char *const *sim_adversary_tricks(void);
const char *const *sim_lie_names(void);

/* ---- for a trace (tell.c) ---- */

void sim_tell_message(struct sim_world *, unsigned from, unsigned to, struct slice message);
void sim_tell_machines(struct sim_cluster *);

/* ---- what goes wrong (fault.c) ---- */

/* Plans faults until `until_us`. */
void sim_fault_start(struct sim_cluster *, uint64_t until_us);
/* Ends all faults, starts what is down. Faulty replicas go on lying. */
void sim_fault_heal(struct sim_cluster *);
/* Names of all faults, ended by NULL. */
const char *const *sim_fault_names(void);

#endif
