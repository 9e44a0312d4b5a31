/* See bare_worker.h. */
#define _GNU_SOURCE
#include "bare_worker.h"

#include "artefact_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
    b->requests++;
}

static void request_handle(struct bare_worker *b, const struct message *m)
{
    static const char noop[] = "acme/noop";
    uint8_t payload[16] = {0};
    if (m->header.id == 0)
        return; /* no answer is wanted */
    if (m->request.kind == REQUEST_IDS) {
        store_u64(payload, b->next_id);
        store_u64(payload + 8, 1u << 20);
        b->next_id += 1u << 20;
        answer(b, m->header.id, 0, payload, 16);
    } else if (m->request.kind == REQUEST_RESOLVE && m->part_len[0] == sizeof noop - 1 &&
               memcmp(m->parts[0], noop, sizeof noop - 1) == 0) {
        store_u32(payload, BARE_NOOP);
        answer(b, m->header.id, 0, payload, 12);
    } else {
        answer(b, m->header.id, -ATOLL_ENOENT, NULL, 0);
    }
}

static void result_keep(struct bare_worker *b, const struct message *m)
{
    b->results++;
    b->result = m->result;
    memset(b->output, 0, sizeof b->output);
    uint32_t len = m->part_len[2] < sizeof b->output ? m->part_len[2] : sizeof b->output;
    if (len)
        memcpy(b->output, m->parts[2], len);
}

/* Takes what the worker has said. */
static void listen_to(struct bare_worker *b)
{
    struct message m;
    struct error e;
    int fds[MESSAGE_FDS_MAX], rc;
    while ((rc = link_receive(b->supervisor, &m, fds, &e)) > 0) {
        if (m.header.kind == MESSAGE_LOADED && m.loaded.code < 0) {
            fprintf(stderr, "bare worker: %.*s\n", (int)m.part_len[0], (const char *)m.parts[0]);
            abort();
        }
        if (m.header.kind == MESSAGE_RESULT)
            result_keep(b, &m);
        if (m.header.kind == MESSAGE_REQUEST)
            request_handle(b, &m);
        for (uint32_t k = 0; k < m.header.fds; k++)
            close(fds[k]);
    }
    check(rc, &e);
}

/* ---- the worker's end ---- */

/* Everything that can be done now, timers included. */
static void settle(struct bare_worker *b)
{
    for (bool any = true; any;) {
        any = guest_step(&b->thread);
        listen_to(b);
        any |= ring_pending(&b->worker.link->in);
    }
    timekeeper_look(&b->worker);
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
    settle(b);
}

struct bare_worker *bare_worker_create(const char *function, const char *manifest)
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
    load(b, BARE_FUNCTION, function, manifest);
    load(b, BARE_NOOP, "noop", "{\"name\":\"acme/noop\"}");
    return b;
}

void bare_worker_run(struct bare_worker *b, const void *input, size_t len, const char *head)
{
    struct error e;
    struct message m = {
        .header = {.kind = MESSAGE_CALL, .id = b->next_id++},
        .call = {.version = BARE_FUNCTION, .priority = 5, .queued_ns = clock_monotonic_ns()},
        .parts = {(const uint8_t *)head, NULL, input},
        .part_len = {head ? (uint32_t)strlen(head) : 0, 0, (uint32_t)len}};
    struct message cancel = {.header = {.kind = MESSAGE_CANCEL, .id = m.header.id}};
    uint64_t before = b->results;
    check(signals_install(&e), &e); /* a test's runner may have put its own in front */
    check(link_send(b->supervisor, &m, NULL, 0, &e), &e);
    settle(b);
    for (int k = 0; k < 3 && b->results == before; k++) { /* timers of a millisecond */
        usleep(1000);
        settle(b);
    }
    if (b->results == before) {
        check(link_send(b->supervisor, &cancel, NULL, 0, &e), &e);
        settle(b);
    }
    if (b->results == before) {
        fprintf(stderr, "bare worker: a call does not end\n");
        abort();
    }
}
