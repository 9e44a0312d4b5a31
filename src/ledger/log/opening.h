/*
 * What opening a log has found so far, shared by recover.c, which lists the files and goes on
 * behind what is whole, and examine.c, which looks at them.
 */
#ifndef LEDGER_LOG_OPENING_H
#define LEDGER_LOG_OPENING_H

#include "ledger/log/core.h"

#define LOG_DAMAGED "damaged-" /* before the names of files that were set aside */

struct found_name {
    uint64_t serial, position;
};

struct name_list {
    struct found_name *names;
    size_t count, capacity;
};

struct opening {
    struct ledger_log *log;
    struct ledger_log_found *found;
    struct found_name *segments; /* those of `there` */
    size_t count;
    struct name_list there, aside;
    uint64_t votes;     /* generation of the newest vote log; 0: none */
    uint64_t votes_old; /* of one that was to be removed */
    bool state_there, segment_new, votes_new, no_memory, too_many;
    /* The last segment that is whole to some point, and the point. */
    uint64_t end_at;
    bool torn;
    bool votes_torn;
    size_t set_aside; /* index of the first segment that is only damage */
    bool marks_lost;  /* … and marks of what was signed may be among it */
};

/* Reads the newest vote log; afterwards its `used`, votes_torn and found say what to do.
 * ATOLL_ECORRUPT: there is none, or only one that was overtaken. */
int log_votes_examine(struct opening *, struct error *);
/* Goes through all segments; afterwards end_at, set_aside, torn and found say what to do. */
int log_segments_examine(struct opening *, struct error *);
/* The name of a segment that was set aside. */
void log_aside_name(const struct found_name *, char name[static LOG_NAME_MAX]);

#endif
