/* Waits as many milliseconds as its input says: an instance that is there and does nothing. */
#include <atoll.h>

#include <poll.h>
#include <stdlib.h>

ATOLL_FUNCTION(idle)
{
    char text[16] = "";
    if (atoll_input_read(0, text, sizeof text - 1) < 0)
        return 1;
    return poll(NULL, 0, atoi(text)) < 0;
}
