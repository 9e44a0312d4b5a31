/* See mutation.h. */
#include "mutation.h"

#define SECTIONS_MAX 64u

struct section_place {
    size_t header, payload, end; /* offsets of the number, of the content, past the content */
};

/* Offsets of the sections of a module; stops at the first that makes no sense. */
static uint32_t sections_find(const uint8_t *wasm, size_t len, struct section_place *out)
{
    uint32_t count = 0;
    for (size_t at = 8; at < len && count < SECTIONS_MAX;) {
        uint64_t size = 0;
        size_t payload = at + 1;
        for (unsigned shift = 0; payload < len && shift < 35; shift += 7) {
            size |= (uint64_t)(wasm[payload] & 0x7f) << shift;
            if (!(wasm[payload++] & 0x80))
                break;
        }
        if (size > len - payload)
            break;
        out[count++] = (struct section_place){at, payload, payload + size};
        at = payload + size;
    }
    return count;
}

static uint8_t byte_choose(struct random *r)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x02, 0x0b, 0x40, 0x6f, 0x70, 0x7b, 0x7c, 0x7d,
                                      0x7e, 0x7f, 0x80, 0xff, 0xfc, 0xfd, 0xfe, 0x0f, 0x1a, 0x41};
    return random_chance(r, 50) ? telling[random_below(r, sizeof telling)] : (uint8_t)random_u64(r);
}

/* One change of bytes [from, to) of the source, appended to out. */
static bool range_mutate(struct random *r, const uint8_t *bytes, size_t len, struct buffer *out)
{
    size_t at = len > 0 ? random_below(r, (uint32_t)len) : 0;
    size_t run = len - at < 16 ? len - at : 1 + random_below(r, 15);
    uint8_t byte = byte_choose(r);
    bool good = buffer_append(out, bytes, at);
    switch (len == 0 ? 1 : random_below(r, 6)) {
    case 0: /* a bit */
        byte = (uint8_t)(bytes[at] ^ (1u << random_below(r, 8)));
        return good && buffer_append(out, &byte, 1) &&
               buffer_append(out, bytes + at + 1, len - at - 1);
    case 1: /* one more byte */
        return good && buffer_append(out, &byte, 1) && buffer_append(out, bytes + at, len - at);
    case 2: /* fewer bytes */
        run = random_chance(r, 70) ? 1 : run;
        return good && buffer_append(out, bytes + at + run, len - at - run);
    case 3: /* some bytes twice */
        return good && buffer_append(out, bytes + at, run) &&
               buffer_append(out, bytes + at, len - at);
    default: /* another byte */
        return good && buffer_append(out, &byte, 1) &&
               buffer_append(out, bytes + at + 1, len - at - 1);
    }
}

/* A section's size as five bytes, which is always long enough. */
static bool size_append(struct buffer *out, size_t size)
{
    uint8_t encoded[5];
    for (unsigned i = 0; i < 5; i++)
        encoded[i] = (uint8_t)((size >> (7 * i) & 0x7f) | (i < 4 ? 0x80 : 0));
    return buffer_append(out, encoded, sizeof encoded);
}

static bool section_mutate(struct random *r, const uint8_t *wasm, size_t len,
                           const struct section_place *place, struct buffer *out)
{
    struct buffer payload = {0};
    bool good = range_mutate(r, wasm + place->payload, place->end - place->payload, &payload) &&
                buffer_append(out, wasm, place->header + 1) && size_append(out, payload.len) &&
                buffer_append(out, payload.data, payload.len) &&
                buffer_append(out, wasm + place->end, len - place->end);
    buffer_free(&payload);
    return good;
}

static bool mutate_once(struct random *r, const uint8_t *wasm, size_t len, struct buffer *out)
{
    struct section_place places[SECTIONS_MAX];
    uint32_t count = sections_find(wasm, len, places);
    if (count > 0 && random_chance(r, 85))
        return section_mutate(r, wasm, len, &places[random_below(r, count)], out);
    return range_mutate(r, wasm, len, out);
}

void module_mutate(struct random *r, const uint8_t *wasm, size_t len, struct buffer *out)
{
    uint32_t changes = random_chance(r, 70) ? 1 : 1 + random_below(r, 4);
    buffer_append(out, wasm, len);
    for (uint32_t i = 0; i < changes; i++) {
        struct buffer next = {0};
        if (!mutate_once(r, out->data, out->len, &next)) {
            buffer_free(&next);
            return;
        }
        buffer_free(out);
        *out = next;
    }
}
