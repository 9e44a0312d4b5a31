/*
 * Host functions of values of state: opening them, and what the supervisor does with them as a
 * whole; import_state_bytes.c has their bytes and mappings, import_state_entries.c entries and
 * keys. The contract is sdk/c/include/atoll.h; docs/state.md says what it means.
 *
 * A worker copies and maps values by itself; what it cannot know it asks the supervisor, and the
 * call parks until the answer is here. A host function that is called again (resumed) finds what it
 * asked last answered, and looks again at everything else: the value may have changed meanwhile.
 *
 * Handles and regions of a call are in its attachments; the values that this process knows are in
 * the worker's table (state/attach.h), made when the first guest opens one.
 */
#include "node/worker/import_state.h"

#include "node/manifest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- asking ---- */

static void state_ended(struct faaslet *f)
{
    attach_end(f->worker->state, f->state);
    f->state = NULL;
    faaslet_tell(f, REQUEST_CALL_ENDED, NULL, 0);
}

enum host_status state_ask(struct host_call *hc, const struct state_request *r)
{
    struct faaslet *f = faaslet_of(hc);
    uint8_t *record = malloc(STATE_REQUEST_HEAD + (size_t)r->key_len + r->data_len);
    if (!record)
        return host_result_i64(hc, -ATOLL_ENOMEM);
    f->state_end = state_ended;
    enum host_status status =
        faaslet_ask(hc, REQUEST_STATE, record, state_request_encode(r, record), -1, 0);
    free(record);
    return status;
}

void state_tell(struct host_call *hc, const struct state_request *r)
{
    uint8_t record[STATE_REQUEST_HEAD];
    faaslet_tell(faaslet_of(hc), REQUEST_STATE, record, state_request_encode(r, record));
}

int64_t state_answered(struct host_call *hc, struct state_reply *reply)
{
    const struct answer *a = faaslet_answer(faaslet_of(hc));
    struct error e;
    *reply = (struct state_reply){0};
    if (state_reply_decode(a->payload, a->payload_len, reply, &e) < 0)
        return a->result < 0 ? a->result : e.code;
    return a->result;
}

static int answered_fd(struct faaslet *f)
{
    int fd = f->answer ? f->answer->fd : -1;
    if (f->answer)
        f->answer->fd = -1;
    return fd;
}

int state_key(struct host_call *hc, uint32_t address, uint32_t len, uint32_t rights, uint8_t *key)
{
    struct faaslet *f = faaslet_of(hc);
    if (len > STATE_NAME_MAX)
        return -ATOLL_EINVAL;
    if (guest_read(hc->arena, key, address, len) < 0)
        return -ATOLL_EFAULT;
    if (!len || memchr(key, 0, len) || (key[0] != '@' && len > STATE_KEY_MAX))
        return -ATOLL_EINVAL;
    return version_state_right(f->version, key, len, rights) ? 0 : -ATOLL_EPERM;
}

/* ---- handles ---- */

struct attached *value_of(struct host_call *hc, uint32_t rights, struct handle **handle,
                          struct state_slot_view *view, int *code)
{
    struct faaslet *f = faaslet_of(hc);
    struct handle *h = attach_handle(f->state, hc->slots[0].i32);
    *handle = h;
    *code = 0;
    if (!h || h->kind != HANDLE_VALUE)
        *code = -ATOLL_EBADF;
    else if ((h->flags & rights) != rights)
        *code = -ATOLL_EPERM;
    else if (!attached_look(h->attached, view))
        *code = -ATOLL_ESTALE;
    else
        return h->attached;
    return NULL;
}

struct state_request value_request(const struct attached *a, enum state_op op)
{
    return (struct state_request){.op = op, .slot = a->slot, .gen = a->gen};
}

void rest_tell(struct host_call *hc, enum attach_rest rest, uint32_t slot, uint32_t gen)
{
    if (rest != ATTACH_OPEN)
        state_tell(hc, &(struct state_request){
                           .op = STATE_OP_CLOSE,
                           .slot = slot,
                           .gen = gen,
                           .flags = rest == ATTACH_MAPPED ? (uint32_t)STATE_CLOSE_MAPPED : 0u});
}

/* ---- open and close ---- */

