/*
 * Records as they lie in segments and in the vote log, 8-byte aligned:
 *
 *   u32 len | u16 kind | u16 entry type | u64 position | u32 crc | payload | zeros to 8
 *
 * The crc is CRC-32C over the file's salt, the 16 bytes before it and the payload. The salt is
 * random and in the file's head: what clients can put into payloads, and what an older file held,
 * is no record here. A head of zeros ends the records.
 */
#ifndef LEDGER_LOG_RECORD_H
#define LEDGER_LOG_RECORD_H

#include "base/bytes.h"
#include "ledger/object/entry.h"

#define LOG_RECORD_HEAD 20
/* Closes a segment: where its entries are, and the frontier (segment.h). */
#define LOG_RECORD_CLOSE 15
/* A payload: a NEW_VIEW record, or the closing of a large segment. */
#define LOG_PAYLOAD_MAX (32u << 20)

struct log_record {
    uint32_t len;
    uint16_t kind;
    uint16_t entry_type;
    uint64_t position;
    const uint8_t *payload;
};

/* Bytes that a record takes. */
static inline uint64_t log_record_size(uint64_t len)
{
    return align_up(LOG_RECORD_HEAD + len, 8);
}

/* Appends a record with the joined parts as payload. False: no memory. */
bool log_record_append(struct buffer *, uint64_t salt, uint16_t kind, uint16_t entry_type,
                       uint64_t position, const struct slice *parts, unsigned count);
/* Whether a whole and right record lies at the beginning of these bytes. */
bool log_record_read(const uint8_t *bytes, uint64_t len, uint64_t salt, struct log_record *);
/* Whether one lies anywhere in them, from `from` on (a multiple of 8); if so, *position becomes the
 * greatest of theirs (position may be NULL). */
bool log_record_search(const uint8_t *bytes, uint64_t len, uint64_t from, uint64_t salt,
                       uint64_t *position);

#endif
