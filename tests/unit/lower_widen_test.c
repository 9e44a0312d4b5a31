/*
 * Which loops over 128-bit vectors lower_widen takes, and that what it makes of them computes the
 * same. The second is tried on random loops: each runs as it is and widened, from the same memory,
 * and every byte and every value it leaves must agree. Addresses lie around 0 modulo 2^32, so that
 * they wrap, and near each other, so that loads and stores meet.
 */
#define _GNU_SOURCE
#include "engine/lower_widen.h"

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
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
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

static bool module_widen(LLVMModuleRef module)
{
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    unsigned before = LLVMCountBasicBlocks(f);
    assert_true(lower_widen(f));
    if (LLVMVerifyFunction(f, LLVMPrintMessageAction))
        fail_msg("the function is broken");
    return LLVMCountBasicBlocks(f) != before;
}

/* ---- which loops ---- */

/* A loop over vectors; the parts that tests vary: its load, its operation and its stride. */
#define VECTORS(load, operation, stride)              \
    "define void @f(ptr %vm, i32 %n) {\n"             \
    "start:\n"                                        \
    "  br label %loop\n"                              \
    "loop:\n"                                         \
    "  %k = phi i32 [ %n, %start ], [ %k1, %loop ]\n" \
    "  %a = zext i32 %k to i64\n"                     \
    "  %b = getelementptr i8, ptr %vm, i64 %a\n"      \
    "  %x = " load " <4 x float>, ptr %b, align 1\n"  \
    "  %y = " operation "\n"                          \
    "  store <4 x float> %y, ptr %b, align 1\n"       \
    "  %k1 = add i32 %k, " stride "\n"                \
    "  %over = icmp eq i32 %k1, 4096\n"               \
    "  br i1 %over, label %exit, label %loop\n"       \
    "exit:\n"                                         \
    "  ret void\n"                                    \
    "}\n"
#define SUM "fadd <4 x float> %x, %x"
#define REVERSE                                                    \
    "shufflevector <4 x float> %x, <4 x float> poison, <4 x i32> " \
    "<i32 3, i32 2, i32 1, i32 0>"

static bool widens(const char *text)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool changed = module_widen(module);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return changed;
}

static void a_loop_that_works_lane_by_lane_becomes_one_over_elements(void **state)
{
    (void)state;
    assert_true(widens(VECTORS("load", SUM, "16")));
}

static void what_mixes_lanes_or_leaves_gaps_stays(void **state)
{
    (void)state;
    assert_false(widens(VECTORS("load", REVERSE, "16")));
    assert_false(widens(VECTORS("load", SUM, "32")));
    assert_false(widens(VECTORS("load", SUM, "-16")));
}

static void a_load_that_must_not_vanish_stays(void **state)
{
    (void)state;
    assert_false(widens(VECTORS("load volatile", SUM, "16")));
}

/* ---- random loops ---- */

#define SPAN  (64u << 10) /* what a loop reaches on either side of address 0 */
#define SPACE ((size_t)1 << 32)
#define LOOPS 400

struct text {
    char data[64 << 10];
    size_t len;
};

static void __attribute__((format(printf, 2, 3))) text_add(struct text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(t->data + t->len, sizeof t->data - t->len, format, arguments);
    va_end(arguments);
    assert_true(used >= 0 && (size_t)used < sizeof t->data - t->len);
    t->len += (size_t)used;
}

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

struct walk {
    int start, step, rounds, scale, read[2], write;
    bool twice, splice, single, fixed_end, late;
};

static struct walk random_walk(void)
{
    static const int places[] = {0, 0, 8, 16, -16, -4, 64, 1024, 4096, 4100, -8192};
    static const int steps[] = {16, 16, 1, -1, -16};
    struct walk w = {.step = steps[random_below(5)],
                     .rounds = 1 + (int)random_below(random_below(2) ? 6 : 40)};
    w.scale = 16 / w.step;
    w.start = (int)random_below(5) * 8 - (random_below(2) ? 16 * 1 : 400);
    for (int i = 0; i < 2; i++)
        w.read[i] = places[random_below(11)];
    w.write = places[random_below(11)];
    w.twice = random_below(3) == 0;
    w.splice = random_below(3) == 0;
    w.single = random_below(2);
    w.fixed_end = random_below(2);
    w.late = random_below(2);
    return w;
}

