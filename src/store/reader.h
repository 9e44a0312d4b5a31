/* Threads that read: each carries out one operation after the other on what is on disk. */
#ifndef STORE_READER_H
#define STORE_READER_H

#include "store/completions.h"

struct reader_counters {
    _Atomic uint64_t reads;
};

struct reader {
    pthread_t thread;
    struct environment *environment;
    struct mailbox *inbox; /* shared by all readers */
    struct completions *completions;
    struct reader_counters *counters;
};

int reader_start(struct reader *, struct error *);
/* Its inbox was closed. */
void reader_join(struct reader *);

/* Carries out an operation that reads, within a transaction, and sets its result. */
void read_carry_out(const struct environment *, MDB_txn *, struct operation *);
/* A read of so many bytes that it should not be done on the writer. */
bool read_is_large(const struct operation *);

#endif
