/*
 * Lowering's outer shell: LLVM set-up, one module per shard, the two pass pipelines, the object
 * file.
 *
 * Owns the struct lowering of a shard. Called by atoll-cc: lower_initialize in the parent,
 * lower_shard in a forked child, because LLVM ends the process on what it takes for fatal.
 */
#include "engine/lower_function.h"
#include "engine/lower_jam.h"
#include "engine/lower_relax.h"
#include "engine/lower_reroll.h"
#include "engine/lower_reverse.h"
#include "engine/lower_unroll.h"
#include "engine/lower_widen.h"

#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWERING_REVISION "7"
#define TRIPLE            "x86_64-unknown-linux-gnu"

/* A shard beyond either bound is compiled at `quick` even when `opt` is asked for: some passes take
 * more than linear time. */
#define OPT_CODE_BYTES (100u << 10)
#define OPT_COST       (20u << 20) /* basic blocks times locals of one function */

int lower_initialize(struct error *e)
{
    (void)e;
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    static const char *const arguments[] = {
        "atoll-cc",
        /* LLVM 19 otherwise turns a cmov with a memory operand into a branch around the load,
         * volatile or not, and with the load goes its trap. */
        "-x86-cmov-converter-force-mem-operand=false",
        /* LLVM 19 otherwise merges equal trap instructions, nomerge or not, and of several wasm
         * offsets one is left. */
        "-enable-tail-merge=false",
        /* Clang counts wasm loops from a negative number up to zero and adds the arrays' addresses
         * modulo 2^32. Widened to 64 bits, such a counter no longer yields addresses that the
         * vectoriser sees through; left at 32, it does. */
        "-indvars-widen-indvars=false",
        /* Such counters step by the size of an element, so that the number of rounds takes a
         * subtraction and a shift. By default that is too dear, and inner loops of nests, whose
         * bounds the outer loop computes, are not unrolled. */
        "-scev-cheap-expansion-budget=12",
        /* A block that cannot be reached may otherwise have no code at all, and a branch to it,
         * never taken, leads out of the function. */
        "-trap-unreachable",
        "-no-trap-after-noreturn",
    };
    LLVMParseCommandLineOptions(sizeof arguments / sizeof arguments[0], arguments, NULL);
    return 0;
}

const char *lower_build_id(void)
{
    static char id[64];
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(id, sizeof id, "llvm %u.%u.%u lowering " LOWERING_REVISION, major, minor, patch);
    return id;
}

/* ---- target ---- */

/* Owned strings from LLVM; free with LLVMDisposeMessage. */
struct cpu {
    char *name, *features;
};

static struct cpu cpu_select(const struct compile_options *options)
{
    switch (options->cpu) {
    case CPU_V2: return (struct cpu){LLVMCreateMessage("x86-64-v2"), LLVMCreateMessage("")};
    case CPU_V4: return (struct cpu){LLVMCreateMessage("x86-64-v4"), LLVMCreateMessage("")};
    case CPU_NATIVE: return (struct cpu){LLVMGetHostCPUName(), LLVMGetHostCPUFeatures()};
    default: return (struct cpu){LLVMCreateMessage("x86-64-v3"), LLVMCreateMessage("")};
    }
}

static LLVMTargetMachineRef machine_create(const struct cpu *cpu, bool opt, struct error *e)
{
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(TRIPLE, &target, &message)) {
        error_set(e, ATOLL_ECOMPILE, "LLVM has no code generator for x86-64: %s", message);
        LLVMDisposeMessage(message);
        return NULL;
    }
    LLVMTargetMachineRef machine = LLVMCreateTargetMachine(
        target, TRIPLE, cpu->name, cpu->features,
        opt ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelNone, LLVMRelocPIC, LLVMCodeModelSmall);
    if (!machine)
        error_set(e, ATOLL_ECOMPILE, "LLVM cannot generate code for processor %s", cpu->name);
    return machine;
}

/* ---- the module of a shard ---- */

static LLVMAttributeRef plain_attribute(struct lowering *l, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    assert(kind != 0);
    return LLVMCreateEnumAttribute(l->context, kind, 0);
}

static LLVMAttributeRef text_attribute(struct lowering *l, const char *name, const char *value)
{
    return LLVMCreateStringAttribute(l->context, name, (unsigned)strlen(name), value,
                                     (unsigned)strlen(value));
}

