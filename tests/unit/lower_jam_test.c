/*
 * Which nests lower_jam takes, and that what it makes of them computes the same. The second is
 * tried on random nests: each runs as it is and jammed, from the same memory, and every byte must
 * agree. Addresses lie around 0 modulo 2^32, so that they wrap; strides and bases are few, so that
 * accesses meet in all ways.
 */
#define _GNU_SOURCE
#include "engine/lower_jam.h"
#include "lower_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Target.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static LLVMModuleRef module_parse(LLVMContextRef context, const char *text)
{
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "test");
    LLVMModuleRef module;
    char *message = NULL;
    if (LLVMParseIRInContext(context, buffer, &module, &message))
        fail_msg("%s in:\n%s", message, text);
    return module;
}

/* Whether the function grew. */
static bool module_jam(LLVMModuleRef module)
{
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    unsigned before = LLVMCountBasicBlocks(f);
    assert_true(lower_jam(f));
    if (LLVMVerifyFunction(f, LLVMPrintMessageAction))
        fail_msg("the function is broken");
    return LLVMCountBasicBlocks(f) != before;
}

/* ---- which nests ---- */

/* A matrix times a vector; the parts that tests vary: the inner bound, the sum's type and
 * operation, and whether the load in the loop is volatile. */
#define PRODUCT(bound, type, add, load)                                    \
    "define void @f(ptr %vm, i32 %n) {\n"                                  \
    "start:\n"                                                             \
    "  br label %head\n"                                                   \
    "head:\n"                                                              \
    "  %i = phi i32 [ 0, %start ], [ %i1, %last ]\n"                       \
    "  %row = phi i32 [ 4096, %start ], [ %row1, %last ]\n"                \
    "  br label %loop\n"                                                   \
    "loop:\n"                                                              \
    "  %k = phi i32 [ 0, %head ], [ %k1, %loop ]\n"                        \
    "  %sum = phi " type " [ zeroinitializer, %head ], [ %sum1, %loop ]\n" \
    "  %a = add i32 %row, %k\n"                                            \
    "  %b = zext i32 %a to i64\n"                                          \
    "  %c = getelementptr i8, ptr %vm, i64 %b\n"                           \
    "  %x = " load " " type ", ptr %c\n"                                   \
    "  %sum1 = " add " " type " %sum, %x\n"                                \
    "  %k1 = add i32 %k, 8\n"                                              \
    "  %over = icmp eq i32 %k1, " bound "\n"                               \
    "  br i1 %over, label %last, label %loop\n"                            \
    "last:\n"                                                              \
    "  %d = zext i32 %i to i64\n"                                          \
    "  %e = getelementptr i8, ptr %vm, i64 %d\n"                           \
    "  store " type " %sum1, ptr %e\n"                                     \
    "  %i1 = add i32 %i, 8\n"                                              \
    "  %row1 = add i32 %row, 800\n"                                        \
    "  %end = icmp eq i32 %i1, 800\n"                                      \
    "  br i1 %end, label %exit, label %head\n"                             \
    "exit:\n"                                                              \
    "  ret void\n"                                                         \
    "}\n"

static bool jams(const char *text)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool grew = module_jam(module);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return grew;
}

static void a_loop_of_sums_runs_several_rounds_side_by_side(void **state)
{
    (void)state;
    assert_true(jams(PRODUCT("800", "double", "fadd", "load")));
    assert_true(jams(PRODUCT("%n", "double", "fadd", "load")));
    assert_true(jams(PRODUCT("800", "float", "fadd", "load")));
}

static void a_sum_of_integers_is_left_to_the_vectoriser(void **state)
{
    (void)state;
    assert_false(jams(PRODUCT("800", "i64", "add", "load")));
}

static void a_loop_whose_length_differs_from_round_to_round_is_left_alone(void **state)
{
    (void)state;
    assert_false(jams(PRODUCT("%i", "double", "fadd", "load")));
}

static void a_load_that_must_not_vanish_stays_so_in_every_copy(void **state)
{
    (void)state;
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, PRODUCT("800", "double", "fadd", "load volatile"));
    assert_true(module_jam(module));
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    unsigned loads = 0;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) {
            if (LLVMGetInstructionOpcode(i) != LLVMLoad)
                continue;
            assert_true(LLVMGetVolatile(i));
            loads++;
        }
    assert_true(loads > 2);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
}

/* ---- random nests ---- */

#define SPAN  (64u << 10) /* what a nest reaches on either side of address 0 */
#define SPACE ((size_t)1 << 32)
#define NESTS 400

static int random_stride(void)
{
    static const int strides[] = {0, 0, 8, 8, 8, -8, 16, 4, 64, 320, 320, -320, 328};
    return strides[random_below(sizeof strides / sizeof strides[0])];
}

