/* A loop written again beside itself, for when it is known to be harmless; see lower_twin.c. */
#ifndef ENGINE_LOWER_TWIN_H
#define ENGINE_LOWER_TWIN_H

#include "engine/lower_loop.h"

#define TWIN_ACCESSES 24u
#define TWIN_ZEROS    8u

/* A load or store of the twin at start + stride * index, where start is offset + the sum as it is
 * before the first round. */
struct twin_access {
    uint32_t number; /* in the loop */
    struct sum sum;
    LLVMValueRef base, start; /* start: an i64 */
    int64_t offset;
    int32_t stride; /* per round of the twin */
    uint32_t size;
    bool store;
};

struct twin {
    struct loop *loop;
    uint32_t copies; /* rounds of the twin for one of the loop */
    struct twin_access accesses[TWIN_ACCESSES];
    uint32_t access_count;
    struct sum zeros[TWIN_ZEROS]; /* what must be 0 before the first round */
    uint32_t zero_count;
    struct sum difference; /* the loop ends after the round in which this is 0, */
    uint32_t step;         /* and by which it grows per round */

    LLVMContextRef context;
    LLVMBuilderRef builder;
    LLVMBasicBlockRef check, body, leave;
    LLVMValueRef rounds;      /* of the loop, an i64 */
    LLVMValueRef index, end;  /* of the twin, i64s */
    LLVMValueRef memory_size; /* an i64 */
    LLVMValueRef fine;        /* all checks so far */
    LLVMValueRef loop_id;
    LLVMValueRef left[LOOP_INSTRUCTIONS];
};

/* In this order; nothing is changed before twin_open. The twin holds no memory but between open and
 * close, and refers to the loop. */
void twin_begin(struct twin *, struct loop *, uint32_t copies);
/* The twin will load or store `size` bytes for the loop's load or store of that number, and move by
 * an equal part of what that moves per round. NULL when the address is not of the form. */
const struct twin_access *twin_add_access(struct twin *, uint32_t number, uint32_t size);
/* Makes the twin depend on a sum that does not change in the loop: it must be 0. False: too many.
 */
bool twin_add_zero(struct twin *, const struct sum *);
/* Whether it is known when the loop ends, and whether the checks may hold. */
bool twin_is_possible(struct twin *);
/* Writes the checks. The builder is left in the twin's body, for the caller to write phis with
 * values from `check` and `body`, and a round. */
void twin_open(struct twin *);
/* Ends the body. What code behind uses of the loop's values and is no sum must be in `left`. */
void twin_close(struct twin *);

/* While the body is being written. */
LLVMValueRef twin_load(struct twin *, uint32_t number, LLVMTypeRef);
void twin_store(struct twin *, uint32_t number, LLVMValueRef value);
/* What a phi that counts is in copy 0 of a round; all steps are multiples of `copies`. */
LLVMValueRef twin_counter(struct twin *, uint32_t phi);

#endif
