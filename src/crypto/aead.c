/* See aead.h. Two contexts of OpenSSL, one for each direction, keyed once. */
#include "crypto/aead.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct aead {
    EVP_CIPHER_CTX *seal, *open;
};

static EVP_CIPHER_CTX *context_create(const EVP_CIPHER *cipher, const uint8_t *key, int seals)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_CipherInit_ex(context, cipher, NULL, key, NULL, seals) == 1)
        return context;
    EVP_CIPHER_CTX_free(context);
    return NULL;
}

int aead_create(enum aead_cipher which, const uint8_t key[static AEAD_KEY_LEN], struct aead **out,
                struct error *e)
{
    const EVP_CIPHER *cipher =
        which == AEAD_AES_256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
    struct aead *a = calloc(1, sizeof *a);
    *out = NULL;
    if (a) {
        a->seal = context_create(cipher, key, 1);
        a->open = context_create(cipher, key, 0);
    }
    if (a == NULL || a->seal == NULL || a->open == NULL) {
        aead_destroy(a);
        return error_set(e, ATOLL_ENOMEM, "no memory for a cipher");
    }
    *out = a;
    return 0;
}

void aead_destroy(struct aead *a)
{
    if (a == NULL)
        return;
    EVP_CIPHER_CTX_free(a->seal); /* erases the key */
    EVP_CIPHER_CTX_free(a->open);
    free(a);
}

void aead_nonce(uint64_t counter, uint8_t out[static AEAD_NONCE_LEN])
{
    memset(out, 0, AEAD_NONCE_LEN - 8);
    for (int i = 0; i < 8; i++)
        out[AEAD_NONCE_LEN - 1 - i] = (uint8_t)(counter >> 8 * i);
}

void aead_seal(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *associated,
               size_t associated_len, const void *data, size_t len, uint8_t *out)
{
    int written = 0, rest = 0;
    assert(len <= INT_MAX - AEAD_TAG_LEN && associated_len <= INT_MAX);
    int done = EVP_CipherInit_ex(a->seal, NULL, NULL, NULL, nonce, 1);
    if (associated_len > 0)
        done &= EVP_CipherUpdate(a->seal, NULL, &written, associated, (int)associated_len);
    written = 0;
    if (len > 0)
        done &= EVP_CipherUpdate(a->seal, out, &written, data, (int)len);
    done &= EVP_CipherFinal_ex(a->seal, out + written, &rest);
    done &= EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, out + len);
    assert(done == 1 && (size_t)written == len);
    (void)done;
}

int aead_open(struct aead *a, const uint8_t nonce[static AEAD_NONCE_LEN], const void *associated,
              size_t associated_len, const void *sealed, size_t len, uint8_t *out, struct error *e)
{
    if (len < AEAD_TAG_LEN)
        return error_set(e, ATOLL_ECORRUPT, "sealed bytes are shorter than their tag");
    size_t plain = len - AEAD_TAG_LEN;
    int written = 0, rest = 0;
    uint8_t tag[AEAD_TAG_LEN];
    memcpy(tag, (const uint8_t *)sealed + plain, sizeof tag);
    int done = plain <= INT_MAX && associated_len <= INT_MAX &&
               EVP_CipherInit_ex(a->open, NULL, NULL, NULL, nonce, 0) == 1;
    if (done && associated_len > 0)
        done = EVP_CipherUpdate(a->open, NULL, &written, associated, (int)associated_len);
    if (done && plain > 0)
        done = EVP_CipherUpdate(a->open, out, &written, sealed, (int)plain);
    if (done && EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, tag) == 1 &&
        EVP_CipherFinal_ex(a->open, out + plain, &rest) == 1)
        return 0;
    if (plain > 0)
        memset(out, 0, plain);
    return error_set(e, ATOLL_ECORRUPT, "sealed bytes are damaged, forged or for another key");
}
