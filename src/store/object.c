/* Objects on disk and what is done to them; see object.h. Items of queues, values of maps and the
 * bytes of cells are records of their own in the table item, under the object's id. */
#include "store/object.h"

#include <assert.h>

/* The body of an object's record. */
struct object_record {
    uint32_t type, reserved;
    uint64_t id;
    int64_t number;   /* count, what is left, permits, parties */
    uint64_t limit;   /* of a queue */
    uint64_t head;    /* index of a queue's first item */
    uint64_t count;   /* items of a queue, keys of a map */
    uint64_t version; /* of a cell */
};

struct object {
    struct value_writer *writer;
    struct live_table *lives;
    struct operation *op;
    struct object_record record;
};

static int record_find(struct value_writer *w, const uint8_t *key, size_t key_len,
                       struct object_record *out, struct error *e)
{
    struct record r;
    int rc = batch_get(w->batch, TABLE_OBJ, key, key_len, &r, e);
    if (rc == -ATOLL_ENOENT)
        return error_set(e, ATOLL_ENOENT, "there is no such object");
    if (rc < 0)
        return rc;
    if (r.len != sizeof *out)
        return error_set(e, ATOLL_ECORRUPT, "the store's record of an object has a wrong length");
    memcpy(out, r.body, sizeof *out);
    return 0;
}

static int record_keep(struct object *o, struct error *e)
{
    return batch_put(o->writer->batch, TABLE_OBJ, o->op->key, o->op->key_len, &o->record,
                     sizeof o->record, e);
}

/* ---- opening and deleting ---- */

static int argument_check(enum gt_object_type type, int64_t arg, struct error *e)
{
    bool good;
    switch (type) {
    case GT_COUNTER: good = true; break;
    case GT_LATCH:
    case GT_SEMAPHORE: good = arg >= 0; break;
    case GT_BARRIER: good = arg >= 1 && arg <= GT_PARTIES_MAX; break;
    case GT_QUEUE: good = arg >= 0 && arg <= GT_ITEMS_MAX; break;
    default: good = arg == 0; break;
    }
    return good ? 0
                : error_set(e, ATOLL_EINVAL, "%lld is no argument for an object of this type",
                            (long long)arg);
}

static int object_make(struct object *o, enum gt_object_type type, int64_t arg, struct error *e)
{
    int rc = argument_check(type, arg, e);
    if (rc < 0)
        return rc;
    o->record = (struct object_record){.type = type, .number = arg};
    if (type == GT_QUEUE) {
        o->record.limit = arg > 0 ? (uint64_t)arg : GT_ITEMS_MAX;
        o->record.number = 0;
    }
    o->record.id = sequence_take(o->writer->sequence, o->writer->batch, e);
    return o->record.id ? record_keep(o, e) : e->code;
}

static int type_check(const struct object_record *record, enum gt_object_type type, struct error *e)
{
    if (record->type == type)
        return 0;
    return error_set(e, ATOLL_ETYPE, "the object is of type %u, not %u", record->type, type);
}

int object_open(struct value_writer *w, struct live_table *lives, struct operation *op,
                struct error *e)
{
    struct object o = {.writer = w, .lives = lives, .op = op};
    int rc = record_find(w, op->key, op->key_len, &o.record, e);
    if (rc == 0)
        rc = type_check(&o.record, op->open.type, e);
    else if (rc == -ATOLL_ENOENT)
        rc = object_make(&o, op->open.type, op->open.arg, e);
    if (rc == 0 && op->open.type == GT_BARRIER)
        rc = live_join(lives, o.record.id, op, op->open.owner, e);
    return rc;
}

int object_delete(struct value_writer *w, struct live_table *lives, struct operation *op,
                  struct error *e)
{
    struct object_record record;
    int rc = record_find(w, op->key, op->key_len, &record, e);
    if (rc == 0)
        rc = garbage_add(w->batch, TABLE_ITEM, record.id, e);
    if (rc == 0)
        rc = batch_delete(w->batch, TABLE_OBJ, op->key, op->key_len, e);
    if (rc == 0)
        live_delete(lives, record.id);
    return rc;
}

