/* Signatures under keys that are known beforehand (src/ledger/object/known_verifier.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"

#include "ledger/object/known_verifier.h"

#define REPLICAS 4
#define ITEMS    (2 * REPLICAS + 2)

static struct service service;
static struct ledger_known_verifier *known;

/* Two of each replica, of which every other one is false, then the same of a client. */
static void items_make(struct ledger_signature items[static ITEMS],
                       uint8_t signatures[static ITEMS][ED25519_SIGNATURE_LEN])
{
    for (unsigned i = 0; i < ITEMS; i++) {
        const struct secret *signer =
            i < 2 * REPLICAS ? service.replicas[i / 2] : service.clients[0];
        memset(items[i].hash, (int)i, sizeof items[i].hash);
        secret_sign(signer, items[i].hash, sizeof items[i].hash, signatures[i]);
        if (i % 2)
            signatures[i][i] ^= 1;
        items[i].public_key = secret_public(signer);
        items[i].signature = signatures[i];
    }
}

static void it_gives_the_verdicts_of_the_single_verifier(void **state)
{
    (void)state;
    struct ledger_signature items[ITEMS];
    uint8_t signatures[ITEMS][ED25519_SIGNATURE_LEN];
    bool found[ITEMS], wanted[ITEMS];
    struct error e;
    struct ledger_verifier verifier = ledger_known_verifier_of(known);
    items_make(items, signatures);
    assert_int_equal(verifier.verify(verifier.context, items, ITEMS, found, &e), 0);
    assert_int_equal(
        LEDGER_VERIFIER_SINGLE.verify(LEDGER_VERIFIER_SINGLE.context, items, ITEMS, wanted, &e), 0);
    for (unsigned i = 0; i < ITEMS; i++) {
        assert_int_equal(found[i], wanted[i]);
        assert_int_equal(found[i], i % 2 == 0);
    }
    /* A replica's signature is no other replica's. */
    items[0].public_key = items[2].public_key;
    assert_int_equal(verifier.verify(verifier.context, items, 1, found, &e), 0);
    assert_false(found[0]);
}

static void it_knows_the_replicas_and_nobody_else(void **state)
{
    (void)state;
    struct ledger_signature items[ITEMS];
    uint8_t signatures[ITEMS][ED25519_SIGNATURE_LEN];
    items_make(items, signatures);
    assert_true(ledger_known_verifier_knows(known, items, 2 * REPLICAS));
    assert_false(ledger_known_verifier_knows(known, items, 2 * REPLICAS + 1));
    assert_false(ledger_known_verifier_knows(known, &items[2 * REPLICAS], 1));
    assert_true(ledger_known_verifier_knows(known, items, 0));
}

int main(void)
{
    struct error e;
    service_make(&service, REPLICAS);
    if (ledger_known_verifier_create(&service.genesis.configuration, &known, &e) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_the_verdicts_of_the_single_verifier),
        cmocka_unit_test(it_knows_the_replicas_and_nobody_else),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ledger_known_verifier_destroy(known);
    service_free(&service);
    return failed;
}
