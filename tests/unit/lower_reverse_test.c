/*
 * Whose base lower_reverse hides. Each test is a function in LLVM's text form whose loads and
 * stores start from the parameter %vm; a load whose base was hidden no longer does.
 */
#include "engine/lower_reverse.h"

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

/* A loop with an upward counter %up and a downward one %down. */
#define LOOP(body)                                                                           \
    "define void @f(ptr %vm, i32 %n) {\n"                                                    \
    "start:\n"                                                                               \
    "  br label %loop\n"                                                                     \
    "loop:\n"                                                                                \
    "  %up = phi i32 [ 0, %start ], [ %up1, %loop ]\n"                                       \
    "  %down = phi i32 [ %n, %start ], [ %down1, %loop ]\n" body "  %up1 = add i32 %up, 8\n" \
    "  %down1 = add i32 %down, -8\n"                                                         \
    "  %over = icmp eq i32 %down, 0\n"                                                       \
    "  br i1 %over, label %end, label %loop\n"                                               \
    "end:\n"                                                                                 \
    "  ret void\n"                                                                           \
    "}\n"

#define ADDRESS(name, counter, offset)                  \
    "  %" name "a = add i32 %" counter ", " offset "\n" \
    "  %" name "b = zext i32 %" name "a to i64\n"       \
    "  %" name " = getelementptr i8, ptr %vm, i64 %" name "b\n"

static LLVMValueRef address_named(LLVMValueRef f, const char *name)
{
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
        for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) {
            size_t len;
            if (strcmp(LLVMGetValueName2(i, &len), name) == 0)
                return i;
        }
    fail_msg("no address %s", name);
    return NULL;
}

/* Tells of each of the addresses p, q and r whether its base is hidden, as a word like "-q-". */
static void check(const char *text, const char *expected)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "test");
    LLVMModuleRef module;
    char *message = NULL, found[4] = "---";
    if (LLVMParseIRInContext(context, buffer, &module, &message))
        fail_msg("%s", message);
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    assert_non_null(f);
    lower_reverse(f);
    assert_false(LLVMVerifyFunction(f, LLVMReturnStatusAction));
    for (int i = 0; i < 3; i++) {
        const char name[2] = {(char)('p' + i), 0};
        if (LLVMGetOperand(address_named(f, name), 0) != LLVMGetParam(f, 0))
            found[i] = name[0];
    }
    assert_string_equal(found, expected);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
}

static void loads_beside_a_store_to_elsewhere_lose_the_base_in_both_directions(void **state)
{
    (void)state;
    check(LOOP(ADDRESS("p", "up", "1024") ADDRESS("q", "down", "1024")
                   ADDRESS("r", "up", "4096") "  %x = load i64, ptr %p\n  %y = load i64, ptr %q\n"
                                              "  %z = add i64 %x, %y\n  store i64 %z, ptr %r\n"),
          "pq-");
}

static void a_load_from_where_the_loop_stores_keeps_the_base(void **state)
{
    (void)state;
    check(LOOP(ADDRESS("p", "up", "1024") ADDRESS("q", "down", "4096") ADDRESS(
              "r", "up",
              "8192") "  %x = load i64, ptr %p\n  %y = load i64, ptr %q\n  %w = load i64, ptr %r\n"
                      "  %z = add i64 %x, %y\n  store i64 %z, ptr %p\n"),
          "-qr");
}

static void a_loop_that_walks_one_way_is_left_alone(void **state)
{
    (void)state;
    check(LOOP(ADDRESS("p", "up", "1024") ADDRESS("q", "up", "2048")
                   ADDRESS("r", "up", "4096") "  %x = load i64, ptr %p\n  %y = load i64, ptr %q\n"
                                              "  %z = add i64 %x, %y\n  store i64 %z, ptr %r\n"),
          "---");
}

static void a_loop_without_a_store_is_left_alone(void **state)
{
    (void)state;
    check(
        LOOP(ADDRESS("p", "up", "1024") ADDRESS("q", "down", "1024") ADDRESS(
            "r", "up",
            "4096") "  %x = load i64, ptr %p\n  %y = load i64, ptr %q\n  %z = load i64, ptr %r\n"),
        "---");
}

static void a_loop_with_a_volatile_load_is_left_alone(void **state)
{
    (void)state;
    check(LOOP(ADDRESS("p", "up", "1024") ADDRESS("q", "down", "1024") ADDRESS(
              "r", "up", "4096") "  %x = load volatile i64, ptr %p\n  %y = load i64, ptr %q\n"
                                 "  %z = add i64 %x, %y\n  store i64 %z, ptr %r\n"),
          "---");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_beside_a_store_to_elsewhere_lose_the_base_in_both_directions),
        cmocka_unit_test(a_load_from_where_the_loop_stores_keeps_the_base),
        cmocka_unit_test(a_loop_that_walks_one_way_is_left_alone),
        cmocka_unit_test(a_loop_without_a_store_is_left_alone),
        cmocka_unit_test(a_loop_with_a_volatile_load_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
