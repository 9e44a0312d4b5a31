/*
 * What opening a log has found so far, shared by recover.c, which lists the files and counts the
 * start, examine.c, marks.c and vote_examine.c, which look at them and change nothing, and
 * repair.c, which goes on behind what is whole.
 */
#ifndef LEDGER_LOG_OPENING_H
#define LEDGER_LOG_OPENING_H

#include "ledger/log/core.h"

#define LOG_DAMAGED "damaged-" /* before the names of files that were set aside */

struct opening {
    struct ledger_log *log;
    struct ledger_log_found *found;
    struct log_name *segments; /* those of `there` */
    size_t count;
    struct log_names there, aside;
    struct log_names parts; /* segments of parts; serial 0: another file of one */
    uint64_t votes;         /* generation of the newest vote log; 0: none */
    uint64_t votes_old;     /* of one that was to be removed */
    bool state_there, segment_new, votes_new, no_memory, too_many;
    /* The last segment that is whole to some point, and the point. */
    uint64_t end_at;
    bool torn;
    bool votes_torn;
    size_t set_aside; /* index of the first segment that is only damage */
    bool marks_lost;  /* … and marks of what was signed may be among it */
};

/* Bytes of a file that the disk does not give, the first and the end of the last; none: 0, 0. */
struct log_unread {
    uint64_t from, to;
};

/* ---- load.c ---- */

/*
 * The first `len` bytes of a file, into `bytes`. Bad places of a disk that gives what lies around
 * them read as zeros, and `unread` says where: whoever finds no record there treats it as damage.
 * ATOLL_EIO: the disk gives nothing of the file, so it is the disk that is bad, perhaps not for
 * long. ATOLL_ERANGE, ATOLL_ENOMEM.
 */
int log_file_load(struct ledger_log *, int file, uint64_t len, struct buffer *bytes,
                  struct log_unread *unread, struct error *);
/* Whether there are only zeros from a byte on. */
bool log_bytes_blank(const struct buffer *, uint64_t from);

/* ---- examine.c ---- */

/* Goes through all segments; afterwards end_at, set_aside, torn and found say what to do. */
int log_segments_examine(struct opening *, struct error *);

/* ---- marks.c ---- */

/* Notes SIGNED marks wherever they lie in bytes that are otherwise lost. */
void log_marks_note(struct ledger_log *, const struct buffer *bytes, uint64_t from, uint64_t salt);
/* Segments are damaged: notes the marks in what is set aside now, or was when this was tried last,
 * and judges whether they are all there (marks_lost). */
int log_marks_rescue(struct opening *, struct buffer *bytes, struct error *);
/* The name of a segment that was set aside. */
void log_aside_name(const struct log_name *, char name[static LOG_NAME_MAX]);

/* ---- vote_examine.c ---- */

/* Reads the newest vote log; afterwards its `used`, votes_torn and found say what to do.
 * ATOLL_ECORRUPT: there is none, or only one that was overtaken. */
int log_votes_examine(struct opening *, struct error *);

/* ---- repair.c ---- */

/* Makes what was looked at a log to go on in. */
int log_repair(struct opening *, struct error *);
/* Removes files that were never finished, or were replaced. */
int log_leftovers_remove(struct opening *, struct error *);
/* A new segment behind what is there, in a file of its own. */
int log_segment_start(struct ledger_log *, uint64_t previous_end, struct error *);
/* Whether the last stop may have cost marks of what was signed, whatever the files look like. */
bool log_machine_stopped(const struct ledger_log *);

#endif
