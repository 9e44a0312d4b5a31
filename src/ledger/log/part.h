/*
 * The files of a part of a log (gap.c): those of the log's own files whose names begin with
 * part-FROM-, 20 digits, which the part does not see.
 */
#ifndef LEDGER_LOG_PART_H
#define LEDGER_LOG_PART_H

#include "ledger/log/files.h"

#define LOG_PART_PREFIX_MAX 32

void log_part_prefix(uint64_t from, char prefix[static LOG_PART_PREFIX_MAX]);
/* Takes a name of a part's file apart: *rest is the name within the part. False: not such a name.
 */
bool log_part_prefix_read(const char *name, uint64_t *from, const char **rest);
/* Owns `out` only; `inner` stays open as long as it. ATOLL_ENOMEM. */
int log_part_open(const struct log_files *inner, uint64_t from, struct log_files *out,
                  struct error *);
void log_part_close(struct log_files *);
/* Removes every file of the part. */
int log_part_remove(const struct log_files *, struct error *);

#endif
