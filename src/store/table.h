/* The node's tables of small records: each function carries out one operation (operation.h). */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include "store/operation.h"

enum environment_table table_of(enum store_table);

int table_get(const struct environment *, MDB_txn *, struct operation *, struct error *);
int table_list(const struct environment *, MDB_txn *, struct operation *, struct error *);
int table_write(struct batch *, struct operation *, struct error *);

#endif
