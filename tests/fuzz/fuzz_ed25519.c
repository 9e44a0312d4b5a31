/*
 * Makes signatures of the bytes, of every kind on which verifiers disagree, and puts them into
 * batches of the portable and of the vector kernel: each must get the verdict of a single check.
 *
 *   item   kind u8 | two operands u8 u8 | for raw ones: key 32, signature 64
 */
#include "../unit/ed25519_fixture.h"

#include "crypto/ed25519_batch.h"
#include "crypto/ed25519_ifma.h"

#include <stdlib.h>

#define ITEMS_MAX 24

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum kind { RAW, HONEST, FLIPPED, SMALL, TORSION, KINDS };

static struct ed25519_batch *batches[2];

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    struct error e;
    int bad = sodium_init() < 0;
    bad |= ed25519_batch_create(ITEMS_MAX, ED25519_KERNEL_PORTABLE, &batches[0], &e);
    if (ifma_available())
        bad |= ed25519_batch_create(ITEMS_MAX, ED25519_KERNEL_IFMA, &batches[1], &e);
    assert(!bad);
    return 0;
}

static void message_make(struct signed_message *m, enum kind kind, const uint8_t operand[2])
{
    uint8_t seed[32] = {operand[0]}, a[32] = {1}, r[32] = {2};
    m->len = operand[1] % sizeof m->message;
    a[1] = operand[0];
    r[1] = operand[1];
    signed_by_sodium(m, seed);
    if (kind == FLIPPED)
        m->signature[operand[1] / 4 % 64] ^= (uint8_t)(1u << operand[0] % 8);
    if (kind == TORSION)
        signed_with_torsion(m, a, r, operand[0] % 8, operand[1] % 8);
    if (kind == SMALL) {
        memset(m->signature, 0, sizeof m->signature);
        torsion_encoding(operand[0] % TORSION_COUNT, m->public_key);
        torsion_encoding(operand[1] % TORSION_COUNT, m->signature);
        m->signature[32] = operand[0] >> 7;
    }
}

static size_t messages_make(const uint8_t *data, size_t size, struct signed_message *messages)
{
    size_t count = 0;
    while (count < ITEMS_MAX && size >= 3) {
        struct signed_message *m = &messages[count++];
        enum kind kind = data[0] % KINDS;
        memset(m, 0, sizeof *m);
        message_make(m, kind, data + 1);
        data += 3;
        size -= 3;
        if (kind == RAW && size >= 96) {
            memcpy(m->public_key, data, 32);
            memcpy(m->signature, data + 32, 64);
            data += 96;
            size -= 96;
        }
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signed_message messages[ITEMS_MAX];
    struct ed25519_item items[ITEMS_MAX];
    bool single[ITEMS_MAX], valid[ITEMS_MAX];
    size_t count = messages_make(data, size, messages);
    for (size_t i = 0; i < count; i++) {
        const struct signed_message *m = &messages[i];
        items[i] = (struct ed25519_item){m->public_key, m->signature, m->message, m->len};
        single[i] = ed25519_verify(m->public_key, m->message, m->len, m->signature);
        /* libsodium is stricter only. */
        if (crypto_sign_verify_detached(m->signature, m->message, m->len, m->public_key) == 0)
            assert(single[i]);
    }
    for (int k = 0; k < 2 && batches[k]; k++) {
        struct error e;
        memset(valid, 0x55, sizeof valid);
        int result = ed25519_batch_verify(batches[k], items, count, valid, &e);
        assert(result == 0 && memcmp(valid, single, count) == 0);
    }
    return 0;
}
