/*
 * Slots of the address space and what is mapped in them (abi.h draws an arena).
 *
 * One PROT_NONE reservation per slot; everything else is mapped over it. Mappings are budgeted: an
 * idle instance has about eight (gate, image, stack, one for tables, fields and initial memory, and
 * the reservation between them).
 */
#include "engine/arena.h"

#include "base/file.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define PAGE           4096u
#define DEFAULT_MEMORY (512ull << 20)
#define DEFAULT_STACK  (1ull << 20)
#define DEFAULT_TABLE  10000000u
#define SLOT_ATTEMPTS  64 /* random tries before the orderly search */

_Static_assert(offsetof(struct context, host_rsp) == CONTEXT_HOST_RSP, "gate.h");
_Static_assert(offsetof(struct context, guest_rsp) == CONTEXT_GUEST_RSP, "gate.h");
_Static_assert(offsetof(struct context, stop) == CONTEXT_STOP, "gate.h");
_Static_assert(offsetof(struct context, vector) == CONTEXT_VECTOR, "gate.h");
_Static_assert(offsetof(struct context, thunk) == CONTEXT_THUNK, "gate.h");
_Static_assert(offsetof(struct context, vm) == CONTEXT_VM, "gate.h");
_Static_assert(offsetof(struct context, code) == CONTEXT_CODE, "gate.h");
_Static_assert(offsetof(struct context, area) == CONTEXT_AREA, "gate.h");
_Static_assert(ARENA_BASE - ARENA_GATE == GATE_TO_B, "gate.h");

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

static uint8_t *slot_address(uint32_t slot)
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

static int slot_take(uint32_t wanted, uint32_t *slot, struct error *e)
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

/* ---- arenas ---- */

static int limits_settle(const struct arena_limits *given, struct arena_limits *out,
                         struct error *e)
{
    *out = given ? *given : (struct arena_limits){0};
    if (!out->memory_bytes)
        out->memory_bytes = DEFAULT_MEMORY;
    if (!out->stack_bytes)
        out->stack_bytes = DEFAULT_STACK;
    if (!out->table_entries)
        out->table_entries = DEFAULT_TABLE;
    out->stack_bytes = align_up(out->stack_bytes, PAGE);
    uint64_t ceiling = out->no_window ? 4ull << 30 : WINDOW_START;
    if (out->memory_bytes > ceiling)
        out->memory_bytes = ceiling;
    if (out->stack_bytes > ARENA_STACK_MAX || out->stack_bytes < 16 * PAGE)
        return error_set(e, ATOLL_EINVAL, "a stack of %llu bytes is outside [64 KiB, %llu MiB]",
                         (unsigned long long)out->stack_bytes, ARENA_STACK_MAX >> 20);
    return 0;
}

