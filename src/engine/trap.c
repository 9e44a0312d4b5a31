/*
 * Signal handlers: hardware faults of guest code become traps, and a thread-directed signal stops
 * or resumes a guest at any instruction.
 *
 * A handler never jumps between stacks: it rewrites the frame it will return to (program counter,
 * stack pointer, status in rax) and returns, so that the kernel restores mask and alternate stack.
 * Guest code ends at gate_leave with the host stack that gate_enter left behind.
 *
 * Handlers are installed with the system call itself: interceptors of sanitizers postpone signals
 * to the next call of the C library, which an endless guest loop never makes.
 */
#define _GNU_SOURCE
#include "engine/arena.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#define HANDLER_STACK (48u << 10) /* beyond what the kernel's frame needs */
#define PAGE          4096u

/* The handlers read memory that no C object owns and run at any instruction. */
#define HANDLER __attribute__((no_sanitize("address", "thread", "undefined")))

struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
#define KERNEL_SA_RESTORER 0x04000000ul

void signal_restorer(void);
extern const char guest_copy_end[], guest_copy_fault[];

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct kernel_sigaction previous_actions[65];
static int kick_signal;

/* What this thread runs. Initial-exec: the handler may not allocate. */
static _Thread_local struct arena *current_arena __attribute__((tls_model("initial-exec")));

HANDLER __attribute__((noinline)) static struct arena *arena_of_thread(void)
{
    return current_arena;
}

/* This thread's number in the system, 0 before it was asked for and in a child after fork. */
static _Thread_local int thread_number;

static void thread_number_forget(void)
{
    thread_number = 0;
}

static int thread_number_get(void)
{
    if (!thread_number)
        thread_number = (int)syscall(SYS_gettid);
    return thread_number;
}

struct arena *signals_enter_arena(struct arena *a)
{
    struct arena *previous = current_arena;
    if (previous && previous != a)
        atomic_store(&previous->context.runner, 0);
    current_arena = a;
    if (a)
        atomic_store(&a->context.runner, thread_number_get());
    return previous;
}

void signals_leave_arena(struct arena *previous)
{
    struct arena *a = current_arena;
    if (a && a != previous)
        atomic_store(&a->context.runner, 0);
    current_arena = previous;
    if (previous)
        atomic_store(&previous->context.runner, thread_number_get());
}

/* The stop signal is blocked on this thread until the host lets go of it. */
static _Thread_local bool kick_held __attribute__((tls_model("initial-exec")));

/*
 * A thread that signals itself may stand in a handler of some other signal that interrupted the
 * guest. The stop signal must not arrive there, where it would find the handler instead of the
 * guest: it is blocked first. The handler's return restores the mask of the guest, and with it the
 * signal arrives at the guest's instruction. Host code that is in no handler lets go at its next
 * step towards the guest, where the stop flag is tested anyway.
 */
void signals_kick(int thread)
{
    int saved = errno;
    if (thread == (int)syscall(SYS_gettid)) {
        uint64_t kick = 1ull << (kick_signal - 1);
        kick_held = true;
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, &kick, NULL, sizeof kick);
    }
    syscall(SYS_tgkill, getpid(), thread, kick_signal);
    errno = saved;
}

void signals_release_kick(void)
{
    if (!kick_held)
        return;
    uint64_t kick = 1ull << (kick_signal - 1);
    kick_held = false;
    syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &kick, NULL, sizeof kick);
}

void signals_hold_kick(sigset_t *before)
{
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, kick_signal);
    pthread_sigmask(SIG_BLOCK, &kick, before);
}

/* ---- registers of a signal frame ---- */

static const int general_order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                      REG_R12, REG_R13, REG_R14, REG_R15};

#define FRAME_MAGIC1       0x46505853u /* behind the legacy area: an XSAVE image follows */
#define FRAME_MAGIC_OFFSET 464
#define FRAME_LEGACY_BYTES 512
#define FLAGS_USER         0x0cd5ull /* CF PF AF ZF SF DF OF … */
#define FLAGS_KEPT         0x08d5ull /* of a guest: CF PF AF ZF SF OF */

/* Bytes of vector state in the frame: the legacy area, or the whole XSAVE image. */
HANDLER static uint32_t frame_vector_bytes(const uint8_t *fpregs)
{
    uint32_t xsave_size;
    if (load_u32(fpregs + FRAME_MAGIC_OFFSET) != FRAME_MAGIC1)
        return FRAME_LEGACY_BYTES;
    memcpy(&xsave_size, fpregs + FRAME_MAGIC_OFFSET + 16, sizeof xsave_size);
    return xsave_size;
}

