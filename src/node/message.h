/*
 * What supervisor and worker say to each other.
 *
 * Each direction is a ring (base/ring.h) of records; a record is a struct message_header, the
 * kind's fixed struct, and then the variable parts that the struct gives the lengths of, one after
 * the other, unpadded. All numbers little-endian. Descriptors that belong to a message travel on
 * the pair's SOCK_SEQPACKET socket, one packet per message that has any, sent before the record is
 * published: u64 sequence | SCM_RIGHTS.
 *
 * Inputs and outputs up to MESSAGE_INLINE lie in the record; larger ones in a sealed memory file.
 * The supervisor believes nothing: a worker runs guests. message.c decodes strictly (exact lengths,
 * known kinds, bounded counts) and is what both sides use.
 */
#ifndef NODE_MESSAGE_H
#define NODE_MESSAGE_H

#include "base/bytes.h"
#include "base/error.h"

#define MESSAGE_INLINE        (64u << 10)
#define MESSAGE_MAX           (160u << 10) /* a whole record */
#define MESSAGE_FDS_MAX       64
#define MESSAGE_RING          (8u << 20) /* capacity of each ring */
#define MESSAGE_TEXT_MAX      1024u
#define MESSAGE_HEAD_MAX      (32u << 10) /* HTTP head of a request or reply */
#define MESSAGE_ARGUMENTS_MAX (16u << 10)
#define MESSAGE_MANIFEST_MAX  (64u << 10) /* canonical JSON */
#define MESSAGE_FILES_MAX                                                  \
    (MESSAGE_FDS_MAX - 2) /* files of a version; beside artefact and image \
                           */

enum message_kind {
    /* supervisor to worker */
    MESSAGE_LOAD = 1, /* a version: header.id is its number on this node */
    MESSAGE_DROP,     /* forget a version when its calls are done */
    MESSAGE_CALL,     /* run a root call: header.id is the call */
    MESSAGE_CANCEL,   /* header.id is the call */
    MESSAGE_ANSWER,   /* to a request: header.id is the request's */
    MESSAGE_ALIAS, /* a name means another version from now on; an empty name: forget all names */
    MESSAGE_STOP,  /* finish what runs within the given time, then exit */
    /* worker to supervisor */
    MESSAGE_HELLO = 64,
    MESSAGE_LOADED,  /* header.id is the version */
    MESSAGE_RESULT,  /* of a root call */
    MESSAGE_CHILD,   /* a chained call has ended: for the call graph and the counters */
    MESSAGE_LOG,     /* a line that a guest wrote; header.id is the call */
    MESSAGE_METRIC,  /* atoll_metric; header.id is the call */
    MESSAGE_TALLY,   /* what chained calls of a version did; header.id is the version */
    MESSAGE_REQUEST, /* header.id: chosen by the worker, unique among those open */
};

struct message_header {
    uint16_t kind;
    uint16_t fds;      /* descriptors in the packet that belongs to this message; 0: no packet */
    uint32_t sequence; /* of the packet */
    uint64_t id;
};

/* Status and codes of calls: enum atoll_st of the guest header. */
enum call_status {
    CALL_PENDING,
    CALL_RUNNING,
    CALL_OK,
    CALL_FAILED,
    CALL_TRAPPED,
    CALL_TIMEDOUT,
    CALL_CANCELLED,
    CALL_REJECTED,
    CALL_LOST,
    CALL_EXPIRED,
};
enum call_temperature { CALL_HOT, CALL_WARM, CALL_COLD, CALL_COLD_REMOTE, CALL_KEPT };
enum call_flag {
    CALL_FLAG_FRESH = 1, /* never a pooled instance: restore from the image */
    CALL_FLAG_CLEAR = 2, /* drop pool and image of the version first: a cold start by force */
    CALL_FLAG_GRAPH = 4, /* tell of every chained call (MESSAGE_CHILD); else only counters */
};

/* MESSAGE_LOAD. Then: the manifest as canonical JSON (manifest_parse of node/manifest.h reads it),
 * and file_count times (u32 path_len, path). Descriptors: the artefact's bytes, the proto image (if
 * has_image), the files in order. */
