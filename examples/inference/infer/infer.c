/*
 * Classifies an image: the input is its bytes (mobilenet.h), the output the five best classes with
 * their logits. The weights are mapped for reading from state, one copy for all calls on a node.
 */
#include "../mobilenet.h"

#include <atoll.h>
#include <atoll_state.h>
#include <atoll_text.h>

static ATOLL_PER_CALL float a[SCRATCH], b[SCRATCH], logits[CLASSES];

static const float *weights_map(void)
{
    void *bytes = NULL;
    uint64_t mapped;
    atoll_h handle;
    if (atoll_state_attach("mobilenet/weights", weights_count() * sizeof(float), ATOLL_S_READ, 0, 0,
                           &handle, &bytes, &mapped) < 0)
        atoll_fail_string(3, "there are no weights: call mobilenet-weights first");
    return bytes;
}

ATOLL_FUNCTION(mobilenet)
{
    struct ranked best[SHOWN];
    char room[256];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_addr image;
    if (atoll_input_size() != (int64_t)IMAGE_BYTES || atoll_input_map(&image) < 0)
        atoll_fail_string(2, "an image has 224 x 224 x 3 bytes");
    network_run(weights_map(), atoll_pointer(image), a, b, logits);
    logits_rank(logits, best);
    for (uint32_t i = 0; i < SHOWN; i++) {
        atoll_text_u64(&text, best[i].class_number);
        atoll_text_string(&text, " ");
        atoll_text_fixed(&text, (double)best[i].logit, 6);
        atoll_text_string(&text, "\n");
    }
    return atoll_text_output(&text) < 0;
}