struct place {
    int base, inner, outer;
};

static struct place random_place(void)
{
    struct place p = {random_stride() * 8, random_stride(), random_stride()};
    if (random_below(2))
        p.base += (int)random_below(4) * 4096 - 8192;
    return p;
}

/* An address named %name; inner counts only in a loop. */
static void address_add(struct text *t, const char *name, struct place p, const char *turn)
{
    text_add(t, "  %%%s0 = mul i32 %%i, %d\n", name, p.outer);
    text_add(t, "  %%%s1 = mul i32 %s, %d\n", name, turn, p.inner);
    text_add(t, "  %%%s2 = add i32 %%%s0, %%%s1\n", name, name, name);
    text_add(t, "  %%%s3 = add i32 %%%s2, %d\n", name, name, p.base);
    text_add(t, "  %%%s4 = zext i32 %%%s3 to i64\n", name, name);
    text_add(t, "  %%%s = getelementptr i8, ptr %%vm, i64 %%%s4\n", name, name);
}

/* One inner loop, its names ending in `tag`: sum = sum * 0.5 + x * y, with stores now and then.
 * Its counter counts up or down, in ones or threes. */
static void loop_add(struct text *t, char tag, const char *before, const struct place places[2])
{
    static const int steps[] = {1, 1, -1, 3};
    int step = steps[random_below(4)], turns = 1 + (int)random_below(16);
    bool fixed = random_below(3) == 0; /* a store to the same place in every turn */
    struct place again = places[random_below(2)];
    char turn[16], name[3] = {'p', tag, 0};
    snprintf(turn, sizeof turn, "%%k%c", tag);
    text_add(t, "loop%c:\n  %%k%c = phi i32 [ 0, %%%s ], [ %%n%c, %%loop%c ]\n", tag, tag, before,
             tag, tag);
    text_add(t, "  %%s%c = phi double [ 1.0, %%%s ], [ %%u%c, %%loop%c ]\n", tag, before, tag, tag);
    address_add(t, name, places[0], turn);
    text_add(t, "  %%x%c = load double, ptr %%p%c, align 1\n", tag, tag);
    name[0] = 'q';
    address_add(t, name, places[1], turn);
    text_add(t, "  %%y%c = load double, ptr %%q%c, align 1\n", tag, tag);
    text_add(t, "  %%h%c = fmul double %%s%c, 0.5\n  %%z%c = fmul double %%x%c, %%y%c\n", tag, tag,
             tag, tag, tag);
    text_add(t, "  %%u%c = fadd double %%h%c, %%z%c\n", tag, tag, tag);
    if (random_below(2)) {
        if (fixed)
            again.inner = 0;
        name[0] = 'r';
        address_add(t, name, random_below(2) ? again : random_place(), turn);
        text_add(t, "  store double %%u%c, ptr %%r%c, align 1\n", tag, tag);
        if (random_below(4) == 0)
            text_add(t, "  store double %%y%c, ptr %%r%c, align 1\n", tag, tag);
        if (random_below(4) == 0)
            text_add(t, "  store double %%h%c, ptr %%p%c, align 1\n", tag, tag);
        if (random_below(4) == 0) {
            struct place beside = places[random_below(2)];
            beside.base += (int)random_below(random_below(2) ? 5 : 80) * 8;
            name[0] = 'w';
            address_add(t, name, beside, turn);
            text_add(t, "  %%l%c = load i64, ptr %%w%c, align 1\n", tag, tag);
            text_add(t, "  %%m%c = bitcast i64 %%l%c to double\n", tag, tag);
            text_add(t, "  %%o%c = fadd double %%m%c, %%z%c\n", tag, tag, tag);
            text_add(t, "  store double %%o%c, ptr %%w%c, align 1\n", tag, tag);
        }
    }
    text_add(t, "  %%n%c = add i32 %%k%c, %d\n", tag, tag, step);
    if (step == 1 && random_below(2))
        text_add(t, "  %%c%c = icmp sge i32 %%n%c, %d\n", tag, tag, turns - 4);
    else
        text_add(t, "  %%c%c = icmp eq i32 %%n%c, %d\n", tag, tag, turns * step);
}

