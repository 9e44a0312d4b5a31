/*
 * bench-world: what does the world of a call cost? Resets after calls that did this and that, and
 * files of the tree in memory beside the same calls on a directory of the host. CPU time of the
 * thread. The guest is a piece of memory without an engine: gates are not measured here.
 */
#define _GNU_SOURCE
#include "cli/bench/measure.h"

#include "../tests/unit/wasi_guest.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCHES   40
#define RESULT    0x8000u
#define VECTOR    0x9000u
#define PATH      0xa000u
#define DATA      0x10000u
#define WORLDS    1000
#define BLOCK     4096u
#define ALL_FLAGS (WASI_OFLAG_CREAT | WASI_OFLAG_TRUNC)

static struct wasi *host_world, *tree_world;
static struct wasi_call next_call;

static void check(int result, const struct error *e)
{
    if (result < 0)
        bench_fail(1, "%s", e->text);
}

#define ARGS(...) (const uint64_t[]){__VA_ARGS__}, sizeof((uint64_t[]){__VA_ARGS__}) / 8
#define CALL(name, ...)                                                    \
    (guest_call(preview1_##name, ARGS(__VA_ARGS__), false) == HOST_DONE && \
             slots[0].u32 == WASI_SUCCESS                                  \
         ? (void)0                                                         \
         : bench_fail(1, #name " failed: error %u", slots[0].u32))

/* ---- what a call may do ---- */

static uint32_t file_open(const char *path, uint32_t oflags)
{
    strcpy((char *)arena.memory + PATH, path);
    CALL(path_open, 3, 0, PATH, strlen(path), oflags,
         oflags != 0 ? WASI_RIGHTS_ALL : WASI_RIGHT_FD_READ, 0, 0, RESULT);
    return load_u32(arena.memory + RESULT);
}

static uint64_t vector(uint32_t len)
{
    store_u32(arena.memory + VECTOR, DATA);
    store_u32(arena.memory + VECTOR + 4, len);
    return VECTOR;
}

static void reset(void)
{
    struct error e;
    check(wasi_reset(tree_world, &next_call, &e), &e);
}

static void nothing(void) {}

static void streams(void)
{
    CALL(fd_read, 0, vector(64), 1, RESULT);
    CALL(fd_write, 1, vector(64), 1, RESULT);
}

static void read_file(void)
{
    uint32_t fd = file_open("config", 0);
    CALL(fd_read, fd, vector(BLOCK), 1, RESULT);
    CALL(fd_close, fd);
}

static void write_file(void)
{
    uint32_t fd = file_open("tmp/file", ALL_FLAGS);
    CALL(fd_write, fd, vector(BLOCK), 1, RESULT);
    CALL(fd_close, fd);
}

static void write_and_remove(void)
{
    write_file();
    CALL(path_unlink_file, 3, PATH, strlen("tmp/file"));
}

static void look_at_file(void)
{
    strcpy((char *)arena.memory + PATH, "lib/deep/module");
    CALL(path_filestat_get, 3, 0, PATH, strlen("lib/deep/module"), RESULT);
}

static void write_files(void)
{
    char path[32];
    for (int i = 0; i < 16; i++) {
        snprintf(path, sizeof path, "tmp/file%d", i);
        uint32_t fd = file_open(path, ALL_FLAGS);
        CALL(fd_write, fd, vector(BLOCK), 1, RESULT);
        CALL(fd_close, fd);
    }
}

static void write_large(void)
{
    uint32_t fd = file_open("tmp/large", ALL_FLAGS);
    for (int i = 0; i < 16; i++)
        CALL(fd_write, fd, vector(65536), 1, RESULT);
    CALL(fd_close, fd);
}

/* ---- worlds ---- */

static ssize_t take_output(void *context, const void *bytes, size_t len)
{
    (void)context, (void)bytes;
    return (ssize_t)len;
}

static void take_line(void *context, const char *line, size_t len)
{
    (void)context, (void)line, (void)len;
}

static char content[BLOCK];
static const struct vfs_entry entries[] = {
    {.path = "config", .type = VFS_FILE, .bytes = content, .len = BLOCK},
    {.path = "lib/deep/module", .type = VFS_FILE, .bytes = content, .len = BLOCK},
};

static struct wasi_image *image_make(struct vfs_base *base)
{
    struct error e;
    struct wasi *zygote;
    struct wasi_image *image;
    static const char *const args[] = {"function"};
    const struct vfs_config tree = {.base = base};
    const struct wasi_config config = {
        .args = args, .arg_count = 1, .tree = &tree, .streams = &next_call.streams};
    check(wasi_create(&config, &zygote, &e), &e);
    check(wasi_image_take(zygote, &image, &e), &e);
    wasi_destroy(zygote);
    return image;
}

static void host_file(const char *directory, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(content, 1, BLOCK, f) != BLOCK || fclose(f) != 0)
        bench_fail(1, "cannot write %s", path);
}

/* The same files on the host, where they lie in memory if there is such a place. */
static void host_make(char directory[64])
{
    static const char *const made[] = {"", "/tmp", "/lib", "/lib/deep"};
    char path[128];
    struct error e;
    strcpy(directory,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/bench-XXXXXX" : "/tmp/bench-XXXXXX");
    if (mkdtemp(directory) == NULL)
        bench_fail(1, "cannot make a directory");
    for (size_t i = 1; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", directory, made[i]);
        mkdir(path, 0755);
    }
    host_file(directory, "config");
    host_file(directory, "lib/deep/module");
    const struct wasi_preopen preopen = {.host_path = directory, .guest_name = "/"};
    const struct wasi_config config = {
        .stdin_fd = 0, .stdout_fd = 1, .stderr_fd = 2, .preopens = &preopen, .preopen_count = 1};
    check(wasi_create(&config, &host_world, &e), &e);
}

static void host_remove(const char *directory)
{
    static const char *const made[] = {"config",   "tmp/file", "tmp", "lib/deep/module",
                                       "lib/deep", "lib",      "."};
    char path[128];
    wasi_destroy(host_world);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, made[i]);
        (void)remove(path);
    }
    (void)rmdir(directory);
}

/* ---- measuring ---- */

/* Medians of batches, in nanoseconds for one round; with `resets`, of the resets alone. */
static double measure(struct wasi *world, void (*act)(void), bool resets)
{
    struct samples ns = {0};
    int rounds = act == write_large ? 20 : act == write_files ? 200 : 2000;
    wasi = world;
    for (int batch = 0; batch < BATCHES; batch++) {
        int64_t spent = 0, began = measure_thread_ns();
        for (int i = 0; i < rounds; i++) {
            act();
            if (resets)
                reset();
        }
        spent = measure_thread_ns() - began;
        samples_add(&ns, (double)spent / rounds);
    }
    double median = samples_median(&ns);
    samples_free(&ns);
    return median;
}

static void resets_print(const char *what, void (*act)(void))
{
    printf("%-52s %10.0f\n", what, measure(tree_world, act, true));
}

static void files_print(const char *what, void (*act)(void))
{
    reset();
    double tree = measure(tree_world, act, false), host = measure(host_world, act, false);
    printf("%-52s %10.0f %10.0f %8.1f\n", what, tree, host, host / tree);
}

static void memory_print(struct wasi_image *image, const struct vfs_config *tree)
{
    static struct wasi *worlds[WORLDS];
    struct error e;
    size_t before = mallinfo2().uordblks;
    int64_t began = measure_thread_ns();
    for (int i = 0; i < WORLDS; i++)
        check(wasi_instantiate(image, tree, &worlds[i], &e), &e);
    int64_t spent = measure_thread_ns() - began;
    printf("%-52s %10zu bytes, made in %lld ns\n", "an idle world",
           (mallinfo2().uordblks - before) / WORLDS, (long long)spent / WORLDS);
    for (int i = 0; i < WORLDS; i++)
        wasi_destroy(worlds[i]);
}

int main(void)
{
    static const char input[64] = "input";
    char directory[64];
    struct error e;
    struct vfs_config tree = {0};
    environment_print();
    next_call = (struct wasi_call){
        .streams = {
            .input = input, .input_len = sizeof input, .output = take_output, .log = take_line}};
    check(vfs_base_create(entries, 2, &tree.base, &e), &e);
    struct wasi_image *image = image_make(tree.base);
    check(wasi_instantiate(image, &tree, &tree_world, &e), &e);
    host_make(directory);
    printf("%-52s %10s\n", "a call that does this, and the reset after it", "ns");
    resets_print("nothing", nothing);
    resets_print("reads 64 bytes of input, writes 64 of output", streams);
    resets_print("opens, reads (4 KiB) and closes a file", read_file);
    resets_print("writes a file of 4 KiB", write_file);
    resets_print("writes 16 files of 4 KiB", write_files);
    resets_print("writes 1 MiB", write_large);
    printf("%-52s %10s %10s %8s\n", "files of the tree, and of the host", "tree ns", "host ns",
           "ratio");
    files_print("open, read 4 KiB, close", read_file);
    files_print("look at a file three directories down", look_at_file);
    files_print("make, write 4 KiB, close, remove", write_and_remove);
    memory_print(image, &tree);
    environment_verdict();
    host_remove(directory);
    wasi_destroy(tree_world);
    wasi_image_release(image);
    vfs_base_release(tree.base);
    return 0;
}
