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

static int reading_begin(struct reading *r, const char *path, struct error *e)
{
    *r = (struct reading){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                          .path = path};
    return r->fd < 0 ? error_set_errno(e, 0, "cannot open checkpoint %s", path) : 0;
}

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

/* Head and manifest: a transfer that knows what the chunks have to be. The manifest stays in
 * `bytes`. */
static int manifest_read(struct reading *r, const uint8_t genesis[static HASH_LEN],
                         uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                         const uint8_t *digest, struct kv_checkpoint_file *out,
                         struct kv_transfer **t, struct error *e)
{
    uint32_t manifest_len;
    int rc = head_read(r, genesis, digest, out, &manifest_len, e);
    if (rc == 0)
        rc = kv_transfer_open(out->digest, bucket_bits, bucket_key, t, e);
    if (rc < 0)
        return rc;
    rc = kv_transfer_chunk(*t, 0, r->bytes.data, manifest_len, e);
    r->bytes.len = manifest_len;
    return rc == -ATOLL_ECORRUPT ? damaged(r, e) : rc;
}

static int file_take(struct reading *r, const uint8_t genesis[static HASH_LEN],
                     uint32_t bucket_bits, const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                     const uint8_t *digest, struct kv_checkpoint_file *out, struct kv **kv,
                     struct error *e)
{
    struct kv_transfer *t = NULL;
    int rc = manifest_read(r, genesis, bucket_bits, bucket_key, digest, out, &t, e);
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
    struct reading r;
    *kv = NULL;
    *out = (struct kv_checkpoint_file){0};
    int rc = reading_begin(&r, path, e);
    if (rc < 0)
        return rc;
    rc = file_take(&r, genesis, bucket_bits, bucket_key, digest, out, kv, e);
    if (rc < 0)
        buffer_free(&out->meta);
    buffer_free(&r.bytes);
    close(r.fd);
    return rc;
}

/* ---- giving ---- */

struct kv_checkpoint_reader {
    char *path; /* for what is said */
    int fd;
    struct buffer manifest;
    struct kv_transfer *wanted; /* what the chunks have to be; holds none */
    uint64_t *at;               /* where the length of each chunk stands */
    uint32_t chunks;            /* the manifest included */
};

void kv_checkpoint_reader_close(struct kv_checkpoint_reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    kv_transfer_close(r->wanted);
    buffer_free(&r->manifest);
    free(r->at);
    free(r->path);
    free(r);
}

static int reader_damaged(const struct kv_checkpoint_reader *r, struct error *e)
{
    return error_set(e, ATOLL_ECORRUPT, "checkpoint %s is damaged; it is given no longer", r->path);
}

/* Reads len bytes at an offset. */
static int reader_read(const struct kv_checkpoint_reader *r, uint64_t offset, void *to, size_t len,
                       struct error *e)
{
    for (uint8_t *at = to; len > 0;) {
        ssize_t got = pread(r->fd, at, len, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read %s", r->path);
        if (got == 0)
            return reader_damaged(r, e);
        at += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

/* Length of the chunk whose length stands at the offset. */
static int reader_len(const struct kv_checkpoint_reader *r, uint64_t offset, uint32_t *len,
                      struct error *e)
{
    uint8_t bytes[4];
    int rc = reader_read(r, offset, bytes, sizeof bytes, e);
    *len = rc == 0 ? load_u32(bytes) : 0;
    return rc == 0 && *len > KV_CHUNK_MAX ? reader_damaged(r, e) : rc;
}

/* Notes where each chunk is, from the offset on. */
static int reader_index(struct kv_checkpoint_reader *r, uint64_t offset, struct error *e)
{
    uint32_t len;
    r->chunks = kv_transfer_chunks(r->wanted);
    r->at = malloc(r->chunks * sizeof *r->at);
    if (!r->at)
        return error_set(e, ATOLL_ENOMEM, "no memory to give from %s", r->path);
    for (uint32_t number = 1; number < r->chunks; number++) {
        int rc = reader_len(r, offset, &len, e);
        if (rc < 0)
            return rc;
        r->at[number] = offset;
        offset += 4 + (uint64_t)len;
    }
    return 0;
}

int kv_checkpoint_reader_open(const char *path, const uint8_t genesis[static HASH_LEN],
                              uint32_t bucket_bits,
                              const uint8_t bucket_key[static SIPHASH_KEY_LEN],
                              const uint8_t *digest, struct kv_checkpoint_file *out,
                              struct kv_checkpoint_reader **opened, struct error *e)
{
    struct reading file = {.fd = -1};
    struct kv_checkpoint_reader *r = calloc(1, sizeof *r);
    *opened = NULL;
    *out = (struct kv_checkpoint_file){0};
    if (r)
        r->fd = -1;
    if (!r || (r->path = strdup(path)) == NULL) {
        kv_checkpoint_reader_close(r);
        return error_set(e, ATOLL_ENOMEM, "no memory to give from %s", path);
    }
    int rc = reading_begin(&file, path, e);
    r->fd = file.fd;
    if (rc == 0)
        rc = manifest_read(&file, genesis, bucket_bits, bucket_key, digest, out, &r->wanted, e);
    r->manifest = file.bytes;
    if (rc == 0)
        rc =
            reader_index(r, KV_FILE_HEAD + (uint64_t)out->meta.len + r->manifest.len + HASH_LEN, e);
    if (rc < 0) {
        buffer_free(&out->meta);
        kv_checkpoint_reader_close(r);
        return rc;
    }
    *opened = r;
    return 0;
}

uint32_t kv_checkpoint_reader_chunks(const struct kv_checkpoint_reader *r)
{
    return r->chunks;
}

int kv_checkpoint_reader_chunk(struct kv_checkpoint_reader *r, uint32_t number, struct buffer *out,
                               struct error *e)
{
    uint32_t len;
    out->len = 0;
    if (number >= r->chunks)
        return error_set(e, ATOLL_ERANGE, "the checkpoint has no chunk %u, only %u", number,
                         r->chunks - 1);
    if (number == 0)
        return buffer_append(out, r->manifest.data, r->manifest.len)
                   ? 0
                   : error_set(e, ATOLL_ENOMEM, "no memory to give from %s", r->path);
    int rc = reader_len(r, r->at[number], &len, e);
    if (rc == 0 && !buffer_reserve(out, len + 1))
        rc = error_set(e, ATOLL_ENOMEM, "no memory to give from %s", r->path);
    if (rc == 0)
        rc = reader_read(r, r->at[number] + 4, out->data, len, e);
    if (rc == 0)
        rc = kv_transfer_check(r->wanted, number, out->data, len, e);
    if (rc == 0)
        out->len = len;
    return rc == -ATOLL_ECORRUPT ? reader_damaged(r, e) : rc;
}