static int map_over(void *at, uint64_t len, int protection, int flags, int fd, struct error *e,
                    const char *what)
{
    if (mmap(at, len, protection, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the %s of an arena", what);
    return 0;
}

int arena_create(uint32_t slot, const struct arena_limits *limits, struct arena **out,
                 struct error *e)
{
    *out = NULL;
    int rc = engine_initialize(e);
    if (rc < 0)
        return rc;
    struct arena *a = calloc(1, sizeof *a);
    if (!a)
        return error_set(e, ATOLL_ENOMEM, "no memory for an arena");
    a->context.arena = a;
    if ((rc = limits_settle(limits, &a->limits, e)) < 0 ||
        (rc = slot_take(slot, &a->slot, e)) < 0) {
        free(a);
        return rc;
    }
    a->base = slot_address(a->slot) + ARENA_BASE;
    a->images_end = ARENA_IMAGES;
    a->rest_used = ARENA_REST + ARENA_FAR_TABLES;
    if ((rc = map_over(a->base + GATE_FROM_B, GATE_DATA + PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE,
                       gate_fd, e, "gate pages")) < 0) {
        arena_destroy(a);
        return rc;
    }
    *out = a;
    return 0;
}

/* The stack lies below the primary module's tables, so it is mapped when these are known. */
int arena_map_stack(struct arena *a, uint64_t low_size, struct error *e)
{
    assert(!a->stack_low);
    uint64_t top = align_up(low_size, ARENA_GUARD) + ARENA_GUARD;
    uint64_t room = ARENA_BASE - ARENA_IMAGES - ARENA_IMAGES_SIZE;
    if (top + a->limits.stack_bytes + ARENA_GUARD > room)
        return error_set(e, ATOLL_ELIMIT,
                         "tables and fields of %llu MiB leave no room for a stack of %llu MiB",
                         (unsigned long long)(low_size >> 20),
                         (unsigned long long)(a->limits.stack_bytes >> 20));
    uint8_t *high = a->base - top, *low = high - a->limits.stack_bytes;
    if (mprotect(low, a->limits.stack_bytes, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the stack of an arena");
    a->stack_low = low;
    a->stack_high = high;
    return 0;
}

int arena_map_fields(struct arena *a, struct error *e)
{
    if (a->fields_mapped)
        return 0;
    if (mprotect(a->base - PAGE, PAGE, PROT_READ | PROT_WRITE) != 0)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the fields of an arena");
    a->fields_mapped = true;
    return 0;
}

int arena_take_rest(struct arena *a, uint64_t size, uint8_t **out, struct error *e)
{
    uint64_t at = a->rest_used;
    if (size > SLOT_SIZE - at)
        return error_set(e, ATOLL_ENOMEM,
                         "the linked modules of an arena need more than its slot holds");
    a->rest_used = at + align_up(size, 64u << 10);
    *out = slot_address(a->slot) + at;
    return 0;
}

static void instance_free(struct instance *i)
{
    artefact_release(i->artefact);
    free(i->bindings);
    free(i->signatures);
    free(i);
}

void arena_destroy(struct arena *a)
{
    if (!a)
        return;
    assert(a->context.depth == 0);
    munmap(slot_address(a->slot), SLOT_SIZE);
    for (uint32_t i = 0; i < a->instance_count; i++)
        instance_free(a->instances[i]);
    arena_types_free(a);
    free(a->instances);
    free(a->externrefs);
    free(a->context.registers.xsave);
    free(a->context.park);
    free(a->regions);
    free(a);
}

uint32_t arena_slot(const struct arena *a)
{
    return a->slot;
}

struct instance *arena_primary(struct arena *a)
{
    return a->primary;
}

struct instance *arena_instance_at(const struct arena *a, uint64_t pc)
{
    uint64_t offset = pc - (uint64_t)(uintptr_t)slot_address(a->slot);
    for (uint32_t i = 0; i < a->instance_count; i++) {
        struct instance *instance = a->instances[i];
        if (offset - instance->image_offset < instance->artefact->code_size)
            return instance;
    }
    return NULL;
}

const struct region *arena_region_at(const struct arena *a, uint32_t address, uint64_t len)
{
    for (uint32_t i = 0; i < a->region_count; i++) {
        const struct region *r = &a->regions[i];
        if (address >= r->address && address - r->address <= r->len &&
            len <= r->len - (address - r->address))
            return r;
    }
    return NULL;
}

/* ---- guest memory, as host functions see it ---- */

void *guest_range(struct arena *a, uint32_t address, uint64_t len, enum guest_right right)
{
    struct instance *who = a->caller ? a->caller : a->primary;
    struct memory_view memory = who ? instance_memory_view(who) : (struct memory_view){0};
    if (memory.base && len <= *memory.size && address <= *memory.size - len)
        return memory.base + address;
    if (memory.base == a->base) {
        const struct region *r = arena_region_at(a, address, len);
        if (r && (r->rights & right) == (uint32_t)right)
            return a->base + address;
    }
    return NULL;
}

int guest_read(struct arena *a, void *to, uint32_t address, size_t len)
{
    const void *from = guest_range(a, address, len, GUEST_READ);
    return from && guest_copy(to, from, len) == 0 ? 0 : -ATOLL_EFAULT;
}

int guest_write(struct arena *a, uint32_t address, const void *from, size_t len)
{
    void *to = guest_range(a, address, len, GUEST_WRITE);
    return to && guest_copy(to, from, len) == 0 ? 0 : -ATOLL_EFAULT;
}

/* ---- external references ---- */

#define EXTERNREFS_MAX 65536u

uint64_t arena_externref_append(struct arena *a, uint64_t value)
{
    if (a->externref_count == a->externref_capacity) {
        uint32_t capacity = a->externref_capacity ? 2 * a->externref_capacity : 16;
        uint64_t *grown =
            capacity <= EXTERNREFS_MAX ? realloc(a->externrefs, capacity * sizeof *grown) : NULL;
        if (!grown)
            return 0;
        a->externrefs = grown;
        a->externref_capacity = capacity;
    }
    a->externrefs[a->externref_count++] = value;
    return a->externref_count;
}

uint64_t arena_externref(struct arena *a, uint64_t value)
{
    for (uint32_t i = 0; i < a->externref_count; i++)
        if (a->externrefs[i] == value)
            return (uint64_t)i + 1;
    return arena_externref_append(a, value);
}

uint64_t arena_externref_value(const struct arena *a, uint64_t handle)
{
    return handle >= 1 && handle <= a->externref_count ? a->externrefs[handle - 1] : 0;
}
