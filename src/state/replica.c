/*
 * The memory of a value: its file, chunks, twins, and what workers see of it (tier.h).
 *
 * The file is sealed against shrinking, so whoever maps it is never cut off; bytes that go away
 * become holes, that is zeros. When a value outgrows its mapping here, a larger one is made and the
 * old one stays until the value is freed: pulls under way write through it into the same file.
 */
#define _GNU_SOURCE
#include "state/tier.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t chunks_of(uint64_t bytes)
{
    return (bytes + STATE_CHUNK - 1) / STATE_CHUNK;
}

bool chunk_is(const uint64_t *bits, uint64_t chunk)
{
    return bits[chunk / 64] >> chunk % 64 & 1;
}

static void chunk_set(uint64_t *bits, uint64_t chunk, bool value)
{
    uint64_t bit = 1ull << chunk % 64;
    bits[chunk / 64] = value ? bits[chunk / 64] | bit : bits[chunk / 64] & ~bit;
}

uint8_t *replica_base(const struct replica *v)
{
    return v->mapping ? v->mapping->base : NULL;
}

uint64_t replica_charge(const struct replica *v)
{
    return (v->present_count + v->twin_count) * STATE_CHUNK;
}

/* ---- allocation ---- */

/* Descriptors are bounded: idle values give theirs up. */
static bool descriptor_lacks(struct replica *v)
{
    return (errno == EMFILE || errno == ENFILE) && room_make_values(v->tier, STATE_EVICT_VALUES);
}

