/* Short loops around loops; see lower_unroll.c. */
#ifndef ENGINE_LOWER_UNROLL_H
#define ENGINE_LOWER_UNROLL_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* Marks loops of a function for LLVM's full unrolling. It runs before the main passes. False when
 * memory is exhausted. */
bool lower_unroll(LLVMValueRef function);

#endif
