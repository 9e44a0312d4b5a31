/*
 * Segments: the files with the ledger's entries and the marks of what was signed.
 *
 *   name    segment-SERIAL-POSITION     serial: 8 digits, from 1, no gaps; position: 20 digits, the
 *                                       end of the ledger when the segment was begun
 *   head    4096 bytes: magic "ATLSEG01" | u32 version = 1 | u32 1 after a jump, else 0 |
 *           genesis 32 | u64 serial | u64 position | u64 salt | u64 file bytes |
 *           u64 end of the previous segment's records |
 *           the frontier's hashes, one for each bit of position, lowest first | zeros |
 *           u64 after a jump: where the ledger ended before it, else 0 | u32 crc
 *   records from 4096 on (record.h): ENTRY, ROLLBACK, SIGNED; it begins with the last SIGNED marks
 *           there were, whatever segment they stood in
 *   CLOSE   the last record of a closed segment: u64 base | u32 count | u32 0 | the frontier's
 *           hashes at its end | u32 offset of each entry base … base + count - 1. Its position is
 *           the end of the ledger.
 *   tail    the last 16 bytes of the file: u64 offset of CLOSE, 0 as long as there is none |
 *           u64 salt, again
 *
 * A jump (gap.c) is a segment that begins beyond the end of the one before: the entries between
 * are missing, and fetched in the background. A rollback to before it undoes it.
 *
 * The room between CLOSE and the tail, which a jump may leave almost as large as the file, is given
 * back when the segment is closed: it was never written, and reads as zeros before and after. Who
 * opens the log and goes on in such a segment, because its successor never got its name, takes the
 * room again first.
 *
 * A segment is made whole under the name segment.new, head and room for all of it, and gets its
 * name when it is needed; by then all before it is closed and on the disk. So a crash can leave
 * only the last segment unclosed, and what lies behind its last record was never synchronised, or
 * has been damaged since:
 *
 *   - A bad record with nothing valid behind it, beyond the durable mark (state_file.h): a write
 *     that was cut off. No record behind the last fdatasync was vouched for with a signature, so
 *     it is cut off at the last whole record.
 *   - A bad record with a valid one behind it may have been on the disk, signed for, and spoilt
 *     since. It might also have been a write that reached the disk out of order; but to cut there
 *     could shorten what was signed, so it counts as damage. The same goes for anything bad below
 *     the mark. Everything from there on is set aside (damaged-NAME), SIGNED marks found behind it
 *     are kept, and the replica fetches from others what it lacks of what it signed.
 *
 * The mark is at most a second old under load, exact when the log rests or was closed. What this
 * cannot tell from a cut-off write is damage of just the last records of a log that was stopped
 * under load within that second.
 */
#ifndef LEDGER_LOG_SEGMENT_H
#define LEDGER_LOG_SEGMENT_H

#include "crypto/merkle.h"
#include "ledger/log/files.h"
#include "ledger/log/record.h"

#define SEGMENT_HEAD      4096u
#define SEGMENT_TAIL      16u
#define SEGMENT_NEW       "segment.new"
#define SEGMENT_BYTES_MAX (1u << 30)

/*
 * Entries base … base + count - 1 are the last that this segment says of these positions; of them
 * the first `live` are still the ledger's (a later segment may have begun with a rollback).
 */
struct segment {
    uint64_t serial, position, salt, bytes, previous_end;
    struct merkle_frontier frontier; /* at `position` */
    uint64_t used;                   /* where the next record goes */
    uint64_t base;
    uint32_t count, live;
    uint32_t *offsets; /* NULL: in the file, from table_at on */
    uint32_t offsets_capacity;
    uint64_t close_at, table_at; /* of a closed one: its last record, and the offsets in it */
    bool closed;
    bool jumped;                    /* entries jumped_from … position - 1 are not in segments */
    bool undone;                    /* … but a rollback has taken the jump back */
    uint64_t jumped_from;           /* where the ledger ended before */
    struct merkle_frontier *origin; /* … and its frontier there; of one that jumped, else NULL */
    bool of_part; /* it lies in the part of a gap (part.h) that begins at part_from */
    uint64_t part_from;
    int file; /* -1: not open */

    /* Of one that is being written; under the log's mutex. */
    bool named;            /* it has its name on the disk */
    struct buffer pending; /* bytes for pending_at on, which nobody has written yet */
    struct buffer flying;  /* bytes for flying_at on, which are being written */
    uint64_t pending_at, flying_at;
};

void segment_name(uint64_t serial, uint64_t position, char name[static LOG_NAME_MAX]);
/* That of its file among the log's, also when it lies in a part. */
void segment_file_name(const struct segment *, char name[static LOG_NAME_MAX]);
/* False: not the name of a segment. */
bool segment_name_read(const char *name, uint64_t *serial, uint64_t *position);
void segment_head_make(const struct segment *, const uint8_t genesis[static 32],
                       uint8_t head[static SEGMENT_HEAD]);
/* Fills in what the head says. ATOLL_ECORRUPT; ATOLL_EINVAL for another service. */
int segment_head_read(struct segment *, const uint8_t head[static SEGMENT_HEAD],
                      const uint8_t genesis[static 32], const char *name, struct error *);
/* Bytes that closing takes, CLOSE and tail. */
uint64_t segment_close_size(const struct segment *);
/* Where the table of offsets lies, for a CLOSE record there and a ledger that long. */
uint64_t segment_table_at(uint64_t close_at, uint64_t end);
/* Appends the CLOSE record for a ledger with this frontier. False: no memory. */
bool segment_close_append(const struct segment *, const struct merkle_frontier *end,
                          struct buffer *);
/* Takes a CLOSE record apart: base, count, table_at; false: malformed. */
bool segment_close_read(struct segment *, const struct log_record *, uint64_t at,
                        struct merkle_frontier *end);
/* Notes an entry at an offset of the open segment; false: no memory. */
bool segment_entry_note(struct segment *, uint64_t position, uint64_t offset);
/* The ledger ends at `position` from now on, as far as this segment is concerned; `own`: its own
 * records say so. Before the segment's beginning it undoes its jump. */
void segment_rollback(struct segment *, uint64_t position, bool own);
/* Lets go of what is needed only while it is written. */
void segment_free(struct segment *);
/* All of it; its file is closed. NULL is allowed. */
void segment_destroy(struct segment *);

#endif
