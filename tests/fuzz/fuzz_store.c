/*
 * Damages a store's file: opening it must fail with a reason, or everything that can be asked of
 * the store must be answered, with the right bytes or with a reason, and nothing may crash.
 *
 * An input is a choice of file, then mutations of 12 bytes (struct mutation). The files are made at
 * the start; they differ in what is in them. Mutated files lie on /dev/shm when there is one.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "store/store.h"

#include <assert.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGES        3
#define MUTATIONS_MAX 16
#define PAGE          4096u
#define VALUE_LEN     (2 * GT_CHUNK_BYTES + 1000)

static struct buffer images[IMAGES];
static char directory[64], file_path[96];
static struct store *store;
static uint8_t value[VALUE_LEN];

static void remember(void *context, const struct gt_result *r)
{
    int *code = context;
    *code = r->code;
    if (r->code < 0)
        assert(strlen(r->error->text) > 10);
}

/* Calls an operation and waits for it. */
#define CALL(call)                                   \
    ({                                               \
        struct error e;                              \
        int code = 1;                                \
        struct gt *gt = store_gt(store);             \
        struct gt_callback back = {remember, &code}; \
        (void)gt;                                    \
        int accepted = call;                         \
        while (accepted == 0 && code == 1)           \
            store_wait(store);                       \
        accepted < 0 ? accepted : code;              \
    })

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void directory_remove(void)
{
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct gt_key key_of(const char *name)
{
    return (struct gt_key){"tenant", name, strlen(name)};
}

/* ---- what is in the files ---- */

static void value_put(const char *name, size_t len)
{
    struct gt_key k = key_of(name);
    struct gt_range range = {.bytes = value, .len = len};
    struct gt_commit c = {
        .expect_version = GT_VERSION_ANY, .size = len, .range_count = 1, .ranges = &range};
    assert(CALL(gt->ops->commit(gt, &k, &c, back, &e)) == 0);
}

static void values_make(int count)
{
    char name[32];
    struct gt_key log = key_of("log"), map = key_of("map");
    value_put("large", VALUE_LEN);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "key %d of many", i * 7919 % count);
        value_put(name, (size_t)(i % 200));
        assert(CALL(gt->ops->append(gt, &log, value, (size_t)(i % 50), 0, back, &e)) == 0);
    }
    assert(CALL(gt->ops->object_open(gt, &map, GT_MAP, 0, 1, back, &e)) == 0);
    struct gt_object_call put = {.op = GT_MAP_PUT, .in = "\3\0\0\0keyvalue", .in_len = 12};
    assert(CALL(gt->ops->object(gt, &map, GT_MAP, &put, back, &e)) == 0);
}

static void values_delete(int count)
{
    char name[32];
    for (int i = 0; i < count; i += 3) {
        snprintf(name, sizeof name, "key %d of many", i);
        struct gt_key k = key_of(name);
        assert(CALL(gt->ops->delete(gt, &k, i % 30 ? 0 : GT_DURABLE, back, &e)) == 0);
    }
}

static void store_make(int shape)
{
    struct store_options o = {.directory = directory, .map_bytes = 16u << 20, .readers = 1};
    struct error e;
    if (store_open(&o, &store, &e) < 0) {
        fprintf(stderr, "fuzz_store: %s\n", e.text);
        abort();
    }
    if (shape > 0)
        values_make(shape == 1 ? 20 : 600);
    if (shape > 1)
        values_delete(600);
    assert(store_close(store, &e) == 0);
    if (file_read(file_path, 64u << 20, &images[shape], &e) < 0)
        abort();
    directory_remove();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    snprintf(directory, sizeof directory, "%s/atoll-fuzz-store-%d",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
    snprintf(file_path, sizeof file_path, "%s/data.mdb", directory);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)(i * 31 ^ i >> 8);
    for (int shape = 0; shape < IMAGES; shape++)
        store_make(shape);
    atexit(directory_remove);
    return 0;
}

/* ---- damage ---- */

enum mutation_kind { SET_BYTE, SET_WORD, ADD_TO_HALF, COPY_PAGE, CUT, MUTATION_KINDS };
enum mutation_area { AREA_HEADS, AREA_PAGE_HEAD, AREA_NODES, AREA_ANY, MUTATION_AREAS };

struct mutation {
    uint8_t kind, area;
    uint16_t page, at;
    uint8_t bytes[6];
};

