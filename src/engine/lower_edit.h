/* Small changes of a function's IR that several steps of lowering make. */
#ifndef ENGINE_LOWER_EDIT_H
#define ENGINE_LOWER_EDIT_H

#include <llvm-c/Core.h>

/* Remakes the phis of a block so that what came from one block comes from another. The builder is
 * moved. */
void edit_phis_redirect(LLVMBuilderRef, LLVMBasicBlockRef block, LLVMBasicBlockRef from,
                        LLVMBasicBlockRef to);

/* A loop of one block, and another that does the same when a condition holds:
 *
 *   before ──▶ check ──no──▶ old ⟲ ──┐
 *                └─────yes─▶ body ⟲ ─┴─▶ leave ──▶ exit
 */
struct edit_loops {
    LLVMBuilderRef builder;
    LLVMBasicBlockRef before, check, old, body, leave, exit;
};

/* In this order. Body and its branch are written already, check lacks only its branch, leave is
 * empty. Joining makes both loops meet; what code behind uses of the old one's values then comes
 * from whichever ran; entering remakes the old one's phis. */
void edit_loops_join(const struct edit_loops *);
void edit_value_lead_out(const struct edit_loops *, LLVMValueRef value, LLVMValueRef in_body);
void edit_loops_enter(const struct edit_loops *, LLVMValueRef condition);

#endif
