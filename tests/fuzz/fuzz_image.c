/*
 * Damages real captured images and signs them again, so that everything behind the signature is
 * reached: restore must refuse them with a reason, or make an arena that can be looked at, captured
 * again and destroyed. It is not resumed: a signed image is as powerful as code.
 *
 * An input is a choice of image, then mutations of 12 bytes (struct mutation). The images come from
 * guests of tests/guest, compiled by $ATOLL_CC, else the build's own atoll-cc; they differ in how
 * the arena was stopped and in what it holds.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "crypto/hash.h"
#include "engine/compile.h"
#include "sandbox/capture.h"
#include "sandbox/image_format.h"
#include "sandbox/region.h"
#include "sandbox/vector_state.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGES        4
#define MUTATIONS_MAX 32

static struct buffer images[IMAGES];
static struct key_pair key;
static int region_fd = -1;

static void check(int rc, const struct error *e)
{
    if (rc < 0) {
        fprintf(stderr, "fuzz_image: %s\n", e->text);
        abort();
    }
}

/* ---- the host ---- */

static enum host_status host_nothing(struct host_call *call)
{
    if (!call->resumed)
        call->park->deadline_ns = 1;
    return HOST_PARK;
}

static int host_begin(void *context, const uint8_t *state, size_t len, const uint8_t *policy,
                      size_t policy_len, struct error *e)
{
    uint8_t hash[HASH_LEN];
    (void)context;
    (void)e;
    hash_blake2b(state, len, NULL, 0, hash); /* reads every byte */
    hash_blake2b(policy, policy_len, NULL, 0, hash);
    return 0;
}

static int host_resolve(void *context, const struct wasm_module *m,
                        const struct wasm_import *import, host_function *function, void **data,
                        struct error *e)
{
    (void)context;
    *data = NULL;
    if (import->module.len && m->bytes[import->module.offset] == 'p')
        return error_set(e, ATOLL_ENOENT, "another module's");
    *function = host_nothing;
    return 0;
}

static int host_region(void *context, const char *name, struct error *e)
{
    (void)context;
    (void)e;
    return strlen(name) < 64 ? dup(region_fd) : -ATOLL_ENOENT;
}

static int host_externref(void *context, uint64_t saved, uint64_t *value, struct error *e)
{
    (void)context;
    (void)e;
    *value = saved;
    return 0;
}

/* ---- making the images ---- */

static struct artefact *compile(struct compiler *compiler, const char *name, enum link_mode link)
{
    struct error e;
    struct buffer wasm = {0};
    struct artefact *artefact;
    struct compile_options options = {
        .tier = TIER_OPT, .mode = MODE_FAST, .cpu = CPU_V3, .link = (uint8_t)link};
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    check(file_read(path, 1u << 20, &wasm, &e), &e);
    check(compiler_load(compiler, wasm.data, wasm.len, &options, &artefact, NULL, &e), &e);
    buffer_free(&wasm);
    return artefact;
}

static struct instance *link_in(struct arena *arena, struct artefact *artefact,
                                struct instance *provider)
{
    const struct wasm_module *m = &artefact->module;
    struct link_import links[16] = {0};
    struct instance *instance;
    struct error e;
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        links[k] = (struct link_import){.how = LINK_HOST, .function = host_nothing};
        if (!provider || m->bytes[import->module.offset] != 'p')
            continue;
        links[k] = (struct link_import){.how = LINK_EXPORT, .from = provider};
        instance_export(provider, (const char *)m->bytes + import->name.offset, import->name.len,
                        &links[k].index);
    }
    check(instance_create(arena, artefact, links, m->import_count, &instance, &e), &e);
    artefact_release(artefact);
    return instance;
}

static void *interrupt_soon(void *arena)
{
    usleep(2000);
    arena_interrupt(arena);
    return NULL;
}

/* Calls an export and expects it to be suspended in this way. */
static void suspend(struct instance *instance, const char *function, uint32_t how)
{
    struct arena *arena = instance_arena(instance);
    union host_slot slots[4] = {{.i32 = 3}};
    struct run_result result;
    struct error e;
    uint32_t index = 0;
    pthread_t thread;
    if (how == LEAVE_AT_ENTER)
        arena_interrupt(arena);
    if (how == LEAVE_INTERRUPTED)
        pthread_create(&thread, NULL, interrupt_soon, arena);
    instance_export(instance, function, strlen(function), &index);
    check(instance_invoke(instance, index, slots, &result, &e), &e);
    if (how == LEAVE_INTERRUPTED)
        pthread_join(thread, NULL);
    assert(arena->context.suspended == how);
}