static size_t mutation_place(const struct buffer *image, const struct mutation *m)
{
    size_t page = m->page % (image->len / PAGE) * PAGE;
    switch (m->area % MUTATION_AREAS) {
    case AREA_HEADS: return m->page % 2 * PAGE + m->at % 160u;
    case AREA_PAGE_HEAD: return page + m->at % 64u;
    case AREA_NODES: return page + PAGE - 1 - m->at % 512u;
    default: return page + m->at % PAGE;
    }
}

static void mutate(struct buffer *image, const struct mutation *m)
{
    size_t at = mutation_place(image, m), page = m->page % (image->len / PAGE) * PAGE;
    switch (m->kind % MUTATION_KINDS) {
    case SET_BYTE: image->data[at] = m->bytes[0]; break;
    case SET_WORD:
        at &= ~(size_t)7;
        memset(image->data + at, 0, 8);
        memcpy(image->data + at, m->bytes, 6);
        break;
    case ADD_TO_HALF:
        at &= ~(size_t)1;
        image->data[at] = (uint8_t)(image->data[at] + m->bytes[0]);
        image->data[at + 1] = (uint8_t)(image->data[at + 1] + m->bytes[1]);
        break;
    case COPY_PAGE:
        memmove(image->data + page, image->data + load_u16(m->bytes) % (image->len / PAGE) * PAGE,
                PAGE);
        break;
    default:
        if (image->len > 4 * PAGE && m->bytes[0] < 16)
            image->len -= m->bytes[1];
    }
}

/* ---- one input ---- */

static void everything_ask(void)
{
    static uint8_t got[VALUE_LEN];
    struct gt_key all = key_of(""), large = key_of("large"), log = key_of("log"),
                  map = key_of("map");
    struct gt_span span = {0, got, sizeof got};
    struct gt_object_call scan = {.op = GT_MAP_SCAN, .in = "\0\0\0", .in_len = 4, .cap = 1000};
    CALL(gt->ops->list(gt, &all, "", 0, 1 << 20, back, &e));
    if (CALL(gt->ops->getrange(gt, &large, 0, &span, 1, back, &e)) == 0)
        assert(memcmp(got, value, sizeof got) == 0);
    CALL(gt->ops->entries(gt, &log, 0, 1000, 1 << 20, back, &e));
    CALL(gt->ops->object(gt, &map, GT_MAP, &scan, back, &e));
}

static void everything_change(void)
{
    struct gt_key k = key_of("key 8 of many"), log = key_of("log"), large = key_of("large");
    struct gt_range range = {.off = 5, .bytes = value, .len = GT_CHUNK_BYTES};
    struct gt_commit c = {.expect_version = GT_VERSION_ANY,
                          .size = GT_SIZE_KEEP,
                          .flags = GT_GROW | GT_DURABLE,
                          .range_count = 1,
                          .ranges = &range};
    struct store_write w = {STORE_PUT, STORE_CALL, "call", 4, value, 6000};
    CALL(gt->ops->commit(gt, &k, &c, back, &e));
    CALL(gt->ops->append(gt, &log, value, 5000, GT_DURABLE, back, &e));
    CALL(gt->ops->delete(gt, &large, GT_DURABLE, back, &e));
    CALL(store_write(store, &w, 1, GT_DURABLE, back, &e));
    CALL(gt->ops->clear(gt, &log, GT_DURABLE, back, &e));
}

static void damaged_try(const struct buffer *image)
{
    struct store_options o = {.directory = directory, .map_bytes = 16u << 20, .readers = 1};
    struct error e;
    if (directory_make(directory, 0700, &e) < 0)
        abort();
    FILE *f = fopen(file_path, "we");
    if (!f || fwrite(image->data, 1, image->len, f) != image->len || fclose(f) != 0)
        abort();
    int rc = store_open(&o, &store, &e);
    if (rc < 0) {
        assert(e.code == rc && strlen(e.text) > 10);
        return;
    }
    everything_ask();
    everything_change();
    everything_ask();
    store_close(store, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct buffer image = {0};
    const struct buffer *original = &images[data[0] % IMAGES];
    struct mutation m;
    if (!buffer_append(&image, original->data, original->len))
        abort();
    for (size_t k = 0; k < MUTATIONS_MAX && 1 + (k + 1) * sizeof m <= size; k++) {
        memcpy(&m, data + 1 + k * sizeof m, sizeof m);
        mutate(&image, &m);
    }
    damaged_try(&image);
    buffer_free(&image);
    return 0;
}
