/*
 * The interface of Atoll to the functions that it runs.
 *
 * A function is a WebAssembly module that exports `memory` and `atoll_main`. It is called with
 * bytes (its input) and returns a code and bytes (its output); every call starts from the same
 * initial memory, whatever earlier calls did. Through this header it reads and answers the call,
 * calls other functions, shares state and small objects with other calls, and reaches the network
 * that its manifest allows. A plain WASI program needs nothing of this: its standard input is the
 * input, its standard output the output.
 *
 *     #include <atoll.h>
 *
 *     ATOLL_FUNCTION(greet)
 *     {
 *         char name[64];
 *         int64_t len = atoll_input_read(0, name, sizeof name);
 *         if (len < 0)
 *             return 1;
 *         atoll_output_write("hello, ", 7);
 *         atoll_output_write(name, (uint64_t)len);
 *         return 0;
 *     }
 *
 * This file is the contract between guests and hosts. Guests import what is declared here from
 * module "atoll" under the name without its prefix; sdk/c/native implements the same declarations
 * in a plain process, for tests; the node implements them for real. A host that wants the layouts
 * and numbers alone defines ATOLL_ABI_ONLY.
 *
 * Conventions
 *   Results   0 or more is success; an error is -ATOLL_E…, and then nothing was done and nothing
 *             was written, unless a function says otherwise.
 *   Sizes     bytes, 64 bits. Times: nanoseconds. Strings carry a length and need no NUL.
 *   Timeouts  0 does not wait, ATOLL_FOREVER waits until the call's own deadline.
 *   Structs   little-endian, naturally aligned. Those that begin with `size` may grow: the caller
 *             puts sizeof there; a host reads or writes the part that both sides know and refuses a
 *             size below the one of this file with ATOLL_EINVAL.
 *   Addresses `atoll_addr` is an address in the guest's memory; atoll_pointer makes it a pointer.
 *             Regions (input_map, output_map, result_map, state_map, mem_map) lie above what
 *             memory.grow can reach and stay until unmapped or the call ends. Writing to one that
 *             was mapped for reading ends the call as TRAPPED.
 *   Keys      of state and objects: 1 to ATOLL_KEY_MAX bytes, any but NUL, of the own tenant;
 *             "@owner/key" names one of another tenant that was granted.
 *   Zygote    while `_initialize` and `atoll_zygote` run there is no call: what needs one, and
 *             chaining, sockets and pushing state, fails with ATOLL_EPERM. State may be read; its
 *             handles end with the zygote, and a mapping that is left makes the module be refused.
 *
 * Errors that every function can return, and that are not repeated at each
 *   ATOLL_EFAULT  a range is not in the guest's memory, nor in one region with the needed right
 *   ATOLL_EINVAL  an unknown flag or number; a malformed key or name; a struct that is too small
 *   ATOLL_EBADF   a handle that is not open in this call
 *   ATOLL_ERANGE  an offset and a length whose sum overflows
 *   ATOLL_EPERM   not allowed by the manifest (also where "absent" would give away too much)
 *   ATOLL_ELIMIT  a limit of the manifest, of the tenant or of this file would be passed
 *   ATOLL_ENOMEM  the node has no memory, slot or mapping left for it
 * A call that is cancelled or past its deadline ends inside whatever it does; no function returns
 * to it.
 */
#ifndef ATOLL_H
#define ATOLL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __wasm__
#define ATOLL_IMP(name)        __attribute__((import_module("atoll"), import_name(#name)))
#define ATOLL_EXPORT(name)     __attribute__((export_name(name), used))
#define ATOLL_ENTRY(name, own) ATOLL_EXPORT(#name) int32_t name(void)
#define ATOLL_PER_CALL
#else
#define ATOLL_IMP(name)
#define ATOLL_EXPORT(name)
/* Outside of Atoll a program may hold several functions: each has its own name. */
#define ATOLL_ENTRY(name, own) \
    int32_t own(void);         \
    int32_t own(void)
#define ATOLL_PER_CALL _Thread_local
#endif

/*
 * Heads of the functions that Atoll calls; `name` is what native tests call them by.
 *
 *   ATOLL_FUNCTION(name) { … }  one call: returns 0, or a code from 1 that ends the call as FAILED
 *   ATOLL_ZYGOTE(name) { … }    runs once, before the initial memory is taken: tables, parsing,
 *                               whatever all calls need. At most 10 s; non-zero refuses the module.
 *
 * `ATOLL_PER_CALL` stands before a variable at file scope (`static ATOLL_PER_CALL int count;`). It
 * means nothing in Atoll, where each call has a memory of its own, and gives each call its own copy
 * in native tests.
 */
#define ATOLL_FUNCTION(name) ATOLL_ENTRY(atoll_main, name)
#define ATOLL_ZYGOTE(name)   ATOLL_ENTRY(atoll_zygote, name##_zygote)

#if defined __wasm__ || defined ATOLL_ABI_ONLY
typedef uint32_t atoll_addr;
#else
typedef uintptr_t atoll_addr; /* native tests: any pointer of the process */
#endif

