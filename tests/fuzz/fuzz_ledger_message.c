/* Takes bytes for a message of the ledger: what is accepted must come back byte for byte, and every
 * list in it can be walked. */
#include "../unit/ledger_again.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer out = {0};
    struct error e = {0};
    struct slice message = slice_of(data, size);
    int result = message_again(message, &out, &e);
    assert(result == 0 ? slice_equal(slice_of_buffer(&out), message)
                       : e.code == result && e.text[0] != '\0');
    buffer_free(&out);
    return 0;
}
