/*
 * What a command needs only while it runs: a directory for temporary files, and child processes.
 * Neither outlives the command, whichever way it ends, kill -9 included.
 *
 * The directory is removed by scratch_remove, or at exit. For every other end there is a guard: a
 * process forked with the directory, which waits at a pipe whose other end closes with this
 * process, and then removes it. It ignores the signals of the terminal and has nothing else open.
 *
 * For commands with one thread; children of fork may call exit.
 */
#ifndef CLI_SCRATCH_H
#define CLI_SCRATCH_H

#include "base/error.h"

#include <sys/types.h>

/* The process's own directory, made at the first call in $TMPDIR, else in /tmp, for its user alone.
 * NULL with an error when it cannot be made. The text is good until the directory is removed. */
const char *scratch_directory(struct error *);

/* Removes it with all that is in it. Does nothing when there is none. */
void scratch_remove(void);

/* As fork, but the child gets `signal` when this process ends before it. */
pid_t child_fork(int signal);

#endif