/* Where this thread's handler puts the vector registers: idle arenas need no room for them. */
static _Thread_local uint8_t *thread_xsave __attribute__((tls_model("initial-exec")));
static uint32_t xsave_max;

HANDLER static void registers_save(struct context *c, const ucontext_t *frame)
{
    struct guest_registers *r = &c->registers;
    for (int i = 0; i < 16; i++)
        r->general[i] = (uint64_t)frame->uc_mcontext.gregs[general_order[i]];
    r->rip = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    r->rflags = (uint64_t)frame->uc_mcontext.gregs[REG_EFL];
    const uint8_t *fpregs = (const uint8_t *)frame->uc_mcontext.fpregs;
    uint32_t len = frame_vector_bytes(fpregs);
    r->xsave_len = len <= xsave_max ? len : FRAME_LEGACY_BYTES;
    memcpy(thread_xsave, fpregs, r->xsave_len);
    c->registers_fresh = true;
}

HANDLER static void registers_load(const struct context *c, ucontext_t *frame)
{
    const struct guest_registers *r = &c->registers;
    for (int i = 0; i < 16; i++)
        frame->uc_mcontext.gregs[general_order[i]] = (greg_t)r->general[i];
    frame->uc_mcontext.gregs[REG_RIP] = (greg_t)r->rip;
    uint64_t flags = (uint64_t)frame->uc_mcontext.gregs[REG_EFL] & ~FLAGS_USER;
    frame->uc_mcontext.gregs[REG_EFL] = (greg_t)(flags | (r->rflags & FLAGS_KEPT));
    uint8_t *fpregs = (uint8_t *)frame->uc_mcontext.fpregs;
    if (r->xsave_len > FRAME_LEGACY_BYTES && frame_vector_bytes(fpregs) >= r->xsave_len) {
        /* The frame's own software bytes (sizes, magic) stay; XSTATE_BV comes with the state. */
        uint8_t software[48];
        memcpy(software, fpregs + FRAME_MAGIC_OFFSET, sizeof software);
        memcpy(fpregs, r->xsave, r->xsave_len);
        memcpy(fpregs + FRAME_MAGIC_OFFSET, software, sizeof software);
    } else {
        memcpy(fpregs, r->xsave, FRAME_MAGIC_OFFSET);
    }
}

HANDLER static void frame_leave(struct context *c, ucontext_t *frame, int status)
{
    frame->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)arena_gate(c->arena, gate_leave);
    frame->uc_mcontext.gregs[REG_RSP] = (greg_t)c->host_rsp;
    frame->uc_mcontext.gregs[REG_RAX] = status;
    frame->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)FLAGS_USER;
}

/* ---- where a program counter is ---- */

HANDLER static bool in_images(const struct arena *a, uint64_t pc)
{
    uint64_t slot = (uint64_t)(uintptr_t)a->base - ARENA_BASE;
    return pc >= slot + ARENA_IMAGES && pc < slot + a->images_end;
}

HANDLER static bool in_gate(const struct arena *a, uint64_t pc)
{
    return pc - (uint64_t)(uintptr_t)(a->base + GATE_FROM_B) < GATE_DATA;
}

/* The start of the restartable range that holds pc, or 0. */
HANDLER static uint64_t restart_of(const struct arena *a, uint64_t pc)
{
    uint64_t gate = (uint64_t)(uintptr_t)(a->base + GATE_FROM_B);
    uint64_t at = pc - gate;
    if (at >= (uint64_t)(gate_reenter - gate_code_start) &&
        at < (uint64_t)(gate_reenter_end - gate_code_start))
        return gate + (uint64_t)(gate_reenter - gate_code_start);
    if (at >= (uint64_t)(gate_enter_range - gate_code_start) &&
        at < (uint64_t)(gate_enter_range_end - gate_code_start))
        return gate + (uint64_t)(gate_enter_range - gate_code_start);
    return 0;
}

/* ---- faults ---- */

/* ud1 kind(%eax),%eax, as llvm.ubsantrap is emitted; 0 when it is something else. */
HANDLER static enum trap_kind trap_of_instruction(const struct arena *a, uint64_t pc)
{
    const uint8_t *code = (const uint8_t *)pc;
    if (!in_images(a, pc + 5))
        return TRAP_NONE;
    if (*code == 0x67)
        code++;
    if (code[0] == 0x0f && code[1] == 0xb9 && code[2] == 0x40 && code[3] < TRAP_ENGINE)
        return (enum trap_kind)code[3];
    return TRAP_NONE;
}

