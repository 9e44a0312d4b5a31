/* Small changes of a function's IR that several steps of lowering make. */
#ifndef ENGINE_LOWER_EDIT_H
#define ENGINE_LOWER_EDIT_H

#include <llvm-c/Core.h>

/* Remakes the phis of a block so that what came from one block comes from another. The builder is
 * moved. */
void edit_phis_redirect(LLVMBuilderRef, LLVMBasicBlockRef block, LLVMBasicBlockRef from,
                        LLVMBasicBlockRef to);

#endif
