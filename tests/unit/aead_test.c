/* Sealing, key derivation and key exchange against the published vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/aead.h"
#include "crypto/kdf.h"
#include "crypto/key_exchange.h"

#include <sodium.h>
#include <string.h>

static size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
    size_t len = 0;
    assert_int_equal(sodium_hex2bin(out, cap, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

/* ---- HMAC and HKDF ---- */

static void hmac_gives_the_values_of_rfc_4231(void **state)
{
    (void)state;
    uint8_t mac[HASH_LEN], key[131], want[HASH_LEN];
    struct hash_part parts[2] = {{"what do ya want ", 16}, {"for nothing?", 12}};
    hmac_sha256((const uint8_t *)"Jefe", 4, parts, 2, mac);
    unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", want, sizeof want);
    assert_memory_equal(mac, want, sizeof want);
    memset(key, 0xaa, sizeof key); /* longer than a block */
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    hmac_sha256(key, sizeof key, &(struct hash_part){text, strlen(text)}, 1, mac);
    unhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", want, sizeof want);
    assert_memory_equal(mac, want, sizeof want);
}

static void hkdf_gives_the_values_of_rfc_5869(void **state)
{
    (void)state;
    uint8_t secret[22], salt[13], out[42], want[42];
    const char label[] = {(char)0xf0, (char)0xf1, (char)0xf2, (char)0xf3, (char)0xf4, (char)0xf5,
                          (char)0xf6, (char)0xf7, (char)0xf8, (char)0xf9, 0};
    memset(secret, 0x0b, sizeof secret);
    for (unsigned i = 0; i < sizeof salt; i++)
        salt[i] = (uint8_t)i;
    hkdf_sha256(secret, sizeof secret, salt, sizeof salt, label, out, sizeof out);
    unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
          want, sizeof want);
    assert_memory_equal(out, want, sizeof want);
    hkdf_sha256(secret, sizeof secret, NULL, 0, "", out, sizeof out);
    unhex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
          want, sizeof want);
    assert_memory_equal(out, want, sizeof want);
}

/* ---- sealing ---- */

struct sealing {
    enum aead_cipher cipher;
    const char *key, *nonce, *associated, *plain, *sealed;
};

/* RFC 8439, section 2.8.2; test case 16 of the GCM specification (McGrew and Viega). */
static const struct sealing sealings[] = {
    {AEAD_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
     "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
     "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204"
     "920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c"
     "2073756e73637265656e20776f756c642062652069742e",
     "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da9"
     "2728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808"
     "b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"},
    {AEAD_AES_256_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
     "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a"
     "6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
     "828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

static void sealing_gives_the_published_bytes_and_opening_undoes_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sealings / sizeof sealings[0]; i++) {
        const struct sealing *s = &sealings[i];
        uint8_t key[32], nonce[12], associated[32], plain[256], sealed[256], out[256];
        struct aead *a;
        struct error e;
        unhex(s->key, key, sizeof key);
        unhex(s->nonce, nonce, sizeof nonce);
        size_t associated_len = unhex(s->associated, associated, sizeof associated);
        size_t len = unhex(s->plain, plain, sizeof plain);
        size_t sealed_len = unhex(s->sealed, sealed, sizeof sealed);
        assert_int_equal(aead_create(s->cipher, key, &a, &e), 0);
        for (int again = 0; again < 2; again++) {
            aead_seal(a, nonce, associated, associated_len, plain, len, out);
            assert_int_equal(len + AEAD_TAG_LEN, sealed_len);
            assert_memory_equal(out, sealed, sealed_len);
            /* in place */
            assert_int_equal(
                aead_open(a, nonce, associated, associated_len, out, sealed_len, out, &e), 0);
            assert_memory_equal(out, plain, len);
        }
        aead_destroy(a);
    }
}

