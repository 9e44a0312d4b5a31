/* Proto-images: what they keep, what they refuse to keep, and what is refused of them. */
#define _GNU_SOURCE
#include "state_program.h"

#include "base/file.h"
#include "sandbox/proto_format.h"
#include "sandbox/region.h"
#include "sandbox/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct arena_limits limits = {.memory_bytes = 32u << 20, .stack_bytes = 128u << 10};

static struct artefact *state_artefact[2]; /* by tier */

static int artefacts_compile(void **state)
{
    (void)state;
    state_artefact[TIER_QUICK] = guest_artefact("state", TIER_QUICK, MODE_EXACT);
    state_artefact[TIER_OPT] = guest_artefact("state", TIER_OPT, MODE_FAST);
    return 0;
}

static int artefacts_release(void **state)
{
    (void)state;
    artefact_release(state_artefact[TIER_QUICK]);
    artefact_release(state_artefact[TIER_OPT]);
    return 0;
}

/* ---- writing, opening, loading ---- */

static int image_file(struct arena *arena, const void *owner, size_t owner_len)
{
    struct error e = {0};
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (proto_image_write(arena, owner, owner_len, fd, &e) < 0)
        fail_msg("%s", e.text);
    return fd;
}

static struct proto_image *image_of(struct arena *arena)
{
    struct error e = {0};
    struct proto_image *image;
    int fd = image_file(arena, "owner", 5);
    if (proto_image_open(fd, &image, &e) < 0)
        fail_msg("%s", e.text);
    close(fd);
    return image;
}

/* Links module `ordinal` with the tests' host functions. */
static int link_artefact(void *context, struct arena *arena, uint32_t ordinal,
                         const uint8_t sha[HASH_LEN], enum link_mode link, struct error *e)
{
    struct artefact *artefact = context;
    (void)e;
    assert_int_equal(ordinal, 0);
    assert_int_equal(link, LINK_PRIMARY);
    assert_memory_equal(sha, artefact->wasm_sha256, HASH_LEN);
    guest_fill(arena, artefact);
    return 0;
}

static struct arena *load(const struct proto_image *image, struct artefact *artefact)
{
    struct error e = {0};
    struct arena *arena;
    if (proto_image_load(image, &limits, link_artefact, artefact, &arena, &e) < 0)
        fail_msg("%s", e.text);
    return arena;
}

static struct arena *restore(struct snapshot *snapshot)
{
    struct error e = {0};
    struct arena *arena;
    if (snapshot_restore(snapshot, SLOT_ANY, &arena, &e) < 0)
        fail_msg("%s", e.text);
    return arena;
}

static void same(const struct arena *a, const struct arena *b, const char *when, uint64_t seed)
{
    const char *difference = state_difference(a, b);
    if (difference)
        fail_msg("seed %llu, %s: %s differs", (unsigned long long)seed, when, difference);
}

/* Program A, then B: straight on; behind a snapshot; behind an image, loaded into code of the other
 * tier, and behind a snapshot of that. */
static void program_pair(uint64_t seed)
{
    struct error e = {0};
    struct snapshot *first, *second;
    struct artefact *artefact = state_artefact[seed & 1], *other = state_artefact[~seed & 1];
    struct arena *arenas[4] = {guest_arena(artefact, &limits)};
    struct state_calls calls = state_calls_find(arenas[0]);
    state_run(arenas[0], &calls, seed, 1 + (uint32_t)(seed % 60));
    assert_int_equal(snapshot_take(arenas[0], &first, &e), 0);
    arenas[1] = restore(first);
    struct proto_image *image = image_of(seed & 2 ? arenas[0] : arenas[1]);
    arenas[2] = load(image, other);
    assert_int_equal(snapshot_take(arenas[2], &second, &e), 0);
    arenas[3] = restore(second);
    uint64_t digests[4];
    for (int k = 0; k < 4; k++) {
        same(arenas[0], arenas[k], "before B", seed);
    }
    for (int k = 0; k < 4; k++) {
        digests[k] = state_run(arenas[k], &calls, seed + 1000003, 60);
        same(arenas[0], arenas[k], "behind B", seed);
        if (digests[k] != digests[0])
            fail_msg("seed %llu: B came to something else", (unsigned long long)seed);
    }
    for (int k = 0; k < 4; k++)
        arena_destroy(arenas[k]);
    proto_image_close(image);
    snapshot_release(first);
    snapshot_release(second);
}

