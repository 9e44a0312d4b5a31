/* What an instruction of a function's IR may be, for the steps of lowering that move, copy or drop
 * instructions: lower_nest.c, lower_relax.c, lower_reroll_match.c, lower_widen.c. */
#ifndef ENGINE_LOWER_INSTRUCTION_H
#define ENGINE_LOWER_INSTRUCTION_H

#include <llvm-c/Core.h>
#include <stdbool.h>
#include <stddef.h>

/* Computes from its operands alone and never traps: arithmetic, comparisons, conversions, choices.
 * Divisions of integers are not among them. */
bool opcode_is_arithmetic(LLVMOpcode);
/* Whether a value is a call of one of these intrinsics ("llvm.sqrt"). */
bool value_calls_intrinsic(LLVMValueRef, const char *const *names, size_t count);

#endif
