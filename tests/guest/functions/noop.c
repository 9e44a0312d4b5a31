/* A function that does nothing. */
#include <atoll.h>

ATOLL_FUNCTION(noop)
{
    return 0;
}
