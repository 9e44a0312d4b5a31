/*
 * The routines behind memory.copy and memory.fill, as LLVM IR: generated code must not refer to the
 * host's C library, and must be stoppable at any instruction, with all its state in registers and
 * on the guest's stack. lower.c has them emitted into the shard that holds the thunks.
 *
 * Sizes up to 256 bytes go down a ladder: a step for sizes [s, 2s] moves s bytes at the start and s
 * at the end, overlapping as need be. All loads of a step precede its stores, so ranges may
 * overlap. Above, 128 bytes per iteration go to aligned addresses; what lies before and behind the
 * aligned part is loaded before the loop and stored after it. Copying walks forward unless the
 * target begins inside the source. This keeps up with the C library up to 64 MiB; `rep movsb` and
 * `rep stosb` were measured and gain nothing.
 *
 * The function attribute no-builtins (all generated code has it) keeps LLVM from turning the loops
 * into calls of what they implement.
 */
#include "engine/lower_function.h"

#define VECTOR     32u           /* bytes of the widest access */
#define STRIDE     (4u * VECTOR) /* bytes per iteration */
#define MIRROR_MAX 8u            /* accesses at each end of the ladder's top step */

/* One routine being written. */
struct bulk {
    struct lowering *l;
    LLVMBuilderRef at;
    LLVMValueRef function, to, from, len; /* from: NULL when filling */
    LLVMValueRef word;                    /* filling: 8 times the byte, as an i64 */
    LLVMBasicBlockRef done;
};

static LLVMTypeRef type_of_bytes(const struct lowering *l, unsigned bytes)
{
    return bytes <= 8 ? LLVMIntTypeInContext(l->context, 8 * bytes)
                      : LLVMVectorType(l->i64, bytes / 8);
}

static LLVMBasicBlockRef block(const struct bulk *b)
{
    return LLVMAppendBasicBlockInContext(b->l->context, b->function, "");
}

static LLVMValueRef number(const struct bulk *b, uint64_t value)
{
    return lower_i64(b->l, value);
}

static LLVMValueRef offset(const struct bulk *b, LLVMValueRef pointer, LLVMValueRef bytes)
{
    return LLVMBuildGEP2(b->at, b->l->i8, pointer, &bytes, 1, "");
}

/* Offset of the last `bytes` bytes of the ranges. */
static LLVMValueRef from_end(const struct bulk *b, uint64_t bytes)
{
    return LLVMBuildSub(b->at, b->len, number(b, bytes), "");
}

/* What goes to the target's bytes at `place`: loaded from the source, or the byte repeated. */
static LLVMValueRef take(const struct bulk *b, unsigned bytes, LLVMValueRef place)
{
    LLVMTypeRef type = type_of_bytes(b->l, bytes);
    if (b->from) {
        LLVMValueRef load = LLVMBuildLoad2(b->at, type, offset(b, b->from, place), "");
        LLVMSetAlignment(load, 1);
        return load;
    }
    if (bytes <= 8)
        return LLVMBuildTrunc(b->at, b->word, type, "");
    LLVMValueRef one =
        LLVMBuildInsertElement(b->at, LLVMConstNull(type), b->word, lower_i32(b->l, 0), "");
    LLVMValueRef everywhere = LLVMConstNull(LLVMVectorType(b->l->i32, bytes / 8));
    return LLVMBuildShuffleVector(b->at, one, one, everywhere, "");
}

static void put(const struct bulk *b, LLVMValueRef value, LLVMValueRef place)
{
    LLVMSetAlignment(LLVMBuildStore(b->at, value, offset(b, b->to, place)), 1);
}

/* One step of the ladder: count accesses at the start and count at the end. */
static void copy_ends(const struct bulk *b, unsigned bytes, unsigned count)
{
    LLVMValueRef places[2 * MIRROR_MAX], values[2 * MIRROR_MAX];
    for (unsigned i = 0; i < count; i++) {
        places[2 * i] = number(b, (uint64_t)i * bytes);
        places[2 * i + 1] = from_end(b, (uint64_t)(i + 1) * bytes);
    }
    for (unsigned i = 0; i < 2 * count; i++)
        values[i] = take(b, bytes, places[i]);
    for (unsigned i = 0; i < 2 * count; i++)
        put(b, values[i], places[i]);
    LLVMBuildBr(b->at, b->done);
}