static void whatever_is_changed_nothing_opens(void **state)
{
    (void)state;
    for (int cipher = AEAD_AES_256_GCM; cipher <= AEAD_CHACHA20_POLY1305; cipher++) {
        uint8_t key[32] = {7}, nonce[AEAD_NONCE_LEN], other[AEAD_NONCE_LEN],
                sealed[20 + AEAD_TAG_LEN];
        uint8_t out[20], zeros[20] = {0};
        struct aead *a;
        struct error e;
        aead_nonce(41, nonce);
        aead_nonce(42, other);
        assert_int_equal(aead_create((enum aead_cipher)cipher, key, &a, &e), 0);
        aead_seal(a, nonce, "head", 4, "twenty bytes of text", 20, sealed);
        for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
            memset(out, 1, sizeof out);
            assert_int_equal(aead_open(a, nonce, "head", 4, sealed, sizeof sealed, out, &e),
                             -ATOLL_ECORRUPT);
            assert_memory_equal(out, zeros, sizeof out);
            sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(aead_open(a, other, "head", 4, sealed, sizeof sealed, out, &e),
                         -ATOLL_ECORRUPT);
        assert_int_equal(aead_open(a, nonce, "heap", 4, sealed, sizeof sealed, out, &e),
                         -ATOLL_ECORRUPT);
        assert_int_equal(aead_open(a, nonce, "head", 4, sealed, sizeof sealed - 1, out, &e),
                         -ATOLL_ECORRUPT);
        assert_int_equal(aead_open(a, nonce, NULL, 0, sealed, AEAD_TAG_LEN - 1, out, &e),
                         -ATOLL_ECORRUPT);
        assert_int_equal(aead_open(a, nonce, "head", 4, sealed, sizeof sealed, out, &e), 0);
        /* nothing but associated data */
        aead_seal(a, other, "head", 4, NULL, 0, sealed);
        assert_int_equal(aead_open(a, other, "head", 4, sealed, AEAD_TAG_LEN, out, &e), 0);
        assert_int_equal(aead_open(a, other, "hear", 4, sealed, AEAD_TAG_LEN, out, &e),
                         -ATOLL_ECORRUPT);
        aead_destroy(a);
    }
}

/* ---- exchange ---- */

/* Section 5.2: k and u begin as 9; k becomes X25519(k, u) and u the old k. */
static void exchange_gives_the_iterated_values_of_rfc_7748(void **state)
{
    (void)state;
    struct key_exchange own = {.secret_key = {9}};
    struct error e;
    uint8_t peer[KEY_EXCHANGE_LEN] = {9}, next[KEY_EXCHANGE_LEN], want[KEY_EXCHANGE_LEN];
    for (int turn = 1; turn <= 1000; turn++) {
        assert_int_equal(key_exchange_secret(&own, peer, next, &e), 0);
        memcpy(peer, own.secret_key, sizeof peer);
        memcpy(own.secret_key, next, sizeof next);
        if (turn == 1) {
            unhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079", want,
                  sizeof want);
            assert_memory_equal(next, want, sizeof want);
        }
    }
    unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51", want, sizeof want);
    assert_memory_equal(next, want, sizeof want);
}

static void both_ends_agree_and_points_of_small_order_are_refused(void **state)
{
    (void)state;
    struct key_exchange a, b;
    struct error e;
    uint8_t mine[KEY_EXCHANGE_LEN], theirs[KEY_EXCHANGE_LEN];
    assert_int_equal(key_exchange_begin(&a, &e), 0);
    assert_int_equal(key_exchange_begin(&b, &e), 0);
    assert_int_equal(key_exchange_secret(&a, b.public_key, mine, &e), 0);
    assert_int_equal(key_exchange_secret(&b, a.public_key, theirs, &e), 0);
    assert_memory_equal(mine, theirs, sizeof mine);
    for (uint8_t u = 0; u < 2; u++) {
        uint8_t small[KEY_EXCHANGE_LEN] = {u};
        assert_int_equal(key_exchange_secret(&a, small, mine, &e), -ATOLL_EINVAL);
    }
    key_exchange_erase(&a);
    key_exchange_erase(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_gives_the_values_of_rfc_4231),
        cmocka_unit_test(hkdf_gives_the_values_of_rfc_5869),
        cmocka_unit_test(sealing_gives_the_published_bytes_and_opening_undoes_it),
        cmocka_unit_test(whatever_is_changed_nothing_opens),
        cmocka_unit_test(exchange_gives_the_iterated_values_of_rfc_7748),
        cmocka_unit_test(both_ends_agree_and_points_of_small_order_are_refused),
    };
    return cmocka_run_group_tests_name("aead", tests, NULL, NULL);
}
