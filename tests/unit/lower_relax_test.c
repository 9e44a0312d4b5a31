/*
 * Which loads lower_relax makes plain. Each test is a function in LLVM's text form whose loads say
 * in their names what is expected of them: %stays… remain volatile, %plain… do not.
 */
#include "engine/lower_relax.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <llvm-c/IRReader.h>

static const char declarations[] = "declare void @effect()\n"
                                   "declare i32 @host(i32)\n"
                                   "declare void @llvm.ubsantrap(i8)\n"
                                   "declare i32 @llvm.ctpop.i32(i32)\n";

/* Returns how many loads were looked at. */
static unsigned check_block(LLVMBasicBlockRef block)
{
    unsigned count = 0;
    for (LLVMValueRef i = LLVMGetFirstInstruction(block); i; i = LLVMGetNextInstruction(i)) {
        if (LLVMGetInstructionOpcode(i) != LLVMLoad)
            continue;
        size_t len;
        const char *name = LLVMGetValueName2(i, &len);
        bool stays = strncmp(name, "stays", 5) == 0, plain = strncmp(name, "plain", 5) == 0;
        if (!stays && !plain)
            continue;
        if (!!LLVMGetVolatile(i) != stays)
            fail_msg("load %s is %s", name, stays ? "plain" : "volatile");
        count++;
    }
    return count;
}

/* Relaxes `define … @f` of the text and checks its loads. */
static void check(const char *text)
{
    size_t len = sizeof declarations + strlen(text);
    char *whole = malloc(len);
    assert_non_null(whole);
    snprintf(whole, len, "%s%s", declarations, text);
    LLVMContextRef context = LLVMContextCreate();
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(whole, strlen(whole), "test");
    LLVMModuleRef module;
    char *message = NULL;
    if (LLVMParseIRInContext(context, buffer, &module, &message))
        fail_msg("%s", message);
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    assert_non_null(f);
    assert_true(lower_relax(f));
    unsigned count = 0;
    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(f); b; b = LLVMGetNextBasicBlock(b))
        count += check_block(b);
    assert_true(count > 0);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    free(whole);
}

static void a_load_nobody_uses_stays_volatile(void **state)
{
    (void)state;
    check("define void @f(ptr %p) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  ret void\n"
          "}\n");
}

static void a_returned_stored_or_passed_value_makes_its_load_plain(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, ptr %q) {\n"
          "  %plain1 = load volatile i32, ptr %p\n"
          "  %plain2 = load volatile i32, ptr %p\n"
          "  %plain3 = load volatile i64, ptr %p\n"
          "  %plain4 = load volatile i32, ptr %p\n"
          "  store i32 %plain2, ptr %q\n"
          "  %a = getelementptr i8, ptr %q, i64 %plain3\n"
          "  %stays = load volatile i32, ptr %a\n"
          "  %c = call i32 @host(i32 %plain4)\n"
          "  ret i32 %plain1\n"
          "}\n");
}

static void need_passes_through_pure_operations(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %x) {\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %a = add i32 %plain, %x\n"
          "  %b = call i32 @llvm.ctpop.i32(i32 %a)\n"
          "  %c = zext i32 %b to i64\n"
          "  %d = trunc i64 %c to i32\n"
          "  %unused = mul i32 %stays, %d\n"
          "  %fr = freeze i32 %d\n"
          "  ret i32 %fr\n"
          "}\n");
}

static void a_load_used_on_one_branch_only_stays_volatile(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i1 %c) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  br i1 %c, label %use, label %join\n"
          "use:\n"
          "  call i32 @host(i32 %stays)\n"
          "  br label %join\n"
          "join:\n"
          "  ret i32 %plain\n"
          "}\n");
}

