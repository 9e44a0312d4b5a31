/*
 * Guest threads: taking calls up, running them until they end, park or have had their slice.
 *
 * A call is handed over without a thread switch where that is possible: a parent that chains one
 * call and then waits for it parks, and its thread finds the child as the deepest runnable call;
 * when the child ends, the parent is ready, and again the deepest. So the first call that a thread
 * queues wakes nobody. It is announced when a second one follows, when the parent makes another
 * host call first, or by the timekeeper after a millisecond.
 *
 * Interruption. thread.arena is set while the arena may be interrupted. It is set without the lock
 * and cleared under it, so whoever holds the lock may use it; a stop that is noted before it is set
 * is seen by the thread itself, which looks at call.stop afterwards.
 */
#include "node/worker/process.h"

#include <errno.h>
#include <stdio.h>

#define SPIN_NS 10000 /* a thread looks for work so long before it sleeps */

/* ---- announcing ---- */

void guest_announce(struct worker *w)
{
    if (atomic_load(&w->sleeping))
        ring_wake(&w->link->in);
}

void guest_other_call(struct faaslet *f)
{
    struct guest_thread *t = f->thread;
    if (!atomic_load_explicit(&t->unannounced, memory_order_relaxed))
        return;
    atomic_store(&t->unannounced, false);
    guest_announce(t->worker);
}

/* ---- ends ---- */

static void end_stopped(struct guest_thread *t, struct call *c)
{
    bool late = atomic_load(&c->stop) == STOP_DEADLINE;
    if (c->request)
        remote_cancel(t->worker, c);
    struct call_end end = {
        .status = late ? CALL_TIMEDOUT : CALL_CANCELLED,
        .code = late ? -ATOLL_ETIMEDOUT : -ATOLL_ECANCELED,
        .text = late ? "its deadline passed" : "it was cancelled",
    };
    call_finish(t->worker, t, c, &end);
}

static void end_refused(struct guest_thread *t, struct call *c, const struct error *e)
{
    struct call_end end = {.status = CALL_REJECTED, .code = e->code, .text = e->text};
    call_finish(t->worker, t, c, &end);
}

/* Kind and innermost frames, for people. */
static void trap_text(const struct trap_info *trap, char *out, size_t size)
{
    int at = snprintf(out, size, "%s%s%s", trap_kind_name(trap->kind), trap->message[0] ? ": " : "",
                      trap->message);
    for (uint32_t k = 0; k < trap->frame_count && k < 8 && (size_t)at < size; k++)
        at += snprintf(out + at, size - (size_t)at, "%s function %u at 0x%x", k ? "," : "; in",
                       trap->frames[k].function, trap->frames[k].wasm_offset);
}

static void end_trapped(struct guest_thread *t, struct call *c, const struct trap_info *trap)
{
    char text[MESSAGE_TEXT_MAX];
    trap_text(trap, text, sizeof text);
    c->faaslet->trapped = true;
    struct call_end end = {.status = CALL_TRAPPED, .code = -ATOLL_ETRAP, .text = text};
    call_finish(t->worker, t, c, &end);
}

/* The sequence is over, or the guest left it, with this code. */
static void end_with_code(struct guest_thread *t, struct call *c, int32_t code)
{
    struct error e;
    struct call_end end = {
        .status = code == 0 ? CALL_OK : CALL_FAILED,
        .code = code,
        .text = c->faaslet->failure,
    };
    if (c->zygote && code == 0 && load_finish(t->worker, c, &e) < 0)
        end = (struct call_end){.status = CALL_FAILED, .code = e.code, .text = e.text};
    call_finish(t->worker, t, c, &end);
}

/* ---- what follows a run ---- */

/* Its slice is over, or it was asked to stop, or the request came too late to mean anything. True
 * when it goes on. */
static bool run_interrupted(struct guest_thread *t, struct call *c)
{
    struct worker *w = t->worker;
    if (atomic_load(&c->stop)) {
        end_stopped(t, c);
        return false;
    }
    pthread_mutex_lock(&w->lock);
    bool others = queue_any(&w->queue);
    if (others) {
        guest_leave(t);
        if (atomic_load(&c->stop))
            queue_ready(w, c);
        else
            queue_expired(w, c);
    } else {
        t->since_ns = clock_monotonic_ns();
    }
    pthread_mutex_unlock(&w->lock);
    return !others;
}

