/*
 * Feeds bytes to the HTTP/1.1 machine as requests: whole, cut into pieces whose sizes the first
 * bytes give, and byte by byte. All readings must be the same one, heads that are accepted must be
 * sound, and the bytes of a body must be the input's own.
 *
 *   4 bytes: sizes of pieces, used in turn (0 = 256) │ requests
 */
#include "../unit/http_trace.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A digest of all events, which does not depend on how bodies were cut. */
struct reading {
    uint64_t hash, body_bytes;
    unsigned messages, status;
    bool ended;
};

static void mix(struct reading *r, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        r->hash = (r->hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
}

static void head_check(struct reading *r, const struct http_head *head)
{
    assert(head->path && strlen(head->path) == head->path_len);
    assert(head->path[0] == '/' || strcmp(head->path, "*") == 0);
    assert(!head->query || strlen(head->query) == head->query_len);
    assert(head->minor <= 1 && !(head->chunked && head->has_length));
    assert(head->header_count <= HTTP1_HEADERS_MAX);
    mix(r, head->path, head->path_len);
    mix(r, &head->content_length, sizeof head->content_length);
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];
        assert(http_header_valid(h));
        assert(strlen(h->name) == h->name_len && strlen(h->value) == h->value_len);
        mix(r, h->name, h->name_len);
        mix(r, ":", 1);
        mix(r, h->value, h->value_len);
    }
}

/* False after an error. */
static bool feed(struct http1 *m, const uint8_t *data, size_t len, struct reading *r)
{
    struct http1_event event = {.kind = HTTP1_HEAD};
    size_t used = 0;
    while (event.kind != HTTP1_NONE) {
        used += http1_read(m, len ? data + used : NULL, len - used, &event);
        assert(used <= len);
        if (event.kind == HTTP1_HEAD) {
            http1_body_max_set(m, 5000);
            head_check(r, http1_head(m));
        } else if (event.kind == HTTP1_BODY) {
            assert(event.len > 0 && event.data >= data && event.data + event.len <= data + len);
            mix(r, event.data, event.len);
            r->body_bytes += event.len;
        } else if (event.kind == HTTP1_END) {
            r->messages++;
            http1_next(m);
        } else if (event.kind == HTTP1_ERROR) {
            assert(event.status >= 400 && event.status <= 505 && strlen(event.reason) > 5);
            r->status = event.status;
            return false;
        }
    }
    assert(used == len);
    return true;
}

static struct reading read_cut(const uint8_t *data, size_t len, const uint8_t sizes[4])
{
    struct reading r = {.hash = 0xcbf29ce484222325};
    struct http1_event event;
    struct http1 m;
    http1_init(&m, HTTP1_SERVER);
    bool good = true;
    for (size_t at = 0, turn = 0; at < len && good; turn++) {
        size_t piece = sizes ? (sizes[turn % 4] ? sizes[turn % 4] : 256) : len;
        if (piece > len - at)
            piece = len - at;
        /* A copy, so that reading beyond it is noticed. */
        uint8_t *copy = malloc(piece);
        memcpy(copy, data + at, piece);
        good = feed(&m, copy, piece, &r);
        free(copy);
        at += piece;
    }
    http1_read_end(&m, &event);
    r.ended = event.kind == HTTP1_NONE;
    http1_free(&m);
    return r;
}

static void same(struct reading a, struct reading b)
{
    assert(a.hash == b.hash && a.body_bytes == b.body_bytes);
    assert(a.messages == b.messages && a.status == b.status && a.ended == b.ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t single[4] = {1, 1, 1, 1};
    if (size < 4)
        return 0;
    struct reading whole = read_cut(data + 4, size - 4, NULL);
    same(whole, read_cut(data + 4, size - 4, data));
    if (size < 2000)
        same(whole, read_cut(data + 4, size - 4, single));
    return 0;
}
