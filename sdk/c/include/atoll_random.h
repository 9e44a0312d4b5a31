/*
 * Random numbers for guests, beside rand and random of <stdlib.h>; sdk/c/src/random.c says how
 * these behave across restores. Only for WebAssembly: a host has its own.
 */
#ifndef ATOLL_RANDOM_H
#define ATOLL_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fit for keys. wasi-libc does not have them. */
uint32_t arc4random(void);
uint32_t arc4random_uniform(uint32_t bound); /* below bound */
void arc4random_buf(void *bytes, size_t len);

/* Seeds rand and random anew if the program has seeded them: for an atoll_on_restore of one's own.
 */
void atoll_reseed(void);

#endif
