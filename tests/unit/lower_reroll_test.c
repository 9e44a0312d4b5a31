/*
 * Which loops lower_reroll takes, and that what it makes of them computes the same. The second is
 * tried on random loops of several copies of a round, some of them with a copy that differs or with
 * accesses out of order: each runs as it is and re-rolled, from the same memory, and every byte and
 * every value it leaves must agree. Addresses lie around 0 modulo 2^32, so that they wrap.
 */
#define _GNU_SOURCE
#include "engine/lower_reroll.h"

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

static bool module_reroll(LLVMModuleRef module)
{
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    bool changed = false;
    assert_true(lower_reroll(f, &changed));
    if (LLVMVerifyFunction(f, LLVMPrintMessageAction))
        fail_msg("the function is broken");
    return changed;
}

/* ---- which loops ---- */

/* A loop with two copies of a round; the parts that tests vary: where the second copy works, its
 * load, and the bound. */
#define PAIR(place, load, bound)                     \
    "define void @f(ptr %vm, i32 %n) {\n"            \
    "start:\n"                                       \
    "  %even = and i32 %n, -16\n"                    \
    "  br label %loop\n"                             \
    "loop:\n"                                        \
    "  %k = phi i32 [ 0, %start ], [ %k1, %loop ]\n" \
    "  %a = zext i32 %k to i64\n"                    \
    "  %b = getelementptr i8, ptr %vm, i64 %a\n"     \
    "  %x = load double, ptr %b, align 1\n"          \
    "  %y = fmul double %x, 0.5\n"                   \
    "  store double %y, ptr %b, align 1\n"           \
    "  %c = " place "\n"                             \
    "  %d = zext i32 %c to i64\n"                    \
    "  %e = getelementptr i8, ptr %vm, i64 %d\n"     \
    "  %u = " load " double, ptr %e, align 1\n"      \
    "  %v = fmul double %u, 0.5\n"                   \
    "  store double %v, ptr %e, align 1\n"           \
    "  %k1 = add i32 %k, 16\n"                       \
    "  %over = icmp eq i32 %k1, " bound "\n"         \
    "  br i1 %over, label %exit, label %loop\n"      \
    "exit:\n"                                        \
    "  ret void\n"                                   \
    "}\n"
#define BESIDE "or disjoint i32 %k, 8"

enum outcome { KEPT, CHECKED, REROLLED };

/* What becomes of a function's loop; CHECKED: its bound decides when the code runs. */
static enum outcome outcome_of(const char *text)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    enum outcome outcome = KEPT;
    if (module_reroll(module)) {
        LLVMBasicBlockRef check =
            LLVMGetNextBasicBlock(LLVMGetEntryBasicBlock(LLVMGetNamedFunction(module, "f")));
        LLVMValueRef branch = LLVMGetBasicBlockTerminator(check);
        LLVMValueRef always = LLVMConstInt(LLVMInt1TypeInContext(context), 1, false);
        outcome = LLVMGetCondition(branch) == always ? REROLLED : CHECKED;
    }
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return outcome;
}

static void two_copies_of_a_round_become_one(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(PAIR(BESIDE, "load", "800")), REROLLED);
    assert_int_equal(outcome_of(PAIR(BESIDE, "load", "%even")), REROLLED);
}

static void copies_that_differ_are_left_alone(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(PAIR("add i32 %k, 24", "load", "800")), KEPT);
    assert_int_equal(outcome_of(PAIR(BESIDE, "load volatile", "800")), KEPT);
}

static void a_loop_that_may_never_end_keeps_its_long_form_too(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(PAIR(BESIDE, "load", "%n")), CHECKED);
    assert_int_equal(outcome_of(PAIR(BESIDE, "load", "808")), CHECKED);
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

/* A loop as it is about to be unrolled: what its rounds read and write, and how. */
struct round {
    int copies, step, scale, rounds;
    int read[2], write,
        bases[2]; /* read and write: added to the counter; bases: what they start from */
    bool carries, chain, down, two_counters, integer, shared, hoist;
    int odd_copy, oddity; /* a copy that differs, or -1; and how */
};

