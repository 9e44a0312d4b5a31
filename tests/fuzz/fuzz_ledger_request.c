/*
 * Takes bytes for a request, a body, a bundle or a transaction (the first byte says which): what is
 * accepted must come back byte for byte, and a body's check must come to an end.
 */
#include "../unit/ledger_again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void body_judge(struct slice bytes)
{
    struct ledger_body body;
    struct ledger_signature left;
    uint8_t req_hash[HASH_LEN];
    struct error e = {0};
    if (ledger_body_decode(bytes, &body, &e) < 0)
        return;
    int result = ledger_body_check(&body, body.request.genesis, req_hash, &left, &e);
    assert(result == 0 || result == -ATOLL_EPATH || result == -ATOLL_EPERM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static again_function *const all[] = {request_again, body_again, bundle_again, tx_again};
    if (size == 0)
        return 0;
    struct buffer out = {0};
    struct error e = {0};
    struct slice bytes = slice_of(data + 1, size - 1);
    int result = all[data[0] % 4](bytes, &out, &e);
    assert(result == 0 ? slice_equal(slice_of_buffer(&out), bytes)
                       : e.code == result && e.text[0] != '\0');
    body_judge(bytes);
    buffer_free(&out);
    return 0;
}
