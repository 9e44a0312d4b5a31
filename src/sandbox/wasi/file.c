/* Open files: position, space, advice and durability. */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <unistd.h>

enum host_status preview1_fd_advise(struct host_call *call)
{
    struct descriptor *d;
    uint64_t offset = call->slots[1].u64, len = call->slots[2].u64;
    uint32_t advice = call->slots[3].u32;
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_ADVISE, &d);
    if (error == WASI_SUCCESS &&
        (advice > WASI_ADVICE_NOREUSE || offset > INT64_MAX || len > INT64_MAX)) {
        error = WASI_EINVAL;
    }
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->advise(call_world(call), d, offset, len, (int)advice));
    }
    return call_done(call, error);
}

enum host_status preview1_fd_allocate(struct host_call *call)
{
    struct descriptor *d;
    uint64_t offset = call->slots[1].u64, len = call->slots[2].u64;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_ALLOCATE, &d);
    if (error == WASI_SUCCESS && (offset > INT64_MAX || len > INT64_MAX)) {
        error = WASI_EFBIG;
    }
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->allocate(call_world(call), d, offset, len));
    }
    return call_done(call, error);
}

enum host_status preview1_fd_sync(struct host_call *call)
{
    struct descriptor *d;
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_SYNC, &d);
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->sync(d, false));
    }
    return call_done(call, error);
}

enum host_status preview1_fd_datasync(struct host_call *call)
{
    struct descriptor *d;
    uint16_t error =
        descriptor_get(call_world(call), call->slots[0].u32, WASI_RIGHT_FD_DATASYNC, &d);
    if (error == WASI_SUCCESS) {
        error = wasi_result(d->back_end->sync(d, true));
    }
    return call_done(call, error);
}

static enum host_status seek(struct host_call *call, int64_t offset, int whence,
                             uint32_t result_address)
{
    struct descriptor *d;
    bool still = whence == SEEK_CUR && offset == 0;
    uint64_t right = still ? WASI_RIGHT_FD_TELL : WASI_RIGHT_FD_SEEK;
    uint16_t error = descriptor_get(call_world(call), call->slots[0].u32, 0, &d);
    if (error == WASI_SUCCESS && d->filetype == WASI_FILETYPE_DIRECTORY) {
        error = WASI_EBADF;
    } else if (error == WASI_SUCCESS && !d->seekable) {
        error = WASI_ESPIPE;
    }
    /* The right to move includes the right to ask. */
    if (error == WASI_SUCCESS && (d->base & (right | WASI_RIGHT_FD_SEEK)) == 0) {
        error = WASI_ENOTCAPABLE;
    }
    if (error == WASI_SUCCESS) {
        error = call_room(call, result_address, 8);
    }
    if (error != WASI_SUCCESS) {
        return call_done(call, error);
    }
    int64_t position = d->back_end->seek(call_world(call), d, offset, whence);
    return call_done(call, position < 0 ? wasi_result(position)
                                        : call_store_u64(call, result_address, (uint64_t)position));
}

enum host_status preview1_fd_seek(struct host_call *call)
{
    static const int whences[] = {
        [WASI_WHENCE_SET] = SEEK_SET, [WASI_WHENCE_CUR] = SEEK_CUR, [WASI_WHENCE_END] = SEEK_END};
    uint32_t whence = call->slots[2].u32;
    if (whence > WASI_WHENCE_END) {
        return call_done(call, WASI_EINVAL);
    }
    return seek(call, call->slots[1].i64, whences[whence], call->slots[3].u32);
}

enum host_status preview1_fd_tell(struct host_call *call)
{
    return seek(call, 0, SEEK_CUR, call->slots[1].u32);
}
