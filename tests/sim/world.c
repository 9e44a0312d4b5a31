#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void *sim_allocate(size_t len)
{
    return sim_reallocate(NULL, len);
}

void *sim_reallocate(void *old, size_t len)
{
    void *p = realloc(old, len ? len : 1);

    if (!p) {
        fprintf(stderr, "ledger-sim: out of memory\n");
        exit(2);
    }
    return p;
}

void sim_world_open(struct sim_world *w, uint64_t seed, bool trace)
{
    *w = (struct sim_world){.seed = seed, .trace = trace};
    for (unsigned i = 0; i < SIM_STREAM_COUNT; i++)
        sim_random_seed(&w->random[i], seed, i);
    w->log_hash[0] = seed;
    w->log_hash[1] = ~seed;
}

void sim_world_close(struct sim_world *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->heap[i].payload);
    free(w->heap);
    w->heap = NULL;
    w->count = w->capacity = 0;
}

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_rise(struct sim_event *heap, size_t at)
{
    struct sim_event moving = heap[at];

    while (at && event_before(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void heap_sink(struct sim_event *heap, size_t count)
{
    struct sim_event moving = heap[0];
    size_t at = 0, child;

    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && event_before(&heap[child + 1], &heap[child]))
            child++;
        if (!event_before(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

void sim_world_after(struct sim_world *w, uint64_t delay_us, sim_action *action, void *ctx,
                     void *payload)
{
    if (w->count == SIM_EVENTS_MAX) {
        sim_world_violated(w, "more than %d events wait: something multiplies", SIM_EVENTS_MAX);
        free(payload);
        return;
    }
    if (w->count == w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 1024;
        w->heap = sim_reallocate(w->heap, w->capacity * sizeof *w->heap);
    }
    w->heap[w->count] = (struct sim_event){
        .at_us = w->now_us + delay_us,
        .order = w->planned++,
        .action = action,
        .ctx = ctx,
        .payload = payload,
    };
    heap_rise(w->heap, w->count++);
}

void sim_world_run(struct sim_world *w, uint64_t until_us)
{
    while (w->count && !w->stopped && w->heap[0].at_us <= until_us) {
        struct sim_event event = w->heap[0];

        w->heap[0] = w->heap[--w->count];
        if (w->count)
            heap_sink(w->heap, w->count);
        w->now_us = event.at_us;
        w->ran++;
        event.action(event.ctx, event.payload);
        free(event.payload);
    }
    if (!w->stopped && w->now_us < until_us)
        w->now_us = until_us;
}

void sim_world_log(struct sim_world *w, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t words[5] = {w->now_us, 0, a, b, c};

    for (const char *p = what; *p; p++)
        words[1] = words[1] * 131 + (uint8_t)*p;
    for (int i = 0; i < 5; i++) {
        uint64_t x = w->log_hash[0] ^ words[i];

        w->log_hash[0] = sim_mix_next(&x) + w->log_hash[1];
        w->log_hash[1] = sim_random_rotate(w->log_hash[1], 23) ^ x;
    }
    if (w->trace)
        printf("%12.6f %s %llu %llu %llx\n", (double)w->now_us / 1e6, what, (unsigned long long)a,
               (unsigned long long)b, (unsigned long long)c);
}

void sim_world_note(struct sim_world *w, const char *format, ...)
{
    va_list arguments;

    if (!w->trace)
        return;
    printf("%12.6f   ", (double)w->now_us / 1e6);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

void sim_world_violated(struct sim_world *w, const char *format, ...)
{
    va_list arguments;

    w->stopped = true;
    if (w->violation[0])
        return;
    va_start(arguments, format);
    vsnprintf(w->violation, sizeof w->violation, format, arguments);
    va_end(arguments);
    sim_world_note(w, "VIOLATED: %s", w->violation);
}
