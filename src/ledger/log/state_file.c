/* The slots of the state file (state_file.h). */
#include "ledger/log/state_file.h"

#include "base/bytes.h"
#include "store/checksum.h"

#define MAGIC      "ATLSTAT1"
#define VERSION    1u
#define GENESIS_AT 16
#define MACHINE_AT 96
#define CRC_AT     (STATE_SLOT - 4)

enum { FLAG_CLEAN = 1, FLAG_ASYNC = 2, FLAG_QUARANTINE = 4, FLAG_VOTES = 8, FLAGS = 15 };

void state_slot_make(const struct state_slot *s, const uint8_t genesis[static 32],
                     uint8_t slot[static STATE_SLOT])
{
    memset(slot, 0, STATE_SLOT);
    memcpy(slot, MAGIC, 8);
    store_u32(slot + 8, VERSION);
    store_u32(slot + 12, (s->clean ? FLAG_CLEAN : 0u) | (s->async ? FLAG_ASYNC : 0u) |
                             (s->quarantine ? FLAG_QUARANTINE : 0u) |
                             (s->votes_damaged ? FLAG_VOTES : 0u));
    memcpy(slot + GENESIS_AT, genesis, 32);
    store_u64(slot + 48, s->generation);
    store_u64(slot + 56, s->starts);
    store_u64(slot + 64, s->segment_serial);
    store_u64(slot + 72, s->segment_offset);
    store_u64(slot + 80, s->vote_generation);
    store_u64(slot + 88, s->vote_offset);
    memcpy(slot + MACHINE_AT, s->machine, STATE_MACHINE_SIZE);
    store_u32(slot + CRC_AT, checksum_crc32c(0, slot, CRC_AT));
}

bool state_slot_read(const uint8_t slot[static STATE_SLOT], const uint8_t genesis[static 32],
                     struct state_slot *s)
{
    uint32_t flags = load_u32(slot + 12);
    if (memcmp(slot, MAGIC, 8) != 0 || load_u32(slot + 8) != VERSION || flags > FLAGS ||
        memcmp(slot + GENESIS_AT, genesis, 32) != 0 ||
        slot[MACHINE_AT + STATE_MACHINE_SIZE - 1] != 0 ||
        load_u32(slot + CRC_AT) != checksum_crc32c(0, slot, CRC_AT))
        return false;
    *s = (struct state_slot){.generation = load_u64(slot + 48),
                             .starts = load_u64(slot + 56),
                             .segment_serial = load_u64(slot + 64),
                             .segment_offset = load_u64(slot + 72),
                             .vote_generation = load_u64(slot + 80),
                             .vote_offset = load_u64(slot + 88),
                             .clean = flags & FLAG_CLEAN,
                             .async = flags & FLAG_ASYNC,
                             .quarantine = flags & FLAG_QUARANTINE,
                             .votes_damaged = flags & FLAG_VOTES};
    memcpy(s->machine, slot + MACHINE_AT, STATE_MACHINE_SIZE);
    return s->generation <= STATE_COUNT_MAX && s->starts <= STATE_COUNT_MAX;
}

bool state_file_choose(const uint8_t slots[static 2 * STATE_SLOT], const uint8_t genesis[static 32],
                       struct state_slot *out)
{
    struct state_slot other;
    bool first = state_slot_read(slots, genesis, out);
    bool second = state_slot_read(slots + STATE_SLOT, genesis, &other);
    if (second && (!first || other.generation > out->generation))
        *out = other;
    return first || second;
}

bool state_file_foreign(const uint8_t slots[static 2 * STATE_SLOT],
                        const uint8_t genesis[static 32])
{
    struct state_slot ignored;
    for (const uint8_t *slot = slots; slot < slots + 2 * STATE_SLOT; slot += STATE_SLOT)
        if (memcmp(slot + GENESIS_AT, genesis, 32) != 0 &&
            state_slot_read(slot, slot + GENESIS_AT, &ignored))
            return true;
    return false;
}