static void a_load_used_on_every_branch_becomes_plain(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %k, i1 %c) {\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  switch i32 %k, label %c1 [ i32 0, label %a\n"
          "                             i32 1, label %b ]\n"
          "a:\n"
          "  ret i32 %plain\n"
          "b:\n"
          "  %s = add i32 %plain, 1\n"
          "  ret i32 %s\n"
          "c1:\n"
          "  br i1 %c, label %d, label %e\n"
          "d:\n"
          "  %t = add i32 %plain, %stays\n"
          "  br label %e\n"
          "e:\n"
          "  %v = phi i32 [ %t, %d ], [ %plain, %c1 ]\n"
          "  ret i32 %v\n"
          "}\n");
}

static void a_use_that_a_continue_may_skip_does_not_count(void **state)
{
    (void)state;
    /* The loop ends only behind the use, yet not every iteration comes to it. */
    check("define void @f(ptr %p, ptr %q, i1 %c, i1 %d) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br i1 %c, label %loop, label %rest\n"
          "rest:\n"
          "  store i32 %stays, ptr %q\n"
          "  br i1 %d, label %loop, label %end\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void a_sum_continued_by_a_loop_for_the_rest_needs_every_summand(void **state)
{
    (void)state;
    /* What compilers make of a sum: four at a time, then, if any are left, one by one. */
    check("define i32 @f(ptr %p, i32 %n, i32 %rest) {\n"
          "  br label %four\n"
          "four:\n"
          "  %i = phi i32 [ 0, %0 ], [ %i2, %four ]\n"
          "  %s = phi i32 [ 0, %0 ], [ %s2, %four ]\n"
          "  %plain1 = load volatile i32, ptr %p\n"
          "  %s2 = add i32 %s, %plain1\n"
          "  %i2 = add i32 %i, 4\n"
          "  %c = icmp ult i32 %i2, %n\n"
          "  br i1 %c, label %four, label %between\n"
          "between:\n"
          "  %d = icmp eq i32 %rest, 0\n"
          "  br i1 %d, label %end, label %before\n"
          "before:\n"
          "  br label %one\n"
          "one:\n"
          "  %j = phi i32 [ 0, %before ], [ %j2, %one ]\n"
          "  %t = phi i32 [ %s2, %before ], [ %t2, %one ]\n"
          "  %plain2 = load volatile i32, ptr %p\n"
          "  %t2 = add i32 %t, %plain2\n"
          "  %j2 = add i32 %j, 1\n"
          "  %e = icmp ult i32 %j2, %rest\n"
          "  br i1 %e, label %one, label %end\n"
          "end:\n"
          "  %v = phi i32 [ %s2, %between ], [ %t2, %one ]\n"
          "  ret i32 %v\n"
          "}\n");
}

static void a_select_needs_its_condition_but_neither_arm(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, ptr %q, ptr %r) {\n"
          "  %stays1 = load volatile i32, ptr %p\n"
          "  %stays2 = load volatile i32, ptr %q\n"
          "  %plain = load volatile i32, ptr %r\n"
          "  %c = icmp eq i32 %plain, 0\n"
          "  %s = select i1 %c, i32 %stays1, i32 %stays2\n"
          "  ret i32 %s\n"
          "}\n");
}

static void a_phi_needs_what_comes_over_the_only_way_on(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i1 %c) {\n"
          "  br i1 %c, label %a, label %b\n"
          "a:\n"
          "  %plain1 = load volatile i32, ptr %p\n"
          "  br label %join\n"
          "b:\n"
          "  %plain2 = load volatile i32, ptr %p\n"
          "  br label %join\n"
          "join:\n"
          "  %v = phi i32 [ %plain1, %a ], [ %plain2, %b ]\n"
          "  ret i32 %v\n"
          "}\n");
}

static void a_phi_does_not_need_what_comes_over_an_edge_not_always_taken(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i1 %c) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br i1 %c, label %join, label %b\n"
          "b:\n"
          "  br label %join\n"
          "join:\n"
          "  %v = phi i32 [ %stays, %0 ], [ 7, %b ]\n"
          "  ret i32 %v\n"
          "}\n");
}