static void nest_write(struct text *t)
{
    struct place places[2] = {random_place(), random_place()};
    bool two = random_below(3) == 0, head_load = random_below(2);
    int rounds = 1 + (int)random_below(30);
    t->len = 0;
    text_add(t, "define double @f(ptr %%vm) {\nstart:\n  br label %%head\nhead:\n");
    text_add(t, "  %%i = phi i32 [ 0, %%start ], [ %%i1, %%last ]\n");
    if (head_load) {
        address_add(t, "v", random_place(), "0");
        text_add(t, "  %%w = load double, ptr %%v, align 1\n");
    }
    text_add(t, "  br label %%loopa\n");
    loop_add(t, 'a', "head", places);
    text_add(t, "  br i1 %%ca, label %%%s, label %%loopa\n", two ? "middle" : "last");
    if (two) {
        text_add(t, "middle:\n  br label %%loopb\n");
        loop_add(t, 'b', "middle", places);
        text_add(t, "  br i1 %%cb, label %%last, label %%loopb\n");
    }
    text_add(t, "last:\n  %%end = fadd double %%ua, %s\n", two ? "%ub" : "2.0");
    text_add(t, "  %%sum = fmul double %%end, %s\n", head_load ? "%w" : "1.0");
    for (uint32_t i = random_below(3); i < 3; i++) {
        char name[3] = {'t', (char)('a' + i), 0};
        address_add(t, name, random_place(), "0");
        text_add(t, "  store double %%sum, ptr %%%s, align 1\n", name);
    }
    text_add(t, "  %%i1 = add i32 %%i, 1\n  %%over = icmp eq i32 %%i1, %d\n", rounds);
    text_add(t, "  br i1 %%over, label %%exit, label %%head\nexit:\n  ret double %%sum\n}\n");
}

static void memory_fill(uint8_t *space)
{
    for (uint32_t i = 0; i < 2 * SPAN; i += 4) {
        float value = (float)((i * 2654435761u >> 20) + 1) / 4096;
        memcpy(space + (uint32_t)(i - SPAN), &value, sizeof value);
    }
    memset(space + SPACE, 0x3d, SPAN); /* for what lies across the end */
}

/* UBSan would look for a function's type in front of it, where LLVM's generated code has none. */
static double __attribute__((no_sanitize("function"))) generated_call(uint64_t address,
                                                                      uint8_t *space)
{
    double (*function)(uint8_t *);
    memcpy(&function, &address, sizeof function);
    return function(space);
}

/* Runs the nest, jammed or not; tells whether it was changed. */
static bool nest_run(const char *text, bool jam, uint8_t *space, double *result)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool grew = jam && module_jam(module);
    struct LLVMMCJITCompilerOptions options;
    LLVMInitializeMCJITCompilerOptions(&options, sizeof options);
    LLVMExecutionEngineRef engine;
    char *message = NULL;
    if (LLVMCreateMCJITCompilerForModule(&engine, module, &options, sizeof options, &message))
        fail_msg("%s", message);
    *result = generated_call(LLVMGetFunctionAddress(engine, "f"), space);
    LLVMDisposeExecutionEngine(engine);
    LLVMContextDispose(context);
    return grew;
}

static uint8_t *space_create(void)
{
    uint8_t *space = mmap(NULL, SPACE + SPAN, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(space, MAP_FAILED);
    return space;
}

static void random_nests_compute_the_same_when_jammed(void **state)
{
    (void)state;
    struct text text;
    uint8_t *plain = space_create(), *jammed = space_create();
    const char *seed = getenv("JAM_SEED"), *count = getenv("JAM_NESTS");
    uint32_t first = seed ? (uint32_t)atoi(seed) : 1, nests = count ? (uint32_t)atoi(count) : NESTS;
    uint32_t grown = 0;
    LLVMLinkInMCJIT();
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    for (uint32_t n = first; n < first + nests; n++) {
        double results[2];
        random_state = n * 0x9E3779B97F4A7C15u | 1;
        nest_write(&text);
        memory_fill(plain);
        memory_fill(jammed);
        nest_run(text.data, false, plain, &results[0]);
        grown += nest_run(text.data, true, jammed, &results[1]);
        if (memcmp(&results[0], &results[1], sizeof results[0]) != 0 ||
            memcmp(plain, jammed, SPAN) != 0 ||
            memcmp(plain + SPACE - SPAN, jammed + SPACE - SPAN, 2 * SPAN) != 0)
            fail_msg("JAM_SEED=%u JAM_NESTS=1 shows the difference:\n%s", n, text.data);
    }
    print_message("%u of %u nests were jammed\n", grown, nests);
    assert_true(grown >= nests / 4);
    munmap(plain, SPACE + SPAN);
    munmap(jammed, SPACE + SPAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_of_sums_runs_several_rounds_side_by_side),
        cmocka_unit_test(a_sum_of_integers_is_left_to_the_vectoriser),
        cmocka_unit_test(a_loop_whose_length_differs_from_round_to_round_is_left_alone),
        cmocka_unit_test(a_load_that_must_not_vanish_stays_so_in_every_copy),
        cmocka_unit_test(random_nests_compute_the_same_when_jammed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
