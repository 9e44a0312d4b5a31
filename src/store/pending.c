/* Counting what is not on disk yet; see pending.h. */
#include "store/pending.h"

#include <assert.h>

bool pending_init(struct pending *p)
{
    memset(p, 0, sizeof *p);
    return index_init(&p->hash);
}

void pending_free(struct pending *p)
{
    index_free(&p->hash);
}

static uint64_t key_slot(const struct pending *p, const struct operation *op)
{
    return index_hash(&p->hash, op->key, op->key_len) % PENDING_KEYS;
}

static uint64_t tenant_slot(const struct pending *p, const struct operation *op)
{
    return index_hash(&p->hash, op->key, op->tenant_len) % PENDING_TENANTS;
}

static void pending_count(struct pending *p, const struct operation *op, uint32_t step)
{
    if (op->tables == 0) {
        p->keys[key_slot(p, op)] += step;
        p->tenants[tenant_slot(p, op)] += step;
    }
    for (uint32_t table = 0; table < STORE_TABLES; table++) {
        if (op->tables >> table & 1)
            p->tables[table] += step;
    }
}

void pending_add(struct pending *p, struct operation *op)
{
    assert(!op->pending);
    op->pending = true;
    pending_count(p, op, 1);
}

void pending_remove(struct pending *p, struct operation *op)
{
    if (op->pending)
        pending_count(p, op, UINT32_MAX); /* one less */
    op->pending = false;
}

bool pending_before(const struct pending *p, const struct operation *op)
{
    if (op->tables != 0)
        return p->tables[__builtin_ctz(op->tables)] > 0;
    if (op->kind == OPERATION_LIST)
        return p->tenants[tenant_slot(p, op)] > 0;
    return p->keys[key_slot(p, op)] > 0;
}
