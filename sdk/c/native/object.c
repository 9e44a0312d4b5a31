/*
 * Shared objects. atoll.h says what each operation does; a waiting one waits in call_wait and looks
 * again whenever something changed.
 */
#define _GNU_SOURCE
#include "node.h"

#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX   (1u << 20) /* of one queue or map */
#define PARTIES_MAX 65536

struct item { /* a value of a queue, or a key and value of a map */
    struct item *next;
    uint8_t *key;
    uint32_t key_len, len;
    uint8_t bytes[];
};

struct object {
    struct object *next;
    uint8_t key[ATOLL_KEY_MAX];
    uint32_t key_len, type;
    int64_t number; /* counter, latch, permits, parties; a cell's version; how many items */
    uint64_t capacity;
    struct item *items; /* a queue's oldest first; a map's by key; a cell's value */
    /* A barrier: each round has a number. Who has it open is a party; when one closed it and no
     * other took its place, it is lost. */
    uint64_t round, lost_ns;
    uint32_t arrived, opened;
    bool lost;
};

/* The arguments of obj_op. */
struct operation {
    struct native_call *call;
    struct object *object;
    int64_t a, b;
    const uint8_t *in;
    uint64_t in_len;
    uint8_t *out;
    uint64_t cap, until_ns;
};

static void object_free(struct object *object)
{
    while (object->items) {
        struct item *item = object->items;
        object->items = item->next;
        free(item->key);
        free(item);
    }
    free(object);
}

void objects_free(struct atoll_native *node)
{
    while (node->objects) {
        struct object *object = node->objects;
        node->objects = object->next;
        object_free(object);
    }
}

/* Waits for a change: 0, or the error to return. A call that is over does not come back. */
static int operation_wait(struct operation *o)
{
    int status = call_wait(o->call, o->until_ns);
    if (status == -ATOLL_ECANCELED)
        call_over_end(o->call);
    return status && o->until_ns == 0 ? -ATOLL_EAGAIN : status;
}

/* The count is the result, and once more in out, where a negative one is no error. */
static int64_t count_return(const struct operation *o, int64_t count, int64_t result)
{
    if (o->cap >= sizeof count)
        memcpy(o->out, &count, sizeof count);
    return result;
}

