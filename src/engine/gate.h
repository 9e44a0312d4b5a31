/*
 * What gate.S and the C runtime agree on: offsets in struct context, and the statuses with which
 * control leaves the guest. Included by the assembler, so definitions only.
 */
#ifndef ENGINE_GATE_H
#define ENGINE_GATE_H

#define CONTEXT_HOST_RSP  0
#define CONTEXT_GUEST_RSP 8
#define CONTEXT_STOP      16
#define CONTEXT_VECTOR    20
#define CONTEXT_THUNK     24
#define CONTEXT_VM        32
#define CONTEXT_CODE      40
#define CONTEXT_AREA      48

/* CONTEXT_VECTOR: which registers hold leftovers that a return to the guest must clear. */
#define VECTOR_SSE    0
#define VECTOR_AVX    1
#define VECTOR_AVX512 2

#define LEAVE_DONE        0
#define LEAVE_TRAP        1
#define LEAVE_EXIT        2
#define LEAVE_INTERRUPTED 3 /* at an instruction of the guest: registers saved */
#define LEAVE_AT_GATE     4 /* a finished host call is about to return */
#define LEAVE_AT_ENTER    5 /* the guest has not started */
#define LEAVE_PARKED      6 /* a host call waits */

/* B - address of the gate code page (ARENA_BASE - ARENA_GATE), and the data page's place. */
#define GATE_TO_B 0x20100000
#define GATE_DATA 4096

#endif
