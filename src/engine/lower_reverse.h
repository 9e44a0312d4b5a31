/* Loops that walk memory both ways; see lower_reverse.c. */
#ifndef ENGINE_LOWER_REVERSE_H
#define ENGINE_LOWER_REVERSE_H

#include <llvm-c/Core.h>

/* Makes loops of a function that walk memory in both directions fit for vectors. It runs after
 * lower_relax and before the main passes. */
void lower_reverse(LLVMValueRef function);

#endif