typedef uint64_t atoll_call_t; /* names a call; 0 is none */
typedef int32_t atoll_h;       /* names an open state value or object, in this call only; >= 0 */
typedef const void *atoll_in;
typedef void *atoll_out;

#define ATOLL_FOREVER      UINT64_MAX
#define ATOLL_KEY_MAX      400u    /* bytes of a key */
#define ATOLL_NAME_MAX     127u    /* bytes of "tenant/function" */
#define ATOLL_ENTRY_MAX    65536u  /* bytes of an appended entry, of an object's value */
#define ATOLL_CHILDREN_MAX 100000u /* calls that one call may start */
#define ATOLL_DEPTH_MAX    64u     /* of chaining; a root call has depth 0 */

/* The codes, the same numbers on both sides. include/atoll/errors.h is the host's copy. */
#ifndef ATOLL_ERRORS_H
enum {
    ATOLL_OK = 0,
    ATOLL_EINVAL = 1,        /* an argument is outside its documented range */
    ATOLL_EFAULT = 2,        /* a guest range does not lie in guest memory with the needed right */
    ATOLL_EPERM = 3,         /* not permitted; also when existence must not leak */
    ATOLL_ENOENT = 4,        /* no such thing */
    ATOLL_EEXIST = 5,        /* exists already */
    ATOLL_ENOMEM = 6,        /* memory, slots or mappings are exhausted */
    ATOLL_ELIMIT = 7,        /* a stated limit would be passed */
    ATOLL_ETIMEDOUT = 8,     /* the deadline passed first */
    ATOLL_ECANCELED = 9,     /* cancelled by someone entitled to */
    ATOLL_EBUSY = 10,        /* in use in a way that forbids the operation now */
    ATOLL_EAGAIN = 11,       /* would wait; try again */
    ATOLL_ESTALE = 12,       /* refers to an older version */
    ATOLL_ERANGE = 13,       /* offset or length out of range */
    ATOLL_EBADF = 14,        /* not an open handle of the caller */
    ATOLL_EIO = 15,          /* the operating system failed an input or output */
    ATOLL_EUNAVAIL = 16,     /* a needed service or kernel feature is missing */
    ATOLL_ELOST = 17,        /* the process or node that ran it died */
    ATOLL_EREJECTED = 18,    /* refused before it began */
    ATOLL_ENOSYS = 19,       /* no such operation */
    ATOLL_EDEADLK = 20,      /* would never finish */
    ATOLL_ESIZE = 21,        /* too large or too small */
    ATOLL_ETYPE = 22,        /* of another type */
    ATOLL_ECORRUPT = 23,     /* stored bytes are damaged, truncated or forged */
    ATOLL_EEXPIRED = 24,     /* was valid once */
    ATOLL_EMALFORMED = 25,   /* module: the bytes are not a WebAssembly binary */
    ATOLL_EINVALID = 26,     /* module: well formed, but does not validate */
    ATOLL_EUNSUPPORTED = 27, /* module: uses a feature this engine does not have */
    ATOLL_ELINK = 28,        /* an import is missing or of another type */
    ATOLL_ETRAP = 29,        /* the guest trapped */
    ATOLL_ECOMPILE = 30,     /* the compiler process failed or was killed */
    ATOLL_ECPU = 31,         /* the processor lacks a needed feature */
    ATOLL_ESIGNATURE = 32,   /* not signed by a trusted key */
    ATOLL_EQUORUM = 33,      /* ledger: not signed by enough of the replicas */
    ATOLL_EPATH = 34,        /* ledger: a Merkle path leads elsewhere */
};
#endif

/* How a call stands or ended. From ATOLL_ST_OK on it has ended, and stays so. */
enum {
    ATOLL_ST_PENDING = 0, /* not started */
    ATOLL_ST_RUNNING = 1, /* started; it may be waiting */
    ATOLL_ST_OK = 2,
    ATOLL_ST_FAILED = 3,    /* returned a code other than 0, or called atoll_fail */
    ATOLL_ST_TRAPPED = 4,   /* did what the machine refuses: a wild address, a division by zero … */
    ATOLL_ST_TIMEDOUT = 5,  /* its deadline passed */
    ATOLL_ST_CANCELLED = 6, /* by its parent, by its parent's end, or from outside */
    ATOLL_ST_REJECTED = 7,  /* never started: over a quota, or no place for it */
    ATOLL_ST_LOST = 8,      /* its process or node died; whether it did its work is unknown */
    ATOLL_ST_EXPIRED = 9,   /* the result was kept for its time and then dropped */
};

/* ---- the current call ---- */

enum {                        /* where the instance of a call came from */
       ATOLL_HOT = 0,         /* an idle one */
       ATOLL_WARM = 1,        /* restored from an image in memory */
       ATOLL_COLD_LOCAL = 2,  /* loaded from this node's disk */
       ATOLL_COLD_REMOTE = 3, /* fetched from another node */
       ATOLL_KEPT = 4,        /* an idle one, with the memory that a call before has left */
};

