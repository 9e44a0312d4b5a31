/* Puts the network's weights into state, once, and pushes them. */
#include "../mobilenet.h"

#include <atoll.h>
#include <atoll_state.h>
#include <atoll_text.h>

static const char key[] = "mobilenet/weights";

ATOLL_FUNCTION(mobilenet_weights)
{
    void *bytes = NULL;
    uint64_t mapped;
    atoll_h handle;
    int32_t error = atoll_state_attach(key, weights_count() * sizeof(float),
                                       ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_EXCL, 0, 0, &handle,
                                       &bytes, &mapped);
    if (error == -ATOLL_EEXIST)
        return atoll_output_string("there already\n") < 0;
    if (error)
        atoll_fail_string(1, "the value cannot be made");
    weights_make(bytes);
    if (atoll_state_push(handle, 0, 0, ATOLL_PUSH_DURABLE, 0) < 0)
        atoll_fail_string(1, "the value cannot be pushed");
    return atoll_output_string("made\n") < 0;
}
