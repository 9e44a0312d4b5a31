/* Host functions about a child: its result, read or mapped; cancelling it, forgetting it. */
#include "node/worker/process.h"

#include "engine/link.h"

/* The output of an ended child, retained; NULL when it is empty. */
static int child_output(struct faaslet *f, uint64_t id, struct blob **out)
{
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    const struct call *c = call_child(w, f->call, id);
    int rc = !c ? -ATOLL_ENOENT : call_ended(c) ? 0 : -ATOLL_EAGAIN;
    *out = rc == 0 ? blob_retain(c->output) : NULL;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static enum host_status import_result_read(struct host_call *hc)
{
    struct blob *b;
    int64_t rc = child_output(faaslet_of(hc), hc->slots[0].u64, &b);
    if (rc == 0)
        rc = blob_read(hc, b, hc->slots[1].u64, hc->slots[2].u32, hc->slots[3].u64);
    blob_release(b);
    return host_result_i64(hc, rc);
}

static enum host_status import_result_map(struct host_call *hc)
{
    struct blob *b = NULL;
    uint32_t to = hc->slots[1].u32, address = 0;
    int rc = guest_range(hc->arena, to, sizeof address, GUEST_WRITE) ? 0 : -ATOLL_EFAULT;
    if (rc == 0)
        rc = child_output(faaslet_of(hc), hc->slots[0].u64, &b);
    if (rc == 0)
        rc = b && b->len ? blob_map(hc, "result", b, &address) : -ATOLL_ENOENT;
    if (rc == 0)
        rc = guest_write(hc->arena, to, &address, sizeof address);
    blob_release(b);
    return host_result_i32(hc, rc);
}

static enum host_status import_cancel(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    struct call *c = call_child(w, f->call, hc->slots[0].u64);
    if (c)
        call_stop(w, c, STOP_CANCEL);
    pthread_mutex_unlock(&w->lock);
    if (c)
        guest_announce(w);
    return host_result_i32(hc, c ? 0 : -ATOLL_ENOENT);
}

static enum host_status import_forget(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    guest_other_call(f);
    pthread_mutex_lock(&w->lock);
    struct call *c = call_child(w, f->call, hc->slots[0].u64);
    int rc = !c ? -ATOLL_ENOENT : call_ended(c) ? 0 : -ATOLL_EBUSY;
    if (rc == 0)
        call_forget(w, c);
    pthread_mutex_unlock(&w->lock);
    return host_result_i32(hc, rc);
}

const struct import_entry imports_result[] = {
    {"result_read", "llil:l", import_result_read},
    {"result_map", "li:i", import_result_map},
    {"cancel", "l:i", import_cancel},
    {"forget", "l:i", import_forget},
    {0},
};