struct atoll_call_info {
    uint32_t size;        /* in: sizeof(struct atoll_call_info) */
    uint32_t flags;       /* 0 */
    uint64_t id;          /* of this call */
    uint64_t app;         /* of the root of its tree */
    uint64_t parent;      /* 0 for a root */
    uint64_t deadline_ns; /* on ATOLL_CLOCK_MONOTONIC; 0 none */
    uint32_t attempt;     /* 0, or how often it was tried before */
    uint32_t index;       /* its place in its batch */
    uint32_t count;       /* the size of its batch; 1 outside of one */
    uint32_t temperature;
    uint8_t trace_id[16]; /* W3C trace context, as in the header `traceparent` */
    uint8_t span_id[8];
    char tenant[64]; /* these three end with NUL */
    char function[64];
    char version[40]; /* 32 hexadecimal digits */
};

#define ATOLL_HTTP_HEAD_MAX  32768u /* bytes of atoll_http_head */
#define ATOLL_HTTP_REPLY_MAX 16384u /* bytes of headers for atoll_http_reply */

enum { ATOLL_LOG_TRACE = 0, ATOLL_LOG_DEBUG, ATOLL_LOG_INFO, ATOLL_LOG_WARNING, ATOLL_LOG_ERROR };
enum { ATOLL_CLOCK_REAL = 0, ATOLL_CLOCK_MONOTONIC = 1, ATOLL_CLOCK_CPU = 2 /* of this call */ };
enum { ATOLL_METRIC_COUNTER = 0, ATOLL_METRIC_GAUGE = 1, ATOLL_METRIC_HISTOGRAM = 2 };

/* ---- chaining ---- */

enum {
    ATOLL_CHAIN_DETACH = 1, /* may outlive its parent; its id is unknown to await */
    ATOLL_CHAIN_LOCAL = 2,  /* on this node, or it ends as REJECTED */
    ATOLL_CHAIN_FRESH = 4,  /* never in an instance that was used before */
    ATOLL_CHAIN_GANG = 8,   /* of a batch: all start, or all end as REJECTED */
};

struct atoll_chain_opts {
    uint32_t size; /* sizeof(struct atoll_chain_opts) */
    uint32_t flags;
    uint64_t timeout_ns;     /* 0: the callee's own; never later than the caller's deadline */
    uint32_t retries;        /* tries (to 100) after one that ends LOST, TRAPPED or REJECTED */
    uint32_t priority;       /* 0: the callee's own; else 1 (last) to 9 (first) */
    atoll_addr affinity_ptr; /* a state key to run near, or 0 */
    uint32_t affinity_len;
    uint64_t memory_max;   /* bytes; 0: the callee's own, which it may only lower */
    atoll_addr policy_ptr; /* placement in the words of a manifest, "locality=…", or 0 */
    uint32_t policy_len;
};

struct atoll_result {
    uint64_t id;
    int32_t status; /* ATOLL_ST_… */
    int32_t code;   /* of an OK or FAILED call; of a REJECTED one the error, negative */
    uint64_t out_len;
    uint64_t queue_ns, run_ns;
    uint32_t node;  /* where it ran */
    uint32_t flags; /* 0 */
};

/* ---- state ---- */

enum { /* of atoll_state_open; READ and WRITE also as rights of a mapping */
       ATOLL_S_READ = 1,
       ATOLL_S_WRITE = 2,
       ATOLL_S_CREATE = 4,
       ATOLL_S_EXCL = 8,   /* with CREATE: ATOLL_EEXIST when it is there already */
       ATOLL_S_TRUNC = 16, /* make it zero bytes of the given size */
       ATOLL_S_TRACK = 32, /* a push finds by itself what was written through mappings */
       ATOLL_S_LOCAL = 64, /* lives on this node, is never pushed, ends with the node */
       ATOLL_S_LAZY = 128, /* refused with ATOLL_ENOSYS: map the parts that are needed instead */
};

enum {                         /* of atoll_state_push and atoll_state_pull */
       ATOLL_PUSH_DIRTY = 1,   /* only what was written: state_write, state_dirty, TRACK */
       ATOLL_PUSH_DURABLE = 2, /* return when it is on disk */
       ATOLL_PUSH_IFVER = 4,   /* only if the global version is expect_ver, else ATOLL_ESTALE */
       ATOLL_PULL_DISCARD = 8, /* overwrite what was written here and not pushed */
};

enum { /* how a push combines a range with the global tier */
       ATOLL_M_SET = 0,
       ATOLL_M_ADD_I32 = 1, /* adds what was added here since the last pull or push */
       ATOLL_M_ADD_I64 = 2,
       ATOLL_M_ADD_F32 = 3,
       ATOLL_M_ADD_F64 = 4,
       ATOLL_M_MIN_F64 = 5,
       ATOLL_M_MAX_F64 = 6,
       ATOLL_M_XOR = 7, /* in units of 8 bytes */
};