static enum host_status open_ask(struct host_call *hc, const uint8_t *key, bool from_scratch)
{
    struct attach_table *table = faaslet_of(hc)->worker->state;
    struct state_request r = {.op = STATE_OP_OPEN,
                              .key = key,
                              .key_len = hc->slots[1].u32,
                              .len = hc->slots[2].u64,
                              .flags = hc->slots[3].u32};
    if (!table)
        return state_ask(hc, &(struct state_request){.op = STATE_OP_SEGMENT});
    if (!from_scratch)
        attach_held(table, key, r.key_len, (r.flags & STATE_OPEN_WRITE) != 0, &r.slot, &r.gen);
    return state_ask(hc, &r);
}

/* The worker's table, from the answer to STATE_OP_SEGMENT; several threads may have asked. */
static int table_make(struct worker *w, int segment)
{
    struct attach_table *table;
    struct error e;
    int code = segment < 0 ? -ATOLL_ECORRUPT : attach_table_create(segment, &table, &e);
    if (segment >= 0)
        close(segment);
    if (code < 0)
        return code;
    struct attach_table *none = NULL;
    if (!atomic_compare_exchange_strong(&w->state, &none, table))
        attach_table_destroy(table);
    return 0;
}

static enum host_status open_answered(struct host_call *hc, const uint8_t *key)
{
    struct faaslet *f = faaslet_of(hc);
    struct state_reply reply;
    struct error e;
    int64_t result = state_answered(hc, &reply);
    int fd = answered_fd(f);
    if (result < 0) {
        if (fd >= 0)
            close(fd);
        return host_result_i32(hc, (int32_t)result);
    }
    if (!reply.gen) {
        int code = table_make(f->worker, fd);
        return code < 0 ? host_result_i32(hc, code) : open_ask(hc, key, false);
    }
    bool sent = fd >= 0;
    bool writable = sent && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    int handle = attach_value(f->worker->state, &f->state, key, hc->slots[1].u32, reply.slot,
                              reply.gen, fd, writable, hc->slots[3].u32, &e);
    /* Forgotten here between question and answer. */
    if (handle == -ATOLL_ECORRUPT && !sent)
        return open_ask(hc, key, true);
    return host_result_i32(hc, handle);
}

static enum host_status import_state_open(struct host_call *hc)
{
    uint8_t key[STATE_NAME_MAX];
    uint32_t flags = hc->slots[3].u32;
    guest_other_call(faaslet_of(hc));
    if (flags & ~(uint32_t)(STATE_OPEN_LAZY * 2 - 1))
        return host_result_i32(hc, -ATOLL_EINVAL);
    uint32_t rights = (flags & STATE_OPEN_READ ? (uint32_t)STATE_READ : 0) |
                      (flags & STATE_OPEN_WRITE ? (uint32_t)STATE_WRITE : 0);
    int code = state_key(hc, hc->slots[0].u32, hc->slots[1].u32, rights, key);
    if (code < 0)
        return host_result_i32(hc, code);
    return hc->resumed ? open_answered(hc, key) : open_ask(hc, key, false);
}

static enum host_status import_state_close(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    enum attach_rest rest;
    uint32_t slot, gen;
    guest_other_call(f);
    if (!attach_handle(f->state, hc->slots[0].i32))
        return host_result_i32(hc, -ATOLL_EBADF);
    attach_close(f->worker->state, f->state, hc->slots[0].i32, &rest, &slot, &gen);
    rest_tell(hc, rest, slot, gen);
    return host_result_i32(hc, 0);
}

/* ---- requests that the supervisor answers with a number ---- */

enum host_status value_ask(struct host_call *hc, const struct state_request *r, bool result_is_64)
{
    if (!hc->resumed)
        return state_ask(hc, r);
    struct state_reply reply;
    int64_t result = state_answered(hc, &reply);
    if (r->op == STATE_OP_PULL || r->op == STATE_OP_ENSURE)
        call_count_state(faaslet_of(hc)->call, reply.moved, 0);
    else if (r->op == STATE_OP_PUSH)
        call_count_state(faaslet_of(hc)->call, 0, reply.moved);
    return result_is_64 ? host_result_i64(hc, result) : host_result_i32(hc, (int32_t)result);
}