static void address_add(struct text *t, const char *name, int scale, int offset)
{
    text_add(t, "  %%%sc = mul i32 %%i, %d\n  %%%sa = add i32 %%%sc, %d\n", name, scale, name, name,
             offset);
    text_add(t, "  %%%sb = zext i32 %%%sa to i64\n", name, name);
    int beyond = offset == 64 ? 48 : 0;
    text_add(t, "  %%%sd = getelementptr i8, ptr %%vm, i64 %%%sb\n", name, name);
    text_add(t, "  %%%s = getelementptr i8, ptr %%%sd, i64 %d\n", name, name, beyond);
}

static void loop_write(struct text *t, const struct walk *w)
{
    const char *type = w->single ? "<4 x float>" : "<2 x double>";
    const char *part = w->single ? "float" : "double";
    t->len = 0;
    text_add(t, "define double @f(ptr %%vm, i32 %%n) {\nstart:\n");
    text_add(t, "  %%e = insertelement %s zeroinitializer, %s 3.0, i32 0\n", type, part);
    text_add(t, "  %%g = insertelement %s %%e, %s 5.0, i32 1\n", type, part);
    text_add(t, "  %%h = shufflevector %s %%g, %s poison, <%d x i32> zeroinitializer\n", type, type,
             w->single ? 4 : 2);
    text_add(t, "  %%v = bitcast %s %%g to <4 x i32>\n  br label %%loop\nloop:\n", type);
    text_add(t, "  %%i = phi i32 [ %d, %%start ], [ %%i1, %%loop ]\n", w->start);
    if (w->splice)
        text_add(t, "  %%l = phi <4 x i32> [ %%v, %%start ], [ %%xi, %%loop ]\n");
    address_add(t, "p", w->scale, w->read[0]);
    text_add(t, "  %%xi = load <4 x i32>, ptr %%p, align 1\n");
    text_add(t, "  %%x = bitcast <4 x i32> %%xi to %s\n", type);
    if (w->splice) {
        text_add(t, "  %%la = bitcast <4 x i32> %%l to %s\n", type);
        text_add(t, "  %%s = shufflevector %s %%la, %s %%x, <%s>\n", type, type,
                 w->single ? "4 x i32> <i32 3, i32 4, i32 5, i32 6" : "2 x i32> <i32 1, i32 2");
    }
    address_add(t, "q", w->scale, w->read[1]);
    text_add(t, "  %%y = load %s, ptr %%q, align 1\n", type);
    text_add(t, "  %%z = fmul %s %%x, %%h\n", type);
    text_add(t, "  %%w = fadd %s %%z, %s\n", type, w->splice ? "%s" : "%y");
    address_add(t, "r", w->scale, w->write);
    text_add(t, "  store %s %%w, ptr %%r, align 1\n", type);
    if (w->twice) {
        address_add(t, "u", w->scale, w->read[1]);
        text_add(t, "  %%m = fsub %s %%y, %s\n", type, w->late ? "%w" : "zeroinitializer");
        text_add(t, "  store %s %%m, ptr %%u, align 1\n", type);
    }
    text_add(t, "  %%i1 = add i32 %%i, %d\n", w->step);
    if (w->fixed_end)
        text_add(t, "  %%over = icmp eq i32 %%i1, %d\n", w->start + w->step * w->rounds);
    else
        text_add(t, "  %%over = icmp eq i32 %%i1, %%n\n");
    text_add(t, "  br i1 %%over, label %%exit, label %%loop\nexit:\n");
    text_add(t, "  %%k = add i32 %%i1, %%i\n  %%o = sitofp i32 %%k to double\n");
    text_add(t, "  ret double %%o\n}\n");
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
                                                                      uint8_t *space, int32_t bound)
{
    double (*function)(uint8_t *, int32_t);
    memcpy(&function, &address, sizeof function);
    return function(space, bound);
}