HANDLER static bool in_stack_guard(const struct arena *a, uint64_t address)
{
    uint64_t low = (uint64_t)(uintptr_t)a->stack_low;
    return address < low && address >= low - ARENA_GUARD;
}

HANDLER static enum trap_kind trap_of_address(const struct arena *a, int signal, uint64_t address)
{
    if (in_stack_guard(a, address))
        return TRAP_STACK_EXHAUSTED;
    uint64_t offset = address - (uint64_t)(uintptr_t)a->base;
    if (offset >= (4ull << 30) + ARENA_MEMORY_GUARD)
        return TRAP_ENGINE;
    if (offset <= UINT32_MAX && arena_region_at(a, (uint32_t)offset, 1))
        return signal == SIGBUS ? TRAP_LOST_REGION : TRAP_READ_ONLY_REGION;
    return TRAP_MEMORY_BOUNDS;
}

HANDLER static void fault_trap(struct arena *a, int signal, const siginfo_t *info,
                               ucontext_t *frame)
{
    struct context *c = &a->context;
    c->trap_pc = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    c->trap_rsp = (uint64_t)frame->uc_mcontext.gregs[REG_RSP];
    c->trap_rbp = (uint64_t)frame->uc_mcontext.gregs[REG_RBP];
    c->trap_address = (uint64_t)(uintptr_t)info->si_addr;
    if (signal == SIGSEGV || signal == SIGBUS)
        c->trap_kind = trap_of_address(a, signal, c->trap_address);
    else
        c->trap_kind = signal == SIGILL ? trap_of_instruction(a, c->trap_pc) : TRAP_NONE;
    if (c->trap_kind == TRAP_NONE)
        c->trap_kind = TRAP_ENGINE;
    frame_leave(c, frame, LEAVE_TRAP);
}

/* By kill and the like, not by an instruction. */
HANDLER static bool was_sent(const siginfo_t *info)
{
    return info->si_code <= 0;
}

/* A fault that is not the guest's: the handler that was there before us, or the default action. */
HANDLER static void fault_chain(int signal, siginfo_t *info, void *context)
{
    const struct kernel_sigaction *previous = &previous_actions[signal];
    if ((uintptr_t)previous->handler > 1) {
        if (previous->flags & SA_SIGINFO)
            previous->handler(signal, info, context);
        else
            ((void (*)(int))(uintptr_t)previous->handler)(signal);
        return;
    }
    struct kernel_sigaction fallback = {.flags = KERNEL_SA_RESTORER, .restorer = signal_restorer};
    syscall(SYS_rt_sigaction, signal, &fallback, NULL, sizeof fallback.mask);
    /* The faulting instruction runs again, now fatally; one that was sent is sent again. */
    if (was_sent(info))
        syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), signal);
}

HANDLER static void on_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *frame = context;
    uint64_t pc = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    if (pc - (uint64_t)(uintptr_t)guest_copy <
        (uint64_t)(guest_copy_end - (const char *)(uintptr_t)guest_copy)) {
        frame->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)guest_copy_fault;
        return;
    }
    struct arena *a = arena_of_thread();
    if (a && a->context.depth && !was_sent(info)) {
        bool overflow_at_gate = signal == SIGSEGV && in_gate(a, pc) &&
                                in_stack_guard(a, (uint64_t)(uintptr_t)info->si_addr);
        if (in_images(a, pc) || overflow_at_gate) {
            fault_trap(a, signal, info, frame);
            return;
        }
    }
    fault_chain(signal, info, context);
}

/* ---- interruption ---- */

HANDLER static void on_kick(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    struct arena *a = arena_of_thread();
    if (!a || !a->context.depth)
        return; /* a late signal for an arena that has left this thread */
    struct context *c = &a->context;
    ucontext_t *frame = context;
    uint64_t pc = (uint64_t)frame->uc_mcontext.gregs[REG_RIP];
    if (c->resuming) {
        c->resuming = false;
        if (atomic_load(&c->stop))
            frame_leave(c, frame, LEAVE_INTERRUPTED);
        else
            registers_load(c, frame);
        return;
    }
    if (!atomic_load(&c->stop))
        return;
    if (in_images(a, pc)) {
        registers_save(c, frame);
        frame_leave(c, frame, LEAVE_INTERRUPTED);
        return;
    }
    uint64_t restart = in_gate(a, pc) ? restart_of(a, pc) : 0;
    if (restart)
        frame->uc_mcontext.gregs[REG_RIP] = (greg_t)restart;
    /* Else host code or the way out: the stop flag is tested before the guest runs again. */
}

