/*
 * See requests.h. Each request kind has a function that answers at once or remembers whom to answer
 * (struct asker) until a callback comes. The worker may be gone by then: workers_answer knows.
 */
#define _GNU_SOURCE
#include "node/requests.h"

#include "base/file.h"
#include "node/access.h"
#include "node/calls.h"
#include "node/files.h"
#include "node/large_pages.h"
#include "node/network.h"
#include "node/node.h"
#include "node/workers.h"
#include "state/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#define RIGHT_CALL  1u
#define IDS_AT_ONCE 65536u

struct asker {
    struct node *node;
    uint32_t worker;
    uint64_t request;
    uint64_t call;      /* of a foreign call that runs, … */
    struct asker *next; /* … which is in node.foreign */
};

/* NULL without memory, or when the worker has asked for too much already. */
static struct asker *asker_make(struct node *n, uint32_t worker, const struct message *m)
{
    struct asker *a = workers_asked(n->workers, worker) ? malloc(sizeof *a) : NULL;
    if (a)
        *a = (struct asker){n, worker, m->header.id, 0, NULL};
    return a;
}

static void asker_free(struct asker *a)
{
    if (a)
        workers_unasked(a->node->workers, a->worker);
    free(a);
}

static void answer_plain(struct node *n, uint32_t worker, uint64_t request, int64_t result)
{
    workers_answer(n->workers, worker, request, result, NULL, 0, -1);
}

/* Copies a payload that is text into a C string; false when it is too long or holds a NUL. */
static bool text_copy(const struct message *m, char *out, size_t size)
{
    uint32_t len = m->part_len[0];
    if (len == 0 || len >= size || memchr(m->parts[0], 0, len))
        return false;
    memcpy(out, m->parts[0], len);
    out[len] = 0;
    return true;
}

/* ---- names ---- */

