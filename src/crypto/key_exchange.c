/* See key_exchange.h. OpenSSL refuses a result of all zeros, which is what points of small order
 * give.
 */
#include "crypto/key_exchange.h"

#include "base/random.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stddef.h>

static EVP_PKEY *secret_of(const struct key_exchange *x)
{
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, x->secret_key, KEY_EXCHANGE_LEN);
}

int key_exchange_begin(struct key_exchange *x, struct error *e)
{
    size_t len = KEY_EXCHANGE_LEN;
    if (random_bytes(x->secret_key, KEY_EXCHANGE_LEN) != 0)
        return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    EVP_PKEY *key = secret_of(x);
    int done = key && EVP_PKEY_get_raw_public_key(key, x->public_key, &len) == 1;
    EVP_PKEY_free(key);
    return done ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a key");
}

int key_exchange_secret(const struct key_exchange *x,
                        const uint8_t peer_public[static KEY_EXCHANGE_LEN],
                        uint8_t out[static KEY_EXCHANGE_LEN], struct error *e)
{
    size_t len = KEY_EXCHANGE_LEN;
    EVP_PKEY *key = secret_of(x);
    EVP_PKEY *peer =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, peer_public, KEY_EXCHANGE_LEN);
    EVP_PKEY_CTX *context = key && peer ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    int agreed = context && EVP_PKEY_derive_init(context) == 1 &&
                 EVP_PKEY_derive_set_peer(context, peer) == 1 &&
                 EVP_PKEY_derive(context, out, &len) == 1;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(key);
    if (agreed)
        return 0;
    sodium_memzero(out, KEY_EXCHANGE_LEN);
    return error_set(e, ATOLL_EINVAL, "the other side's key of the exchange is of small order");
}

void key_exchange_erase(struct key_exchange *x)
{
    sodium_memzero(x, sizeof *x);
}
