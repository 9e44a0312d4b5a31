/*
 * Structured control flow: frames, labels, branches.
 *
 * A label's block is made when something first branches to it, with one phi per value it takes.
 * When nothing does, code after `end` simply goes on in the block before it.
 */
#include "engine/lower_function.h"

#include <stdlib.h>
#include <string.h>

static struct lower_frame *frame_at(struct lowering *l, uint32_t depth)
{
    assert(depth < l->frame_count);
    return &l->frames[l->frame_count - 1 - depth];
}

static uint32_t label_arity(const struct lower_frame *f)
{
    return f->kind == FRAME_LOOP ? f->type.param_count : f->type.result_count;
}

static LLVMBasicBlockRef label_block(struct lowering *l, struct lower_frame *f)
{
    if (f->label)
        return f->label;
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    f->label = lower_block(l);
    lower_position(l, f->label);
    const uint8_t *types = f->kind == FRAME_LOOP ? f->type.params : f->type.results;
    for (uint32_t i = 0, arity = label_arity(f); i < arity; i++)
        LLVMBuildPhi(l->builder, lower_type(l, types[i]), "");
    lower_position(l, here);
    return f->label;
}

/* The values on top of the stack reach the label's phis from a block. */
static void label_feed(struct lowering *l, struct lower_frame *f, LLVMBasicBlockRef from)
{
    uint32_t arity = label_arity(f);
    LLVMValueRef *values = &l->stack[l->stack_len - arity];
    LLVMValueRef phi = LLVMGetFirstInstruction(f->label);
    for (uint32_t i = 0; i < arity; i++, phi = LLVMGetNextInstruction(phi))
        LLVMAddIncoming(phi, &values[i], &from, 1);
}

/* Branches to a label from here. */
static void label_jump(struct lowering *l, struct lower_frame *f)
{
    LLVMBasicBlockRef label = label_block(l, f);
    label_feed(l, f, LLVMGetInsertBlock(l->builder));
    LLVMBuildBr(l->builder, label);
}

/* Code goes on at the label: its phis are the values from the frame's height up. */
static void label_enter(struct lowering *l, struct lower_frame *f)
{
    LLVMMoveBasicBlockAfter(f->label, LLVMGetLastBasicBlock(l->function));
    lower_position(l, f->label);
    l->stack_len = f->height;
    LLVMValueRef phi = LLVMGetFirstInstruction(f->label);
    for (uint32_t i = 0, arity = label_arity(f); i < arity; i++, phi = LLVMGetNextInstruction(phi))
        lower_push(l, phi);
}

static void leave_here(struct lowering *l)
{
    l->dead = true;
    l->dead_depth = 0;
}

/* ---- opening ---- */

int lower_frame_open(struct lowering *l, enum lower_frame_kind kind, struct wasm_signature type,
                     struct error *e)
{
    if (l->frame_count == l->frame_capacity) {
        uint32_t capacity = l->frame_capacity ? l->frame_capacity * 2 : 64;
        struct lower_frame *frames = realloc(l->frames, capacity * sizeof *frames);
        if (!frames)
            return error_set(e, ATOLL_ENOMEM, "no memory for the control frames of function %u",
                             l->index);
        l->frames = frames;
        l->frame_capacity = capacity;
    }
    l->frames[l->frame_count++] =
        (struct lower_frame){.kind = kind, .type = type, .height = l->stack_len - type.param_count};
    return 0;
}

static int open_loop(struct lowering *l, struct wasm_signature type, struct error *e)
{
    int rc = lower_frame_open(l, FRAME_LOOP, type, e);
    if (rc < 0)
        return rc;
    struct lower_frame *f = frame_at(l, 0);
    lower_fuel_end(l);
    label_jump(l, f);
    label_enter(l, f);
    lower_fuel_begin(l, true);
    return 0;
}

/* Keeps the parameters of an if for its else. */
static int save_parameters(struct lowering *l, struct lower_frame *f, struct error *e)
{
    uint32_t count = f->type.param_count;
    f->saved = l->saved_len;
    if (l->saved_len + count > l->saved_capacity) {
        uint32_t capacity = (l->saved_len + count) * 2;
        LLVMValueRef *saved = realloc(l->saved, capacity * sizeof *saved);
        if (!saved)
            return error_set(e, ATOLL_ENOMEM, "no memory for the operands of function %u",
                             l->index);
        l->saved = saved;
        l->saved_capacity = capacity;
    }
    if (count)
        memcpy(&l->saved[l->saved_len], &l->stack[f->height], count * sizeof *l->saved);
    l->saved_len += count;
    return 0;
}

static int open_if(struct lowering *l, struct wasm_signature type, struct error *e)
{
    LLVMValueRef condition = lower_condition(l, lower_pop(l));
    int rc = lower_frame_open(l, FRAME_IF, type, e);
    if (rc < 0)
        return rc;
    struct lower_frame *f = frame_at(l, 0);
    rc = save_parameters(l, f, e);
    if (rc < 0)
        return rc;
    lower_fuel_end(l);
    LLVMBasicBlockRef then = lower_block(l);
    f->otherwise = lower_block(l);
    LLVMBuildCondBr(l->builder, condition, then, f->otherwise);
    lower_position(l, then);
    lower_fuel_begin(l, false);
    return 0;
}

/* ---- closing ---- */

/* Goes on in the else part, the parameters on the stack again. */
static void enter_otherwise(struct lowering *l, struct lower_frame *f)
{
    LLVMMoveBasicBlockAfter(f->otherwise, LLVMGetLastBasicBlock(l->function));
    lower_position(l, f->otherwise);
    l->stack_len = f->height;
    for (uint32_t i = 0; i < f->type.param_count; i++)
        lower_push(l, l->saved[f->saved + i]);
    l->saved_len = f->saved;
    f->kind = FRAME_ELSE;
    l->dead = false;
}

