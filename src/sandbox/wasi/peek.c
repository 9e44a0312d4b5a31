/* What the owner of a world may look at and take away: bytes of open files, sockets. */
#include "sandbox/wasi/back_end.h"

#include <unistd.h>

int64_t wasi_peek(const struct wasi *w, uint32_t guest_fd, uint64_t offset, size_t len,
                  const uint8_t **bytes)
{
    struct descriptor *d;
    if (descriptor_get(w, guest_fd, WASI_RIGHT_FD_READ, &d) != WASI_SUCCESS ||
        d->back_end != &back_end_vfs || d->filetype != WASI_FILETYPE_REGULAR_FILE) {
        return -ATOLL_EBADF;
    }
    return (int64_t)vfs_peek(&w->tree, d->node, offset, len, bytes);
}

int wasi_socket_fd(const struct wasi *w, uint32_t guest_fd)
{
    struct descriptor *d;
    if (descriptor_get(w, guest_fd, 0, &d) != WASI_SUCCESS || d->kind != DESCRIPTOR_SOCKET) {
        return -ATOLL_EBADF;
    }
    return d->fd;
}

int wasi_replace_socket(struct wasi *w, uint32_t guest_fd, int fd)
{
    struct descriptor *d;
    if (descriptor_get(w, guest_fd, 0, &d) != WASI_SUCCESS || d->kind != DESCRIPTOR_SOCKET) {
        return -ATOLL_EBADF;
    }
    struct descriptor made = *d;
    if (descriptor_describe(&made, fd) != 0 || made.filetype != d->filetype) {
        return -ATOLL_EBADF;
    }
    close(d->fd);
    *d = made;
    return 0;
}

void wasi_close_sockets(struct wasi *w)
{
    for (uint32_t k = 0; k < w->capacity; k++) {
        if (w->descriptors[k].kind == DESCRIPTOR_SOCKET) {
            descriptor_close(w, &w->descriptors[k]);
        }
    }
}
