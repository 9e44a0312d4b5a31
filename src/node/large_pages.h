/*
 * Large pages for large values.
 *
 * A function that maps a value of state pays for each page that it touches: a fault, an entry of
 * the page table, and the removal of that entry when its call has ended. With pages of 2 MiB this
 * is a small fraction. The kernel gives memory files small pages unless the whole system is set
 * otherwise, but exchanges them on request (MADV_COLLAPSE, Linux 6.1). A thread of low priority
 * makes this request for values that were handed to a worker, as soon as they have been filled.
 *
 * Nothing depends on it: where the kernel does not do it, things are as they were.
 */
#ifndef NODE_LARGE_PAGES_H
#define NODE_LARGE_PAGES_H

#include "base/error.h"

struct large_pages;

int large_pages_create(struct large_pages **out, struct error *);
void large_pages_destroy(struct large_pages *); /* NULL is fine */
/* A worker gets this memory file, which stays the caller's. It is looked at for
 * LARGE_PAGES_WAIT_NS: its memory lives that much longer than its owner wants, at most. At most
 * LARGE_PAGES_FILES are looked at; further ones are not. Loop thread. */
#define LARGE_PAGES_WAIT_NS 20000000000ll
#define LARGE_PAGES_FILES   16u
void large_pages_offer(struct large_pages *, int fd);

#endif