static void image_make(struct arena *arena, struct buffer *out)
{
    struct capture *capture;
    struct error e;
    struct buffer state = {0}, policy = {0};
    buffer_append(&state, "the host's state", 16);
    buffer_append(&policy, "a policy", 8);
    check(capture_take(arena, &capture, &e), &e);
    check(capture_encode(capture, &key, &state, &policy, out, &e), &e);
    capture_destroy(capture);
    buffer_free(&state);
    buffer_free(&policy);
    arena_destroy(arena);
}

static struct arena *arena_new(void)
{
    struct error e;
    struct arena *arena;
    check(arena_create(SLOT_ANY, NULL, &arena, &e), &e);
    return arena;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct error e;
    struct compiler *compiler;
    const char *chosen = getenv("ATOLL_CC");
    struct compiler_settings settings = {.program = chosen ? chosen : ATOLL_CC, .cache = ""};
    uint32_t address;
    char home[] = "/tmp/atoll-fuzz-XXXXXX", path[64];
    (void)argc;
    (void)argv;
    assert(mkdtemp(home));
    setenv("ATOLL_HOME", home, 1);
    check(key_signing(&key, &e), &e);
    static const char *const files[] = {"sign.key", "sign.pub"};
    for (int k = 0; k < 2; k++) {
        snprintf(path, sizeof path, "%s/%s", home, files[k]);
        unlink(path);
    }
    rmdir(home);
    check(compiler_create(&settings, &compiler, &e), &e);
    region_fd = memory_file("region", NULL, 0, 1u << 20, false, false, &e);
    check(region_fd, &e);

    struct arena *arena = arena_new();
    suspend(link_in(arena, compile(compiler, "basics", LINK_PRIMARY), NULL), "fib", LEAVE_AT_ENTER);
    image_make(arena, &images[0]);
    arena = arena_new();
    suspend(link_in(arena, compile(compiler, "basics", LINK_PRIMARY), NULL), "host_wait",
            LEAVE_PARKED);
    image_make(arena, &images[1]);
    arena = arena_new();
    suspend(link_in(arena, compile(compiler, "basics", LINK_PRIMARY), NULL), "spin",
            LEAVE_INTERRUPTED);
    image_make(arena, &images[2]);
    arena = arena_new();
    struct instance *provider = link_in(arena, compile(compiler, "provider", LINK_PRIMARY), NULL);
    struct instance *consumer =
        link_in(arena, compile(compiler, "consumer", LINK_SHARED), provider);
    link_in(arena, compile(compiler, "deep", LINK_OTHER), NULL);
    check(region_map(arena, "lagoon", region_fd, 0, 65536, GUEST_READ | GUEST_WRITE, &address, &e),
          &e);
    arena_externref(arena, 77);
    suspend(consumer, "work", LEAVE_PARKED);
    image_make(arena, &images[3]);
    compiler_destroy(compiler);
    return 0;
}

/* ---- mutations ---- */

enum mutation_kind { SET_BYTES, SET_WORD, ADD_TO_WORD, CUT, INSERT, MUTATION_KINDS };
enum mutation_area { AREA_HEADER, AREA_MODULES, AREA_TABLES, AREA_END, AREA_ANY, MUTATION_AREAS };

struct mutation {
    uint8_t kind, area;
    uint16_t at;
    uint8_t value[8];
};

/* Where the sections behind the modules begin; 0 when the modules make no sense any more. */
static size_t modules_end(const struct buffer *image)
{
    struct image_header h;
    size_t at = sizeof h + sizeof(struct vector_state);
    memcpy(&h, image->data, sizeof h);
    for (uint32_t k = 0; k < h.module_count; k++) {
        struct image_module m;
        if (at > image->len || image->len - at < sizeof m)
            return 0;
        memcpy(&m, image->data + at, sizeof m);
        at += sizeof m;
        if (m.artefact_len > image->len - at)
            return 0;
        at += align_up(m.artefact_len, 8);
    }
    return at < image->len ? at : 0;
}

static size_t mutation_place(const struct buffer *image, const struct mutation *m)
{
    size_t head = sizeof(struct image_header), tables = modules_end(image), at = m->at;
    switch (m->area % MUTATION_AREAS) {
    case AREA_HEADER: at %= head; break;
    case AREA_MODULES: at = head + sizeof(struct vector_state) + at % 2048; break;
    case AREA_TABLES: at = tables + at % 1024; break;
    case AREA_END: at = image->len - at % 256 - sizeof(struct image_trailer); break;
    default: at = at * 13;
    }
    return at % image->len;
}

static void bytes_insert(struct buffer *image, size_t at, const uint8_t *bytes, size_t len)
{
    if (!buffer_reserve(image, len))
        abort();
    memmove(image->data + at + len, image->data + at, image->len - at);
    memcpy(image->data + at, bytes, len);
    image->len += len;
}

