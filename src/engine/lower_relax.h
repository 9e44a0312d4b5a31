/* Lifts `volatile` from loads whose value is certainly needed; lower_relax.c says what that means.
 */
#ifndef ENGINE_LOWER_RELAX_H
#define ENGINE_LOWER_RELAX_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* For every function of a shard in mode "fast", after the light passes and inlining. False when
 * memory is exhausted: the function is then as it was. */
bool lower_relax(LLVMValueRef function);

#endif
