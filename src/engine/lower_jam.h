/* Rounds of an outer loop side by side; see lower_jam.c. */
#ifndef ENGINE_LOWER_JAM_H
#define ENGINE_LOWER_JAM_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* Unrolls and jams the nests of a function whose inner loops wait for their own last result. It
 * runs after lower_relax and before lower_reverse and the main passes. False when memory is
 * exhausted; the function is then still right. */
bool lower_jam(LLVMValueRef function);

#endif
