/*
 * A host program that embeds Atoll: it compiles a module, gives it a function of its own, runs it,
 * catches a trap, stops an endless loop, and starts a thousand instances from one snapshot.
 *
 *     embed guest.wasm [INSTANCES]
 */
#define _POSIX_C_SOURCE 200809L
#include <atoll/atoll.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

_Noreturn static void give_up(const char *what, const struct atoll_error *error)
{
    fprintf(stderr, "embed: %s: %s (%s)\n", what, error->text, atoll_error_name(error->code));
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- a function that the guest imports ---- */

/* host.report (i32): prints a number with the title that was given along with the function. */
static enum atoll_answer report(struct atoll_call *call)
{
    printf("  the guest reports, %s: %d\n", (const char *)call->data, call->slots[0].i32);
    return ATOLL_CALL_DONE;
}

static char title[] = "to its host";
static const struct atoll_import imports[] = {
    {.module = "host", .name = "report", .type = "i32 ->", .function = report, .data = title},
};

/* ---- steps ---- */

static struct atoll_bytes file_read(const char *path)
{
    struct atoll_bytes bytes = {0};
    FILE *file = fopen(path, "rb");
    long size;
    if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
        perror(path);
        exit(1);
    }
    rewind(file);
    bytes.data = malloc((size_t)size + 1);
    bytes.len = bytes.data ? fread(bytes.data, 1, (size_t)size, file) : 0;
    fclose(file);
    return bytes;
}

static struct atoll_artefact *compile(const char *path)
{
    struct atoll_error error;
    struct atoll_compiler *compiler;
    struct atoll_artefact *artefact;
    struct atoll_bytes wasm = file_read(path);
    bool cached;
    double began = now_us();
    if (atoll_compiler_create(NULL, &compiler, &error) < 0 ||
        atoll_compile(compiler, wasm.data, wasm.len, NULL, &artefact, &cached, &error) < 0)
        give_up(path, &error);
    printf("%s %zu bytes in %.1f ms\n", cached ? "found in the cache:" : "compiled", wasm.len,
           (now_us() - began) / 1e3);
    atoll_compiler_destroy(compiler);
    atoll_bytes_free(&wasm);
    return artefact;
}

/* A C library compiled to WebAssembly sets itself up in _initialize. */
static void initialize(struct atoll_instance *instance)
{
    struct atoll_error error;
    struct atoll_outcome outcome;
    uint32_t function;
    if (atoll_function(instance, "_initialize", &function, NULL) == 0 &&
        atoll_invoke(instance, function, NULL, 0, NULL, 0, &outcome, &error) < 0)
        give_up("_initialize", &error);
}

/* Calls an export that takes one i32 and returns one. */
static struct atoll_outcome call(struct atoll_instance *instance, const char *name,
                                 int32_t argument, int32_t *result)
{
    struct atoll_error error;
    struct atoll_outcome outcome;
    struct atoll_val in = atoll_i32(argument), out;
    uint32_t function;
    if (atoll_function(instance, name, &function, &error) < 0 ||
        atoll_invoke(instance, function, &in, 1, &out, 1, &outcome, &error) < 0)
        give_up(name, &error);
    if (outcome.status == ATOLL_DONE)
        *result = out.of.i32;
    return outcome;
}

static void trap_print(const struct atoll_arena *arena, const struct atoll_trap *trap)
{
    struct atoll_place place;
    printf("  trap: %s\n", atoll_trap_name(trap->kind));
    for (uint32_t k = 0; k < trap->frame_count; k++)
        if (atoll_frame_place(arena, &trap->frames[k], &place, NULL) == 0)
            printf("    %s %.*s%s, at byte 0x%x of the module\n", k ? "called by" : "in",
                   (int)place.name_len, place.name,
                   place.function != trap->frames[k].function ? " (inlined)" : "",
                   trap->frames[k].offset);
}

static void *interrupt_soon(void *arena)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    atoll_interrupt(arena);
    return NULL;
}

static void loop_stop(struct atoll_instance *instance)
{
    struct atoll_arena *arena = atoll_instance_arena(instance);
    struct atoll_outcome outcome;
    pthread_t thread;
    int32_t unused;
    if (pthread_create(&thread, NULL, interrupt_soon, arena) != 0)
        exit(1);
    outcome = call(instance, "loop_forever", 0, &unused);
    pthread_join(thread, NULL);
    printf("an endless loop: %s\n",
           outcome.status == ATOLL_INTERRUPTED ? "interrupted after 20 ms" : "ended?");
    atoll_abandon(arena);
}

static void snapshot_start_many(struct atoll_instance *instance, int count)
{
    struct atoll_error error;
    struct atoll_snapshot *snapshot;
    struct atoll_arena **arenas = calloc((size_t)count, sizeof *arenas);
    int64_t sum = 0;
    int32_t result = 0;
    if (!arenas)
        exit(1);
    if (atoll_snapshot_take(atoll_instance_arena(instance), &snapshot, &error) < 0)
        give_up("snapshot", &error);
    double began = now_us();
    for (int k = 0; k < count; k++) {
        if (atoll_arena_from_snapshot(snapshot, ATOLL_SLOT_ANY, &arenas[k], &error) < 0)
            give_up("instance of a snapshot", &error);
        call(atoll_arena_instance(arenas[k], 0), "add_to_total", k, &result);
        sum += result;
    }
    double started = now_us();
    for (int k = 0; k < count; k++)
        atoll_arena_destroy(arenas[k]);
    double ended = now_us();
    printf("%d instances, all alive at once, their totals sum to %lld\n", count, (long long)sum);
    printf("  %.1f us to start one and call it, %.1f us to destroy it\n", (started - began) / count,
           (ended - started) / count);
    atoll_snapshot_release(snapshot);
    free(arenas);
}

int main(int argc, char **argv)
{
    struct atoll_error error;
    struct atoll_arena *arena;
    struct atoll_instance *instance;
    int32_t result = 0;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: embed guest.wasm [INSTANCES]\n");
        return 2;
    }
    struct atoll_artefact *artefact = compile(argv[1]);
    if (atoll_arena_create(ATOLL_SLOT_ANY, NULL, &arena, &error) < 0 ||
        atoll_link(arena, artefact, imports, 1, &instance, &error) < 0)
        give_up("link", &error);
    initialize(instance);
    call(instance, "add_to_total", 1000, &result);
    printf("add_to_total(1000) = %d\n", result);

    printf("element(100):\n");
    struct atoll_outcome outcome = call(instance, "element", 100, &result);
    if (outcome.status == ATOLL_TRAPPED)
        trap_print(arena, &outcome.trap);
    loop_stop(instance);
    snapshot_start_many(instance, argc == 3 ? atoi(argv[2]) : 1000);
    atoll_arena_destroy(arena);
    atoll_artefact_release(artefact);
    return 0;
}