static void raise_kick(void)
{
    syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), kick_signal);
}

int context_raise(struct context *, void (*raise_signal)(void));

uint32_t signals_xsave_max(void)
{
    return xsave_max;
}

int signals_reserve_vectors(struct context *c)
{
    if (!c->registers.xsave)
        c->registers.xsave = aligned_alloc(64, xsave_max);
    return c->registers.xsave ? 0 : -ATOLL_ENOMEM;
}

int signals_keep_vectors(struct context *c)
{
    if (!c->registers_fresh)
        return 0; /* stopped again before it ran: they are the context's already */
    if (signals_reserve_vectors(c) < 0)
        return -ATOLL_ENOMEM;
    memcpy(c->registers.xsave, thread_xsave, c->registers.xsave_len);
    c->registers_fresh = false;
    return 0;
}

int signals_resume(struct context *c)
{
    c->resuming = true;
    return context_raise(c, raise_kick);
}

/* ---- installation ---- */

static int handler_install(int signal, void (*handler)(int, siginfo_t *, void *), struct error *e)
{
    uint64_t mask = 1ull << (kick_signal - 1);
    for (size_t i = 0; i < sizeof fault_signals / sizeof *fault_signals; i++)
        mask |= 1ull << (fault_signals[i] - 1);
    struct kernel_sigaction action = {
        .handler = handler,
        .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | KERNEL_SA_RESTORER,
        .restorer = signal_restorer,
        .mask = mask,
    };
    struct kernel_sigaction previous;
    if (syscall(SYS_rt_sigaction, signal, &action, &previous, sizeof action.mask) != 0)
        return error_set_errno(e, ATOLL_EUNAVAIL, "cannot install the handler of signal %d",
                               signal);
    if (previous.handler != handler) /* else faults that are not ours would go round in a circle */
        previous_actions[signal] = previous;
    return 0;
}

static pthread_key_t handler_stack_key;

static void handler_stack_free(void *stack)
{
    stack_t off = {.ss_flags = SS_DISABLE}, was;
    if (sigaltstack(&off, &was) == 0 && was.ss_sp == (char *)stack + PAGE)
        munmap(stack, PAGE + was.ss_size + align_up(xsave_max, PAGE));
}

int signals_initialize(struct error *e)
{
    kick_signal = SIGRTMIN + 5;
    unsigned eax, ebx = 0, ecx, edx;
    __cpuid_count(0xd, 0, eax, ebx, ecx, edx); /* ebx: what XCR0 enables now */
    xsave_max = (uint32_t)align_up((ebx > FRAME_LEGACY_BYTES ? ebx : FRAME_LEGACY_BYTES) + 64, 64);
    if (pthread_key_create(&handler_stack_key, handler_stack_free) != 0 ||
        pthread_atfork(NULL, NULL, thread_number_forget) != 0)
        return error_set(e, ATOLL_ENOMEM, "no thread-specific key for signal stacks");
    return signals_install(e);
}

int signals_install(struct error *e)
{
    int rc = handler_install(kick_signal, on_kick, e);
    for (size_t i = 0; rc == 0 && i < sizeof fault_signals / sizeof *fault_signals; i++)
        rc = handler_install(fault_signals[i], on_fault, e);
    return rc;
}

int signals_prepare_thread(struct error *e)
{
    static _Thread_local bool prepared;
    if (prepared)
        return 0;
    size_t frame = (size_t)getauxval(AT_MINSIGSTKSZ);
    size_t size = align_up((frame ? frame : 4096) + HANDLER_STACK, PAGE);
    size_t mapped = PAGE + size + align_up(xsave_max, PAGE);
    char *stack =
        mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, PAGE, PROT_NONE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a signal stack");
    stack_t alternate = {.ss_sp = stack + PAGE, .ss_size = size};
    if (sigaltstack(&alternate, NULL) != 0) {
        munmap(stack, mapped);
        return error_set_errno(e, ATOLL_EUNAVAIL, "cannot set the signal stack");
    }
    pthread_setspecific(handler_stack_key, stack);
    thread_xsave = (uint8_t *)stack + PAGE + size; /* behind the stack */
    prepared = true;
    return 0;
}
