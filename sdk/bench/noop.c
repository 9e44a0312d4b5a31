/* Does nothing: what is measured is everything around it. */
#include <atoll.h>

ATOLL_FUNCTION(noop)
{
    return 0;
}
