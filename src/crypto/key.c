/*
 * The user's keys. Each is a file of hexadecimal digits in the user's Atoll directory, made on
 * first use. Two processes that make one at once must end with the same key: the bytes are written
 * to a temporary file which is then linked to the final name, and whoever loses that race reads the
 * winner's file.
 */
#define _GNU_SOURCE
#include "crypto/key.h"

#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_FILE_MAX 4096

/* own, else base/atoll, else HOME/rest; the directory is made. */
static int user_directory(const char *own, const char *base, const char *rest, char *out,
                          size_t cap, struct error *e)
{
    const char *value = getenv(own);
    int used;
    if (value && *value) {
        used = snprintf(out, cap, "%s", value);
    } else if ((value = getenv(base)) && *value == '/') {
        used = snprintf(out, cap, "%s/atoll", value);
    } else if ((value = getenv("HOME")) && *value) {
        used = snprintf(out, cap, "%s/%s/atoll", value, rest);
    } else {
        return error_set(e, ATOLL_ENOENT, "neither %s nor HOME is set: set one of them", own);
    }
    if (used < 0 || (size_t)used >= cap)
        return error_set(e, ATOLL_ESIZE, "the path in %s is too long", own);
    int result = directory_make(out, 0700, e);
    return result < 0 ? error_prefix(e, "%s", own) : 0;
}

int home_directory(char *out, size_t cap, struct error *e)
{
    return user_directory("ATOLL_HOME", "XDG_DATA_HOME", ".local/share", out, cap, e);
}

int cache_directory(char *out, size_t cap, struct error *e)
{
    return user_directory("ATOLL_CACHE", "XDG_CACHE_HOME", ".cache", out, cap, e);
}

/* Exactly len bytes as hexadecimal digits, optionally followed by white space. */
static int hex_parse(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    while (text_len > 0 &&
           (text[text_len - 1] == '\n' || text[text_len - 1] == '\r' || text[text_len - 1] == ' '))
        text_len--;
    size_t got = 0;
    const char *end = NULL;
    if (text_len != 2 * len || sodium_hex2bin(out, len, text, text_len, NULL, &got, &end) != 0 ||
        got != len || end != text + text_len)
        return -ATOLL_EINVAL;
    return 0;
}

static int key_path(const char *name, char out[static PATH_MAX], struct error *e)
{
    char home[PATH_MAX - 32];
    int result = home_directory(home, sizeof home, e);
    if (result < 0)
        return result;
    snprintf(out, PATH_MAX, "%s/%s", home, name);
    return 0;
}

/* A secret that others could read or replace protects nothing. */
static int key_file_check(int fd, const char *path, bool secret, struct error *e)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(e, 0, "cannot examine %s", path);
    if (!S_ISREG(status.st_mode))
        return error_set(e, ATOLL_ETYPE, "%s is not a regular file", path);
    if (secret && (status.st_uid != geteuid() || (status.st_mode & 077) != 0))
        return error_set(e, ATOLL_EPERM,
                         "%s must be yours and closed to others: chown it to you and chmod 600",
                         path);
    return 0;
}

static int key_file_read(const char *path, bool secret, uint8_t *out, size_t len, struct error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot open %s", path);
    struct buffer text = {0};
    int result = key_file_check(fd, path, secret, e);
    if (result == 0)
        result = file_read_fd(fd, path, KEY_FILE_MAX, &text, e);
    if (result == 0 && hex_parse((const char *)text.data, text.len, out, len) < 0)
        result = error_set(e, ATOLL_ECORRUPT,
                           "%s does not hold %zu hexadecimal digits: restore it, or remove it to "
                           "get a new key",
                           path, 2 * len);
    if (text.data)
        sodium_memzero(text.data, text.capacity);
    buffer_free(&text);
    close(fd);
    return result;
}

