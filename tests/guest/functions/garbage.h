/* What garbage.c and those who write its input agree on. */
#ifndef TESTS_GARBAGE_H
#define TESTS_GARBAGE_H

#include <stdint.h>

#define GARBAGE_FAIL  7  /* the function that ends the call */
#define GARBAGE_KINDS 10 /* of values */
#define GARBAGE_RAW   0  /* the kind that takes 8 bytes, the others take 2 */

/* How many parameters each function has. */
static const uint8_t garbage_parameters[] = {
    1, 0, 3, 1, 2, 2, 2, 3, 3, 4, 2, 3,    /* the call */
    6, 5, 7, 5, 4, 2, 1, 1,                /* chaining */
    4, 1, 1, 2, 2, 5, 1, 4, 4, 3, 4, 4, 5, /* state_open … state_push */
    3, 6, 1, 4, 2, 2, 6,                   /* state_append … state_list */
    4, 9,                                  /* objects */
    5, 2, 3, 5, 4, 2, 3, 4, 4, 2, 1,       /* memory, sockets, system */
    2,                                     /* storing 8 bytes */
};

#endif
