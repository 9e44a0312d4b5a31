/* Loops over 128-bit vectors for the processor's wider ones; see lower_widen.c. */
#ifndef ENGINE_LOWER_WIDEN_H
#define ENGINE_LOWER_WIDEN_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* False when memory is exhausted. */
bool lower_widen(LLVMValueRef function);

#endif
