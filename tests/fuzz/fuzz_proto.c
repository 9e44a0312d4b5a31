/*
 * Damages proto-images, hashes them again so that everything behind the hash is reached, and loads
 * them: an image must be refused with a reason, or make an arena in which guests run, that can be
 * snapshotted, written as an image and destroyed. Proto-images need no trust, so what was loaded is
 * run.
 *
 * An input is a choice (bits 0-1: image; bit 7: leave the hash as it is), then mutations of 12
 * bytes (struct mutation). The images come from modules/state.wat and linked modules, compiled by
 * $ATOLL_CC, else the build's own atoll-cc.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "engine/compile.h"
#include "sandbox/proto_format.h"
#include "sandbox/snapshot.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGES        3
#define MODULES       3
#define MUTATIONS_MAX 32

static const struct arena_limits limits = {.memory_bytes = 8u << 20, .stack_bytes = 64u << 10};
static struct artefact *artefacts[MODULES + 1]; /* provider, consumer, deep; state */
static struct buffer images[IMAGES];

static void check(int rc, const struct error *e)
{
    if (rc < 0) {
        fprintf(stderr, "fuzz_proto: %s\n", e->text);
        abort();
    }
}

/* ---- modules ---- */

static enum host_status host_nothing(struct host_call *call)
{
    call->slots[0].u64 = call->slots[0].u32 + 1;
    return HOST_DONE;
}

static int link_module(void *context, struct arena *arena, uint32_t ordinal,
                       const uint8_t sha[HASH_LEN], enum link_mode link, struct error *e)
{
    struct link_import links[16] = {0};
    struct instance *instance, *provider = ordinal ? arena->instances[0] : NULL;
    struct artefact *artefact = NULL;
    (void)context;
    for (int k = 0; k <= MODULES; k++)
        if (memcmp(artefacts[k]->wasm_sha256, sha, HASH_LEN) == 0 &&
            artefacts[k]->options.link == link)
            artefact = artefacts[k];
    if (!artefact)
        return error_set(e, ATOLL_ENOENT, "no such module");
    const struct wasm_module *m = &artefact->module;
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        const char *name = (const char *)m->bytes + import->name.offset;
        links[k] = (struct link_import){.how = LINK_HOST, .function = host_nothing};
        if (m->bytes[import->module.offset] != 'p')
            continue;
        links[k] = (struct link_import){.how = LINK_EXPORT, .from = provider};
        if (!provider ||
            instance_export(provider, name, import->name.len, &links[k].index) != import->kind)
            return error_set(e, ATOLL_ELINK, "no provider");
    }
    return instance_create(arena, artefact, links, m->import_count, &instance, e);
}

static struct artefact *compile(struct compiler *compiler, const char *name, enum link_mode link)
{
    struct error e;
    struct buffer wasm = {0};
    struct artefact *artefact;
    struct compile_options options = {
        .tier = TIER_QUICK, .mode = MODE_FAST, .cpu = CPU_V3, .link = (uint8_t)link};
    char path[512];
    snprintf(path, sizeof path, "%s/%s.wasm", GUEST_MODULES, name);
    check(file_read(path, 1u << 20, &wasm, &e), &e);
    check(compiler_load(compiler, wasm.data, wasm.len, &options, &artefact, NULL, &e), &e);
    buffer_free(&wasm);
    return artefact;
}

/* ---- running guests ---- */

static void call(struct instance *i, const char *name, uint64_t a, uint64_t b)
{
    union host_slot slots[4] = {{.u64 = a}, {.u64 = b}};
    struct run_result result;
    struct error e;
    uint32_t function;
    if (instance_export(i, name, strlen(name), &function) == WASM_KIND_FUNC)
        (void)instance_invoke(i, function, slots, &result, &e);
}

/* Calls that touch all that an image brings. None of them runs for long. */
static void guests_run(struct arena *a)
{
    struct instance *i = a->instances[0];
    for (uint32_t k = 0; k < 12; k++) {
        call(i, "ask", k, 0);
        call(i, "ask_fixed", k, 0);
        call(i, "put", k, k % 5);
        call(i, "table_init", k, 0);
        call(i, "poke", k * 9973, k);
    }
    call(i, "set_function", 2, 0);
    call(i, "put_global", 3, 0);
    call(i, "init", 5000, 20);
    call(i, "grow", 1, 0);
    call(i, "table_grow", 2, 1);
    call(i, "sum", 0, 0);
    if (a->instance_count > 1)
        call(a->instances[1], "work", 7, 0);
}

/* ---- the images ---- */

static struct arena *arena_of(const int *modules, int count)
{
    struct error e;
    struct arena *a;
    check(arena_create(SLOT_ANY, &limits, &a, &e), &e);
    for (int k = 0; k < count; k++)
        check(link_module(NULL, a, (uint32_t)k, artefacts[modules[k]]->wasm_sha256,
                          (enum link_mode)artefacts[modules[k]]->options.link, &e),
              &e);
    return a;
}

static void image_make(struct arena *a, struct buffer *out)
{
    struct error e;
    int fd = memfd_create("image", MFD_CLOEXEC);
    check(proto_image_write(a, "the owner's bytes", 17, fd, &e), &e);
    lseek(fd, 0, SEEK_SET);
    check(file_read_fd(fd, "image", 64u << 20, out, &e), &e);
    close(fd);
    arena_destroy(a);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct error e;
    struct compiler *compiler;
    const char *chosen = getenv("ATOLL_CC");
    struct compiler_settings settings = {.program = chosen ? chosen : ATOLL_CC, .cache = ""};
    (void)argc;
    (void)argv;
    check(compiler_create(&settings, &compiler, &e), &e);
    artefacts[0] = compile(compiler, "provider", LINK_PRIMARY);
    artefacts[1] = compile(compiler, "consumer", LINK_SHARED);
    artefacts[2] = compile(compiler, "deep", LINK_OTHER);
    artefacts[3] = compile(compiler, "state", LINK_PRIMARY);
    compiler_destroy(compiler);
    image_make(arena_of((const int[]){3}, 1), &images[0]);
    struct arena *a = arena_of((const int[]){3}, 1);
    guests_run(a);
    image_make(a, &images[1]);
    a = arena_of((const int[]){0, 1, 2}, 3);
    guests_run(a);
    image_make(a, &images[2]);
    return 0;
}

