/*
 * Feeds bytes to the form reader, whole and cut; the readings must be the same.
 *
 *   4 bytes: sizes of pieces, used in turn (0 = 256) │ Content-Type, up to NUL │ body
 */
#include "net/multipart.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    uint64_t hash, bytes;
    unsigned parts, ends;
    bool failed, complete;
};

static void mix(struct reading *r, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        r->hash = (r->hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
}

static void feed(struct multipart *m, const uint8_t *data, size_t len, struct reading *r)
{
    struct multipart_event event;
    size_t used = 0;
    do {
        used += multipart_read(m, data + used, len - used, &event);
        assert(used <= len);
        if (event.kind == MULTIPART_PART) {
            assert(m->part.name[0]);
            mix(r, m->part.name, strlen(m->part.name));
            mix(r, m->part.filename, strlen(m->part.filename));
            r->parts++;
        } else if (event.kind == MULTIPART_DATA) {
            assert(event.len > 0);
            mix(r, event.data, event.len);
            r->bytes += event.len;
        } else if (event.kind == MULTIPART_PART_END) {
            r->ends++;
        } else if (event.kind == MULTIPART_ERROR) {
            assert(strlen(event.reason) > 10);
            r->failed = true;
        }
    } while (event.kind != MULTIPART_NONE && event.kind != MULTIPART_ERROR);
    assert(r->failed || used == len);
}

static struct reading read_cut(const char *type, const uint8_t *data, size_t len,
                               const uint8_t sizes[4])
{
    struct reading r = {.hash = 0xcbf29ce484222325};
    struct multipart m;
    struct error e;
    if (multipart_init(&m, type, &e) < 0)
        return r;
    for (size_t at = 0, turn = 0; at < len && !r.failed; turn++) {
        size_t piece = sizes ? (sizes[turn % 4] ? sizes[turn % 4] : 256) : len;
        if (piece > len - at)
            piece = len - at;
        uint8_t *copy = malloc(piece);
        memcpy(copy, data + at, piece);
        feed(&m, copy, piece, &r);
        free(copy);
        at += piece;
    }
    r.complete = multipart_complete(&m);
    assert(r.parts <= MULTIPART_PARTS_MAX && r.ends <= r.parts && r.bytes <= len);
    assert(!r.complete || r.ends == r.parts);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t single[4] = {1, 1, 1, 1};
    const uint8_t *nul = size > 4 ? memchr(data + 4, 0, size - 4) : NULL;
    if (!nul)
        return 0;
    const char *type = (const char *)data + 4;
    const uint8_t *body = nul + 1;
    size_t len = size - (size_t)(body - data);
    struct reading whole = read_cut(type, body, len, NULL);
    for (int i = 0; i < 2; i++) {
        struct reading cut = read_cut(type, body, len, i ? single : data);
        assert(whole.hash == cut.hash && whole.bytes == cut.bytes && whole.parts == cut.parts);
        assert(whole.failed == cut.failed && whole.complete == cut.complete);
    }
    return 0;
}
