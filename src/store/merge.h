/* The arithmetic of commits: how new bytes meet the bytes that are there (gt.h, enum gt_merge). */
#ifndef STORE_MERGE_H
#define STORE_MERGE_H

#include "store/gt.h"

/* Size in bytes of the numbers that a merge works on; 1 for GT_SET and GT_XOR, 0 for no merge. */
size_t merge_unit(enum gt_merge);

/* target := target ⊕ bytes; len is a multiple of the unit. The two do not overlap. */
void merge_apply(enum gt_merge, uint8_t *target, const uint8_t *bytes, size_t len);

#endif
