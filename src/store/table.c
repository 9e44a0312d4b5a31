/* The node's records; see table.h and store.h. */
#include "store/table.h"

enum environment_table table_of(enum store_table table)
{
    static const uint8_t tables[STORE_TABLES] = {
        [STORE_FUNCTION] = TABLE_FUNCTION, [STORE_ALIAS] = TABLE_ALIAS,
        [STORE_CALL] = TABLE_CALL,         [STORE_IDEMPOTENCY] = TABLE_IDEMPOTENCY,
        [STORE_TOKEN] = TABLE_TOKEN,       [STORE_TENANT] = TABLE_TENANT,
        [STORE_FILE] = TABLE_FILE,
    };
    return tables[table];
}

int table_get(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct record r;
    int rc = record_get(v, txn, op->list.table, op->key, op->key_len, &r, e);
    if (rc == -ATOLL_ENOENT)
        return error_set(e, ATOLL_ENOENT, "there is no such record");
    if (rc == 0 && !buffer_append(&op->out, r.body, r.len))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a record of %zu bytes", r.len);
    operation_data(op);
    return rc;
}

static int listed_add(struct operation *op, const MDB_val *key, const struct record *r,
                      struct error *e)
{
    uint8_t head[8];
    store_u32(head, (uint32_t)key->mv_size);
    store_u32(head + 4, (uint32_t)r->len);
    if (op->result.count > 0 && op->out.len + sizeof head + key->mv_size + r->len > op->list.cap) {
        op->result.value = 1;
        return 0;
    }
    if (!buffer_append(&op->out, head, sizeof head) ||
        !buffer_append(&op->out, key->mv_data, key->mv_size) ||
        !buffer_append(&op->out, r->body, r->len))
        return error_set(e, ATOLL_ENOMEM, "no memory for the list");
    op->result.count++;
    return 0;
}

int table_list(const struct environment *v, MDB_txn *txn, struct operation *op, struct error *e)
{
    struct record_range range;
    struct record r;
    MDB_val key;
    int rc = range_begin(v, txn, op->list.table, op->key, op->key_len, op->list.after,
                         op->list.after_len, &range, e);
    if (rc < 0)
        return rc;
    while (op->result.value == 0 && (rc = range_next(&range, &key, &r, e)) == 1) {
        rc = listed_add(op, &key, &r, e);
        if (rc < 0)
            break;
    }
    range_end(&range);
    operation_data(op);
    return rc < 0 ? rc : 0;
}

static int write_one(struct batch *b, const struct store_write *write, struct error *e)
{
    enum environment_table table = table_of(write->table);
    struct record r;
    int rc;
    if (write->kind == STORE_DELETE)
        return batch_delete(b, table, write->key, write->key_len, e);
    if (write->kind != STORE_PUT) {
        rc = batch_get(b, table, write->key, write->key_len, &r, e);
        if (rc == 0 && write->kind == STORE_CREATE)
            return error_set(e, ATOLL_EEXIST, "there is such a record already");
        if (rc == -ATOLL_ENOENT && write->kind == STORE_REPLACE)
            return error_set(e, ATOLL_ENOENT, "there is no such record to replace");
        if (rc < 0 && rc != -ATOLL_ENOENT)
            return rc;
    }
    return batch_put(b, table, write->key, write->key_len, write->value, write->value_len, e);
}

/* A later write may depend on an earlier one, so they are checked as they are applied; when one is
 * refused, the writer voids what the earlier ones did. */
int table_write(struct batch *b, struct operation *op, struct error *e)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < op->write.count; i++) {
        rc = write_one(b, &op->write.writes[i], e);
        op->result.value = rc < 0 ? i : 0;
    }
    return rc;
}
