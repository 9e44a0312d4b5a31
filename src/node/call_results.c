/*
 * Calls that have ended: who is told, and where results lie until nobody can ask any longer. See
 * calls.h.
 *
 * Kept results are in the order in which they ended: beyond the memory for them the oldest go to
 * the store, where asking finds them until they expire.
 */
#define _GNU_SOURCE
#include "node/call_table.h"

#include "base/clock.h"
#include "node/call_graph.h"
#include "node/log.h"
#include "node/node.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the last ones, for people ---- */

static void recent_note(struct calls *k, const struct root *c)
{
    const struct call_outcome *o = &c->outcome;
    struct call_summary *s = &k->recent[k->recent_count++ % CALL_RECENT];
    *s = (struct call_summary){.id = o->id,
                               .status = o->status,
                               .temperature = o->temperature,
                               .queue_ns = o->queue_ns,
                               .restore_ns = o->restore_ns,
                               .run_ns = o->run_ns,
                               .ended_ns = clock_ns(CLOCK_REALTIME)};
    snprintf(s->function, sizeof s->function, "%s/%s", o->version->manifest.tenant,
             o->version->manifest.function);
}

uint32_t calls_recent(const struct calls *k, struct call_summary *out, uint32_t max)
{
    uint64_t have = k->recent_count < CALL_RECENT ? k->recent_count : CALL_RECENT;
    uint32_t count = have < max ? (uint32_t)have : max;
    for (uint32_t i = 0; i < count; i++)
        out[i] = k->recent[(k->recent_count - 1 - i) % CALL_RECENT];
    return count;
}

/* ---- kept results ---- */

/* What a kept result takes; there may be very many without output. */
static uint64_t result_bytes(const struct root *c)
{
    const struct call_outcome *o = &c->outcome;
    return sizeof *c + (o->output ? o->output->len : 0) + strlen(o->text) + o->head_len +
           c->request.head_len + c->request.arguments_len;
}

/* A result in the store: i64 expires (CLOCK_REALTIME) | i32 status, code | u32 temperature, attempt
 * | u64 queue, restore, run, cpu | u32 text, head lengths | text | head | output */
#define STORED_HEAD (8 + 16 + 32 + 8)

static bool result_encode(const struct root *c, struct buffer *b)
{
    const struct call_outcome *o = &c->outcome;
    int64_t left = c->expire_ns - clock_monotonic_ns();
    uint32_t text_len = (uint32_t)strlen(o->text);
    const uint8_t *bytes = o->output ? blob_bytes(o->output) : (const uint8_t *)"";
    return bytes != NULL && buffer_append_u64(b, (uint64_t)(clock_ns(CLOCK_REALTIME) + left)) &&
           buffer_append_u32(b, (uint32_t)o->status) && buffer_append_u32(b, (uint32_t)o->code) &&
           buffer_append_u32(b, (uint32_t)o->temperature) && buffer_append_u32(b, o->attempt) &&
           buffer_append_u64(b, o->queue_ns) && buffer_append_u64(b, o->restore_ns) &&
           buffer_append_u64(b, o->run_ns) && buffer_append_u64(b, o->cpu_ns) &&
           buffer_append_u32(b, text_len) && buffer_append_u32(b, o->head_len) &&
           buffer_append(b, o->text, text_len) &&
           buffer_append(b, o->head ? o->head : "", o->head_len) &&
           buffer_append(b, bytes, o->output ? o->output->len : 0);
}

static void kept_drop(struct calls *k, struct root *c)
{
    root_list_remove(&k->kept, c);
    k->kept_bytes -= result_bytes(c);
    root_free(k, c);
}

/* Moves the oldest results to the store while there are too many bytes in memory. */
static void result_spill(struct calls *k)
{
    while (k->kept_bytes > k->node->config.results_bytes && k->kept.first) {
        struct root *c = k->kept.first;
        struct buffer record = {0};
        struct error e;
        struct store_write write = {STORE_PUT, STORE_CALL, &c->outcome.id, sizeof c->outcome.id,
                                    NULL,      0};
        if (result_encode(c, &record)) {
            write.value = record.data;
            write.value_len = record.len;
            if (store_write(k->node->store, &write, 1, 0, (struct gt_callback){0}, &e) != 0)
                log_write(LOG_WARNING, "calls", &(struct log_about){.call = c->outcome.id},
                          "a result is dropped before its time: %s", e.text);
        }
        buffer_free(&record);
        kept_drop(k, c);
    }
}

/* ---- who waits ---- */