/* What every function of generated code has, and why:
 *   no unwinder exists; backtraces walk frame pointers; frames larger than the guard touch every
 * page; nothing may refer to libc; guest address 0 is memory; runaway recursion must exhaust the
 * stack. */
static void attributes_create(struct lowering *l, const struct cpu *cpu)
{
    LLVMAttributeRef list[LOWER_ATTRIBUTES] = {
        plain_attribute(l, "nounwind"),
        plain_attribute(l, "null_pointer_is_valid"),
        text_attribute(l, "frame-pointer", "all"),
        text_attribute(l, "probe-stack", "inline-asm"),
        text_attribute(l, "no-builtins", ""),
        text_attribute(l, "disable-tail-calls", "true"),
        text_attribute(l, "target-cpu", cpu->name),
        text_attribute(l, "target-features", cpu->features),
    };
    memcpy(l->attributes, list, sizeof list);
    l->nomerge = plain_attribute(l, "nomerge");
}

static LLVMMetadataRef text_node(struct lowering *l, const char *text)
{
    return LLVMMDStringInContext2(l->context, text, strlen(text));
}

/* The access tag of one of the two leaves: linear memory never overlaps fields, tables or records.
 */
static LLVMValueRef tag_create(struct lowering *l, LLVMMetadataRef root, const char *leaf)
{
    LLVMMetadataRef zero = LLVMValueAsMetadata(lower_i64(l, 0));
    LLVMMetadataRef type =
        LLVMMDNodeInContext2(l->context, (LLVMMetadataRef[]){text_node(l, leaf), root, zero}, 3);
    LLVMMetadataRef tag =
        LLVMMDNodeInContext2(l->context, (LLVMMetadataRef[]){type, type, zero}, 3);
    return LLVMMetadataAsValue(l->context, tag);
}

static void metadata_create(struct lowering *l)
{
    LLVMMetadataRef name = text_node(l, "atoll");
    LLVMMetadataRef root = LLVMMDNodeInContext2(l->context, &name, 1);
    l->tag_memory = tag_create(l, root, "mem");
    l->tag_vm = tag_create(l, root, "vm");
    l->nothing_node = LLVMMetadataAsValue(l->context, LLVMMDNodeInContext2(l->context, NULL, 0));
    l->kind_tbaa = LLVMGetMDKindIDInContext(l->context, "tbaa", 4);
    l->kind_invariant = LLVMGetMDKindIDInContext(l->context, "invariant.load", 14);
}

static void module_flag(struct lowering *l, const char *name, uint32_t value)
{
    LLVMAddModuleFlag(l->llvm, LLVMModuleFlagBehaviorWarning, name, strlen(name),
                      LLVMValueAsMetadata(lower_i32(l, value)));
}

/* Debug information is only the carrier of wasm offsets: a line table, and nothing else. */
static void debug_create(struct lowering *l)
{
    /* DebugDirectivesOnly, which the C interface does not name: rows, but no debug entries. */
    const LLVMDWARFEmissionKind rows_only = (LLVMDWARFEmissionKind)3;
    module_flag(l, "Debug Info Version", LLVMDebugMetadataVersion());
    module_flag(l, "Dwarf Version", 4);
    l->debug = LLVMCreateDIBuilder(l->llvm);
    l->debug_file = LLVMDIBuilderCreateFile(l->debug, "wasm", 4, "", 0);
    LLVMDIBuilderCreateCompileUnit(l->debug, LLVMDWARFSourceLanguageC, l->debug_file, "", 0, true,
                                   "", 0, 0, "", 0, rows_only, 0, true, false, "", 0, "", 0);
    l->debug_type =
        LLVMDIBuilderCreateSubroutineType(l->debug, l->debug_file, NULL, 0, LLVMDIFlagZero);
}

static void types_create(struct lowering *l)
{
    l->i1 = LLVMInt1TypeInContext(l->context);
    l->i8 = LLVMInt8TypeInContext(l->context);
    l->i16 = LLVMInt16TypeInContext(l->context);
    l->i32 = LLVMInt32TypeInContext(l->context);
    l->i64 = LLVMInt64TypeInContext(l->context);
    l->f32 = LLVMFloatTypeInContext(l->context);
    l->f64 = LLVMDoubleTypeInContext(l->context);
    l->v128 = LLVMVectorType(l->i32, 4);
    l->pointer = LLVMPointerTypeInContext(l->context, 0);
    l->nothing = LLVMVoidTypeInContext(l->context);
    l->gate_type = LLVMFunctionType(l->nothing, (LLVMTypeRef[]){l->pointer, l->i32}, 2, false);
}

