/* What the owner of a world may look at: bytes of the guest's open files, its sockets. */
#include "sandbox/wasi/back_end.h"

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