static void a_phi_nobody_needs_does_not_need_its_operands(void **state)
{
    (void)state;
    check("define void @f(ptr %p, i1 %c) {\n"
          "  br i1 %c, label %a, label %join\n"
          "a:\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br label %join\n"
          "join:\n"
          "  %v = phi i32 [ %stays, %a ], [ 7, %0 ]\n"
          "  ret void\n"
          "}\n");
}

static void a_load_used_every_iteration_becomes_plain(void **state)
{
    (void)state;
    check("define void @f(ptr %p, ptr %q, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  store i32 %plain, ptr %q\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void a_load_whose_last_value_alone_is_used_behind_the_loop_stays_volatile(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %a = getelementptr i8, ptr %p, i32 %i\n"
          "  %stays = load volatile i32, ptr %a\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  %s = add i32 %stays, 1\n"
          "  ret i32 %s\n"
          "}\n");
}

static void the_summands_of_a_sum_used_behind_the_loop_become_plain(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %sum = phi i32 [ 0, %0 ], [ %sum2, %loop ]\n"
          "  %a = getelementptr i8, ptr %p, i32 %i\n"
          "  %plain = load volatile i32, ptr %a\n"
          "  %sum2 = add i32 %sum, %plain\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret i32 %sum2\n"
          "}\n");
}

static void the_summands_of_a_sum_nobody_uses_stay_volatile(void **state)
{
    (void)state;
    check("define void @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %sum = phi i32 [ 0, %0 ], [ %sum2, %loop ]\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %sum2 = add i32 %sum, %stays\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void a_sum_restarted_by_every_outer_iteration_loses_all_but_the_last(void **state)
{
    (void)state;
    /* The inner sum is used behind the outer loop only: it is a recurrence of the inner loop, so
     * its scope is the outer one, and there is no use in it. */
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %outer\n"
          "outer:\n"
          "  %i = phi i32 [ 0, %0 ], [ %i2, %tail ]\n"
          "  br label %inner\n"
          "inner:\n"
          "  %j = phi i32 [ 0, %outer ], [ %j2, %inner ]\n"
          "  %sum = phi i32 [ 0, %outer ], [ %sum2, %inner ]\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %sum2 = add i32 %sum, %stays\n"
          "  %j2 = add i32 %j, 1\n"
          "  %c = icmp ult i32 %j2, %n\n"
          "  br i1 %c, label %inner, label %tail\n"
          "tail:\n"
          "  %i2 = add i32 %i, 1\n"
          "  %d = icmp ult i32 %i2, %n\n"
          "  br i1 %d, label %outer, label %end\n"
          "end:\n"
          "  ret i32 %sum2\n"
          "}\n");
}

static void a_sum_over_two_nested_loops_needs_every_summand(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %outer\n"
          "outer:\n"
          "  %i = phi i32 [ 0, %0 ], [ %i2, %tail ]\n"
          "  %sum0 = phi i32 [ 0, %0 ], [ %sum2, %tail ]\n"
          "  br label %inner\n"
          "inner:\n"
          "  %j = phi i32 [ 0, %outer ], [ %j2, %inner ]\n"
          "  %sum = phi i32 [ %sum0, %outer ], [ %sum2, %inner ]\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %sum2 = add i32 %sum, %plain\n"
          "  %j2 = add i32 %j, 1\n"
          "  %c = icmp ult i32 %j2, %n\n"
          "  br i1 %c, label %inner, label %tail\n"
          "tail:\n"
          "  %i2 = add i32 %i, 1\n"
          "  %d = icmp ult i32 %i2, %n\n"
          "  br i1 %d, label %outer, label %end\n"
          "end:\n"
          "  ret i32 %sum2\n"
          "}\n");
}

static void a_maximum_kept_by_a_select_needs_what_it_compares(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %best = phi i32 [ 0, %0 ], [ %best2, %loop ]\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %more = icmp ugt i32 %plain, %best\n"
          "  %best2 = select i1 %more, i32 %plain, i32 %best\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret i32 %best2\n"
          "}\n");
}

