/*
 * Checkpoints on the disk (checkpoint.h draws the file). A file appears under its name only when
 * all of it is on the disk; what is read is believed only as far as hashes go: the head by its
 * own, all pairs by the digest.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "ledger/kv/checkpoint.h"
#include "ledger/kv/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int head_write(const struct kv_checkpoint *c, int fd, const uint8_t genesis[static HASH_LEN],
                      uint64_t s, const void *meta, size_t meta_len, struct buffer *manifest,
                      struct error *e)
{
    uint8_t head[KV_FILE_HEAD], digest[HASH_LEN], sum[HASH_LEN];
    int rc = kv_checkpoint_chunk(c, 0, manifest, e);
    if (rc < 0)
        return rc;
    kv_checkpoint_digest(c, digest);
    memcpy(head, KV_FILE_MAGIC, 8);
    memcpy(head + 8, genesis, HASH_LEN);
    store_u64(head + 40, s);
    memcpy(head + 48, digest, HASH_LEN);
    store_u32(head + 80, (uint32_t)meta_len);
    store_u32(head + 84, (uint32_t)manifest->len);
    struct hash_part parts[3] = {
        {head, sizeof head}, {meta, meta_len}, {manifest->data, manifest->len}};
    hash_sha256_parts(parts, 3, sum);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = file_write_all(fd, parts[i].data, parts[i].len, e);
    return rc < 0 ? rc : file_write_all(fd, sum, sizeof sum, e);
}

/* What was written goes to the disk bit by bit, not all of it with the fsync at the end, behind
 * which everybody else's would wait. */
static int chunks_write(const struct kv_checkpoint *c, int fd, struct buffer *chunk,
                        const struct kv_pace *pace, struct error *e)
{
    int rc = 0;
    for (uint32_t number = 1; number < kv_checkpoint_chunks(c) && rc == 0; number++) {
        uint8_t len[4];
        rc = kv_checkpoint_chunk(c, number, chunk, e);
        if (rc < 0)
            return rc;
        store_u32(len, (uint32_t)chunk->len);
        rc = file_write_all(fd, len, sizeof len, e);
        if (rc == 0)
            rc = file_write_all(fd, chunk->data, chunk->len, e);
        if (rc == 0 && pace) {
            sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
            pace->wait(pace->context);
        }
    }
    return rc;
}

/* Makes the file's name durable. */
static int name_sync(const char *path, struct error *e)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    int fd = open(directory[0] ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open the directory of %s", path);
    int rc = fsync(fd) < 0 && errno != EINVAL
                 ? error_set_errno(e, 0, "cannot sync the directory of %s", path)
                 : 0;
    close(fd);
    return rc;
}

