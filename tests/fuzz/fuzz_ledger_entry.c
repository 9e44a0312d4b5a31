/*
 * Takes bytes for the payload of a ledger entry, or for an object that records and entries consist
 * of (the first byte says which): what is accepted must come back byte for byte.
 */
#include "../unit/ledger_again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static again_function *const all[] = {genesis_again,     evidence_again,     pp_signed_again,
                                          tx_again,          vcset_again,        new_view_again,
                                          certificate_again, pp_again,           view_change_again,
                                          signed_again,      configuration_again};
    if (size == 0)
        return 0;
    unsigned which = data[0] % (sizeof all / sizeof all[0]);
    struct buffer out = {0};
    struct error e = {0};
    struct slice bytes = slice_of(data + 1, size - 1);
    int result = all[which](bytes, &out, &e);
    assert(result == 0 ? slice_equal(slice_of_buffer(&out), bytes)
                       : e.code == result && e.text[0] != '\0');
    /* The first six stand in the order of the entry types. Judging an entry looks further into it.
     */
    if (which < 6 && ledger_entry_check((enum ledger_entry_type)(which + 1), bytes, &e) == 0)
        assert(result == 0);
    buffer_free(&out);
    return 0;
}
