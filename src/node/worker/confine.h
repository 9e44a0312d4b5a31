/*
 * What a worker process gives up before it runs guests.
 *
 * The sandbox is the first wall: guests reach the kernel through host functions only. This is the
 * second, for the day that the first has a hole: what such a guest finds is a process that cannot
 * start programs or processes, open files, look into other processes, connect to anything, or make
 * memory that is writable and executable.
 */
#ifndef NODE_WORKER_CONFINE_H
#define NODE_WORKER_CONFINE_H

#include "base/error.h"

/* From here on the process dies with its parent, gains no privileges by anything it does, and makes
 * only system calls that a worker needs, with the arguments it needs them with. Others answer
 * EPERM; those that nothing but an intruder makes end the process by SIGSYS. Holds for every thread
 * there is; no further one can be made. Before, what a worker needs of /proc is opened. Once.
 * Descriptors are passed on over `link`, which from here on cannot be closed, so that its number
 * means nothing else: what sockets there are can only be sent to where they are connected.
 * -ATOLL_EUNAVAIL when the kernel has no such filters. */
int worker_confine(int link, struct error *);

#endif
