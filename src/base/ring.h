/*
 * A ring of records in shared memory, between one producing and one consuming process.
 *
 *   page 0        struct ring_header: head (written by the producer), tail (by the consumer), and
 *                 who sleeps
 *   page 1 ..     capacity bytes of data, mapped twice in a row, so that every record is contiguous
 *   record        u32 len | u32 zero | len bytes | padding to 8
 *
 * Both counters grow for ever; head - tail is the number of bytes in use. The producer publishes a
 * record by storing head (release); the consumer gives its room back by storing tail (release). At
 * either end several threads may take turns under a lock of theirs.
 *
 * Neither end trusts the other: counters and lengths are checked at every step against copies that
 * the other process cannot reach, and a record's bytes may change while they are read: copy, then
 * check the copy. A ring whose counters make no sense is broken for good.
 *
 * Waking. A process sleeps in one of two ways: threads of a worker wait on the futex word `signal`
 * (ring_wait); an event loop sleeps in poll and is woken through an eventfd (ring_sleep_begin). The
 * producer makes a system call only when somebody sleeps. No wake is lost: a sleeper first says
 * that it sleeps and then looks again (the futex compares `signal`; ring_sleep_begin looks for a
 * record), a producer first publishes and then looks for sleepers.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_CAPACITY_MIN (64u << 10)
#define RING_CAPACITY_MAX (64u << 20)
/* The longest record of a ring: a few must fit at a time. */
#define RING_RECORD_MAX(capacity) ((capacity) / 4 - 8)

struct ring_header {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic uint32_t signal; /* futex word: grows when there may be something to do */
    _Atomic uint32_t waiting;             /* threads in ring_wait */
    _Atomic uint32_t sleeping;            /* an event loop sleeps; wake it through the eventfd */
    _Atomic uint64_t mark;                /* a number that the producer keeps beside the records */
};

struct ring {
    struct ring_header *header;
    uint8_t *data;
    uint64_t capacity; /* bytes, a power of two */
    uint64_t mine;     /* the counter that this end writes; the other side's copy is not believed */
    uint64_t reserved; /* end of the record that is being written or read */
    int wake_fd;       /* producer: eventfd of a consumer that polls, -1 = none; borrowed */
    bool broken;
};

/* A memory file of the right size, sealed against shrinking and growing; the descriptor or a
 * negative code. */
int ring_create(uint64_t capacity, struct error *);
/* Maps a ring. The descriptor may be closed afterwards. Positions start where the file has them. */
int ring_open(int fd, uint64_t capacity, bool producer, struct ring *out, struct error *);
void ring_close(struct ring *);

/* ---- producer ---- */
/* Room for a record of len bytes (at most RING_RECORD_MAX), at an address that is a multiple of 8;
 * NULL when the ring is full or broken. A reservation that is not published counts for nothing. */
void *ring_reserve(struct ring *, uint32_t len);
/* Publishes the reserved record and wakes one sleeper. */
void ring_publish(struct ring *);
/* Publishes without waking: for a run of records whose last one is published with ring_publish. */
void ring_publish_quietly(struct ring *);
/* Bytes that were published and the consumer has not taken. Producer; a hint. */
uint64_t ring_untaken(const struct ring *);
/* Wakes one sleeper, a thread or the event loop. Either end, any thread; also for work that is not
 * in the ring. */
void ring_wake(struct ring *);
/* Wakes all threads. */
void ring_wake_all(struct ring *);
/* Threads in ring_wait now, as the header says it: a hint. */
uint32_t ring_waiting(const struct ring *);

/* The mark: a number that the producer sets and the consumer reads at any time, without a record.
 * Set before a record is published, it is seen by whoever has seen the record. */
static inline void ring_mark_set(struct ring *r, uint64_t value)
{
    atomic_store_explicit(&r->header->mark, value, memory_order_release);
}
static inline uint64_t ring_mark(const struct ring *r)
{
    return atomic_load_explicit(&r->header->mark, memory_order_acquire);
}

/* ---- consumer ---- */
/* The oldest record; NULL when there is none, or the ring is broken. Its bytes may still change. */
const void *ring_peek(struct ring *, uint32_t *len);
void ring_release(struct ring *); /* done with it */
/* Whether there is a record, or something is wrong that ring_peek will tell. Any thread; a hint. */
bool ring_pending(const struct ring *);
/* The value to hand to ring_wait, read before looking for work. Any thread. */
uint32_t ring_signal(const struct ring *);
/* Waits until the signal is no longer `seen`, at most timeout_ns (negative: for ever). Any thread;
 * may return early. */
void ring_wait(struct ring *, uint32_t seen, int64_t timeout_ns);
/* Before an event loop sleeps: false when there is a record already, and it must not sleep. */
bool ring_sleep_begin(struct ring *);
void ring_sleep_end(struct ring *);

#endif