/* Goes on in the block returned when len < limit, else where the builder then stands. */
static LLVMBasicBlockRef branch_below(const struct bulk *b, uint64_t limit)
{
    LLVMBasicBlockRef below = block(b), others = block(b);
    LLVMValueRef is_below = LLVMBuildICmp(b->at, LLVMIntULT, b->len, number(b, limit), "");
    LLVMBuildCondBr(b->at, is_below, below, others);
    LLVMPositionBuilderAtEnd(b->at, others);
    return below;
}

/* Sizes below 32. */
static void copy_short(const struct bulk *b)
{
    for (unsigned bytes = 16; bytes >= 2; bytes /= 2) {
        LLVMBasicBlockRef shorter = branch_below(b, bytes);
        copy_ends(b, bytes, 1);
        LLVMPositionBuilderAtEnd(b->at, shorter);
    }
    LLVMBasicBlockRef one = block(b);
    LLVMValueRef empty = LLVMBuildICmp(b->at, LLVMIntEQ, b->len, number(b, 0), "");
    LLVMBuildCondBr(b->at, empty, b->done, one);
    LLVMPositionBuilderAtEnd(b->at, one);
    put(b, take(b, 1, number(b, 0)), number(b, 0));
    LLVMBuildBr(b->at, b->done);
}

/* Sizes up to 256; the builder is left where larger ones go on. */
static void copy_by_ladder(const struct bulk *b)
{
    LLVMBasicBlockRef shorter = branch_below(b, VECTOR);
    LLVMBasicBlockRef above = LLVMGetInsertBlock(b->at);
    LLVMPositionBuilderAtEnd(b->at, shorter);
    copy_short(b);
    LLVMPositionBuilderAtEnd(b->at, above);
    for (unsigned count = 1; count <= 4; count *= 2) {
        LLVMBasicBlockRef fits = branch_below(b, 2 * (uint64_t)VECTOR * count + 1);
        above = LLVMGetInsertBlock(b->at);
        LLVMPositionBuilderAtEnd(b->at, fits);
        copy_ends(b, VECTOR, count);
        LLVMPositionBuilderAtEnd(b->at, above);
    }
}

/* The loop over STRIDE bytes per iteration. place runs from `start` upwards while below `limit`, or
 * downwards while above it. */
