/* Loops that the guest's compiler unrolled, short again; see lower_reroll.c. */
#ifndef ENGINE_LOWER_REROLL_H
#define ENGINE_LOWER_REROLL_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* False when memory is exhausted. */
bool lower_reroll(LLVMValueRef function);

#endif
