/* Random bytes of the kernel, without a system call for every few of them. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

/*
 * Fills in len bytes. 0, or -ATOLL_EUNAVAIL when the kernel gives none. Small requests are served
 * from a buffer of the calling thread; bytes are erased from it as they are given, and a child
 * process of fork starts with an empty one, so none is given twice.
 */
int random_bytes(void *to, size_t len);
/* Forgets what this thread has in store. Before its memory is kept or copied anywhere. */
void random_drop(void);

#endif
