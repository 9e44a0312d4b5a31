/*
 * Stretches of the ledger that are not its growing end: entries from peers that nobody has vouched
 * for yet (fragment.c), and what comes of them (transfer.c, install.c, backlog.c, replay.c);
 * histories that the ledger left (abandoned.c); where old batches lie (locate.c).
 *
 * Part of core.h.
 */
#ifndef LEDGER_REPLICA_HISTORY_H
#define LEDGER_REPLICA_HISTORY_H

#include "ledger/kv/checkpoint.h"
#include "ledger/replica/batches.h"

struct ledger_replica;
struct job;

/* Fetched history that is not vouched for yet. */
#define TRANSFER_BYTES_MAX   (96u << 20)
#define TRANSFER_ENTRIES_MAX (LEDGER_BATCH_MAX * (2 * LEDGER_PIPELINE_MAX + 4))
#define TRANSFER_STALL_US    10000000 /* a source without a vouched batch for so long is left */
#define BACKLOG_SILENCE_US   1000000  /* … or without an answer */

/* ---- from peers ---- */

/* Entries from a peer, which nobody has vouched for yet (fragment.c). */
struct fragment {
    struct merkle_frontier before; /* of the ledger tree at its first entry */
    uint64_t held;                 /* entries */
    struct buffer entries;         /* u8 type | u32 len | payload of each */
    uint64_t end;                  /* where the source's ledger ends, as it says */
    uint16_t source;
    uint64_t banned; /* replicas that sent what does not fit */
    uint64_t asked_at;
    uint64_t begun_at; /* when we began to gather from this source */
    bool waiting;      /* for what was asked for last */
    bool job_out;
    uint64_t generation; /* grows whenever what is held is thrown away */
};

/* A place in a fragment at which the ledger may end. */
struct stop {
    bool found;
    bool is_new_view;
    uint64_t s, view;
    uint8_t hash[HASH_LEN]; /* of the pp, or of the NewView */
    size_t offset;          /* behind its last entry */
    uint64_t entries;       /* up to there */
};

/* Goes through the entries of a fragment. */
struct walk {
    const uint8_t *at, *end;
    uint64_t position;
    uint8_t type;
    struct slice payload;
};

/* History that is being fetched, behind what is final here, until a batch is vouched for. */
struct transfer {
    bool active;
    uint64_t from_s; /* the batch behind which it begins */
    struct fragment fragment;
    bool has_target;
    uint64_t target_s;
    bool target_committed;         /* evidence vouches for it, not only a view change */
    uint8_t target_link[HASH_LEN]; /* the pp_hash of batch target_s, or of a NewView after it */
};

/* What a peer was asked of a checkpoint. */
struct chunk_asked {
    bool out;
    uint32_t number;         /* of kv_transfer_chunk */
    uint64_t at, idle_until; /* when; not asked again before */
    bool has_origin;
    struct merkle_frontier origin; /* as it says */
};

/* A checkpoint of others that is being taken over (install.c). */
struct install {
    bool active;
    uint64_t s, vouched_s; /* its batch; the batch whose pp names its digest */
    uint8_t digest[HASH_LEN];
    struct kv_transfer *store;
    struct chunk_asked *asked; /* of every replica */
    uint64_t banned;           /* replicas that sent what does not fit */
    bool has_origin, whole;    /* the store is */
    struct fragment fragment;  /* from the origin on */
    unsigned turn;             /* who is asked first */
    uint64_t progress_at, origins_at;
};

/* The entries that a checkpoint left out, which come in the background (backlog.c). */
struct backlog {
    bool active;
    uint64_t paused_until; /* nothing is asked for before */
    struct merkle_frontier goal;
    struct fragment fragment;
};

/* fragment.c */
struct walk walk_start(const struct fragment *);
bool walk_next(struct walk *);
void fragment_begin(struct ledger_replica *, struct fragment *, const struct merkle_frontier *);
void fragment_ask(struct ledger_replica *, struct fragment *, uint64_t until, uint32_t max_bytes,
                  const uint8_t *link);
void fragment_other_source(struct ledger_replica *, struct fragment *);
void fragment_ban(struct ledger_replica *, struct fragment *);
bool fragment_is_silent(struct ledger_replica *, const struct fragment *);
bool fragment_expects(const struct fragment *, uint16_t from, uint64_t position);
bool fragment_take(struct ledger_replica *, struct fragment *, struct ledger_list entries);
bool fragment_check_signatures(struct ledger_replica *, struct fragment *, size_t from);
struct stop fragment_find_link(const struct fragment *, const uint8_t link[static HASH_LEN]);
struct stop fragment_find_evidence(const struct ledger_replica *, const struct fragment *,
                                   struct ledger_pp *, struct slice *evidence);