static struct round random_round(void)
{
    static const int copies[] = {2, 2, 3, 4, 4, 5, 8, 16},
                     places[] = {0, 8, -8, 16, 64, 4096, 4100};
    struct round r = {.copies = copies[random_below(8)], .odd_copy = -1};
    r.step = random_below(4) ? 8 : (int)random_below(3) * 4 + 4;
    r.down = random_below(4) == 0;
    if (r.down)
        r.step = -r.step;
    r.rounds = 1 + (int)random_below(24);
    for (int i = 0; i < 2; i++)
        r.read[i] = places[random_below(7)];
    r.write = places[random_below(7)];
    r.bases[0] = (int)random_below(3) * 1024 - 1024;
    r.two_counters = random_below(2);
    r.bases[1] = r.two_counters ? r.bases[0] + (int)random_below(2) * 8192 : r.bases[0];
    r.carries = random_below(2);
    r.chain = random_below(2);
    r.integer = random_below(3) == 0;
    r.shared = random_below(2);
    r.hoist = random_below(3) == 0;
    if (random_below(4) == 0) {
        r.odd_copy = (int)random_below((uint32_t)r.copies);
        r.oddity = (int)random_below(4);
    }
    return r;
}

static void address_add(struct text *t, const char *name, int copy, const char *from, int offset)
{
    text_add(t, "  %%%s%da = add i32 %s, %d\n", name, copy, from, offset);
    text_add(t, "  %%%s%db = zext i32 %%%s%da to i64\n", name, copy, name, copy);
    text_add(t, "  %%%s%d = getelementptr i8, ptr %%vm, i64 %%%s%db\n", name, copy, name, copy);
}

static void loads_add(struct text *t, const struct round *r, int copy)
{
    int shift = r->step * copy + (copy == r->odd_copy && r->oddity == 0 ? 8 : 0);
    const char *type = r->integer ? "i64" : "double";
    address_add(t, "p", copy, "%i", r->read[0] + shift);
    text_add(t, "  %%x%d = load %s, ptr %%p%d, align 1\n", copy, type, copy);
    address_add(t, "q", copy, r->two_counters ? "%j" : "%i", r->read[1] + r->step * copy);
    text_add(t, "  %%y%d = load %s, ptr %%q%d, align 1\n", copy, type, copy);
}

/* One copy: z = x op y, perhaps with what the copy before has loaded or summed up. */
static void copy_add(struct text *t, const struct round *r, int copy)
{
    const char *type = r->integer ? "i64" : "double";
    const char *add = r->integer ? "add" : "fadd", *times = r->integer ? "xor" : "fmul";
    bool odd = copy == r->odd_copy;
    if (!r->hoist)
        loads_add(t, r, copy);
    text_add(t, "  %%z%d = %s %s %%x%d, %%y%d\n", copy, odd && r->oddity == 1 ? add : times, type,
             copy, copy);
    if (odd && r->oddity == 2)
        text_add(t, "  %%w%d = %s %s %%z%d, %%x%d\n", copy, add, type, copy, copy);
    else if (r->carries && copy == 0)
        text_add(t, "  %%w0 = %s %s %%z0, %%last\n", add, type);
    else if (r->carries)
        text_add(t, "  %%w%d = %s %s %%z%d, %%x%d\n", copy, add, type, copy, copy - 1);
    else
        text_add(t, "  %%w%d = %s %s %%z%d, %%y%d\n", copy, add, type, copy, copy);
    if (r->chain && copy == 0)
        text_add(t, "  %%s0 = %s %s %%sum, %%w0\n", add, type);
    else if (r->chain)
        text_add(t, "  %%s%d = %s %s %%w%d, %%s%d\n", copy, add, type, copy, copy - 1);
    if (r->chain && !r->shared)
        return; /* no store */
    address_add(t, "r", copy, "%i", r->write + r->step * copy);
    text_add(t, "  store %s %%w%d, ptr %%r%d, align 1\n", type,
             odd && r->oddity == 3 && copy > 0 ? copy - 1 : copy, copy);
}

