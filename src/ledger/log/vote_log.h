/*
 * The vote log: what a replica needs to show in a view change, and little else.
 *
 *   name    votes-GENERATION            8 digits, from 1
 *   head    4096 bytes: magic "ATLVOTE1" | u32 version = 1 | u32 0 | genesis 32 | u64 generation |
 *           u64 salt | u64 file bytes | zeros | u32 crc
 *   records from 4096 on (record.h): CERTIFICATE, VIEW_CHANGE, NEW_VIEW; the position of each says
 *           up to which byte the file was synchronised when the record was made
 *
 * Kept are
 *   - of the view of the greatest certificate (config, view, s), the tip: those of the last P
 *     batches, and the NEW_VIEW of that view;
 *   - as long as those that end with the tip, one batch after the other, are fewer than P: the last
 *     P in a row below them, and the NEW_VIEW of their view. A replica that catches up writes its
 *     certificates anew, one record each, and a stop in between leaves a row that no ViewChange can
 *     report; then it goes on with the older one;
 *   - the greatest NEW_VIEW and the greatest VIEW_CHANGE.
 * Everything else was overtaken by a record behind it. When the file is half full, what is kept
 * goes into a file of the next generation, which gets its name when it is on the disk; only then
 * the old one is removed. So nothing goes before what overtakes it is durable.
 *
 * A bad record is the end of a write that was cut off, or of some that reached the disk out of
 * order, unless a good one behind it says that its bytes had been synchronised, or the state file
 * does. Then it is damage, which nobody can make good: what a replica reported prepared, or might
 * have to, is nowhere else. What is good before it goes into a new file, the damaged one is set
 * aside, and the replica starts in quarantine: the marks in the segments still say up to which view
 * it has signed, so it can wait until the others are beyond all that (spec/ledger §4.1, the rule
 * for certificates that a machine lost). Where those marks may be lost, too, or the file itself is
 * missing, it cannot: then it must return under a new key. (Segments are judged more strictly than
 * votes, because what they lose by it can be fetched.)
 */
#ifndef LEDGER_LOG_VOTE_LOG_H
#define LEDGER_LOG_VOTE_LOG_H

#include "ledger/log/files.h"
#include "ledger/log/record.h"

#define VOTE_HEAD 4096u
#define VOTE_NEW  "votes.new"
/* More than what is kept can ever take, four times (vote_room). */
#define VOTE_BYTES_MAX (UINT64_C(1) << 33)

/* A record that is kept. */
struct vote {
    uint16_t kind;
    uint32_t config;
    uint64_t view, s; /* s of certificates only */
    uint8_t *payload;
    size_t len;
};

struct vote_log {
    uint64_t generation, salt, bytes;
    uint64_t used;   /* where the next record goes */
    uint64_t synced; /* bytes on the disk; under the log's mutex */
    uint32_t pipeline;
    int file; /* -1: none */
    struct vote *votes;
    unsigned count, capacity;

    /* As those of a segment. */
    struct buffer pending, flying;
    uint64_t pending_at, flying_at;
};

void vote_log_name(uint64_t generation, char name[static LOG_NAME_MAX]);
bool vote_log_name_read(const char *name, uint64_t *generation);
void vote_log_head_make(const struct vote_log *, const uint8_t genesis[static 32],
                        uint8_t head[static VOTE_HEAD]);
/* ATOLL_ECORRUPT; ATOLL_EINVAL for another service. */
int vote_log_head_read(struct vote_log *, const uint8_t head[static VOTE_HEAD],
                       const uint8_t genesis[static 32], const char *name, struct error *);
/* Whether a payload is long enough to say what it is about. */
bool vote_payload_fits(uint16_t kind, size_t len);
/* Takes a record among those kept, and drops those that it overtakes. False: no memory. */
bool vote_log_note(struct vote_log *, uint16_t kind, const uint8_t *payload, size_t len);
/* Time for what is kept to move to a new file. False when there is no file. */
bool vote_log_half_full(const struct vote_log *);
/* Bytes that the records kept take. */
uint64_t vote_log_live(const struct vote_log *);
/* Appends the records kept. False: no memory. */
bool vote_log_write(const struct vote_log *, struct buffer *);
void vote_log_free(struct vote_log *);

#endif
