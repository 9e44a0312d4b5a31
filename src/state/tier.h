/*
 * The inside of the local tier: what its files share. state.h is the outside.
 *
 *   tier.c      tables: values, calls, workers, tenants and their slots; requests and answers
 *   replica.c   a value's memory: file, mapping, chunks, twins, what is published of it
 *   line.c      the order in which things happen to a value
 *   open.c      open, close, delete
 *   pull.c      chunks that are missing
 *   refresh.c   bringing what is here up to the global version
 *   push.c      sending what was written
 *   twin.c      the arithmetic of twins: differences, and bringing new global bytes in
 *   lock.c      locks of this node;  lease.c  global ones
 *   entries.c   entries, lists, versions;  object.c  shared objects
 *   room.c      the budget and who is evicted
 *   change.c    what calls say they wrote, how to merge it, other sizes
 *   commit.c    changes made by the supervisor itself
 *
 * Life of a value. It is in the table from its first open until it is evicted or deleted. `blocked`
 * while the global tier is asked whether it exists, or while it waits to be dropped: opens wait
 * then. Calls hold it by attachments; whatever is under way pins it. Out of the table, with neither
 * attachments nor pins, it is freed.
 *
 * Versions. `version` is the base of the local copy: every chunk here is at least as new as that
 * global version (bytes written here aside). It follows an own push only when nobody else has
 * pushed in between, so that a push that expects it never overwrites what the copy did not contain.
 * Since own pushes touch no missing chunk, a chunk may be pulled at any version from `own_since`
 * on.
 *
 * Invariants, checked by replica_check: bytes past `size` are
 * zero in every chunk that is here; written and merged ranges lie within the size; a chunk is never
 * both present and being pulled.
 */
#ifndef STATE_TIER_H
#define STATE_TIER_H

#include "state/alarm.h"
#include "state/range_map.h"
#include "state/segment.h"
#include "state/state.h"

#include <sys/queue.h>

#define STATE_CHUNK         65536u /* what is pulled, counted and tracked by */
#define STATE_WRITES_MAX    65536u /* separate ranges known as written, of one value */
#define STATE_MERGES_MAX    4096u  /* ranges with a merge rule, of one value */
#define STATE_RANGES_MAX    GT_RANGES_MAX
#define STATE_TRIES_MAX     4   /* pulls of a chunk that came at an older version than the rest */
#define STATE_EVICT_VALUES  16u /* at a time, for want of slots or descriptors */
#define STATE_SCRATCH_BYTES (4u << 20)
#define STATE_SLICE_CHUNKS  128u /* brought in at a stretch on the loop thread: 8 MiB */

_Static_assert(STATE_CHUNK == GT_CHUNK_BYTES, "chunks are the global tier's");

struct pending;
struct replica;

/* Slots of one tenant. */
struct tenant {
    LIST_ENTRY(tenant) link;
    char name[STATE_TENANT_MAX + 1];
    int segment_fd; /* for reading */
    struct state_slot *slots;
    struct view **views; /* by slot; NULL: free */
    uint32_t *gens;      /* by slot: the last one given */
    uint32_t used, next; /* slots in use; where to look for a free one */
    uint32_t workers;
};

/* A value as one tenant sees it: its owner, or another by a grant. */
struct view {
    LIST_ENTRY(view) link; /* of the value */
    struct replica *value;
    struct tenant *tenant;
    uint32_t slot, gen;
};

/* Lives as long as it has calls, also when the process is gone. */
struct worker {
    LIST_ENTRY(worker) link;
    struct tenant *tenant;
    LIST_HEAD(, call) calls;
    uint32_t number, unanswered, call_count;
    bool lost;
};

/* From its first request to its end, and then until its last request is answered. */
struct call {
    LIST_ENTRY(call) link; /* of the worker */
    struct worker *worker;
    uint64_t id, owner; /* what the worker calls it; what the store knows it by */
    LIST_HEAD(, attachment) attachments;
    LIST_HEAD(, pending) pending;
    uint32_t attachment_count;
    bool ended;
    bool known_to_store; /* has asked for global locks or objects */
};

struct lease;

enum node_lock { NODE_LOCK_NONE, NODE_LOCK_READ, NODE_LOCK_WRITE, NODE_LOCK_WAITS };

