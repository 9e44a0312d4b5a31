/*
 * The log of a replica (spec/ledger §4.1): every record it writes, in the order in which it wrote
 * them, and what of it is on the disk.
 *
 * ENTRY, ROLLBACK and SIGNED go to segments (segment.h), CERTIFICATE, VIEW_CHANGE and NEW_VIEW to
 * the vote log (vote_log.h), and the state file (state_file.h) says how far both were durable and
 * how often this replica was started. Records have log sequence numbers (lsn), counted from 1 in
 * each process.
 *
 * Appending copies the record and returns; a thread of the log's own (in async mode, where it is
 * little, ledger_log_sync) writes, synchronises what was asked for with one fdatasync per file
 * (many requests share it) and calls `wake`, whereupon the owner calls ledger_log_complete. Reading
 * an entry back finds it on its way, too. Everything but `wake` happens on the owner's thread.
 *
 * Failures. A full disk refuses records (ATOLL_ELIMIT) and so does a lack of memory (ATOLL_ENOMEM);
 * both leave the rest as it was, and the same record may be tried again. Every other failure to
 * write or synchronise is final: what is on the disk is then unknown, so the process must end
 * without another signature; ledger_log_complete says so.
 *
 * Recovery. Behind the last whole record the log may end in the middle of one, torn by a stop. Any
 * other damage, a bad record with a good one behind it or below what was durable for certain, is
 * corruption: it is reported and stays as it is; the replica must not vote before it has the range
 * from others. Formats, and why this never shortens what was signed: segment.h.
 */
#ifndef LEDGER_LOG_LOG_H
#define LEDGER_LOG_LOG_H

#include "base/bytes.h"
#include "crypto/merkle.h"
#include "ledger/log/files.h"
#include "ledger/object/entry.h"

#define LEDGER_LOG_SEGMENT_BYTES (64u << 20)
/* Of records on their way to the disk; the owner waits for the disk beyond that. */
#define LEDGER_LOG_PENDING_MAX (256u << 20)
/* Of such, after which the log's thread writes without being asked to synchronise. */
#define LEDGER_LOG_PUSH     (256u << 10)
#define LEDGER_LOG_GAPS_MAX 16 /* gaps in which something is missing; filled ones do not count */
/* Files of segments in a directory, those that were set aside counted apart: 16 TiB of ledger. */
#define LEDGER_LOG_SEGMENTS_MAX 262144

enum ledger_log_mode {
    LEDGER_LOG_STRICT, /* durable: on the disk */
    LEDGER_LOG_ASYNC,  /* durable: handed to the kernel; VIEW_CHANGE and NEW_VIEW on the disk */
};

struct ledger_log_config {
    const struct log_files *files; /* copied; the caller closes them after the log */
    uint8_t genesis[32];
    uint32_t pipeline; /* P: certificates to keep */
    enum ledger_log_mode mode;
    uint64_t segment_bytes; /* a multiple of 4096; 0 = LEDGER_LOG_SEGMENT_BYTES */
    const char *machine;    /* names this start of the machine; NULL = the kernel's boot_id */
    /* Called by the log's thread when ledger_log_complete has something to say. */
    void (*wake)(void *context);
    void *wake_context;
    /* No thread: ledger_log_work does its work. For simulations and tests. */
    bool threadless;
    /* Only looks: changes nothing, counts no start, repairs nothing. Replay, read, end and frontier
     * work. The log may be in use by a running replica, of which it then shows a moment. */
    bool read_only;
    /* This is what fills a gap of another log, which says what it has to be (core.h). NULL: a log
     * of its own. */
    const struct log_part_of *part;
    /* Everything from this entry on is checked when the log is opened, not only its end. */
    uint64_t check_from;
};

/* What opening found. */
struct ledger_log_found {
    uint64_t starts; /* of this replica, this one included */
    bool fresh;      /* there was no log: this one is new */
    bool clean;      /* it was closed in order */
    /* What was signed may be gone: async mode, and the machine stopped under it, or damage that may
     * have taken marks of it. Stays true until ledger_log_rejoined. */
    bool quarantine;
    uint64_t torn_bytes; /* cut off at the end: a write that a stop interrupted */
    /* Damage: entries from `missing` on, if there were any, must come from others. What lay behind
     * is set aside; the SIGNED marks found there are replayed. The replica must not sign what one
     * of them names before it holds it again. */
    bool corrupt;
    uint64_t missing;
    /* Damage in the vote log: what could not be read is lost, and the replica is in quarantine. */
    bool votes_damaged;
    char what[160]; /* which file, where, what was found; for people */
};

struct ledger_log;

/* Opens or makes the log. Repairs a torn end. ATOLL_EINVAL (of another service), ATOLL_ECORRUPT
 * (not even the outlines can be read), ATOLL_ELIMIT (LEDGER_LOG_SEGMENTS_MAX, or the disk is full),
 * ATOLL_EIO, ATOLL_ENOMEM. */
