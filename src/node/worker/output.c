/* See output.h. */
#define _GNU_SOURCE
#include "node/worker/output.h"

#include "base/file.h"
#include "node/message.h"
#include "sandbox/region.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP (64u << 10) /* copied from the guest at a time */

void call_output_begin(struct output *o, uint64_t limit)
{
    o->limit = limit;
    o->used = false;
    o->address = 0;
}

uint64_t call_output_len(const struct output *o)
{
    return o->file >= 0 ? o->len : o->bytes.len;
}

void call_output_clear(struct output *o)
{
    if (o->file >= 0)
        close(o->file);
    o->file = -1;
    o->len = 0;
    o->bytes.len = 0;
    o->address = 0;
}

void call_output_free(struct output *o)
{
    call_output_clear(o);
    buffer_free(&o->bytes);
}

static int file_write(struct output *o, const uint8_t *bytes, uint64_t len)
{
    struct error e;
    if (file_write_at(o->file, bytes, len, o->len, &e) < 0)
        return -ATOLL_ENOMEM;
    o->len += len;
    return 0;
}

/* From memory to a file, when it gets large. */
static int file_begin(struct output *o)
{
    struct error e;
    int fd = memory_file("atoll-output", NULL, 0, 0, false, false, &e);
    if (fd < 0)
        return -ATOLL_ENOMEM;
    o->file = fd;
    o->len = 0;
    int rc = file_write(o, o->bytes.data, o->bytes.len);
    if (rc < 0) {
        close(fd);
        o->file = -1;
        return rc;
    }
    o->bytes.len = 0;
    return 0;
}

int call_output_append(struct output *o, const void *bytes, uint64_t len)
{
    if (len > o->limit - call_output_len(o))
        return -ATOLL_ELIMIT;
    if (o->file < 0 && o->bytes.len + len > MESSAGE_INLINE) {
        int rc = file_begin(o);
        if (rc < 0)
            return rc;
    }
    if (o->file >= 0)
        return file_write(o, bytes, len);
    return buffer_append(&o->bytes, bytes, len) ? 0 : -ATOLL_ENOMEM;
}

/* Small ones go straight into the buffer. */
static int append_small(struct output *o, struct arena *a, uint32_t from, uint64_t len)
{
    if (len == 0)
        return 0;
    if (!buffer_reserve(&o->bytes, len))
        return -ATOLL_ENOMEM;
    int rc = guest_read(a, o->bytes.data + o->bytes.len, from, len);
    if (rc == 0)
        o->bytes.len += len;
    return rc;
}

static int append_large(struct output *o, struct arena *a, uint32_t from, uint64_t len)
{
    uint8_t *step = malloc(STEP);
    uint64_t before = call_output_len(o);
    int rc = step ? 0 : -ATOLL_ENOMEM;
    for (uint64_t done = 0; rc == 0 && done < len;) {
        uint64_t part = len - done < STEP ? len - done : STEP;
        rc = guest_read(a, step, (uint32_t)(from + done), part);
        if (rc == 0)
            rc = call_output_append(o, step, part);
        done += part;
    }
    free(step);
    if (rc < 0 && o->file >= 0) /* as it was; bytes behind len do not count */
        o->len = before;
    else if (rc < 0)
        o->bytes.len = before;
    return rc;
}

int call_output_append_guest(struct output *o, struct arena *a, uint32_t from, uint64_t len,
                             bool replace)
{
    uint64_t kept = replace ? 0 : call_output_len(o);
    if (len > o->limit - kept)
        return -ATOLL_ELIMIT;
    if (!guest_range(a, from, len, GUEST_READ))
        return -ATOLL_EFAULT;
    o->used = true;
    if (!replace) {
        bool small = o->file < 0 && o->bytes.len + len <= MESSAGE_INLINE;
        return small ? append_small(o, a, from, len) : append_large(o, a, from, len);
    }
    struct output fresh = {.file = -1, .limit = o->limit, .used = true};
    int rc = len <= MESSAGE_INLINE ? append_small(&fresh, a, from, len)
                                   : append_large(&fresh, a, from, len);
    if (rc < 0) {
        call_output_free(&fresh);
        return rc;
    }
    call_output_free(o);
    *o = fresh;
    return 0;
}

int call_output_map(struct output *o, struct arena *a, uint64_t len, uint32_t *address)
{
    struct error e;
    uint64_t size = align_up(len, 4096);
    if (len == 0)
        return -ATOLL_EINVAL;
    if (len > o->limit)
        return -ATOLL_ELIMIT;
    int fd = memory_file("atoll-output", NULL, 0, size, false, false, &e);
    if (fd < 0)
        return -ATOLL_ENOMEM;
    int rc = region_map(a, "output", fd, 0, size, GUEST_READ | GUEST_WRITE, address, &e);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    call_output_clear(o);
    o->file = fd;
    o->len = len;
    o->address = *address;
    o->used = true;
    return 0;
}

/* What lies behind its end is cut or zeroed, so that mapping the last page shows nothing else. */
static int file_finish(struct output *o, struct arena *a, struct error *e)
{
    if (o->address)
        (void)region_unmap(a, o->address, e);
    o->address = 0;
    if (ftruncate(o->file, (off_t)o->len) < 0 ||
        ftruncate(o->file, (off_t)align_up(o->len, 4096)) < 0)
        return error_set_errno(e, 0, "cannot size a call's output");
    return memory_file_seal(o->file, e);
}

struct blob *call_output_take(struct output *o, struct arena *a, struct error *e)
{
    struct blob *b = NULL;
    uint64_t len = call_output_len(o);
    if (o->file < 0) {
        b = blob_create(o->bytes.data, len);
        if (!b)
            error_set(e, ATOLL_ENOMEM, "no memory for a call's output");
    } else if (file_finish(o, a, e) == 0) {
        int fd = o->file;
        o->file = -1;
        (void)blob_from_fd(fd, len, &b, e);
    }
    call_output_clear(o);
    if (o->bytes.capacity > OUTPUT_KEEP)
        buffer_free(&o->bytes);
    return b;
}
