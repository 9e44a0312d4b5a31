/* See supervisor.h. */
#define _GNU_SOURCE
#include "supervisor.h"

#include "artefact_file.h"
#include "base/clock.h"
#include "base/file.h"
#include "node/address.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_NS 60000000000ll

static void check(int rc, const struct error *e)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "supervisor of a test: %s\n", e->text);
    exit(99);
}

/* ---- the process ---- */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
/* A race ends the process that has it, which its supervisor sees. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "halt_on_error=1";
}
#endif
#endif

/* The leak check of AddressSanitizer, in a build that has it. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* In the child: its exit status, which also says whether it gave back all that it had. */
static int worker_run(struct supervisor *s, const int *fds, const struct worker_settings *settings)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    link_close(s->link);
    int status = worker_main(fds, settings);
    return status == 0 && __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()
               ? SUPERVISOR_LEAK
               : status;
}

struct supervisor *supervisor_start(const struct worker_settings *settings)
{
    struct error e;
    int fds[LINK_DESCRIPTORS];
    struct supervisor *s = calloc(1, sizeof *s);
    s->link = malloc(sizeof *s->link);
    s->ended = calloc(SUPERVISOR_ENDED, sizeof *s->ended);
    s->image = -1;
    s->next_id = (1ull << 48) + 1;
    check(link_pair(s->link, fds, &e), &e);
    s->pid = fork();
    if (s->pid == 0)
        _exit(worker_run(s, fds, settings));
    for (int k = 0; k < LINK_DESCRIPTORS; k++)
        close(fds[k]);
    while (!s->hello.pid && !s->gone)
        supervisor_listen(s, WAIT_NS);
    return s;
}

int supervisor_stop(struct supervisor *s, int64_t grace_ns)
{
    struct error e;
    struct message m = {.header.kind = MESSAGE_STOP, .stop.grace_ns = grace_ns};
    int status = 0;
    (void)link_send(s->link, &m, NULL, 0, &e);
    while (!s->gone)
        supervisor_listen(s, WAIT_NS);
    waitpid(s->pid, &status, 0);
    supervisor_free(s);
    return status;
}

void supervisor_free(struct supervisor *s)
{
    link_close(s->link);
    supervisor_forget(s);
    if (s->image >= 0)
        close(s->image);
    free(s->ended);
    free(s->link);
    free(s);
}

void supervisor_forget(struct supervisor *s)
{
    for (uint32_t k = 0; k < s->ended_count; k++)
        free(s->ended[k].output);
    s->ended_count = 0;
}

void supervisor_send(struct supervisor *s, struct message *m, const int *fds, uint32_t count)
{
    struct error e;
    int rc;
    while ((rc = link_send(s->link, m, fds, count, &e)) == -ATOLL_EAGAIN)
        supervisor_listen(s, 1000000);
    if (rc < 0 && !s->gone)
        check(rc, &e);
}

/* ---- what the worker says ---- */

static void text_keep(char *to, size_t size, const struct message *m, uint32_t part)
{
    size_t len = m->part_len[part] < size - 1 ? m->part_len[part] : size - 1;
    if (len)
        memcpy(to, m->parts[part], len);
    to[len] = 0;
}

static void result_keep(struct supervisor *s, const struct message *m, int fd)
{
    if (s->ended_count == SUPERVISOR_ENDED)
        supervisor_forget(s);
    struct ended *r = &s->ended[s->ended_count++];
    *r = (struct ended){.id = m->header.id, .result = m->result};
    text_keep(r->text, sizeof r->text, m, 0);
    text_keep(r->head, sizeof r->head, m, 1);
    r->head_len = m->part_len[1];
    r->output = calloc(1, m->result.output_len + 1);
    if (fd >= 0 && pread(fd, r->output, m->result.output_len, 0) != (ssize_t)m->result.output_len)
        fprintf(stderr, "the output's file is too short\n");
    if (fd < 0 && m->part_len[2])
        memcpy(r->output, m->parts[2], m->part_len[2]);
}

void supervisor_answer(struct supervisor *s, uint64_t request, int64_t result, const void *payload,
                       uint32_t len)
{
    struct message m = {.header = {.kind = MESSAGE_ANSWER, .id = request},
                        .answer.result = result,
                        .parts = {payload},
                        .part_len = {len}};
    supervisor_send(s, &m, NULL, 0);
}