enum { ATOLL_LOCK_READ = 0, ATOLL_LOCK_WRITE = 1 };
enum { ATOLL_SCOPE_NODE = 0, ATOLL_SCOPE_GLOBAL = 1 };

/* ---- shared objects ---- */

enum {
    ATOLL_O_COUNTER = 1,
    ATOLL_O_LATCH = 2,
    ATOLL_O_BARRIER = 3,
    ATOLL_O_SEM = 4,
    ATOLL_O_QUEUE = 5,
    ATOLL_O_MAP = 6,
    ATOLL_O_CELL = 7,
};

enum { /* operations, by type */
       ATOLL_COUNTER_GET = 0,
       ATOLL_COUNTER_ADD = 1,
       ATOLL_COUNTER_CAS = 2,
       ATOLL_LATCH_DOWN = 0,
       ATOLL_LATCH_WAIT = 1,
       ATOLL_LATCH_GET = 2,
       ATOLL_BARRIER_ARRIVE = 0,
       ATOLL_BARRIER_PARTIES = 1,
       ATOLL_SEM_ACQUIRE = 0,
       ATOLL_SEM_RELEASE = 1,
       ATOLL_QUEUE_PUSH = 0,
       ATOLL_QUEUE_POP = 1,
       ATOLL_QUEUE_LEN = 2,
       ATOLL_MAP_GET = 0,
       ATOLL_MAP_PUT = 1,
       ATOLL_MAP_DEL = 2,
       ATOLL_MAP_SIZE = 3,
       ATOLL_MAP_SCAN = 4,
       ATOLL_MAP_INCR = 5,
       ATOLL_CELL_GET = 0,
       ATOLL_CELL_SET = 1,
       ATOLL_CELL_CAS = 2,
};

/* ---- sockets ---- */

enum { ATOLL_SOCK_V4 = 4, ATOLL_SOCK_V6 = 6 };
enum { ATOLL_SOCK_STREAM = 1, ATOLL_SOCK_DATAGRAM = 2 };
enum {
    ATOLL_SOCK_NODELAY = 1,        /* value 0 or 1 */
    ATOLL_SOCK_KEEPALIVE = 2,      /* value 0 or 1 */
    ATOLL_SOCK_SEND_BUFFER = 3,    /* value in bytes, at most 4 MiB */
    ATOLL_SOCK_RECEIVE_BUFFER = 4, /* value in bytes, at most 4 MiB */
};

#define ATOLL_RESOLVED_BYTES 17u /* one address of atoll_resolve: family (4 or 6), 16 bytes */

#if defined __wasm__ || defined ATOLL_ABI_ONLY
#ifdef __cplusplus
#define ATOLL_ASSERT static_assert
#else
#define ATOLL_ASSERT _Static_assert
#endif
ATOLL_ASSERT(sizeof(struct atoll_call_info) == 248, "the layout of atoll_call_info is fixed");
ATOLL_ASSERT(offsetof(struct atoll_call_info, trace_id) == 56, "the layout is fixed");
ATOLL_ASSERT(offsetof(struct atoll_call_info, tenant) == 80, "the layout is fixed");
ATOLL_ASSERT(sizeof(struct atoll_chain_opts) == 48, "the layout of atoll_chain_opts is fixed");
ATOLL_ASSERT(offsetof(struct atoll_chain_opts, memory_max) == 32, "the layout is fixed");
ATOLL_ASSERT(sizeof(struct atoll_result) == 48, "the layout of atoll_result is fixed");
ATOLL_ASSERT(offsetof(struct atoll_result, out_len) == 16, "the layout is fixed");
#undef ATOLL_ASSERT
#endif

#ifndef ATOLL_ABI_ONLY

static inline void *atoll_pointer(atoll_addr address)
{
    return (void *)(uintptr_t)address;
}

static inline atoll_addr atoll_address(const void *pointer)
{
    return (atoll_addr)(uintptr_t)pointer;
}

/* ---- functions: the current call ---- */

/* Describes the current call. */
ATOLL_IMP(call_info) int32_t atoll_call_info(struct atoll_call_info *out);

/* The input's length. */
ATOLL_IMP(input_size) int64_t atoll_input_size(void);

/* Copies input from `off` on; returns how many bytes, 0 at its end. */
ATOLL_IMP(input_read) int64_t atoll_input_read(uint64_t off, atoll_out buf, uint64_t len);

/* Maps the whole input for reading, without a copy when it is large. Mapped again it has the same
 * address. ATOLL_ENOENT when the input is empty. */
ATOLL_IMP(input_map) int32_t atoll_input_map(atoll_addr *addr);

/* Appends to the output; returns `len`. ATOLL_ELIMIT when it would pass limits.output. */
ATOLL_IMP(output_write) int64_t atoll_output_write(atoll_in buf, uint64_t len);

/* Makes these bytes the whole output; returns `len`. ATOLL_ELIMIT as above. */
ATOLL_IMP(output_set) int64_t atoll_output_set(atoll_in buf, uint64_t len);