static void a_program_goes_on_behind_an_image_as_it_would_have(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        program_pair(seed);
}

static void an_image_is_the_same_whatever_code_it_was_written_by(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct arena *a = guest_arena(state_artefact[0], &limits);
        struct arena *b = guest_arena(state_artefact[1], &limits);
        struct state_calls calls = state_calls_find(a);
        state_run(a, &calls, seed, 40);
        state_run(b, &calls, seed, 40);
        struct proto_image *x = image_of(a), *y = image_of(b);
        struct arena *c = load(x, state_artefact[1]);
        struct proto_image *z = image_of(c);
        assert_memory_equal(proto_image_root(x), proto_image_root(y), HASH_LEN);
        assert_memory_equal(proto_image_root(x), proto_image_root(z), HASH_LEN);
        proto_image_close(x);
        proto_image_close(y);
        proto_image_close(z);
        arena_destroy(a);
        arena_destroy(b);
        arena_destroy(c);
    }
}

static void large_gaps_of_zeros_take_no_room(void **state)
{
    (void)state;
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct state_calls calls = state_calls_find(a);
    struct proto_image *before = image_of(a);
    state_call(a, calls.grow, 150, 0, 0);
    static const uint32_t places[] = {1u << 20, (1u << 20) + 3 * 4096, 5u << 20, 9u << 20};
    for (size_t k = 0; k < 4; k++)
        state_call(a, calls.poke, places[k], 77 + k, 0);
    struct proto_image *image = image_of(a);
    assert_int_equal(proto_image_memory_bytes(image), 153 * WASM_PAGE);
    /* Three more extents: four pages and the gap of two, one, one. */
    assert_int_equal(image->header.extent_count, before->header.extent_count + 3);
    assert_int_equal(proto_image_bytes(image), proto_image_bytes(before) + 6 * PAGE_BYTES);
    struct arena *b = load(image, state_artefact[0]);
    same(a, b, "loaded", 0);
    assert_int_equal(state_call(b, calls.peek, places[3], 0, 0), 80);
    arena_destroy(a);
    arena_destroy(b);
    proto_image_close(before);
    proto_image_close(image);
}

static void a_large_memory_comes_back_and_can_be_kept_again(void **state)
{
    (void)state;
    struct error e = {0};
    struct snapshot *snapshot;
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct state_calls calls = state_calls_find(a);
    state_call(a, calls.grow, 150, 0, 0);
    for (uint32_t k = 0; k < 80; k++) /* more large extents than are mapped */
        state_call(a, calls.fill, (k * 29u + 7u) << 12, k + 1, k < 70 ? 13u << 12 : 600u << 10);
    struct proto_image *image = image_of(a);
    struct arena *b = load(image, state_artefact[0]);
    same(a, b, "loaded", 0);
    struct proto_image *again = image_of(b);
    assert_memory_equal(proto_image_root(image), proto_image_root(again), HASH_LEN);
    proto_image_close(image);
    assert_int_equal(snapshot_take(b, &snapshot, &e), 0);
    struct arena *c = restore(snapshot);
    state_run(a, &calls, 5, 40);
    state_run(b, &calls, 5, 40);
    state_run(c, &calls, 5, 40);
    same(a, b, "behind B", 0);
    same(a, c, "behind B", 0);
    arena_destroy(a);
    arena_destroy(b);
    arena_destroy(c);
    proto_image_close(again);
    snapshot_release(snapshot);
}

static blkcnt_t blocks_of(const struct artefact *a)
{
    struct stat status;
    assert_int_equal(fstat(a->data_fd, &status), 0);
    return status.st_blocks;
}

