/*
 * The files of a part of a log: those of the log's own files whose names begin with a prefix, which
 * the part does not see.
 */
#ifndef LEDGER_LOG_PART_H
#define LEDGER_LOG_PART_H

#include "ledger/log/files.h"

#define LOG_PART_PREFIX_MAX 32

/* Owns `out` only; `inner` stays open as long as it. ATOLL_ENOMEM. */
int log_part_open(const struct log_files *inner, const char *prefix, struct log_files *out,
                  struct error *);
void log_part_close(struct log_files *);
/* Removes every file of the part. */
int log_part_remove(const struct log_files *, struct error *);

#endif