/* ---- mutations ---- */

enum mutation_kind { SET_BYTES, SET_WORD, ADD_TO_WORD, CUT, INSERT, SET_SIZE, MUTATION_KINDS };
enum mutation_area { AREA_HEADER, AREA_METADATA, AREA_END, AREA_ANY, MUTATION_AREAS };

struct mutation {
    uint8_t kind, area;
    uint16_t at;
    uint8_t value[8];
};

static size_t mutation_place(const struct buffer *image, const struct mutation *m)
{
    size_t at = m->at;
    switch (m->area % MUTATION_AREAS) {
    case AREA_HEADER: at %= sizeof(struct proto_header); break;
    case AREA_METADATA: at = PAGE_BYTES + at % 1024; break;
    case AREA_END: at = image->len - 1 - at % 256; break;
    default: at *= 13;
    }
    return at % image->len;
}

static void mutate(struct buffer *image, const struct mutation *m)
{
    size_t at = mutation_place(image, m), words = at & ~(size_t)3, cut;
    uint32_t word;
    switch (m->kind % MUTATION_KINDS) {
    case SET_BYTES:
        for (size_t k = 0; k < 1u + m->value[7] % 8 && at + k < image->len; k++)
            image->data[at + k] = m->value[k];
        break;
    case SET_WORD:
        if (image->len - words >= 4)
            memcpy(image->data + words, m->value, 4);
        break;
    case ADD_TO_WORD:
        if (image->len - words < 4)
            break;
        memcpy(&word, image->data + words, 4);
        word += (uint32_t)(int8_t)m->value[0] << (m->value[1] & 31);
        memcpy(image->data + words, &word, 4);
        break;
    case CUT:
        cut = 1 + ((size_t)m->value[0] | (size_t)m->value[1] << 8);
        if (cut > image->len - at)
            cut = image->len - at;
        memmove(image->data + at, image->data + at + cut, image->len - at - cut);
        image->len -= cut;
        break;
    case INSERT:
        if (!buffer_reserve(image, 8))
            abort();
        memmove(image->data + at + 8, image->data + at, image->len - at);
        memcpy(image->data + at, m->value, 8);
        image->len += 8;
        break;
    default: /* whole pages again, and a header that says so */
        if (!buffer_align(image, PAGE_BYTES))
            abort();
        store_u64(image->data + offsetof(struct proto_header, file_bytes), image->len);
    }
}

/* ---- one input ---- */

static void load_and_run(const struct proto_image *image)
{
    struct error e = {0};
    struct arena *a, *b;
    struct snapshot *snapshot;
    int rc = proto_image_load(image, &limits, link_module, NULL, &a, &e);
    assert((rc == 0) == (a != NULL));
    if (rc < 0) {
        assert(e.code == rc && strlen(e.text) > 10);
        return;
    }
    check(snapshot_take(a, &snapshot, &e), &e);
    check(snapshot_restore(snapshot, SLOT_ANY, &b, &e), &e);
    guests_run(b);
    check(snapshot_reset(snapshot, b, &e), &e);
    guests_run(b);
    int fd = memfd_create("image", MFD_CLOEXEC);
    check(proto_image_write(b, NULL, 0, fd, &e), &e);
    close(fd);
    arena_destroy(a);
    arena_destroy(b);
    snapshot_release(snapshot);
}

static int descriptor_next(void)
{
    int fd = dup(2);
    close(fd);
    return fd;
}

static void image_try(const struct buffer *bytes)
{
    struct error e = {0};
    struct proto_image *image;
    int next = descriptor_next();
    int fd = memory_file("image", bytes->data, bytes->len, bytes->len, false, false, &e);
    check(fd, &e);
    int rc = proto_image_open(fd, &image, &e);
    close(fd);
    assert((rc == 0) == (image != NULL));
    if (rc == 0) {
        size_t len;
        uint8_t hash[HASH_LEN];
        const uint8_t *owner = proto_image_owner(image, &len);
        hash_sha256(owner, len, hash); /* reads every byte */
        load_and_run(image);
        proto_image_close(image);
    } else {
        assert(e.code == rc && strlen(e.text) > 10);
    }
    assert(descriptor_next() == next); /* none was left open */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;
    if (size < 1)
        return 0;
    struct buffer bytes = {0};
    const struct buffer *original = &images[(data[0] & 3) % IMAGES];
    if (!buffer_append(&bytes, original->data, original->len))
        abort();
    struct mutation m;
    for (size_t k = 0; k < MUTATIONS_MAX && 1 + (k + 1) * sizeof m <= size; k++) {
        memcpy(&m, data + 1 + k * sizeof m, sizeof m);
        mutate(&bytes, &m);
        if (bytes.len < sizeof(struct proto_header))
            break;
    }
    bool whole = bytes.len >= 2 * PAGE_BYTES && bytes.len % PAGE_BYTES == 0;
    if (whole && !(data[0] & 0x80))
        check(
            proto_root(bytes.data, bytes.len, bytes.data + offsetof(struct proto_header, root), &e),
            &e);
    image_try(&bytes);
    buffer_free(&bytes);
    return 0;
}
