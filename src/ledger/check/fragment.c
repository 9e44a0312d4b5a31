/* See fragment.h. */
#define _GNU_SOURCE
#include "ledger/check/fragment.h"

#include "base/file.h"
#include "crypto/hash_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   "atollfrg"
#define VERSION 1u

/* ---- writing ---- */

struct fragment_writer {
    FILE *file;
    struct hash_stream hash;
    char path[PATH_MAX], temporary[PATH_MAX + 8];
};

static int put(struct fragment_writer *w, const void *data, size_t len, struct error *e)
{
    hash_stream_add(&w->hash, data, len);
    if (fwrite(data, 1, len, w->file) == len)
        return 0;
    return error_set_errno(e, ATOLL_EIO, "cannot write %s", w->temporary);
}

static int put_u32(struct fragment_writer *w, uint32_t v, struct error *e)
{
    return put(w, &v, sizeof v, e);
}

static int put_u64(struct fragment_writer *w, uint64_t v, struct error *e)
{
    return put(w, &v, sizeof v, e);
}

static int head_put(struct fragment_writer *w, const uint8_t *genesis,
                    const struct merkle_frontier *before, struct error *e)
{
    int rc = put(w, MAGIC, 8, e);
    if (rc == 0)
        rc = put_u32(w, VERSION, e);
    if (rc == 0)
        rc = put(w, genesis, HASH_LEN, e);
    if (rc == 0)
        rc = put_u64(w, before->size, e); /* the first position */
    if (rc == 0)
        rc = put_u64(w, before->size, e); /* the frontier's size */
    for (unsigned k = 0; k < MERKLE_LEVELS && rc == 0; k++) {
        if (before->size >> k & 1)
            rc = put(w, before->subtree[k].bytes, HASH_LEN, e);
    }
    return rc;
}

/* Only a file makes room for another: not a device, a pipe or a directory. */
static int target_check(const char *path, struct error *e)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return error_set(e, ATOLL_ETYPE, "%s is there and is no file; name another", path);
    return 0;
}

