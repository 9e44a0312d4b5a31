/*
 * The inside of a worker process, shared by the files of this folder.
 *
 *   process.c     start, threads      confine.c   what it gives up      end.c       its end
 *   receive.c     messages from the supervisor
 *   guest.c       a guest thread: takes a call, runs it, ends it
 *   finish.c      what is done when a call has ended; results
 *   call.c        the tree of calls         queue.c   which is next       timer.c   when
 *   version.c     versions; load.c loads them, import.c finds their imports
 *   pool.c        faaslets: making, resetting, keeping, evicting
 *   timekeeper.c  deadlines, slices, descriptors
 *   ask.c         requests to the supervisor      names.c   names of functions
 *   chain.h       from what a guest asks for to a call: callee.c, child.c, child_remote.c
 *   import_*.c    host functions
 *
 * Locks. worker.lock guards calls, queues, versions, pools, requests, names and timers; it is held
 * for moments, never while guest code runs, a message is sent or an instance is made or reset.
 * receive_lock is held by the thread that drains the ring, and taken before worker.lock. A link has
 * a lock of its own for sending, taken after all others are released.
 */
#ifndef NODE_WORKER_PROCESS_H
#define NODE_WORKER_PROCESS_H

#include "base/clock.h"
#include "node/worker/call.h"
#include "node/worker/queue.h"
#include "node/worker/shape.h"
#include "node/worker/version.h"
#include "node/worker/worker.h"

#include <pthread.h>

#define SLICE_NS         10000000ll /* a call runs so long when others wait */
#define CALL_BUCKETS_MIN 4096u
#define VERSION_BUCKETS  1024u
#define DIRTY_MAX        16u /* instances of a version that wait for their reset */
#define REQUESTS_MAX     65536u
#define NAME_BUCKETS     256u
#define NAMES_MAX        4096u
#define DESCRIPTORS_MAX  256u /* of a guest */
#define ID_BLOCKS        8u
#define IDS_LOW          8192u /* ask for more below it */

struct guest_thread {
    struct worker *worker;
    pthread_t thread;
    struct call *running;          /* under worker.lock */
    int64_t since_ns;              /* when the call's slice began */
    struct call *waiting;          /* that it parked last, if it took up none since; or gone */
    _Atomic(struct arena *) arena; /* that may be interrupted; see guest.c */
    /* It has put one call into the queue and woken nobody, expecting to run it itself. */
    _Atomic bool unannounced;
};

/* A request to the supervisor whose answer has not come. Its id on the wire is generation << 32 |
 * index + 1, so that an answer that is not wanted any more is known as such. */
enum request_owner { REQUEST_FREE, REQUEST_OF_FAASLET, REQUEST_OF_CALL, REQUEST_FOR_IDS };
struct request {
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
    enum request_owner owner;
    struct faaslet *faaslet;
    struct call *call;
};

struct name_entry;
struct attach_table;

LIST_HEAD(call_bucket, call);
LIST_HEAD(version_bucket, version);

struct shared_index;

struct worker {
    struct link *link;
    pthread_mutex_t lock, receive_lock;
    struct guest_thread *threads;
    uint32_t thread_count;
    _Atomic uint32_t sleeping; /* guest threads that wait, or are about to */
    _Atomic bool spinning;     /* one looks for work before it sleeps */
    uint32_t running;          /* guest threads that have a call */
    uint32_t instances_max;    /* calls at a time */
    uint32_t arenas_max; /* more: every thread may have one that lost its call and is being reset,
                            and one that it makes a version with */
    uint64_t memory_max;
    char tenant[64]; /* of the first version; "" before */

    struct run_queue queue;
    uint32_t slots_used;  /* by started calls */
    uint32_t arenas;      /* that exist */
    uint64_t memory_used; /* by started calls */

    struct call_bucket *calls; /* by id */
    uint32_t call_count, call_buckets;
    struct call *spare_calls; /* freed ones, kept */
    uint32_t spare_count;
    uint64_t live; /* calls that have not ended, loading ones included */

    struct id_block {
        uint64_t next, end;
    } ids[ID_BLOCKS]; /* call ids that the supervisor gave and nobody has */
    bool ids_asked;

    struct version_bucket versions[VERSION_BUCKETS];
    LIST_HEAD(, version) all_versions;
    LIST_HEAD(, version) dead_versions; /* to be freed by versions_bury */
    struct version_bucket unnamed;      /* replaced, with calls that have not ended */
    bool cleared;                       /* a version lost its image: versions_drain_cleared */
    uint32_t version_count;             /* of all three lists */
    struct faaslet *oldest, *newest;    /* idle faaslets of all versions */
    _Atomic uint32_t dirty_count;       /* of them, not yet reset */

