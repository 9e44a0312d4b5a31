/* A function that prepares itself once, and tells whether it found that done. */
#include <atoll.h>

static int prepared, restored;

ATOLL_ZYGOTE(zygote)
{
    atoll_call_t id;
    /* There is no call yet: nothing that needs one is possible. */
    if (atoll_chain("zygote", 6, "", 0, NULL, &id) != -ATOLL_EPERM ||
        atoll_output_write("x", 1) != -ATOLL_EPERM)
        return 1;
    prepared++;
    return 0;
}

ATOLL_EXPORT("atoll_on_restore") void restore_hook(void);
void restore_hook(void)
{
    restored++;
}

ATOLL_FUNCTION(zygote)
{
    uint8_t text[2] = {(uint8_t)('0' + prepared++), (uint8_t)('0' + restored++)};
    return atoll_output_write(text, sizeof text) == 2 ? 0 : 1;
}
