/* SipHash-2-4 is libsodium's crypto_shorthash. */
#include "crypto/siphash.h"

#include "base/bytes.h"

#include <sodium.h>

uint64_t siphash(const uint8_t key[static SIPHASH_KEY_LEN], const void *data, size_t len)
{
    uint8_t out[crypto_shorthash_siphash24_BYTES];
    crypto_shorthash_siphash24(out, data, len, key);
    return load_u64(out);
}
