/*
 * Takes bytes for a proof: one that decodes has one encoding only, and is judged without harm; with
 * signatures that anybody can make up it proves nothing.
 */
#include "ledger/object/proof.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ledger_configuration c;
    static const uint8_t key[ED25519_KEY_LEN] = {0x58, 0x66, 0x66};
    struct ledger_proof proof;
    struct slice inner;
    struct buffer again = {0};
    uint8_t genesis[HASH_LEN] = {0};
    struct error e = {0};
    c.replica_count = 4;
    for (int i = 0; i < 4; i++)
        c.replicas[i].public_key = key;
    if (ledger_proof_file_decode(slice_of(data, size), genesis, &inner, &e) == 0)
        (void)ledger_proof_decode(inner, &proof, &e);
    if (ledger_proof_decode(slice_of(data, size), &proof, &e) != 0) {
        assert(e.text[0]);
        return 0;
    }
    int rc;
    if (proof.type == LEDGER_PROOF_EQUIV_PP) {
        struct ledger_pp a, b;
        assert(ledger_pp_decode_signed(proof.statements[0], &a, &e) == 0);
        assert(ledger_pp_decode_signed(proof.statements[1], &b, &e) == 0);
        rc = ledger_proof_of_pps(&b, &a, &again, &e);
    } else {
        struct ledger_prepare a, b;
        assert(ledger_prepare_decode_signed(proof.statements[0], &a, &e) == 0);
        assert(ledger_prepare_decode_signed(proof.statements[1], &b, &e) == 0);
        rc = ledger_proof_of_prepares(&b, &a, &again, &e);
    }
    assert(rc == 0 && again.len == size && memcmp(again.data, data, size) == 0);
    rc = ledger_proof_verify(slice_of(data, size), &c, &LEDGER_VERIFIER_SINGLE, &proof, &e);
    assert(rc < 0 && e.text[0]);
    buffer_free(&again);
    return 0;
}