static bool run_parked(struct guest_thread *t, struct call *c)
{
    struct worker *w = t->worker;
    const struct host_park *park = arena_park(c->faaslet->arena);
    pthread_mutex_lock(&w->lock);
    /* A request to stop that comes before the host call is tried again keeps it from being tried;
     * what had woken the call would be lost. */
    bool stop = atomic_load(&c->stop),
         again = c->woken || atomic_load(&c->faaslet->arena->context.stop);
    c->woken = false;
    if (!stop && !again) {
        guest_leave(t);
        t->waiting = c;
        c->stage = STAGE_PARKED;
        if (park->deadline_ns != HOST_NO_DEADLINE) {
            timer_set(&w->wheel, &c->wake, park->deadline_ns);
            timekeeper_need(w, park->deadline_ns);
        }
        if (park->fd_count)
            timekeeper_watch(w, c, park);
    }
    pthread_mutex_unlock(&w->lock);
    if (stop)
        end_stopped(t, c);
    return !stop && again;
}

/* ---- running ---- */

static int invoke(struct faaslet *f, bool resume, union host_slot *slot, struct run_result *result,
                  struct error *e)
{
    if (resume && !ask_settle(f)) {
        result->status = RUN_PARKED; /* woken for nothing: it still waits for an answer */
        return 0;
    }
    if (resume)
        return arena_resume(f->arena, slot, result, e);
    *slot = (union host_slot){0};
    return instance_invoke(arena_primary(f->arena), f->functions[f->function_at], slot, result, e);
}

/* An arena that the engine refuses to run: as a trap. */
static void run_impossible(struct run_result *result, const struct error *e)
{
    result->status = RUN_TRAP;
    result->trap.kind = TRAP_HOST;
    result->trap.frame_count = 0;
    snprintf(result->trap.message, sizeof result->trap.message, "%.150s", e->text);
}

/* Whether the next run may begin. Takes back a request to stop that is older: one for the end of a
 * slice may have come when the guest was about to park, and would keep it parked. One for the end
 * of the call is noted in call.stop first, and one for the end of the process in worker.over, so
 * that neither is lost. */
static bool run_allowed(const struct call *c, struct faaslet *f)
{
    atomic_store(&f->arena->context.stop, 0);
    return !atomic_load(&c->stop);
}

/* The process ends: the call stays where it is. */
static void call_put_down(struct guest_thread *t, struct call *c)
{
    struct worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    guest_leave(t);
    c->stage = STAGE_READY;
    pthread_mutex_unlock(&w->lock);
}

/* Runs the call's functions, the first of them from where it was suspended if resume is set. */
static void call_run(struct guest_thread *t, struct call *c, bool resume)
{
    struct faaslet *f = c->faaslet;
    struct run_result result;
    struct error e;
    union host_slot slot = {0};
    f->thread = t;
    atomic_store(&t->arena, f->arena);
    while (f->function_at < f->function_count) {
        bool allowed = run_allowed(c, f);
        if (atomic_load(&t->worker->over)) {
            call_put_down(t, c);
            return;
        }
        if (!allowed) {
            end_stopped(t, c);
            return;
        }
        if (invoke(f, resume, &slot, &result, &e) < 0)
            run_impossible(&result, &e);
        resume = result.status != RUN_DONE;
        switch (result.status) {
        case RUN_DONE: f->function_at++; break;
        case RUN_EXIT: end_with_code(t, c, result.exit_code); return;
        case RUN_TRAP: end_trapped(t, c, &result.trap); return;
        case RUN_INTERRUPTED:
            if (!run_interrupted(t, c))
                return;
            break;
        case RUN_PARKED:
            if (!run_parked(t, c))
                return;
            break;
        }
    }
    f->returned = true;
    end_with_code(t, c, slot.i32);
}

/* ---- starting ---- */