/* Makes the output `len` zero bytes and maps them for writing: what they are when the call ends is
 * the output. Later output_write appends, output_set and another output_map replace (the region
 * stays mapped, and counts no more). ATOLL_EINVAL when len is 0, ATOLL_ELIMIT as above. */
ATOLL_IMP(output_map) int32_t atoll_output_map(uint64_t len, atoll_addr *addr);

/* Ends the call as FAILED with `code` (one below 1 counts as 1). The message, at most 4 KiB of
 * which are kept, replaces the output: a parent reads it as the result, an HTTP client as the
 * problem's detail. Does not return; bad arguments end the call as well, without a message. */
ATOLL_IMP(fail) _Noreturn void atoll_fail(int32_t code, atoll_in msg, uint32_t len);

/* Writes a line to the log, at ATOLL_LOG_…. A call has 1 MiB and 1,000 lines (ATOLL_ELIMIT); bytes
 * that are not printable are escaped. */
ATOLL_IMP(log) int32_t atoll_log(uint32_t level, atoll_in msg, uint32_t len);

/* The value of `name` under `config` in the manifest: copies at most `cap` bytes, returns its whole
 * length. ATOLL_ENOENT. */
ATOLL_IMP(config) int64_t atoll_config(atoll_in name, uint32_t nlen, atoll_out buf, uint64_t cap);

/* The head of the HTTP request, as lines that end with LF: "POST /path?query", then "name: value"
 * in the order received, names in whatever case they were sent. What authorises the request
 * (cookies, Authorization) is left out. Copies at most `cap` bytes, returns the whole length (at
 * most ATOLL_HTTP_HEAD_MAX). ATOLL_ENOENT when the call did not come over HTTP: chained calls never
 * do. The body is the input. */
ATOLL_IMP(http_head) int64_t atoll_http_head(atoll_out buf, uint64_t cap);

/* Sets status (200 to 599) and headers of the HTTP response, replacing what an earlier call set.
 * `headers` are lines "name: value" that end with LF; names are tokens, values printable ASCII and
 * tabs. Headers that belong to the connection (Connection, Content-Length, Transfer-Encoding …) are
 * dropped. It counts only if the call ends OK; the output is the body. ATOLL_EINVAL on anything
 * malformed, ATOLL_ESIZE above ATOLL_HTTP_REPLY_MAX, ATOLL_ENOENT when the call did not come over
 * HTTP. */
ATOLL_IMP(http_reply) int32_t atoll_http_reply(uint32_t status, atoll_in headers, uint32_t len);

/* ---- functions: chaining ---- */

/* Starts a call of `fn`, "name" of the own tenant or "tenant/name", with a copy of the input, and
 * does not wait. `opts` may be NULL; `id` may be NULL with ATOLL_CHAIN_DETACH. When this call ends,
 * its children that have not are cancelled, detached ones excepted. ATOLL_ENOENT when there is no
 * such function, ATOLL_EPERM when `call` in the manifest does not name it, ATOLL_ELIMIT beyond
 * ATOLL_CHILDREN_MAX, ATOLL_DEPTH_MAX or the tenant's live calls. */
ATOLL_IMP(chain)
int32_t atoll_chain(atoll_in fn, uint32_t fnlen, atoll_in in, uint64_t inlen,
                    const struct atoll_chain_opts *opts, atoll_call_t *id);

/* The same with a function of this module and version, of type () -> i32: ATOLL_TABLE_INDEX(f). It
 * starts with the module's initial memory, not with the caller's. ATOLL_EINVAL when the table has
 * no function of that type there. */
ATOLL_IMP(chain_fn)
int32_t atoll_chain_fn(atoll_addr table_index, atoll_in in, uint64_t inlen,
                       const struct atoll_chain_opts *opts, atoll_call_t *id);
#define ATOLL_TABLE_INDEX(f) ((atoll_addr)(uintptr_t)(int32_t (*)(void))(f))

/* Starts `n` calls of one function. The input of call i is blob[offs[i] … offs[i + 1]); `offs` has
 * n + 1 entries that do not decrease. All start or, on an error, none. */
ATOLL_IMP(chain_batch)
int32_t atoll_chain_batch(atoll_in fn, uint32_t fnlen, uint32_t n, const uint64_t *offs,
                          atoll_in blob, const struct atoll_chain_opts *opts, atoll_call_t *ids);

/* Waits until at least `min_done` of the `n` children have ended, or the time is over. Fills out[i]
 * for ids[i], whether it ended or not, also with ATOLL_ETIMEDOUT, which it returns when fewer
 * ended; else it returns how many did. That a child failed is no error here: see its status. With
 * min_done 0 it only looks. Ids may repeat, and be awaited again. ATOLL_ENOENT when one is no child
 * of this call, ATOLL_EINVAL when min_done > n, ATOLL_ELIMIT when n > ATOLL_CHILDREN_MAX. */
ATOLL_IMP(await)
int32_t atoll_await(const atoll_call_t *ids, uint32_t n, uint32_t min_done, uint64_t timeout_ns,
                    struct atoll_result *out);