/* A call's hold on a value. */
struct attachment {
    LIST_ENTRY(attachment) in_call, in_value;
    struct call *call;
    struct replica *value;
    struct view *view;
    struct state_tier *tier;
    uint32_t grant; /* enum state_grant */
    bool writable;  /* opened for writing at least once */
    enum node_lock node_lock;
    struct lease *lease; /* global lock; NULL: none */
};

/* Something that happens to a value in its turn (line.c). */
struct task {
    TAILQ_ENTRY(task) link;
    struct replica *value;
    void (*start)(struct task *);
    bool exclusive; /* not while chunks are being pulled */
    TAILQ_ENTRY(task) later;
    void (*go_on)(struct task *); /* when deferred */
};

struct mapping {
    struct mapping *older;
    uint8_t *base;
    uint64_t len;
};

/* Points into the replica that it names. */
struct identity {
    const char *tenant; /* the owner's name */
    const uint8_t *key;
    uint32_t key_len;
};

struct replica {
    struct identity id;
    struct state_tier *tier;
    char tenant[STATE_TENANT_MAX + 1];
    uint8_t key[STATE_KEY_MAX];

    bool in_table;
    bool blocked; /* opens wait */
    bool doomed;  /* to be dropped as soon as nothing pins it */
    bool suspect; /* a worker that may have written it is dying */
    TAILQ_ENTRY(replica) suspects;
    bool stale;      /* deleted: of use only to those who have it mapped */
    bool local;      /* never pushed */
    bool exists;     /* in some tier; false only while the first opens are looked at */
    bool unborn;     /* the key has entries, but a value was never pushed */
    bool tracked;    /* a twin of every chunk */
    bool exclusive;  /* the first push must be what creates it */
    bool resized;    /* the size is news to the global tier */
    bool marks_lost; /* more written ranges than can be known: only whole pushes are honest */

    uint64_t size, version, own_since, global_gen;
    uint64_t global_size;        /* at that version */
    int memfd, memfd_read;       /* -1: none yet */
    struct mapping *mapping;     /* the newest; older ones end with the value */
    uint64_t *present, *pulling; /* a bit per chunk */
    uint8_t **twins;             /* by chunk; NULL: none */
    uint64_t chunks, chunk_capacity, present_count, twin_count;
    struct range_map written, sending, merges;

    TAILQ_HEAD(, task) line; /* the first has its turn */
    bool line_running, line_looping;
    uint32_t pulls; /* under way, of missing chunks */
    uint32_t pins;
    TAILQ_HEAD(pending_list, pending) opens, waiting_chunks, waiting_lock;
    LIST_HEAD(, view) views;
    LIST_HEAD(, attachment) attachments;
    uint32_t node_readers;
    bool node_writer;
    TAILQ_ENTRY(replica) idle; /* least recently used first */
    bool is_idle;
    bool stuck;        /* could not be pushed to be evicted */
    uint64_t evicting; /* bytes that its eviction, under way, will free */
};

/* A request without an answer yet. */
struct pending {
    TAILQ_ENTRY(pending) wait;
    LIST_ENTRY(pending) in_call;
    struct pending_list *waits_in; /* the list it waits in by `wait`, or NULL */
    struct state_tier *tier;
    struct call *call;
    state_done done;
    void *context;
    struct state_request request;  /* key and data are its own */
    struct replica *value;         /* pinned; NULL: none */
    struct attachment *attachment; /* NULL once the call has ended */
    struct alarm alarm;
    void (*resume)(struct pending *); /* begin again */
    uint64_t need_off, need_len;      /* the bytes it waits for, */
    void (*then)(struct pending *);   /* and how it goes on with them */
    uint64_t moved;
    char owner[STATE_TENANT_MAX + 1]; /* of the key */
    const uint8_t *key;               /* without "@owner/" */
    uint32_t key_len, grant;
    uint8_t bytes[];
};