static int file_create(struct replica *v, struct error *e)
{
    replica_pin(v); /* making room evicts */
    do {
        v->memfd = memfd_create("atoll-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    } while (v->memfd < 0 && descriptor_lacks(v));
    v->pins--; /* whoever asks goes on with it */
    if (v->memfd >= 0 && fcntl(v->memfd, F_ADD_SEALS, F_SEAL_SHRINK) == 0)
        return 0;
    error_set_errno(e, ATOLL_ENOMEM, "cannot make the memory file of a value");
    if (v->memfd >= 0)
        close(v->memfd);
    v->memfd = -1;
    return e->code;
}

int replica_descriptor(struct replica *v, bool writable)
{
    char path[64];
    if (writable || v->memfd_read >= 0)
        return writable ? v->memfd : v->memfd_read;
    snprintf(path, sizeof path, "/proc/self/fd/%d", v->memfd);
    v->memfd_read = open(path, O_RDONLY | O_CLOEXEC);
    return v->memfd_read;
}

static int bitmaps_grow(struct replica *v, uint64_t chunks, struct error *e)
{
    uint64_t capacity = align_up(chunks > 64 ? chunks : 64, 64);
    if (capacity <= v->chunk_capacity)
        return 0;
    if (capacity < 2 * v->chunk_capacity)
        capacity = 2 * v->chunk_capacity;
    uint64_t *present = calloc(capacity / 64, sizeof *present);
    uint64_t *pulling = calloc(capacity / 64, sizeof *pulling);
    uint8_t **twins = calloc(capacity, sizeof *twins);
    if (!present || !pulling || !twins) {
        free(present);
        free(pulling);
        free(twins);
        return error_set(e, ATOLL_ENOMEM, "no memory for the chunks of a value");
    }
    if (v->chunk_capacity) {
        memcpy(present, v->present, v->chunk_capacity / 8);
        memcpy(pulling, v->pulling, v->chunk_capacity / 8);
        memcpy(twins, v->twins, v->chunk_capacity * sizeof *twins);
    }
    free(v->present);
    free(v->pulling);
    free(v->twins);
    v->present = present;
    v->pulling = pulling;
    v->twins = twins;
    v->chunk_capacity = capacity;
    return 0;
}

static int mapping_grow(struct replica *v, uint64_t bytes, struct error *e)
{
    uint64_t len = v->mapping ? v->mapping->len : 0;
    if (bytes <= len)
        return 0;
    struct mapping *m = malloc(sizeof *m);
    if (!m)
        return error_set(e, ATOLL_ENOMEM, "no memory for a value");
    /* Twice what was there, so that a value that grows step by step leaves few mappings. */
    m->len = bytes > 2 * len ? bytes : 2 * len;
    m->base = mmap(NULL, m->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, v->memfd, 0);
    if (m->base == MAP_FAILED) {
        free(m);
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map %llu bytes of a value",
                               (unsigned long long)bytes);
    }
    m->older = v->mapping;
    v->mapping = m;
    return 0;
}

int replica_allocate(struct replica *v, uint64_t size, struct error *e)
{
    if (size > STATE_VALUE_MAX)
        return error_set(e, ATOLL_ESIZE, "a value has at most %llu bytes here",
                         (unsigned long long)STATE_VALUE_MAX);
    if (v->memfd < 0 && file_create(v, e) < 0)
        return e->code;
    uint64_t chunks = chunks_of(size), bytes = chunks * STATE_CHUNK;
    if (bitmaps_grow(v, chunks, e) < 0 || mapping_grow(v, bytes, e) < 0)
        return e->code;
    off_t end = lseek(v->memfd, 0, SEEK_END);
    if (end < (off_t)bytes && ftruncate(v->memfd, (off_t)bytes) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot make a value's memory file %llu bytes long",
                               (unsigned long long)bytes);
    return 0;
}

/* Zeros, without memory behind them where whole pages are concerned. */
static void bytes_discard(struct replica *v, uint64_t start, uint64_t end)
{
    if (start >= end)
        return;
    if (fallocate(v->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
                  (off_t)(end - start)) != 0)
        memset(replica_base(v) + start, 0, end - start);
}

static void twin_drop(struct replica *v, uint64_t chunk)
{
    if (!v->twins[chunk])
        return;
    free(v->twins[chunk]);
    v->twins[chunk] = NULL;
    v->twin_count--;
    v->tier->local_bytes -= STATE_CHUNK;
}

void replica_chunk(struct replica *v, uint64_t chunk, enum chunk_state state)
{
    assert(chunk < v->chunks);
    bool was_present = chunk_is(v->present, chunk), was_pulled = chunk_is(v->pulling, chunk);
    if (state == CHUNK_MISSING)
        twin_drop(v, chunk);
    chunk_set(v->present, chunk, state == CHUNK_PRESENT);
    chunk_set(v->pulling, chunk, state == CHUNK_PULLED);
    v->present_count += (uint64_t)(state == CHUNK_PRESENT) - was_present;
    v->tier->local_bytes += STATE_CHUNK * (uint64_t)(state != CHUNK_MISSING);
    v->tier->local_bytes -= STATE_CHUNK * (uint64_t)(was_present || was_pulled);
}

/* ---- size ---- */

static void replica_shrink(struct replica *v, uint64_t size)
{
    uint64_t chunks = chunks_of(size);
    /* Taking the tail of a map away splits nothing, so it cannot fail. */
    int code = range_map_set(&v->written, size, UINT64_MAX, 0);
    code |= range_map_set(&v->merges, size, UINT64_MAX, 0);
    assert(code == 0);
    for (uint64_t i = chunks; i < v->chunks; i++)
        replica_chunk(v, i, CHUNK_MISSING);
    bytes_discard(v, size, v->chunks * STATE_CHUNK);
    if (size % STATE_CHUNK && v->twins[chunks - 1])
        memset(v->twins[chunks - 1] + size % STATE_CHUNK, 0, STATE_CHUNK - size % STATE_CHUNK);
    v->chunks = chunks;
    v->size = size;
}

/* A guest may have written behind the end, where its last page goes on. */
static void replica_clear_tail(struct replica *v)
{
    if (!(v->size % STATE_CHUNK) || !chunk_is(v->present, v->chunks - 1))
        return;
    bytes_discard(v, v->size, v->chunks * STATE_CHUNK);
    uint8_t *twin = v->twins[v->chunks - 1];
    if (twin)
        memset(twin + v->size % STATE_CHUNK, 0, STATE_CHUNK - v->size % STATE_CHUNK);
}

int replica_resize(struct replica *v, uint64_t size, bool fill, struct error *e)
{
    assert(!v->pulls);
    /* Also makes the file of an empty value. */
    if (replica_allocate(v, size, e) < 0)
        return e->code;
    if (size <= v->size) {
        replica_shrink(v, size);
        return 0;
    }
    replica_clear_tail(v);
    uint64_t old = v->size, chunks = v->chunks;
    v->chunks = chunks_of(size);
    v->size = size;
    for (uint64_t i = chunks; fill && i < v->chunks; i++)
        replica_chunk(v, i, CHUNK_PRESENT);
    if (fill && old < v->global_size)
        replica_mark(v, old, size < v->global_size ? size : v->global_size);
    if (v->tracked && v->chunks > chunks && replica_track(v, chunks, v->chunks - 1, e) < 0) {
        replica_shrink(v, old);
        return e->code;
    }
    return 0;
}

bool replica_has(const struct replica *v, uint64_t off, uint64_t len)
{
    if (!len)
        return true;
    for (uint64_t i = off / STATE_CHUNK; i <= (off + len - 1) / STATE_CHUNK; i++) {
        if (!chunk_is(v->present, i))
            return false;
    }
    return true;
}

/* ---- what was written ---- */

int replica_track(struct replica *v, uint64_t first, uint64_t last, struct error *e)
{
    for (uint64_t i = first; i <= last && i < v->chunks; i++) {
        if (v->twins[i] || !chunk_is(v->present, i))
            continue;
        if (!room_make(v->tier, STATE_CHUNK) || !(v->twins[i] = malloc(STATE_CHUNK)))
            return error_set(e, ATOLL_ENOMEM, "no room in the local tier to track a value");
        shared_read(v->twins[i], replica_base(v) + i * STATE_CHUNK, STATE_CHUNK);
        v->twin_count++;
        v->tier->local_bytes += STATE_CHUNK;
    }
    return 0;
}

void replica_mark(struct replica *v, uint64_t start, uint64_t end)
{
    if (range_map_set(&v->written, start, end, 1) < 0)
        v->marks_lost = true;
}

bool replica_differs(const struct replica *v, uint64_t start, uint64_t end)
{
    for (uint64_t at = start, next; v->twin_count && at < end; at = next) {
        uint64_t chunk = at / STATE_CHUNK;
        uint32_t op = range_map_at(&v->merges, at, &next);
        next = next < end ? next : end;
        next = next < (chunk + 1) * STATE_CHUNK ? next : (chunk + 1) * STATE_CHUNK;
        if (v->twins[chunk] && (op || v->tracked) &&
            shared_differs(replica_base(v) + at, v->twins[chunk] + at % STATE_CHUNK, next - at))
            return true;
    }
    return false;
}

bool replica_unpushed(const struct replica *v)
{
    if (v->local)
        return true;
    if (v->written.count || v->sending.count || v->marks_lost || v->resized)
        return true;
    return replica_differs(v, 0, v->size);
}

static void replica_forget(struct replica *v)
{
    for (uint64_t i = 0; i < v->chunks; i++)
        replica_chunk(v, i, CHUNK_MISSING);
    if (v->memfd >= 0)
        bytes_discard(v, 0, v->chunks * STATE_CHUNK);
    range_map_free(&v->written);
    range_map_free(&v->merges);
    v->marks_lost = v->resized = v->tracked = false;
}

/* ---- seen from outside ---- */

void replica_publish(struct replica *v)
{
    struct view *w;
    LIST_FOREACH(w, &v->views, link)
    {
        struct state_slot_view s = {.gen = w->gen, .size = v->size, .version = v->version};
        if (v->present_count == v->chunks)
            s.flags |= STATE_SLOT_COMPLETE;
        if (v->stale)
            s.flags |= STATE_SLOT_STALE;
        state_slot_write(&w->tenant->slots[w->slot], &s);
    }
}

void replica_stale(struct replica *v)
{
    if (v->stale)
        return;
    v->stale = true;
    if (v->in_table)
        tier_remove(v);
    if (v->is_idle) {
        TAILQ_REMOVE(&v->tier->idle, v, idle);
        v->is_idle = false;
    }
    replica_publish(v);
}

/* ---- life ---- */

static void replica_free(struct replica *v)
{
    assert(!v->in_table && !v->pins && LIST_EMPTY(&v->attachments) && TAILQ_EMPTY(&v->opens));
    replica_forget(v);
    while (!LIST_EMPTY(&v->views))
        view_free(LIST_FIRST(&v->views));
    while (v->mapping) {
        struct mapping *m = v->mapping;
        v->mapping = m->older;
        munmap(m->base, m->len);
        free(m);
    }
    if (v->memfd >= 0) {
        close(v->memfd);
        if (v->memfd_read >= 0)
            close(v->memfd_read);
    }
    free(v->present);
    free(v->pulling);
    free(v->twins);
    range_map_free(&v->sending);
    free(v);
}

void replica_drop(struct replica *v)
{
    if (v->evicting)
        room_left(v);
    if (v->is_idle) {
        TAILQ_REMOVE(&v->tier->idle, v, idle);
        v->is_idle = false;
    }
    if (v->in_table)
        tier_remove(v);
    if (!v->pins && LIST_EMPTY(&v->attachments))
        replica_free(v);
}

/* Called when an attachment or pin is gone: idle, doomed or free. */
static void replica_settle(struct replica *v)
{
    if (v->pins || !LIST_EMPTY(&v->attachments))
        return;
    if (v->evicting)
        room_left(v);
    if (v->doomed) {
        open_kick(v);
    } else if (!v->in_table) {
        replica_free(v);
    } else if (!v->exists) {
        replica_drop(v);
    } else if (!v->is_idle) {
        TAILQ_INSERT_TAIL(&v->tier->idle, v, idle);
        v->is_idle = true;
        room_kick(v->tier);
    }
}

void replica_pin(struct replica *v)
{
    v->pins++;
}

void replica_unpin(struct replica *v)
{
    assert(v->pins);
    v->pins--;
    replica_settle(v);
}

void replica_check(const struct replica *v)
{
    uint64_t present = 0, twins = 0;
    for (uint64_t i = 0; i < v->chunks; i++) {
        present += chunk_is(v->present, i);
        twins += v->twins[i] != NULL;
        assert(!(chunk_is(v->present, i) && chunk_is(v->pulling, i)));
        assert(!v->twins[i] || chunk_is(v->present, i));
    }
    assert(present == v->present_count && twins == v->twin_count);
    assert(v->chunks == chunks_of(v->size));
    const struct range_map *maps[] = {&v->written, &v->merges};
    for (int i = 0; i < 2; i++)
        assert(!maps[i]->count || maps[i]->ranges[maps[i]->count - 1].end <= v->size);
    if (v->size % STATE_CHUNK && chunk_is(v->present, v->chunks - 1)) {
        const uint8_t *tail = replica_base(v) + v->size;
        for (uint64_t i = v->size; i < v->chunks * STATE_CHUNK; i++)
            assert(*tail++ == 0);
    }
}