/* LLVM makes vectors of the loop again, of as many rounds as this processor takes at once. */
static void module_optimise(LLVMModuleRef module)
{
    char *triple = LLVMGetDefaultTargetTriple(), *cpu = LLVMGetHostCPUName();
    char *features = LLVMGetHostCPUFeatures(), *message = NULL;
    LLVMTargetRef target;
    if (LLVMGetTargetFromTriple(triple, &target, &message))
        fail_msg("%s", message);
    LLVMTargetMachineRef machine =
        LLVMCreateTargetMachine(target, triple, cpu, features, LLVMCodeGenLevelDefault,
                                LLVMRelocDefault, LLVMCodeModelJITDefault);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    assert_null(LLVMRunPasses(module, "default<O2>", machine, options));
    LLVMDisposePassBuilderOptions(options);
    LLVMDisposeTargetMachine(machine);
    LLVMDisposeMessage(features);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(triple);
}

/* Runs the loop, widened or not; tells whether it was changed. */
static bool loop_run(const char *text, bool widen, int32_t bound, uint8_t *space, double *result)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool changed = widen && module_widen(module);
    if (changed)
        module_optimise(module);
    struct LLVMMCJITCompilerOptions options;
    LLVMInitializeMCJITCompilerOptions(&options, sizeof options);
    LLVMExecutionEngineRef engine;
    char *message = NULL;
    if (LLVMCreateMCJITCompilerForModule(&engine, module, &options, sizeof options, &message))
        fail_msg("%s", message);
    *result = generated_call(LLVMGetFunctionAddress(engine, "f"), space, bound);
    LLVMDisposeExecutionEngine(engine);
    LLVMContextDispose(context);
    return changed;
}

static uint8_t *space_create(void)
{
    uint8_t *space = mmap(NULL, SPACE + SPAN, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(space, MAP_FAILED);
    return space;
}

static void random_loops_compute_the_same_when_widened(void **state)
{
    (void)state;
    static struct text text;
    uint8_t *plain = space_create(), *widened = space_create();
    const char *seed = getenv("WIDEN_SEED"), *count = getenv("WIDEN_LOOPS");
    uint32_t first = seed ? (uint32_t)atoi(seed) : 1, loops = count ? (uint32_t)atoi(count) : LOOPS;
    uint32_t changed = 0;
    LLVMLinkInMCJIT();
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    for (uint32_t n = first; n < first + loops; n++) {
        double results[2];
        random_state = n * 0x9E3779B97F4A7C15u | 1;
        struct walk r = random_walk();
        int32_t bound = r.start + r.step * r.rounds;
        loop_write(&text, &r);
        memory_fill(plain);
        memory_fill(widened);
        loop_run(text.data, false, bound, plain, &results[0]);
        changed += loop_run(text.data, true, bound, widened, &results[1]);
        if (memcmp(&results[0], &results[1], sizeof results[0]) != 0 ||
            memcmp(plain, widened, SPAN) != 0 ||
            memcmp(plain + SPACE - SPAN, widened + SPACE - SPAN, 2 * SPAN) != 0)
            fail_msg("WIDEN_SEED=%u WIDEN_LOOPS=1 shows the difference:\n%s", n, text.data);
    }
    print_message("%u of %u loops were widened\n", changed, loops);
    assert_true(changed >= loops / 4 || loops < LOOPS);
    munmap(plain, SPACE + SPAN);
    munmap(widened, SPACE + SPAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_that_works_lane_by_lane_becomes_one_over_elements),
        cmocka_unit_test(what_mixes_lanes_or_leaves_gaps_stays),
        cmocka_unit_test(a_load_that_must_not_vanish_stays),
        cmocka_unit_test(random_loops_compute_the_same_when_widened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