struct state_tier {
    struct state_options options;
    struct gt *gt;
    void *values; /* tree of struct replica by tenant and key */
    void *calls;  /* tree of struct call by worker and id */
    LIST_HEAD(, tenant) tenants;
    LIST_HEAD(, worker) workers;
    uint32_t worker_count;
    struct pending_list waiting_room;
    TAILQ_HEAD(task_list, task) deferred;
    TAILQ_HEAD(, replica) idle;
    uint64_t evicting_bytes;
    bool looking_for_room;
    struct task room_task;
    uint64_t owners;  /* given to calls */
    uint8_t *scratch; /* of refreshes */
    bool scratch_taken;
    struct alarm_heap alarms;
    int64_t timer_asked;
    uint64_t local_bytes;
    struct state_counters counters;
    bool closing;
};

/* ---- tier.c ---- */
struct replica *tier_find(const struct state_tier *, const char *tenant, const void *key,
                          uint32_t len);
/* A value in the table, not known to exist; NULL without memory. */
struct replica *tier_add(struct state_tier *, const char *tenant, const void *key, uint32_t len);
void tier_remove(struct replica *); /* from the table */
/* Sets an alarm and asks the owner for state_tick in time. */
int tier_alarm(struct state_tier *, struct alarm *, int64_t at_ns);
int64_t tier_now(const struct state_tier *);
/* go_on runs at the next tick, so that other work of the thread comes in between. */
void tier_defer(struct state_tier *, struct task *, void (*go_on)(struct task *));
/* The view of a tenant on a value, made when missing; NULL when the tenant's slots are used up. */
struct view *tenant_view(struct tenant *, struct replica *);
void view_free(struct view *);
struct gt_key replica_key(const struct replica *);

