/*
 * bench-capture: what does moving a running guest cost? A guest that writes 16 MiB over and over is
 * stopped, captured, its image signed and written, and continued from the image in its slot. Wall
 * time of each phase in milliseconds, beside its physical limit in the same run: copying the same
 * bytes in memory, and writing them to the same directory.
 */
#include "sandbox/capture.h"
#include "base/file.h"
#include "cli/bench/measure.h"
#include "guest.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS    20
#define IMAGE_KIB 16384
#define CHURN_US  20000

struct phases {
    struct timings take, encode, write, restore, copy, limit_write;
    double page_bytes, image_bytes;
};

static void *interrupt_later(void *arena)
{
    usleep(CHURN_US);
    arena_interrupt(arena);
    return NULL;
}

/* Runs (or continues) the guest until the interruption that a second thread asks for. */
static void guest_churn(struct arena *arena, struct instance *fresh, uint32_t function)
{
    pthread_t thread;
    struct run_result result = {0};
    struct error e = {0};
    union host_slot slot = {.i64 = -1};
    if (pthread_create(&thread, NULL, interrupt_later, arena) != 0)
        bench_fail(1, "cannot start a thread");
    if (fresh)
        bench_check(instance_invoke(fresh, function, &slot, &result, &e), &e);
    else
        bench_check(arena_resume(arena, &slot, &result, &e), &e);
    pthread_join(thread, NULL);
    if (result.status != RUN_INTERRUPTED)
        bench_fail(1, "the guest ended without being stopped");
}

static int import_refuse(void *context, const struct wasm_module *module,
                         const struct wasm_import *import, host_function *function, void **data,
                         struct error *e)
{
    (void)context, (void)module, (void)import, (void)function, (void)data;
    return error_set(e, ATOLL_ELINK, "this guest has no imports");
}

/* One stop, image and continuation; *arena is replaced by the restored one. */
static void round_measure(struct arena **arena, const char *path, const struct key_pair *key,
                          struct phases *p)
{
    struct error e = {0};
    struct capture *capture;
    struct buffer image = {0};
    const struct buffer nothing = {0};
    struct stopwatch watch = stopwatch_start();
    bench_check(capture_take(*arena, &capture, &e), &e);
    stopwatch_lap(&watch, &p->take);
    bench_check(capture_encode(capture, key, &nothing, &nothing, &image, &e), &e);
    stopwatch_lap(&watch, &p->encode);
    bench_check(file_replace(path, image.data, image.len, 0600, &e), &e);
    stopwatch_lap(&watch, &p->write);
    p->page_bytes = (double)capture_page_bytes(capture);
    p->image_bytes = (double)image.len;
    capture_destroy(capture);
    arena_destroy(*arena);

    uint8_t trusted[1][KEY_PUBLIC_LEN];
    memcpy(trusted[0], key->public_key, KEY_PUBLIC_LEN);
    const struct capture_host host = {
        .trusted = trusted, .trusted_count = 1, .resolve = import_refuse};
    watch = stopwatch_start();
    bench_check(capture_restore(image.data, image.len, &host, arena, &e), &e);
    stopwatch_lap(&watch, &p->restore);
    buffer_free(&image);
}

/* What no capture can beat: copying the bytes, and writing them out. */
static void limits_measure(const char *path, struct phases *p)
{
    struct error e = {0};
    size_t size = (size_t)p->page_bytes;
    uint8_t *from = malloc(size), *to = malloc(size);
    if (!from || !to)
        bench_fail(1, "out of memory");
    memset(from, 1, size);
    for (int i = 0; i < ROUNDS; i++) {
        memset(to, 0, size);
        struct stopwatch watch = stopwatch_start();
        memcpy(to, from, size);
        stopwatch_lap(&watch, &p->copy);
        bench_check(file_replace(path, to, size, 0600, &e), &e);
        stopwatch_lap(&watch, &p->limit_write);
        from[i] = to[size - 1];
    }
    free(from);
    free(to);
}

static void row_print(const char *what, struct timings *t, struct timings *limit)
{
    double median = samples_median(&t->wall_us);
    printf("%-44s %9.2f %9.2f %9.2f %9.2f", what, median / 1e3, t->wall_us.values[0] / 1e3,
           t->wall_us.values[t->wall_us.count - 1] / 1e3, samples_median(&t->thread_us) / 1e3);
    if (limit)
        printf(" %9.2f", median / samples_median(&limit->wall_us));
    putchar('\n');
}

static void phases_print(struct phases *p)
{
    printf("%.1f MiB of written pages, image of %.1f MiB, %d rounds\n", p->page_bytes / 1048576,
           p->image_bytes / 1048576, ROUNDS);
    printf("%-44s %9s %9s %9s %9s %9s\n", "phase, milliseconds", "p50", "min", "max", "CPU p50",
           "of limit");
    row_print("pause: copy state and written pages", &p->take, &p->copy);
    row_print("encode: hash, sign", &p->encode, &p->copy);
    row_print("write the image, with fsync", &p->write, &p->limit_write);
    row_print("restore: verify, map, fill", &p->restore, &p->copy);
    row_print("limit: memcpy of the pages, warm", &p->copy, NULL);
    row_print("limit: write of the pages, with fsync", &p->limit_write, NULL);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct phases phases = {0};
    struct key_pair key;
    char directory[] = "/tmp/bench-capture-XXXXXX", path[64];
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        bench_fail(2, "usage: bench-capture [ATOLL-CC]");
    environment_print();
    bench_check(engine_initialize(&e), &e);
    bench_check(key_signing(&key, &e), &e);
    if (!mkdtemp(directory))
        bench_fail(1, "cannot make a directory in /tmp");
    snprintf(path, sizeof path, "%s/image", directory);

    struct artefact *artefact = guest_artefact(argc == 2 ? argv[1] : NULL, "pages");
    struct instance *instance = guest_instance(artefact);
    struct arena *arena = instance_arena(instance);
    guest_call(instance, guest_function(instance, "prepare"), IMAGE_KIB);
    guest_churn(arena, instance, guest_function(instance, "churn"));
    for (int i = 0; i < ROUNDS; i++) {
        round_measure(&arena, path, &key, &phases);
        guest_churn(arena, NULL, 0);
    }
    limits_measure(path, &phases);
    phases_print(&phases);

    arena_destroy(arena);
    artefact_release(artefact);
    unlink(path);
    rmdir(directory);
    return 0;
}
