/*
 * A worker's side of the local tier: which values this process knows, and which handles a call has.
 *
 * The supervisor decides everything (state/state.h); this keeps what a worker may remember: for a
 * slot and a gen the value's memory file and a mapping of it in this process, for host calls that
 * copy. A file is kept after the last call has closed it, so that the next open need not send it
 * again, up to ATTACH_IDLE_MAX values. Arenas map the same files by descriptor (sandbox/region.h).
 *
 * What a value's slot says (segment.h) needs no question: its size and version, and, when it is
 * complete, that any part may be mapped or copied at once.
 *
 * Threading: struct attach_table is shared by all guest threads and has a lock of its own, never
 * held across anything that waits. struct attachments belongs to one call and its thread. A struct
 * attached that a call has open does not go away.
 */
#ifndef STATE_ATTACH_H
#define STATE_ATTACH_H

#include "sandbox/region.h"
#include "state/segment.h"
#include "state/wire.h"

#include <sys/queue.h>

#define ATTACH_IDLE_MAX    256u
#define ATTACH_HANDLES_MAX 1024u /* of one call, of values and objects */

struct attach_table;
struct attached_mapping;

/* One value in this process. */
struct attached {
    uint32_t slot, gen;
    struct region_file file; /* its memory file; the descriptor is the table's */
    bool writable;           /* the descriptor may be mapped for writing */
    const struct state_slot *published;
    /* The rest is the table's. */
    LIST_ENTRY(attached) in_bucket;
    TAILQ_ENTRY(attached) idle;
    uint32_t uses; /* handles and regions */
    uint32_t key_len;
    uint8_t key[STATE_NAME_MAX];
    _Atomic(struct attached_mapping *) mapping;
};

/* segment: descriptor of the tenant's slots (STATE_OP_SEGMENT); borrowed. */
int attach_table_create(int segment, struct attach_table **out, struct error *);
/* After the last call. NULL is allowed. */
void attach_table_destroy(struct attach_table *);

/* Slot and gen of the file that is here for a key with this right, to be said with STATE_OP_OPEN;
 * false: none. */
bool attach_held(struct attach_table *, const void *key, uint32_t key_len, bool writable,
                 uint32_t *slot, uint32_t *gen);

/* ---- handles ---- */

struct attachments;

enum handle_kind { HANDLE_FREE, HANDLE_VALUE, HANDLE_OBJECT };

struct handle {
    enum handle_kind kind;
    uint32_t flags;            /* of a value: enum state_open */
    uint32_t type, key_len;    /* of an object */
    uint8_t *key;              /* of an object; owned */
    struct attached *attached; /* of a value */
};

/* What a call still has of a value after it closed a handle or took a region away. */
enum attach_rest {
    ATTACH_OPEN,   /* another handle: nothing to tell the supervisor */
    ATTACH_MAPPED, /* regions only: STATE_OP_CLOSE with STATE_CLOSE_MAPPED */
    ATTACH_GONE,   /* nothing: STATE_OP_CLOSE */
};

/* An opened value becomes a handle of the call (which gets its attachments with the first one). fd:
 * the descriptor that came with the answer, good for writing if `writable`, or -1 for the one that
 * is here; owned by the table from now on, whatever happens. Returns the handle's number, or
 * -ATOLL_ELIMIT, -ATOLL_ENOMEM, or -ATOLL_ECORRUPT when there is no descriptor. */
int attach_value(struct attach_table *, struct attachments **, const void *key, uint32_t key_len,
                 uint32_t slot, uint32_t gen, int fd, bool writable, uint32_t flags,
                 struct error *);
int attach_object(struct attachments **, uint32_t type, const void *key, uint32_t key_len,
                  struct error *);
/* The handle of a number; NULL when the call (NULL: without attachments) has no such open. */
struct handle *attach_handle(struct attachments *, int32_t number);
/* Closes an open handle. slot, gen: which value *rest is about (ATTACH_OPEN for an object). */
void attach_close(struct attach_table *, struct attachments *, int32_t number,
                  enum attach_rest *rest, uint32_t *slot, uint32_t *gen);

/* A region of a handle's value was mapped at an address of the arena (once more). -ATOLL_ENOMEM. */
int attach_region(struct attach_table *, struct attachments *, const struct handle *,
                  uint32_t address, struct error *);
/* It was taken away, once. False: no region of a value has this address. */
bool attach_region_end(struct attach_table *, struct attachments *, uint32_t address,
                       enum attach_rest *rest, uint32_t *slot, uint32_t *gen);

/* The call has ended: all handles and regions. The supervisor hears of it by itself. NULL is
 * allowed. */
void attach_end(struct attach_table *, struct attachments *);

/* ---- bytes ---- */

/* What the slot says; false: the value is gone from it, its handles are stale. */
bool attached_look(const struct attached *, struct state_slot_view *);
/* Where byte `off` of the value lies in this process, with `len` bytes behind it, which lie in the
 * value's size as attached_look gave it. NULL without memory. Valid while the value is open. */
uint8_t *attached_bytes(struct attach_table *, struct attached *, uint64_t off, uint64_t len);

#endif
