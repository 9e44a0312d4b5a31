/* What transfer.c lends to sockets and files of the host. Counts or -errno, like the rest of the
 * inside. */
#ifndef SANDBOX_WASI_TRANSFER_H
#define SANDBOX_WASI_TRANSFER_H

#include "sandbox/wasi/back_end.h"

#include <sys/types.h>

/* Ends a transfer by its result: parks on -EAGAIN, else stores the count or gives the error. */
enum host_status transfer_end(struct host_call *, const struct descriptor *, short events,
                              ssize_t result, uint32_t count_address);
/* From and to a socket; they never wait and never raise a signal. Sending makes no system call that
 * could name another address than the socket's peer, so that a process may be denied those. */
ssize_t transfer_receive(int fd, struct vectors *, int flags, int *flags_out);
ssize_t transfer_send(struct host_call *, const struct descriptor *, const struct vectors *);

#endif
