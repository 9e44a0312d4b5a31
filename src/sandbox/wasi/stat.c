/* What files are: types, sizes, times; and setting the latter two. */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <fcntl.h>

/* filestat: device @0, inode @8, filetype u8 @16, links @24, size @32, atim @40, mtim @48, ctim
 * @56.
 */
static uint16_t filestat_give(struct host_call *call, uint32_t address,
                              const struct filestat *status)
{
    uint8_t filestat[64] = {0};
    store_u64(filestat, status->device);
    store_u64(filestat + 8, status->inode);
    filestat[16] = status->filetype;
    store_u64(filestat + 24, status->links);
    store_u64(filestat + 32, status->size);
    store_u64(filestat + 40, status->accessed_ns);
    store_u64(filestat + 48, status->modified_ns);
    store_u64(filestat + 56, status->changed_ns);
    return guest_write(call->arena, address, filestat, sizeof filestat) == 0 ? WASI_SUCCESS
                                                                             : WASI_EFAULT;
}

enum host_status preview1_fd_filestat_get(struct host_call *call)
{
    struct descriptor *d;
    struct filestat status;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_GET, &d);
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->look(call_world(call), d, &status));
    }
    if (error == WASI_SUCCESS) {
        error = filestat_give(call, call->slots[1].u32, &status);
    }
    return call_done(call, error);
}

enum host_status preview1_fd_filestat_set_size(struct host_call *call)
{
    struct descriptor *d;
    uint64_t size = call->slots[1].u64;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_SET_SIZE, &d);
    if (error == WASI_SUCCESS && size > INT64_MAX) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->resize(call_world(call), d, size));
    }
    return call_done(call, error);
}

static bool time_to_set(uint32_t flags, uint32_t given, uint32_t now, uint64_t ns,
                        struct timespec *out)
{
    if ((flags & given) && (flags & now)) {
        return false;
    }
    out->tv_sec = (time_t)(ns / 1000000000u);
    out->tv_nsec = (long)(ns % 1000000000u);
    if (flags & now) {
        out->tv_nsec = UTIME_NOW;
    } else if (!(flags & given)) {
        out->tv_nsec = UTIME_OMIT;
    }
    return true;
}

static uint16_t times_to_set(uint64_t access, uint64_t modified, uint32_t flags,
                             struct timespec times[2])
{
    bool good = (flags & ~(uint32_t)WASI_FSTFLAGS_ALL) == 0 &&
                time_to_set(flags, WASI_FSTFLAG_ATIM, WASI_FSTFLAG_ATIM_NOW, access, &times[0]) &&
                time_to_set(flags, WASI_FSTFLAG_MTIM, WASI_FSTFLAG_MTIM_NOW, modified, &times[1]);
    return good ? WASI_SUCCESS : WASI_EINVAL;
}

enum host_status preview1_fd_filestat_set_times(struct host_call *call)
{
    struct descriptor *d;
    struct timespec times[2];
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_FILESTAT_SET_TIMES, &d);
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    if (error == WASI_SUCCESS) {
        error = times_to_set(call->slots[1].u64, call->slots[2].u64, call->slots[3].u32, times);
    }
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->set_times(call_world(call), d, times));
    }
    return call_done(call, error);
}

enum host_status preview1_path_filestat_get(struct host_call *call)
{
    struct descriptor *d;
    struct filestat status;
    char path[WASI_MAX_PATH];
    bool follow = (call->slots[1].u32 & WASI_LOOKUP_SYMLINK_FOLLOW) != 0;
    uint16_t error = call_directory(call, call->slots[0].u32, WASI_RIGHT_PATH_FILESTAT_GET,
                                    call->slots[2].u32, call->slots[3].u32, &d, path);
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    int result = d->back_end->path_look(call, d, path, follow, &status);
    return result != 0 ? call_end(call, result)
                       : call_done(call, filestat_give(call, call->slots[4].u32, &status));
}

enum host_status preview1_path_filestat_set_times(struct host_call *call)
{
    struct descriptor *d;
    struct timespec times[2];
    char path[WASI_MAX_PATH];
    bool follow = (call->slots[1].u32 & WASI_LOOKUP_SYMLINK_FOLLOW) != 0;
    uint16_t error = call_directory(call, call->slots[0].u32, WASI_RIGHT_PATH_FILESTAT_SET_TIMES,
                                    call->slots[2].u32, call->slots[3].u32, &d, path);
    if (error == WASI_SUCCESS) {
        error = times_to_set(call->slots[4].u64, call->slots[5].u64, call->slots[6].u32, times);
    }
    if (error == WASI_SUCCESS && d->read_only) {
        error = WASI_EROFS;
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    return call_end(call, d->back_end->path_set_times(call, d, path, follow, times));
}
