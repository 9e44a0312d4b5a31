/*
 * A ring whose other end is hostile: the input is a script of what that end stores to the header
 * and the data, between steps of ours. Whatever it does, what ring_peek hands out lies in the data,
 * and a reservation too; a broken ring stays broken.
 */
#include "base/bytes.h"
#include "base/ring.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAPACITY RING_CAPACITY_MIN

static int fd = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct error e;
    (void)argc;
    (void)argv;
    fd = ring_create(CAPACITY, &e);
    assert(fd >= 0);
    return 0;
}

struct step {
    uint8_t what, small;
    uint16_t at;
    uint32_t value;
};

static void inside(const struct ring *r, const uint8_t *at, uint32_t len)
{
    assert(at >= r->data && at + len <= r->data + 2ull * CAPACITY && len <= CAPACITY);
}

static void hostile_step(struct ring *r, const struct step *s)
{
    uint64_t wide = (uint64_t)(int64_t)(int32_t)s->value << (s->small % 33);
    switch (s->what % 4) {
    case 0: atomic_store(&r->header->head, wide); break;
    case 1: atomic_store(&r->header->tail, wide); break;
    case 2: store_u32(r->data + s->at % (CAPACITY - 4), s->value); break;
    default: atomic_fetch_add(&r->header->head, s->value % CAPACITY);
    }
}

static void consumer_step(struct ring *r)
{
    static uint8_t sink[CAPACITY];
    uint32_t len = 0;
    bool was_broken = r->broken;
    const uint8_t *at = ring_peek(r, &len);
    if (!at)
        return;
    assert(!was_broken);
    inside(r, at, len);
    memcpy(sink, at, len);
    ring_release(r);
}

static void producer_step(struct ring *r, uint32_t len)
{
    len %= RING_RECORD_MAX(CAPACITY) + 1;
    uint8_t *at = ring_reserve(r, len);
    if (!at)
        return;
    inside(r, at, len);
    memset(at, 0x5a, len);
    ring_publish(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring producer, consumer;
    struct error e;
    struct step s;
    if (ring_open(fd, CAPACITY, true, &producer, &e) < 0 ||
        ring_open(fd, CAPACITY, false, &consumer, &e) < 0)
        abort();
    for (size_t at = 0; at + sizeof s <= size; at += sizeof s) {
        memcpy(&s, data + at, sizeof s);
        if (s.what & 0x80)
            hostile_step(&consumer, &s);
        else if (s.what & 0x40)
            consumer_step(&consumer);
        else
            producer_step(&producer, s.value);
    }
    atomic_store(&consumer.header->head, 0);
    atomic_store(&consumer.header->tail, 0);
    ring_close(&producer);
    ring_close(&consumer);
    return 0;
}
