/*
 * Which loops lower_unroll marks. Each test is a nest of two loops in LLVM's text form; a marked
 * loop's branch carries the mark.
 */
#include "engine/lower_unroll.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/IRReader.h>
#include <string.h>

/* The outer loop ends at `end`; its inner loop, as long as the outer's counter says, is `inner`. */
#define NEST(end, inner)                             \
    "define void @f(ptr %vm, i32 %n) {\n"            \
    "start:\n"                                       \
    "  br label %head\n"                             \
    "head:\n"                                        \
    "  %i = phi i32 [ 0, %start ], [ %i1, %last ]\n" \
    "  br label %loop\n"                             \
    "loop:\n" inner "last:\n"                        \
    "  %i1 = add i32 %i, 2\n"                        \
    "  %over = icmp eq i32 %i1, " end "\n"           \
    "  br i1 %over, label %exit, label %head\n"      \
    "exit:\n"                                        \
    "  ret void\n"                                   \
    "}\n"

#define INNER                                        \
    "  %k = phi i32 [ %i, %head ], [ %k1, %loop ]\n" \
    "  store i32 %k, ptr %vm\n"                      \
    "  %k1 = add i32 %k, -1\n"                       \
    "  %out = icmp ult i32 %k, 3\n"                  \
    "  br i1 %out, label %last, label %loop\n"

/* An inner loop of a length of its own. */
#define FIXED(end)                                  \
    "  %k = phi i32 [ 0, %head ], [ %k1, %loop ]\n" \
    "  store i32 %k, ptr %vm\n"                     \
    "  %k1 = add i32 %k, 1\n"                       \
    "  %out = icmp eq i32 %k1, " end "\n"           \
    "  br i1 %out, label %last, label %loop\n"

#define STORES_8                                       \
    "  store i32 0, ptr %vm\n  store i32 0, ptr %vm\n" \
    "  store i32 0, ptr %vm\n  store i32 0, ptr %vm\n" \
    "  store i32 0, ptr %vm\n  store i32 0, ptr %vm\n" \
    "  store i32 0, ptr %vm\n  store i32 0, ptr %vm\n"
#define STORES_64 STORES_8 STORES_8 STORES_8 STORES_8 STORES_8 STORES_8 STORES_8 STORES_8

/* How many branches are marked. */
static unsigned marks(const char *text)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "test");
    LLVMModuleRef module;
    char *message = NULL;
    if (LLVMParseIRInContext(context, buffer, &module, &message))
        fail_msg("%s", message);
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    assert_true(lower_unroll(f));
    assert_false(LLVMVerifyFunction(f, LLVMReturnStatusAction));
    unsigned kind = LLVMGetMDKindIDInContext(context, "llvm.loop", 9), count = 0;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
        count += LLVMGetMetadata(LLVMGetBasicBlockTerminator(b), kind) != NULL;
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return count;
}

static void a_short_loop_around_a_loop_is_marked_with_it(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("10", INNER)), 2);
}

static void a_longer_one_is_not(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("20", INNER)), 0);
}

static void one_of_unknown_length_is_not(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("%n", INNER)), 0);
    assert_int_equal(marks(NEST("9", INNER)), 0); /* which steps of two never meet */
}

static void a_large_one_is_not(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("6", "  br label %more\nmore:\n" STORES_64 STORES_64 STORES_64
                                     "  %out = icmp ult i32 %i, 3\n"
                                     "  br i1 %out, label %last, label %more\n")),
                     2);
    assert_int_equal(marks(NEST("10", "  br label %more\nmore:\n" STORES_64 STORES_64 STORES_64
                                      "  %out = icmp ult i32 %i, 3\n"
                                      "  br i1 %out, label %last, label %more\n")),
                     0);
}

/* The mark would have LLVM write out all its rounds, in each round of the outer loop. */
static void a_long_loop_within_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("10", FIXED("8"))), 2);
    assert_int_equal(marks(NEST("10", FIXED("1000"))), 1);
    assert_int_equal(marks(NEST("10", FIXED("-8"))), 1);
}

static void a_loop_without_loops_within_is_left_to_llvm(void **state)
{
    (void)state;
    assert_int_equal(marks(NEST("10", "  br label %last\n")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_loop_around_a_loop_is_marked_with_it),
        cmocka_unit_test(a_longer_one_is_not),
        cmocka_unit_test(one_of_unknown_length_is_not),
        cmocka_unit_test(a_large_one_is_not),
        cmocka_unit_test(a_long_loop_within_is_left_alone),
        cmocka_unit_test(a_loop_without_loops_within_is_left_to_llvm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