static void holes_of_the_initial_image_are_not_read(void **state)
{
    (void)state;
    struct error e = {0};
    struct snapshot *snapshot;
    const struct artefact *artefact = state_artefact[0];
    blkcnt_t before = blocks_of(artefact);
    assert_true((uint64_t)before * 512 < artefact->data_populated / 2); /* it has some */
    struct arena *a = guest_arena(state_artefact[0], &limits);
    struct proto_image *image = image_of(a);
    struct arena *b = load(image, state_artefact[0]);
    assert_int_equal(snapshot_take(b, &snapshot, &e), 0);
    assert_int_equal(blocks_of(artefact), before);
    struct arena *c = restore(snapshot);
    same(a, c, "restored", 0);
    arena_destroy(a);
    arena_destroy(b);
    arena_destroy(c);
    proto_image_close(image);
    snapshot_release(snapshot);
}

static void memory_that_was_cleared_stays_clear(void **state)
{
    (void)state;
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct state_calls calls = state_calls_find(a);
    state_call(a, calls.fill, 0, 0, 3 * WASM_PAGE);
    struct proto_image *image = image_of(a);
    assert_int_equal(image->header.extent_count, 0);
    struct arena *b = load(image, state_artefact[0]);
    same(a, b, "loaded", 0);
    arena_destroy(a);
    arena_destroy(b);
    proto_image_close(image);
}

static void the_owners_bytes_come_back(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = guest_arena(state_artefact[1], &limits);
    uint8_t owner[100000];
    for (size_t k = 0; k < sizeof owner; k++)
        owner[k] = (uint8_t)(k * 7);
    int fd = image_file(a, owner, sizeof owner);
    struct proto_image *image;
    size_t len;
    assert_int_equal(proto_image_open(fd, &image, &e), 0);
    close(fd);
    const uint8_t *bytes = proto_image_owner(image, &len);
    assert_int_equal(len, sizeof owner);
    assert_memory_equal(bytes, owner, len);
    assert_memory_equal(proto_image_module(image, 0), state_artefact[0]->wasm_sha256, HASH_LEN);
    assert_null(proto_image_module(image, 1));
    arena_destroy(a);
    proto_image_close(image);
}

/* ---- several modules ---- */

struct linked {
    struct artefact *artefacts[3];
    struct instance *provider;
};

static int link_several(void *context, struct arena *arena, uint32_t ordinal,
                        const uint8_t sha[HASH_LEN], enum link_mode link, struct error *e)
{
    struct linked *l = context;
    struct artefact *artefact = ordinal < 3 ? l->artefacts[ordinal] : NULL;
    struct link_import imports[16] = {0};
    struct instance *instance;
    if (!artefact || memcmp(artefact->wasm_sha256, sha, HASH_LEN) != 0 ||
        artefact->options.link != link)
        return error_set(e, ATOLL_ESTALE, "other modules");
    const struct wasm_module *m = &artefact->module;
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        const char *name = (const char *)m->bytes + import->name.offset;
        imports[k].how = LINK_HOST;
        if (m->bytes[import->module.offset] == 'p') {
            imports[k] = (struct link_import){.how = LINK_EXPORT, .from = l->provider};
            assert_true(instance_export(l->provider, name, import->name.len, &imports[k].index) >=
                        0);
        } else if (guest_resolve(NULL, m, import, &imports[k].function, &imports[k].data, e) < 0) {
            struct wasm_import add = *import; /* host.twice, which test guests do not have */
            add.name = m->imports[1].name;
            assert_int_equal(
                guest_resolve(NULL, m, &add, &imports[k].function, &imports[k].data, e), 0);
        }
    }
    int rc = instance_create(arena, artefact, imports, m->import_count, &instance, e);
    if (ordinal == 0)
        l->provider = instance;
    return rc;
}

static uint64_t work(struct arena *arena, uint32_t x)
{
    struct error e = {0};
    struct run_result result = {0};
    union host_slot slots[4] = {{.u64 = x}};
    uint32_t function;
    instance_export(arena->instances[1], "work", 4, &function);
    assert_int_equal(instance_invoke(arena->instances[1], function, slots, &result, &e), 0);
    assert_int_equal(result.status, RUN_DONE);
    return slots[0].u32;
}

