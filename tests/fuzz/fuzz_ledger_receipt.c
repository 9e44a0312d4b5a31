/*
 * Takes bytes for a receipt of a service whose keys are known here, or for a receipt file (the
 * first byte says which). What is accepted comes back byte for byte; nothing but receipts that this
 * service's replicas signed holds; and a batch verifier says the same.
 */
#include "../unit/ledger_again.h"
#include "../unit/ledger_objects.h"

#include "ledger/object/receipt_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;
static struct ledger_batch_verifier *batch_verifier;

/* Once in a run; what it makes is reachable for as long. */
static void world_make(void)
{
    struct error e;
    if (batch_verifier)
        return;
    service_make(&service, 4);
    int made = ledger_batch_verifier_create(128, &batch_verifier, &e);
    assert(made == 0);
    (void)made;
}

static void receipt_judge(struct slice bytes)
{
    struct ledger_receipt_info info;
    struct error e = {0};
    enum ledger_rule failed[2];
    int result = ledger_receipt_verify(bytes, &service.keys, NULL, &info, &e);
    assert((result == 0) == (info.failed == LEDGER_RULE_HOLDS));
    assert(result == 0 || (e.code == result && e.text[0] != '\0'));
    struct slice twice[2] = {bytes, bytes};
    int judged = ledger_receipts_verify(batch_verifier, twice, 2, &service.keys, failed, &e);
    assert(judged == 0 && failed[0] == info.failed && failed[1] == info.failed);
    (void)judged;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    world_make();
    if (size == 0)
        return 0;
    struct buffer out = {0};
    struct error e = {0};
    struct slice bytes = slice_of(data + 1, size - 1);
    int result = (data[0] % 2 ? receipt_file_again : receipt_again)(bytes, &out, &e);
    assert(result == 0 ? slice_equal(slice_of_buffer(&out), bytes)
                       : e.code == result && e.text[0] != '\0');
    receipt_judge(bytes);
    buffer_free(&out);
    return 0;
}
