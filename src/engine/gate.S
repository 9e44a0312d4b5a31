/*
 * The gate: every crossing between host and guest.
 *
 * gate_code_start..gate_code_end is copied into the gate code page of each arena (one shared memory
 * file for the process); it is position independent and finds everything from its own address: the
 * context through the field at B - 16, host addresses in the data page after it. It knows neither
 * signatures nor conventions: arguments and results lie in call areas.
 *
 *   gate_call     guest -> host: a C function void (vm, number) to generated code
 *   gate_reenter  host -> guest, behind a finished host call      } restartable up to _end: the
 *   gate_enter    host -> guest, a fresh call through a thunk      } interrupt handler moves the
 *   gate_leave    guest -> host: pops what gate_enter pushed       } program counter to the start
 *
 * A restartable range begins with the test of the stop flag and ends with the jump into the guest.
 * Without it a stop request that arrives in between would be lost, and an endless loop never stop.
 *
 * Host stack at context.host_rsp:  mxcsr | r15 | r14 | r13 | r12 | rbx | rbp | return address.
 * Guest stack at context.guest_rsp behind gate_call:
 *                                  r15 | r14 | r13 | r12 | rbx | rbp | return address.
 */
#include "engine/gate.h"

#define CONTEXT(register) movq gate_code_start + GATE_TO_B - 16(%rip), register

/* Host leftovers in vector registers, keys among them, must reach neither a guest nor a captured
 * image. Context in rax; clobbers ecx. */
.macro CLEAR_VECTORS
    movl CONTEXT_VECTOR(%rax), %ecx
    ldmxcsr gate_mxcsr(%rip)
    cmpl $VECTOR_AVX, %ecx
    jb 1f
    je 2f
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vpxorq %zmm\n, %zmm\n, %zmm\n
    .endr
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    kxorw %k\n, %k\n, %k\n
    .endr
2:  vzeroall
    jmp 3f
1:  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pxor %xmm\n, %xmm\n
    .endr
3:
.endm

    .section .rodata.gate, "a", @progbits
    .balign 64
    .globl gate_code_start
gate_code_start:

/* void gate_call(vm: rdi, number: esi), at offset 0. */
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    CONTEXT(%rax)
    movq %rsp, CONTEXT_GUEST_RSP(%rax)
    movq CONTEXT_HOST_RSP(%rax), %rsp
    ldmxcsr (%rsp)
    cld
    movl %esi, %edx
    movq %rdi, %rsi
    movq %rax, %rdi
    callq *gate_code_start + GATE_DATA(%rip) /* dispatch(context, vm, number) */
    testl %eax, %eax
    jnz gate_leave

    .globl gate_reenter
gate_reenter: /* ---- restartable ---- */
    CONTEXT(%rax)
    cmpl $0, CONTEXT_STOP(%rax)
    jne gate_stop_at_gate
    movq CONTEXT_GUEST_RSP(%rax), %rsp
    CLEAR_VECTORS
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq
    .globl gate_reenter_end
gate_reenter_end:

gate_stop_at_gate:
    movq CONTEXT_HOST_RSP(%rax), %rsp
    movl $LEAVE_AT_GATE, %eax
    jmp gate_leave

/* int gate_enter(context: rdi): a LEAVE_ status. Everything else stands in the context. */
    .balign 16
    .globl gate_enter
gate_enter:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    movq %rsp, CONTEXT_HOST_RSP(%rdi)

    .globl gate_enter_range
gate_enter_range: /* ---- restartable ---- */
    CONTEXT(%rax)
    cmpl $0, CONTEXT_STOP(%rax)
    jne gate_stop_at_enter
    movq CONTEXT_GUEST_RSP(%rax), %rsp
    CLEAR_VECTORS
    movq CONTEXT_VM(%rax), %rdi
    movq CONTEXT_CODE(%rax), %rsi
    movq CONTEXT_AREA(%rax), %rdx
    movq CONTEXT_THUNK(%rax), %rax
    xorl %ebp, %ebp
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    callq *%rax
    .globl gate_enter_range_end
gate_enter_range_end:
    CONTEXT(%rax)
    movq CONTEXT_HOST_RSP(%rax), %rsp
    xorl %eax, %eax
    jmp gate_leave

gate_stop_at_enter:
    movq CONTEXT_HOST_RSP(%rax), %rsp
    movl $LEAVE_AT_ENTER, %eax

/* Status in eax, stack pointer = context.host_rsp. Signal handlers come here to end guest code. */
    .globl gate_leave
gate_leave:
    ldmxcsr (%rsp)
    cld
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    retq

/* int gate_return(context: rdi): continues behind the host call that suspended the guest. */
    .balign 16
    .globl gate_return
gate_return:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    movq %rsp, CONTEXT_HOST_RSP(%rdi)
    jmp gate_reenter

    .balign 4
gate_mxcsr: /* all exceptions masked, round to nearest, no flush to zero */
    .long 0x1f80
    .globl gate_code_end
gate_code_end:

/* ---- host code ---- */
    .text

/* int context_raise(context: rdi, void (*raise)(void): rsi): a LEAVE_ status. Like gate_enter, but the
 * guest's registers come from the signal that raise() sends to this thread. */
    .balign 16
    .globl context_raise
    .type context_raise, @function
context_raise:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    movq %rsp, CONTEXT_HOST_RSP(%rdi)
    callq *%rsi
    ud2 /* the handler never lets raise() return */
    .size context_raise, . - context_raise

/* int guest_copy(void *to, const void *from, size_t len): 0, or -1 when a page was not accessible; the
 * fault handler moves the program counter to guest_copy_fault. */
    .balign 16
    .globl guest_copy
    .type guest_copy, @function
guest_copy:
    movq %rdx, %rcx
    rep movsb
    xorl %eax, %eax
    retq
    .globl guest_copy_end
guest_copy_end:
    .globl guest_copy_fault
guest_copy_fault:
    movl $-1, %eax
    retq
    .size guest_copy, . - guest_copy

/* Restorer of the signal handlers, which are installed with the system call itself so that no
 * sanitizer's interceptor delays them. */
    .balign 16
    .globl signal_restorer
    .type signal_restorer, @function
signal_restorer:
    movl $15, %eax /* rt_sigreturn */
    syscall
    .size signal_restorer, . - signal_restorer

    .section .note.GNU-stack, "", @progbits
