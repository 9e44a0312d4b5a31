/*
 * Slots of the address space: reserved, handed out at random, kept for the next arena.
 *
 * One PROT_NONE reservation per slot, with the gate pages mapped at their place; everything else is
 * mapped over it by whoever owns the slot.
 */
#include "engine/slot.h"

#include "base/file.h"
#include "engine/arena.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define PAGE          4096u
#define SLOT_ATTEMPTS 64 /* random tries before the orderly search */

/* ---- the gate pages: one memory file for the process, mapped into every arena ---- */

static int gate_fd = -1;
static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static struct error engine_error;

static void engine_initialize_once(void)
{
    uint8_t pages[GATE_DATA + 8] = {0};
    assert((size_t)(gate_code_end - gate_code_start) <= GATE_DATA);
    memcpy(pages, gate_code_start, (size_t)(gate_code_end - gate_code_start));
    store_u64(pages + GATE_DATA, (uint64_t)(uintptr_t)context_dispatch);
    gate_fd =
        memory_file("atoll-gate", pages, sizeof pages, GATE_DATA + PAGE, true, true, &engine_error);
    if (gate_fd >= 0)
        (void)signals_initialize(&engine_error);
}

int engine_initialize(struct error *e)
{
    pthread_once(&engine_once, engine_initialize_once);
    if (engine_error.code)
        *e = engine_error;
    return engine_error.code;
}

void gate_identity(uint8_t out[static HASH_LEN])
{
    hash_blake2b(gate_code_start, (size_t)(gate_code_end - gate_code_start), NULL, 0, out);
}

/* ---- slots ---- */

uint8_t *slot_address(uint32_t slot)
{
    return (uint8_t *)((uintptr_t)slot << SLOT_BITS);
}