static enum host_status import_state_size(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    struct attached *a = value_of(hc, 0, &h, &view, &code);
    return host_result_i64(hc, a ? (int64_t)view.size : code);
}

static enum host_status import_state_resize(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a)
        return host_result_i32(hc, code);
    struct state_request r = value_request(a, STATE_OP_RESIZE);
    r.len = hc->slots[1].u64;
    return value_ask(hc, &r, false);
}

static enum host_status import_state_version(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint32_t global = hc->slots[1].u32;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, 0, &h, &view, &code);
    if (!a || global > 1)
        return host_result_i64(hc, a ? -ATOLL_EINVAL : code);
    if (!global)
        return host_result_i64(hc, (int64_t)view.version);
    struct state_request r = value_request(a, STATE_OP_VERSION);
    return value_ask(hc, &r, true);
}

static enum host_status import_state_pull(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_READ, &h, &view, &code);
    if (!a || hc->slots[3].u32 & ~(uint32_t)STATE_PULL_DISCARD)
        return host_result_i32(hc, a ? -ATOLL_EINVAL : code);
    struct state_request r = value_request(a, STATE_OP_PULL);
    r.off = hc->slots[1].u64;
    r.len = hc->slots[2].u64;
    r.flags = hc->slots[3].u32;
    return value_ask(hc, &r, false);
}

static enum host_status import_state_push(struct host_call *hc)
{
    const uint32_t flags = STATE_PUSH_DIRTY | STATE_PUSH_DURABLE | STATE_PUSH_IFVER;
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a || hc->slots[3].u32 & ~flags)
        return host_result_i64(hc, a ? -ATOLL_EINVAL : code);
    if (call_is_zygote(faaslet_of(hc)->call))
        return host_result_i64(hc, -ATOLL_EPERM);
    struct state_request r = value_request(a, STATE_OP_PUSH);
    r.off = hc->slots[1].u64;
    r.len = hc->slots[2].u64;
    r.flags = hc->slots[3].u32;
    r.version = r.flags & STATE_PUSH_IFVER ? hc->slots[4].u64 : 0;
    return value_ask(hc, &r, true);
}

static enum host_status import_state_merge(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a || hc->slots[3].u32 > 7)
        return host_result_i32(hc, a ? -ATOLL_EINVAL : code);
    struct state_request r = value_request(a, STATE_OP_MERGE);
    r.off = hc->slots[1].u64;
    r.len = hc->slots[2].u64;
    r.mode = hc->slots[3].u32;
    return value_ask(hc, &r, false);
}

static enum host_status import_state_lock(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(f);
    struct attached *a = value_of(hc, 0, &h, &view, &code);
    if (!a || hc->slots[1].u32 > 1 || hc->slots[2].u32 > 1)
        return host_result_i64(hc, a ? -ATOLL_EINVAL : code);
    if (call_is_zygote(f->call) || !version_state_right(f->version, a->key, a->key_len, STATE_LOCK))
        return host_result_i64(hc, -ATOLL_EPERM);
    struct state_request r = value_request(a, STATE_OP_LOCK);
    r.mode = hc->slots[1].u32;
    r.number = hc->slots[2].u32;
    r.timeout_ns = hc->slots[3].u64;
    return value_ask(hc, &r, true);
}

static enum host_status import_state_unlock(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, 0, &h, &view, &code);
    if (!a || hc->slots[1].u32 > 1)
        return host_result_i32(hc, a ? -ATOLL_EINVAL : code);
    struct state_request r = value_request(a, STATE_OP_UNLOCK);
    r.number = hc->slots[1].u32;
    return value_ask(hc, &r, false);
}

const struct import_entry imports_state[] = {
    {"state_open", "iili:i", import_state_open},
    {"state_close", "i:i", import_state_close},
    {"state_size", "i:l", import_state_size},
    {"state_resize", "il:i", import_state_resize},
    {"state_version", "ii:l", import_state_version},
    {"state_merge", "illi:i", import_state_merge},
    {"state_pull", "illi:i", import_state_pull},
    {"state_push", "illil:l", import_state_push},
    {"state_lock", "iiil:l", import_state_lock},
    {"state_unlock", "ii:i", import_state_unlock},
    {0},
};