static void loop_write(struct text *t, const struct round *r)
{
    const char *type = r->integer ? "i64" : "double", *one = r->integer ? "7" : "1.0";
    int last = r->copies - 1, step = r->step * r->copies;
    t->len = 0;
    text_add(t, "define double @f(ptr %%vm, i32 %%n) {\nstart:\n  br label %%loop\nloop:\n");
    text_add(t, "  %%i = phi i32 [ %d, %%start ], [ %%i1, %%loop ]\n", r->bases[0]);
    text_add(t, "  %%j = phi i32 [ %d, %%start ], [ %%j1, %%loop ]\n", r->bases[1]);
    if (r->carries)
        text_add(t, "  %%last = phi %s [ %s, %%start ], [ %%x%d, %%loop ]\n", type, one, last);
    if (r->chain)
        text_add(t, "  %%sum = phi %s [ %s, %%start ], [ %%s%d, %%loop ]\n", type, one, last);
    for (int c = 0; r->hoist && c < r->copies; c++)
        loads_add(t, r, c);
    for (int c = 0; c < r->copies; c++)
        copy_add(t, r, c);
    text_add(t, "  %%i1 = add i32 %%i, %d\n  %%j1 = add i32 %%j, %d\n", step, step);
    text_add(t, "  %%over = icmp eq i32 %%i1, %s\n", "%n");
    text_add(t, "  br i1 %%over, label %%exit, label %%loop\nexit:\n");
    const char *left = r->chain ? "%s" : "%w";
    text_add(t, "  %%k = add i32 %%i1, %%j\n  %%l = sitofp i32 %%k to double\n");
    if (r->integer)
        text_add(t, "  %%m = sitofp i64 %s%d to double\n", left, last);
    else
        text_add(t, "  %%m = fadd double %s%d, 1.0\n", left, last);
    text_add(t, "  %%o = fadd double %%l, %%m\n  ret double %%o\n}\n");
    if (r->copies & (r->copies - 1) || random_below(2)) { /* else the bound is not known */
        char bound[16], *at = strstr(t->data, "i1, %n\n");
        int len = snprintf(bound, sizeof bound, "%d", r->bases[0] + step * r->rounds);
        size_t rest = strlen(at + 6) + 1;
        memmove(at + 4 + len, at + 6, rest);
        memcpy(at + 4, bound, (size_t)len);
    }
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

/* Runs the loop, re-rolled or not; tells whether it was changed. */
static bool loop_run(const char *text, bool reroll, int32_t bound, uint8_t *space, double *result)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool changed = reroll && module_reroll(module);
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

static void random_loops_compute_the_same_when_rerolled(void **state)
{
    (void)state;
    static struct text text;
    uint8_t *plain = space_create(), *rerolled = space_create();
    const char *seed = getenv("REROLL_SEED"), *count = getenv("REROLL_LOOPS");
    uint32_t first = seed ? (uint32_t)atoi(seed) : 1, loops = count ? (uint32_t)atoi(count) : LOOPS;
    uint32_t changed = 0;
    LLVMLinkInMCJIT();
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    for (uint32_t n = first; n < first + loops; n++) {
        double results[2];
        random_state = n * 0x9E3779B97F4A7C15u | 1;
        struct round r = random_round();
        int32_t bound = r.bases[0] + r.step * r.copies * r.rounds;
        loop_write(&text, &r);
        memory_fill(plain);
        memory_fill(rerolled);
        loop_run(text.data, false, bound, plain, &results[0]);
        changed += loop_run(text.data, true, bound, rerolled, &results[1]);
        if (memcmp(&results[0], &results[1], sizeof results[0]) != 0 ||
            memcmp(plain, rerolled, SPAN) != 0 ||
            memcmp(plain + SPACE - SPAN, rerolled + SPACE - SPAN, 2 * SPAN) != 0)
            fail_msg("REROLL_SEED=%u REROLL_LOOPS=1 shows the difference:\n%s", n, text.data);
    }
    print_message("%u of %u loops were re-rolled\n", changed, loops);
    assert_true(changed >= loops / 4 || loops < LOOPS);
    munmap(plain, SPACE + SPAN);
    munmap(rerolled, SPACE + SPAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_copies_of_a_round_become_one),
        cmocka_unit_test(copies_that_differ_are_left_alone),
        cmocka_unit_test(a_loop_that_may_never_end_keeps_its_long_form_too),
        cmocka_unit_test(random_loops_compute_the_same_when_rerolled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
