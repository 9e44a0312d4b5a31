/*
 * Reading bytes from outside into objects. A reader walks from front to back and remembers its
 * first failure: reads after it give zeros, so that a decoder reads on and asks once, at the end.
 * Nothing is read beyond the end, no count is believed before the bytes for it are there.
 *
 * For the decoders of this folder; others use those.
 */
#ifndef LEDGER_OBJECT_READ_H
#define LEDGER_OBJECT_READ_H

#include "base/error.h"
#include "ledger/object/slice.h"

struct ledger_pp;
struct ledger_certificate;
struct ledger_new_view;

struct ledger_reader {
    const uint8_t *start, *at, *end;
    const char *what;  /* the object that is being read, for messages */
    int code;          /* 0, or the negative code of the first failure */
    const char *wrong; /* what is wrong: a constant text */
};

static inline struct ledger_reader ledger_reader_of(struct slice bytes, const char *what)
{
    const uint8_t *start = bytes.data ? bytes.data : (const uint8_t *)what; /* of no bytes */
    return (struct ledger_reader){start, start, start + bytes.len, what, 0, NULL};
}

/* Notes a failure (code given positive), unless there is one. */
void ledger_read_fail(struct ledger_reader *, int code, const char *wrong);

/* len bytes; NULL (also for len 0 after a failure) when there are not as many. */
const uint8_t *ledger_read_raw(struct ledger_reader *, size_t len);
uint8_t ledger_read_u8(struct ledger_reader *);
uint16_t ledger_read_u16(struct ledger_reader *);
uint32_t ledger_read_u32(struct ledger_reader *);
uint64_t ledger_read_u64(struct ledger_reader *);
/* Copies len bytes; zeros after a failure. */
void ledger_read_copy(struct ledger_reader *, void *to, size_t len);
/* `bytes`: u32 length and data. ATOLL_ELIMIT, with this text, beyond max. */
struct slice ledger_read_bytes(struct ledger_reader *, size_t max, const char *too_long);
/* The count of a `list` whose items take at least item_len bytes each. ATOLL_ELIMIT beyond max. */
uint32_t ledger_read_count(struct ledger_reader *, uint32_t max, size_t item_len,
                           const char *too_many);
/* Parts of objects that stand in other objects, too. */
void ledger_read_pp_fields(struct ledger_reader *, struct ledger_pp *);
void ledger_read_pp_signed(struct ledger_reader *, struct ledger_pp *);
/* A replica's number. */
uint16_t ledger_read_replica(struct ledger_reader *);
/* Judges the kind of a batch and whether one of it may have as many transactions. */
void ledger_read_kind(struct ledger_reader *, unsigned kind, uint32_t count);

/* Everything from a place up to here. */
static inline struct slice ledger_read_since(const struct ledger_reader *r, const uint8_t *from)
{
    return (struct slice){from, (size_t)(r->at - from)};
}

/* At the end of an object: all bytes must be read. 0, or the failure with its place in the bytes.
 */
int ledger_read_end(struct ledger_reader *, struct error *);

#endif
