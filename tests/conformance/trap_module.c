/* Writes the random programs of trap_program.h as WebAssembly. Used by trap_compare.c. */
#include "module_writer.h"
#include "trap_program.h"

#include <stdio.h>

/* Where functions of a program start in the module's index space. */
struct place {
    struct module_writer *out;
    uint32_t first;
};

static void expression_write(const struct place *at, const struct node *n);

static uint32_t access_align(uint32_t op)
{
    switch (op) {
    case WASM_OP_I64_LOAD:
    case WASM_OP_I64_STORE: return 3;
    case WASM_OP_I32_LOAD:
    case WASM_OP_I32_STORE:
    case WASM_OP_I64_LOAD32_S:
    case WASM_OP_I64_LOAD32_U:
    case WASM_OP_I64_STORE32: return 2;
    case WASM_OP_I32_LOAD16_S:
    case WASM_OP_I32_LOAD16_U:
    case WASM_OP_I64_LOAD16_S:
    case WASM_OP_I32_STORE16: return 1;
    default: return 0;
    }
}

static void access_write(const struct place *at, const struct node *n)
{
    module_op(at->out, n->op);
    module_u32(at->out, access_align(n->op));
    module_u32(at->out, (uint32_t)n->constant);
}

static void constant_write(const struct place *at, const struct node *n)
{
    if (n->type == WASM_I32) {
        module_op(at->out, WASM_OP_I32_CONST);
        module_s32(at->out, (int32_t)n->constant);
    } else {
        module_op(at->out, WASM_OP_I64_CONST);
        module_s64(at->out, (int64_t)n->constant);
    }
}

static void indexed_write(const struct place *at, uint32_t op, uint32_t index)
{
    module_op(at->out, op);
    module_u32(at->out, index);
}

static void expression_write(const struct place *at, const struct node *n)
{
    for (unsigned i = 0; i < 3; i++) {
        for (const struct node *child = n->child[i]; child; child = child->next)
            expression_write(at, child);
    }
    switch ((enum node_kind)n->kind) {
    case NODE_CONSTANT: constant_write(at, n); break;
    case NODE_LOCAL: indexed_write(at, WASM_OP_LOCAL_GET, n->index); break;
    case NODE_GLOBAL: indexed_write(at, WASM_OP_GLOBAL_GET, n->index); break;
    case NODE_LOAD: access_write(at, n); break;
    case NODE_SELECT: module_op(at->out, WASM_OP_SELECT); break;
    case NODE_CALL: indexed_write(at, WASM_OP_CALL, at->first + n->index); break;
    default: module_op(at->out, n->op);
    }
}

static void list_write(const struct place *at, const struct node *n);

static void block_begin(const struct place *at, uint32_t op)
{
    module_op(at->out, op);
    module_byte(at->out, 0x40); /* no parameters, no results */
}

static void counter_step(const struct place *at, const struct node *n)
{
    indexed_write(at, WASM_OP_LOCAL_GET, n->index);
    constant_write(at, &(struct node){.type = WASM_I32, .constant = 1});
    module_op(at->out, WASM_OP_I32_ADD);
    indexed_write(at, WASM_OP_LOCAL_SET, n->index);
}

static void counter_compare(const struct place *at, const struct node *n, uint32_t op)
{
    indexed_write(at, WASM_OP_LOCAL_GET, n->index);
    constant_write(at, &(struct node){.type = WASM_I32, .constant = n->constant});
    module_op(at->out, op);
}

static void repeat_write(const struct place *at, const struct node *n)
{
    block_begin(at, WASM_OP_LOOP);
    list_write(at, n->child[1]);
    counter_step(at, n);
    counter_compare(at, n, WASM_OP_I32_LT_U);
    indexed_write(at, WASM_OP_BR_IF, 0);
    module_op(at->out, WASM_OP_END);
}

static void while_write(const struct place *at, const struct node *n)
{
    block_begin(at, WASM_OP_BLOCK);
    block_begin(at, WASM_OP_LOOP);
    counter_compare(at, n, WASM_OP_I32_GE_U);
    indexed_write(at, WASM_OP_BR_IF, 1);
    if (n->child[0]) {
        expression_write(at, n->child[0]);
        module_op(at->out, WASM_OP_I32_EQZ);
        indexed_write(at, WASM_OP_BR_IF, 1);
    }
    list_write(at, n->child[1]);
    counter_step(at, n);
    indexed_write(at, WASM_OP_BR, 0);
    module_op(at->out, WASM_OP_END);
    module_op(at->out, WASM_OP_END);
}

static void loop_write(const struct place *at, const struct node *n)
{
    constant_write(at, &(struct node){.type = WASM_I32});
    indexed_write(at, WASM_OP_LOCAL_SET, n->index);
    if (n->kind == NODE_REPEAT)
        repeat_write(at, n);
    else
        while_write(at, n);
}

static void if_write(const struct place *at, const struct node *n)
{
    expression_write(at, n->child[0]);
    block_begin(at, WASM_OP_IF);
    list_write(at, n->child[1]);
    if (n->child[2]) {
        module_op(at->out, WASM_OP_ELSE);
        list_write(at, n->child[2]);
    }
    module_op(at->out, WASM_OP_END);
}