/* Copies a child's output from `off` on; returns how many bytes, 0 at its end. ATOLL_EAGAIN before
 * it ended, ATOLL_ENOENT when it is no child or forgotten, ATOLL_EEXPIRED when it was dropped. */
ATOLL_IMP(result_read)
int64_t atoll_result_read(atoll_call_t id, uint64_t off, atoll_out buf, uint64_t len);

/* Maps a child's whole output for reading, at the same address each time. Errors as above, and
 * ATOLL_ENOENT when it is empty. */
ATOLL_IMP(result_map) int32_t atoll_result_map(atoll_call_t id, atoll_addr *addr);

/* Ends a child as CANCELLED, within about a millisecond; 0 as well when it has ended already.
 * ATOLL_ENOENT. */
ATOLL_IMP(cancel) int32_t atoll_cancel(atoll_call_t id);

/* Drops a child's result now, instead of at the end of the app; maps of it stay. It is unknown from
 * then on. ATOLL_EBUSY before it ended, ATOLL_ENOENT. */
ATOLL_IMP(forget) int32_t atoll_forget(atoll_call_t id);

/* ---- functions: state ----
 *
 * A value is bytes under a key, up to 256 GiB. It has two tiers. The local tier is shared memory:
 * all calls on a node see the same bytes, and stores through mappings are seen by others at once.
 * The global tier is what other nodes and later runs see; bytes move by pull and push alone, and
 * the version counts the pushes. Beside its bytes a value has a list of entries, which live in the
 * global tier only.
 *
 * A handle whose value was deleted has ATOLL_ESTALE at the next call that reaches the global tier;
 * mappings stay readable. ATOLL_EUNAVAIL when the store does not answer. Rights (r, w, l, d in the
 * manifest's `state`) are checked when a value is opened, locked or deleted.
 */

/* Opens a value, READ or WRITE or both. Size 0 takes it as it is; another size must be the value's
 * (ATOLL_ESIZE), unless TRUNC. ATOLL_ENOENT when it does not exist and CREATE is not given; created
 * values are zero, have version 0, and become global with their first push. */
ATOLL_IMP(state_open)
atoll_h atoll_state_open(atoll_in key, uint32_t klen, uint64_t size, uint32_t flags);

/* Closes a handle, also one of an object; its locks are released, mappings stay. The end of the
 * call closes all. */
ATOLL_IMP(state_close) int32_t atoll_state_close(atoll_h handle);

/* The value's size. */
ATOLL_IMP(state_size) int64_t atoll_state_size(atoll_h handle);

/* Changes the size, locally; the next push makes it global. New bytes are zero; mappings of bytes
 * that are gone stay. ATOLL_EPERM without WRITE. */
ATOLL_IMP(state_resize) int32_t atoll_state_resize(atoll_h handle, uint64_t size);

/* The version that the local bytes are based on (global 0) or that the global tier has (1). */
ATOLL_IMP(state_version) int64_t atoll_state_version(atoll_h handle, uint32_t global);

/* Pulls what is missing of a range and maps it with the rights `prot` (ATOLL_S_READ, or that with
 * ATOLL_S_WRITE); `addr` points at byte `off`. The same range and rights give the same address
 * again, and want as many unmaps. ATOLL_ERANGE when it does not lie in the value, ATOLL_EINVAL when
 * len is 0, ATOLL_ELIMIT when the window has no room. */
ATOLL_IMP(state_map)
int32_t atoll_state_map(atoll_h handle, uint64_t off, uint64_t len, uint32_t prot,
                        atoll_addr *addr);

/* Takes a mapping away. ATOLL_ENOENT when none has this address. */
ATOLL_IMP(state_unmap) int32_t atoll_state_unmap(atoll_addr addr);

/* Copies out of the local tier, pulling first what is missing; returns how many bytes, 0 from the
 * value's end on. ATOLL_EPERM without READ. */
ATOLL_IMP(state_read)
int64_t atoll_state_read(atoll_h handle, uint64_t off, atoll_out buf, uint64_t len);

/* Copies into the local tier and marks it as written; returns `len`. ATOLL_ERANGE when it does not
 * lie in the value, ATOLL_EPERM without WRITE. */
ATOLL_IMP(state_write)
int64_t atoll_state_write(atoll_h handle, uint64_t off, atoll_in buf, uint64_t len);

/* Marks a range as written through a mapping; len 0 reaches to the end. */
ATOLL_IMP(state_dirty) int32_t atoll_state_dirty(atoll_h handle, uint64_t off, uint64_t len);

/* Says how pushes combine a range: ATOLL_M_…, from now on, on this node; len 0 reaches to the end.
 * Calls that add to a mapped number at the same time do it with C's atomics. ATOLL_EINVAL when
 * offset or length is no multiple of the operand's size. */
ATOLL_IMP(state_merge)
int32_t atoll_state_merge(atoll_h handle, uint64_t off, uint64_t len, uint32_t op);

