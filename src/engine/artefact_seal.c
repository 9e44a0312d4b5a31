/* Sealing, and artefacts as files of their own (artefact_save, artefact_load of compile.h). */
#define _GNU_SOURCE
#include "engine/artefact_seal.h"

#include "base/file.h"
#include "engine/compile.h"
#include "engine/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_PAGE (2u << 20)

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

int seal_open(const uint8_t *file, size_t len, const uint8_t mac_key[static KEY_MAC_LEN],
              struct artefact **out, struct error *e)
{
    *out = NULL;
    if (len < SEAL_LEN)
        return error_set(e, ATOLL_ECORRUPT, "the artefact file is cut off");
    size_t body = len - SEAL_LEN;
    const uint8_t *seal = file + body;
    uint8_t id[HASH_LEN], expected[HASH_LEN];
    artefact_identify(file, body, id);
    mac_make(id, seal, mac_key, expected);
    if (!hash_equal(expected, seal + HASH_LEN))
        return error_set(e, ATOLL_ECORRUPT,
                         "the artefact was changed, or was not made with this user's key");
    int rc = artefact_open_known(file, body, id, out, e);
    if (rc == 0)
        memcpy((*out)->key, seal, HASH_LEN);
    return rc;
}

/* Reads exactly len bytes, and that the file ends there. */
static int whole_read(int fd, uint8_t *to, size_t len, const char *path, struct error *e)
{
    uint8_t beyond;
    for (size_t done = 0; done <= len;) {
        ssize_t got = done < len ? read(fd, to + done, len - done) : read(fd, &beyond, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(e, 0, "cannot read %s", path);
        if ((got == 0) != (done == len))
            return error_set(e, ATOLL_ECORRUPT, "%s changed while it was read", path);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return 0;
}

/* Room for len bytes, on huge pages where the kernel gives them: clearing and mapping ordinary
 * pages one by one would take half as long as hashing them. Returns what to unmap, len + HUGE_PAGE
 * bytes. */
static uint8_t *buffer_map(size_t len, uint8_t **bytes)
{
    void *reserved =
        mmap(NULL, len + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserved == MAP_FAILED)
        return NULL;
    *bytes = (uint8_t *)(uintptr_t)align_up((uintptr_t)reserved, HUGE_PAGE);
    (void)madvise(*bytes, len, MADV_HUGEPAGE); /* a wish */
    return reserved;
}

static int descriptor_open(int fd, const char *path, const uint8_t mac_key[static KEY_MAC_LEN],
                           struct artefact **out, struct error *e)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(e, 0, "cannot examine %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(e, ATOLL_ETYPE, "%s is not a regular file", path);
    if (status.st_size < SEAL_LEN || (uint64_t)status.st_size > ARTEFACT_FILE_MAX)
        return error_set(e, ATOLL_ECORRUPT, "%s does not have the size of an artefact", path);
    size_t len = (size_t)status.st_size;
    uint8_t *bytes, *reserved = buffer_map(len, &bytes);
    if (!reserved)
        return error_set_errno(e, ATOLL_ENOMEM, "no memory to read %s", path);
    int rc = whole_read(fd, bytes, len, path, e);
    if (rc == 0 && (rc = seal_open(bytes, len, mac_key, out, e)) < 0)
        rc = error_prefix(e, "%s", path);
    munmap(reserved, len + HUGE_PAGE);
    return rc;
}

int seal_open_file(const char *path, const uint8_t mac_key[static KEY_MAC_LEN],
                   struct artefact **out, struct error *e)
{
    *out = NULL;
    /* O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    int rc = descriptor_open(fd, path, mac_key, out, e);
    close(fd);
    return rc;
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