static void a_value_kept_for_the_next_iteration_is_needed_if_that_uses_it(void **state)
{
    (void)state;
    check("define void @f(ptr %p, ptr %q, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %last = phi i32 [ 0, %0 ], [ %plain, %loop ]\n"
          "  %forgotten = phi i32 [ 0, %0 ], [ %stays, %loop ]\n"
          "  store i32 %last, ptr %q\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void a_load_in_a_loop_used_on_the_way_out_of_it_stays_volatile(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  %v = phi i32 [ %stays, %loop ]\n"
          "  ret i32 %v\n"
          "}\n");
}

static void a_load_before_a_loop_used_behind_it_becomes_plain(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret i32 %plain\n"
          "}\n");
}

static void a_load_before_a_loop_that_may_not_run_used_in_it_stays_volatile(void **state)
{
    (void)state;
    check("define void @f(ptr %p, ptr %q, i32 %n) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br label %head\n"
          "head:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %body ]\n"
          "  %c = icmp ult i32 %i, %n\n"
          "  br i1 %c, label %body, label %end\n"
          "body:\n"
          "  store i32 %stays, ptr %q\n"
          "  %next = add i32 %i, 1\n"
          "  br label %head\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void a_check_that_only_traps_does_not_count_as_a_branch(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  %c = icmp eq i32 %n, 0\n"
          "  br i1 %c, label %trap, label %go\n"
          "go:\n"
          "  %v = udiv i32 %plain, %n\n"
          "  ret i32 %v\n"
          "trap:\n"
          "  call void @llvm.ubsantrap(i8 7)\n"
          "  unreachable\n"
          "}\n");
}

static void a_choice_between_traps_does_not_count_as_a_branch(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, float %x, i1 %inside) {\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  br i1 %inside, label %go, label %which\n"
          "which:\n"
          "  %nan = fcmp uno float %x, %x\n"
          "  br i1 %nan, label %trap1, label %trap2\n"
          "trap1:\n"
          "  call void @llvm.ubsantrap(i8 9)\n"
          "  unreachable\n"
          "trap2:\n"
          "  call void @llvm.ubsantrap(i8 8)\n"
          "  unreachable\n"
          "go:\n"
          "  ret i32 %plain\n"
          "}\n");
}

static void a_branch_that_calls_the_host_and_then_traps_does_count(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i32 %n) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  %c = icmp eq i32 %n, 0\n"
          "  br i1 %c, label %abort, label %go\n"
          "go:\n"
          "  %v = udiv i32 %stays, %n\n"
          "  ret i32 %v\n"
          "abort:\n"
          "  call void @effect()\n"
          "  call void @llvm.ubsantrap(i8 1)\n"
          "  unreachable\n"
          "}\n");
}

static void a_branch_into_an_endless_loop_does_count(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, i1 %c) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br i1 %c, label %forever, label %go\n"
          "forever:\n"
          "  br label %forever\n"
          "go:\n"
          "  ret i32 %stays\n"
          "}\n");
}

static void in_an_endless_loop_only_uses_in_the_same_block_count(void **state)
{
    (void)state;
    check("define void @f(ptr %p, ptr %q) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  store i32 %plain, ptr %q\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br label %rest\n"
          "rest:\n"
          "  store i32 %stays, ptr %q\n"
          "  br label %loop\n"
          "}\n");
}

static void a_need_that_ends_in_a_plain_load_nobody_uses_is_none(void **state)
{
    (void)state;
    check("define i64 @f(ptr %p) {\n"
          "  %stays = load volatile i64, ptr %p\n"
          "  %plain = load volatile i64, ptr %p\n"
          "  %a = getelementptr i8, ptr %p, i64 %stays\n"
          "  %b = getelementptr i8, ptr %p, i64 %plain\n"
          "  %dead = load i64, ptr %a\n"
          "  %live = load i64, ptr %b\n"
          "  ret i64 %live\n"
          "}\n");
}