static void waiters_tell(struct calls *k, struct root *c)
{
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        k->waiting--;
        w->seen(w->context, 0, &c->outcome);
        free(w);
    }
}

static void waiters_expire(struct calls *k, struct root *c, int64_t now)
{
    for (struct waiter **at = &c->waiters; *at;) {
        struct waiter *w = *at;
        if (now < w->until_ns) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        k->waiting--;
        w->seen(w->context, 0, &c->outcome);
        free(w);
    }
}

void waiters_free(struct root *c)
{
    while (c->waiters) {
        struct waiter *w = c->waiters;
        c->waiters = w->next;
        free(w);
    }
}

static void stored_seen(void *context, const struct gt_result *result)
{
    struct waiter *w = context;
    const uint8_t *p = result->data;
    struct call_outcome o;
    int code = result->code;
    if (code == 0 && result->len < STORED_HEAD)
        code = -ATOLL_ECORRUPT;
    if (code == 0 && (int64_t)load_u64(p) < clock_ns(CLOCK_REALTIME))
        code = -ATOLL_EEXPIRED;
    if (code == 0) {
        uint64_t text_len = load_u32(p + 56), head_len = load_u32(p + 60);
        if (text_len + head_len > result->len - STORED_HEAD)
            code = -ATOLL_ECORRUPT;
        else {
            const uint8_t *text = p + STORED_HEAD;
            char *copy = strndup((const char *)text, text_len);
            o = (struct call_outcome){.id = w->id,
                                      .status = (enum call_status)load_u32(p + 8),
                                      .code = (int32_t)load_u32(p + 12),
                                      .temperature = (enum call_temperature)load_u32(p + 16),
                                      .attempt = load_u32(p + 20),
                                      .queue_ns = load_u64(p + 24),
                                      .restore_ns = load_u64(p + 32),
                                      .run_ns = load_u64(p + 40),
                                      .cpu_ns = load_u64(p + 48),
                                      .text = copy ? copy : "",
                                      .head = (const char *)text + text_len,
                                      .head_len = (uint32_t)head_len};
            o.output = blob_create(text + text_len + head_len,
                                   result->len - STORED_HEAD - text_len - head_len);
            w->seen(w->context, 0, &o);
            blob_release(o.output);
            free(copy);
        }
    }
    if (code != 0)
        w->seen(w->context, code, NULL);
    free(w);
}

void calls_wait(struct calls *k, uint64_t id, int64_t wait_ns, call_seen seen, void *context)
{
    struct root *c = root_find(k, id);
    if (c && c->expire_ns != 0 && c->expire_ns <= clock_monotonic_ns()) {
        seen(context, -ATOLL_EEXPIRED, NULL);
        return;
    }
    struct waiter *w = malloc(sizeof *w);
    if (w == NULL) {
        seen(context, -ATOLL_ENOMEM, NULL);
        return;
    }
    *w = (struct waiter){.id = id, .seen = seen, .context = context};
    if (c == NULL) {
        struct error e;
        if (store_get(k->node->store, STORE_CALL, &id, sizeof id,
                      (struct gt_callback){stored_seen, w}, &e) != 0) {
            seen(context, e.code, NULL);
            free(w);
        }
        return;
    }
    if (c->expire_ns != 0 || wait_ns <= 0) {
        free(w);
        seen(context, 0, &c->outcome);
        return;
    }
    w->until_ns = clock_monotonic_ns() + wait_ns;
    w->next = c->waiters;
    c->waiters = w;
    k->waiting++;
    calls_timer_want(k);
}

/* ---- from the outcome to oblivion ---- */

void results_take(struct calls *k, struct root *c)
{
    recent_note(k, c);
    if (c->done)
        c->done(c->context, &c->outcome);
    c->done = NULL;
    waiters_tell(k, c);
    if (!c->request.keep) {
        root_free(k, c);
        return;
    }
    c->expire_ns = clock_monotonic_ns() + (int64_t)c->outcome.version->manifest.result_ttl_ns;
    root_list_append(&k->kept, c);
    k->kept_bytes += result_bytes(c);
    result_spill(k);
}

void results_expire(struct calls *k, int64_t now)
{
    for (uint32_t i = 0; k->waiting > 0 && i < CALL_BUCKETS; i++) {
        for (struct root *c = k->buckets[i], *next; c; c = next) {
            next = c->hash_next;
            waiters_expire(k, c, now);
        }
    }
    while (k->kept.first && k->kept.first->expire_ns <= now)
        kept_drop(k, k->kept.first);
}
