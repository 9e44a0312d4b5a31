/*
 * Opening proto-images (proto_image.h; proto_format.h draws the file).
 *
 * Nothing is believed before the bytes lie in a sealed memory file: they cannot change between the
 * check and the use, and cannot vanish under a mapping. Then the hash finds damage, and the walk
 * over the metadata finds what a damaged or hostile writer hashed with it.
 */
#define _GNU_SOURCE
#include "sandbox/proto_image.h"

#include "base/file.h"
#include "sandbox/proto_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_STEP (16u << 20)

static int corrupt(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the proto-image is damaged: %s", what);
}

/* ---- hashes ---- */

void proto_abi(uint8_t out[static HASH_LEN])
{
    const struct {
        char name[32];
        uint32_t wasm_page, page, window_start, window_end, slot_bits, reserved;
    } abi = {
        "atoll proto-image state 1", WASM_PAGE, PAGE_BYTES, WINDOW_START, WINDOW_END, SLOT_BITS, 0};
    hash_sha256(&abi, sizeof abi, out);
}

/* Hashes every page of one level into the next; room for the last group's padding is there. */
static void level_hash(const uint8_t *pages, uint64_t count, uint8_t (*out)[HASH_LEN])
{
    static const uint8_t zero_page[PAGE_BYTES];
    uint8_t zero_hash[HASH_LEN];
    hash_sha256(zero_page, PAGE_BYTES, zero_hash);
    for (uint64_t k = 0; k < count; k++) {
        const uint8_t *page = pages + k * PAGE_BYTES;
        if (page_is_zero(page))
            memcpy(out[k], zero_hash, HASH_LEN);
        else
            hash_sha256(page, PAGE_BYTES, out[k]);
    }
}

int proto_root(const uint8_t *bytes, uint64_t len, uint8_t out[static HASH_LEN], struct error *e)
{
    uint64_t count = len / PAGE_BYTES;
    uint8_t(*hashes)[HASH_LEN] = calloc(align_up(count, PROTO_FANOUT), HASH_LEN);
    if (!hashes)
        return error_set(e, ATOLL_ENOMEM, "no memory to verify a proto-image");
    uint8_t first[PAGE_BYTES];
    memcpy(first, bytes, PAGE_BYTES);
    memset(first + offsetof(struct proto_header, root), 0, HASH_LEN);
    level_hash(first, 1, hashes);
    level_hash(bytes + PAGE_BYTES, count - 1, hashes + 1);
    while (count > 1) {
        uint64_t groups = align_up(count, PROTO_FANOUT) / PROTO_FANOUT;
        level_hash(hashes[0], groups, hashes);
        count = groups;
        memset(hashes[count], 0, (align_up(count, PROTO_FANOUT) - count) * HASH_LEN);
    }
    uint8_t last[sizeof PROTO_DOMAIN - 1 + HASH_LEN];
    memcpy(last, PROTO_DOMAIN, sizeof PROTO_DOMAIN - 1);
    memcpy(last + sizeof PROTO_DOMAIN - 1, hashes[0], HASH_LEN);
    hash_sha256(last, sizeof last, out);
    free(hashes);
    return 0;
}

/* ---- the file ---- */

static int header_check(const struct proto_header *h, uint64_t size, struct error *e)
{
    uint8_t abi[HASH_LEN];
    proto_abi(abi);
    if (memcmp(h->magic, PROTO_MAGIC, sizeof h->magic) != 0)
        return error_set(e, ATOLL_ETYPE, "this file is no proto-image");
    if (h->format != PROTO_FORMAT || memcmp(h->abi, abi, HASH_LEN) != 0)
        return error_set(e, ATOLL_ESTALE,
                         "the proto-image was made by another release of atoll: make it anew");
    if (h->file_bytes > PROTO_FILE_MAX || h->metadata_len > PROTO_METADATA_MAX ||
        h->owner_len > PROTO_OWNER_MAX)
        return error_set(e, ATOLL_ESIZE, "the proto-image says it is larger than any can be");
    if (h->file_bytes > size)
        return error_set(e, ATOLL_ECORRUPT, "the proto-image is cut off: %llu of %llu bytes",
                         (unsigned long long)size, (unsigned long long)h->file_bytes);
    if (h->file_bytes < size)
        return error_set(e, ATOLL_ECORRUPT, "the proto-image has %llu bytes too many",
                         (unsigned long long)(size - h->file_bytes));
    if (h->file_bytes % PAGE_BYTES ||
        h->file_bytes < PAGE_BYTES + align_up(h->metadata_len, PAGE_BYTES))
        return corrupt(e, "its size does not fit its parts");
    if (!h->module_count || h->module_count > ARENA_INSTANCES_MAX)
        return corrupt(e, "no module, or too many");
    return 0;
}

