/*
 * Takes bytes for a file of `atoll ledger export`, as they are and with the checksum that they ask
 * for: a file that is believed comes back byte for byte when it is written anew.
 */
#define _GNU_SOURCE
#include "ledger/check/fragment.h"

#include "crypto/hash.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[64];

struct again {
    struct buffer bytes; /* the entries as they were read */
    uint64_t next;
};

static int visit(void *context, uint64_t position, uint8_t type, struct slice payload,
                 struct error *e)
{
    struct again *a = context;
    (void)e;
    assert(a->next == UINT64_MAX || position == a->next);
    a->next = position + 1;
    if (!buffer_append(&a->bytes, &type, 1) ||
        !buffer_append_u32(&a->bytes, (uint32_t)payload.len) ||
        !buffer_append(&a->bytes, payload.data, payload.len))
        abort();
    return 0;
}

static void read_back(int fd, const uint8_t *data, size_t size)
{
    struct fragment_head head;
    struct again a = {.next = UINT64_MAX};
    struct error e = {0};
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    int rc = fragment_read(path, &head, visit, &a, &e);
    assert(rc == 0 || (rc < 0 && e.text[0]));
    if (rc == 0) {
        size_t before = 60 + HASH_LEN * (size_t)__builtin_popcountll(head.first);
        assert(size == before + a.bytes.len + 1 + HASH_LEN);
        assert(a.bytes.len == 0 || memcmp(data + before, a.bytes.data, a.bytes.len) == 0);
    }
    buffer_free(&a.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct buffer whole = {0};
    uint8_t hash[HASH_LEN];
    if (fd < 0) {
        fd = memfd_create("fragment", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    read_back(fd, data, size);
    hash_sha256(data, size, hash);
    if (!buffer_append(&whole, data, size) || !buffer_append(&whole, hash, sizeof hash))
        abort();
    read_back(fd, whole.data, whole.len);
    buffer_free(&whole);
    return 0;
}
