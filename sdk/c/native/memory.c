/*
 * mem_map and mem_unmap: a call's own memory outside of its heap.
 */
#define _GNU_SOURCE
#include "node.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMORY_BYTES_MAX (UINT64_C(3) << 29) /* as much as the window of a guest holds */

static int file_read_in(struct region *region, int fd, uint64_t off)
{
    for (size_t done = 0; done < region->map_bytes;) {
        ssize_t got =
            pread(fd, region->base + done, region->map_bytes - done, (off_t)(off + (uint64_t)done));
        if (got < 0)
            return -ATOLL_EIO;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return 0;
}

static int map_check(uint64_t len, uint32_t prot, int32_t fd, uint64_t off)
{
    struct stat status;
    int mode;
    if (len == 0 || (prot != ATOLL_S_READ && prot != (ATOLL_S_READ | ATOLL_S_WRITE)) || fd < -1 ||
        off % 4096 != 0 || (fd == -1 && off != 0))
        return -ATOLL_EINVAL;
    if (len > UINT64_MAX - off)
        return -ATOLL_ERANGE;
    if (len > MEMORY_BYTES_MAX)
        return -ATOLL_ELIMIT;
    if (fd == -1)
        return 0;
    mode = fcntl(fd, F_GETFL);
    if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY || fstat(fd, &status) < 0 ||
        !S_ISREG(status.st_mode))
        return -ATOLL_EBADF;
    return 0;
}

int32_t atoll_mem_map(uint64_t len, uint32_t prot, int32_t fd, uint64_t off, atoll_addr *addr)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    int error = map_check(len, prot, fd, off);
    if (error)
        return (int32_t)call_leave(call, error);
    struct region *region = region_new(call, REGION_MEMORY, len);
    if (!region)
        return (int32_t)call_leave(call, -ATOLL_ENOMEM);
    error = fd >= 0 ? file_read_in(region, fd, off) : 0;
    if (error) {
        region_remove(call, region);
        return (int32_t)call_leave(call, error);
    }
    if (!(prot & ATOLL_S_WRITE))
        mprotect(region->base, region->map_bytes, PROT_READ);
    *addr = (atoll_addr)region->address;
    return (int32_t)call_leave(call, 0);
}

int32_t atoll_mem_unmap(atoll_addr addr, uint64_t len)
{
    struct native_call *call = call_enter_any();
    if (!call)
        return -ATOLL_EPERM;
    for (struct region *region = call->regions; region; region = region->next) {
        if (region->kind == REGION_MEMORY && (atoll_addr)region->address == addr &&
            region->len == len) {
            region_remove(call, region);
            return (int32_t)call_leave(call, 0);
        }
    }
    return (int32_t)call_leave(call, -ATOLL_EINVAL);
}
