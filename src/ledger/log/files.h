/*
 * The files of a log, behind a table of functions: the real ones lie in a directory (files.c), the
 * tests' ones in memory, where the power can fail after every write.
 *
 * Names have no '/'. Functions return 0 (or what they say) or a negative ATOLL_E… code:
 * ATOLL_ELIMIT when the disk is full. A file is a small number, from open to close. Two threads may
 * use the table at once, for different files or to read one that another writes.
 */
#ifndef LEDGER_LOG_FILES_H
#define LEDGER_LOG_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_NAME_MAX 96

struct log_files {
    void *context;
    /* Opens for reading and writing; create: makes it, and refuses one that exists. The file's
     * number. ATOLL_ENOENT, ATOLL_EEXIST. */
    int (*open)(void *context, const char *name, bool create, struct error *);
    void (*close)(void *context, int file);
    int (*size)(void *context, int file, uint64_t *bytes, struct error *);
    /* Makes room on the disk for the first `bytes` bytes; what was not written reads as zero. */
    int (*allocate)(void *context, int file, uint64_t bytes, struct error *);
    /* Gives the room of bytes that were never written back, from … to - 1; they read as zero as
     * before, until allocate takes it again. Only a hint: what cannot do it leaves it. */
    void (*release)(void *context, int file, uint64_t from, uint64_t to);
    /* All of it or an error; reading past the end gives ATOLL_ERANGE. */
    int (*read)(void *context, int file, uint64_t at, void *data, size_t len, struct error *);
    int (*write)(void *context, int file, uint64_t at, const void *data, size_t len,
                 struct error *);
    /* What was written is on the disk; an error is final: what is there is unknown. */
    int (*sync)(void *context, int file, struct error *);
    /* Durable after sync_names. */
    int (*rename)(void *context, const char *from, const char *to, struct error *);
    int (*remove)(void *context, const char *name, struct error *);
    int (*sync_names)(void *context, struct error *);
    /* Calls visit with every name, in any order. */
    int (*list)(void *context, void (*visit)(void *visitor, const char *name), void *visitor,
                struct error *);
};

/* A directory, made where it is missing, and locked against other processes until it is closed.
 * read_only: neither made nor locked, and its files are only read. ATOLL_EBUSY when another process
 * has it. */
int log_directory_open(const char *path, bool read_only, struct log_files *, struct error *);
void log_directory_close(struct log_files *);

#endif
