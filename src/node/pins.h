/*
 * What names of hosts have been found to mean: pairs of name and address, so that a worker can be
 * held to addresses that the supervisor itself has looked up for a name of a manifest.
 *
 * A pair lasts until PINS_MAX newer ones were added; adding it again makes it new. Not thread-safe.
 */
#ifndef NODE_PINS_H
#define NODE_PINS_H

#include "node/address.h"

#define PINS_MAX 16384u

struct pins;

/* NULL without memory. */
struct pins *pins_create(void);
void pins_destroy(struct pins *);
/* Without memory it is as if the name had not been looked up. Names are compared without case. */
void pins_add(struct pins *, const char *host, const struct address *);
bool pins_have(const struct pins *, const char *host, const struct address *);

#endif