    struct request *requests;
    uint32_t request_count, request_capacity, request_free;

    struct name_entry *names[NAME_BUCKETS];
    uint32_t name_count;
    uint64_t name_epoch; /* grows when a name changes its meaning */

    struct wheel wheel;
    struct timekeeper {
        pthread_t thread;
        int epoll, event;
        int64_t until_ns; /* it sleeps till then; under worker.lock */
        int64_t busy_ns;  /* last moment at which it had to tick */
        int64_t swept_ns;
        _Atomic bool ticking; /* looked at without the lock, see children_announce */
        uint32_t watched;     /* descriptors */
    } timekeeper;

    struct shared_index *shared;          /* shared_files.c, under lock; NULL: none known yet */
    _Atomic(struct attach_table *) state; /* import_state.c: values known here; NULL: none opened */
    struct bucket network[2];             /* of the tenant: out, in */
    int unconnected[2]; /* import_net.c: stream and datagram, in place of sockets that are not
                           connected yet; they belong to no network */

    bool stopping; /* no new calls; ends when none lives, or at stop_ns */
    int64_t stop_ns;
    _Atomic bool over; /* threads leave */
    int exit_status;
};

/* ---- receive.c ---- */
/* Handles what is in the ring, if no other thread does. */
void worker_receive(struct worker *);

/* ---- process.c ---- */
/* Everything but the threads, in a worker of zeros. */
int worker_begin(struct worker *, const int descriptors[static LINK_DESCRIPTORS],
                 const struct worker_settings *, struct error *);

/* ---- end.c ---- */
/* The process ends: threads put down what they do and leave their loops. Without locks. */
void worker_end(struct worker *, int status);
/* Gives back what worker_begin made and what came afterwards, but not the worker itself and its
 * threads' records. No thread runs any more. */
void worker_close(struct worker *);

/* ---- guest.c ---- */
void *guest_main(void *thread);
/* What a guest thread does at a time: takes messages, runs a call, or resets an instance. False
 * when there was nothing to do. */
bool guest_step(struct guest_thread *);
/* The thread lets go of its call, whatever becomes of it. Under worker.lock. */
void guest_leave(struct guest_thread *);
/* Wakes a sleeping guest thread, if any, after work was queued. Not under worker.lock. */
void guest_announce(struct worker *);
/* A call's standard streams. The input is NULL when its file cannot be mapped. */
struct wasi_streams faaslet_streams(struct faaslet *, struct blob *input);
/* A host function other than await begins: what this thread kept to itself is announced. */
void guest_other_call(struct faaslet *);

/* ---- finish.c ---- */
/* The call has ended (or will be tried again): its result goes where it belongs, what it held is
 * given back, its faaslet goes to the pool. The call may be gone afterwards. thread: that runs it,
 * NULL = none. Without locks. */
void call_finish(struct worker *, struct guest_thread *, struct call *, struct call_end *);
/* Lets go of what a call's faaslet holds outside its arena. Without locks. */
void faaslet_leave(struct faaslet *);
/* Sends; a link that is gone ends the process. */
void worker_send(struct worker *, struct message *, const int *fds, uint32_t count);
/* A line of the guest's, within its limits: 0, or -ATOLL_ELIMIT and it is dropped. */
int faaslet_log(struct faaslet *, uint32_t level, const void *text, uint32_t len);
/* Sends what versions have counted. */
void tallies_send(struct worker *);

/* ---- pool.c ---- */
/* A faaslet for a call that has a slot: in the image's state, or (CALL_KEPT) as a call that this
 * one may see has left it. -ATOLL_ENOMEM when there is no arena or memory for it. Without locks. */
int pool_take(struct worker *, const struct call *, enum call_temperature *, struct faaslet **out,
              struct error *);
/* Whether the manifest lets calls see what this one, which ended well, leaves in memory; notes for
 * whom it is to be kept. Under worker.lock, before the call is freed. */
void pool_keep(struct faaslet *, const struct call *);
/* The call that had it has ended; its version was held (version.calls) and is let go of. Without
 * locks. */