static void mutate(struct buffer *image, const struct mutation *m)
{
    size_t at = mutation_place(image, m), left = image->len - at, cut;
    uint64_t word;
    switch (m->kind % MUTATION_KINDS) {
    case SET_BYTES:
        memcpy(image->data + at, m->value, left < 8 ? left : 1 + m->value[7] % 8u);
        break;
    case SET_WORD:
        at &= ~(size_t)7;
        memcpy(image->data + at, m->value, image->len - at < 8 ? image->len - at : 8);
        break;
    case ADD_TO_WORD:
        at &= ~(size_t)7;
        if (image->len - at < 8)
            break;
        memcpy(&word, image->data + at, 8);
        word += (uint64_t)(int64_t)(int8_t)m->value[0] << (m->value[1] & 63);
        memcpy(image->data + at, &word, 8);
        break;
    case CUT:
        cut = 1 + ((size_t)m->value[0] | (size_t)m->value[1] << 8);
        if (cut > left)
            cut = left;
        memmove(image->data + at, image->data + at + cut, left - cut);
        image->len -= cut;
        break;
    default: bytes_insert(image, at, m->value, 8);
    }
}

/* Gives the modules the identities of their bytes, so that artefacts are parsed. */
static void identities_repair(struct buffer *image)
{
    struct image_header h;
    size_t at = sizeof h + sizeof(struct vector_state);
    if (!modules_end(image))
        return;
    memcpy(&h, image->data, sizeof h);
    for (uint32_t k = 0; k < h.module_count; k++) {
        struct image_module m;
        memcpy(&m, image->data + at, sizeof m);
        hash_blake2b(image->data + at + sizeof m, m.artefact_len, NULL, 0, m.id);
        memcpy(image->data + at, &m, sizeof m);
        at += sizeof m + align_up(m.artefact_len, 8);
    }
}

static void sign_again(struct buffer *image)
{
    struct image_trailer trailer;
    uint8_t hash[HASH_LEN];
    memcpy(trailer.signer, key.public_key, sizeof trailer.signer);
    uint8_t *end = image->data + image->len - sizeof trailer;
    memcpy(end, trailer.signer, sizeof trailer.signer);
    hash_blake2b(image->data, image->len - SIGNATURE_LEN, (const uint8_t *)IMAGE_DOMAIN,
                 sizeof IMAGE_DOMAIN - 1, hash);
    sign_detached(&key, hash, sizeof hash, end + sizeof trailer.signer);
}

/* ---- one input ---- */

/* What a host does with an arena that it does not run. */
static void arena_inspect(struct arena *arena)
{
    struct error e;
    struct capture *capture;
    uint8_t bytes[64];
    assert(arena_suspended(arena) && arena->instance_count > 0);
    for (uint64_t at = 0; at < 1ull << 32; at += 1u << 28)
        (void)guest_read(arena, bytes, (uint32_t)at, sizeof bytes);
    (void)arena_park(arena);
    (void)arena_externref_value(arena, 1);
    if (capture_take(arena, &capture, &e) == 0)
        capture_destroy(capture);
}

static int descriptor_next(void)
{
    int fd = dup(region_fd);
    close(fd);
    return fd;
}

static void restore(const struct buffer *image)
{
    const struct capture_host host = {.trusted = &key.public_key,
                                      .trusted_count = 1,
                                      .begin = host_begin,
                                      .resolve = host_resolve,
                                      .region = host_region,
                                      .externref = host_externref};
    struct error e = {0};
    struct arena *arena;
    int next = descriptor_next();
    int rc = capture_restore(image->data, image->len, &host, &arena, &e);
    assert((rc == 0) == (arena != NULL));
    if (rc == 0) {
        arena_inspect(arena);
        arena_destroy(arena);
    } else {
        assert(e.code == rc && strlen(e.text) > 10);
    }
    assert(descriptor_next() == next); /* none was left open */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct buffer image = {0};
    const struct buffer *original = &images[(data[0] & 0x7f) % IMAGES];
    if (!buffer_append(&image, original->data, original->len))
        abort();
    struct mutation m;
    for (size_t k = 0; k < MUTATIONS_MAX && 1 + (k + 1) * sizeof m <= size; k++) {
        memcpy(&m, data + 1 + k * sizeof m, sizeof m);
        mutate(&image, &m);
        if (image.len < sizeof(struct image_header) + sizeof(struct vector_state) +
                            sizeof(struct image_trailer))
            break;
    }
    if (image.len >=
        sizeof(struct image_header) + sizeof(struct vector_state) + sizeof(struct image_trailer)) {
        if (!(data[0] & 0x80))
            identities_repair(&image);
        sign_again(&image);
    }
    restore(&image);
    buffer_free(&image);
    return 0;
}
