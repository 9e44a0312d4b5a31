/* Manifests: whatever is accepted has a canonical form that gives the same canonical form again. */
#include "node/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct manifest m, again;
    struct error e;
    struct buffer first = {0}, second = {0};
    if (manifest_parse(data, len, NULL, &m, &e) != 0)
        return 0;
    if (manifest_canonical(&m, &first, &e) != 0 ||
        manifest_parse(first.data, first.len, NULL, &again, &e) != 0 ||
        manifest_canonical(&again, &second, &e) != 0 || first.len != second.len ||
        memcmp(first.data, second.data, first.len) != 0)
        abort();
    manifest_free(&m);
    manifest_free(&again);
    buffer_free(&first);
    buffer_free(&second);
    return 0;
}
