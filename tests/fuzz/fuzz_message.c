/*
 * Feeds arbitrary records to the decoder of messages between supervisor and worker. What it takes
 * must measure and encode to the same bytes again, and all its parts must lie in the copy.
 */
#include "node/message.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t copy[MESSAGE_MAX], again[MESSAGE_MAX];

static void direction_try(const uint8_t *data, uint32_t len, bool from_worker)
{
    struct message m;
    struct error e = {0};
    int rc = message_decode(data, len, from_worker, copy, &m, &e);
    if (rc < 0) {
        assert(rc == -ATOLL_ECORRUPT && e.code == rc && e.text[0]);
        return;
    }
    for (int k = 0; k < 4; k++) {
        assert(!m.part_len[k] == !m.parts[k]);
        if (m.part_len[k])
            assert(m.parts[k] >= copy && m.parts[k] + m.part_len[k] <= copy + len);
    }
    assert(message_measure(&m) == len);
    message_encode(&m, again);
    assert(memcmp(again, data, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MESSAGE_MAX)
        return 0;
    /* A heap copy of exactly this size: reading past its end is seen. */
    uint8_t *record = malloc(size + 1);
    memcpy(record, data, size);
    direction_try(record, (uint32_t)size, false);
    direction_try(record, (uint32_t)size, true);
    free(record);
    return 0;
}