static void resolve(struct supervisor *s, const struct message *m)
{
    uint8_t payload[12];
    s->resolves++;
    for (int k = 0; k < SUPERVISOR_NAMES && s->names[k].name; k++) {
        if (strlen(s->names[k].name) != m->part_len[0] ||
            memcmp(s->names[k].name, m->parts[0], m->part_len[0]) != 0)
            continue;
        store_u32(payload, s->names[k].version);
        store_u64(payload + 4, s->names[k].rights);
        supervisor_answer(s, m->header.id, 0, payload, sizeof payload);
        return;
    }
    supervisor_answer(s, m->header.id, -ATOLL_ENOENT, NULL, 0);
}

/* Connects whatever it is asked for; what is allowed is for the node to say. */
static void connect_handle(struct supervisor *s, const struct message *m)
{
    const uint8_t *asked = m->parts[0];
    struct address a;
    struct sockaddr_storage to;
    struct message answer = {.header = {.kind = MESSAGE_ANSWER, .id = m->header.id}};
    address_from(asked + 4, asked[0] == 4 ? 4 : 16, &a);
    socklen_t len = address_to_socket(&a, load_u16(asked + 2), &to);
    int fd = socket(to.ss_family, (asked[1] == 1 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
    s->connects++;
    answer.answer.fd = 1;
    (void)connect(fd, (struct sockaddr *)&to, len);
    supervisor_send(s, &answer, &fd, 1);
    close(fd);
}

static void request_handle(struct supervisor *s, const struct message *m, int fd)
{
    uint8_t ids[16];
    if (m->request.kind == REQUEST_RESOLVE) {
        resolve(s, m);
    } else if (m->request.kind == REQUEST_IDS) {
        store_u64(ids, s->next_id);
        store_u64(ids + 8, 65536);
        s->next_id += 65536;
        supervisor_answer(s, m->header.id, 0, ids, sizeof ids);
    } else if (m->request.kind == REQUEST_CONNECT && !s->request) {
        connect_handle(s, m);
    } else if (!s->request || !s->request(s, m, fd)) {
        supervisor_answer(s, m->header.id, -ATOLL_ENOSYS, NULL, 0);
    }
}

static void tally_add(struct message_tally *to, const struct message_tally *from)
{
    const uint64_t *source = (const uint64_t *)(const void *)from;
    uint64_t *sums = (uint64_t *)(void *)to;
    for (size_t k = 0; k < offsetof(struct message_tally, active) / sizeof *sums; k++)
        sums[k] += source[k];
    to->active = from->active;
    to->idle = from->idle;
}

static void handle(struct supervisor *s, const struct message *m, int *fds)
{
    switch ((enum message_kind)m->header.kind) {
    case MESSAGE_HELLO: s->hello = m->hello; break;
    case MESSAGE_LOADED:
        s->loaded_code = m->loaded.code;
        s->loaded_stage = m->loaded.stage;
        text_keep(s->loaded_text, sizeof s->loaded_text, m, 0);
        if (m->loaded.has_image) {
            if (s->image >= 0)
                close(s->image);
            s->image = fds[0];
            fds[0] = -1;
        }
        break;
    case MESSAGE_RESULT: result_keep(s, m, m->header.fds ? fds[0] : -1); break;
    case MESSAGE_CHILD: s->children++; break;
    case MESSAGE_LOG:
        s->log_lines++;
        if (strlen(s->log) + m->part_len[0] < sizeof s->log - 1)
            text_keep(s->log + strlen(s->log), sizeof s->log - strlen(s->log), m, 0);
        break;
    case MESSAGE_TALLY: tally_add(&s->tally, &m->tally); break;
    case MESSAGE_REQUEST: request_handle(s, m, m->header.fds ? fds[0] : -1); break;
    default: break;
    }
    for (uint32_t k = 0; k < m->header.fds; k++)
        if (fds[k] >= 0)
            close(fds[k]);
}

static bool messages_take(struct supervisor *s)
{
    struct message m;
    struct error e;
    int fds[MESSAGE_FDS_MAX], rc;
    bool any = false;
    while ((rc = link_receive(s->link, &m, fds, &e)) > 0) {
        handle(s, &m, fds);
        any = true;
    }
    check(rc, &e);
    return any;
}

void supervisor_listen(struct supervisor *s, int64_t timeout_ns)
{
    uint64_t counter;
    if (messages_take(s) || timeout_ns == 0)
        return;
    if (!ring_sleep_begin(&s->link->in)) {
        messages_take(s);
        return;
    }
    struct pollfd p[2] = {{.fd = s->link->event, .events = POLLIN},
                          {.fd = s->link->socket, .events = POLLRDHUP}};
    poll(p, 2, (int)(timeout_ns / 1000000) + 1);
    ring_sleep_end(&s->link->in);
    if (p[0].revents & POLLIN)
        (void)!read(s->link->event, &counter, sizeof counter);
    messages_take(s);
    if (p[1].revents & (POLLRDHUP | POLLHUP))
        s->gone = true;
}

/* ---- what it is told ---- */

int supervisor_load(struct supervisor *s, uint32_t version, const char *wasm_path,
                    const char *manifest, int image)
{
    int fds[2] = {artefact_file(wasm_path), image};
    struct message m = {.header = {.kind = MESSAGE_LOAD, .id = version},
                        .load = {.tenant = "acme", .function = "calls", .has_image = image >= 0},
                        .parts = {(const uint8_t *)manifest},
                        .part_len = {(uint32_t)strlen(manifest)}};
    snprintf(m.load.version, sizeof m.load.version, "%032x", version);
    s->loaded_code = 1;
    supervisor_send(s, &m, fds, image >= 0 ? 2 : 1);
    close(fds[0]);
    while (s->loaded_code == 1 && !s->gone)
        supervisor_listen(s, WAIT_NS);
    return s->loaded_code;
}

void supervisor_name(struct supervisor *s, const char *name, uint32_t version, uint64_t rights)
{
    int k = 0;
    while (s->names[k].name && strcmp(s->names[k].name, name) != 0)
        k++;
    s->names[k].name = name;
    s->names[k].version = version;
    s->names[k].rights = rights;
}

uint64_t supervisor_call(struct supervisor *s, uint32_t version, const void *input, size_t len,
                         const struct call_options *o)
{
    static const struct call_options none;
    struct error e;
    int fd = -1;
    o = o ? o : &none;
    int64_t now = clock_monotonic_ns();
    struct message m = {
        .header = {.kind = MESSAGE_CALL, .id = s->next_id++},
        .call = {.parent = o->parent,
                 .deadline_ns = o->timeout_ns ? now + o->timeout_ns : 0,
                 .queued_ns = now,
                 .version = version,
                 .flags = o->flags,
                 .priority = o->priority,
                 .depth = o->depth},
        .parts = {(const uint8_t *)o->head, (const uint8_t *)o->arguments, input},
        .part_len = {o->head ? (uint32_t)strlen(o->head) : 0, o->arguments_len, (uint32_t)len},
    };
    if (o->as_file || len > MESSAGE_INLINE) {
        fd = memory_file("input", input, len, len, true, false, &e);
        check(fd, &e);
        m.parts[2] = NULL;
        m.part_len[2] = 0;
        m.call.input_fd = 1;
        m.call.input_len = len;
    }
    supervisor_send(s, &m, &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
    return m.header.id;
}

void supervisor_cancel(struct supervisor *s, uint64_t id)
{
    struct message m = {.header = {.kind = MESSAGE_CANCEL, .id = id}};
    supervisor_send(s, &m, NULL, 0);
}

const struct ended *supervisor_wait(struct supervisor *s, uint64_t id)
{
    int64_t until = clock_monotonic_ns() + WAIT_NS;
    for (uint32_t seen = 0;;) {
        for (; seen < s->ended_count; seen++)
            if (s->ended[seen].id == id)
                return &s->ended[seen];
        if (s->gone || clock_monotonic_ns() > until)
            return NULL;
        supervisor_listen(s, WAIT_NS);
    }
}

const struct ended *supervisor_run(struct supervisor *s, uint32_t version, const char *input)
{
    return supervisor_wait(s, supervisor_call(s, version, input, strlen(input), NULL));
}
