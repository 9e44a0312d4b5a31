/* A bytecode interpreter, one switch in a loop, that sieves primes: unpredictable jumps, a stack
 * and a heap in memory. What language runtimes compiled to WebAssembly do all day. */
#include "kernel.h"

enum operation {
    OP_HALT,
    OP_PUSH,
    OP_LOAD,
    OP_STORE,
    OP_FETCH,
    OP_PUT,
    OP_ADD,
    OP_SUBTRACT,
    OP_MULTIPLY,
    OP_AND,
    OP_XOR,
    OP_SHIFT,
    OP_LESS,
    OP_EQUAL,
    OP_JUMP,
    OP_JUMP_ZERO,
    OP_DUPLICATE,
    OP_DROP,
};

enum { LIMIT = 20000, CODE_MAX = 256, STACK_MAX = 64, VARIABLES = 8 };

struct machine {
    const int32_t *code;
    int32_t stack[STACK_MAX];
    int32_t variables[VARIABLES];
    int32_t heap[LIMIT];
    int64_t steps;
};

static int32_t program[CODE_MAX];
static int program_length;
static struct machine machine;

static int emit(int32_t word)
{
    program[program_length] = word;
    return program_length++;
}

static void emit_with(enum operation op, int32_t operand)
{
    emit((int32_t)op);
    emit(operand);
}

/* Emits: if not (variables[v] < limit) goto (patched later); returns the place to patch. */
static int emit_loop_test(int variable, int32_t limit)
{
    emit_with(OP_LOAD, variable);
    emit_with(OP_PUSH, limit);
    emit(OP_LESS);
    emit((int32_t)OP_JUMP_ZERO);
    return emit(0);
}

static void emit_add_to(int variable, enum operation source, int32_t operand)
{
    emit_with(OP_LOAD, variable);
    emit_with(source, operand);
    emit(OP_ADD);
    emit_with(OP_STORE, variable);
}

/* heap[0..LIMIT) = 0; for i in 2..LIMIT: if heap[i] == 0 { count and mix i; mark its multiples } */
static void program_write(void)
{
    enum { I, J, COUNT, MIX };
    program_length = 0;
    emit_with(OP_PUSH, 0), emit_with(OP_STORE, I);
    int clear = program_length, clear_exit = emit_loop_test(I, LIMIT);
    emit_with(OP_LOAD, I), emit_with(OP_PUSH, 0), emit(OP_PUT);
    emit_add_to(I, OP_PUSH, 1);
    emit_with(OP_JUMP, clear);
    program[clear_exit] = program_length;

    emit_with(OP_PUSH, 2), emit_with(OP_STORE, I);
    int outer = program_length, outer_exit = emit_loop_test(I, LIMIT);
    emit_with(OP_LOAD, I), emit(OP_FETCH), emit_with(OP_PUSH, 0), emit(OP_EQUAL);
    emit((int32_t)OP_JUMP_ZERO);
    int composite = emit(0);
    emit_add_to(COUNT, OP_PUSH, 1);
    emit_with(OP_LOAD, MIX), emit_with(OP_PUSH, 5), emit(OP_SHIFT);
    emit_with(OP_LOAD, MIX), emit(OP_XOR), emit_with(OP_LOAD, I), emit(OP_ADD);
    emit_with(OP_STORE, MIX);
    emit_with(OP_LOAD, I), emit(OP_DUPLICATE), emit(OP_ADD), emit_with(OP_STORE, J);
    int inner = program_length, inner_exit = emit_loop_test(J, LIMIT);
    emit_with(OP_LOAD, J), emit_with(OP_PUSH, 1), emit(OP_PUT);
    emit_add_to(J, OP_LOAD, I);
    emit_with(OP_JUMP, inner);
    program[inner_exit] = program[composite] = program_length;
    emit_add_to(I, OP_PUSH, 1);
    emit_with(OP_JUMP, outer);
    program[outer_exit] = program_length;
    emit(OP_HALT);
}

static void machine_run(struct machine *m)
{
    const int32_t *pc = m->code;
    int32_t *top = m->stack; /* the first free cell */
    for (;;) {
        m->steps++;
        switch ((enum operation) * pc++) {
        case OP_HALT: return;
        case OP_PUSH: *top++ = *pc++; break;
        case OP_LOAD: *top++ = m->variables[*pc++]; break;
        case OP_STORE: m->variables[*pc++] = *--top; break;
        case OP_FETCH: top[-1] = m->heap[top[-1]]; break;
        case OP_PUT: m->heap[top[-2]] = top[-1], top -= 2; break;
        case OP_ADD: top[-2] = (int32_t)((uint32_t)top[-2] + (uint32_t)top[-1]), top--; break;
        case OP_SUBTRACT: top[-2] = (int32_t)((uint32_t)top[-2] - (uint32_t)top[-1]), top--; break;
        case OP_MULTIPLY: top[-2] = (int32_t)((uint32_t)top[-2] * (uint32_t)top[-1]), top--; break;
        case OP_AND: top[-2] &= top[-1], top--; break;
        case OP_XOR: top[-2] ^= top[-1], top--; break;
        case OP_SHIFT: top[-2] = (int32_t)((uint32_t)top[-2] << (top[-1] & 31)), top--; break;
        case OP_LESS: top[-2] = top[-2] < top[-1], top--; break;
        case OP_EQUAL: top[-2] = top[-2] == top[-1], top--; break;
        case OP_JUMP: pc = m->code + *pc; break;
        case OP_JUMP_ZERO: pc = *--top ? pc + 1 : m->code + *pc; break;
        case OP_DUPLICATE: *top = top[-1], top++; break;
        case OP_DROP: top--; break;
        }
    }
}

double run(int repeat)
{
    program_write();
    memset(&machine, 0, sizeof machine);
    machine.code = program;
    for (int r = 0; r < repeat; r++)
        machine_run(&machine);
    uint64_t mix = (uint32_t)machine.variables[3];
    return checksum_bits((mix << 32 | (uint32_t)machine.variables[2]) ^ (uint64_t)machine.steps
                                                                            << 12);
}