/* Brings the pages of a range that are here and older up to the global version; len 0 reaches to
 * the end. Bytes written here and not pushed stay, unless ATOLL_PULL_DISCARD. */
ATOLL_IMP(state_pull)
int32_t atoll_state_pull(atoll_h handle, uint64_t off, uint64_t len, uint32_t flags);

/* Makes a range global, all of it at once; len 0 reaches to the end. Returns the new version (with
 * ATOLL_PUSH_DIRTY and nothing written, the old one). Under a global lock that has been lost:
 * ATOLL_ESTALE. A value that is LOCAL: ATOLL_EINVAL. */
ATOLL_IMP(state_push)
int64_t atoll_state_push(atoll_h handle, uint64_t off, uint64_t len, uint32_t flags,
                         uint64_t expect_ver);

/* Appends an entry of at most ATOLL_ENTRY_MAX bytes (ATOLL_ESIZE); returns its index, from 0. */
ATOLL_IMP(state_append) int64_t atoll_state_append(atoll_h handle, atoll_in buf, uint64_t len);

/* Copies whole entries from index `from` on, at most `max` and as many as fit, one behind the
 * other; lens[i] is the length of each. Returns how many, 0 at the end. ATOLL_ESIZE when not even
 * one fits; lens[0] says what it needs. */
ATOLL_IMP(state_entries)
int64_t atoll_state_entries(atoll_h handle, uint64_t from, uint32_t max, atoll_out buf,
                            uint64_t cap, uint64_t *lens);

/* Drops all entries; the next has index 0. */
ATOLL_IMP(state_clear) int32_t atoll_state_clear(atoll_h handle);

/* Takes the value's lock: many readers or one writer, in order of arrival, held until unlock, close
 * or the call's end. At scope NODE it orders calls of this node; at GLOBAL it is a lease that the
 * node keeps renewing, and the result is its fencing token (0 at NODE). ATOLL_EDEADLK when this
 * call holds it already, ATOLL_ETIMEDOUT, ATOLL_EAGAIN when it is taken and the timeout is 0. */
ATOLL_IMP(state_lock)
int64_t atoll_state_lock(atoll_h handle, uint32_t mode, uint32_t scope, uint64_t timeout_ns);

/* Gives it back. ATOLL_ENOENT when this call does not hold it. */
ATOLL_IMP(state_unlock) int32_t atoll_state_unlock(atoll_h handle, uint32_t scope);

/* Deletes a value with its entries, on both tiers. ATOLL_ENOENT. */
ATOLL_IMP(state_delete) int32_t atoll_state_delete(atoll_in key, uint32_t klen);

/* The keys that begin with `prefix` (which may be empty) and come after `after` (empty: from the
 * first), in the order of their bytes, each followed by a NUL: as many as fit. Returns the bytes
 * written, 0 when there are no more. ATOLL_ESIZE when not even one fits; ATOLL_KEY_MAX + 1 is
 * enough. */
ATOLL_IMP(state_list)
int64_t atoll_state_list(atoll_in prefix, uint32_t plen, atoll_in after, uint32_t alen,
                         atoll_out buf, uint64_t cap);

/* ---- functions: shared objects ----
 *
 * Small things that many calls on many nodes share, one operation at a time. Names of values and
 * names of objects do not meet: "k" may be both. What an operation wants and gives:
 *
 *   COUNTER  arg of open: where it starts. Counts are modulo 2^64; besides being the result, which
 *            for a negative count looks like an error, the count is written to out as 8 bytes when
 *            cap is at least 8
 *     GET      the count
 *     ADD      adds a; the count after it
 *     CAS      if it is a makes it b: 1; else 0; out: the count after it
 *   LATCH    arg: the count, from 0
 *     DOWN     takes a (from 1) off, not below 0; what remains
 *     WAIT     waits until it is 0; 0
 *     GET      what remains
 *   BARRIER  arg: the parties, 1 to 65,536; opening it makes a call one of them
 *     ARRIVE   waits until all have arrived; this one's rank by arrival, from 0. It is new then.
 *              ATOLL_ETIMEDOUT takes the arrival back; ATOLL_ELOST when the call of a party ended
 *              and nobody took its place for 10 s
 *     PARTIES  their number
 *   SEM      arg: the permits, from 0
 *     ACQUIRE  waits for a permits (from 1) and takes them; what remains
 *     RELEASE  gives a permits (from 1); what there is
 *   QUEUE    arg: how many values it holds; 0 is the most, 1,048,576
 *     PUSH     adds in; its length; ATOLL_ELIMIT when it is full
 *     POP      waits for a value, takes the oldest, writes it to out; its bytes. ATOLL_ESIZE, and
 * it stays, when cap is too small LEN      its length MAP      arg: 0. `in` is always: u32 length
 * of the key, key (1 to 400 bytes), value GET      writes the value to out; its bytes;
 * ATOLL_ENOENT, ATOLL_ESIZE PUT      1 when the key is new, else 0 DEL      1 when it was there,
 * else 0 SIZE     how many keys SCAN     writes to out the records after a key (length 0: from the
 * first), in the order of their bytes, as many as fit: u32 length of the key, key, u32 length of
 * the value, value; how many, 0 at the end; ATOLL_ESIZE when not even one fits INCR     adds a to a
 * value of 8 bytes, absent is 0; the sum, also in out as a counter's; ATOLL_ETYPE when the value
 * has another length CELL     arg: 0 GET      writes u32 length, value to out; its version, 0
 * before it was set; ATOLL_ESIZE SET      makes it in; the new version CAS      the same if its
 * version is a; ATOLL_ESTALE
 */