/* Reserves the whole slot. 0, -ATOLL_EBUSY when something lies there, -ATOLL_ENOMEM. */
static int slot_reserve(uint32_t slot)
{
    void *wanted = slot_address(slot);
    void *got = mmap(wanted, SLOT_SIZE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
        return errno == EEXIST ? -ATOLL_EBUSY : -ATOLL_ENOMEM;
    if (got != wanted) { /* a kernel that does not know MAP_FIXED_NOREPLACE */
        munmap(got, SLOT_SIZE);
        return -ATOLL_EBUSY;
    }
    return 0;
}

/* Slots are handed out at random, so that a captured instance finds its slot free elsewhere. */
static uint32_t slot_random(void)
{
    static _Thread_local uint64_t state;
    if (!state && getrandom(&state, sizeof state, 0) != sizeof state)
        state = (uint64_t)getpid();
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return SLOT_FIRST + (uint32_t)((state >> 11) % (SLOT_END - SLOT_FIRST));
}

/*
 * Slots of destroyed arenas that stay reserved, with gate, stack and code mapped, and with the data
 * of an instance from a snapshot, without private pages: the next arena starts in one of them with
 * fewer system calls and faults, above all one of the same code. An arena of other code finds
 * neither code nor data.
 */
#define SPARES_MAX 64u

static struct slot spares[SPARES_MAX];
static uint32_t spare_count;
static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;

bool slot_code_equal(const struct slot_code *a, const struct slot_code *b)
{
    return a->size == b->size && memcmp(a->id, b->id, HASH_LEN) == 0;
}

/* How well a spare suits, 0: not at all. */
static int spare_fit(const struct slot *s, uint32_t wanted, const struct slot_code *code)
{
    if (wanted != SLOT_ANY)
        return s->index == wanted ? 3 : 0;
    if (code && slot_code_equal(&s->code, code))
        return 3;
    return s->code.size ? 1 : 2; /* code of others is better left to them */
}

/* Takes the given slot, or the one that suits best, from the spares. */
static bool spare_take(uint32_t wanted, const struct slot_code *code, struct slot *out)
{
    int best = 0;
    uint32_t chosen = 0, random = slot_random();
    pthread_mutex_lock(&spares_lock);
    for (uint32_t k = 0; k < spare_count && best < 3; k++) {
        uint32_t at = (random + k) % spare_count;
        int fit = spare_fit(&spares[at], wanted, code);
        if (fit > best) {
            best = fit;
            chosen = at;
        }
    }
    if (best) {
        *out = spares[chosen];
        spares[chosen] = spares[--spare_count];
    }
    pthread_mutex_unlock(&spares_lock);
    return best != 0;
}

bool slot_close(uint8_t *start, const uint8_t *end)
{
    return mmap(start, (size_t)(end - start), PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool range_close(uint8_t *start, const uint8_t *end)
{
    return start >= end || slot_close(start, end);
}

static bool range_drop(uint8_t *start, const uint8_t *end)
{
    return start >= end || madvise(start, (size_t)(end - start), MADV_DONTNEED) == 0;
}

/* Drops whatever the guest could write. The top page of the stack stays resident, as zeros. */
static bool slot_clear(const struct slot *s, uint64_t images_end, uint64_t data_end)
{
    uint8_t *slot = slot_address(s->index), *images = slot + ARENA_IMAGES + s->code.size;
    if (!s->stack_low)
        return range_close(images, slot + data_end);
    uint8_t *images_high = slot + images_end < s->stack_low ? slot + images_end : s->stack_low;
    uint8_t *top = s->stack_high - PAGE, *data_high = slot + s->data_high;
    if (!range_close(images, images_high) || !range_drop(s->stack_low, top) ||
        !range_drop(slot + s->data_low, data_high) ||
        !range_close(s->data_high ? data_high : s->stack_high, slot + data_end))
        return false;
    memset(top, 0, PAGE);
    return true;
}

/* Makes a spare fit for an arena of this code. */
static bool slot_suit(struct slot *s, const struct slot_code *code)
{
    uint8_t *slot = slot_address(s->index);
    if (code && slot_code_equal(&s->code, code))
        return true;
    uint64_t low = s->data_low, high = s->data_high;
    s->data_low = s->data_high = s->data_source = 0;
    return range_close(slot + low, slot + high);
}

void slot_give_back(const struct slot *s, uint64_t images_end, uint64_t data_end)
{
    if (slot_clear(s, images_end, data_end)) {
        pthread_mutex_lock(&spares_lock);
        bool kept = spare_count < SPARES_MAX;
        if (kept)
            spares[spare_count++] = *s;
        pthread_mutex_unlock(&spares_lock);
        if (kept)
            return;
    }
    munmap(slot_address(s->index), SLOT_SIZE);
}

static int slot_find(uint32_t wanted, uint32_t *slot, struct error *e)
{
    if (wanted != SLOT_ANY) {
        if (wanted < SLOT_FIRST || wanted >= SLOT_END)
            return error_set(e, ATOLL_EINVAL, "slot %u is outside [%u, %u)", wanted, SLOT_FIRST,
                             SLOT_END);
        int rc = slot_reserve(*slot = wanted);
        if (rc == -ATOLL_EBUSY)
            return error_set(e, ATOLL_EBUSY, "slot %u is taken in this process", wanted);
        if (rc < 0)
            return error_set_errno(e, ATOLL_ENOMEM, "cannot reserve slot %u", wanted);
        return 0;
    }
    uint32_t start = 0;
    for (uint32_t i = 0; i < SLOT_ATTEMPTS + (SLOT_END - SLOT_FIRST); i++) {
        if (i <= SLOT_ATTEMPTS)
            start = slot_random();
        *slot = i < SLOT_ATTEMPTS ? start
                                  : SLOT_FIRST + (start - SLOT_FIRST + i) % (SLOT_END - SLOT_FIRST);
        int rc = slot_reserve(*slot);
        if (rc != -ATOLL_EBUSY)
            return rc == 0
                       ? 0
                       : error_set_errno(e, ATOLL_ENOMEM,
                                         "cannot reserve an arena of 16 GiB; see `atoll doctor` "
                                         "(address space limit, vm.max_map_count)");
    }
    return error_set(e, ATOLL_ENOMEM, "all %u arena slots of this process are taken",
                     SLOT_END - SLOT_FIRST);
}

int slot_take(uint32_t wanted, const struct slot_code *code, struct slot *out, struct error *e)
{
    *out = (struct slot){0};
    if (spare_take(wanted, code, out)) {
        if (slot_suit(out, code))
            return 0;
        munmap(slot_address(out->index), SLOT_SIZE);
        return error_set_errno(e, ATOLL_ENOMEM, "cannot clear a slot");
    }
    int rc = slot_find(wanted, &out->index, e);
    if (rc < 0)
        return rc;
    if (mmap(slot_address(out->index) + ARENA_GATE, GATE_DATA + PAGE, PROT_READ | PROT_EXEC,
             MAP_PRIVATE | MAP_FIXED, gate_fd, 0) == MAP_FAILED) {
        rc = error_set_errno(e, ATOLL_ENOMEM, "cannot map the gate pages of an arena");
        munmap(slot_address(out->index), SLOT_SIZE);
    }
    return rc;
}
