/*
 * See expiry.h. One step lists a piece of a table behind the last key seen, and deletes what it
 * finds in one transaction that need not be durable: what comes back after a crash is found again.
 */
#include "node/expiry.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

/* Where in a record the time (i64, CLOCK_REALTIME) stands. */
static const struct {
    enum store_table table;
    uint32_t offset;
} tables[] = {{STORE_CALL, 0}, {STORE_IDEMPOTENCY, 8}};
#define TABLES (sizeof tables / sizeof tables[0])

struct expiry {
    struct store *store;
    size_t table;
    uint8_t last[STORE_RECORD_KEY_MAX];
    size_t last_len;
    int64_t now_ns;
    bool busy;
};

static void table_turn(struct expiry *x)
{
    x->table = (x->table + 1) % TABLES;
    x->last_len = 0;
}

static void records_removed(void *context, const struct gt_result *result)
{
    struct expiry *x = context;
    (void)result;
    x->busy = false;
}

static void records_seen(void *context, const struct gt_result *result)
{
    struct expiry *x = context;
    struct store_listed record;
    struct error e;
    uint32_t offset = tables[x->table].offset, count = 0;
    struct store_write *writes = calloc(STORE_WRITES_MAX, sizeof *writes);
    x->busy = false;
    if (result->code != 0 || writes == NULL) {
        free(writes);
        return;
    }
    for (size_t at = 0;
         count < STORE_WRITES_MAX && store_list_next(result->data, result->len, &at, &record);) {
        memcpy(x->last, record.key, record.key_len);
        x->last_len = record.key_len;
        if (record.value_len < offset + 8 || (int64_t)load_u64(record.value + offset) <= x->now_ns)
            writes[count++] = (struct store_write){
                STORE_DELETE, tables[x->table].table, record.key, record.key_len, NULL, 0};
    }
    if (count > 0)
        x->busy = store_write(x->store, writes, count, 0, (struct gt_callback){records_removed, x},
                              &e) == 0;
    if (result->value != 1 && count < STORE_WRITES_MAX)
        table_turn(x);
    free(writes);
}

void expiry_step(struct expiry *x, int64_t now_ns)
{
    struct error e;
    if (x->busy)
        return;
    x->now_ns = now_ns;
    x->busy = store_list(x->store, tables[x->table].table, "", 0, x->last, x->last_len,
                         EXPIRY_BYTES, (struct gt_callback){records_seen, x}, &e) == 0;
}

int expiry_create(struct store *store, struct expiry **out, struct error *e)
{
    struct expiry *x = calloc(1, sizeof *x);
    *out = x;
    if (x == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to watch over old records");
    x->store = store;
    return 0;
}

void expiry_destroy(struct expiry *x)
{
    free(x);
}
