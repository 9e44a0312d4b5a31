/*
 * Readers; see reader.h. A transaction is renewed for each operation and given up after it: one
 * that is held keeps LMDB from using freed pages again, and the file would grow without bound.
 */
#include "store/reader.h"

#include "store/table.h"
#include "store/value.h"

/* The writer carries out less than this quicker than it brings a batch to disk. */
#define LARGE_BYTES (1u << 20)

static int read_dispatch(const struct environment *v, MDB_txn *txn, struct operation *op,
                         struct error *e)
{
    switch (op->kind) {
    case OPERATION_STAT: return value_stat(v, txn, op, e);
    case OPERATION_GETRANGE: return value_getrange(v, txn, op, e);
    case OPERATION_ENTRIES: return value_entries(v, txn, op, e);
    case OPERATION_LIST: return value_list(v, txn, op, e);
    case OPERATION_GET: return table_get(v, txn, op, e);
    default: return table_list(v, txn, op, e);
    }
}

void read_carry_out(const struct environment *v, MDB_txn *txn, struct operation *op)
{
    struct error e;
    int rc = read_dispatch(v, txn, op, &e);
    if (rc < 0)
        operation_fail(op, rc, &e);
}

bool read_is_large(const struct operation *op)
{
    size_t bytes = 0;
    if (op->kind == OPERATION_ENTRIES)
        return op->entries.cap > LARGE_BYTES;
    if (op->kind == OPERATION_LIST || op->kind == OPERATION_LIST_RECORDS)
        return op->list.cap > LARGE_BYTES;
    if (op->kind != OPERATION_GETRANGE)
        return false;
    for (uint32_t i = 0; i < op->getrange.count && bytes <= LARGE_BYTES; i++)
        bytes += op->getrange.spans[i].len;
    return bytes > LARGE_BYTES;
}

static void read_with(struct reader *r, MDB_txn **txn, struct operation *op)
{
    struct error e;
    int number = 0;
    pthread_rwlock_rdlock(&r->environment->gate);
    if (r->environment->lost)
        number = MDB_PANIC;
    else if (*txn)
        number = mdb_txn_renew(*txn);
    else
        number = mdb_txn_begin(r->environment->env, NULL, MDB_RDONLY, txn);
    if (number) {
        operation_fail(op, environment_error(&e, number, "reading the store"), &e);
    } else {
        read_carry_out(r->environment, *txn, op);
        mdb_txn_reset(*txn);
    }
    pthread_rwlock_unlock(&r->environment->gate);
}

static void *reader_run(void *argument)
{
    struct reader *r = argument;
    MDB_txn *txn = NULL;
    for (struct operation *op; (op = mailbox_take(r->inbox));) {
        struct operation_list ready = {0};
        struct operation *released = op;
        read_with(r, &txn, op);
        operation_list_add(&ready, op);
        op->next_released = NULL;
        r->counters->reads++;
        completions_add(r->completions, &ready, &released, UINT64_MAX);
    }
    if (txn && !r->environment->lost)
        mdb_txn_abort(txn);
    return NULL;
}

int reader_start(struct reader *r, struct error *e)
{
    int number = pthread_create(&r->thread, NULL, reader_run, r);
    return number ? environment_error(e, number, "starting a thread of the store") : 0;
}

void reader_join(struct reader *r)
{
    pthread_join(r->thread, NULL);
}
