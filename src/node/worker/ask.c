/*
 * Requests to the supervisor and their answers.
 *
 * An answer is written into the faaslet by whoever drains the ring, under worker.lock, while the
 * faaslet's call is parked or about to park; after it has sent a request the thread touches the
 * answer only when the call goes on, which takes the lock in between.
 */
#include "node/worker/process.h"

#include <stdlib.h>
#include <unistd.h>

#define PAYLOAD_KEEP (8u << 10) /* bytes of an answer's memory kept by a faaslet */

/* ---- the table, under worker.lock ---- */

static uint64_t request_open(struct worker *w, enum request_owner owner, struct faaslet *f,
                             struct call *c)
{
    if (!w->request_free) {
        uint32_t count = w->request_count ? 2 * w->request_count : 64;
        struct request *grown =
            count <= REQUESTS_MAX ? realloc(w->requests, count * sizeof *grown) : NULL;
        if (!grown)
            return 0;
        for (uint32_t k = count; k-- > w->request_count;) {
            grown[k] = (struct request){.next_free = w->request_free};
            w->request_free = k + 1;
        }
        w->requests = grown;
        w->request_count = count;
    }
    uint32_t number = w->request_free;
    struct request *r = &w->requests[number - 1];
    w->request_free = r->next_free;
    *r = (struct request){.generation = r->generation + 1, .owner = owner, .faaslet = f, .call = c};
    return (uint64_t)r->generation << 32 | number;
}

static struct request *request_find(struct worker *w, uint64_t id)
{
    uint32_t number = (uint32_t)id;
    if (number == 0 || number > w->request_count)
        return NULL;
    struct request *r = &w->requests[number - 1];
    return r->owner != REQUEST_FREE && r->generation == (uint32_t)(id >> 32) ? r : NULL;
}

static void request_close(struct worker *w, uint64_t id)
{
    struct request *r = request_find(w, id);
    if (!r)
        return;
    r->owner = REQUEST_FREE;
    r->next_free = w->request_free;
    w->request_free = (uint32_t)id;
}

/* ---- sending ---- */

/* -ATOLL_ESIZE when the payload is too long for a message. */
static int request_send(struct worker *w, uint64_t id, enum request_kind kind, uint64_t call,
                        uint32_t version, const void *payload, uint32_t len, int fd)
{
    struct message m = {
        .header = {.kind = MESSAGE_REQUEST, .id = id},
        .request = {.kind = kind, .call = call, .version = version, .fd = fd >= 0},
        .parts = {payload},
        .part_len = {len},
    };
    if (!message_measure(&m))
        return -ATOLL_ESIZE;
    worker_send(w, &m, &fd, fd >= 0);
    return 0;
}

/* ---- faaslets ---- */

static void answer_clear(struct faaslet *f)
{
    struct answer *a = f->answer;
    if (a && a->fd >= 0)
        close(a->fd);
    if (a)
        *a = (struct answer){.fd = -1};
}

/* Without asking: the host function is called again at once. */
static void answer_refuse(struct faaslet *f, int code)
{
    f->answered = true;
    f->answer->result = code;
    pthread_mutex_lock(&f->worker->lock);
    f->call->woken = true;
    pthread_mutex_unlock(&f->worker->lock);
}

enum host_status faaslet_ask(struct host_call *hc, enum request_kind kind, const void *payload,
                             uint32_t len, int fd, uint64_t timeout_ns)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    hc->park->fd_count = 0;
    hc->park->deadline_ns = HOST_NO_DEADLINE;
    int64_t now = clock_monotonic_ns();
    if (timeout_ns && timeout_ns < (uint64_t)(HOST_NO_DEADLINE - now))
        hc->park->deadline_ns = now + (int64_t)timeout_ns;
    if (!f->answer && !(f->answer = malloc(sizeof *f->answer))) {
        hc->park->deadline_ns = now; /* tried again as a timeout: there is nothing else to say */
        return HOST_PARK;
    }
    if (!f->request && !f->answered)
        f->answer->fd = -1;
    answer_clear(f);
    f->answered = false;
    pthread_mutex_lock(&w->lock);
    f->request = request_open(w, REQUEST_OF_FAASLET, f, NULL);
    pthread_mutex_unlock(&w->lock);
    int rc = f->request ? request_send(w, f->request, kind, f->call->id, f->version->number,
                                       payload, len, fd)
                        : -ATOLL_ELIMIT;
    if (rc == 0)
        return HOST_PARK;
    pthread_mutex_lock(&w->lock);
    request_close(w, f->request);
    f->request = 0;
    pthread_mutex_unlock(&w->lock);
    answer_refuse(f, rc);
    return HOST_PARK;
}

const struct answer *faaslet_answer(struct faaslet *f)
{
    static const struct answer nothing = {.result = -ATOLL_ENOMEM, .fd = -1};
    return f->answer ? f->answer : &nothing;
}

void faaslet_tell(struct faaslet *f, enum request_kind kind, const void *payload, uint32_t len)
{
    request_send(f->worker, 0, kind, f->call->id, f->version->number, payload, len, -1);
}

bool ask_settle(struct faaslet *f)
{
    struct worker *w = f->worker;
    const struct host_park *park = arena_park(f->arena);
    if (!f->request || !park)
        return true;
    pthread_mutex_lock(&w->lock);
    bool over = f->answered || clock_monotonic_ns() >= park->deadline_ns;
    if (over && !f->answered) {
        request_close(w, f->request);
        f->answered = true;
        f->answer->result = -ATOLL_ETIMEDOUT;
    }
    if (over)
        f->request = 0;
    pthread_mutex_unlock(&w->lock);
    return over;
}

