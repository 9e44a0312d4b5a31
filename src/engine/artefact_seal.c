/* Sealing, and artefacts as files of their own (artefact_save, artefact_load of compile.h). */
#define _GNU_SOURCE
#include "engine/artefact_seal.h"

#include "base/file.h"
#include "crypto/hash_stream.h"
#include "engine/compile.h"
#include "engine/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (128u << 10)

static void mac_make(const uint8_t id[static HASH_LEN], const uint8_t key[static HASH_LEN],
                     const uint8_t mac_key[static KEY_MAC_LEN], uint8_t out[static HASH_LEN])
{
    uint8_t both[2 * HASH_LEN];
    memcpy(both, id, HASH_LEN);
    memcpy(both + HASH_LEN, key, HASH_LEN);
    hash_blake2b(both, sizeof both, mac_key, KEY_MAC_LEN, out);
}

void seal_make(const uint8_t id[static HASH_LEN], const uint8_t key[static HASH_LEN],
               const uint8_t mac_key[static KEY_MAC_LEN], uint8_t out[static SEAL_LEN])
{
    memcpy(out, key, HASH_LEN);
    mac_make(id, key, mac_key, out + HASH_LEN);
}

static int seal_check(const uint8_t seal[static SEAL_LEN], const uint8_t id[static HASH_LEN],
                      const uint8_t mac_key[static KEY_MAC_LEN], struct error *e)
{
    uint8_t expected[HASH_LEN];
    mac_make(id, seal, mac_key, expected);
    if (!hash_equal(expected, seal + HASH_LEN))
        return error_set(e, ATOLL_ECORRUPT,
                         "the artefact was changed, or was not made with this user's key");
    return 0;
}

/* Exactly len bytes. */
static int piece_read(int fd, uint8_t *to, size_t len, struct error *e)
{
    for (size_t done = 0; done < len;) {
        ssize_t got = read(fd, to + done, len - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read it");
        if (got == 0)
            return error_set(e, ATOLL_ECORRUPT, "it became shorter while it was read");
        done += (size_t)got;
    }
    return 0;
}

/* Copies an artefact from its file into memory, hashing each piece while the processor's cache
 * still has it. */
static int body_copy(int from, int to, size_t len, uint8_t id[static HASH_LEN], struct error *e)
{
    uint8_t *piece = malloc(PIECE);
    struct hash_stream hash;
    int rc = piece ? 0 : error_set(e, ATOLL_ENOMEM, "no memory to read it");
    hash_stream_begin(&hash);
    for (size_t at = 0; rc == 0 && at < len;) {
        size_t n = len - at < PIECE ? len - at : PIECE;
        rc = piece_read(from, piece, n, e);
        if (rc == 0) {
            hash_stream_add(&hash, piece, n);
            rc = file_write_at(to, piece, n, at, e);
            if (rc < 0)
                rc = error_set(e, ATOLL_ENOMEM, "no memory to hold it: %s", e->text);
        }
        at += n;
    }
    hash_stream_end(&hash, id);
    free(piece);
    return rc;
}

/* The file's bytes as a memory file that nobody can change, the seal apart. */
static int body_take(int fd, size_t len, uint8_t id[static HASH_LEN], uint8_t seal[static SEAL_LEN],
                     struct error *e)
{
    int memory = memory_file("atoll-artefact", NULL, 0, len, false, true, e);
    if (memory < 0)
        return memory;
    int rc = body_copy(fd, memory, len, id, e);
    if (rc == 0)
        rc = piece_read(fd, seal, SEAL_LEN, e);
    if (rc == 0)
        rc = memory_file_seal(memory, e);
    if (rc < 0)
        close(memory);
    return rc < 0 ? rc : memory;
}

static int sealed_open(int fd, const uint8_t mac_key[static KEY_MAC_LEN], struct artefact **out,
                       struct error *e)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(e, 0, "cannot examine it");
    if (status.st_size < SEAL_LEN)
        return error_set(e, ATOLL_ECORRUPT, "it does not have the size of an artefact");
    uint8_t id[HASH_LEN], seal[SEAL_LEN];
    int memory = body_take(fd, (size_t)status.st_size - SEAL_LEN, id, seal, e);
    if (memory < 0)
        return memory;
    int rc = seal_check(seal, id, mac_key, e);
    if (rc == 0)
        rc = artefact_open_file(memory, id, out, e);
    if (rc == 0)
        memcpy((*out)->key, seal, HASH_LEN);
    close(memory);
    return rc;
}

int seal_open_file(const char *path, const uint8_t mac_key[static KEY_MAC_LEN],
                   struct artefact **out, struct error *e)
{
    *out = NULL;
    int fd = file_open_regular(path, ARTEFACT_FILE_MAX, e);
    if (fd < 0)
        return fd;
    int rc = sealed_open(fd, mac_key, out, e);
    close(fd);
    return rc < 0 ? error_prefix(e, "%s", path) : 0;
}

int artefact_save(const struct artefact *a, const char *path, struct error *e)
{
    uint8_t mac_key[KEY_MAC_LEN], seal[SEAL_LEN];
    struct buffer file = {0};
    int rc = key_artefact_mac(mac_key, e);
    if (rc == 0)
        rc = artefact_bytes(a, &file, e);
    if (rc < 0) {
        buffer_free(&file);
        return rc;
    }
    seal_make(a->id, a->key, mac_key, seal);
    if (buffer_append(&file, seal, sizeof seal))
        rc = file_replace(path, file.data, file.len, 0644, e);
    else
        rc = error_set(e, ATOLL_ENOMEM, "no memory to save an artefact");
    buffer_free(&file);
    return rc;
}

int artefact_load(const char *path, struct artefact **out, struct error *e)
{
    uint8_t mac_key[KEY_MAC_LEN];
    *out = NULL;
    int rc = key_artefact_mac(mac_key, e);
    if (rc == 0)
        rc = seal_open_file(path, mac_key, out, e);
    if (rc == 0 && (rc = cpu_require((*out)->cpu_features, e)) < 0) {
        artefact_release(*out);
        *out = NULL;
    }
    return rc;
}
