/*
 * The child's answer is one header, then the object's bytes or the error's text, on a pipe. The
 * header's size field says what is to come; the answer counts when all of it came, whatever the
 * child's exit status is.
 *
 * When both pipes are at their end the child has closed them or is dying. It is killed then: for a
 * process that is already ending that changes nothing, not even its status, and one that closed its
 * pipes to live on does not.
 */
#define _GNU_SOURCE
#include "atoll-cc/shard_process.h"

#include "atoll-cc/confine.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAGIC 0x4c4f5441u
#define WALL_NS      (1200ll * 1000000000)
#define READ_STEP    (256u << 10)

struct answer {
    uint32_t magic;
    int32_t code;
    uint64_t offset, size;
    uint32_t function, reserved;
};

/* ---- in the child ---- */

/* Descriptors of the child: 2 the log, 3 the answer. */
#define CHILD_LOG         2
#define CHILD_ANSWER      3
#define CHILD_DESCRIPTORS 4u

static _Noreturn void child_run(pid_t parent, const struct shard_input *in,
                                const struct shard *shard, uint8_t tier, int answer, int log)
{
    struct error e = {.offset = ERROR_NOWHERE, .function = UINT32_MAX};
    struct error write_error;
    struct buffer object = {0};
    struct compile_options options = in->options;
    options.tier = tier;
    /* Above the targets first, so that neither dup2 closes the other's source. */
    answer = fcntl(answer, F_DUPFD, 16);
    log = fcntl(log, F_DUPFD, 16);
    if (answer < 0 || log < 0 || dup2(answer, CHILD_ANSWER) < 0 || dup2(log, CHILD_LOG) < 0)
        _exit(100);
    close(0);
    close(1);
    int step = confine_enter(parent, CHILD_DESCRIPTORS);
    if (step)
        _exit(100 + step);
    int rc = lower_shard(in->module, in->layout, &options, shard, &object, &e);
    struct answer header = {.magic = ANSWER_MAGIC,
                            .code = rc < 0 ? rc : 0,
                            .offset = e.offset,
                            .size = rc < 0 ? sizeof e.text : object.len,
                            .function = e.function};
    const void *body = rc < 0 ? (const void *)e.text : object.data;
    if (file_write_all(CHILD_ANSWER, &header, sizeof header, &write_error) < 0 ||
        file_write_all(CHILD_ANSWER, body, header.size, &write_error) < 0)
        _exit(99);
    _exit(0);
}

/* ---- in the parent ---- */

/* Native code is some tens of bytes per byte of wasm; an object that is much larger is a fault. */
static size_t answer_bound(const struct shard_input *in, const struct shard *shard)
{
    const struct wasm_module *m = in->module;
    size_t wasm = 0;
    for (uint32_t f = shard->first; f < shard->first + shard->count; f++)
        wasm += m->functions[f].body.len;
    size_t thunks = shard->thunks ? (size_t)m->type_count + m->imported_functions : 0;
    size_t params = shard->thunks ? m->len : 0; /* thunks grow with the types' lengths */
    return sizeof(struct answer) + (4u << 20) + 512 * wasm + 4096 * (thunks + shard->count) +
           256 * params;
}

static int pipes_open(int answer[2], int log[2], struct error *e)
{
    if (pipe2(answer, O_CLOEXEC) < 0)
        return error_set_errno(e, 0, "cannot create a pipe for a shard");
    if (pipe2(log, O_CLOEXEC) < 0) {
        error_set_errno(e, 0, "cannot create a pipe for a shard");
        close(answer[0]);
        close(answer[1]);
        return e->code;
    }
    return 0;
}

int shard_start(struct shard_process *p, const struct shard_input *in, uint32_t number,
                const struct shard *shard, uint8_t tier, struct error *e)
{
    int answer[2], log[2];
    int rc = pipes_open(answer, log, e);
    if (rc < 0)
        return rc;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child_run(parent, in, shard, tier, answer[1], log[1]);
    close(answer[1]);
    close(log[1]);
    if (pid < 0) {
        error_set_errno(e, 0, "cannot start a process for a shard");
        close(answer[0]);
        close(log[0]);
        return e->code;
    }
    *p = (struct shard_process){.pid = pid,
                                .number = number,
                                .shard = *shard,
                                .tier = tier,
                                .answer = answer[0],
                                .log = log[0],
                                .deadline_ns = clock_monotonic_ns() + WALL_NS,
                                .answer_max = answer_bound(in, shard)};
    return 0;
}

