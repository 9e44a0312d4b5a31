/* What struct ledger_log is made of, for the files of this folder: log.c (the owner's calls),
 * read.c and frontier.c (what they need of the past), gap.c (jumps), recover.c and examine.c
 * and repair.c (opening), replay.c, turn.c (where one segment ends and the next begins), writer.c
 * (the thread that writes). */
#ifndef LEDGER_LOG_CORE_H
#define LEDGER_LOG_CORE_H

#include "ledger/log/log.h"
#include "ledger/log/segment.h"
#include "ledger/log/state_file.h"
#include "ledger/log/vote_log.h"

#include <pthread.h>

#define FRONTIERS 64 /* of late, to roll back to */
#define SIGNED    (LEDGER_SIGNED_NEW_VIEW + 1)

enum spare_state {
    SPARE_NONE,
    SPARE_WANTED, /* the writer is to make it */
    SPARE_READY,
    SPARE_FAILED, /* the disk is full */
};

/* A segment's file. */
struct log_name {
    uint64_t part; /* that it begins with: where the gap begins; of the log's own: 0 */
    uint64_t serial, position;
};

struct log_names {
    struct log_name *list;
    size_t count, capacity;
};

/* A gap that a jump left, and what fills it (gap.c). */
struct log_gap {
    uint64_t from, until;
    const struct segment *behind; /* begins at `until`; has the frontiers at both ends */
    /* As long as something is missing, or closed in order on the disk: the part of the log that
     * takes it. NULL: nothing of it is there yet, or nothing is missing. */
    struct ledger_log *part;
    struct log_files files;
    /* Afterwards its segments, closed and by position; NULL: something is missing. */
    struct segment **filled;
    size_t filled_count;
};

/* What a log that is a part has to be. */
struct log_part_of {
    const struct merkle_frontier *origin; /* it begins with this frontier */
    uint64_t until;                       /* … and reaches to here when nothing is missing */
    /* Its segments' names, when they are known, by serial: else they are looked for. */
    const struct log_names *names;
};

struct ledger_log {
    struct ledger_log_config config;
    struct log_files files;
    char machine[STATE_MACHINE_SIZE];

    /* The owner's. */
    struct segment **segments; /* by serial; the last is open */
    size_t segment_count, segment_capacity;
    struct segment *reading; /* an old one whose file is open for reading */
    uint64_t end;            /* of the ledger */
    struct merkle_frontier frontier;
    struct merkle_frontier frontiers[FRONTIERS]; /* before entries other than TX; a ring */
    unsigned frontier_next;
    struct log_gap *gaps; /* ascending */
    size_t gap_count, gap_capacity;
    size_t gaps_filled; /* the first so many have `filled`: what is missing is behind them */
    /* By `what`: the greatest mark of what was signed; len 0: none. */
    uint8_t signed_marks[SIGNED][LEDGER_SIGNED_LEN];
    bool signed_there[SIGNED];

    /* Under the mutex, as are the pending and flying bytes of segments and of the vote log. */
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    bool thread_runs, stop;
    bool busy;        /* a round or a mark is under way: the writer's things are its alone */
    bool thread_next; /* the thread waits for the end of the owner's round */
    bool unattended;  /* the thread sleeps for good: somebody has to tell it that there is more */
    bool sealed;      /* all segments are closed, or about to be: nothing is appended any more */
    pthread_t thread;
    size_t unwritten;  /* segments before this one are closed and on the disk */
    uint64_t appended; /* lsn */
    uint64_t wanted;   /* lsn that is wanted durable */
    uint64_t durable;  /* lsn */
    uint64_t forced;   /* lsn of the last record that async mode synchronises, too */
    uint64_t pending_bytes;
    uint64_t segment_first, vote_first; /* lsn of the first pending record, 0: none */
    enum spare_state spare;
    uint64_t spare_bytes; /* of the spare segment */
    int spare_file;
    struct vote_log votes;
    bool compact_wanted;
    bool compact_failed; /* the disk was full: not again before somebody needs the room */
    uint64_t vote_need;  /* bytes of the vote that waits for room */
    int failure;         /* negative code: the log has failed for good */
    struct error failure_error;