struct message_load {
    char tenant[64], function[64], version[40]; /* NUL-terminated */
    uint8_t artefact_id[32]; /* hash of the artefact's bytes; zeros: the worker computes it */
    uint32_t manifest_len;
    uint32_t file_count;
    uint32_t files_len; /* of the list of paths */
    uint32_t has_image;
};

/* MESSAGE_LOADED. Then text. Descriptor: the proto image's file, if the worker has made it. */
enum load_stage { LOAD_OK, LOAD_CODEGEN, LOAD_LINK, LOAD_ZYGOTE, LOAD_IMAGE };
struct message_loaded {
    int32_t code;   /* 0 or a negative ATOLL_E… */
    uint32_t stage; /* enum load_stage */
    uint64_t image_bytes;
    uint32_t text_len;
    uint32_t has_image;
};

/* MESSAGE_CALL. Then: head, arguments (NUL-terminated strings), input (unless input_fd). */
struct message_call {
    uint64_t app;    /* id of the root: the call itself, or that of another tenant's call */
    uint64_t parent; /* 0 for a root */
    uint64_t input_len;
    int64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
    int64_t queued_ns;   /* when it was admitted */
    uint32_t version;    /* number of MESSAGE_LOAD */
    uint32_t flags;      /* enum call_flag */
    uint32_t attempt, priority, depth;
    uint32_t head_len, arguments_len;
    uint32_t input_fd; /* 1: the input is in the descriptor */
    uint8_t trace_id[16], span_id[8];
};

/* MESSAGE_RESULT. Then: text (why it failed), head (HTTP reply head set by the guest), output
 * (unless output_fd). */
struct message_result {
    int32_t status; /* enum call_status */
    int32_t code;   /* the guest's, or ATOLL_E… */
    uint32_t temperature;
    uint32_t children; /* chained calls below it, all levels */
    uint64_t queue_ns, restore_ns, run_ns, cpu_ns, memory_bytes;
    uint64_t output_len;
    uint32_t text_len, head_len;
    uint32_t output_fd, pad;
};

/* MESSAGE_CHILD. header.id is the call. */
struct message_child {
    uint64_t app, parent;
    int32_t status, code;
    uint32_t version, temperature, depth, pad;
    uint64_t queue_ns, restore_ns, run_ns, cpu_ns, memory_bytes;
    uint64_t input_len, output_len;
    uint64_t state_pulled, state_pushed; /* bytes */
};

/* MESSAGE_LOG. Then text (may hold any bytes; the supervisor escapes it). */
struct message_log {
    uint64_t app;
    uint32_t version, level; /* 0 trace … 4 error */
    uint32_t text_len, pad;
};

/* MESSAGE_METRIC. Then name. */
struct message_metric {
    double value;
    uint32_t version, kind; /* 0 counter, 1 gauge, 2 histogram */
    uint32_t name_len, pad;
};

/* MESSAGE_TALLY: of a version's chained calls that have ended since its last tally. Sent at most
 * once a second, and for calls of apps without CALL_FLAG_GRAPH as for the others. */
#define CALL_STATUSES     (CALL_EXPIRED + 1)
#define CALL_TEMPERATURES (CALL_KEPT + 1)
struct message_tally {
    uint64_t ended[CALL_STATUSES];
    uint64_t started[CALL_TEMPERATURES];
    uint64_t direct; /* started on the thread of the caller, which waited */
    uint64_t queue_ns, restore_ns, run_ns;
    uint64_t resets, reset_ns;
    uint32_t active, idle; /* instances now: with a call, in the pool */
};

/* MESSAGE_HELLO */
struct message_hello {
    uint32_t pid, threads;
    uint32_t instances_max; /* what slots and map count allow; a call beyond it waits */
    uint32_t pad;
};

