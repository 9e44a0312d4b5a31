/*
 * A worker process and how it starts; end.c is its end.
 *
 * How many instances it can hold is known at the start: 4,412 slots, and vm.max_map_count divided
 * by the mappings that one has. Beyond that calls wait; nothing dies in mmap.
 */
#define _GNU_SOURCE
#include "node/worker/process.h"

#include "node/worker/confine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAPS_PER_INSTANCE 12u   /* the arena's, and two attached regions */
#define MAPS_OF_PROCESS   4096u /* libraries, threads, values, inputs */
#define MAPS_DEFAULT      65530u
#define NETWORK_RATE      (100ull << 20)
#define NETWORK_BURST     (10ull << 20)
#define THREAD_STACK      (512u << 10)

/* ---- settings ---- */

static uint64_t number_in_file(const char *path, uint64_t otherwise)
{
    unsigned long long value;
    FILE *file = fopen(path, "re");
    bool good = file && fscanf(file, "%llu", &value) == 1;
    if (file)
        fclose(file);
    return good ? value : otherwise;
}

static uint32_t instances_fit(void)
{
    uint64_t maps = number_in_file("/proc/sys/vm/max_map_count", MAPS_DEFAULT);
    uint64_t fit = maps > MAPS_OF_PROCESS ? (maps - MAPS_OF_PROCESS) / MAPS_PER_INSTANCE : 0;
    return fit < SLOT_END - SLOT_FIRST ? (uint32_t)fit : SLOT_END - SLOT_FIRST;
}

static int settings_apply(struct worker *w, const struct worker_settings *s, struct error *e)
{
    uint32_t fit = instances_fit();
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    w->thread_count = s->threads ? s->threads : online > 0 ? (uint32_t)online : 1;
    if (w->thread_count > WORKER_THREADS_MAX)
        w->thread_count = WORKER_THREADS_MAX;
    uint32_t spare = 2 * w->thread_count;
    w->instances_max = fit > spare ? fit - spare : 0;
    if (s->instances_max && s->instances_max < w->instances_max)
        w->instances_max = s->instances_max;
    w->arenas_max = w->instances_max + spare;
    if (w->instances_max < WORKER_INSTANCES_MIN)
        return error_set(e, ATOLL_ELIMIT,
                         "a worker that may have %u instances cannot run calls, it needs %u; raise "
                         "vm.max_map_count",
                         w->instances_max, WORKER_INSTANCES_MIN);
    bucket_begin(&w->network[0], s->network_rate ? s->network_rate : NETWORK_RATE,
                 s->network_burst ? s->network_burst : NETWORK_BURST, clock_monotonic_ns());
    w->network[1] = w->network[0];
    w->memory_max = s->memory_bytes
                        ? s->memory_bytes
                        : (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    return 0;
}

/* ---- start ---- */

static int threads_start(struct worker *w, struct error *e)
{
    pthread_attr_t attributes;
    w->threads = calloc(w->thread_count, sizeof *w->threads);
    if (!w->threads || pthread_attr_init(&attributes) != 0)
        return error_set(e, ATOLL_ENOMEM, "no memory for the threads of a worker");
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    int rc = pthread_create(&w->timekeeper.thread, &attributes, timekeeper_main, w);
    for (uint32_t k = 0; rc == 0 && k < w->thread_count; k++) {
        w->threads[k].worker = w;
        rc = pthread_create(&w->threads[k].thread, &attributes, guest_main, &w->threads[k]);
    }
    pthread_attr_destroy(&attributes);
    errno = rc;
    return rc == 0 ? 0 : error_set_errno(e, ATOLL_ENOMEM, "cannot start the threads of a worker");
}

int worker_begin(struct worker *w, const int descriptors[static LINK_DESCRIPTORS],
                 const struct worker_settings *settings, struct error *e)
{
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->receive_lock, NULL);
    LIST_INIT(&w->all_versions);
    LIST_INIT(&w->dead_versions);
    LIST_INIT(&w->unnamed);
    queue_begin(&w->queue);
    w->link = malloc(sizeof *w->link);
    if (!w->link)
        return error_set(e, ATOLL_ENOMEM, "no memory for a worker's link");
    int rc = link_adopt(descriptors, w->link, e);
    if (rc == 0)
        rc = settings_apply(w, settings, e);
    if (rc == 0)
        rc = sockets_begin(w, e);
    if (rc == 0)
        rc = engine_initialize(e);
    return rc == 0 ? timekeeper_begin(w, e) : rc;
}

static void hello_send(struct worker *w)
{
    struct message m = {
        .header.kind = MESSAGE_HELLO,
        .hello = {.pid = (uint32_t)getpid(),
                  .threads = w->thread_count,
                  .instances_max = w->instances_max},
    };
    worker_send(w, &m, NULL, 0);
    ids_ask(w, IDS_LOW);
}

static void threads_join(struct worker *w)
{
    pthread_join(w->timekeeper.thread, NULL);
    for (uint32_t k = 0; k < w->thread_count; k++)
        pthread_join(w->threads[k].thread, NULL);
}

/* No call can be taken up, so no guest runs, before the process is confined with all its threads:
 * the lock is held meanwhile. */
static int worker_start(struct worker *w, struct error *e)
{
    hello_send(w);
    pthread_mutex_lock(&w->lock);
    int rc = threads_start(w, e);
    if (rc == 0)
        rc = worker_confine(w->link->socket, e);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int worker_main(const int descriptors[static LINK_DESCRIPTORS],
                const struct worker_settings *settings)
{
    struct error e;
    struct worker *w = calloc(1, sizeof *w);
    int rc = w ? worker_begin(w, descriptors, settings, &e)
               : error_set(&e, ATOLL_ENOMEM, "no memory for a worker");
    if (rc == 0)
        rc = worker_start(w, &e);
    if (rc < 0) {
        fprintf(stderr, "atoll worker: %s\n", e.text);
        return 1;
    }
    threads_join(w);
    int status = w->exit_status;
    worker_close(w);
    free(w->threads);
    free(w);
    return status;
}