static int64_t wrapped_sum(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static struct item *item_new(const void *bytes, uint64_t len)
{
    struct item *item = calloc(1, sizeof *item + len + 1);
    if (!item)
        return NULL;
    item->len = (uint32_t)len;
    if (len > 0)
        memcpy(item->bytes, bytes, len);
    return item;
}

static int64_t item_copy(const struct operation *o, const struct item *item)
{
    if (item->len > o->cap)
        return -ATOLL_ESIZE;
    if (item->len > 0)
        memcpy(o->out, item->bytes, item->len);
    return item->len;
}

/* ---- counter, latch, semaphore ---- */

static int64_t counter_op(struct operation *o, uint32_t op)
{
    int64_t *number = &o->object->number;
    switch (op) {
    case ATOLL_COUNTER_GET: return count_return(o, *number, *number);
    case ATOLL_COUNTER_ADD:
        *number = wrapped_sum(*number, o->a);
        return count_return(o, *number, *number);
    case ATOLL_COUNTER_CAS:
        if (*number != o->a)
            return count_return(o, *number, 0);
        *number = o->b;
        return count_return(o, *number, 1);
    default: return -ATOLL_ENOSYS;
    }
}

static int64_t latch_op(struct operation *o, uint32_t op)
{
    int64_t *number = &o->object->number;
    int status = 0;
    switch (op) {
    case ATOLL_LATCH_DOWN:
        if (o->a < 1)
            return -ATOLL_EINVAL;
        *number = o->a < *number ? *number - o->a : 0;
        return *number;
    case ATOLL_LATCH_WAIT:
        while (*number > 0 && status == 0)
            status = operation_wait(o);
        return *number > 0 ? status : 0;
    case ATOLL_LATCH_GET: return *number;
    default: return -ATOLL_ENOSYS;
    }
}

static int64_t semaphore_op(struct operation *o, uint32_t op)
{
    int64_t *number = &o->object->number;
    int status = 0;
    if (op > ATOLL_SEM_RELEASE)
        return -ATOLL_ENOSYS;
    if (o->a < 1)
        return -ATOLL_EINVAL;
    if (op == ATOLL_SEM_RELEASE && *number > INT64_MAX - o->a)
        return -ATOLL_ERANGE;
    if (op == ATOLL_SEM_RELEASE)
        return *number += o->a;
    while (*number < o->a && status == 0)
        status = operation_wait(o);
    if (*number < o->a)
        return status;
    return *number -= o->a;
}

/* ---- barrier ---- */

static uint64_t barrier_given_up_ns(const struct operation *o)
{
    if (!o->object->lost)
        return UINT64_MAX;
    return o->object->lost_ns + (uint64_t)o->call->node->options.barrier_loss_ms * 1000000u;
}

static int64_t barrier_arrive(struct operation *o)
{
    struct object *barrier = o->object;
    uint64_t round = barrier->round;
    int64_t rank = barrier->arrived++;
    int status = 0;
    if (barrier->arrived == barrier->number) {
        barrier->arrived = 0;
        barrier->round++;
        return rank;
    }
    while (barrier->round == round && status == 0) {
        uint64_t given_up = barrier_given_up_ns(o);
        status = call_wait(o->call, given_up < o->until_ns ? given_up : o->until_ns);
        if (status == -ATOLL_ETIMEDOUT && native_clock_ns() >= barrier_given_up_ns(o))
            status = -ATOLL_ELOST;
        else if (status == -ATOLL_ETIMEDOUT && native_clock_ns() < o->until_ns)
            status = 0;
    }
    if (barrier->round != round && status != -ATOLL_ECANCELED)
        return rank;
    if (barrier->round == round)
        barrier->arrived--;
    if (status == -ATOLL_ECANCELED)
        call_over_end(o->call);
    return status == -ATOLL_ETIMEDOUT && o->until_ns == 0 ? -ATOLL_EAGAIN : status;
}

void object_closed(struct native_call *call, struct object *object)
{
    if (object->type != ATOLL_O_BARRIER)
        return;
    object->opened--;
    if (object->opened == 0) {
        object->lost = false;
    } else if (object->opened < object->number && !object->lost) {
        object->lost = true;
        object->lost_ns = native_clock_ns();
        node_changed(call->node);
    }
}

static void object_opened(struct object *object)
{
    object->opened++;
    object->lost_ns = native_clock_ns();
    if (object->opened >= object->number)
        object->lost = false;
}

static int64_t barrier_op(struct operation *o, uint32_t op)
{
    switch (op) {
    case ATOLL_BARRIER_ARRIVE: return barrier_arrive(o);
    case ATOLL_BARRIER_PARTIES: return o->object->number;
    default: return -ATOLL_ENOSYS;
    }
}

/* ---- queue ---- */

static int64_t queue_push(struct operation *o)
{
    struct object *queue = o->object;
    if (o->in_len > ATOLL_ENTRY_MAX)
        return -ATOLL_ESIZE;
    if ((uint64_t)queue->number >= queue->capacity)
        return -ATOLL_ELIMIT;
    struct item *item = item_new(o->in, o->in_len);
    if (!item)
        return -ATOLL_ENOMEM;
    struct item **end = &queue->items;
    while (*end)
        end = &(*end)->next;
    *end = item;
    return ++queue->number;
}

static int64_t queue_pop(struct operation *o)
{
    struct object *queue = o->object;
    int status = 0;
    while (!queue->items && status == 0)
        status = operation_wait(o);
    if (!queue->items)
        return status;
    struct item *item = queue->items;
    int64_t len = item_copy(o, item);
    if (len >= 0) {
        queue->items = item->next;
        queue->number--;
        free(item);
    }
    return len;
}

static int64_t queue_op(struct operation *o, uint32_t op)
{
    switch (op) {
    case ATOLL_QUEUE_PUSH: return queue_push(o);
    case ATOLL_QUEUE_POP: return queue_pop(o);
    case ATOLL_QUEUE_LEN: return o->object->number;
    default: return -ATOLL_ENOSYS;
    }
}

/* ---- map ---- */

struct map_input {
    const uint8_t *key, *value;
    uint32_t key_len;
    uint64_t value_len;
};

static int map_input_read(const struct operation *o, bool any_key, struct map_input *input)
{
    if (o->in_len < sizeof input->key_len)
        return -ATOLL_EINVAL;
    memcpy(&input->key_len, o->in, sizeof input->key_len);
    uint64_t rest = o->in_len - sizeof input->key_len;
    input->key = o->in + sizeof input->key_len;
    if (input->key_len > rest ||
        !(key_valid(input->key, input->key_len) || (any_key && input->key_len == 0)))
        return -ATOLL_EINVAL;
    input->value = input->key + input->key_len;
    input->value_len = rest - input->key_len;
    return input->value_len > ATOLL_ENTRY_MAX ? -ATOLL_ESIZE : 0;
}

static int item_order(const struct item *item, const struct map_input *input)
{
    uint32_t len = item->key_len < input->key_len ? item->key_len : input->key_len;
    int order = len ? memcmp(item->key, input->key, len) : 0;
    return order ? order : (item->key_len > input->key_len) - (item->key_len < input->key_len);
}

/* Where the key stands or belongs. */
static struct item **map_place(struct object *map, const struct map_input *input, bool *there)
{
    struct item **at = &map->items;
    while (*at && item_order(*at, input) < 0)
        at = &(*at)->next;
    *there = *at && item_order(*at, input) == 0;
    return at;
}

static int64_t map_put(struct object *map, const struct map_input *input)
{
    bool there;
    struct item **at = map_place(map, input, &there);
    struct item *item = item_new(input->value, input->value_len);
    if (!there && map->number == ITEMS_MAX) {
        free(item);
        return -ATOLL_ELIMIT;
    }
    uint8_t *key = item ? malloc(input->key_len) : NULL;
    if (!key) {
        free(item);
        return -ATOLL_ENOMEM;
    }
    memcpy(key, input->key, input->key_len);
    item->key = key;
    item->key_len = input->key_len;
    item->next = *at;
    if (there) {
        item->next = (*at)->next;
        free((*at)->key);
        free(*at);
    } else {
        map->number++;
    }
    *at = item;
    return !there;
}

static int64_t map_scan(struct operation *o, const struct map_input *input)
{
    bool there;
    struct item *item = *map_place(o->object, input, &there);
    uint64_t used = 0;
    int64_t count = 0;
    if (there)
        item = item->next;
    for (; item; item = item->next) {
        uint8_t *to = o->out + used;
        uint64_t bytes = 8 + (uint64_t)item->key_len + item->len;
        if (bytes > o->cap - used)
            return count ? count : -ATOLL_ESIZE;
        memcpy(to, &item->key_len, 4);
        memcpy(to + 4, item->key, item->key_len);
        memcpy(to + 4 + item->key_len, &item->len, 4);
        memcpy(to + 8 + item->key_len, item->bytes, item->len);
        used += bytes;
        count++;
    }
    return count;
}

static int64_t map_increment(struct operation *o, struct map_input *input)
{
    bool there;
    struct item *item = *map_place(o->object, input, &there);
    int64_t number = 0;
    if (there && item->len != sizeof number)
        return -ATOLL_ETYPE;
    if (there)
        memcpy(&number, item->bytes, sizeof number);
    number = wrapped_sum(number, o->a);
    input->value = (const uint8_t *)&number;
    input->value_len = sizeof number;
    int64_t put = map_put(o->object, input);
    return put < 0 ? put : count_return(o, number, number);
}

static int64_t map_delete(struct object *map, const struct map_input *input)
{
    bool there;
    struct item **at = map_place(map, input, &there), *item = *at;
    if (!there)
        return 0;
    *at = item->next;
    free(item->key);
    free(item);
    map->number--;
    return 1;
}

static int64_t map_op(struct operation *o, uint32_t op)
{
    struct map_input input;
    bool there;
    if (op == ATOLL_MAP_SIZE)
        return o->object->number;
    if (op > ATOLL_MAP_INCR)
        return -ATOLL_ENOSYS;
    int error = map_input_read(o, op == ATOLL_MAP_SCAN, &input);
    if (error)
        return error;
    switch (op) {
    case ATOLL_MAP_GET: {
        struct item *item = *map_place(o->object, &input, &there);
        return there ? item_copy(o, item) : -ATOLL_ENOENT;
    }
    case ATOLL_MAP_PUT: return map_put(o->object, &input);
    case ATOLL_MAP_DEL: return map_delete(o->object, &input);
    case ATOLL_MAP_SCAN: return map_scan(o, &input);
    default: return map_increment(o, &input);
    }
}

/* ---- cell ---- */

static int64_t cell_set(struct operation *o)
{
    struct object *cell = o->object;
    if (o->in_len > ATOLL_ENTRY_MAX)
        return -ATOLL_ESIZE;
    struct item *item = item_new(o->in, o->in_len);
    if (!item)
        return -ATOLL_ENOMEM;
    free(cell->items);
    cell->items = item;
    return ++cell->number;
}

static int64_t cell_get(struct operation *o)
{
    const struct item *item = o->object->items;
    uint32_t len = item ? item->len : 0;
    if (sizeof len + len > o->cap)
        return -ATOLL_ESIZE;
    memcpy(o->out, &len, sizeof len);
    if (len > 0)
        memcpy(o->out + sizeof len, item->bytes, len);
    return o->object->number;
}

static int64_t cell_op(struct operation *o, uint32_t op)
{
    switch (op) {
    case ATOLL_CELL_GET: return cell_get(o);
    case ATOLL_CELL_SET: return cell_set(o);
    case ATOLL_CELL_CAS: return o->object->number == o->a ? cell_set(o) : -ATOLL_ESTALE;
    default: return -ATOLL_ENOSYS;
    }
}

/* ---- imports ---- */

static int argument_check(uint32_t type, int64_t arg)
{
    switch (type) {
    case ATOLL_O_COUNTER: return 0;
    case ATOLL_O_LATCH:
    case ATOLL_O_SEM: return arg >= 0 ? 0 : -ATOLL_EINVAL;
    case ATOLL_O_BARRIER: return arg >= 1 && arg <= PARTIES_MAX ? 0 : -ATOLL_EINVAL;
    case ATOLL_O_QUEUE: return arg >= 0 && arg <= ITEMS_MAX ? 0 : -ATOLL_EINVAL;
    default: return arg == 0 ? 0 : -ATOLL_EINVAL;
    }
}

static int object_open(struct native_call *call, uint32_t type, const void *key, uint32_t klen,
                       int64_t arg, struct object **found)
{
    struct object *object = call->node->objects;
    while (object && (object->key_len != klen || memcmp(object->key, key, klen) != 0))
        object = object->next;
    *found = object;
    if (object)
        return object->type == type ? 0 : -ATOLL_ETYPE;
    int error = argument_check(type, arg);
    if (error)
        return error;
    object = calloc(1, sizeof *object);
    if (!object)
        return -ATOLL_ENOMEM;
    memcpy(object->key, key, klen);
    object->key_len = klen;
    object->type = type;
    object->capacity = arg ? (uint64_t)arg : ITEMS_MAX;
    object->number = type == ATOLL_O_QUEUE ? 0 : arg;
    object->next = call->node->objects;
    *found = call->node->objects = object;
    return 0;
}

atoll_h atoll_obj_open(uint32_t type, atoll_in key, uint32_t klen, int64_t arg)
{
    struct native_call *call = call_enter();
    struct object *object;
    if (!call)
        return -ATOLL_EPERM;
    if (type < ATOLL_O_COUNTER || type > ATOLL_O_CELL || !key_valid(key, klen))
        return (atoll_h)call_leave(call, -ATOLL_EINVAL);
    if (!key_permitted(call, key, klen, "rw"))
        return (atoll_h)call_leave(call, -ATOLL_EPERM);
    int error = object_open(call, type, key, klen, arg, &object);
    if (error)
        return (atoll_h)call_leave(call, error);
    atoll_h handle = handle_new(call, HANDLE_OBJECT, 0, object);
    if (handle >= 0)
        object_opened(object);
    return (atoll_h)call_leave(call, handle);
}

int64_t atoll_obj_op(atoll_h h, uint32_t op, int64_t a, int64_t b, atoll_in in, uint64_t inlen,
                     atoll_out out, uint64_t cap, uint64_t timeout_ns)
{
    static int64_t (*const types[])(struct operation *, uint32_t) = {
        [ATOLL_O_COUNTER] = counter_op, [ATOLL_O_LATCH] = latch_op, [ATOLL_O_BARRIER] = barrier_op,
        [ATOLL_O_SEM] = semaphore_op,   [ATOLL_O_QUEUE] = queue_op, [ATOLL_O_MAP] = map_op,
        [ATOLL_O_CELL] = cell_op,
    };
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    struct handle *handle = handle_get(call, h, HANDLE_OBJECT);
    if (!handle)
        return call_leave(call, -ATOLL_EBADF);
    struct operation operation = {
        .call = call,
        .object = handle->object,
        .a = a,
        .b = b,
        .in = in,
        .in_len = inlen,
        .out = out,
        .cap = cap,
        .until_ns =
            timeout_ns == ATOLL_FOREVER || timeout_ns == 0 ? timeout_ns : wait_end_ns(timeout_ns),
    };
    int64_t result = types[operation.object->type](&operation, op);
    node_changed(call->node);
    return call_leave(call, result);
}
