/* Making, ending and freeing operations; see operation.h. */
#include "store/operation.h"

#include <stdlib.h>

struct operation *operation_create(enum operation_kind kind, size_t carried)
{
    struct operation *op = malloc(sizeof *op + carried);
    if (!op)
        return NULL;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->charged = op->weight = sizeof *op + carried;
    return op;
}

void operation_free(struct operation *op)
{
    if (!op)
        return;
    buffer_free(&op->out);
    free(op->error);
    free(op);
}

void *operation_carried(struct operation *op)
{
    _Static_assert(sizeof(struct operation) % 8 == 0, "carried bytes are aligned");
    return op + 1;
}

int operation_fail(struct operation *op, int code, const struct error *e)
{
    static const struct error no_memory = {
        .code = -ATOLL_ENOMEM,
        .offset = ERROR_NOWHERE,
        .function = UINT32_MAX,
        .text = "the store failed, and memory for the reason is missing"};
    op->result.code = code;
    if (!op->error)
        op->error = malloc(sizeof *op->error);
    if (op->error)
        *op->error = *e;
    op->result.error = op->error ? op->error : &no_memory;
    return code;
}

void operation_data(struct operation *op)
{
    op->result.data = op->out.data;
    op->result.len = op->out.len;
}