/* "tenant/name[@alias]" → the version's number and whether another tenant's worker must run it. */
static void resolve_handle(struct node *n, uint32_t worker, const char *tenant,
                           const struct message *m)
{
    char text[3 * NAME_MAX_LEN + 8], owner[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    struct function_version *v;
    struct error e;
    int rc = text_copy(m, text, sizeof text) ? 0 : -ATOLL_EINVAL;
    char *alias = rc == 0 ? strchr(text, '@') : NULL;
    if (alias)
        *alias++ = 0;
    if (rc == 0)
        rc = name_split(text, strlen(text), owner, name, &e);
    bool own = rc == 0 && strcmp(owner, tenant) == 0;
    if (rc == 0 && !own && !access_may_call(n->access, tenant, owner, name))
        rc = -ATOLL_EPERM;
    if (rc == 0)
        rc = registry_find(n->registry, owner, name, alias, &v, &e);
    if (rc == 0 && own && v->state == VERSION_READY)
        rc = workers_send_load(n->workers, worker, v, &e);
    if (rc != 0) {
        answer_plain(n, worker, m->header.id, rc);
        return;
    }
    uint8_t payload[12];
    bool here = own && v->state == VERSION_READY;
    store_u32(payload, v->number);
    store_u64(payload + 4, here ? 0 : RIGHT_CALL);
    workers_answer(n->workers, worker, m->header.id, 0, payload, sizeof payload, -1);
}

/* ---- calls of another tenant's functions, or of versions that are not ready yet ---- */

static void foreign_ended(void *context, const struct call_outcome *o)
{
    struct asker *a = context;
    for (struct asker **at = &a->node->foreign; *at; at = &(*at)->next) {
        if (*at == a) {
            *at = a->next;
            break;
        }
    }
    uint64_t len = o->output ? o->output->len : 0;
    uint32_t text_len = (uint32_t)strlen(o->text);
    struct error e;
    int fd = len > MESSAGE_INLINE ? blob_file(o->output, &e) : -1;
    bool lost = len > MESSAGE_INLINE && fd < 0;
    struct message m = {
        .header = {.kind = MESSAGE_RESULT, .id = o->id, .fds = fd >= 0},
        .result = {.status = (int32_t)(lost ? CALL_LOST : o->status),
                   .code = lost ? -ATOLL_ENOMEM : o->code,
                   .temperature = o->temperature,
                   .children = o->children,
                   .queue_ns = o->queue_ns,
                   .restore_ns = o->restore_ns,
                   .run_ns = o->run_ns,
                   .cpu_ns = o->cpu_ns,
                   .memory_bytes = o->memory_bytes,
                   .output_len = lost ? 0 : len,
                   .output_fd = fd >= 0},
        .parts = {(const uint8_t *)o->text, (const uint8_t *)o->head,
                  fd >= 0 || len == 0 || lost ? NULL : blob_bytes(o->output)},
        .part_len = {text_len < MESSAGE_TEXT_MAX ? text_len : MESSAGE_TEXT_MAX, o->head_len,
                     fd >= 0 || lost ? 0 : (uint32_t)len},
    };
    uint32_t whole = message_measure(&m);
    uint8_t *body = whole ? malloc(whole) : NULL;
    if (body) {
        message_encode_body(&m, body);
        workers_answer(a->node->workers, a->worker, a->request, 0, body,
                       whole - (uint32_t)sizeof(struct message_header), fd);
    } else {
        answer_plain(a->node, a->worker, a->request, -ATOLL_ENOMEM);
    }
    free(body);
    asker_free(a);
}

static int foreign_handle(struct node *n, uint32_t worker, const char *tenant,
                          const struct message *m, int fd, struct error *e)
{
    struct message inner;
    int rc = message_decode_body(MESSAGE_CALL, m->parts[0], m->part_len[0], fd >= 0, &inner, e);
    if (rc != 0) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    const struct message_call *c = &inner.call;
    struct function_version *v = registry_by_number(n->registry, c->version);
    struct blob *input = NULL;
    if (fd >= 0)
        rc = blob_from_fd(fd, c->input_len, &input, e);
    else if (c->input_len && (input = blob_create(inner.parts[2], inner.part_len[2])) == NULL)
        rc = -ATOLL_ENOMEM;
    if (rc == 0 && input && input->len > n->config.input_bytes)
        rc = -ATOLL_ESIZE;
    if (rc == 0 && v == NULL)
        rc = -ATOLL_ENOENT;
    if (rc == 0 && strcmp(v->manifest.tenant, tenant) != 0 &&
        !access_may_call(n->access, tenant, v->manifest.tenant, v->manifest.function))
        rc = -ATOLL_EPERM;
    struct asker *a = rc == 0 ? asker_make(n, worker, m) : NULL;
    if (rc == 0 && a == NULL)
        rc = -ATOLL_ENOMEM;
    if (rc == 0) {
        int64_t now = (int64_t)uv_hrtime();
        int64_t left = c->deadline_ns > now ? c->deadline_ns - now : 0;
        struct call_request q = {.version = v,
                                 .input = input,
                                 .head = (const char *)inner.parts[0],
                                 .head_len = inner.part_len[0],
                                 .arguments = (const char *)inner.parts[1],
                                 .arguments_len = inner.part_len[1],
                                 .timeout_ns = left > 0 ? (uint64_t)left : c->deadline_ns != 0,
                                 .flags = c->flags & (CALL_FLAG_FRESH | CALL_FLAG_GRAPH),
                                 .priority = c->priority};
        memcpy(q.trace_id, c->trace_id, sizeof q.trace_id);
        memcpy(q.span_id, c->span_id, sizeof q.span_id);
        rc = calls_submit(n->calls, &q, foreign_ended, a, &a->call, e);
    }
    if (rc == 0) {
        a->next = n->foreign;
        n->foreign = a;
    }
    blob_release(input);
    if (rc != 0) {
        asker_free(a);
        answer_plain(n, worker, m->header.id, rc);
    }
    return 0;
}

static void foreign_cancel(struct node *n, uint32_t worker, const struct message *m)
{
    uint64_t request = m->part_len[0] == 8 ? load_u64(m->parts[0]) : 0;
    for (struct asker *a = n->foreign; a; a = a->next) {
        if (a->worker == worker && a->request == request) {
            calls_cancel(n->calls, a->call);
            return;
        }
    }
}

void requests_worker_lost(struct node *n, uint32_t worker)
{
    for (struct asker *a = n->foreign, *next; a; a = next) {
        next = a->next;
        if (a->worker != worker)
            continue;
        a->worker = UINT32_MAX; /* nobody: its end is not awaited */
        calls_cancel(n->calls, a->call);
        next = n->foreign; /* the cancelled call may have ended, and others with it */
    }
}

static void ids_handle(struct node *n, uint32_t worker, const struct message *m)
{
    uint8_t payload[16];
    store_u64(payload, calls_take_ids(n->calls, IDS_AT_ONCE));
    store_u64(payload + 8, IDS_AT_ONCE);
    workers_answer(n->workers, worker, m->header.id, 0, payload, sizeof payload, -1);
}

/* ---- state ---- */

static void state_answered(void *context, const struct state_answer *s)
{
    struct asker *a = context;
    uint8_t payload[STATE_ANSWER_MAX];
    uint32_t len = state_reply_encode(&s->reply, payload);
    if (s->fd >= 0)
        large_pages_offer(a->node->large_pages, s->fd);
    workers_answer(a->node->workers, a->worker, a->request, s->result, payload, len, s->fd);
    asker_free(a);
}

static int state_handle(struct node *n, uint32_t worker, const struct message *m, struct error *e)
{
    struct state_request request;
    int rc = state_request_decode(m->parts[0], m->part_len[0], &request, e);
    if (rc != 0)
        return rc;
    struct state_client client = {worker, m->request.call};
    if (m->request.call == 0)
        return error_set(e, ATOLL_EINVAL, "a request about state for no call");
    if (!state_op_answers(request.op)) {
        state_submit(n->state, client, &request, NULL, NULL);
        return 0;
    }
    struct asker *a = asker_make(n, worker, m);
    if (a == NULL)
        answer_plain(n, worker, m->header.id, -ATOLL_ENOMEM);
    else
        state_submit(n->state, client, &request, state_answered, a);
    return 0;
}

/* ---- shared files ---- */

static void file_fetched(void *context, int code, const struct error *failed, struct blob *content,
                         const struct file_entry *entry)
{
    struct asker *a = context;
    struct error e;
    uint8_t payload[8];
    (void)failed;
    int fd = code == 0 && content ? blob_file(content, &e) : -1;
    if (code == 0 && content && fd < 0)
        code = fd;
    store_u64(payload, entry ? entry->version : 0);
    workers_answer(a->node->workers, a->worker, a->request, code, payload, sizeof payload, fd);
    asker_free(a);
}

static void file_published(void *context, int code, const struct error *failed,
                           struct blob *content, const struct file_entry *entry)
{
    struct asker *a = context;
    uint8_t payload[8];
    (void)failed;
    (void)content;
    store_u64(payload, entry ? entry->version : 0);
    workers_answer(a->node->workers, a->worker, a->request, code, payload, sizeof payload, -1);
    asker_free(a);
}

struct file_listing {
    struct buffer out;
    uint32_t count;
};

static bool file_listed(void *context, const struct file_entry *entry)
{
    struct file_listing *l = context;
    uint32_t len = (uint32_t)strlen(entry->path);
    l->count++;
    return buffer_append_u64(&l->out, entry->len) && buffer_append_u64(&l->out, entry->version) &&
           buffer_append_u64(&l->out, (uint64_t)entry->modified_ns) &&
           buffer_append_u32(&l->out, len) && buffer_append(&l->out, entry->path, len);
}

/* All shared files of the tenant, as a memory file. */
static void file_list_handle(struct node *n, uint32_t worker, const char *tenant,
                             const struct message *m)
{
    struct file_listing l = {0};
    struct error e;
    buffer_append_u64(&l.out, files_version(n->files, tenant));
    bool good = buffer_append_u32(&l.out, 0);
    files_list(n->files, tenant, "", file_listed, &l);
    int fd = -ATOLL_ENOMEM;
    if (good) {
        store_u32(l.out.data + 8, l.count);
        fd = memory_file("atoll-files", l.out.data, l.out.len, l.out.len, true, false, &e);
    }
    workers_answer(n->workers, worker, m->header.id, fd < 0 ? fd : 0, NULL, 0, fd);
    if (fd >= 0)
        close(fd);
    buffer_free(&l.out);
}

static void files_handle(struct node *n, uint32_t worker, const char *tenant,
                         const struct message *m, int fd)
{
    char path[FILE_PATH_MAX + 1] = "";
    struct error e;
    struct blob *content = NULL;
    if (m->request.kind == REQUEST_FILE_LIST) {
        file_list_handle(n, worker, tenant, m);
    } else if (!text_copy(m, path, sizeof path)) {
        answer_plain(n, worker, m->header.id, -ATOLL_EINVAL);
    } else {
        struct asker *a = asker_make(n, worker, m);
        int rc = a ? 0 : -ATOLL_ENOMEM;
        if (rc == 0 && m->request.kind == REQUEST_FILE_PUBLISH) {
            off_t len = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
            rc = len < 0 ? -ATOLL_EINVAL : blob_from_fd(fd, (uint64_t)len, &content, &e);
            fd = len < 0 ? fd : -1;
        }
        if (rc != 0) {
            answer_plain(n, worker, m->header.id, rc);
            asker_free(a);
        } else if (content) {
            files_put(n->files, tenant, path, content, file_published, a);
        } else {
            files_get(n->files, tenant, path, file_fetched, a);
        }
        blob_release(content);
    }
    if (fd >= 0)
        close(fd);
}

int request_handle(struct node *n, uint32_t worker, const char *tenant, const struct message *m,
                   int fd, struct error *e)
{
    int rc = 0;
    switch (m->request.kind) {
    case REQUEST_CALL: return foreign_handle(n, worker, tenant, m, fd, e);
    case REQUEST_FILE_FETCH:
    case REQUEST_FILE_PUBLISH:
    case REQUEST_FILE_LIST: files_handle(n, worker, tenant, m, fd); return 0;
    case REQUEST_RESOLVE: resolve_handle(n, worker, tenant, m); break;
    case REQUEST_CANCEL: foreign_cancel(n, worker, m); break;
    case REQUEST_IDS: ids_handle(n, worker, m); break;
    case REQUEST_STATE: rc = state_handle(n, worker, m, e); break;
    case REQUEST_CALL_ENDED:
        if (m->request.call != 0)
            state_call_ended(n->state, worker, m->request.call);
        break;
    case REQUEST_LOOKUP: network_lookup(n, worker, tenant, m); break;
    case REQUEST_CONNECT: network_connect(n, worker, tenant, m); break;
    default: rc = error_set(e, ATOLL_EINVAL, "request %u is unknown", m->request.kind);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}
