/* See secret.h. All but signing is libsodium's; the parameters of Argon2id lie in the file, so that
 * they can grow without making old files unreadable, and are bounded when read. */
#define _GNU_SOURCE
#include "crypto/secret.h"

#include "base/bytes.h"
#include "base/file.h"
#include "crypto/ed25519_sign.h"
#include "crypto/kdf.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          "ATOLLKEY"
#define FORM_PLAIN     1u
#define FORM_SEALED    2u
#define PLAIN_LEN      44u
#define HEAD_LEN       60u
#define SEALED_LEN     108u
#define PASSES         3u
#define MEMORY_KIB     65536u
#define PASSES_MAX     64u
#define MEMORY_KIB_MAX 4194304u

_Static_assert(crypto_pwhash_SALTBYTES == 16 &&
                   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == 24 &&
                   crypto_aead_xchacha20poly1305_ietf_ABYTES == 16,
               "the layout of secret.h");

struct secret {
    struct ed25519_signer signer;
    uint8_t seed[SECRET_SEED_LEN];
};

static int secret_room(struct secret **out, struct error *e)
{
    *out = sodium_init() >= 0 ? sodium_malloc(sizeof **out) : NULL;
    return *out ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a key");
}

int secret_from_seed(const uint8_t seed[static SECRET_SEED_LEN], struct secret **out,
                     struct error *e)
{
    int rc = secret_room(out, e);
    if (rc != 0)
        return rc;
    memcpy((*out)->seed, seed, SECRET_SEED_LEN);
    ed25519_signer_init(&(*out)->signer, seed);
    return 0;
}

int secret_generate(struct secret **out, struct error *e)
{
    uint8_t seed[SECRET_SEED_LEN];
    *out = NULL;
    if (sodium_init() < 0)
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    randombytes_buf(seed, sizeof seed);
    int rc = secret_from_seed(seed, out, e);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

void secret_destroy(struct secret *s)
{
    sodium_free(s); /* erases it */
}

const uint8_t *secret_public(const struct secret *s)
{
    return s->signer.public_key;
}

void secret_sign(const struct secret *s, const void *data, size_t len,
                 uint8_t out[static SIGNATURE_LEN])
{
    ed25519_sign(&s->signer, data, len, out);
}

void secret_derive(const struct secret *s, const char *label, uint8_t *out, size_t out_len)
{
    hkdf_sha256(s->seed, sizeof s->seed, NULL, 0, label, out, out_len);
}

/* ---- files ---- */

static int seal_key(const uint8_t head[static HEAD_LEN], const char *passphrase,
                    uint8_t key[static 32], struct error *e)
{
    uint32_t passes = load_u32(head + 12), kib = load_u32(head + 16);
    if (passes < 1 || passes > PASSES_MAX || kib < 8 || kib > MEMORY_KIB_MAX)
        return error_set(e, ATOLL_ECORRUPT, "the key file asks for impossible work");
    if (crypto_pwhash(key, 32, passphrase, strlen(passphrase), head + 20, passes, (size_t)kib << 10,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return error_set(e, ATOLL_ENOMEM, "no memory to work on the passphrase (%u MiB)",
                         kib >> 10);
    return 0;
}

static int secret_encode(const struct secret *s, const char *passphrase,
                         uint8_t out[static SEALED_LEN], size_t *len, struct error *e)
{
    uint8_t key[32];
    memcpy(out, MAGIC, 8);
    if (passphrase == NULL) {
        store_u32(out + 8, FORM_PLAIN);
        memcpy(out + 12, s->seed, SECRET_SEED_LEN);
        *len = PLAIN_LEN;
        return 0;
    }
    store_u32(out + 8, FORM_SEALED);
    store_u32(out + 12, PASSES);
    store_u32(out + 16, MEMORY_KIB);
    randombytes_buf(out + 20, HEAD_LEN - 20);
    int rc = seal_key(out, passphrase, key, e);
    if (rc == 0)
        crypto_aead_xchacha20poly1305_ietf_encrypt(out + HEAD_LEN, NULL, s->seed, SECRET_SEED_LEN,
                                                   out, HEAD_LEN, NULL, out + 36, key);
    sodium_memzero(key, sizeof key);
    *len = SEALED_LEN;
    return rc;
}

int secret_write(const struct secret *s, const char *path, const char *passphrase, struct error *e)
{
    uint8_t bytes[SEALED_LEN];
    size_t len;
    int rc = secret_encode(s, passphrase, bytes, &len, e);
    if (rc != 0)
        return rc;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = error_set_errno(e, errno == EEXIST ? ATOLL_EEXIST : 0, "the key file %s", path);
    } else {
        rc = file_write_all(fd, bytes, len, e);
        if (rc != 0)
            rc = error_prefix(e, "the key file %s", path);
        else if (fsync(fd) != 0)
            rc = error_set_errno(e, ATOLL_EIO, "the key file %s", path);
        close(fd);
        if (rc != 0)
            unlink(path);
        else
            rc = file_name_sync(path, e);
    }
    sodium_memzero(bytes, sizeof bytes);
    return rc;
}

static int secret_decode(const uint8_t *bytes, size_t len, const char *path, const char *passphrase,
                         struct secret **out, struct error *e)
{
    uint32_t form = len >= 12 && memcmp(bytes, MAGIC, 8) == 0 ? load_u32(bytes + 8) : 0;
    uint8_t key[32], seed[SECRET_SEED_LEN];
    if (form == FORM_PLAIN && len == PLAIN_LEN)
        return secret_from_seed(bytes + 12, out, e);
    if (form != FORM_SEALED || len != SEALED_LEN)
        return error_set(e, ATOLL_ECORRUPT, "%s is not a key file", path);
    if (passphrase == NULL)
        return error_set(e, ATOLL_ESIGNATURE, "the key in %s is sealed: give its passphrase", path);
    int rc = seal_key(bytes, passphrase, key, e);
    if (rc == 0 && crypto_aead_xchacha20poly1305_ietf_decrypt(seed, NULL, NULL, bytes + HEAD_LEN,
                                                              SEALED_LEN - HEAD_LEN, bytes,
                                                              HEAD_LEN, bytes + 36, key) != 0)
        rc = error_set(e, ATOLL_ESIGNATURE, "the passphrase for %s is wrong, or the file damaged",
                       path);
    if (rc == 0)
        rc = secret_from_seed(seed, out, e);
    sodium_memzero(key, sizeof key);
    sodium_memzero(seed, sizeof seed);
    return rc;
}

int secret_read(const char *path, const char *passphrase, struct secret **out, struct error *e)
{
    struct stat st;
    struct buffer bytes = {0};
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = error_set_errno(e, 0, "the key file %s", path);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    int rc = 0;
    if ((st.st_mode & 077) != 0)
        rc = error_set(e, ATOLL_EPERM, "others may read the key in %s: chmod 600 it", path);
    if (rc == 0)
        rc = file_read_fd(fd, path, 4096, &bytes, e);
    close(fd);
    if (rc == 0)
        rc = sodium_init() < 0 ? error_set(e, ATOLL_EUNAVAIL, "no cryptography library")
                               : secret_decode(bytes.data, bytes.len, path, passphrase, out, e);
    if (bytes.data)
        sodium_memzero(bytes.data, bytes.len);
    buffer_free(&bytes);
    return rc;
}