/* ---- results ---- */

static int unknown_op(struct error *e)
{
    return error_set(e, ATOLL_ENOSYS, "this type of object has no such operation");
}

static int result_number(struct object *o, int64_t value, uint64_t data, struct error *e)
{
    o->op->result.value = value;
    if (!buffer_append_u64(&o->op->out, data))
        return error_set(e, ATOLL_ENOMEM, "no memory for the result");
    operation_data(o->op);
    return 0;
}

static int too_large(struct operation *op, size_t len, struct error *e)
{
    op->result.value = (int64_t)len;
    return error_set(e, ATOLL_ESIZE, "there are %zu bytes: give them more room", len);
}

static int result_bytes(struct operation *op, const void *bytes, size_t len, struct error *e)
{
    if (len > op->object.call.cap)
        return too_large(op, len, e);
    if (!buffer_append(&op->out, bytes, len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the result");
    operation_data(op);
    return 0;
}

static int amount_check(int64_t a, struct error *e)
{
    return a >= 1 ? 0 : error_set(e, ATOLL_EINVAL, "the amount must be at least 1");
}

static int object_wait(struct object *o, struct error *e)
{
    return live_wait(o->lives, o->record.id, o->op, o->writer->now_ns, e);
}

static bool somebody_waits(const struct object *o)
{
    const struct live *live = live_find(o->lives, o->record.id);
    return live && live->waiting_count > 0;
}

/* ---- counter, latch, barrier ---- */

static int counter_call(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    int64_t *count = &o->record.number;
    bool swap = call->op == GT_COUNTER_CAS && *count == call->a;
    int rc = 0;
    if (call->op > GT_COUNTER_CAS)
        return unknown_op(e);
    if (call->op == GT_COUNTER_ADD)
        *count = (int64_t)((uint64_t)*count + (uint64_t)call->a);
    else if (swap)
        *count = call->b;
    if (call->op == GT_COUNTER_ADD || swap)
        rc = record_keep(o, e);
    if (rc < 0)
        return rc;
    return result_number(o, call->op == GT_COUNTER_CAS ? swap : *count, (uint64_t)*count, e);
}

static int latch_call(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    int64_t *left = &o->record.number;
    int rc = 0;
    if (call->op > GT_LATCH_GET)
        return unknown_op(e);
    if (call->op == GT_LATCH_WAIT && *left > 0)
        return object_wait(o, e);
    if (call->op == GT_LATCH_DOWN) {
        rc = amount_check(call->a, e);
        *left = call->a < *left ? *left - call->a : 0;
        if (rc == 0)
            rc = record_keep(o, e);
        if (rc < 0)
            return rc;
        for (struct live *live; *left == 0 && (live = live_find(o->lives, o->record.id));)
            live_answer(o->lives,
                        LINKS_OWNER(links_first(&live->waiting), struct operation, object.waiting),
                        0, NULL);
    }
    o->op->result.value = *left;
    return 0;
}

static int barrier_call(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    struct live *live = live_find(o->lives, o->record.id);
    uint32_t arrived = live ? live->waiting_count : 0;
    if (call->op > GT_BARRIER_PARTIES)
        return unknown_op(e);
    if (call->op == GT_BARRIER_PARTIES) {
        o->op->result.value = o->record.number;
        return 0;
    }
    if (arrived + 1 < o->record.number)
        return object_wait(o, e);
    if (live)
        live_release(o->lives, live);
    o->op->result.value = arrived;
    return 0;
}

/* ---- semaphore ---- */

/* How many of those that wait can have their permits, in order, and what is left then. */
static uint32_t permits_share(const struct live *live, int64_t *permits)
{
    uint32_t served = 0;
    for (struct links *l = live->waiting.next; l != &live->waiting; l = l->next) {
        const struct operation *op = LINKS_OWNER(l, struct operation, object.waiting);
        if (op->object.call.a > *permits)
            break;
        *permits -= op->object.call.a;
        served++;
    }
    return served;
}

/* Writes that `permits` are there for those that wait and the rest, then lets them go on. */
static int permits_give(struct object *o, int64_t permits, struct error *e)
{
    struct live *live = live_find(o->lives, o->record.id);
    uint32_t served = live ? permits_share(live, &permits) : 0;
    if (permits != o->record.number) {
        o->record.number = permits;
        int rc = record_keep(o, e);
        if (rc < 0)
            return rc;
    }
    while (served-- > 0) {
        struct operation *op =
            LINKS_OWNER(links_first(&live->waiting), struct operation, object.waiting);
        op->result.value = permits;
        live_answer(o->lives, op, 0, NULL); /* the last frees live */
    }
    return 0;
}

static int semaphore_call(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    if (call->op > GT_SEMAPHORE_RELEASE)
        return unknown_op(e);
    int rc = amount_check(call->a, e);
    if (rc < 0)
        return rc;
    if (call->op == GT_SEMAPHORE_RELEASE) {
        if (call->a > INT64_MAX - o->record.number)
            return error_set(e, ATOLL_ERANGE, "the semaphore cannot hold so many permits");
        rc = permits_give(o, o->record.number + call->a, e);
    } else if (call->a > o->record.number || somebody_waits(o)) {
        return object_wait(o, e);
    } else {
        o->record.number -= call->a;
        rc = record_keep(o, e);
    }
    o->op->result.value = o->record.number;
    return rc;
}

int objects_serve(struct value_writer *w, struct live_table *lives, struct error *e)
{
    for (struct links *first; (first = links_first(&lives->to_serve));) {
        struct live *live = LINKS_OWNER(first, struct live, to_serve);
        struct operation place = {.key = live->key, .key_len = live->key_len};
        struct object o = {.writer = w, .lives = lives, .op = &place};
        int rc = record_find(w, live->key, live->key_len, &o.record, e);
        if (rc == 0 && o.record.type == GT_SEMAPHORE) {
            /* permits_give may free live, and with it the link */
            links_remove(first);
            rc = permits_give(&o, o.record.number, e);
            if (rc < 0)
                links_append(&lives->to_serve, first);
        } else {
            links_remove(first); /* nobody else gains by it, or its record is damaged */
        }
        if (w->batch->broken)
            return rc;
    }
    return 0;
}

/* ---- queue ---- */

/* Hands the item to the first that waits and has room for it. */
static bool item_hand_over(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    for (struct live *live; (live = live_find(o->lives, o->record.id));) {
        struct operation *waiter =
            LINKS_OWNER(links_first(&live->waiting), struct operation, object.waiting);
        int rc = result_bytes(waiter, call->in, call->in_len, e);
        live_answer(o->lives, waiter, rc, e->text);
        if (rc == 0)
            return true;
    }
    return false;
}

static int queue_push(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    uint8_t key[16];
    if (call->in_len > GT_OBJECT_BYTES_MAX)
        return error_set(e, ATOLL_ESIZE, "an item has at most %u bytes", GT_OBJECT_BYTES_MAX);
    if (item_hand_over(o, e))
        return 0;
    if (o->record.count >= o->record.limit)
        return error_set(e, ATOLL_ELIMIT, "the queue is full: it holds %llu items",
                         (unsigned long long)o->record.count);
    item_key(o->record.id, o->record.head + o->record.count, key);
    int rc = batch_put(o->writer->batch, TABLE_ITEM, key, sizeof key, call->in, call->in_len, e);
    o->record.count++;
    o->op->result.value = (int64_t)o->record.count;
    return rc < 0 ? rc : record_keep(o, e);
}

static int queue_pop(struct object *o, struct error *e)
{
    uint8_t key[16];
    struct record r;
    if (o->record.count == 0)
        return object_wait(o, e);
    item_key(o->record.id, o->record.head, key);
    int rc = batch_get(o->writer->batch, TABLE_ITEM, key, sizeof key, &r, e);
    if (rc == -ATOLL_ENOENT)
        return error_set(e, ATOLL_ECORRUPT, "an item of the queue is missing in the store");
    if (rc == 0)
        rc = result_bytes(o->op, r.body, r.len, e);
    if (rc == 0)
        rc = batch_delete(o->writer->batch, TABLE_ITEM, key, sizeof key, e);
    o->record.head++;
    o->record.count--;
    return rc < 0 ? rc : record_keep(o, e);
}

static int queue_call(struct object *o, struct error *e)
{
    switch (o->op->object.call.op) {
    case GT_QUEUE_PUSH: return queue_push(o, e);
    case GT_QUEUE_POP: return queue_pop(o, e);
    case GT_QUEUE_LEN: o->op->result.value = (int64_t)o->record.count; return 0;
    default: return unknown_op(e);
    }
}

/* ---- map ---- */

struct map_argument {
    uint8_t key[8 + GT_MAP_KEY_MAX]; /* of the item */
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
};

static int map_argument_read(const struct object *o, bool may_be_empty, struct map_argument *out,
                             struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    const uint8_t *in = call->in;
    uint32_t len = call->in_len >= 4 ? load_u32(in) : 0;
    if (call->in_len < 4 || len > call->in_len - 4 || len > GT_MAP_KEY_MAX ||
        (len == 0 && !may_be_empty))
        return error_set(e, ATOLL_EINVAL, "a key of a map has 1..%u bytes", GT_MAP_KEY_MAX);
    uint8_t place[16];
    item_key(o->record.id, 0, place);
    memcpy(out->key, place, 8);
    memcpy(out->key + 8, in + 4, len);
    out->key_len = 8 + len;
    out->value = in + 4 + len;
    out->value_len = call->in_len - 4 - len;
    if (out->value_len > GT_OBJECT_BYTES_MAX)
        return error_set(e, ATOLL_ESIZE, "a value has at most %u bytes", GT_OBJECT_BYTES_MAX);
    return 0;
}

static int map_keep(struct object *o, const struct map_argument *m, const void *value, size_t len,
                    bool new, struct error *e)
{
    if (new && o->record.count >= GT_ITEMS_MAX)
        return error_set(e, ATOLL_ELIMIT, "the map is full: it holds %u keys", GT_ITEMS_MAX);
    int rc = batch_put(o->writer->batch, TABLE_ITEM, m->key, m->key_len, value, len, e);
    o->record.count += new;
    return rc < 0 || !new ? rc : record_keep(o, e);
}

static int map_delete(struct object *o, const struct map_argument *m, bool there, struct error *e)
{
    o->op->result.value = there;
    if (!there)
        return 0;
    int rc = batch_delete(o->writer->batch, TABLE_ITEM, m->key, m->key_len, e);
    o->record.count--;
    return rc < 0 ? rc : record_keep(o, e);
}

static int map_increase(struct object *o, const struct map_argument *m, const struct record *there,
                        struct error *e)
{
    uint64_t sum = (uint64_t)o->op->object.call.a;
    uint8_t bytes[8];
    if (there && there->len != sizeof bytes)
        return error_set(e, ATOLL_ETYPE, "the key's value is not a number of 8 bytes");
    if (there)
        sum += load_u64(there->body);
    store_u64(bytes, sum);
    int rc = map_keep(o, m, bytes, sizeof bytes, !there, e);
    return rc < 0 ? rc : result_number(o, (int64_t)sum, sum, e);
}

static int scan_add(struct operation *op, const MDB_val *key, const struct record *r,
                    struct error *e)
{
    const uint8_t *map_key = (const uint8_t *)key->mv_data + 8;
    size_t len = key->mv_size - 8;
    if (8 + len + r->len > op->object.call.cap - op->out.len)
        return op->result.count > 0 ? 1 : too_large(op, 8 + len + r->len, e);
    if (!buffer_append_u32(&op->out, (uint32_t)len) || !buffer_append(&op->out, map_key, len) ||
        !buffer_append_u32(&op->out, (uint32_t)r->len) || !buffer_append(&op->out, r->body, r->len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the result");
    op->result.count++;
    return 0;
}

static int map_scan(struct object *o, const struct map_argument *m, struct error *e)
{
    struct record_range range;
    struct record r;
    MDB_val key;
    int rc =
        range_begin(o->writer->batch->environment, o->writer->batch->txn, TABLE_ITEM, m->key, 8,
                    m->key_len > 8 ? m->key : NULL, m->key_len > 8 ? m->key_len : 0, &range, e);
    if (rc < 0)
        return rc;
    while ((rc = range_next(&range, &key, &r, e)) == 1) {
        rc = scan_add(o->op, &key, &r, e);
        if (rc != 0)
            break;
    }
    range_end(&range);
    if (rc < 0)
        return rc;
    o->op->result.value = (int64_t)o->op->result.count;
    operation_data(o->op);
    return 0;
}

static int map_call(struct object *o, struct error *e)
{
    const uint32_t op = o->op->object.call.op;
    struct map_argument m;
    struct record r;
    if (op > GT_MAP_INCR)
        return unknown_op(e);
    if (op == GT_MAP_SIZE) {
        o->op->result.value = (int64_t)o->record.count;
        return 0;
    }
    int rc = map_argument_read(o, op == GT_MAP_SCAN, &m, e);
    if (rc < 0)
        return rc;
    if (op == GT_MAP_SCAN)
        return map_scan(o, &m, e);
    rc = batch_get(o->writer->batch, TABLE_ITEM, m.key, m.key_len, &r, e);
    if (rc < 0 && rc != -ATOLL_ENOENT)
        return rc;
    bool there = rc == 0;
    switch (op) {
    case GT_MAP_PUT:
        o->op->result.value = !there;
        return map_keep(o, &m, m.value, m.value_len, !there, e);
    case GT_MAP_DELETE: return map_delete(o, &m, there, e);
    case GT_MAP_INCR: return map_increase(o, &m, there ? &r : NULL, e);
    default:
        return there ? result_bytes(o->op, r.body, r.len, e)
                     : error_set(e, ATOLL_ENOENT, "the map has no such key");
    }
}

/* ---- cell ---- */

static int cell_call(struct object *o, struct error *e)
{
    const struct gt_object_call *call = &o->op->object.call;
    uint8_t key[16];
    struct record r = {0};
    item_key(o->record.id, 0, key);
    o->op->result.version = o->record.version;
    if (call->op > GT_CELL_CAS)
        return unknown_op(e);
    if (call->op == GT_CELL_GET) {
        int rc = batch_get(o->writer->batch, TABLE_ITEM, key, 8, &r, e);
        return rc < 0 && rc != -ATOLL_ENOENT ? rc : result_bytes(o->op, r.body, r.len, e);
    }
    if (call->in_len > GT_OBJECT_BYTES_MAX)
        return error_set(e, ATOLL_ESIZE, "a cell has at most %u bytes", GT_OBJECT_BYTES_MAX);
    if (call->op == GT_CELL_CAS && (uint64_t)call->a != o->record.version)
        return error_set(e, ATOLL_ESTALE, "the cell has version %llu, not %lld",
                         (unsigned long long)o->record.version, (long long)call->a);
    int rc = batch_put(o->writer->batch, TABLE_ITEM, key, 8, call->in, call->in_len, e);
    o->op->result.version = ++o->record.version;
    return rc < 0 ? rc : record_keep(o, e);
}

int object_call(struct value_writer *w, struct live_table *lives, struct operation *op,
                struct error *e)
{
    struct object o = {.writer = w, .lives = lives, .op = op};
    int rc = record_find(w, op->key, op->key_len, &o.record, e);
    if (rc == 0)
        rc = type_check(&o.record, op->object.type, e);
    if (rc < 0)
        return rc;
    switch (op->object.type) {
    case GT_COUNTER: return counter_call(&o, e);
    case GT_LATCH: return latch_call(&o, e);
    case GT_BARRIER: return barrier_call(&o, e);
    case GT_SEMAPHORE: return semaphore_call(&o, e);
    case GT_QUEUE: return queue_call(&o, e);
    case GT_MAP: return map_call(&o, e);
    case GT_CELL: return cell_call(&o, e);
    default: return unknown_op(e);
    }
}
