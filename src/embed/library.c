/* What belongs to no other file of the public interface: version, errors, bytes. */
#include "embed/embed.h"

#include <stdlib.h>

_Static_assert(sizeof(struct atoll_error) == sizeof(struct error), "one layout");
_Static_assert(offsetof(struct atoll_error, code) == offsetof(struct error, code), "one layout");
_Static_assert(offsetof(struct atoll_error, offset) == offsetof(struct error, offset),
               "one layout");
_Static_assert(offsetof(struct atoll_error, function) == offsetof(struct error, function),
               "one layout");
_Static_assert(offsetof(struct atoll_error, text) == offsetof(struct error, text), "one layout");
_Static_assert(ATOLL_NOWHERE == ERROR_NOWHERE, "one value");

const char *atoll_version(void)
{
    return ATOLL_VERSION;
}

int error_give(struct atoll_error *out, const struct error *e)
{
    if (out)
        memcpy(out, e, sizeof *out);
    return e->code;
}

void atoll_bytes_free(struct atoll_bytes *bytes)
{
    if (!bytes)
        return;
    free(bytes->data);
    *bytes = (struct atoll_bytes){0};
}
