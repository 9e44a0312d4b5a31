/*
 * Host functions of the bytes of values: copying them in and out, and mapping them into the guest.
 * What is missing here is pulled first, while the call is parked; all else happens in this process.
 */
#include "node/worker/import_state.h"

#include "sandbox/region.h"

#define PAGE 4096u

/* ---- bytes ---- */

/* 0 when the range is here; 1 when the call parks until it is, with *status to return; or a code.
 * A value that has grown meanwhile gives no more than was asked for: of the rest nobody has said
 * that it is here. */
static int range_present(struct host_call *hc, const struct attached *a,
                         const struct state_slot_view *view, uint64_t off, uint64_t *len,
                         enum host_status *status)
{
    if (hc->resumed) {
        struct state_reply reply;
        int64_t result = state_answered(hc, &reply);
        call_count_state(faaslet_of(hc)->call, reply.moved, 0);
        *len = *len < reply.number ? *len : reply.number;
        return result < 0 ? (int)result : 0;
    }
    if (view->flags & STATE_SLOT_STALE)
        return -ATOLL_ESTALE;
    if (!*len || view->flags & STATE_SLOT_COMPLETE)
        return 0;
    struct state_request r = value_request(a, STATE_OP_ENSURE);
    r.off = off;
    r.len = *len;
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
    if ((code = range_present(hc, a, &view, off, &len, &status)) > 0)
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
    if ((code = range_present(hc, a, &view, off, &len, &status)) > 0)
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
    if ((code = range_present(hc, a, &view, off, &len, &status)) > 0)
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

const struct import_entry imports_state_bytes[] = {
    {"state_map", "illii:i", import_state_map},   {"state_unmap", "i:i", import_state_unmap},
    {"state_read", "ilil:l", import_state_read},  {"state_write", "ilil:l", import_state_write},
    {"state_dirty", "ill:i", import_state_dirty}, {0},
};
