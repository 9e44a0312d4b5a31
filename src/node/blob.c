/* See blob.h. */
#define _GNU_SOURCE
#include "node/blob.h"

#include "base/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t nothing[1];

struct blob *blob_adopt(uint8_t *data, size_t len)
{
    struct blob *b = malloc(sizeof *b);
    if (b == NULL) {
        free(data);
        return NULL;
    }
    *b = (struct blob){.references = 1, .heap = true, .fd = -1, .len = len, .data = data};
    return b;
}

struct blob *blob_create(const void *data, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, len ? data : nothing, len);
    return blob_adopt(copy, len);
}

int blob_from_fd(int fd, uint64_t len, struct blob **out, struct error *e)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    *out = NULL;
    if (seals < 0 || (seals & (F_SEAL_WRITE | F_SEAL_SHRINK)) != (F_SEAL_WRITE | F_SEAL_SHRINK) ||
        fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size < len) {
        close(fd);
        return error_set(e, ATOLL_ECORRUPT,
                         "a passed memory file is not sealed, or shorter than "
                         "the %llu bytes it should have",
                         (unsigned long long)len);
    }
    struct blob *b = malloc(sizeof *b);
    if (b == NULL) {
        close(fd);
        return error_set(e, ATOLL_ENOMEM, "no memory for a passed file");
    }
    *b = (struct blob){.references = 1, .fd = fd, .len = len};
    *out = b;
    return 0;
}

const uint8_t *blob_bytes(struct blob *b)
{
    if (b->len == 0)
        return nothing;
    uint8_t *data = atomic_load_explicit(&b->data, memory_order_acquire);
    if (data != NULL)
        return data;
    void *mapped = mmap(NULL, b->len, PROT_READ, MAP_SHARED, b->fd, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    if (atomic_compare_exchange_strong(&b->data, &data, mapped))
        return mapped;
    munmap(mapped, b->len);
    return data;
}

int blob_file(struct blob *b, struct error *e)
{
    if (b->fd >= 0)
        return b->fd;
    uint8_t *data = atomic_load(&b->data);
    int fd = memory_file("atoll-bytes", data, b->len, align_up(b->len, 4096), true, false, e);
    if (fd < 0)
        return fd;
    /* The bytes stay where readers may have found them; the file is a second copy for mapping. */
    b->fd = fd;
    return fd;
}

struct blob *blob_retain(struct blob *b)
{
    if (b)
        atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

void blob_release(struct blob *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    uint8_t *data = atomic_load(&b->data);
    if (b->heap)
        free(data);
    else if (data != NULL)
        munmap(data, b->len);
    if (b->fd >= 0)
        close(b->fd);
    free(b);
}
