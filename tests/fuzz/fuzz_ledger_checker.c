/*
 * Takes bytes for the entries of a ledger (type u8, length u32, payload), the first of them its
 * genesis, and has them checked: whatever they are, a verdict and a sentence come out.
 */
#include "ledger/check/checker.h"

#include <assert.h>
#include <stdlib.h>

static bool entry_next(struct slice *rest, uint8_t *type, struct slice *payload)
{
    if (rest->len < 5)
        return false;
    uint32_t len = load_u32(rest->data + 1);
    *type = rest->data[0];
    if (len > rest->len - 5)
        return false;
    *payload = slice_of(rest->data + 5, len);
    *rest = slice_of(rest->data + 5 + len, rest->len - 5 - len);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size), payload;
    struct ledger_checker *checker;
    struct error e = {0};
    uint8_t type;
    struct slice again = rest;
    if (!entry_next(&rest, &type, &payload) || ledger_checker_create(payload, &checker, &e) != 0)
        return 0;
    int rc = 0;
    while (rc == 0 && entry_next(&again, &type, &payload)) {
        e = (struct error){0};
        rc = ledger_checker_entry(checker, type, payload, &e);
        assert(rc == 0 || (rc < 0 && e.text[0]));
    }
    if (rc == 0)
        rc = ledger_checker_finish(checker, &e);
    assert(rc == 0 || e.text[0]);
    if (rc < 0)
        assert(ledger_checker_entry(checker, type, payload, &e) == -ATOLL_EINVAL);
    ledger_checker_destroy(checker);
    return 0;
}