/* Before a large file is copied: is it one at all? */
static int file_check(int fd, uint64_t *size, struct error *e)
{
    struct stat status;
    struct proto_header header;
    if (fstat(fd, &status) != 0)
        return error_set_errno(e, 0, "cannot look at a proto-image");
    if (!S_ISREG(status.st_mode))
        return error_set(e, ATOLL_ETYPE, "a proto-image is a regular file or a memory file");
    *size = (uint64_t)status.st_size;
    if (*size > PROTO_FILE_MAX)
        return error_set(e, ATOLL_ESIZE, "a file of %llu bytes is larger than any proto-image",
                         (unsigned long long)*size);
    ssize_t got = pread(fd, &header, sizeof header, 0);
    if (got < 0)
        return error_set_errno(e, ATOLL_EIO, "cannot read a proto-image");
    if (got < (ssize_t)sizeof header.magic || memcmp(header.magic, PROTO_MAGIC, 4) != 0)
        return error_set(e, ATOLL_ETYPE, "this file is no proto-image");
    if ((size_t)got < sizeof header)
        return error_set(e, ATOLL_ECORRUPT, "the proto-image is cut off within its header");
    return header_check(&header, *size, e);
}

static int file_copy(int from, int to, uint64_t size, struct error *e)
{
    off_t at = 0;
    while ((uint64_t)at < size) {
        uint64_t left = size - (uint64_t)at;
        ssize_t got = sendfile(to, from, &at, left < COPY_STEP ? left : COPY_STEP);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, ATOLL_EIO, "cannot read a proto-image");
        if (got == 0)
            return corrupt(e, "it was cut off while it was read");
    }
    return 0;
}

/* The file itself when nobody can change it any more, else a copy of which that is true. */
static int sealed_file(int fd, uint64_t size, struct error *e)
{
    int seals = fcntl(fd, F_GET_SEALS), wanted = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    if (seals >= 0 && (seals & wanted) == wanted) {
        int same = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return same >= 0 ? same : error_set_errno(e, ATOLL_ELIMIT, "cannot open a proto-image");
    }
    int copy = memory_file("atoll-proto", NULL, 0, size, false, false, e);
    if (copy < 0)
        return copy;
    int rc = file_copy(fd, copy, size, e);
    if (rc == 0)
        rc = memory_file_seal(copy, e);
    if (rc < 0) {
        close(copy);
        return rc;
    }
    return copy;
}

/* ---- metadata ---- */

struct reader {
    const uint8_t *at, *end;
};

/* count items of size bytes; NULL when they are not all there. */
static const uint8_t *reader_take(struct reader *r, uint64_t count, uint64_t size)
{
    if (count > (uint64_t)(r->end - r->at) / size)
        return NULL;
    const uint8_t *start = r->at;
    r->at += count * size;
    return start;
}

/* Walks over one module's record, from *r on. `start`: of the metadata, for alignment. */
static bool module_skip(struct reader *r, const uint8_t *start)
{
    struct proto_module_head head;
    const uint8_t *at = reader_take(r, 1, sizeof head);
    if (!at)
        return false;
    memcpy(&head, at, sizeof head);
    if (!reader_take(r, head.globals, AREA_SLOT) || head.tables > WASM_MAX_TABLES)
        return false;
    for (uint32_t t = 0; t < head.tables; t++) {
        struct proto_table_head table;
        if (!(at = reader_take(r, 1, sizeof table)))
            return false;
        memcpy(&table, at, sizeof table);
        if (!reader_take(r, table.pairs, sizeof(struct proto_pair)))
            return false;
    }
    uint64_t used = (uint64_t)(r->at - start) + head.segments;
    return reader_take(r, head.segments + (align_up(used, 8) - used), 1) != NULL;
}