static void of_a_chain_of_loads_nobody_uses_only_the_last_stays_volatile(void **state)
{
    (void)state;
    check("define void @f(ptr %p) {\n"
          "  %plain1 = load volatile i64, ptr %p\n"
          "  %a = getelementptr i8, ptr %p, i64 %plain1\n"
          "  %plain2 = load volatile i64, ptr %a\n"
          "  %b = getelementptr i8, ptr %p, i64 %plain2\n"
          "  %stays = load volatile i64, ptr %b\n"
          "  ret void\n"
          "}\n");
}

static void a_load_needed_only_for_its_own_next_address_stays_volatile(void **state)
{
    (void)state;
    check("define void @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %sum = phi i64 [ 0, %0 ], [ %sum2, %loop ]\n"
          "  %a = getelementptr i8, ptr %p, i64 %sum\n"
          "  %stays = load volatile i64, ptr %a\n"
          "  %sum2 = add i64 %sum, %stays\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret void\n"
          "}\n");
}

static void the_links_of_a_list_whose_end_is_used_become_plain(void **state)
{
    (void)state;
    check("define i64 @f(ptr %p, i32 %n) {\n"
          "  br label %loop\n"
          "loop:\n"
          "  %i = phi i32 [ 0, %0 ], [ %next, %loop ]\n"
          "  %link = phi i64 [ 0, %0 ], [ %plain, %loop ]\n"
          "  %a = getelementptr i8, ptr %p, i64 %link\n"
          "  %plain = load volatile i64, ptr %a\n"
          "  %next = add i32 %i, 1\n"
          "  %c = icmp ult i32 %next, %n\n"
          "  br i1 %c, label %loop, label %end\n"
          "end:\n"
          "  ret i64 %plain\n"
          "}\n");
}

static void control_flow_that_enters_a_cycle_sideways_relaxes_within_blocks_only(void **state)
{
    (void)state;
    check("define i32 @f(ptr %p, ptr %q, i1 %c, i1 %d) {\n"
          "  %stays = load volatile i32, ptr %p\n"
          "  br i1 %c, label %a, label %b\n"
          "a:\n"
          "  %plain = load volatile i32, ptr %p\n"
          "  store i32 %plain, ptr %q\n"
          "  br label %b\n"
          "b:\n"
          "  br i1 %d, label %a, label %end\n"
          "end:\n"
          "  ret i32 %stays\n"
          "}\n");
}

/* A ladder of diamonds; each step's loads are used in one of its sides, or at the foot of all. */
static void a_function_of_tens_of_thousands_of_blocks_is_analysed(void **state)
{
    (void)state;
    const unsigned count = 15000;
    size_t room = (size_t)count * 400 + 1000, len = 0;
    char *text = malloc(room);
    assert_non_null(text);
    len += (size_t)snprintf(text, room,
                            "define i32 @f(ptr %%p, ptr %%q, i1 %%c) {\n  br label %%h0\n");
    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, room - len,
                                "h%u:\n  %%plain%u = load volatile i32, ptr %%p\n"
                                "  %%stays%u = load volatile i32, ptr %%p\n"
                                "  br i1 %%c, label %%m%u, label %%h%u\n"
                                "m%u:\n  store i32 %%stays%u, ptr %%q\n  br label %%h%u\n",
                                i, i, i, i, i + 1, i, i, i + 1);
    len += (size_t)snprintf(text + len, room - len, "h%u:\n", count);
    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, room - len, "  store i32 %%plain%u, ptr %%q\n", i);
    snprintf(text + len, room - len, "  ret i32 0\n}\n");
    check(text);
    free(text);
}

