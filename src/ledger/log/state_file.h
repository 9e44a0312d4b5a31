/*
 * The state file: how often this replica was started, and how far its log is on the disk.
 *
 *   state   two slots of 4096 bytes, written in turn; the valid one with the greater generation
 *           counts. A write that is cut off spoils one slot, and the other still counts.
 *   slot    magic "ATLSTAT1" | u32 version = 1 | u32 flags | genesis 32 | u64 generation |
 *           u64 starts | u64 segment serial | u64 segment offset | u64 vote log generation |
 *           u64 vote log offset | machine 64 | zeros | u32 crc
 *
 * The marks say up to which byte the two logs were synchronised at the latest. A replica without
 * its state file is no longer the same replica (spec/ledger §4.1): it could not know what it
 * signed.
 */
#ifndef LEDGER_LOG_STATE_FILE_H
#define LEDGER_LOG_STATE_FILE_H

#include "ledger/log/files.h"

#define STATE_FILE         "state"
#define STATE_SLOT         4096u
#define STATE_MACHINE_SIZE 64
#define STATE_COUNT_MAX    (UINT64_C(1) << 62) /* no counter goes beyond; none ever gets near */

struct state_slot {
    uint64_t generation, starts;
    uint64_t segment_serial, segment_offset;
    uint64_t vote_generation, vote_offset;
    char machine[STATE_MACHINE_SIZE]; /* which start of the machine; NUL-terminated */
    bool clean;                       /* closed in order */
    bool async;                       /* the log ran in async mode */
    bool quarantine;
    bool votes_damaged; /* the vote log is about to be replaced for that */
};

void state_slot_make(const struct state_slot *, const uint8_t genesis[static 32],
                     uint8_t slot[static STATE_SLOT]);
/* False: not a valid slot of this service. */
bool state_slot_read(const uint8_t slot[static STATE_SLOT], const uint8_t genesis[static 32],
                     struct state_slot *);
/* Which of two slots counts, into *out. False: neither. */
bool state_file_choose(const uint8_t slots[static 2 * STATE_SLOT], const uint8_t genesis[static 32],
                       struct state_slot *out);
/* Whether one of them is a valid slot of another service. */
bool state_file_foreign(const uint8_t slots[static 2 * STATE_SLOT],
                        const uint8_t genesis[static 32]);

#endif