static void else_op(struct lowering *l)
{
    struct lower_frame *f = frame_at(l, 0);
    lower_fuel_end(l);
    if (!l->dead)
        label_jump(l, f);
    enter_otherwise(l, f);
    lower_fuel_begin(l, false);
}

static void return_values(struct lowering *l, const struct lower_frame *f)
{
    LLVMValueRef *values = &l->stack[f->height];
    if (f->type.result_count > 1)
        lower_store_results(l, l->results, values, f->type.result_count);
    if (f->type.result_count == 1)
        LLVMBuildRet(l->builder, values[0]);
    else
        LLVMBuildRetVoid(l->builder);
}

static void end_op(struct lowering *l)
{
    struct lower_frame *f = frame_at(l, 0);
    if (f->kind == FRAME_IF) { /* without else: its parameters are its results */
        lower_fuel_end(l);
        if (!l->dead)
            label_jump(l, f);
        enter_otherwise(l, f);
        label_jump(l, f);
        leave_here(l);
    }
    if (f->kind != FRAME_LOOP && f->label) {
        lower_fuel_end(l);
        if (!l->dead)
            label_jump(l, f);
        label_enter(l, f);
        l->dead = false;
        if (f->kind != FRAME_FUNCTION)
            lower_fuel_begin(l, false);
    }
    if (f->kind == FRAME_FUNCTION) {
        lower_fuel_end(l);
        if (!l->dead)
            return_values(l, f);
    }
    if (l->dead)
        l->stack_len = f->height;
    l->frame_count--;
}

/* ---- branches ---- */

static void branch(struct lowering *l, uint32_t depth)
{
    label_jump(l, frame_at(l, depth));
    leave_here(l);
}

static void branch_if(struct lowering *l, uint32_t depth)
{
    LLVMValueRef condition = lower_condition(l, lower_pop(l));
    struct lower_frame *f = frame_at(l, depth);
    LLVMBasicBlockRef label = label_block(l, f), next = lower_block(l);
    label_feed(l, f, LLVMGetInsertBlock(l->builder));
    LLVMBuildCondBr(l->builder, condition, label, next);
    lower_fuel_end(l);
    lower_position(l, next);
    lower_fuel_begin(l, false);
}

/* The block a br_table case goes to. A label that takes values gets one block in between per
 * br_table, else each of up to 65 520 cases would need an entry in each of its phis. */
static LLVMBasicBlockRef table_target(struct lowering *l, uint32_t depth)
{
    struct lower_frame *f = frame_at(l, depth);
    if (label_arity(f) == 0)
        return label_block(l, f);
    if (!f->between) {
        LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
        f->between = lower_block(l);
        lower_position(l, f->between);
        label_jump(l, f);
        lower_position(l, here);
    }
    return f->between;
}

static void branch_table(struct lowering *l, const struct wasm_op *op)
{
    uint32_t count = op->branches.count;
    const uint32_t *depths = op->branches.depths;
    LLVMValueRef selector = lower_freeze(l, lower_pop(l));
    LLVMBasicBlockRef otherwise = table_target(l, depths[count]);
    LLVMValueRef branch_on = LLVMBuildSwitch(l->builder, selector, otherwise, count);
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    for (uint32_t i = 0; i < count; i++) {
        LLVMBasicBlockRef target = table_target(l, depths[i]);
        /* Cases equal to the default need no entry. */
        if (target != otherwise)
            LLVMAddCase(branch_on, lower_i32(l, i), target);
    }
    lower_position(l, here);
    for (uint32_t i = 0; i <= count; i++)
        frame_at(l, depths[i])->between = NULL;
    leave_here(l);
}

/* ---- what is left ---- */

static void select_op(struct lowering *l)
{
    LLVMValueRef condition = lower_condition(l, lower_pop(l));
    LLVMValueRef b = lower_pop(l), a = lower_pop(l);
    lower_push(l, LLVMBuildSelect(l->builder, condition, a, b, ""));
}

/* Unreachable operators are skipped; frames opened among them are counted. */
static void skip_op(struct lowering *l, const struct wasm_op *op)
{
    switch (op->op) {
    case WASM_OP_BLOCK:
    case WASM_OP_LOOP:
    case WASM_OP_IF: l->dead_depth++; break;
    case WASM_OP_ELSE:
        if (l->dead_depth == 0)
            else_op(l);
        break;
    case WASM_OP_END:
        if (l->dead_depth == 0)
            end_op(l);
        else
            l->dead_depth--;
        break;
    default: break;
    }
}

int lower_control_op(struct lowering *l, const struct wasm_op *op, struct error *e)
{
    if (l->dead) {
        skip_op(l, op);
        return 0;
    }
    switch (op->op) {
    case WASM_OP_UNREACHABLE:
        lower_trap(l, TRAP_UNREACHABLE);
        leave_here(l);
        return 0;
    case WASM_OP_NOP: return 0;
    case WASM_OP_BLOCK: return lower_frame_open(l, FRAME_BLOCK, op->block, e);
    case WASM_OP_LOOP: return open_loop(l, op->block, e);
    case WASM_OP_IF: return open_if(l, op->block, e);
    case WASM_OP_ELSE: else_op(l); return 0;
    case WASM_OP_END: end_op(l); return 0;
    case WASM_OP_BR: branch(l, op->index); return 0;
    case WASM_OP_BR_IF: branch_if(l, op->index); return 0;
    case WASM_OP_BR_TABLE: branch_table(l, op); return 0;
    case WASM_OP_RETURN: branch(l, l->frame_count - 1); return 0;
    case WASM_OP_DROP: lower_pop(l); return 0;
    default: select_op(l); return 0;
    }
}