static void a_very_deep_nest_of_loops_is_analysed(void **state)
{
    (void)state;
    const unsigned count = 10000;
    size_t room = (size_t)count * 200 + 1000, len = 0;
    char *text = malloc(room);
    assert_non_null(text);
    len += (size_t)snprintf(text, room,
                            "define i32 @f(ptr %%p, ptr %%q, i1 %%c) {\n  br label %%h0\n");
    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, room - len, "h%u:\n  br label %%h%u\n", i, i + 1);
    len += (size_t)snprintf(text + len, room - len,
                            "h%u:\n  %%plain = load volatile i32, ptr %%p\n"
                            "  store i32 %%plain, ptr %%q\n"
                            "  %%stays = load volatile i32, ptr %%p\n  br label %%t%u\n",
                            count, count - 1);
    for (unsigned i = count; i-- > 0;)
        len += (size_t)snprintf(text + len, room - len,
                                "t%u:\n  br i1 %%c, label %%h%u, label %%t%u\n", i, i, i - 1);
    /* The outermost latch leaves to "t" followed by 0 - 1. */
    len += (size_t)snprintf(text + len, room - len, "t%u:\n", UINT32_MAX);
    snprintf(text + len, room - len, "  ret i32 %%stays\n}\n");
    check(text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_nobody_uses_stays_volatile),
        cmocka_unit_test(a_returned_stored_or_passed_value_makes_its_load_plain),
        cmocka_unit_test(need_passes_through_pure_operations),
        cmocka_unit_test(a_load_used_on_one_branch_only_stays_volatile),
        cmocka_unit_test(a_load_used_on_every_branch_becomes_plain),
        cmocka_unit_test(a_use_that_a_continue_may_skip_does_not_count),
        cmocka_unit_test(a_sum_continued_by_a_loop_for_the_rest_needs_every_summand),
        cmocka_unit_test(a_select_needs_its_condition_but_neither_arm),
        cmocka_unit_test(a_phi_needs_what_comes_over_the_only_way_on),
        cmocka_unit_test(a_phi_does_not_need_what_comes_over_an_edge_not_always_taken),
        cmocka_unit_test(a_phi_nobody_needs_does_not_need_its_operands),
        cmocka_unit_test(a_load_used_every_iteration_becomes_plain),
        cmocka_unit_test(a_load_whose_last_value_alone_is_used_behind_the_loop_stays_volatile),
        cmocka_unit_test(the_summands_of_a_sum_used_behind_the_loop_become_plain),
        cmocka_unit_test(the_summands_of_a_sum_nobody_uses_stay_volatile),
        cmocka_unit_test(a_sum_restarted_by_every_outer_iteration_loses_all_but_the_last),
        cmocka_unit_test(a_sum_over_two_nested_loops_needs_every_summand),
        cmocka_unit_test(a_maximum_kept_by_a_select_needs_what_it_compares),
        cmocka_unit_test(a_value_kept_for_the_next_iteration_is_needed_if_that_uses_it),
        cmocka_unit_test(a_load_in_a_loop_used_on_the_way_out_of_it_stays_volatile),
        cmocka_unit_test(a_load_before_a_loop_used_behind_it_becomes_plain),
        cmocka_unit_test(a_load_before_a_loop_that_may_not_run_used_in_it_stays_volatile),
        cmocka_unit_test(a_check_that_only_traps_does_not_count_as_a_branch),
        cmocka_unit_test(a_choice_between_traps_does_not_count_as_a_branch),
        cmocka_unit_test(a_branch_that_calls_the_host_and_then_traps_does_count),
        cmocka_unit_test(a_branch_into_an_endless_loop_does_count),
        cmocka_unit_test(in_an_endless_loop_only_uses_in_the_same_block_count),
        cmocka_unit_test(a_need_that_ends_in_a_plain_load_nobody_uses_is_none),
        cmocka_unit_test(of_a_chain_of_loads_nobody_uses_only_the_last_stays_volatile),
        cmocka_unit_test(a_load_needed_only_for_its_own_next_address_stays_volatile),
        cmocka_unit_test(the_links_of_a_list_whose_end_is_used_become_plain),
        cmocka_unit_test(control_flow_that_enters_a_cycle_sideways_relaxes_within_blocks_only),
        cmocka_unit_test(a_function_of_tens_of_thousands_of_blocks_is_analysed),
        cmocka_unit_test(a_very_deep_nest_of_loops_is_analysed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
