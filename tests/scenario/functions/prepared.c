/*
 * Reads a value in its zygote and keeps a copy: what its calls start with. With -D LEAVE_MAPPED the
 * zygote leaves the value mapped, which no image can keep.
 */
#include <atoll.h>

static char kept[4];

ATOLL_ZYGOTE(prepared)
{
    atoll_addr at;
    atoll_h h = atoll_state_open("kept", 4, 0, ATOLL_S_READ);
    if (h < 0 || atoll_state_map(h, 0, sizeof kept, ATOLL_S_READ, &at) < 0)
        return 1;
    const char *bytes = atoll_pointer(at);
    for (unsigned i = 0; i < sizeof kept; i++)
        kept[i] = bytes[i];
#ifndef LEAVE_MAPPED
    if (atoll_state_unmap(at) < 0)
        return 2;
#endif
    return 0;
}

ATOLL_FUNCTION(prepared)
{
    return atoll_output_write(kept, sizeof kept) < 0;
}
