/* Reading a whole table of the store when the node starts. */
#ifndef NODE_RECORD_H
#define NODE_RECORD_H

#include "store/store.h"

/* Calls `record` for every record of a table, in order, before anything else uses the store; stops
 * at the first error. */
int record_read_all(struct store *, enum store_table,
                    int (*record)(void *context, const struct store_listed *, struct error *),
                    void *context, struct error *);

#endif
