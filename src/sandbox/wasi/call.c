/* How every host function takes its arguments out of guest memory and gives its answer back. */
#include "sandbox/wasi/world.h"

enum host_status call_done(struct host_call *call, uint16_t error)
{
    memset(&call->slots[0], 0, sizeof call->slots[0]);
    call->slots[0].u32 = error;
    return HOST_DONE;
}

enum host_status call_end(struct host_call *call, long result)
{
    return result == VFS_WAIT ? HOST_PARK : call_done(call, wasi_result(result));
}

enum host_status call_park(struct host_call *call, int fd, short events)
{
    call->park->deadline_ns = HOST_NO_DEADLINE;
    call->park->fd_count = 1;
    call->park->fds[0] = (struct pollfd){.fd = fd, .events = events};
    return HOST_PARK;
}

uint16_t call_path(struct host_call *call, uint32_t address, uint32_t len, char path[WASI_MAX_PATH])
{
    if (len >= WASI_MAX_PATH) {
        return WASI_ENAMETOOLONG;
    }
    if (guest_read(call->arena, path, address, len) != 0) {
        return WASI_EFAULT;
    }
    path[len] = '\0';
    if (len == 0) {
        return WASI_ENOENT;
    }
    return memchr(path, '\0', len) != NULL ? WASI_EINVAL : WASI_SUCCESS;
}

uint16_t call_directory(struct host_call *call, uint32_t number, uint64_t rights, uint32_t address,
                        uint32_t len, struct descriptor **d, char path[WASI_MAX_PATH])
{
    uint16_t error = descriptor_get(call_world(call), number, rights, d);
    if (error == WASI_SUCCESS && (*d)->filetype != WASI_FILETYPE_DIRECTORY) {
        error = WASI_ENOTDIR;
    }
    return error != WASI_SUCCESS ? error : call_path(call, address, len, path);
}

uint16_t call_room(struct host_call *call, uint32_t address, uint64_t len)
{
    return guest_range(call->arena, address, len, GUEST_WRITE) != NULL ? WASI_SUCCESS : WASI_EFAULT;
}

uint16_t call_store_u32(struct host_call *call, uint32_t address, uint32_t value)
{
    return guest_write(call->arena, address, &value, sizeof value) == 0 ? WASI_SUCCESS
                                                                        : WASI_EFAULT;
}

uint16_t call_store_u64(struct host_call *call, uint32_t address, uint64_t value)
{
    return guest_write(call->arena, address, &value, sizeof value) == 0 ? WASI_SUCCESS
                                                                        : WASI_EFAULT;
}

uint16_t call_vectors(struct host_call *call, uint32_t address, uint32_t count,
                      enum guest_right right, struct vectors *v)
{
    uint32_t pairs[2 * WASI_MAX_VECTORS];
    if (count > WASI_MAX_VECTORS) {
        return WASI_EINVAL;
    }
    if (guest_read(call->arena, pairs, address, count * 2 * sizeof pairs[0]) != 0) {
        return WASI_EFAULT;
    }
    v->count = (int)count;
    v->total = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *bytes = guest_range(call->arena, pairs[2 * i], pairs[2 * i + 1], right);
        if (bytes == NULL) {
            return WASI_EFAULT;
        }
        v->list[i] = (struct iovec){.iov_base = bytes, .iov_len = pairs[2 * i + 1]};
        v->addresses[i] = pairs[2 * i];
        v->total += pairs[2 * i + 1];
    }
    return WASI_SUCCESS;
}