/* LLVM would print diagnostics; errors among them make it produce nothing or nonsense. */
static void diagnostic_receive(LLVMDiagnosticInfoRef diagnostic, void *failed)
{
    if (LLVMGetDiagInfoSeverity(diagnostic) == LLVMDSError)
        *(bool *)failed = true;
}

static void lowering_free(struct lowering *l)
{
    lower_sink_free(l);
    free(l->signatures);
    free(l->functions);
    if (l->debug)
        LLVMDisposeDIBuilder(l->debug);
    if (l->builder)
        LLVMDisposeBuilder(l->builder);
    if (l->llvm)
        LLVMDisposeModule(l->llvm);
    if (l->context)
        LLVMContextDispose(l->context);
    free(l);
}

static struct lowering *lowering_create(const struct wasm_module *m,
                                        const struct abi_layout *layout,
                                        const struct compile_options *options,
                                        const struct cpu *cpu, struct error *e)
{
    struct lowering *l = calloc(1, sizeof *l);
    if (!l)
        goto fail;
    l->module = m;
    l->layout = layout;
    l->options = options;
    l->bounded = options->link == LINK_OTHER;
    l->signatures = calloc(m->type_count + 1ull, sizeof *l->signatures);
    l->functions = calloc(m->function_count - m->imported_functions + 1ull, sizeof *l->functions);
    if (!l->signatures || !l->functions)
        goto fail;
    l->context = LLVMContextCreate();
    LLVMContextSetDiscardValueNames(l->context, true);
    l->llvm = LLVMModuleCreateWithNameInContext("shard", l->context);
    LLVMSetTarget(l->llvm, TRIPLE);
    l->builder = LLVMCreateBuilderInContext(l->context);
    types_create(l);
    attributes_create(l, cpu);
    metadata_create(l);
    debug_create(l);
    return l;

fail:
    error_set(e, ATOLL_ENOMEM, "no memory to begin compiling a module of %u functions",
              m->function_count);
    if (l)
        lowering_free(l);
    return NULL;
}

/* ---- from wasm to IR ---- */

static int bodies_lower(struct lowering *l, const struct shard *shard, struct error *e)
{
    struct wasm_validator *validator = wasm_validator_create();
    if (!validator)
        return error_set(e, ATOLL_ENOMEM, "no memory for a validator");
    struct wasm_sink sink = lower_sink(l);
    uint32_t features = 0;
    int rc = 0;
    /* Declared in order first: functions are emitted in the order of their declaration. */
    for (uint32_t i = 0; i < shard->count; i++)
        lower_declare(l, shard->first + i);
    for (uint32_t i = 0; i < shard->count && rc == 0; i++)
        rc = wasm_validate_function(l->module, validator, shard->first + i, &sink, &features, e);
    wasm_validator_destroy(validator);
    return rc;
}

static int shard_lower(struct lowering *l, const struct shard *shard, struct error *e)
{
    if (shard->thunks) {
        lower_bulk_routines(l);
        int rc = lower_thunks(l, e);
        if (rc < 0)
            return rc;
    }
    int rc = bodies_lower(l, shard, e);
    LLVMDIBuilderFinalize(l->debug);
    return rc;
}

/* ---- passes ---- */

/* A build with LOWER_VERIFY has LLVM check the IR as lowering leaves it. */
#ifdef LOWER_VERIFY
#define FIRST "verify,"
#else
#define FIRST ""
#endif
#define LIGHT "function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>)"

static int passes_run(struct lowering *l, LLVMTargetMachineRef machine, const char *passes,
                      struct error *e)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetSLPVectorization(options, true);
    LLVMErrorRef failure = LLVMRunPasses(l->llvm, passes, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!failure)
        return 0;
    char *message = LLVMGetErrorMessage(failure);
    error_set(e, ATOLL_ECOMPILE, "LLVM refused the passes \"%s\": %s", passes, message);
    LLVMDisposeErrorMessage(message);
    return e->code;
}