static ssize_t stream_output(void *context, const void *bytes, size_t len)
{
    struct faaslet *f = context;
    if (f->call->zygote) { /* which has no output */
        faaslet_log(f, 1, bytes, (uint32_t)(len < UINT32_MAX ? len : UINT32_MAX));
        return (ssize_t)len;
    }
    if (f->output.used)
        return (ssize_t)len; /* atoll_output_… says what the output is */
    int rc = call_output_append(&f->output, bytes, len);
    return rc == 0 ? (ssize_t)len : rc == -ATOLL_ELIMIT ? -EFBIG : -ENOMEM;
}

static void stream_log(void *context, const char *line, size_t len)
{
    struct faaslet *f = context;
    faaslet_log(f, 2, line, (uint32_t)len);
}

/* Time that the running call has spent on threads. */
static int64_t call_cpu_ns(const struct call *c)
{
    return (int64_t)c->run_ns + clock_monotonic_ns() - c->segment_ns;
}

static int64_t stream_cpu(void *context)
{
    const struct faaslet *f = context;
    return f && f->call ? call_cpu_ns(f->call)
                        : 0; /* a world that an image is made from has none */
}

struct wasi_streams faaslet_streams(struct faaslet *f, struct blob *input)
{
    return (struct wasi_streams){.input = input ? blob_bytes(input) : (const uint8_t *)"",
                                 .input_len = input ? input->len : 0,
                                 .context = f,
                                 .output = stream_output,
                                 .log = stream_log,
                                 .cpu_ns = stream_cpu};
}

/* What the call brings into the faaslet's world. */
static int world_begin(struct faaslet *f, const struct call *c, struct error *e)
{
    struct blob *arguments = c->root ? c->app->arguments : NULL;
    struct wasi_call call = {
        .streams = faaslet_streams(f, c->input),
        .args = arguments ? (const char *)blob_bytes(arguments) : NULL,
        .args_len = arguments ? (uint32_t)arguments->len : 0,
    };
    if (!call.streams.input)
        return error_set(e, ATOLL_ENOMEM, "the input cannot be mapped");
    return wasi_reset(f->wasi, &call, e);
}

/* restored: its memory is the image's. */
static void functions_set(struct faaslet *f, const struct call *c, bool restored)
{
    const struct entries *entries = &f->proto->entries;
    f->function_at = f->function_count = 0;
    if (restored && entries->on_restore != UINT32_MAX)
        f->functions[f->function_count++] = entries->on_restore;
    f->functions[f->function_count++] = c->function == UINT32_MAX ? entries->main : c->function;
}

/* Gives the call its faaslet. */
static int call_begin(struct guest_thread *t, struct call *c, struct error *e)
{
    struct worker *w = t->worker;
    int64_t begun = c->segment_ns;
    enum call_temperature temperature;
    struct faaslet *f;
    c->queue_ns += (uint64_t)(begun > c->queued_ns ? begun - c->queued_ns : 0);
    int rc = pool_take(w, c, &temperature, &f, e);
    if (rc < 0)
        return rc;
    c->temperature = (uint8_t)(c->cold ? CALL_COLD : temperature);
    c->faaslet = f;
    f->call = c;
    call_output_begin(&f->output, c->version->manifest.output_bytes);
    functions_set(f, c, temperature != CALL_KEPT);
    rc = world_begin(f, c, e);
    if (c->memory_max)
        faaslet_limit_memory(f, c->memory_max);
    int64_t now = clock_monotonic_ns();
    c->restore_ns = (uint64_t)(now - begun);
    c->segment_ns = now; /* not run time */
    return rc;
}

static void zygote_begin(struct guest_thread *t, struct call *c)
{
    struct error e;
    int rc = load_begin(t->worker, c, &e);
    if (rc > 0) {
        call_run(t, c, false);
        return;
    }
    struct call_end end = {.status = rc < 0 ? CALL_FAILED : CALL_OK, .code = rc};
    if (rc < 0)
        end.text = e.text;
    call_finish(t->worker, t, c, &end);
}