    /* The writer's: of whoever made `busy` true; the owner's before the thread runs and after it
     * ended. */
    int64_t written_at_ns;              /* when the last round ended */
    uint64_t segment_dirty, vote_dirty; /* lsn of the first record written and not synchronised */
    uint64_t vote_synced;               /* lsn up to which votes were synchronised */
    uint64_t mark_serial, mark_offset;  /* as far as segments were synchronised */
    uint64_t mark_generation, mark_votes;
    uint64_t written_offset; /* of the open segment; of the vote log */
    uint64_t written_votes;
    struct segment *written_segment;
    int64_t marked_at_ns;
    unsigned unmarked; /* synchronisations since the last mark */

    pthread_mutex_t state_mutex;
    struct state_slot state; /* as it was written last */
    int state_file;
};

/* Writes the next slot of the state file, durable when it returns. Under the state's mutex. */
int log_state_write(struct ledger_log *, struct error *);

/* ---- log.c ---- */

void log_signed_note(struct ledger_log *, const uint8_t *payload);
uint64_t log_vote_bytes(const struct ledger_log *);

/* ---- turn.c ---- */

/* A segment without a file, and room for it at the end of the list; it is not in the list. NULL:
 * no memory. */
struct segment *log_segment_make(struct ledger_log *);
/* Closes its file, if that is open. */
void log_segment_shut(struct ledger_log *, struct segment *);
/* Begins the log's first segment, or one behind another that is closed, in a file. */
int log_segment_begin(struct ledger_log *, uint64_t previous_end, int file, struct error *);
/* Closes the open segment and begins the next, with room for a record of so many bytes; `at`, when
 * it is not NULL, is where the ledger goes on, beyond its end. On an error nothing has changed. */
int log_segment_turn(struct ledger_log *, uint64_t record, const struct merkle_frontier *at,
                     struct error *);
/* Closes the last segment, and the log with it: nothing is appended any more. Done when
 * everything is durable. ATOLL_ENOMEM. */
int log_segments_seal(struct ledger_log *, struct error *);

/* ---- gap.c ---- */

/* Finds the gaps of a log that was opened, and what of them is filled; these segments of parts are
 * there, by part and serial. */
int log_gaps_open(struct ledger_log *, const struct log_names *parts, struct error *);
/* Lets go of what a gap needed to be filled, if that is done. */
void log_gaps_settle(struct ledger_log *);
void log_gaps_close(struct ledger_log *, bool orderly);
/* The ledger ends at `position` now: gaps beyond it are none any more. */
void log_gaps_rollback(struct ledger_log *, uint64_t position);
/* The gap that ends where this segment begins, when nothing of it is missing; else NULL. */
const struct log_gap *log_gap_before(const struct ledger_log *, const struct segment *);
/* The gap that a position lies in; NULL: none. */
const struct log_gap *log_gap_of(const struct ledger_log *, uint64_t position);
/* The segment of a filled gap that has this entry of it. */
struct segment *log_gap_segment(const struct log_gap *, uint64_t position);

/* ---- frontier.c ---- */

/* Keeps the frontier as it is, to roll back to. */
void log_frontier_keep(struct ledger_log *);
/* The frontier of the first `position` entries: a kept one, or computed. */
int log_frontier_find(struct ledger_log *, uint64_t position, struct merkle_frontier *out,
                      struct error *);
/* … from a segment's head and the entries behind it. */
int log_frontier_at(struct ledger_log *, uint64_t position, struct merkle_frontier *out,
                    struct error *);
/* The ledger ends with this frontier now. */
void log_frontier_take(struct ledger_log *, const struct merkle_frontier *);
/* Finds and takes the frontier of the first `position` entries. */
int log_frontier_back(struct ledger_log *, uint64_t position, struct error *);

/* ---- writer.c ---- */

/* One round of writing and synchronising what was asked for; false when there was nothing to do.
 * The mutex is not held. */
bool log_writer_round(struct ledger_log *);
/* Waits for the end of a round of the thread, or does one when there is none. Under the mutex,
 * which is open meanwhile. */
void log_writer_await(struct ledger_log *);
/* Async mode: writes what is pending on the owner's thread, when that is all there is to do and the
 * thread is doing nothing. False: the thread has to. */
bool log_writer_at_once(struct ledger_log *);
void *log_writer_main(void *log);
/* Waits until the thread has ended, if it runs. */
void log_writer_end(struct ledger_log *);
/* Writes a new generation of the vote log from the records kept. */
int log_votes_compact(struct ledger_log *, struct error *);
/* Makes the marks of the state file exact. */
int log_mark(struct ledger_log *, struct error *);

#endif