/* Extents ascend, do not overlap, and stand for as many pages as there are. */
static bool extents_check(const struct proto_image *p, uint64_t pages)
{
    struct proto_extent extent, last = {0};
    uint64_t sum = 0;
    for (uint32_t k = 0; k < p->header.extent_count; k++) {
        memcpy(&extent, p->extents + (size_t)k * sizeof extent, sizeof extent);
        bool behind = !k || extent.module > last.module ||
                      (extent.module == last.module && extent.page >= last.page + last.pages);
        if (!behind || !extent.pages || extent.module >= p->header.module_count ||
            extent.page > PROTO_MEMORY_MAX / PAGE_BYTES)
            return false;
        sum += extent.pages;
        last = extent;
    }
    return sum == pages;
}

static int metadata_check(struct proto_image *p, struct error *e)
{
    const struct proto_header *h = &p->header;
    const uint8_t *start = p->bytes + PAGE_BYTES;
    struct reader r = {start, start + h->metadata_len};
    p->modules = calloc(h->module_count, sizeof *p->modules);
    if (!p->modules)
        return error_set(e, ATOLL_ENOMEM, "no memory to open a proto-image");
    for (uint32_t k = 0; k < h->module_count; k++) {
        p->modules[k] = r.at;
        if (!module_skip(&r, start))
            return corrupt(e, "the record of a module is cut off");
    }
    p->extents = reader_take(&r, h->extent_count, sizeof(struct proto_extent));
    p->owner = p->extents ? reader_take(&r, h->owner_len, 1) : NULL;
    if (!p->owner || r.at != r.end)
        return corrupt(e, "its metadata does not fit its size");
    uint64_t before = PAGE_BYTES + align_up(h->metadata_len, PAGE_BYTES);
    p->pages = p->bytes + before;
    if (!extents_check(p, (h->file_bytes - before) / PAGE_BYTES))
        return corrupt(e, "its list of memory pages makes no sense");
    return 0;
}

/* ---- the whole ---- */

static int image_verify(struct proto_image *p, uint64_t size, struct error *e)
{
    uint8_t root[HASH_LEN];
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, p->fd, 0);
    if (bytes == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a proto-image");
    p->bytes = bytes;
    memcpy(&p->header, bytes, sizeof p->header);
    int rc = header_check(&p->header, size, e);
    if (rc < 0 || (rc = proto_root(bytes, size, root, e)) < 0)
        return rc;
    if (!hash_equal(root, p->header.root))
        return corrupt(e, "its bytes are not those it was written with");
    return metadata_check(p, e);
}

int proto_image_open(int fd, struct proto_image **out, struct error *e)
{
    uint64_t size;
    *out = NULL;
    int rc = file_check(fd, &size, e);
    if (rc < 0)
        return rc;
    struct proto_image *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(e, ATOLL_ENOMEM, "no memory to open a proto-image");
    p->fd = sealed_file(fd, size, e);
    p->header.file_bytes = size; /* what close unmaps */
    rc = p->fd < 0 ? p->fd : image_verify(p, size, e);
    if (rc < 0) {
        p->header.file_bytes = size;
        proto_image_close(p);
        return rc;
    }
    *out = p;
    return 0;
}

void proto_image_close(struct proto_image *p)
{
    if (!p)
        return;
    if (p->bytes)
        munmap((void *)p->bytes, p->header.file_bytes);
    if (p->fd >= 0)
        close(p->fd);
    free(p->modules);
    free(p);
}

const uint8_t *proto_image_owner(const struct proto_image *p, size_t *len)
{
    *len = p->header.owner_len;
    return p->owner;
}

const uint8_t *proto_image_module(const struct proto_image *p, uint32_t ordinal)
{
    return ordinal < p->header.module_count
               ? p->modules[ordinal] + offsetof(struct proto_module_head, wasm_sha256)
               : NULL;
}

const uint8_t *proto_image_root(const struct proto_image *p)
{
    return p->header.root;
}

uint64_t proto_image_bytes(const struct proto_image *p)
{
    return p->header.file_bytes;
}

uint64_t proto_image_memory_bytes(const struct proto_image *p)
{
    return p->header.memory_bytes;
}

int proto_image_fd(const struct proto_image *p)
{
    return p->fd;
}