/* Its version is being loaded again: it waits with the others. */
static void call_put_back(struct guest_thread *t, struct call *c)
{
    struct worker *w = t->worker;
    pthread_mutex_lock(&w->lock);
    guest_leave(t);
    queue_ended(w, c);
    if (atomic_load(&c->stop))
        queue_ready(w, c);
    else
        queue_new(w, c);
    pthread_mutex_unlock(&w->lock);
}

/* What a thread does with a call that it took from the queue. */
static void call_take_up(struct guest_thread *t, struct call *c)
{
    struct error e;
    if (atomic_load(&c->stop)) {
        end_stopped(t, c);
    } else if (c->faaslet) {
        call_run(t, c, true);
    } else if (c->zygote) {
        zygote_begin(t, c);
    } else {
        int rc = call_begin(t, c, &e);
        if (rc == 0)
            call_run(t, c, false);
        else if (rc == -ATOLL_EAGAIN)
            call_put_back(t, c);
        else
            end_refused(t, c, &e);
    }
}

/* ---- the thread ---- */

/* Under worker.lock. */
static void call_taken(struct guest_thread *t, struct call *c)
{
    struct worker *w = t->worker;
    c->stage = STAGE_RUNNING;
    c->woken = false;
    c->direct |= c->parent && c->parent == t->waiting;
    t->waiting = NULL;
    c->segment_ns = t->since_ns = clock_monotonic_ns();
    t->running = c;
    if (++w->running == w->thread_count)
        timekeeper_busy(w, c->segment_ns);
}

void guest_leave(struct guest_thread *t)
{
    struct call *c = t->running;
    struct version *v = c->version;
    int64_t ran = clock_monotonic_ns() - c->segment_ns;
    c->run_ns += (uint64_t)ran;
    v->runtime += ran * 100 / v->manifest.cpu_weight;
    if (c->faaslet)
        c->faaslet->thread = NULL;
    t->running = NULL;
    atomic_store(&t->arena, NULL);
    t->worker->running--;
}

/* The call to run, or NULL; then, if it is to sleep, the thread counts as sleeping. */
static struct call *call_next(struct guest_thread *t, bool sleep)
{
    struct worker *w = t->worker;
    atomic_store_explicit(&t->unannounced, false, memory_order_relaxed);
    pthread_mutex_lock(&w->lock);
    struct call *c = queue_take(w);
    if (c)
        call_taken(t, c);
    else if (sleep)
        atomic_fetch_add(&w->sleeping, 1);
    bool more = c && queue_any(&w->queue);
    pthread_mutex_unlock(&w->lock);
    if (more)
        guest_announce(w);
    return c;
}

/* Looks a while longer: what follows soon costs no system call then. */
static bool work_appears(struct worker *w)
{
    if (atomic_exchange(&w->spinning, true))
        return false; /* one is enough */
    int64_t until = clock_monotonic_ns() + SPIN_NS;
    bool found = false;
    while (!found && clock_monotonic_ns() < until) {
        for (int k = 0; k < 32; k++)
            __builtin_ia32_pause();
        found = ring_pending(&w->link->in) || queue_any(&w->queue) || atomic_load(&w->over);
    }
    atomic_store(&w->spinning, false);
    return found;
}

/* Sleeps until there may be work; the call that turned up meanwhile, or NULL. */
static struct call *guest_sleep(struct guest_thread *t)
{
    struct worker *w = t->worker;
    if (work_appears(w))
        return NULL;
    uint32_t seen = ring_signal(&w->link->in);
    struct call *c = call_next(t, true);
    if (c)
        return c;
    if (!ring_pending(&w->link->in) && !atomic_load(&w->over))
        ring_wait(&w->link->in, seen, -1);
    atomic_fetch_sub(&w->sleeping, 1);
    return NULL;
}

bool guest_step(struct guest_thread *t)
{
    if (ring_pending(&t->worker->link->in))
        worker_receive(t->worker);
    struct call *c = call_next(t, false);
    if (c)
        call_take_up(t, c);
    return c || pool_reset_one(t->worker);
}

void *guest_main(void *thread)
{
    struct guest_thread *t = thread;
    while (!atomic_load(&t->worker->over)) {
        struct call *c = guest_step(t) ? NULL : guest_sleep(t);
        if (c)
            call_take_up(t, c);
    }
    return NULL;
}
