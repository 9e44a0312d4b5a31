/*
 * What a worker asks of the local tier, and what it is answered: flat little-endian records.
 *
 *   request   u16 op | u16 key_len | u32 flags | u32 slot | u32 gen | u64 off | u64 len |
 *             u64 version | u64 timeout_ns | i64 a | i64 b | u32 mode | u32 number |
 *             u32 data_len | u32 zero | key | data
 *   answer    u32 slot | u32 gen | u64 size | u64 version | u64 moved | u64 number |
 *             u32 count | u32 data_len | count times u64 length | data
 *
 * The answer's result (0 or more, or a negative ATOLL_E… code) and a descriptor travel beside the
 * record (node/message.h). A request with a field that its operation does not use is refused, and
 * so is one whose length is not exactly what its parts say. Bytes of values are in no record: they
 * lie in memory files that both sides map. Only entries, objects and lists are small enough to be
 * here.
 */
#ifndef STATE_WIRE_H
#define STATE_WIRE_H

#include "base/bytes.h"
#include "base/error.h"

#define STATE_KEY_MAX      400u
#define STATE_TENANT_MAX   63u
#define STATE_NAME_MAX     (STATE_KEY_MAX + STATE_TENANT_MAX + 2) /* "@owner/key" */
#define STATE_DATA_MAX     65536u                                 /* an entry, an object's value */
#define STATE_ENTRIES_MAX  4096u                                  /* brought back by one request */
#define STATE_REQUEST_HEAD 80u
#define STATE_ANSWER_HEAD  48u
/* A map operation's data is a key of at most 400 bytes, its length, and the value. */
#define STATE_BYTES_MAX   (STATE_DATA_MAX + 408u)
#define STATE_REQUEST_MAX (STATE_REQUEST_HEAD + STATE_NAME_MAX + STATE_BYTES_MAX)
#define STATE_ANSWER_MAX  (STATE_ANSWER_HEAD + 8u * STATE_ENTRIES_MAX + STATE_BYTES_MAX)

/* What each uses besides op. "value": slot and gen of an open value. */
enum state_op {
    STATE_OP_SEGMENT = 1, /* nothing. Answer: descriptor of the tenant's slots (segment.h) */
    STATE_OP_OPEN,        /* key, flags (enum state_open), len: size or 0; slot and gen of the
                             descriptor that the worker still has for this key, or 0. Answer: result
                             0, slot, gen, size, version; a descriptor unless it is that one */
    STATE_OP_CLOSE,   /* value, flags (STATE_CLOSE_MAPPED): the call has no handle of it any more;
                         no answer */
    STATE_OP_ENSURE,  /* value, off, len: pull what is missing. Answer: moved; number: len, for the
                         value may have grown before the answer is read */
    STATE_OP_PULL,    /* value, off, len (0: to the end), flags (STATE_PULL_DISCARD). moved */
    STATE_OP_PUSH,    /* value, off, len (0: to the end), flags (enum state_push), version.
                         Result: the new version; moved */
    STATE_OP_DIRTY,   /* value, off, len (0: to the end); no answer */
    STATE_OP_MERGE,   /* value, off, len (0: to the end), mode: enum gt_merge */
    STATE_OP_RESIZE,  /* value, len */
    STATE_OP_DELETE,  /* key */
    STATE_OP_APPEND,  /* value, data. Result: the index */
    STATE_OP_ENTRIES, /* value, off: from, number: max, len: cap. Result: count; lengths and
                         data. ATOLL_ESIZE: number is what the first needs */
    STATE_OP_CLEAR,   /* value */
    STATE_OP_LOCK,    /* value, mode: 0 read, 1 write, number: scope 0 node, 1 global,
                         timeout_ns. Result: 0 or the token */
    STATE_OP_UNLOCK,  /* value, number: scope */
    STATE_OP_LIST,    /* key: prefix, data: after, len: cap. Data: keys, each with a NUL; result:
                         their bytes */
    STATE_OP_VERSION, /* value. Result: the global version */
    STATE_OP_OBJECT_OPEN, /* key, mode: type, a */
    STATE_OP_OBJECT,      /* key, mode: type, number: operation, a, b, len: cap, timeout_ns, data.
                             number: the count that it gives (any 64 bits; on ATOLL_ESIZE the
                             bytes wanted); version; data */
    STATE_OPS
};

/* The numbers of atoll.h. */
enum state_open {
    STATE_OPEN_READ = 1,
    STATE_OPEN_WRITE = 2,
    STATE_OPEN_CREATE = 4,
    STATE_OPEN_EXCLUSIVE = 8,
    STATE_OPEN_TRUNCATE = 16,
    STATE_OPEN_TRACK = 32,
    STATE_OPEN_LOCAL = 64,
    STATE_OPEN_LAZY = 128,
};
enum state_push {
    STATE_PUSH_DIRTY = 1,
    STATE_PUSH_DURABLE = 2,
    STATE_PUSH_IFVER = 4,
    STATE_PULL_DISCARD = 8,
};
enum state_close { STATE_CLOSE_MAPPED = 1 /* regions are left: the value is still held */ };
enum state_scope { STATE_SCOPE_NODE, STATE_SCOPE_GLOBAL };

#define STATE_WAIT_FOREVER UINT64_MAX

struct state_request {
    enum state_op op;
    uint32_t flags, slot, gen;
    uint64_t off, len, version, timeout_ns;
    int64_t a, b;
    uint32_t mode, number;
    uint32_t key_len, data_len;
    const uint8_t *key, *data; /* into the record */
};

struct state_reply {
    uint32_t slot, gen;
    uint64_t size, version, moved, number;
    uint32_t count, data_len;
    const uint8_t *lens; /* count times u64, at any alignment */
    const uint8_t *data;
};

/* Checks a record of len bytes that nobody else can change any more. The request points into it.
 * -ATOLL_EINVAL with the reason: what a worker sent is nonsense. */
int state_request_decode(const uint8_t *record, size_t len, struct state_request *, struct error *);
/* Bytes written to `to`, which has room for STATE_REQUEST_MAX; the request obeys the rules above.
 */
uint32_t state_request_encode(const struct state_request *, uint8_t *to);
/* Whether the operation has an answer. */
bool state_op_answers(enum state_op);

int state_reply_decode(const uint8_t *record, size_t len, struct state_reply *, struct error *);
/* As state_request_encode, with room for STATE_ANSWER_MAX. */
uint32_t state_reply_encode(const struct state_reply *, uint8_t *to);

#endif