static void modules_linked_to_each_other_come_back_together(void **state)
{
    (void)state;
    struct error e = {0};
    struct compile_options options = {
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = LINK_PRIMARY};
    struct linked linked = {.artefacts[0] = guest_artefact_with("provider", &options)};
    options.link = LINK_SHARED;
    linked.artefacts[1] = guest_artefact_with("consumer", &options);
    options.link = LINK_OTHER;
    linked.artefacts[2] = guest_artefact_with("deep", &options);
    struct arena *a, *b;
    assert_int_equal(arena_create(SLOT_ANY, &limits, &a, &e), 0);
    for (uint32_t k = 0; k < 3; k++)
        if (link_several(&linked, a, k, linked.artefacts[k]->wasm_sha256,
                         (enum link_mode)linked.artefacts[k]->options.link, &e) < 0)
            fail_msg("%s", e.text);
    work(a, 5);
    memset(instance_memory(a->instances[2]) + 5000, 9, 5000);
    struct proto_image *image = image_of(a);
    if (proto_image_load(image, &limits, link_several, &linked, &b, &e) < 0)
        fail_msg("%s", e.text);
    same(a, b, "loaded", 0);
    assert_int_equal(work(b, 7), work(a, 7));
    same(a, b, "behind work", 0);
    struct proto_module single = {.artefact = linked.artefacts[0]};
    struct arena *none;
    assert_int_equal(proto_image_load(image, &limits, proto_link_module, &single, &none, &e),
                     -ATOLL_ESTALE);
    arena_destroy(a);
    arena_destroy(b);
    proto_image_close(image);
    for (int k = 0; k < 3; k++)
        artefact_release(linked.artefacts[k]);
}

/* ---- what is not kept ---- */

static void write_refused(struct arena *a, const char *reason)
{
    struct error e = {0};
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_int_equal(proto_image_write(a, NULL, 0, fd, &e), -ATOLL_EBUSY);
    if (!strstr(e.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", e.text, reason);
    close(fd);
}

static void what_refers_to_the_outside_is_refused_by_name(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct state_calls calls = state_calls_find(a);
    int fd = memfd_create("region", MFD_CLOEXEC);
    uint32_t address;
    assert_int_equal(ftruncate(fd, 65536), 0);
    assert_int_equal(region_map(a, "model/weights", fd, 0, 65536, GUEST_READ, &address, &e), 0);
    write_refused(a, "model/weights");
    assert_int_equal(region_unmap(a, address, &e), 0);
    close(fd);
    union host_slot slots[4] = {{.u64 = 0}, {.u64 = arena_externref(a, 5)}};
    struct run_result result = {0};
    assert_int_equal(
        instance_invoke(arena_primary(a), guest_function(a, "foreign_set"), slots, &result, &e), 0);
    write_refused(a, "references");
    a->externref_count = 0; /* though the host forgets it, the table still has the number */
    write_refused(a, "reference");
    arena_interrupt(a);
    assert_int_equal(state_call(a, calls.nothing, 0, 0, 0) >> 60, 0xf);
    write_refused(a, "suspended");
    arena_destroy(a);
}

/* ---- what is refused ---- */

static struct buffer image_bytes(uint32_t calls_before)
{
    struct error e = {0};
    struct buffer bytes = {0};
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct state_calls calls = state_calls_find(a);
    state_run(a, &calls, 3, calls_before);
    int fd = image_file(a, "owner", 5);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(file_read_fd(fd, "image", 64u << 20, &bytes, &e), 0);
    close(fd);
    arena_destroy(a);
    return bytes;
}

/* What opening these bytes, and then loading what was opened, comes to. */
static int outcome(const uint8_t *bytes, size_t len, struct error *e)
{
    struct proto_image *image;
    struct arena *arena;
    int fd = memory_file("image", bytes, len, len, false, false, e);
    assert_true(fd >= 0);
    int rc = proto_image_open(fd, &image, e);
    close(fd);
    if (rc < 0)
        return rc;
    rc = proto_image_load(image, &limits, link_artefact, state_artefact[0], &arena, e);
    proto_image_close(image);
    if (rc == 0)
        arena_destroy(arena);
    return rc;
}

static void root_repair(uint8_t *bytes, size_t len)
{
    struct error e = {0};
    assert_int_equal(proto_root(bytes, len, bytes + offsetof(struct proto_header, root), &e), 0);
}

static void a_damaged_image_is_refused_at_every_byte(void **state)
{
    (void)state;
    struct error e = {0};
    struct buffer bytes = image_bytes(40);
    assert_int_equal(outcome(bytes.data, bytes.len, &e), 0);
    for (size_t at = 0; at < bytes.len; at += at < 8192 ? 13 : 4099) {
        bytes.data[at] ^= 0x10;
        assert_true(outcome(bytes.data, bytes.len, &e) < 0);
        bytes.data[at] ^= 0x10;
    }
    static const size_t lengths[] = {0, 3, 4, 50, 4095, 4096, 8192, 12288};
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        int rc = outcome(bytes.data, lengths[k], &e);
        assert_int_equal(rc, lengths[k] < 4 ? -ATOLL_ETYPE : -ATOLL_ECORRUPT);
        if (lengths[k] >= 4 && !strstr(e.text, "cut off"))
            fail_msg("%s", e.text);
    }
    assert_true(buffer_append(&bytes, NULL, 1));
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "1 bytes too many"));
    buffer_free(&bytes);
}