/* Answers and frees the request. */
void pending_answer(struct pending *, struct state_answer *);
void pending_result(struct pending *, int64_t result); /* 0 or more */
void pending_fail(struct pending *, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void pending_error(struct pending *, const struct error *);
/* The error of a finished operation of the global tier. */
void pending_store_error(struct pending *, const struct gt_result *);
/* Pins the value for the request. */
void pending_wait(struct pending *, struct pending_list *);
void pending_wait_end(struct pending *);

/* ---- replica.c ---- */
uint64_t chunks_of(uint64_t bytes);
bool chunk_is(const uint64_t *bits, uint64_t chunk);
uint8_t *replica_base(const struct replica *);
/* Makes the memory that a size needs: file, mapping, bitmaps. -ATOLL_ENOMEM. */
int replica_allocate(struct replica *, uint64_t size, struct error *);
/* Changes the size. Chunks wholly behind the old end are present and zero when `fill`, else
 * missing; bytes behind the new end become zero and lose marks. Not while chunks are pulled.
 * -ATOLL_ENOMEM. */
int replica_resize(struct replica *, uint64_t size, bool fill, struct error *);
enum chunk_state { CHUNK_MISSING, CHUNK_PULLED /* is being */, CHUNK_PRESENT };
/* Keeps the counts; a chunk that goes missing loses its twin. */
void replica_chunk(struct replica *, uint64_t chunk, enum chunk_state);
/* The memory file, or one that cannot be written; -1 without a descriptor to be had. */
int replica_descriptor(struct replica *, bool writable);
/* All bytes of [off, off + len) are here. */
bool replica_has(const struct replica *, uint64_t off, uint64_t len);
/* Twins of these chunks with the bytes that they have now. -ATOLL_ENOMEM (also for want of room).
 */
int replica_track(struct replica *, uint64_t first, uint64_t last, struct error *);
/* Forgets the bytes: no chunk present, nothing written. */
void replica_publish(struct replica *);
/* Deleted elsewhere, or here: out of the table; handles learn of it. */
void replica_stale(struct replica *);
/* Marks written bytes; remembers when that is no longer possible. */
void replica_mark(struct replica *, uint64_t start, uint64_t end);
/* Bytes that are tracked or have a merge rule differ from their twins. */
bool replica_differs(const struct replica *, uint64_t start, uint64_t end);
/* Something unpushed would be lost with it. */
bool replica_unpushed(const struct replica *);
void replica_pin(struct replica *);
void replica_unpin(struct replica *); /* may free it */
/* Out of the table, memory given back. */
void replica_drop(struct replica *);
uint64_t replica_charge(const struct replica *);
/* Asserts the invariants, which costs a walk: for tests. */
void replica_check(const struct replica *);
void tier_check(const struct state_tier *);

/* ---- line.c ---- */
/* Waits for its turn, then start runs; it ends with line_leave. Pins the value. */
void line_enter(struct replica *, struct task *, void (*start)(struct task *), bool exclusive);
void line_leave(struct task *);
/* No pulls of missing chunks may begin: something exclusive runs or is next. */
bool line_forbids_pulls(const struct replica *);
/* A pull ended. */
void line_pull_ended(struct replica *);

/* ---- open.c ---- */
void open_start(struct pending *);
void close_start(struct pending *);
void delete_start(struct pending *);
void open_kick(struct replica *); /* no longer blocked: its opens go on */
void attachment_end(struct attachment *);
/* The worker that may have spoilt it is gone: what is unpushed must go too. */
void replica_repair(struct replica *);
/* Splits "@owner/key"; checks key, tenant and grant. 0 or a negative code, reported. */
int open_resolve(struct pending *, uint32_t needed, bool may_be_empty);

/* ---- pull.c ---- */
void ensure_start(struct pending *);
/* Goes on with `then` when these bytes are here, which may be at once; or fails the request. */
void chunks_need(struct pending *, uint64_t off, uint64_t len, void (*then)(struct pending *));
/* Looks again at the requests that wait for chunks. */
void pull_kick(struct replica *);
/* ---- refresh.c ---- */
void pull_start(struct pending *);
/* Brings the whole copy up to the global version; done with 0 or a code (-ATOLL_ESTALE: gone). */
int replica_refresh(struct replica *, bool discard, void (*done)(void *, int, uint64_t moved),
                    void *);

/* ---- push.c ---- */
void push_start(struct pending *);
/* ---- change.c ---- */
void written_start(struct pending *);
void merge_start(struct pending *);
void resize_start(struct pending *);
/* ---- push.c, again ---- */
/* Pushes everything that would be lost with the value. */
int replica_push_all(struct replica *, void (*done)(void *, int), void *context);

/* ---- twin.c ---- */
uint32_t twin_width(uint32_t op); /* bytes of an operand */
/* Bytes to send for local and its twin: the difference, or local itself. len: a multiple. */
void twin_difference(uint32_t op, uint8_t *out, const uint8_t *local, const uint8_t *twin,
                     uint64_t len);
/* Copies, or compares with a twin, bytes that guests write at the same time: an aligned operand of
 * 8 or 4 bytes is read whole. */
void shared_read(uint8_t *to, const uint8_t *shared, uint64_t len);
bool shared_differs(const uint8_t *shared, const uint8_t *twin, uint64_t len);
/* New global bytes come in: what was done to shared since twin is kept on top of them, while guests
 * go on; twin becomes global. written: SET bytes are kept. */
void twin_rebase(uint32_t op, uint8_t *shared, uint8_t *twin, const uint8_t *global, uint64_t len,
                 bool written);

/* ---- lock.c, lease.c ---- */
void lock_start(struct pending *);
void unlock_start(struct pending *);
int node_lock_release(struct attachment *); /* -ATOLL_ENOENT */
void lease_start(struct pending *);
void lease_release(struct pending *);
void lease_end(struct attachment *); /* the attachment goes away */
/* The fence that a push must carry; -ATOLL_ESTALE when the lock was lost. */
int lease_fence(const struct attachment *, uint64_t *token);

/* ---- entries.c, object.c ---- */
void append_start(struct pending *);
void entries_start(struct pending *);
void clear_start(struct pending *);
void list_start(struct pending *);
void version_start(struct pending *);
void object_open_start(struct pending *);
void object_start(struct pending *);

/* ---- room.c ---- */
/* Room for so many more bytes: 0; or -ATOLL_EAGAIN: the request waits and is resumed; or
 * -ATOLL_ENOMEM. */
int room_take(struct pending *, uint64_t bytes);
/* Evicts what can go at once. */
bool room_make(struct state_tier *, uint64_t bytes);
/* Evicts up to so many values, for want of slots or descriptors; false: none can go. */
bool room_make_values(struct state_tier *, uint32_t count);
/* The waiting requests look again at the next tick. */
void room_kick(struct state_tier *);
/* Its eviction is over, one way or the other. */
void room_left(struct replica *);

#endif
