/*
 * Computations stopped at random instants, each time continued in a fresh process.
 *
 *   interruption [STOPS]     about that many stops in all (default 300)
 *
 * For every kind of guest (scalar, vector, 32-byte vectors, loops written again, deep recursion,
 * host calls, growing memory) at both tiers, one process runs it uninterrupted for the expected
 * result; then a chain of processes runs it, each stopped after a random time at whatever
 * instruction it was, its image the only thing handed on. The results must agree to the last bit.
 * Prints one TAP line per guest.
 */
#define _GNU_SOURCE
#include "../guest/guest.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/arena.h"
#include "sandbox/capture.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define EXIT_STOPPED 10 /* the image was written */
#define EXIT_FAILED  20

static const struct {
    const char *function;
    int32_t steps; /* a few hundred milliseconds at opt */
} guests[] = {
    {"scalar", 60000000}, {"vector", 30000000}, {"vectorised", 200000}, {"rewritten", 40000},
    {"recursive", 10000}, {"calling", 4000000}, {"growing", 10000000},
};
#define GUESTS (sizeof guests / sizeof *guests)

static struct key_pair key;

static void die(const char *what)
{
    fprintf(stderr, "interruption: %s\n", what);
    exit(EXIT_FAILED);
}

/* ---- one process of a chain ---- */

struct stopper {
    struct arena *arena;
    useconds_t after_us;
};

static void *stop_later(void *argument)
{
    struct stopper *stopper = argument;
    usleep(stopper->after_us);
    arena_interrupt(stopper->arena);
    return NULL;
}

/* Writes the image of a stopped arena, or prints the result of one that has ended. */
static int link_end(struct arena *arena, const struct run_result *r, int64_t result,
                    const char *path)
{
    struct error e = {0};
    struct capture *capture;
    struct buffer image = {0}, none = {0};
    if (r->status == RUN_DONE) {
        printf("%" PRIi64, result);
        return 0;
    }
    if (r->status != RUN_INTERRUPTED)
        die(trap_kind_name(r->trap.kind));
    if (capture_take(arena, &capture, &e) < 0 ||
        capture_encode(capture, &key, &none, &none, &image, &e) < 0 ||
        file_replace(path, image.data, image.len, 0600, &e) < 0)
        die(e.text);
    return EXIT_STOPPED;
}

/* link FUNCTION STEPS TIER FILE MICROSECONDS: starts when FILE is empty, else continues. */
static int link_main(char **a)
{
    struct error e = {0};
    struct buffer image = {0};
    struct run_result r = {0};
    struct arena *arena;
    union host_slot slots[4] = {{.i64 = atoi(a[1])}};
    pthread_t thread;
    struct stopper stopper = {.after_us = (useconds_t)atoi(a[4])};
    if (file_read(a[3], 1u << 30, &image, &e) < 0)
        die(e.text);
    struct capture_host host = {
        .trusted = &key.public_key, .trusted_count = 1, .resolve = guest_resolve};
    if (!image.len)
        arena = guest_arena(guest_artefact("work", *a[2] == 'q' ? TIER_QUICK : TIER_OPT, MODE_FAST),
                            NULL);
    else if (capture_restore(image.data, image.len, &host, &arena, &e) < 0)
        die(e.text);
    stopper.arena = arena;
    if (stopper.after_us)
        pthread_create(&thread, NULL, stop_later, &stopper);
    int rc = image.len ? arena_resume(arena, slots, &r, &e)
                       : instance_invoke(arena_primary(arena), guest_function(arena, a[0]), slots,
                                         &r, &e);
    if (rc < 0)
        die(e.text);
    return link_end(arena, &r, slots[0].i64, a[3]);
}

/* ---- the chains ---- */

static int process_run(char **arguments, char *output, size_t cap)
{
    int pipe_fds[2], status = -1;
    pid_t child;
    posix_spawn_file_actions_t actions;
    if (pipe(pipe_fds) < 0)
        die(strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1);
    posix_spawn_file_actions_addclose(&actions, pipe_fds[0]);
    posix_spawn_file_actions_addclose(&actions, pipe_fds[1]);
    if (posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environ) != 0)
        die("cannot start a process");
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_fds[1]);
    ssize_t got = read(pipe_fds[0], output, cap - 1);
    output[got > 0 ? got : 0] = 0;
    close(pipe_fds[0]);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int link_run(size_t guest, const char *tier, const char *file, uint32_t after_us,
                    char *output, size_t cap)
{
    char steps[16], after[16];
    snprintf(steps, sizeof steps, "%d", guests[guest].steps);
    snprintf(after, sizeof after, "%u", after_us);
    char *arguments[] = {"interruption", "link",       (char *)guests[guest].function,
                         steps,          (char *)tier, (char *)file,
                         after,          NULL};
    return process_run(arguments, output, cap);
}

static uint32_t random_below(uint32_t bound)
{
    uint32_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value)
        die("no randomness");
    return value % bound;
}

/* Runs one chain; the number of stops, or -1 when the results differ. */
static int chain_run(size_t guest, const char *tier, uint32_t mean_us, int *found_differs)
{
    char path[] = "/tmp/atoll-interruption-XXXXXX", expected[64], found[64];
    int fd = mkstemp(path), stops = 0, status;
    if (fd < 0)
        die(strerror(errno));
    close(fd);
    if (link_run(guest, tier, path, 0, expected, sizeof expected) != 0)
        die("the uninterrupted run failed");
    while ((status = link_run(guest, tier, path, 100 + random_below(2 * mean_us), found,
                              sizeof found)) == EXIT_STOPPED)
        stops++;
    unlink(path);
    *found_differs = status != 0 || strcmp(found, expected) != 0;
    if (*found_differs)
        printf("# expected %s, found %s (status %d)\n", expected, found, status);
    return stops;
}

int main(int count, char **arguments)
{
    struct error e = {0};
    static const uint8_t seed[crypto_sign_SEEDBYTES] = {7};
    if (sodium_init() < 0 || engine_initialize(&e) < 0)
        return EXIT_FAILED;
    crypto_sign_seed_keypair(key.public_key, key.secret_key, seed);
    if (count == 7 && strcmp(arguments[1], "link") == 0)
        return link_main(arguments + 2);

    int wanted = count > 1 ? atoi(arguments[1]) : 300, total = 0, failed = 0, number = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%zu\n", 2 * GUESTS);
    for (size_t guest = 0; guest < GUESTS; guest++) {
        for (int tier = 0; tier < 2; tier++) {
            const char *name = tier ? "opt" : "quick";
            int stops = 0, differs = 0;
            /* Chains are repeated, stops coming closer, until there are enough of them. */
            for (uint32_t mean_us = 15000; !differs && stops < wanted / (int)(2 * GUESTS);
                 mean_us = mean_us > 4000 ? mean_us * 2 / 3 : 3000)
                stops += chain_run(guest, name, mean_us, &differs);
            printf("%s %d - %s at %s ends alike after %d stops\n", differs ? "not ok" : "ok",
                   ++number, guests[guest].function, name, stops);
            failed += differs;
            total += stops;
        }
    }
    printf("# %d stops in all\n", total);
    return failed != 0;
}
