/* Examining an LMDB file before LMDB maps it. */
#ifndef STORE_STRUCTURE_H
#define STORE_STRUCTURE_H

#include "base/error.h"

/*
 * Reads the whole tree of the store in this directory, as the newer of its head pages has it: that
 * every page it leads to lies in the file, is of the kind expected there and is led to only once;
 * that what a page says of itself lies within the page; that keys ascend; that lists of free pages
 * are well formed and name no page in use. LMDB trusts all of that: with a damaged page it may read
 * outside of its map or end the process. Costs about one read of every page that is not a large
 * value's. -ATOLL_ECORRUPT with the reason; -ATOLL_ETYPE: no LMDB file; -ATOLL_EUNSUPPORTED.
 */
int structure_check(const char *directory, struct error *);

#endif