/* MESSAGE_REQUEST. Then payload. MESSAGE_ANSWER: result, then payload; a descriptor with some. */
enum request_kind {
    REQUEST_RESOLVE = 1,  /* payload: "tenant/name[@alias]". Answer: u32 version number, u64 rights;
                             the version's MESSAGE_LOAD came before */
    REQUEST_CALL,         /* payload: struct message_call and its parts: a call that another worker
                             must run (another tenant's function). Answer when it has ended: struct
                             message_result and its parts */
    REQUEST_CANCEL,       /* payload: u64 id of a REQUEST_CALL; no answer */
    REQUEST_STATE,        /* payload: state/wire.h; no answer to those it says so of */
    REQUEST_CALL_ENDED,   /* call no longer holds state, locks or waits; no answer */
    REQUEST_FILE_FETCH,   /* payload: path beneath /shared. Answer: descriptor, u64 version */
    REQUEST_FILE_PUBLISH, /* payload: path; descriptor: the bytes. Answer: u64 version */
    REQUEST_FILE_LIST,    /* no payload. Answer: descriptor: u64 version | u32 count | count times
                             (u64 length | u64 version | i64 modified | u32 path length | path) */
    REQUEST_LOOKUP,       /* payload: host name, of the version's manifest. Answer: 17 bytes per
                             address: family, address */
    REQUEST_CONNECT,      /* payload: u8 family (4, 6), u8 type (1 stream, 2 datagram), u16 port, 16
                             bytes of address (4 count for family 4). Answer: descriptor: a socket,
                             connected or connecting, that does not block */
    REQUEST_IDS,          /* call ids that nobody else on this node uses. Answer: u64 first, u64
                             count (at least 1,024) */
};
#define MESSAGE_CONNECT_LEN 20u
struct message_request {
    uint32_t kind; /* enum request_kind */
    uint32_t payload_len;
    uint64_t call;        /* on whose behalf */
    uint32_t version, fd; /* fd 1: a descriptor comes with it */
};
struct message_answer {
    int64_t result; /* negative ATOLL_E… or the operation's number */
    uint32_t payload_len, fd;
};

/* MESSAGE_ALIAS. Then the name "tenant/function". */
struct message_alias {
    uint32_t version; /* its number; UINT32_MAX: the name is gone */
    uint32_t name_len;
};

/* MESSAGE_STOP */
struct message_stop {
    int64_t grace_ns;
};

/* A decoded message: copies and pointers into the caller's buffer, lengths checked. */
struct message {
    struct message_header header;
    union {
        struct message_load load;
        struct message_loaded loaded;
        struct message_call call;
        struct message_result result;
        struct message_child child;
        struct message_log log;
        struct message_metric metric;
        struct message_tally tally;
        struct message_hello hello;
        struct message_request request;
        struct message_answer answer;
        struct message_alias alias;
        struct message_stop stop;
    };
    const uint8_t *parts[4]; /* the variable parts in the order listed; absent ones NULL */
    uint32_t part_len[4];
};

/* Copies the record into `copy` (MESSAGE_MAX bytes), checks the copy and points into it.
 * from_worker: which kinds are legal. -ATOLL_ECORRUPT with the reason. */
int message_decode(const void *record, uint32_t len, bool from_worker, uint8_t *copy,
                   struct message *out, struct error *);
/* The same for what follows the header: a struct message_call inside REQUEST_CALL, a struct
 * message_result inside its answer. body is the caller's copy; fds: descriptors that came with it.
 */
int message_decode_body(enum message_kind, const uint8_t *body, uint32_t len, uint32_t fds,
                        struct message *out, struct error *);

/* Sets the lengths in the fixed struct from part_len, which is filled for all parts of the kind;
 * parts[] point to the bytes. Returns the bytes of the whole record, or 0 when a part or the whole
 * is longer than the protocol allows. For kinds with a descriptor in place of the last part
 * (input_fd, output_fd) that part is absent: leave its length 0, and set input_len yourself. */
uint32_t message_measure(struct message *);
/* Writes header, fixed struct and parts to `to`: as many bytes as message_measure said. */
void message_encode(const struct message *, void *to);
/* Without the header: message_measure's bytes less sizeof(struct message_header). */
void message_encode_body(const struct message *, void *to);

#endif