static void each_kind_of_wrong_image_has_its_own_error(void **state)
{
    (void)state;
    struct error e = {0};
    struct buffer bytes = image_bytes(40);
    struct proto_header *h = (struct proto_header *)(void *)bytes.data;
    const struct proto_header good = *h;
    h->format++;
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ESTALE);
    *h = good;
    h->abi[7] ^= 1;
    root_repair(bytes.data, bytes.len);
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ESTALE);
    *h = good;
    h->file_bytes = PROTO_FILE_MAX + 1;
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ESIZE);
    *h = good;
    h->metadata_len = PROTO_METADATA_MAX + 1ull;
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ESIZE);
    *h = good;
    h->module_count = 2;
    root_repair(bytes.data, bytes.len);
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ECORRUPT);
    *h = good;
    memcpy(bytes.data, "PNG", 3);
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ETYPE);
    *h = good;
    bytes.data[bytes.len - 1] ^= 1;
    assert_int_equal(outcome(bytes.data, bytes.len, &e), -ATOLL_ECORRUPT);
    assert_non_null(strstr(e.text, "not those"));
    bytes.data[bytes.len - 1] ^= 1;
    assert_int_equal(outcome(bytes.data, bytes.len, &e), 0);
    buffer_free(&bytes);
}

/* A hostile writer makes a good hash over anything. */
static void an_image_cannot_say_what_its_module_cannot_be(void **state)
{
    (void)state;
    struct error e = {0};
    struct buffer bytes = image_bytes(0);
    uint8_t *head_at = bytes.data + PAGE_BYTES;
    struct proto_module_head head;
    memcpy(&head, head_at, sizeof head);
    uint32_t hidden = state_artefact[0]->module.function_count - 1;
    const struct {
        size_t offset;
        uint32_t value;
        int code;
    } changes[] = {
        {offsetof(struct proto_module_head, link), 7, -ATOLL_ECORRUPT},
        {offsetof(struct proto_module_head, globals), 5, -ATOLL_ECORRUPT},
        {offsetof(struct proto_module_head, tables), 2, -ATOLL_ECORRUPT},
        {offsetof(struct proto_module_head, segments), 2, -ATOLL_ECORRUPT},
        {offsetof(struct proto_module_head, memory_bytes), 64u << 20, -ATOLL_ELIMIT},
        {offsetof(struct proto_module_head, memory_bytes), WASM_PAGE, -ATOLL_ECORRUPT},
        {offsetof(struct proto_module_head, memory_bytes), 20 * WASM_PAGE + 4096, -ATOLL_ECORRUPT},
        /* the reference in the global `function`, which comes last */
        {sizeof head + 5 * 16, 1, -ATOLL_ECORRUPT},
        {sizeof head + 5 * 16 + 4, 10000, -ATOLL_ECORRUPT},
        {sizeof head + 5 * 16 + 4, hidden, -ATOLL_ECORRUPT}, /* a function nothing refers to */
        {sizeof head + 6 * 16, 65, -ATOLL_ELIMIT},           /* entries of table 0 */
        {sizeof head + 6 * 16, 7, -ATOLL_ECORRUPT},          /* fewer than at the start */
        {sizeof head + 6 * 16 + 4, 0, -ATOLL_ECORRUPT},      /* no pairs */
        {sizeof head + 6 * 16 + 8, 3, -ATOLL_ECORRUPT},      /* of a module that is not there */
    };
    for (size_t k = 0; k < sizeof changes / sizeof *changes; k++) {
        uint8_t *at = head_at + changes[k].offset;
        uint32_t before = load_u32(at);
        store_u32(at, changes[k].value);
        root_repair(bytes.data, bytes.len);
        int rc = outcome(bytes.data, bytes.len, &e);
        if (rc != changes[k].code)
            fail_msg("change %zu: %d %s", k, rc, e.text);
        store_u32(at, before);
    }
    root_repair(bytes.data, bytes.len);
    assert_int_equal(outcome(bytes.data, bytes.len, &e), 0);
    buffer_free(&bytes);
}