/* Creates path with these bytes unless it exists; an existing file is left alone. */
static int key_file_create(const char *path, const uint8_t *key, size_t len, struct error *e)
{
    char temporary[PATH_MAX], text[2 * KEY_SECRET_LEN + 2];
    assert(2 * len + 2 <= sizeof text);
    sodium_bin2hex(text, sizeof text, key, len);
    text[2 * len] = '\n';
    int used = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (used < 0 || (size_t)used >= sizeof temporary)
        return error_set(e, ATOLL_ESIZE, "the path %s is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(e, 0, "cannot create a file beside %s", path);
    int result = file_write_all(fd, text, 2 * len + 1, e);
    sodium_memzero(text, sizeof text);
    if (result == 0 && fsync(fd) < 0)
        result = error_set_errno(e, 0, "cannot sync %s", path);
    close(fd);
    if (result == 0 && link(temporary, path) < 0 && errno != EEXIST)
        result = error_set_errno(e, 0, "cannot create %s", path);
    unlink(temporary);
    return result;
}

int key_artefact_mac(uint8_t out[static KEY_MAC_LEN], struct error *e)
{
    char path[PATH_MAX];
    int result = key_path("artefact.key", path, e);
    if (result < 0)
        return result;
    if (sodium_init() < 0)
        return error_set(e, ATOLL_EUNAVAIL, "libsodium cannot start: no source of randomness");
    if (access(path, F_OK) < 0) {
        uint8_t fresh[KEY_MAC_LEN];
        randombytes_buf(fresh, sizeof fresh);
        result = key_file_create(path, fresh, sizeof fresh, e);
        sodium_memzero(fresh, sizeof fresh);
        if (result < 0)
            return result;
    }
    return key_file_read(path, true, out, KEY_MAC_LEN, e);
}

/* The public half is derived from the secret file, so a stale or altered sign.pub misleads nobody.
 */
static int public_file_write(const struct key_pair *pair, struct error *e)
{
    char path[PATH_MAX], text[2 * KEY_PUBLIC_LEN + 2];
    int result = key_path("sign.pub", path, e);
    if (result < 0)
        return result;
    uint8_t there[KEY_PUBLIC_LEN];
    struct error ignored;
    if (key_file_read(path, false, there, sizeof there, &ignored) == 0 &&
        memcmp(there, pair->public_key, sizeof there) == 0)
        return 0;
    sodium_bin2hex(text, sizeof text, pair->public_key, KEY_PUBLIC_LEN);
    text[2 * KEY_PUBLIC_LEN] = '\n';
    return file_replace(path, text, 2 * KEY_PUBLIC_LEN + 1, 0644, e);
}

int key_signing(struct key_pair *out, struct error *e)
{
    char path[PATH_MAX];
    int result = key_path("sign.key", path, e);
    if (result < 0)
        return result;
    if (sodium_init() < 0)
        return error_set(e, ATOLL_EUNAVAIL, "libsodium cannot start: no source of randomness");
    if (access(path, F_OK) < 0) {
        struct key_pair fresh;
        crypto_sign_keypair(fresh.public_key, fresh.secret_key);
        result = key_file_create(path, fresh.secret_key, KEY_SECRET_LEN, e);
        sodium_memzero(&fresh, sizeof fresh);
        if (result < 0)
            return result;
    }
    result = key_file_read(path, true, out->secret_key, KEY_SECRET_LEN, e);
    if (result < 0)
        return result;
    /* The file's second half is the public key; compute it anew from the seed to see that it fits.
     */
    uint8_t seed[crypto_sign_SEEDBYTES], secret[KEY_SECRET_LEN];
    crypto_sign_ed25519_sk_to_seed(seed, out->secret_key);
    crypto_sign_seed_keypair(out->public_key, secret, seed);
    int same = sodium_memcmp(secret, out->secret_key, KEY_SECRET_LEN) == 0;
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(secret, sizeof secret);
    if (!same)
        return error_set(e, ATOLL_ECORRUPT,
                         "%s is not a signing key: restore it, or remove it to get a new key",
                         path);
    return public_file_write(out, e);
}

void key_erase(struct key_pair *pair)
{
    sodium_memzero(pair, sizeof *pair);
}

int key_public_parse(const char *text, uint8_t out[static KEY_PUBLIC_LEN], struct error *e)
{
    if (hex_parse(text, strlen(text), out, KEY_PUBLIC_LEN) == 0)
        return 0;
    int result = key_file_read(text, false, out, KEY_PUBLIC_LEN, e);
    return result < 0 ? error_prefix(e, "a public key is %d hexadecimal digits or a file with them",
                                     2 * KEY_PUBLIC_LEN)
                      : 0;
}

void sign_detached(const struct key_pair *key, const void *data, size_t len,
                   uint8_t out[static SIGNATURE_LEN])
{
    int failed = crypto_sign_detached(out, NULL, data, len, key->secret_key);
    assert(failed == 0);
    (void)failed;
}

int sign_verify(const uint8_t public_key[static KEY_PUBLIC_LEN], const void *data, size_t len,
                const uint8_t signature[static SIGNATURE_LEN])
{
    return crypto_sign_verify_detached(signature, data, len, public_key) == 0 ? 0
                                                                              : -ATOLL_ESIGNATURE;
}
