/* See bare_worker.h. */
#define _GNU_SOURCE
#include "bare_worker.h"

#include "artefact_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RETRIES 8

static void check(int rc, const struct error *e)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bare worker: %s\n", e->text);
    abort();
}

/* ---- the supervisor's end ---- */

static void answer(struct bare_worker *b, uint64_t id, int64_t result, const void *payload,
                   uint32_t len)
{
    struct error e;
    struct message m = {.header = {.kind = MESSAGE_ANSWER, .id = id},
                        .answer.result = result,
                        .parts = {payload},
                        .part_len = {len}};
    check(link_send(b->supervisor, &m, NULL, 0, &e), &e);
}

static void request_handle(struct bare_worker *b, const struct message *m)
{
    static const char noop[] = "acme/noop", calls[] = "acme/calls";
    uint8_t payload[16] = {0};
    const uint8_t *name = m->parts[0];
    uint32_t len = m->part_len[0];
    if (m->header.id == 0)
        return; /* no answer is wanted */
    if (m->request.kind == REQUEST_IDS) {
        store_u64(payload, b->next_id);
        store_u64(payload + 8, 1u << 20);
        b->next_id += 1u << 20;
        answer(b, m->header.id, 0, payload, 16);
    } else if (m->request.kind == REQUEST_RESOLVE && len == sizeof noop - 1 &&
               memcmp(name, noop, len) == 0) {
        store_u32(payload, BARE_NOOP);
        answer(b, m->header.id, 0, payload, 12);
    } else if (m->request.kind == REQUEST_RESOLVE && len == sizeof calls - 1 &&
               memcmp(name, calls, len) == 0) {
        store_u32(payload, BARE_NOOP); /* calls never runs as a child here: it could go on for ever */
        answer(b, m->header.id, 0, payload, 12);
    } else {
        answer(b, m->header.id, -ATOLL_ENOENT, NULL, 0);
    }
}

/* Takes what the worker has said. */
static void listen(struct bare_worker *b)
{
    struct message m;
    struct error e;
    int fds[MESSAGE_FDS_MAX], rc;
    while ((rc = link_receive(b->supervisor, &m, fds, &e)) > 0) {
        if (m.header.kind == MESSAGE_LOADED && m.loaded.code < 0) {
            fprintf(stderr, "bare worker: %.*s\n", (int)m.part_len[0], (const char *)m.parts[0]);
            abort();
        }
        b->results += m.header.kind == MESSAGE_RESULT;
        if (m.header.kind == MESSAGE_REQUEST)
            request_handle(b, &m);
        for (uint32_t k = 0; k < m.header.fds; k++)
            close(fds[k]);
    }
    check(rc, &e);
}

static void load(struct bare_worker *b, uint32_t version, const char *name, const char *manifest)
{
    struct error e;
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    int fd = artefact_file(path);
    struct message m = {.header = {.kind = MESSAGE_LOAD, .id = version},
                        .load = {.tenant = "acme"},
                        .parts = {(const uint8_t *)manifest},
                        .part_len = {(uint32_t)strlen(manifest)}};
    snprintf(m.load.function, sizeof m.load.function, "%s", name);
    check(link_send(b->supervisor, &m, &fd, 1, &e), &e);
    close(fd);
    bare_worker_run(b, 100);
}

/* ---- the worker's end ---- */

struct bare_worker *bare_worker_create(const char *manifest)
{
    static const struct worker_settings settings = {.threads = 1};
    struct error e;
    int fds[LINK_DESCRIPTORS];
    struct bare_worker *b = calloc(1, sizeof *b);
    b->supervisor = malloc(sizeof *b->supervisor);
    b->next_id = (1ull << 48) + 1;
    check(link_pair(b->supervisor, fds, &e), &e);
    check(worker_begin(&b->worker, fds, &settings, &e), &e);
    b->worker.threads = &b->thread;
    b->thread.worker = &b->worker;
    ids_ask(&b->worker, IDS_LOW);
    load(b, BARE_CALLS, "calls", manifest);
    load(b, BARE_NOOP, "noop", "{\"name\":\"acme/noop\"}");
    return b;
}