int kv_checkpoint_write(const struct kv_checkpoint *c, const char *path,
                        const uint8_t genesis[static HASH_LEN], uint64_t s, const void *meta,
                        size_t meta_len, const struct kv_pace *pace, struct error *e)
{
    char temporary[PATH_MAX];
    if (meta_len > KV_META_MAX)
        return error_set(e, ATOLL_EINVAL, "a checkpoint has room for %d bytes of its owner",
                         KV_META_MAX);
    int used = snprintf(temporary, sizeof temporary, "%s.new", path);
    if (used < 0 || (size_t)used >= sizeof temporary)
        return error_set(e, ATOLL_ESIZE, "the path of checkpoint %s is too long", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create %s", temporary);
    struct buffer bytes = {0};
    int rc = head_write(c, fd, genesis, s, meta, meta_len, &bytes, e);
    if (rc == 0)
        rc = chunks_write(c, fd, &bytes, pace, e);
    buffer_free(&bytes);
    if (rc < 0)
        error_prefix(e, "cannot write %s", temporary);
    else if (fsync(fd) < 0)
        rc = error_set_errno(e, 0, "cannot sync %s", temporary);
    if (close(fd) < 0 && rc == 0)
        rc = error_set_errno(e, 0, "cannot write %s", temporary);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = error_set_errno(e, 0, "cannot put checkpoint %s in place", path);
    if (rc < 0) {
        unlink(temporary);
        return rc;
    }
    return name_sync(path, e);
}

/* ---- reading ---- */

struct reading {
    int fd;
    const char *path;
    struct buffer bytes;
};

static int damaged(const struct reading *r, struct error *e)
{
    return error_set(e, ATOLL_ECORRUPT,
                     "checkpoint %s is damaged; remove it, an older one or the others have the "
                     "state, too",
                     r->path);
}

/* Exactly len bytes behind what was read. */
static int bytes_read(struct reading *r, void *to, size_t len, struct error *e)
{
    for (uint8_t *at = to; len > 0;) {
        ssize_t got = read(r->fd, at, len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read %s", r->path);
        if (got == 0)
            return damaged(r, e);
        at += got;
        len -= (size_t)got;
    }
    return 0;
}

static int head_read(struct reading *r, const uint8_t genesis[static HASH_LEN],
                     const uint8_t *digest, struct kv_checkpoint_file *out, uint32_t *manifest_len,
                     struct error *e)
{
    uint8_t head[KV_FILE_HEAD], sum[HASH_LEN], wanted[HASH_LEN];
    int rc = bytes_read(r, head, sizeof head, e);
    if (rc < 0)
        return rc;
    uint32_t meta_len = load_u32(head + 80);
    *manifest_len = load_u32(head + 84);
    if (memcmp(head, KV_FILE_MAGIC, 8) != 0 || meta_len > KV_META_MAX ||
        *manifest_len > KV_MANIFEST_MAX)
        return damaged(r, e);
    size_t len = meta_len + *manifest_len;
    if (!buffer_reserve(&r->bytes, len + 1) || !buffer_reserve(&out->meta, meta_len + 1))
        return error_set(e, ATOLL_ENOMEM, "no memory to read %s", r->path);
    rc = bytes_read(r, r->bytes.data, len, e);
    if (rc == 0)
        rc = bytes_read(r, sum, sizeof sum, e);
    if (rc < 0)
        return rc;
    struct hash_part parts[2] = {{head, sizeof head}, {r->bytes.data, len}};
    hash_sha256_parts(parts, 2, wanted);
    if (!hash_equal(sum, wanted))
        return damaged(r, e);
    if (memcmp(head + 8, genesis, HASH_LEN) != 0)
        return error_set(e, ATOLL_EINVAL, "checkpoint %s is of another service", r->path);
    out->s = load_u64(head + 40);
    memcpy(out->digest, head + 48, HASH_LEN);
    if (digest && !hash_equal(digest, out->digest))
        return error_set(e, ATOLL_ECORRUPT, "checkpoint %s has another digest than the ledger",
                         r->path);
    buffer_append(&out->meta, r->bytes.data, meta_len);
    memmove(r->bytes.data, r->bytes.data + meta_len, *manifest_len);
    return 0;
}

static int chunks_read(struct reading *r, struct kv_transfer *t, struct error *e)
{
    int rc = 0;
    for (uint32_t number = 1; number < kv_transfer_chunks(t) && rc == 0; number++) {
        uint8_t len[4];
        rc = bytes_read(r, len, sizeof len, e);
        if (rc < 0)
            return rc;
        if (load_u32(len) > KV_CHUNK_MAX)
            return damaged(r, e);
        if (!buffer_reserve(&r->bytes, load_u32(len) + 1))
            return error_set(e, ATOLL_ENOMEM, "no memory to read %s", r->path);
        rc = bytes_read(r, r->bytes.data, load_u32(len), e);
        if (rc == 0)
            rc = kv_transfer_chunk(t, number, r->bytes.data, load_u32(len), e);
        if (rc == -ATOLL_ECORRUPT)
            return damaged(r, e);
    }
    uint8_t more;
    if (rc == 0 && read(r->fd, &more, 1) != 0)
        return damaged(r, e);
    return rc;
}

static int file_take(struct reading *r, const uint8_t genesis[static HASH_LEN],
                     uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                     const uint8_t *digest, struct kv_checkpoint_file *out, struct kv **kv,
                     struct error *e)
{
    struct kv_transfer *t = NULL;
    uint32_t manifest_len;
    int rc = head_read(r, genesis, digest, out, &manifest_len, e);
    if (rc == 0)
        rc = kv_transfer_open(out->digest, bucket_bits, bucket_key, &t, e);
    if (rc == 0)
        rc = kv_transfer_chunk(t, 0, r->bytes.data, manifest_len, e);
    if (rc == -ATOLL_ECORRUPT && t)
        rc = damaged(r, e);
    r->bytes.len = 0;
    if (rc == 0)
        rc = chunks_read(r, t, e);
    if (rc == 0)
        rc = kv_transfer_finish(t, kv, e);
    kv_transfer_close(t);
    return rc;
}

int kv_checkpoint_read(const char *path, const uint8_t genesis[static HASH_LEN],
                       uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                       const uint8_t *digest, struct kv_checkpoint_file *out, struct kv **kv,
                       struct error *e)
{
    *kv = NULL;
    *out = (struct kv_checkpoint_file){0};
    struct reading r = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                        .path = path};
    if (r.fd < 0)
        return error_set_errno(e, 0, "cannot open checkpoint %s", path);
    int rc = file_take(&r, genesis, bucket_bits, bucket_key, digest, out, kv, e);
    if (rc < 0)
        buffer_free(&out->meta);
    buffer_free(&r.bytes);
    close(r.fd);
    return rc;
}