static void statement_write(const struct place *at, const struct node *n)
{
    switch ((enum node_kind)n->kind) {
    case NODE_IF: if_write(at, n); return;
    case NODE_REPEAT:
    case NODE_WHILE: loop_write(at, n); return;
    case NODE_UNREACHABLE: module_op(at->out, WASM_OP_UNREACHABLE); return;
    default: break;
    }
    expression_write(at, n->child[0]);
    switch ((enum node_kind)n->kind) {
    case NODE_SET_LOCAL: indexed_write(at, WASM_OP_LOCAL_SET, n->index); break;
    case NODE_SET_GLOBAL: indexed_write(at, WASM_OP_GLOBAL_SET, n->index); break;
    case NODE_RETURN: module_op(at->out, WASM_OP_RETURN); break;
    case NODE_STORE:
        expression_write(at, n->child[1]);
        access_write(at, n);
        break;
    default: module_op(at->out, WASM_OP_DROP);
    }
}

static void list_write(const struct place *at, const struct node *n)
{
    for (; n; n = n->next)
        statement_write(at, n);
}

static void function_write(const struct place *at, const struct program_function *f)
{
    module_open(at->out);
    module_u32(at->out, f->local_count - f->parameter_count);
    for (uint32_t i = f->parameter_count; i < f->local_count; i++) {
        module_u32(at->out, 1);
        module_byte(at->out, f->types[i]);
    }
    list_write(at, f->body);
    expression_write(at, f->result);
    module_op(at->out, WASM_OP_END);
    module_close(at->out);
}

static void types_write(const struct program *programs, uint32_t count, struct module_writer *out)
{
    module_open_section(out, SECTION_TYPE);
    module_u32(out, count * PROGRAM_FUNCTIONS);
    for (uint32_t i = 0; i < count * PROGRAM_FUNCTIONS; i++) {
        const struct program_function *f =
            &programs[i / PROGRAM_FUNCTIONS].functions[i % PROGRAM_FUNCTIONS];
        module_byte(out, 0x60);
        module_u32(out, f->parameter_count);
        module_bytes(out, f->types, f->parameter_count);
        module_u32(out, 1);
        module_byte(out, WASM_I64);
    }
    module_close(out);
    module_open_section(out, SECTION_FUNCTION);
    module_u32(out, count * PROGRAM_FUNCTIONS);
    for (uint32_t i = 0; i < count * PROGRAM_FUNCTIONS; i++)
        module_u32(out, i);
    module_close(out);
}

static void state_write(struct module_writer *out)
{
    module_open_section(out, SECTION_MEMORY);
    module_u32(out, 1);
    module_byte(out, 1);
    module_u32(out, PROGRAM_MEMORY / WASM_PAGE);
    module_u32(out, PROGRAM_MEMORY / WASM_PAGE);
    module_close(out);
    module_open_section(out, SECTION_GLOBAL);
    module_u32(out, PROGRAM_GLOBALS);
    for (uint32_t i = 0; i < PROGRAM_GLOBALS; i++) {
        module_byte(out, WASM_I64);
        module_byte(out, 1);
        module_op(out, WASM_OP_I64_CONST);
        module_s64(out, 0);
        module_op(out, WASM_OP_END);
    }
    module_close(out);
}

static void export_write(struct module_writer *out, const char *prefix, uint32_t number,
                         enum wasm_kind kind, uint32_t index)
{
    char name[16];
    snprintf(name, sizeof name, "%s%u", prefix, number);
    module_name(out, name);
    module_byte(out, (uint8_t)kind);
    module_u32(out, index);
}

static void exports_write(uint32_t count, struct module_writer *out)
{
    module_open_section(out, SECTION_EXPORT);
    module_u32(out, count + PROGRAM_GLOBALS);
    for (uint32_t i = 0; i < count; i++)
        export_write(out, "p", i, WASM_KIND_FUNC, i * PROGRAM_FUNCTIONS);
    for (uint32_t i = 0; i < PROGRAM_GLOBALS; i++)
        export_write(out, "g", i, WASM_KIND_GLOBAL, i);
    module_close(out);
}

void program_write(const struct program *programs, uint32_t count, struct module_writer *out)
{
    module_begin(out);
    types_write(programs, count, out);
    state_write(out);
    exports_write(count, out);
    module_open_section(out, SECTION_CODE);
    module_u32(out, count * PROGRAM_FUNCTIONS);
    for (uint32_t i = 0; i < count; i++) {
        struct place at = {out, i * PROGRAM_FUNCTIONS};
        for (uint32_t f = 0; f < PROGRAM_FUNCTIONS; f++)
            function_write(&at, &programs[i].functions[f]);
    }
    module_close(out);
    module_open_section(out, SECTION_DATA);
    module_u32(out, 1);
    module_u32(out, 0);
    module_op(out, WASM_OP_I32_CONST);
    module_s32(out, 0);
    module_op(out, WASM_OP_END);
    module_u32(out, PROGRAM_DATA);
    uint8_t data[PROGRAM_DATA];
    program_data(data);
    module_bytes(out, data, PROGRAM_DATA);
    module_close(out);
}