void bare_worker_run(struct bare_worker *b, int steps)
{
    for (bool any = true; any && steps > 0; steps--) {
        listen(b);
        any = guest_step(&b->thread);
        listen(b);
        any |= ring_pending(&b->worker.link->in);
    }
}

void bare_worker_begin(struct bare_worker *b, const void *input, size_t len, bool http)
{
    struct error e;
    static const char head[] = "POST /x\nhost: here\n";
    struct worker *w = &b->worker;
    struct message m = {.header = {.kind = MESSAGE_CALL, .id = b->next_id++},
                        .call = {.version = BARE_CALLS, .priority = 5},
                        .parts = {(const uint8_t *)head, NULL, input},
                        .part_len = {http ? sizeof head - 1 : 0, 0, (uint32_t)len}};
    m.call.queued_ns = clock_monotonic_ns();
    check(link_send(b->supervisor, &m, NULL, 0, &e), &e);
    worker_receive(w);
    b->call = guest_begin(&b->thread, &e);
    if (!b->call) {
        fprintf(stderr, "bare worker: the call did not begin\n");
        abort();
    }
    b->faaslet = b->call->faaslet;
    b->faaslet->thread = &b->thread;
}

void bare_worker_end(struct bare_worker *b)
{
    struct call_end end = {.status = CALL_OK};
    b->faaslet->arena->caller = NULL;
    call_finish(&b->worker, &b->thread, b->call, &end);
    b->call = NULL;
    b->faaslet = NULL;
    bare_worker_run(b, 100000);
}

static const struct import_entry *const tables[] = {imports_call,   imports_chain,
                                                    imports_object, imports_state,
                                                    imports_system, imports_net};

const struct import_entry *bare_worker_imports(uint32_t index)
{
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct import_entry *entry = tables[t]; entry->name; entry++)
            if (index-- == 0)
                return entry;
    return NULL;
}

const struct import_entry *bare_worker_import(const char *name)
{
    const struct import_entry *entry;
    for (uint32_t k = 0; (entry = bare_worker_imports(k)); k++)
        if (strcmp(entry->name, name) == 0)
            return entry;
    fprintf(stderr, "bare worker: there is no %s\n", name);
    abort();
}

/* One thread runs a call that is parked and others that are not: the parked one stands aside. */
static void others_run(struct bare_worker *b)
{
    struct worker *w = &b->worker;
    struct guest_thread *t = &b->thread;
    t->running = NULL;
    w->running--;
    bare_worker_run(b, 1000);
    t->running = b->call;
    w->running++;
    b->faaslet->thread = t;
}

enum host_status bare_worker_call(struct bare_worker *b, host_function function,
                                  union host_slot *slots)
{
    union host_slot arguments[8];
    struct arena *arena = b->faaslet->arena;
    memcpy(arguments, slots, sizeof arguments);
    enum host_status status = HOST_PARK;
    for (int tries = 0; status == HOST_PARK && tries < RETRIES; tries++) {
        memcpy(slots, arguments, sizeof arguments);
        if (tries == 0) {
            b->park.fd_count = 0;
            b->park.deadline_ns = HOST_NO_DEADLINE;
        }
        arena->caller = arena->primary;
        struct host_call hc = {.arena = arena,
                               .data = b->faaslet->wasi,
                               .slots = slots,
                               .park = &b->park,
                               .resumed = tries > 0};
        status = function(&hc);
        arena->caller = NULL;
        if (status == HOST_PARK)
            others_run(b);
        /* What the engine's run loop would do when the answer has come, or never comes. */
        if (status == HOST_PARK && b->faaslet->request)
            ask_give_up(b->faaslet);
    }
    listen(b);
    return status;
}