/* Beside the file that it will be; nobody else writes it. */
static int temporary_open(struct fragment_writer *w, struct error *e)
{
    snprintf(w->temporary, sizeof w->temporary, "%s.XXXXXX", w->path);
    int fd = mkostemp(w->temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create a file beside %s", w->path);
    w->file = fchmod(fd, 0644) == 0 ? fdopen(fd, "wb") : NULL;
    if (w->file)
        return 0;
    int rc = error_set_errno(e, 0, "cannot write %s", w->temporary);
    close(fd);
    unlink(w->temporary);
    return rc;
}

int fragment_create(const char *path, const uint8_t genesis[static HASH_LEN],
                    const struct merkle_frontier *before, struct fragment_writer **out,
                    struct error *e)
{
    *out = NULL;
    int rc = target_check(path, e);
    if (rc != 0)
        return rc;
    struct fragment_writer *w = calloc(1, sizeof *w);
    if (w == NULL || strlen(path) >= sizeof w->path) {
        free(w);
        return error_set(e, ATOLL_ENOMEM, "no memory for a fragment, or its path is too long");
    }
    strcpy(w->path, path);
    rc = temporary_open(w, e);
    if (rc != 0) {
        free(w);
        return rc;
    }
    hash_stream_begin(&w->hash);
    rc = head_put(w, genesis, before, e);
    if (rc != 0) {
        struct error ignored;
        fragment_close(w, false, &ignored);
        return rc;
    }
    *out = w;
    return 0;
}

int fragment_append(struct fragment_writer *w, uint8_t type, struct slice payload, struct error *e)
{
    int rc = put(w, &type, 1, e);
    if (rc == 0)
        rc = put_u32(w, (uint32_t)payload.len, e);
    return rc == 0 ? put(w, payload.data, payload.len, e) : rc;
}

int fragment_close(struct fragment_writer *w, bool keep, struct error *e)
{
    uint8_t end = 0, hash[HASH_LEN];
    int rc = keep ? put(w, &end, 1, e) : 0;
    hash_stream_end(&w->hash, hash);
    if (keep && rc == 0 &&
        (fwrite(hash, 1, sizeof hash, w->file) != sizeof hash || fflush(w->file) != 0 ||
         fsync(fileno(w->file)) != 0))
        rc = error_set_errno(e, ATOLL_EIO, "cannot write %s", w->temporary);
    fclose(w->file);
    if (keep && rc == 0 && rename(w->temporary, w->path) != 0)
        rc = error_set_errno(e, ATOLL_EIO, "cannot put %s in place", w->path);
    if (!keep || rc != 0)
        unlink(w->temporary);
    else
        rc = file_name_sync(w->path, e);
    free(w);
    return rc;
}

/* ---- reading ---- */

struct reader {
    FILE *file;
    const char *path;
    struct hash_stream hash;
    struct buffer payload;
};

static int get(struct reader *r, void *data, size_t len, struct error *e)
{
    if (fread(data, 1, len, r->file) != len)
        return ferror(r->file)
                   ? error_set_errno(e, ATOLL_EIO, "cannot read %s", r->path)
                   : error_set(e, ATOLL_ECORRUPT,
                               "%s is no whole ledger fragment: it ends too early", r->path);
    hash_stream_add(&r->hash, data, len);
    return 0;
}

static int head_get(struct reader *r, struct fragment_head *head, struct error *e)
{
    uint8_t magic[8];
    uint32_t version = 0;
    uint64_t size = 0;
    *head = (struct fragment_head){0};
    int rc = get(r, magic, sizeof magic, e);
    if (rc == 0)
        rc = get(r, &version, sizeof version, e);
    if (rc == 0 && (memcmp(magic, MAGIC, sizeof magic) != 0 || version != VERSION))
        rc = error_set(e, ATOLL_ECORRUPT, "%s is no ledger fragment of version %u", r->path,
                       VERSION);
    if (rc == 0)
        rc = get(r, head->genesis, HASH_LEN, e);
    if (rc == 0)
        rc = get(r, &head->first, sizeof head->first, e);
    if (rc == 0)
        rc = get(r, &size, sizeof size, e);
    if (rc == 0 && (size != head->first || size > MERKLE_SIZE_MAX))
        rc = error_set(e, ATOLL_ECORRUPT, "the frontier in %s does not fit its position", r->path);
    head->before.size = size;
    for (unsigned k = 0; k < MERKLE_LEVELS && rc == 0; k++) {
        if (size >> k & 1)
            rc = get(r, head->before.subtree[k].bytes, HASH_LEN, e);
    }
    return rc;
}

static int entries_get(struct reader *r, uint64_t position, fragment_visit *visit, void *context,
                       struct error *e)
{
    for (;; position++) {
        uint8_t type;
        uint32_t len;
        int rc = get(r, &type, 1, e);
        if (rc != 0 || type == 0)
            return rc;
        rc = get(r, &len, sizeof len, e);
        if (rc == 0 && len > LEDGER_ENTRY_MAX)
            rc = error_set(e, ATOLL_ECORRUPT, "an entry of %u bytes in %s", len, r->path);
        r->payload.len = 0;
        if (rc == 0 && !buffer_reserve(&r->payload, len + 1u))
            rc = error_set(e, ATOLL_ENOMEM, "no memory for an entry");
        if (rc == 0)
            rc = get(r, r->payload.data, len, e);
        if (rc == 0)
            rc = visit(context, position, type, slice_of(r->payload.data, len), e);
        if (rc != 0)
            return rc;
    }
}

static int trailer_check(struct reader *r, struct error *e)
{
    uint8_t is[HASH_LEN], should[HASH_LEN];
    hash_stream_end(&r->hash, is);
    if (fread(should, 1, sizeof should, r->file) != sizeof should || fgetc(r->file) != EOF)
        return error_set(e, ATOLL_ECORRUPT, "%s does not end where it should", r->path);
    if (memcmp(is, should, sizeof is) != 0)
        return error_set(e, ATOLL_ECORRUPT, "%s is damaged: its checksum is wrong", r->path);
    return 0;
}

int fragment_read(const char *path, struct fragment_head *head, fragment_visit *visit,
                  void *context, struct error *e)
{
    struct reader r = {.file = fopen(path, "rbe"), .path = path};
    if (r.file == NULL)
        return error_set_errno(e, 0, "cannot open %s", path);
    hash_stream_begin(&r.hash);
    int rc = head_get(&r, head, e);
    if (rc == 0)
        rc = entries_get(&r, head->first, visit, context, e);
    if (rc == 0)
        rc = trailer_check(&r, e);
    buffer_free(&r.payload);
    fclose(r.file);
    return rc;
}
