/* Never ends: for deadlines. */
#include <atoll.h>

ATOLL_FUNCTION(spin)
{
    for (volatile uint64_t i = 0;; i++)
        ;
}
