/*
 * Host functions of state. The contract is sdk/c/include/atoll.h; docs/state.md says what it means.
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
#include "sandbox/region.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096u

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

static void state_tell(struct host_call *hc, const struct state_request *r)
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

/* The value that the handle in the first argument names, open with these rights; else NULL and a
 * code. view: what is published of it. */
static struct attached *value_of(struct host_call *hc, uint32_t rights, struct handle **handle,
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

static struct state_request value_request(const struct attached *a, enum state_op op)
{
    return (struct state_request){.op = op, .slot = a->slot, .gen = a->gen};
}

static void rest_tell(struct host_call *hc, enum attach_rest rest, uint32_t slot, uint32_t gen)
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

/* Asks on the first entry; on the second gives the answer as the result. */
static enum host_status value_ask(struct host_call *hc, const struct state_request *r,
                                  bool result_is_64)
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

/* ---- bytes ---- */

/* 0 when the range is here; 1 when the call parks until it is, with *status to return; or a code.
 */
static int range_present(struct host_call *hc, const struct attached *a,
                         const struct state_slot_view *view, uint64_t off, uint64_t len,
                         enum host_status *status)
{
    if (hc->resumed) {
        struct state_reply reply;
        int64_t result = state_answered(hc, &reply);
        call_count_state(faaslet_of(hc)->call, reply.moved, 0);
        return result < 0 ? (int)result : 0;
    }
    if (view->flags & STATE_SLOT_STALE)
        return -ATOLL_ESTALE;
    if (!len || view->flags & STATE_SLOT_COMPLETE)
        return 0;
    struct state_request r = value_request(a, STATE_OP_ENSURE);
    r.off = off;
    r.len = len;
    *status = state_ask(hc, &r);
    return 1;
}

static enum host_status import_state_read(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    enum host_status status;
    int code;
    uint64_t off = hc->slots[1].u64, len = hc->slots[3].u64;
    uint32_t to = hc->slots[2].u32;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_READ, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (len > UINT64_MAX - off)
        return host_result_i64(hc, -ATOLL_ERANGE);
    if (!guest_range(hc->arena, to, len, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    uint64_t left = off < view.size ? view.size - off : 0;
    len = len < left ? len : left;
    if ((code = range_present(hc, a, &view, off, len, &status)) > 0)
        return status;
    if (code < 0 || !len)
        return host_result_i64(hc, code);
    const uint8_t *bytes = attached_bytes(faaslet_of(hc)->worker->state, a, off, len);
    code = bytes ? guest_write(hc->arena, to, bytes, len) : -ATOLL_ENOMEM;
    return host_result_i64(hc, code < 0 ? code : (int64_t)len);
}

static enum host_status import_state_write(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    enum host_status status;
    int code;
    uint64_t off = hc->slots[1].u64, len = hc->slots[3].u64;
    uint32_t from = hc->slots[2].u32;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (len > view.size || off > view.size - len)
        return host_result_i64(hc, -ATOLL_ERANGE);
    if (!guest_range(hc->arena, from, len, GUEST_READ))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if ((code = range_present(hc, a, &view, off, len, &status)) > 0)
        return status;
    if (code < 0 || !len)
        return host_result_i64(hc, code);
    uint8_t *bytes = attached_bytes(faaslet_of(hc)->worker->state, a, off, len);
    if (!bytes)
        return host_result_i64(hc, -ATOLL_ENOMEM);
    code = guest_read(hc->arena, bytes, from, len);
    struct state_request r = value_request(a, STATE_OP_DIRTY);
    r.off = off;
    r.len = len;
    state_tell(hc, &r);
    return host_result_i64(hc, code < 0 ? code : (int64_t)len);
}

static enum host_status import_state_dirty(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint64_t off = hc->slots[1].u64, len = hc->slots[2].u64;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a)
        return host_result_i32(hc, code);
    if (off > view.size || len > view.size - off)
        return host_result_i32(hc, -ATOLL_ERANGE);
    struct state_request r = value_request(a, STATE_OP_DIRTY);
    r.off = off;
    r.len = len;
    state_tell(hc, &r);
    return host_result_i32(hc, 0);
}

/* ---- mappings ---- */

static int value_map(struct host_call *hc, const struct handle *h, uint64_t off, uint64_t len,
                     uint32_t rights, uint32_t *address)
{
    struct faaslet *f = faaslet_of(hc);
    struct error e;
    uint64_t start = off & ~(uint64_t)(PAGE - 1);
    uint32_t region;
    uint64_t bytes = align_up(off + len, PAGE) - start;
    if (bytes > WINDOW_END - WINDOW_START)
        return -ATOLL_ELIMIT;
    /* The file is at least as long as the value was when its size was published. */
    int code = region_map_file(hc->arena, "state", &h->attached->file, start, bytes,
                               rights & STATE_OPEN_WRITE ? GUEST_READ | GUEST_WRITE : GUEST_READ,
                               &region, &e);
    if (code == -ATOLL_ENOMEM)
        return -ATOLL_ELIMIT; /* the window has no room */
    if (code < 0)
        return code;
    *address = region + (uint32_t)(off - start);
    code = attach_region(f->worker->state, f->state, h, *address, &e);
    if (code < 0)
        (void)region_unmap(hc->arena, region, &e);
    return code;
}

static enum host_status import_state_map(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    enum host_status status;
    int code;
    uint64_t off = hc->slots[1].u64, len = hc->slots[2].u64;
    uint32_t rights = hc->slots[3].u32, to = hc->slots[4].u32, address;
    guest_other_call(faaslet_of(hc));
    if (rights != STATE_OPEN_READ && rights != (STATE_OPEN_READ | STATE_OPEN_WRITE))
        return host_result_i32(hc, -ATOLL_EINVAL);
    struct attached *a = value_of(hc, rights, &h, &view, &code);
    if (!a)
        return host_result_i32(hc, code);
    if (!len)
        return host_result_i32(hc, -ATOLL_EINVAL);
    if (len > view.size || off > view.size - len)
        return host_result_i32(hc, -ATOLL_ERANGE);
    if (!guest_range(hc->arena, to, sizeof address, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if ((code = range_present(hc, a, &view, off, len, &status)) > 0)
        return status;
    if (!code)
        code = value_map(hc, h, off, len, rights, &address);
    if (!code)
        code = guest_write(hc->arena, to, &address, sizeof address);
    return host_result_i32(hc, code);
}

static enum host_status import_state_unmap(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct error e;
    enum attach_rest rest;
    uint32_t slot, gen, address = hc->slots[0].u32;
    guest_other_call(f);
    if (!attach_region_end(f->worker->state, f->state, address, &rest, &slot, &gen))
        return host_result_i32(hc, -ATOLL_ENOENT);
    int code = region_unmap(hc->arena, address & ~(PAGE - 1), &e);
    rest_tell(hc, rest, slot, gen);
    return host_result_i32(hc, code);
}

/* ---- entries ---- */

static enum host_status import_state_append(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint64_t len = hc->slots[2].u64;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (call_is_zygote(faaslet_of(hc)->call))
        return host_result_i64(hc, -ATOLL_EPERM);
    if (!guest_range(hc->arena, hc->slots[1].u32, len, GUEST_READ))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (len > STATE_DATA_MAX)
        return host_result_i64(hc, -ATOLL_ESIZE);
    struct state_request r = value_request(a, STATE_OP_APPEND);
    if (hc->resumed)
        return value_ask(hc, &r, true);
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return host_result_i64(hc, -ATOLL_ENOMEM);
    code = guest_read(hc->arena, bytes, hc->slots[1].u32, len);
    r.data = bytes;
    r.data_len = (uint32_t)len;
    enum host_status status = code < 0 ? host_result_i64(hc, code) : state_ask(hc, &r);
    free(bytes);
    return status;
}

static enum host_status entries_answered(struct host_call *hc, uint64_t cap)
{
    struct state_reply reply;
    uint32_t to = hc->slots[3].u32, lens = hc->slots[5].u32;
    int64_t result = state_answered(hc, &reply);
    int code = 0;
    if (result == -ATOLL_ESIZE)
        code = guest_write(hc->arena, lens, &reply.number, sizeof reply.number);
    if (result < 0)
        return host_result_i64(hc, code < 0 ? code : result);
    if (reply.count > hc->slots[2].u32 || reply.data_len > cap)
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    code = guest_write(hc->arena, to, reply.data, reply.data_len);
    if (!code)
        code = guest_write(hc->arena, lens, reply.lens, 8ull * reply.count);
    return host_result_i64(hc, code < 0 ? code : result);
}

static enum host_status import_state_entries(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint32_t max = hc->slots[2].u32;
    uint64_t cap = hc->slots[4].u64;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_READ, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (!guest_range(hc->arena, hc->slots[3].u32, cap, GUEST_WRITE) ||
        !guest_range(hc->arena, hc->slots[5].u32, max ? 8ull * max : 8, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (hc->resumed)
        return entries_answered(hc, cap);
    struct state_request r = value_request(a, STATE_OP_ENTRIES);
    r.off = hc->slots[1].u64;
    r.number = max < STATE_ENTRIES_MAX ? max : STATE_ENTRIES_MAX;
    r.len = cap < STATE_DATA_MAX ? cap : STATE_DATA_MAX;
    return state_ask(hc, &r);
}

static enum host_status import_state_clear(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (a && call_is_zygote(faaslet_of(hc)->call))
        code = -ATOLL_EPERM;
    if (!a || code == -ATOLL_EPERM)
        return host_result_i32(hc, code);
    struct state_request r = value_request(a, STATE_OP_CLEAR);
    return value_ask(hc, &r, false);
}

/* ---- keys ---- */

static enum host_status import_state_delete(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint8_t key[STATE_NAME_MAX];
    guest_other_call(f);
    int code = state_key(hc, hc->slots[0].u32, hc->slots[1].u32, STATE_DELETE, key);
    if (!code && call_is_zygote(f->call))
        code = -ATOLL_EPERM;
    if (code < 0)
        return host_result_i32(hc, code);
    struct state_request r = {.op = STATE_OP_DELETE, .key = key, .key_len = hc->slots[1].u32};
    return value_ask(hc, &r, false);
}

/* Asks for the keys after one; keys that the manifest lets the function read are passed on. */
static enum host_status list_ask(struct host_call *hc, const uint8_t *prefix, const uint8_t *after,
                                 uint32_t after_len)
{
    uint64_t cap = hc->slots[5].u64;
    struct state_request r = {.op = STATE_OP_LIST,
                              .key = prefix,
                              .key_len = hc->slots[1].u32,
                              .data = after,
                              .data_len = after_len,
                              .len = cap < STATE_DATA_MAX ? cap : STATE_DATA_MAX};
    return state_ask(hc, &r);
}

static enum host_status list_answered(struct host_call *hc, const uint8_t *prefix)
{
    struct faaslet *f = faaslet_of(hc);
    struct state_reply reply;
    int64_t result = state_answered(hc, &reply);
    if (result < 0)
        return host_result_i64(hc, result);
    if (reply.data_len > hc->slots[5].u64 || (reply.data_len && reply.data[reply.data_len - 1]))
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    /* Of another tenant's keys the right was looked at with the prefix. */
    bool own = !hc->slots[1].u32 || prefix[0] != '@';
    uint32_t written = 0, last = 0, len;
    for (uint32_t at = 0; at < reply.data_len; at += len + 1) {
        const uint8_t *key = reply.data + at;
        len = (uint32_t)strlen((const char *)key);
        last = at;
        if (own && !version_state_right(f->version, key, len, STATE_READ))
            continue;
        if (guest_write(hc->arena, hc->slots[4].u32 + written, key, len + 1) < 0)
            return host_result_i64(hc, -ATOLL_EFAULT);
        written += len + 1;
    }
    if (written || !reply.data_len)
        return host_result_i64(hc, written);
    uint8_t after[STATE_KEY_MAX];
    len = reply.data_len - 1 - last;
    if (len > sizeof after)
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    memcpy(after, reply.data + last, len);
    return list_ask(hc, prefix, after, len);
}

static enum host_status import_state_list(struct host_call *hc)
{
    uint8_t prefix[STATE_NAME_MAX], after[STATE_KEY_MAX];
    uint32_t prefix_len = hc->slots[1].u32, after_len = hc->slots[3].u32;
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    if (prefix_len > sizeof prefix || after_len > sizeof after)
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (!guest_range(hc->arena, hc->slots[4].u32, hc->slots[5].u64, GUEST_WRITE) ||
        guest_read(hc->arena, prefix, hc->slots[0].u32, prefix_len) < 0 ||
        guest_read(hc->arena, after, hc->slots[2].u32, after_len) < 0)
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (memchr(prefix, 0, prefix_len) || memchr(after, 0, after_len) ||
        (prefix_len > STATE_KEY_MAX && prefix[0] != '@'))
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (prefix_len && prefix[0] == '@' &&
        !version_state_right(f->version, prefix, prefix_len, STATE_READ))
        return host_result_i64(hc, -ATOLL_EPERM);
    return hc->resumed ? list_answered(hc, prefix) : list_ask(hc, prefix, after, after_len);
}

const struct import_entry imports_state[] = {
    {"state_open", "iili:i", import_state_open},
    {"state_close", "i:i", import_state_close},
    {"state_size", "i:l", import_state_size},
    {"state_resize", "il:i", import_state_resize},
    {"state_version", "ii:l", import_state_version},
    {"state_map", "illii:i", import_state_map},
    {"state_unmap", "i:i", import_state_unmap},
    {"state_read", "ilil:l", import_state_read},
    {"state_write", "ilil:l", import_state_write},
    {"state_dirty", "ill:i", import_state_dirty},
    {"state_merge", "illi:i", import_state_merge},
    {"state_pull", "illi:i", import_state_pull},
    {"state_push", "illil:l", import_state_push},
    {"state_append", "iil:l", import_state_append},
    {"state_entries", "iliili:l", import_state_entries},
    {"state_clear", "i:i", import_state_clear},
    {"state_lock", "iiil:l", import_state_lock},
    {"state_unlock", "ii:i", import_state_unlock},
    {"state_delete", "ii:i", import_state_delete},
    {"state_list", "iiiiil:l", import_state_list},
    {0},
};