int ledger_log_open(const struct ledger_log_config *, struct ledger_log **,
                    struct ledger_log_found *, struct error *);
/* Writes and synchronises what is left and marks the stop as clean; frees the log in any case. NULL
 * is allowed. Without `orderly` nothing more is written: as if the process were killed. */
int ledger_log_close(struct ledger_log *, bool orderly, struct error *);

/*
 * Gives the records in order (entries that filled a gap only when the whole gap is filled): those
 * of the segments from the one that has entry `from` on (0: all), then the votes that are kept.
 * What was signed last is among them, from wherever one begins. For the time after opening: it
 * waits until what was appended is on the disk. Ends early when visit returns a negative code, with
 * that code; ATOLL_EIO, ATOLL_ENOMEM.
 */
typedef int ledger_log_visit(void *context, enum ledger_record_kind, uint8_t entry_type,
                             uint64_t position, const void *payload, size_t len, struct error *);
int ledger_log_replay(struct ledger_log *, uint64_t from, ledger_log_visit *, void *context,
                      struct error *);

/*
 * Appends a record (the parts joined) and gives its lsn. ENTRY: `position` is the end of the ledger
 * so far; `leaf` its leaf in the ledger tree, NULL to have it computed here. ROLLBACK: `position`
 * becomes the end (ATOLL_EINVAL within what filled a gap: the checkpoint behind it vouches for
 * that). Others: ignored. ATOLL_ELIMIT: the disk is full and nothing was written.
 * ATOLL_EIO: the log has failed before. ATOLL_ENOMEM.
 */
int ledger_log_append(struct ledger_log *, enum ledger_record_kind, uint8_t entry_type,
                      uint64_t position, const struct merkle_hash *leaf, const struct slice *parts,
                      unsigned count, uint64_t *lsn, struct error *);
/* Wants everything up to lsn durable. Records are written soon in any case. In async mode it may be
 * so on return, without a wake: ask ledger_log_complete. */
void ledger_log_sync(struct ledger_log *, uint64_t lsn);
/* After wake: *durable is the lsn up to which everything is durable; never descends. A negative
 * code when the log has failed for good. */
int ledger_log_complete(struct ledger_log *, uint64_t *durable, struct error *);
/* Threadless: writes and synchronises everything asked for. */
void ledger_log_work(struct ledger_log *);

/* The entry at a position below the end, as appended; replaces what is in out. ATOLL_ERANGE,
 * ATOLL_ECORRUPT (its checksum is wrong now), ATOLL_EIO, ATOLL_ENOMEM. */
int ledger_log_read(struct ledger_log *, uint64_t position, struct buffer *out, uint8_t *entry_type,
                    struct error *);
/* Entries of the ledger. */
uint64_t ledger_log_end(const struct ledger_log *);
/* The frontier of the ledger tree at its end, from the leaves given. */
void ledger_log_frontier(const struct ledger_log *, struct merkle_frontier *);

/* ---- gaps ---- */

/*
 * The ledger goes on at `at`, which is beyond its end: the entries between are not here. They can
 * be put in later, in order, by ledger_log_fill; until then reading them gives ATOLL_ERANGE. A
 * rollback to the end before undoes it. ATOLL_ELIMIT: the disk is full, or something is missing in
 * LEDGER_LOG_GAPS_MAX gaps already. ATOLL_EIO, ATOLL_ENOMEM.
 */
int ledger_log_jump(struct ledger_log *, const struct merkle_frontier *at, struct error *);
/* The oldest gap: *from is the frontier of what is there before it (from->size is the first entry
 * that is missing), *goal the one that its last entry has to lead to. False: nothing is missing. */
bool ledger_log_gap(struct ledger_log *, struct merkle_frontier *from,
                    struct merkle_frontier *goal);
/* Where the ledger goes on behind its last gap, filled or not; 0: there is none. */
uint64_t ledger_log_jumped(const struct ledger_log *);
/* Puts in the first missing entry of the oldest gap; it is on the disk some time later, and asked
 * for again when it was lost. The caller has verified it. ATOLL_ERANGE: nothing is missing.
 * ATOLL_ECORRUPT: it was the last one, and does not lead to the goal: what was put into this gap
 * is thrown away. ATOLL_EAGAIN: more of the gap is here than ledger_log_gap could tell (it could
 * not open a file), ask again. ATOLL_ELIMIT, ATOLL_EIO, ATOLL_ENOMEM. */
int ledger_log_fill(struct ledger_log *, uint8_t entry_type, struct slice payload, struct error *);

/* The replica has left quarantine (§4.1): durable when this returns. ATOLL_EIO. */
int ledger_log_rejoined(struct ledger_log *, struct error *);

#endif