bool fragment_holds(const struct fragment *, const struct stop *);
bool fragment_check(struct ledger_replica *, struct fragment *, const struct ledger_pp *,
                    struct slice evidence);
bool fragment_checked(const struct ledger_replica *, struct fragment *, const struct job *,
                      struct stop *);

/* transfer.c */
void transfer_want(struct ledger_replica *, uint64_t s, const uint8_t link[static HASH_LEN],
                   bool committed, int source);
void transfer_message(struct ledger_replica *, uint16_t from, struct slice message);
void transfer_verified(struct ledger_replica *, struct job *);
void transfer_again(struct ledger_replica *);
bool transfer_may_stop_in(const struct ledger_replica *, uint64_t view);
void transfer_stop(struct ledger_replica *);
void transfer_committed(struct ledger_replica *, uint64_t s);

/* install.c: taking over checkpoints */
bool install_vouched(struct ledger_replica *, const struct ledger_pp *, uint16_t from);
void install_chunk(struct ledger_replica *, uint16_t from, struct slice message);
void install_entries(struct ledger_replica *, const struct ledger_entries *);
void install_entries_checked(struct ledger_replica *, bool valid);
void install_verified(struct ledger_replica *, struct job *);
void install_again(struct ledger_replica *);
void install_stop(struct ledger_replica *);
void install_answer(struct ledger_replica *, uint16_t to, const struct ledger_fetch *);

/* backlog.c: the history behind a checkpoint */
void backlog_start(struct ledger_replica *);
void backlog_entries(struct ledger_replica *, const struct ledger_entries *);
void backlog_entries_checked(struct ledger_replica *, bool valid);
void backlog_verified(struct ledger_replica *, struct job *);
void backlog_again(struct ledger_replica *);

/* Entries that are to become part of the ledger, up to a whole batch. */
struct replay {
    struct buffer evidence, vcset;
    struct buffer txs; /* u32 len and TxEntry of each */
    bool in_batch, has_vcset;
    uint32_t tx_count;
    uint64_t held; /* entries that are not in the ledger yet */
    struct ledger_pp pp;
};

/* replay.c */
int replay_entry(struct ledger_replica *, uint8_t type, struct slice payload, struct error *);
void replay_reset(struct ledger_replica *);
bool replay_is_whole(const struct ledger_replica *);

/* ---- of our own ---- */

/* Entries of a ledger, one behind the other. */
struct history {
    uint64_t from, count;  /* position of the first, and how many */
    struct buffer entries; /* u8 type | u32 len | payload of each */
};

/* Evidence of a batch that was taken back. */
struct kept_evidence {
    uint64_t stamp; /* when it was kept; 0: unused */
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    struct buffer evidence;
};

/* What the ledger left and a view change may ask for (abandoned.c). */
struct abandoned {
    struct history kept;    /* from what was final to what our tip stands on */
    uint8_t link[HASH_LEN]; /* … which this names */
    struct kept_evidence *evidences;
    uint64_t evidence_clock;
    /* While the log is read: the ledger's end since what is final, and what rollbacks ended. */
    struct history tail, *found;
    size_t tail_trim, found_bytes;
    unsigned found_count;
};

/* abandoned.c: histories that the ledger left */
void abandoned_keep(struct ledger_replica *, uint64_t position);
void abandoned_keep_evidence(struct ledger_replica *, struct slot *);
void abandoned_recover_entry(struct ledger_replica *, uint8_t type, uint64_t position,
                             struct slice payload);
void abandoned_recover_rollback(struct ledger_replica *, uint64_t position);
void abandoned_start(struct ledger_replica *);
bool abandoned_write(struct ledger_replica *, const struct ledger_fetch *, size_t bytes_max);
bool abandoned_restore(struct ledger_replica *, const uint8_t link[static HASH_LEN]);
bool abandoned_recall_evidence(struct ledger_replica *, struct slot *);
bool abandoned_write_evidence(struct ledger_replica *, const uint8_t pp_hash[static HASH_LEN]);
void abandoned_free(struct ledger_replica *);

/* locate.c */
int batch_locate(const struct ledger_replica *, uint64_t s, uint64_t *position, struct ledger_pp *,
                 struct error *);

uint64_t index_locate(const struct ledger_replica *, uint64_t index);

#endif
