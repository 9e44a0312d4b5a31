/* The names of the operators, for messages, listings and tests. */
#include "engine/wasm_ops.h"

#include <stddef.h>

const char *wasm_op_name(uint32_t op)
{
    switch (op) {
#define OP(constant, code, name) \
    case WASM_OP_##constant: return name;
        WASM_OPS(OP)
#undef OP
    default: return NULL;
    }
}