void pool_give(struct worker *, struct faaslet *);
/* The last call of a tree has ended: nothing is kept for it any more. Under worker.lock. */
void pool_app_over(struct worker *, const struct app *);
/* Resets one faaslet that waits for it; false when none does. Without locks. */
bool pool_reset_one(struct worker *);
/* Destroys what has been idle for too long, makes what is to be kept warm. Without locks. */
void pool_sweep(struct worker *, int64_t now_ns);
/* Destroys the idle faaslets of a version. Without locks. */
void pool_drain(struct worker *, struct version *);
/* The guest's memory grows to this and no further, until the reset. */
void faaslet_limit_memory(struct faaslet *, uint64_t bytes);
/* A faaslet without arena; NULL without memory. */
struct faaslet *faaslet_create(struct worker *, struct version *);
/* With its arena, which counts among worker.arenas. Without locks. */
void faaslet_destroy(struct faaslet *);
/* An arena that was admitted does not exist (any more). */
void arena_dismiss(struct worker *);
/* Counts an arena that is about to be made, after evicting an idle one if need be. -ATOLL_ENOMEM.
 * Without locks. */
int arena_admit(struct worker *, struct error *);

/* ---- import_call.c ---- */
/* Copies a part of a blob (NULL: empty) into the guest: how many bytes, or a negative code. */
int64_t blob_read(struct host_call *, struct blob *, uint64_t offset, uint32_t to, uint64_t len);
/* Maps a blob, which is not empty, for reading. */
int blob_map(struct host_call *, const char *name, struct blob *, uint32_t *address);

/* ---- import_net.c ---- */
/* worker.unconnected, which a confined process could not make. */
int sockets_begin(struct worker *, struct error *);
/* Closes what the call had open; faaslet.sockets is NULL then. */
void sockets_end(struct faaslet *);
/* What to bind instead of WASI's function of that name, so that sockets are shaped. */
host_function wasi_shape(const char *name, size_t len, host_function wasi);

/* ---- timekeeper.c ---- */
int timekeeper_begin(struct worker *, struct error *);
void timekeeper_close(struct worker *);
void *timekeeper_main(void *worker);
/* One look at timers and slices, in a process without this thread. */
void timekeeper_look(struct worker *);
/* Something has to be done at at_ns at the latest. Under worker.lock. */
void timekeeper_need(struct worker *, int64_t at_ns);
/* All guest threads are busy, or a call is unannounced: ticks are needed. Under worker.lock. */
void timekeeper_busy(struct worker *, int64_t now_ns);
/* Wakes the call when one of the park's descriptors is ready. Under worker.lock. */
void timekeeper_watch(struct worker *, struct call *, const struct host_park *);
void timekeeper_unwatch(struct worker *, struct call *);

/* ---- ask.c ---- */
/* MESSAGE_ANSWER; takes fd over (-1 = none). */
void request_answered(struct worker *, const struct message *, int fd);
/* Before a faaslet goes on: whether it may. Not while an answer has not come that may still come in
 * time; one that comes too late is a timeout. */
bool ask_settle(struct faaslet *);
/* At the end of a call. */
void ask_end(struct faaslet *);
/* Has another worker run the call, which is STAGE_REMOTE. Without locks. -ATOLL_ELIMIT. */
int remote_call(struct worker *, struct call *, const struct message *, int input_fd);
/* The call is to be ended here: its answer is not wanted any more. Without locks. */
void remote_cancel(struct worker *, struct call *);
/* Asks for call ids if fewer than `wanted` are left and none are on their way. Without locks. */
void ids_ask(struct worker *, uint64_t wanted);

/* ---- names.c ---- */
#define NAME_TEXT_MAX 200u /* "tenant/function@alias" */
/* What a name stood for when it was last looked up. Under worker.lock; false: ask. */
bool name_known(struct worker *, const char *name, uint32_t len, uint32_t *number);
/* epoch: worker.name_epoch from before the supervisor was asked. Under worker.lock. */
void name_learn(struct worker *, const char *name, uint32_t len, uint32_t number, uint64_t epoch);
/* MESSAGE_ALIAS: the name, with any alias, means something else; len 0: all do. worker.lock. */
void name_changed(struct worker *, const char *name, uint32_t len);
void names_free(struct worker *);

/* ---- import.c ---- */
/* The imports of a module as the linker wants them; *out is malloc'ed. -ATOLL_ELINK naming all that
 * are unknown; or, if they are allowed, stubs that trap. */
int imports_resolve(const struct wasm_module *, struct wasi *, bool allow_unknown,
                    struct link_import **out, struct error *);

#endif