void shard_poll(const struct shard_process *p, struct pollfd out[static 2])
{
    out[0] = (struct pollfd){.fd = p->pid ? p->answer : -1, .events = POLLIN};
    out[1] = (struct pollfd){.fd = p->pid ? p->log : -1, .events = POLLIN};
}

static void descriptor_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void answer_read(struct shard_process *p)
{
    if (p->bytes.len >= p->answer_max || !buffer_reserve(&p->bytes, READ_STEP)) {
        int used = snprintf(p->log_text, sizeof p->log_text, "its object has more than %zu bytes",
                            p->bytes.len);
        p->log_len = (size_t)used;
        descriptor_close(&p->answer);
        return;
    }
    ssize_t got = read(p->answer, p->bytes.data + p->bytes.len, READ_STEP);
    if (got > 0)
        p->bytes.len += (size_t)got;
    else if (got == 0 || errno != EINTR)
        descriptor_close(&p->answer);
}

static void log_read(struct shard_process *p)
{
    char chunk[1024];
    ssize_t got = read(p->log, chunk, sizeof chunk);
    if (got == 0 || (got < 0 && errno != EINTR))
        descriptor_close(&p->log);
    for (ssize_t i = 0; i < got && p->log_len < SHARD_LOG_MAX; i++) {
        char c = chunk[i];
        p->log_text[p->log_len++] = c >= 0x20 && c < 0x7f ? c : ' ';
    }
}

bool shard_advance(struct shard_process *p, const struct pollfd in[static 2])
{
    if (in[0].revents && p->answer >= 0)
        answer_read(p);
    if (in[1].revents && p->log >= 0)
        log_read(p);
    if (clock_monotonic_ns() < p->deadline_ns)
        return p->answer < 0 && p->log < 0;
    int used = snprintf(p->log_text, sizeof p->log_text, "it took longer than %lld seconds",
                        WALL_NS / 1000000000);
    p->log_len = (size_t)used;
    return true;
}

static int child_reap(struct shard_process *p)
{
    int status = 0;
    descriptor_close(&p->answer);
    descriptor_close(&p->log);
    kill(p->pid, SIGKILL);
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
    return status;
}

void shard_kill(struct shard_process *p)
{
    if (!p->pid)
        return;
    child_reap(p);
    buffer_free(&p->bytes);
}

/* Whether LLVM, or the C++ library beneath it, said that allocating failed. */
static bool ran_out_of_memory(const struct shard_process *p)
{
    return strstr(p->log_text, "std::bad_alloc") || strstr(p->log_text, "out of memory");
}

static int death_report(const struct shard_process *p, int status, struct error *e)
{
    char how[64];
    if (ran_out_of_memory(p))
        return error_set(e, ATOLL_ECOMPILE,
                         "compiling functions %u to %u takes more memory than the limit of "
                         "%llu MiB; make them smaller",
                         p->shard.first, p->shard.first + p->shard.count - (p->shard.count > 0),
                         (unsigned long long)CONFINE_MEMORY_BYTES >> 20);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
    return error_set(e, ATOLL_ECOMPILE,
                     "the compiler failed over shard %u (functions %u to %u): %s%s%s", p->number,
                     p->shard.first, p->shard.first + p->shard.count - (p->shard.count > 0), how,
                     p->log_len ? ": " : "", p->log_text);
}

static int error_take(const struct answer *header, const uint8_t *text, size_t len, struct error *e)
{
    if (len > sizeof e->text)
        len = sizeof e->text;
    int code =
        header->code < 0 && header->code >= -ATOLL_ESIGNATURE ? -header->code : ATOLL_ECOMPILE;
    return error_set_at(e, code, header->offset, header->function, "%.*s",
                        (int)strnlen((const char *)text, len), (const char *)text);
}

int shard_finish(struct shard_process *p, struct buffer *object, struct error *e)
{
    int status = child_reap(p);
    struct answer header;
    int rc = 0;
    if (p->bytes.len >= sizeof header)
        memcpy(&header, p->bytes.data, sizeof header);
    if (p->bytes.len < sizeof header || header.magic != ANSWER_MAGIC ||
        header.size != p->bytes.len - sizeof header)
        rc = death_report(p, status, e);
    else if (header.code != 0)
        rc = error_take(&header, p->bytes.data + sizeof header, header.size, e);
    else if (!buffer_append(object, p->bytes.data + sizeof header, header.size))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for the object of a shard");
    buffer_free(&p->bytes);
    return rc;
}
