/*
 * Loops of IR as tests for steps of lowering that give a loop a twin (src/engine/lower_twin.c):
 * each runs as it is and changed, from the same memory, and every byte and every value it leaves
 * must agree. Addresses lie around 0 modulo 2^32.
 */
#ifndef TESTS_LOWER_LOOPS_H
#define TESTS_LOWER_LOOPS_H

#include "lower_text.h"

#include <errno.h>
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
#include <unistd.h>

/* The step of lowering under test. */
typedef bool loop_step(LLVMValueRef function);

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

/* Whether the step changes function "f". */
static bool module_change(LLVMModuleRef module, loop_step *step)
{
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    unsigned before = LLVMCountBasicBlocks(f);
    assert_true(step(f));
    if (LLVMVerifyFunction(f, LLVMPrintMessageAction))
        fail_msg("the function is broken");
    return LLVMCountBasicBlocks(f) != before;
}

static bool text_changes(const char *text, loop_step *step)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool changed = module_change(module, step);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return changed;
}

/* ---- memory ---- */

#define SPAN   (64u << 10) /* what a loop reaches on either side of address 0 */
#define SPACE  ((size_t)1 << 32)
#define FIELDS 4096u /* below address 0 */

#define FIELD_SIZE   (-8)  /* of the memory, where src/engine/abi.h has it */
#define FIELD_CHOSEN (-16) /* whether the twin was chosen */

/* What lies behind 2^32 is the beginning once more: LLVM 19's SLP vectoriser takes addresses 2^32
 * apart for the same (getPointersDiff returns an int), so that a loop that wraps may reach either.
 * In an arena both trap, or the loop has trapped before. */
static uint8_t *space_create(void)
{
    uint8_t *space = mmap(NULL, FIELDS + SPACE + SPAN, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(space, MAP_FAILED);
    space += FIELDS;
    int low = memfd_create("low", MFD_CLOEXEC);
    assert_return_code(low, errno);
    assert_return_code(ftruncate(low, SPAN), errno);
    for (int i = 0; i < 2; i++)
        assert_ptr_not_equal(mmap(i ? space + SPACE : space, SPAN, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_FIXED, low, 0),
                             MAP_FAILED);
    close(low);
    return space;
}

static void memory_fill(uint8_t *space)
{
    for (uint32_t i = 0; i < 2 * SPAN; i += 4) {
        float value = (float)((i * 2654435761u >> 20) + 1) / 4096;
        memcpy(space + (uint32_t)(i - SPAN), &value, sizeof value);
    }
}

static void space_prepare(uint8_t *space, uint64_t size)
{
    uint64_t chosen = 0;
    memory_fill(space);
    memcpy(space + FIELD_SIZE, &size, sizeof size);
    memcpy(space + FIELD_CHOSEN, &chosen, sizeof chosen);
}

/* ---- running ---- */

/* UBSan would look for a function's type in front of it, where LLVM's generated code has none. */
static double __attribute__((no_sanitize("function"))) generated_call(uint64_t address,
                                                                      uint8_t *space, int32_t bound)
{
    double (*function)(uint8_t *, int32_t);
    memcpy(&function, &address, sizeof function);
    return function(space, bound);
}

/* Has a changed function note which loop it chooses. */
static void choice_record(LLVMModuleRef module)
{
    LLVMContextRef context = LLVMGetModuleContext(module);
    LLVMValueRef f = LLVMGetNamedFunction(module, "f");
    LLVMValueRef branch =
        LLVMGetBasicBlockTerminator(LLVMGetNextBasicBlock(LLVMGetEntryBasicBlock(f)));
    LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
    LLVMPositionBuilderBefore(builder, branch);
    LLVMTypeRef i64 = LLVMInt64TypeInContext(context);
    LLVMValueRef at = LLVMConstInt(i64, (uint64_t)FIELD_CHOSEN, true);
    LLVMValueRef field =
        LLVMBuildGEP2(builder, LLVMInt8TypeInContext(context), LLVMGetParam(f, 0), &at, 1, "");
    LLVMBuildStore(builder, LLVMBuildZExt(builder, LLVMGetCondition(branch), i64, ""), field);
    LLVMDisposeBuilder(builder);
}

/* LLVM makes vectors of the twin, of as many rounds as this processor takes at once. */
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

/* Runs the loop, changed by the step if one is given; tells whether it was. */
static bool loop_run(const char *text, loop_step *step, int32_t bound, uint8_t *space,
                     double *result)
{
    LLVMContextRef context = LLVMContextCreate();
    LLVMModuleRef module = module_parse(context, text);
    bool changed = step && module_change(module, step);
    if (changed) {
        choice_record(module);
        module_optimise(module);
    }
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

struct outcome {
    uint32_t changed, chosen; /* loops that the step changed, and of these that chose the twin */
};

/* Runs the loop both ways in memory of that size. reach: what must not be beyond it when the twin
 * runs. repeat: how to run this loop alone. */
static void loop_compare(const char *text, loop_step *step, int32_t bound, uint64_t size,
                         uint64_t reach, const char *repeat, struct outcome *outcome)
{
    static uint8_t *plain, *other;
    double results[2];
    uint64_t chosen;
    if (!plain)
        plain = space_create(), other = space_create();
    space_prepare(plain, size);
    space_prepare(other, size);
    loop_run(text, NULL, bound, plain, &results[0]);
    outcome->changed += loop_run(text, step, bound, other, &results[1]);
    memcpy(&chosen, other + FIELD_CHOSEN, sizeof chosen);
    outcome->chosen += (uint32_t)chosen;
    if (memcmp(&results[0], &results[1], sizeof results[0]) != 0 ||
        memcmp(plain, other, SPAN) != 0 ||
        memcmp(plain + SPACE - SPAN, other + SPACE - SPAN, SPAN) != 0)
        fail_msg("%s shows the difference:\n%s", repeat, text);
    if (chosen && reach > size)
        fail_msg("%s leaves the memory:\n%s", repeat, text);
}

/* Tries `count` loops, or those that the environment asks for: NAME_SEED, NAME_LOOPS. */
static void loops_try(const char *name, uint32_t count, void (*try)(const char *, struct outcome *))
{
    char seed[32], loops[32], repeat[96];
    snprintf(seed, sizeof seed, "%s_SEED", name);
    snprintf(loops, sizeof loops, "%s_LOOPS", name);
    uint32_t first = getenv(seed) ? (uint32_t)atoi(getenv(seed)) : 1;
    uint32_t number = getenv(loops) ? (uint32_t)atoi(getenv(loops)) : count;
    struct outcome outcome = {0};
    LLVMLinkInMCJIT();
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    for (uint32_t n = first; n < first + number; n++) {
        random_state = n * 0x9E3779B97F4A7C15u | 1;
        snprintf(repeat, sizeof repeat, "%s=%u %s=1", seed, n, loops);
        try(repeat, &outcome);
    }
    print_message("%u of %u loops were changed, %u ran so\n", outcome.changed, number,
                  outcome.chosen);
    assert_true(outcome.chosen >= count / 16 || number < count);
    assert_true(outcome.chosen < outcome.changed || number < count);
}

#endif