void ask_end(struct faaslet *f)
{
    if (!f->answer)
        return;
    if (f->request) {
        pthread_mutex_lock(&f->worker->lock);
        request_close(f->worker, f->request);
        f->request = 0;
        pthread_mutex_unlock(&f->worker->lock);
    }
    answer_clear(f);
    f->answered = false;
    if (f->payload.capacity > PAYLOAD_KEEP)
        buffer_free(&f->payload);
}

/* Under worker.lock. */
static void faaslet_answered(struct worker *w, struct faaslet *f, const struct message *m, int fd)
{
    f->payload.len = 0;
    bool kept = buffer_append(&f->payload, m->parts[0], m->part_len[0]);
    *f->answer = (struct answer){
        .result = kept ? m->answer.result : -ATOLL_ENOMEM,
        .payload = f->payload.data,
        .payload_len = kept ? m->part_len[0] : 0,
        .fd = fd,
    };
    f->answered = true;
    call_wake(w, f->call);
}

/* ---- calls that another worker runs ---- */

int remote_call(struct worker *w, struct call *c, const struct message *call, int input_fd)
{
    uint8_t *body = malloc(MESSAGE_MAX);
    struct message m = *call;
    uint32_t len = message_measure(&m);
    int rc = body && len ? 0 : -ATOLL_ENOMEM;
    uint64_t id = 0;
    pthread_mutex_lock(&w->lock);
    if (rc == 0)
        id = c->request = request_open(w, REQUEST_OF_CALL, NULL, c);
    pthread_mutex_unlock(&w->lock);
    if (rc == 0 && !id)
        rc = -ATOLL_ELIMIT;
    if (rc == 0) {
        message_encode_body(&m, body);
        rc = request_send(w, id, REQUEST_CALL, m.call.parent, m.call.version, body,
                          len - (uint32_t)sizeof m.header, input_fd);
    }
    free(body);
    return rc;
}

void remote_cancel(struct worker *w, struct call *c)
{
    uint8_t payload[8];
    pthread_mutex_lock(&w->lock);
    uint64_t id = c->request;
    request_close(w, id);
    c->request = 0;
    pthread_mutex_unlock(&w->lock);
    store_u64(payload, id);
    if (id)
        request_send(w, 0, REQUEST_CANCEL, c->id, c->version->number, payload, sizeof payload, -1);
}

/* How it ended, from the answer; a refusal is an end too. */
static void remote_end(const struct message *m, int fd, struct call_end *end, char *text)
{
    struct message inner;
    struct error e;
    *end = (struct call_end){.status = CALL_REJECTED, .code = (int32_t)m->answer.result};
    if (m->answer.result < 0)
        return;
    int rc = message_decode_body(MESSAGE_RESULT, m->parts[0], m->part_len[0], fd >= 0, &inner, &e);
    if (rc == 0 && inner.result.output_fd)
        rc = blob_from_fd(dup(fd), inner.result.output_len, &end->output, &e);
    else if (rc == 0 && inner.part_len[2])
        end->output = blob_create(inner.parts[2], inner.part_len[2]);
    end->status = rc == 0 ? (enum call_status)inner.result.status : CALL_LOST;
    end->code = rc == 0 ? inner.result.code : rc;
    uint32_t len = rc == 0 ? inner.part_len[0] : 0;
    if (len)
        memcpy(text, inner.parts[0], len);
    text[len] = 0;
    end->text = text;
}

static void remote_answered(struct worker *w, struct call *c, const struct message *m, int fd)
{
    char text[MESSAGE_TEXT_MAX + 1];
    struct call_end end;
    pthread_mutex_lock(&w->lock);
    bool ours = c->stage == STAGE_REMOTE; /* else it is being ended already */
    if (ours)
        c->stage = STAGE_RUNNING;
    pthread_mutex_unlock(&w->lock);
    if (!ours)
        return;
    remote_end(m, fd, &end, text);
    call_finish(w, NULL, c, &end);
}

/* ---- call ids ---- */

void ids_ask(struct worker *w, uint64_t wanted)
{
    uint64_t id = 0;
    pthread_mutex_lock(&w->lock);
    if (!w->ids_asked && ids_left(w) < wanted) {
        id = request_open(w, REQUEST_FOR_IDS, NULL, NULL);
        w->ids_asked = id != 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (id)
        request_send(w, id, REQUEST_IDS, 0, 0, NULL, 0, -1);
}

/* Under worker.lock. */
static void ids_answered(struct worker *w, const struct message *m)
{
    w->ids_asked = false;
    if (m->answer.result < 0 || m->part_len[0] != 16)
        return;
    uint64_t first = load_u64(m->parts[0]), count = load_u64(m->parts[0] + 8);
    for (uint32_t k = 0; k < ID_BLOCKS; k++) {
        struct id_block *b = &w->ids[k];
        if (b->next == b->end) {
            b->next = first;
            b->end = first + count;
            return;
        }
    }
}

/* ---- answers ---- */

void request_answered(struct worker *w, const struct message *m, int fd)
{
    struct call *remote = NULL;
    pthread_mutex_lock(&w->lock);
    struct request *r = request_find(w, m->header.id);
    struct request was = r ? *r : (struct request){0};
    request_close(w, m->header.id);
    switch (was.owner) {
    case REQUEST_FREE: break;
    case REQUEST_OF_FAASLET:
        faaslet_answered(w, was.faaslet, m, fd);
        fd = -1;
        break;
    case REQUEST_OF_CALL:
        remote = was.call;
        remote->request = 0;
        break;
    case REQUEST_FOR_IDS: ids_answered(w, m); break;
    }
    pthread_mutex_unlock(&w->lock);
    if (remote)
        remote_answered(w, remote, m, fd);
    if (fd >= 0)
        close(fd);
}
