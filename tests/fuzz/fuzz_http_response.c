/*
 * Feeds bytes to the HTTP/1.1 machine as responses, whole and cut; the readings must be the same.
 *
 *   4 bytes: sizes of pieces, used in turn (0 = 256); bit 7 of the first: it answers HEAD │
 * responses
 */
#include "../unit/http_trace.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void trace(struct http_trace *t, const uint8_t *data, size_t len, const uint8_t sizes[4],
                  bool to_head)
{
    struct http1 m;
    struct http1_event event;
    bool open = false, good = true;
    t->len = 0;
    t->text[0] = 0;
    http1_init(&m, HTTP1_CLIENT);
    if (to_head)
        http1_response_to_head(&m);
    for (size_t at = 0, turn = 0; at < len && good; turn++) {
        size_t piece = sizes ? (sizes[turn % 4] ? sizes[turn % 4] : 256) : len;
        if (piece > len - at)
            piece = len - at;
        uint8_t *copy = malloc(piece);
        memcpy(copy, data + at, piece);
        good = trace_feed(t, &m, copy, piece, 3000, &open);
        free(copy);
        at += piece;
    }
    http1_read_end(&m, &event);
    assert(good || event.kind == HTTP1_ERROR);
    const char *end = event.kind == HTTP1_END ? " end" : event.kind == HTTP1_NONE ? "" : " cut";
    trace_add(t, end, strlen(end));
    http1_free(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_trace whole, cut;
    if (size < 4)
        return 0;
    uint8_t sizes[4];
    memcpy(sizes, data, 4);
    sizes[0] &= 0x7f;
    trace(&whole, data + 4, size - 4, NULL, data[0] & 0x80);
    trace(&cut, data + 4, size - 4, sizes, data[0] & 0x80);
    assert(whole.len == cut.len && memcmp(whole.text, cut.text, whole.len) == 0);
    return 0;
}