/* Opens an object, and creates it if it does not exist; else arg means nothing. atoll_state_close
 * closes it. ATOLL_ETYPE when it is of another type. */
ATOLL_IMP(obj_open)
atoll_h atoll_obj_open(uint32_t type, atoll_in key, uint32_t klen, int64_t arg);

/* Does one operation. A value is at most ATOLL_ENTRY_MAX bytes (ATOLL_ESIZE). ATOLL_ENOSYS when the
 * type has no such operation; ATOLL_ETIMEDOUT when it had to wait longer, ATOLL_EAGAIN when it had
 * to wait and the timeout is 0. */
ATOLL_IMP(obj_op)
int64_t atoll_obj_op(atoll_h handle, uint32_t op, int64_t a, int64_t b, atoll_in in, uint64_t inlen,
                     atoll_out out, uint64_t cap, uint64_t timeout_ns);

/* ---- functions: memory ---- */

/* Maps `len` bytes with rights `prot` (as state_map): zero bytes (fd -1, off 0), or a private copy
 * of a file's bytes from `off` on, a multiple of 4096; behind its end they are zero. ATOLL_EINVAL
 * when len is 0, ATOLL_EBADF when fd is no file open for reading. */
ATOLL_IMP(mem_map)
int32_t atoll_mem_map(uint64_t len, uint32_t prot, int32_t fd, uint64_t off, atoll_addr *addr);

/* Takes one whole mapping of mem_map away. ATOLL_EINVAL when addr and len are not one. */
ATOLL_IMP(mem_unmap) int32_t atoll_mem_unmap(atoll_addr addr, uint64_t len);

/* ---- functions: sockets ----
 *
 * A socket is a WASI descriptor: read, write, recv, send, shutdown, poll and close are those of
 * WASI. It reaches what `net` in the manifest names, at the rate that stands there.
 */

/* Opens a socket of ATOLL_SOCK_V4 or V6 and STREAM or DATAGRAM. */
ATOLL_IMP(sock_open) int32_t atoll_sock_open(uint32_t family, uint32_t type, int32_t *fd);

/* Connects to an address of 4 or 16 bytes. ATOLL_EIO when it is refused or unreachable,
 * ATOLL_ETIMEDOUT. */
ATOLL_IMP(sock_connect)
int32_t atoll_sock_connect(int32_t fd, atoll_in addr, uint32_t alen, uint32_t port,
                           uint64_t timeout_ns);

/* Give a socket a port of the manifest and make it listen: services only, else ATOLL_EPERM. */
ATOLL_IMP(sock_bind)
int32_t atoll_sock_bind(int32_t fd, atoll_in addr, uint32_t alen, uint32_t port);
ATOLL_IMP(sock_listen) int32_t atoll_sock_listen(int32_t fd, uint32_t backlog);

/* Sets an option, ATOLL_SOCK_…. ATOLL_ENOSYS when there is no such option. */
ATOLL_IMP(sock_opt) int32_t atoll_sock_opt(int32_t fd, uint32_t opt, int64_t value);

/* The addresses of a name that the manifest allows, ATOLL_RESOLVED_BYTES each, as many as fit;
 * returns how many there are. The function may connect to exactly these. ATOLL_ENOENT. */
ATOLL_IMP(resolve)
int64_t atoll_resolve(atoll_in host, uint32_t len, atoll_out addrs, uint64_t cap);

/* ---- functions: measurement, randomness, time ---- */

/* Adds to a counter, sets a gauge, or adds a sample to a histogram: atoll_guest_NAME. The name is
 * [a-z_][a-z0-9_]*, at most 64 bytes; a function has 100 (ATOLL_ELIMIT). ATOLL_EINVAL when a value
 * is not finite or a counter would fall, ATOLL_ETYPE when the name is of another kind. */
ATOLL_IMP(metric) int32_t atoll_metric(atoll_in name, uint32_t len, double value, uint32_t kind);

/* Fills with random bytes, fit for keys; different in every call from the same initial memory. */
ATOLL_IMP(random) int32_t atoll_random(atoll_out buf, uint64_t len);

/* The time in ns: ATOLL_CLOCK_REAL since 1970, MONOTONIC since a random start, CPU of this call. */
ATOLL_IMP(now) int64_t atoll_now(uint32_t clock);

#endif /* ATOLL_ABI_ONLY */

#ifdef __cplusplus
}
#endif

#endif