static void an_image_of_another_module_is_refused(void **state)
{
    (void)state;
    struct error e = {0};
    struct arena *none, *a = guest_arena(state_artefact[1], &limits);
    struct proto_image *image = image_of(a);
    struct artefact *other = guest_artefact("deep", TIER_OPT, MODE_FAST);
    struct proto_module module = {.artefact = other};
    assert_int_equal(proto_image_load(image, &limits, proto_link_module, &module, &none, &e),
                     -ATOLL_ESTALE);
    assert_null(none);
    artefact_release(other);
    arena_destroy(a);
    proto_image_close(image);
}

static void a_sealed_file_is_used_as_it_is_and_any_other_is_copied(void **state)
{
    (void)state;
    struct error e = {0};
    struct buffer bytes = image_bytes(40);
    struct proto_image *image, *again;
    int fd = memory_file("image", bytes.data, bytes.len, bytes.len, false, false, &e);
    assert_int_equal(proto_image_open(fd, &image, &e), 0);
    /* Changes of the file come too late. */
    assert_int_equal(pwrite(fd, "XXXX", 4, 0), 4);
    assert_int_equal(ftruncate(fd, 0), 0);
    close(fd);
    struct arena *a = load(image, state_artefact[0]);
    arena_destroy(a);
    assert_int_equal(proto_image_open(proto_image_fd(image), &again, &e), 0);
    assert_ptr_not_equal(image, again);
    assert_memory_equal(proto_image_root(image), proto_image_root(again), HASH_LEN);
    assert_int_equal(pwrite(proto_image_fd(again), "X", 1, 0), -1);
    proto_image_close(image);
    proto_image_close(again);
    buffer_free(&bytes);
}

static void a_pooled_instance_calls_the_host_with_its_own_data(void **state)
{
    (void)state;
    int first = 1, second = 2;
    struct arena *a = guest_arena(state_artefact[1], &limits);
    struct instance *i = arena_primary(a);
    i->bindings[0].data = &first;
    instance_rebind(i, &second, NULL);
    assert_ptr_equal(i->bindings[0].data, &first);
    instance_rebind(i, &first, &second);
    assert_ptr_equal(i->bindings[0].data, &second);
    arena_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: a guest that reads a hole fills it, for all that come after. */
        cmocka_unit_test(holes_of_the_initial_image_are_not_read),
        cmocka_unit_test(a_program_goes_on_behind_an_image_as_it_would_have),
        cmocka_unit_test(an_image_is_the_same_whatever_code_it_was_written_by),
        cmocka_unit_test(large_gaps_of_zeros_take_no_room),
        cmocka_unit_test(a_large_memory_comes_back_and_can_be_kept_again),
        cmocka_unit_test(memory_that_was_cleared_stays_clear),
        cmocka_unit_test(the_owners_bytes_come_back),
        cmocka_unit_test(modules_linked_to_each_other_come_back_together),
        cmocka_unit_test(what_refers_to_the_outside_is_refused_by_name),
        cmocka_unit_test(a_damaged_image_is_refused_at_every_byte),
        cmocka_unit_test(each_kind_of_wrong_image_has_its_own_error),
        cmocka_unit_test(an_image_cannot_say_what_its_module_cannot_be),
        cmocka_unit_test(an_image_of_another_module_is_refused),
        cmocka_unit_test(a_sealed_file_is_used_as_it_is_and_any_other_is_copied),
        cmocka_unit_test(a_pooled_instance_calls_the_host_with_its_own_data),
    };
    return cmocka_run_group_tests(tests, artefacts_compile, artefacts_release);
}
