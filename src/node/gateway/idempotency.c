/* See idempotency.h. */
#define _GNU_SOURCE
#include "node/gateway/idempotency.h"

#include "base/clock.h"
#include "store/store.h"

#include <stdlib.h>

#define KEY_MAX (2 * (NAME_MAX_LEN + 1) + IDEMPOTENCY_KEY_MAX)
_Static_assert(KEY_MAX <= STORE_RECORD_KEY_MAX, "the store's keys hold tenant, function and key");
#define RECORD_LEN 16

struct pending {
    struct exchange *exchange; /* NULL: nobody waits any longer */
    struct node *node;
    struct callback *callback;
    idempotency_done done;
    struct call_request request; /* what it points to is ours */
    uint64_t call;
    uint8_t key[KEY_MAX];
    size_t key_len;
    bool replacing; /* an expired record is there */
};

static void pending_end(struct pending *p, int code, uint64_t call, const struct error *e)
{
    struct exchange *x = p->exchange;
    callback_cancel(p->callback);
    version_release(p->node->registry, p->request.version);
    blob_release(p->request.input);
    free((char *)(uintptr_t)p->request.head);
    if (x) {
        x->gone = NULL;
        p->done(x, code, call, e);
    }
    free(p);
}

static void pending_gone(struct exchange *x)
{
    struct pending *p = x->own;
    p->exchange = NULL;
    x->gone = NULL;
    exchange_drop(x);
}

static void record_write(struct pending *p);

static void record_found(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    if (r->code == 0 && r->len == RECORD_LEN &&
        (int64_t)load_u64(r->data + 8) > clock_ns(CLOCK_REALTIME)) {
        pending_end(p, 0, load_u64(r->data), NULL);
        return;
    }
    if (r->code != 0 && r->code != -ATOLL_ENOENT) {
        pending_end(p, r->code, 0, r->error);
        return;
    }
    p->replacing = r->code == 0;
    record_write(p);
}

static void record_look(struct pending *p)
{
    struct error e;
    struct gt_callback found = {record_found, p};
    if (store_get(p->node->store, STORE_IDEMPOTENCY, p->key, p->key_len, found, &e) != 0)
        pending_end(p, e.code, 0, &e);
}

static void record_written(void *context, const struct gt_result *r)
{
    struct pending *p = context;
    struct error e;
    if (r->code == -ATOLL_EEXIST) {
        record_look(p); /* another request was faster */
        return;
    }
    if (r->code != 0) {
        pending_end(p, r->code, 0, r->error);
        return;
    }
    struct callback *callback = p->callback;
    p->callback = NULL;
    p->request.id = p->call;
    int rc = calls_submit(p->node->calls, &p->request, callback ? callback_post : NULL, callback,
                          &p->call, &e);
    if (rc != 0)
        callback_cancel(callback);
    pending_end(p, rc, p->call, &e);
}

static void record_write(struct pending *p)
{
    uint8_t record[RECORD_LEN];
    struct error e;
    store_u64(record, p->call);
    store_u64(record + 8, (uint64_t)(clock_ns(CLOCK_REALTIME) + IDEMPOTENCY_NS));
    struct store_write write = {p->replacing ? STORE_PUT : STORE_CREATE,
                                STORE_IDEMPOTENCY,
                                p->key,
                                p->key_len,
                                record,
                                sizeof record};
    struct gt_callback written = {record_written, p};
    if (store_write(p->node->store, &write, 1, 0, written, &e) != 0)
        pending_end(p, e.code, 0, &e);
}

void idempotency_submit(struct exchange *x, const char *key, const struct call_request *q,
                        struct callback *callback, idempotency_done done)
{
    size_t len = strlen(key), tenant = strlen(x->tenant) + 1, name = strlen(x->name) + 1;
    struct error e;
    struct pending *p = len > 0 && len <= IDEMPOTENCY_KEY_MAX ? calloc(1, sizeof *p) : NULL;
    char *head = p ? malloc(q->head_len ? q->head_len : 1) : NULL;
    if (head == NULL) {
        free(p);
        callback_cancel(callback);
        error_set(&e, len > 0 && len <= IDEMPOTENCY_KEY_MAX ? ATOLL_ENOMEM : ATOLL_EINVAL,
                  "an Idempotency-Key has 1 to %u bytes", IDEMPOTENCY_KEY_MAX);
        done(x, e.code, 0, &e);
        return;
    }
    memcpy(head, q->head, q->head_len);
    *p = (struct pending){.exchange = x,
                          .node = x->node,
                          .callback = callback,
                          .done = done,
                          .request = *q,
                          .call = calls_take_ids(x->node->calls, 1)};
    p->request.head = head;
    version_retain(q->version);
    blob_retain(q->input);
    memcpy(p->key, x->tenant, tenant);
    memcpy(p->key + tenant, x->name, name);
    memcpy(p->key + tenant + name, key, len);
    p->key_len = tenant + name + len;
    x->own = p;
    x->gone = pending_gone;
    record_look(p);
}
