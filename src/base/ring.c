/*
 * Rings of records in shared memory; ring.h draws them.
 *
 * Order of memory: a record's bytes are written before head (release) and read after it (acquire);
 * its room is used again after tail has been read (acquire), which the consumer stores when it is
 * done (release). What a sleeper and its waker do is sequentially consistent, see ring.h.
 */
#define _GNU_SOURCE
#include "base/ring.h"

#include "base/bytes.h"
#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 4096u
#define RECORD_HEAD  8u /* u32 len | u32 zero */

_Static_assert(sizeof(struct ring_header) <= HEADER_BYTES, "the header has one page");

static bool capacity_is_good(uint64_t capacity)
{
    return capacity >= RING_CAPACITY_MIN && capacity <= RING_CAPACITY_MAX &&
           (capacity & (capacity - 1)) == 0;
}

int ring_create(uint64_t capacity, struct error *e)
{
    if (!capacity_is_good(capacity))
        return error_set(e, ATOLL_EINVAL, "a ring of %llu bytes: give a power of two in [%u, %u]",
                         (unsigned long long)capacity, RING_CAPACITY_MIN, RING_CAPACITY_MAX);
    int fd = memory_file("atoll-ring", NULL, 0, HEADER_BYTES + capacity, false, false, e);
    if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        close(fd);
        return error_set_errno(e, 0, "cannot seal a ring");
    }
    return fd;
}

/* The data, twice in a row, or NULL. */
static uint8_t *data_map(int fd, uint64_t capacity)
{
    uint8_t *room =
        mmap(NULL, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    for (int half = 0; half < 2; half++)
        if (mmap(room + (uint64_t)half * capacity, capacity, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_FIXED, fd, HEADER_BYTES) == MAP_FAILED) {
            munmap(room, 2 * capacity);
            return NULL;
        }
    return room;
}

int ring_open(int fd, uint64_t capacity, bool producer, struct ring *out, struct error *e)
{
    struct stat status;
    *out = (struct ring){.capacity = capacity, .wake_fd = -1};
    if (!capacity_is_good(capacity) || fstat(fd, &status) < 0 ||
        (uint64_t)status.st_size != HEADER_BYTES + capacity)
        return error_set(e, ATOLL_EINVAL, "the descriptor %d is not a ring of %llu bytes", fd,
                         (unsigned long long)capacity);
    void *header = mmap(NULL, HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (header == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map a ring");
    out->data = data_map(fd, capacity);
    if (!out->data) {
        munmap(header, HEADER_BYTES);
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the data of a ring");
    }
    out->header = header;
    out->mine = out->reserved =
        atomic_load(producer ? &out->header->head : &out->header->tail) & ~7ull;
    return 0;
}

void ring_close(struct ring *r)
{
    if (!r->header)
        return;
    munmap(r->data, 2 * r->capacity);
    munmap(r->header, HEADER_BYTES);
    r->header = NULL;
}

static uint8_t *record_at(const struct ring *r, uint64_t position)
{
    return r->data + (position & (r->capacity - 1));
}

static uint64_t record_size(uint32_t len)
{
    return align_up((uint64_t)RECORD_HEAD + len, 8);
}

/* ---- producer ---- */

void *ring_reserve(struct ring *r, uint32_t len)
{
    assert(len <= RING_RECORD_MAX(r->capacity));
    uint64_t used = r->mine - atomic_load_explicit(&r->header->tail, memory_order_acquire);
    if (used > r->capacity || used % 8)
        r->broken = true;
    if (r->broken || record_size(len) > r->capacity - used)
        return NULL;
    uint8_t *at = record_at(r, r->mine);
    store_u32(at, len);
    store_u32(at + 4, 0);
    r->reserved = r->mine + record_size(len);
    return at + RECORD_HEAD;
}

void ring_publish_quietly(struct ring *r)
{
    __atomic_store_n(&r->mine, r->reserved, __ATOMIC_RELAXED); /* ring_untaken looks at it */
    atomic_store_explicit(&r->header->head, r->mine, memory_order_release);
}

void ring_publish(struct ring *r)
{
    ring_publish_quietly(r);
    ring_wake(r);
}

uint64_t ring_untaken(const struct ring *r)
{
    return __atomic_load_n(&r->mine, __ATOMIC_RELAXED) - atomic_load(&r->header->tail);
}

/* ---- waking and sleeping ---- */

static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout)
{
    return syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

static void event_signal(int fd)
{
    const uint64_t one = 1;
    /* A full counter wakes as well: nothing is lost when this fails. */
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
}

void ring_wake(struct ring *r)
{
    struct ring_header *h = r->header;
    atomic_fetch_add(&h->signal, 1);
    if (r->wake_fd >= 0 && atomic_load(&h->sleeping) && atomic_exchange(&h->sleeping, 0))
        event_signal(r->wake_fd);
    if (atomic_load(&h->waiting))
        futex(&h->signal, FUTEX_WAKE, 1, NULL);
}

void ring_wake_all(struct ring *r)
{
    atomic_fetch_add(&r->header->signal, 1);
    futex(&r->header->signal, FUTEX_WAKE, INT_MAX, NULL);
}

uint32_t ring_waiting(const struct ring *r)
{
    return atomic_load(&r->header->waiting);
}

uint32_t ring_signal(const struct ring *r)
{
    return atomic_load(&r->header->signal);
}

void ring_wait(struct ring *r, uint32_t seen, int64_t timeout_ns)
{
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    atomic_fetch_add(&r->header->waiting, 1);
    futex(&r->header->signal, FUTEX_WAIT, seen, timeout_ns < 0 ? NULL : &timeout);
    atomic_fetch_sub(&r->header->waiting, 1);
}

bool ring_sleep_begin(struct ring *r)
{
    atomic_store(&r->header->sleeping, 1);
    if (!ring_pending(r))
        return true;
    ring_sleep_end(r);
    return false;
}

void ring_sleep_end(struct ring *r)
{
    atomic_store(&r->header->sleeping, 0);
}

/* ---- consumer ---- */

bool ring_pending(const struct ring *r)
{
    return atomic_load(&r->header->head) != __atomic_load_n(&r->mine, __ATOMIC_RELAXED) ||
           __atomic_load_n(&r->broken, __ATOMIC_RELAXED);
}

const void *ring_peek(struct ring *r, uint32_t *len)
{
    uint64_t used = atomic_load_explicit(&r->header->head, memory_order_acquire) - r->mine;
    if (r->broken || used == 0)
        return NULL;
    uint8_t *at = record_at(r, r->mine);
    uint32_t claimed = load_u32(at);
    if (used > r->capacity || used % 8 || used < RECORD_HEAD || load_u32(at + 4) != 0 ||
        claimed > RING_RECORD_MAX(r->capacity) || record_size(claimed) > used) {
        __atomic_store_n(&r->broken, true, __ATOMIC_RELAXED);
        return NULL;
    }
    *len = claimed;
    r->reserved = r->mine + record_size(claimed);
    return at + RECORD_HEAD;
}

void ring_release(struct ring *r)
{
    /* mine and broken: other threads look at them in ring_pending. */
    __atomic_store_n(&r->mine, r->reserved, __ATOMIC_RELAXED);
    atomic_store_explicit(&r->header->tail, r->mine, memory_order_release);
}
