/* The layout of segments (segment.h). */
#include "ledger/log/segment.h"

#include "ledger/log/part.h"
#include "store/checksum.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MAGIC       "ATLSEG01"
#define VERSION     1u
#define FRONTIER_AT 88
#define CRC_AT      (SEGMENT_HEAD - 4)
#define JUMP_AT     (CRC_AT - 8)
#define CLOSE_HEAD  16

_Static_assert(FRONTIER_AT + MERKLE_LEVELS * HASH_LEN <= JUMP_AT, "a frontier fits the head");

void segment_name(uint64_t serial, uint64_t position, char name[static LOG_NAME_MAX])
{
    snprintf(name, LOG_NAME_MAX, "segment-%08" PRIu64 "-%020" PRIu64, serial, position);
}

void segment_file_name(const struct segment *s, char name[static LOG_NAME_MAX])
{
    char prefix[LOG_PART_PREFIX_MAX] = "", plain[LOG_NAME_MAX];
    if (s->of_part)
        log_part_prefix(s->part_from, prefix);
    segment_name(s->serial, s->position, plain);
    snprintf(name, LOG_NAME_MAX, "%s%.60s", prefix, plain);
}

bool segment_name_read(const char *name, uint64_t *serial, uint64_t *position)
{
    char again[LOG_NAME_MAX];
    if (sscanf(name, "segment-%8" SCNu64 "-%20" SCNu64, serial, position) != 2)
        return false;
    segment_name(*serial, *position, again);
    return strcmp(again, name) == 0;
}

/* ---- the head ---- */

void segment_head_make(const struct segment *s, const uint8_t genesis[static 32],
                       uint8_t head[static SEGMENT_HEAD])
{
    memset(head, 0, SEGMENT_HEAD);
    memcpy(head, MAGIC, 8);
    store_u32(head + 8, VERSION);
    memcpy(head + 16, genesis, 32);
    store_u64(head + 48, s->serial);
    store_u64(head + 56, s->position);
    store_u64(head + 64, s->salt);
    store_u64(head + 72, s->bytes);
    store_u64(head + 80, s->previous_end);
    merkle_frontier_pack(&s->frontier, head + FRONTIER_AT);
    store_u32(head + 12, s->jumped);
    store_u64(head + JUMP_AT, s->jumped ? s->jumped_from : 0);
    store_u32(head + CRC_AT, checksum_crc32c(0, head, CRC_AT));
}

int segment_head_read(struct segment *s, const uint8_t head[static SEGMENT_HEAD],
                      const uint8_t genesis[static 32], const char *name, struct error *e)
{
    if (memcmp(head, MAGIC, 8) != 0 || load_u32(head + 8) != VERSION ||
        load_u32(head + CRC_AT) != checksum_crc32c(0, head, CRC_AT))
        return error_set(e, ATOLL_ECORRUPT, "the head of %s is damaged", name);
    if (memcmp(head + 16, genesis, 32) != 0)
        return error_set(e, ATOLL_EINVAL, "%s belongs to another service", name);
    s->serial = load_u64(head + 48);
    s->position = load_u64(head + 56);
    s->salt = load_u64(head + 64);
    s->bytes = load_u64(head + 72);
    s->previous_end = load_u64(head + 80);
    s->jumped = load_u32(head + 12) != 0;
    s->jumped_from = load_u64(head + JUMP_AT);
    if (s->jumped && s->jumped_from >= s->position)
        return error_set(e, ATOLL_ECORRUPT, "the head of %s jumps backwards", name);
    if (s->position > MERKLE_SIZE_MAX || s->bytes > SEGMENT_BYTES_MAX ||
        s->bytes < SEGMENT_HEAD + SEGMENT_TAIL || s->bytes % SEGMENT_HEAD != 0)
        return error_set(e, ATOLL_ECORRUPT, "the head of %s makes no sense", name);
    merkle_frontier_unpack(&s->frontier, s->position, head + FRONTIER_AT);
    s->base = s->position;
    s->count = s->live = 0;
    s->used = SEGMENT_HEAD;
    return 0;
}

/* ---- closing ---- */

uint64_t segment_table_at(uint64_t close_at, uint64_t end)
{
    return close_at + LOG_RECORD_HEAD + CLOSE_HEAD + merkle_frontier_packed(end);
}

uint64_t segment_close_size(const struct segment *s)
{
    return log_record_size(CLOSE_HEAD + MERKLE_LEVELS * HASH_LEN + 4 * (uint64_t)s->count) +
           SEGMENT_TAIL;
}

bool segment_close_append(const struct segment *s, const struct merkle_frontier *end,
                          struct buffer *out)
{
    uint8_t head[CLOSE_HEAD] = {0}, hashes[MERKLE_LEVELS * HASH_LEN];
    store_u64(head, s->base);
    store_u32(head + 8, s->count);
    struct slice parts[3] = {{head, sizeof head},
                             {hashes, merkle_frontier_pack(end, hashes)},
                             {(const uint8_t *)s->offsets, 4 * (size_t)s->count}};
    return log_record_append(out, s->salt, LOG_RECORD_CLOSE, 0, end->size, parts, 3);
}

bool segment_close_read(struct segment *s, const struct log_record *r, uint64_t at,
                        struct merkle_frontier *end)
{
    if (r->len < CLOSE_HEAD || r->position > MERKLE_SIZE_MAX)
        return false;
    uint64_t base = load_u64(r->payload), count = load_u32(r->payload + 8);
    size_t hashes = merkle_frontier_packed(r->position);
    if (r->len != CLOSE_HEAD + hashes + 4 * count || base > r->position ||
        base + count != r->position)
        return false;
    merkle_frontier_unpack(end, r->position, r->payload + CLOSE_HEAD);
    s->base = base;
    s->count = s->live = (uint32_t)count;
    s->close_at = at;
    s->table_at = segment_table_at(at, r->position);
    s->closed = true;
    s->undone = s->jumped && base < s->position;
    return true;
}

/* ---- which entries ---- */

bool segment_entry_note(struct segment *s, uint64_t position, uint64_t offset)
{
    assert(position == s->base + s->count && offset < UINT32_MAX);
    if (s->count == s->offsets_capacity) {
        uint32_t capacity = s->offsets_capacity ? 2 * s->offsets_capacity : 256;
        uint32_t *offsets = realloc(s->offsets, capacity * sizeof *offsets);
        if (!offsets)
            return false;
        s->offsets = offsets;
        s->offsets_capacity = capacity;
    }
    s->offsets[s->count++] = (uint32_t)offset;
    s->live = s->count;
    return true;
}

void segment_rollback(struct segment *s, uint64_t position, bool own)
{
    uint32_t left = 0;
    if (position > s->base)
        left = position - s->base < s->live ? (uint32_t)(position - s->base) : s->live;
    s->live = left;
    if (position < s->position)
        s->undone = s->jumped;
    if (!own)
        return;
    s->count = left;
    if (position < s->base)
        s->base = position;
}

void segment_free(struct segment *s)
{
    free(s->offsets);
    buffer_free(&s->pending);
    buffer_free(&s->flying);
    s->offsets = NULL;
}

void segment_destroy(struct segment *s)
{
    if (!s)
        return;
    segment_free(s);
    free(s->origin);
    free(s);
}
