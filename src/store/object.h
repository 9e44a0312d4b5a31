/*
 * Shared objects: counter, latch, barrier, semaphore, queue, map, cell (spec/faaslets §5, §8.3).
 * They live on the writer thread, which carries out one operation after the other: so they are
 * linearizable. Each function carries out one operation (operation.h); what it changes is written
 * first, and only then do those that waited go on, so an operation can be tried again when the
 * write failed.
 */
#ifndef STORE_OBJECT_H
#define STORE_OBJECT_H

#include "store/live.h"
#include "store/value.h"

int object_open(struct value_writer *, struct live_table *, struct operation *, struct error *);
/* 0, OBJECT_WAITS or a negative code. */
int object_call(struct value_writer *, struct live_table *, struct operation *, struct error *);
int object_delete(struct value_writer *, struct live_table *, struct operation *, struct error *);
/* Lets those go on that can since somebody before them left. */
int objects_serve(struct value_writer *, struct live_table *, struct error *);

#endif