static bool loops_arrange(const struct lowering *l, LLVMValueRef function)
{
    bool wider = l->options->cpu != CPU_V2;
    if (!lower_jam(function) || (wider && !lower_widen(function)) || !lower_reroll(function) ||
        !lower_unroll(function))
        return false;
    lower_reverse(function);
    return true;
}

/* Weak functions are never looked into from outside: nothing is inferred across calls from here on,
 * so that calls whose results are unused, and with them traps, stay. */
static int functions_seal(struct lowering *l, bool opt, struct error *e)
{
    bool relax = l->options->mode == MODE_FAST && !l->bounded;
    for (LLVMValueRef f = LLVMGetFirstFunction(l->llvm); f; f = LLVMGetNextFunction(f)) {
        if (LLVMIsDeclaration(f))
            continue;
        if (relax && !lower_relax(f))
            return error_set(e, ATOLL_ENOMEM, "no memory to analyse a function's loads");
        if (relax && opt && !loops_arrange(l, f))
            return error_set(e, ATOLL_ENOMEM, "no memory to analyse a function's loops");
        LLVMSetLinkage(f, LLVMWeakAnyLinkage);
    }
    return 0;
}

static int shard_optimise(struct lowering *l, LLVMTargetMachineRef machine, bool opt,
                          struct error *e)
{
    int rc = passes_run(l, machine, opt ? FIRST LIGHT ",cgscc(inline)," LIGHT : FIRST LIGHT, e);
    if (rc < 0)
        return rc;
    rc = functions_seal(l, opt, e);
    if (rc < 0)
        return rc;
    return passes_run(l, machine, opt ? "default<O2>" : "function(dce)", e);
}

/* ---- the object ---- */

static int shard_emit(struct lowering *l, LLVMTargetMachineRef machine, struct buffer *object,
                      struct error *e)
{
    LLVMMemoryBufferRef memory = NULL;
    char *message = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, l->llvm, LLVMObjectFile, &message, &memory)) {
        error_set(e, ATOLL_ECOMPILE, "LLVM could not generate code: %s", message);
        LLVMDisposeMessage(message);
        return e->code;
    }
    size_t len = LLVMGetBufferSize(memory);
    bool kept = buffer_append(object, LLVMGetBufferStart(memory), len);
    LLVMDisposeMemoryBuffer(memory);
    if (!kept)
        return error_set(e, ATOLL_ENOMEM, "no memory for an object of %zu bytes", len);
    return 0;
}

static bool too_costly(const struct lowering *l, const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->count; i++)
        if (l->module->functions[shard->first + i].body.len > OPT_CODE_BYTES)
            return true;
    return l->largest_cost > OPT_COST;
}

static int shard_compile(struct lowering *l, const struct cpu *cpu, const struct shard *shard,
                         struct buffer *object, struct error *e)
{
    bool failed = false;
    LLVMContextSetDiagnosticHandler(l->context, diagnostic_receive, &failed);
    int rc = shard_lower(l, shard, e);
    if (rc < 0)
        return rc;
    bool opt = l->options->tier == TIER_OPT && !too_costly(l, shard);
    LLVMTargetMachineRef machine = machine_create(cpu, opt, e);
    if (!machine)
        return e->code;
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(l->llvm, layout);
    LLVMDisposeTargetData(layout);
    rc = shard_optimise(l, machine, opt, e);
    if (rc == 0)
        rc = shard_emit(l, machine, object, e);
    if (rc == 0 && failed)
        rc = error_set(e, ATOLL_ECOMPILE, "LLVM reported an error while generating code");
    LLVMDisposeTargetMachine(machine);
    return rc;
}

int lower_shard(const struct wasm_module *m, const struct abi_layout *layout,
                const struct compile_options *options, const struct shard *shard,
                struct buffer *object, struct error *e)
{
    struct cpu cpu = cpu_select(options);
    struct lowering *l = lowering_create(m, layout, options, &cpu, e);
    int rc = l ? shard_compile(l, &cpu, shard, object, e) : e->code;
    if (l)
        lowering_free(l);
    LLVMDisposeMessage(cpu.name);
    LLVMDisposeMessage(cpu.features);
    return rc;
}