static void copy_loop(const struct bulk *b, LLVMValueRef start, LLVMValueRef limit, bool down)
{
    LLVMBasicBlockRef before = LLVMGetInsertBlock(b->at), loop = block(b), after = block(b);
    LLVMBuildBr(b->at, loop);
    LLVMPositionBuilderAtEnd(b->at, loop);
    LLVMValueRef place = LLVMBuildPhi(b->at, b->l->i64, ""), values[4], places[4];
    LLVMValueRef next = down ? LLVMBuildSub(b->at, place, number(b, STRIDE), "")
                             : LLVMBuildAdd(b->at, place, number(b, STRIDE), "");
    for (unsigned i = 0; i < 4; i++) {
        LLVMValueRef within = number(b, (uint64_t)i * VECTOR);
        places[i] = LLVMBuildAdd(b->at, down ? next : place, within, "");
        values[i] = take(b, VECTOR, places[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        put(b, values[i], places[i]);
    LLVMValueRef more = LLVMBuildICmp(b->at, down ? LLVMIntUGT : LLVMIntULT, next, limit, "");
    LLVMBuildCondBr(b->at, more, loop, after);
    LLVMAddIncoming(place, (LLVMValueRef[]){start, next}, (LLVMBasicBlockRef[]){before, loop}, 2);
    LLVMPositionBuilderAtEnd(b->at, after);
}

/* The target's address at `place`, modulo the vector size. */
static LLVMValueRef misalignment(const struct bulk *b, LLVMValueRef place)
{
    LLVMValueRef address = LLVMBuildPtrToInt(b->at, offset(b, b->to, place), b->l->i64, "");
    return LLVMBuildAnd(b->at, address, number(b, VECTOR - 1), "");
}

/* More than 256 bytes, upwards: the first vector and the last STRIDE are put last. */
static void copy_up(const struct bulk *b)
{
    LLVMValueRef head = take(b, VECTOR, number(b, 0)), tail[4], places[4];
    for (unsigned i = 0; i < 4; i++) {
        places[i] = from_end(b, (uint64_t)(4 - i) * VECTOR);
        tail[i] = take(b, VECTOR, places[i]);
    }
    LLVMValueRef start = LLVMBuildSub(b->at, number(b, VECTOR), misalignment(b, number(b, 0)), "");
    copy_loop(b, start, places[0], false);
    for (unsigned i = 0; i < 4; i++)
        put(b, tail[i], places[i]);
    put(b, head, number(b, 0));
    LLVMBuildBr(b->at, b->done);
}

/* The mirror image: the last vector and the first STRIDE are put last. */
static void copy_down(const struct bulk *b)
{
    LLVMValueRef last = from_end(b, VECTOR), tail = take(b, VECTOR, last), head[4];
    for (unsigned i = 0; i < 4; i++)
        head[i] = take(b, VECTOR, number(b, (uint64_t)i * VECTOR));
    LLVMValueRef start = LLVMBuildSub(b->at, b->len, misalignment(b, b->len), "");
    copy_loop(b, start, number(b, STRIDE), true);
    for (unsigned i = 0; i < 4; i++)
        put(b, head[i], number(b, (uint64_t)i * VECTOR));
    put(b, tail, last);
    LLVMBuildBr(b->at, b->done);
}

static void bulk_begin(struct bulk *b, struct lowering *l, const char *name, LLVMTypeRef second)
{
    LLVMTypeRef types[3] = {l->pointer, second, l->i64};
    LLVMTypeRef type = LLVMFunctionType(l->nothing, types, 3, false);
    *b = (struct bulk){.l = l, .at = l->builder};
    b->function = LLVMGetNamedFunction(l->llvm, name);
    if (!b->function)
        b->function = lower_function_create(l, name, type);
    b->to = LLVMGetParam(b->function, 0);
    b->len = LLVMGetParam(b->function, 2);
    LLVMBasicBlockRef entry = block(b);
    b->done = block(b);
    LLVMSetCurrentDebugLocation2(b->at, NULL);
    LLVMPositionBuilderAtEnd(b->at, b->done);
    LLVMBuildRetVoid(b->at);
    LLVMPositionBuilderAtEnd(b->at, entry);
}

static void memmove_write(struct lowering *l)
{
    struct bulk b;
    bulk_begin(&b, l, "atoll_memmove", l->pointer);
    b.from = LLVMGetParam(b.function, 1);
    copy_by_ladder(&b);

    LLVMBasicBlockRef down = block(&b), up = block(&b);
    LLVMValueRef to = LLVMBuildPtrToInt(b.at, b.to, l->i64, "");
    LLVMValueRef from = LLVMBuildPtrToInt(b.at, b.from, l->i64, "");
    LLVMValueRef ahead = LLVMBuildSub(b.at, to, from, "");
    LLVMValueRef inside = LLVMBuildICmp(b.at, LLVMIntULT, ahead, b.len, "");
    LLVMBuildCondBr(b.at, inside, down, up);
    LLVMPositionBuilderAtEnd(b.at, down);
    copy_down(&b);
    LLVMPositionBuilderAtEnd(b.at, up);
    copy_up(&b);
}

static void memset_write(struct lowering *l)
{
    struct bulk b;
    bulk_begin(&b, l, "atoll_memset", l->i32);
    LLVMValueRef byte = LLVMBuildTrunc(b.at, LLVMGetParam(b.function, 1), l->i8, "");
    LLVMValueRef wide = LLVMBuildZExt(b.at, byte, l->i64, "");
    b.word = LLVMBuildMul(b.at, wide, number(&b, 0x0101010101010101), "");
    copy_by_ladder(&b);
    copy_up(&b);
}

void lower_bulk_routines(struct lowering *l)
{
    memmove_write(l);
    memset_write(l);
}
