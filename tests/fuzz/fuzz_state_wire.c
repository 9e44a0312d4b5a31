/*
 * Requests from a worker that means harm. The input is a row of steps: a byte, and when it is below
 * 192 a u16 length and a record of so many bytes, which is decoded and, if it is a request, done by
 * a local tier over a double of the global one; else time passes, the store answers, a call ends or
 * a worker dies. Whatever is decoded must be encoded to the same bytes again, and whatever is asked
 * must be answered once.
 */
#include "state/state.h"

#include "../unit/gt_double.h"

#include <stdlib.h>
#include <unistd.h>

#define NAMES   6
#define BUDGET  (16u * DOUBLE_CHUNK)
#define SECOND  1000000000ll
#define WORKERS 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of state/tier.h: asserts what must hold of every value. */
void tier_check(const struct state_tier *);

static struct gt_double *gt;
static int64_t timer_at;
static uint64_t asked, answered;

static int64_t fuzz_now(void *context)
{
    (void)context;
    return gt->now;
}

static void fuzz_timer(void *context, int64_t at_ns)
{
    (void)context;
    timer_at = at_ns;
}

static uint32_t fuzz_granted(void *context, const char *tenant, const char *owner, const void *key,
                             size_t key_len)
{
    (void)context, (void)tenant, (void)owner, (void)key;
    return (uint32_t)key_len & STATE_GRANT_ALL;
}

static void done(void *context, const struct state_answer *a)
{
    static uint8_t record[STATE_ANSWER_MAX];
    struct state_reply reply;
    struct error e;
    (void)context;
    if ((a->result < 0) != (a->error != NULL))
        abort();
    if (state_reply_decode(record, state_reply_encode(&a->reply, record), &reply, &e) < 0)
        abort();
    answered++;
}

/* A few names, so that requests meet; the double knows no more. */
static void name_choose(struct state_request *r)
{
    static const char *const names[NAMES] = {"a", "b", "c/d", "@other/a", "@other/x", "@nobody"};
    if (!r->key_len || r->op == STATE_OP_LIST)
        return;
    const char *name = names[r->key[0] % NAMES];
    r->key = (const uint8_t *)name;
    r->key_len = (uint32_t)strlen(name);
}

static void request_do(struct state_tier *tier, uint8_t who, const uint8_t *record, size_t len)
{
    static uint8_t again[STATE_REQUEST_MAX];
    struct state_request r;
    struct error e;
    uint8_t *copy = malloc(len); /* of its exact size, so that a read beyond it is seen */
    if (len && !copy)
        return;
    if (len)
        memcpy(copy, record, len);
    if (state_request_decode(copy, len, &r, &e) == 0) {
        if (state_request_encode(&r, again) != len || memcmp(again, copy, len) != 0)
            abort();
        name_choose(&r);
        asked += state_op_answers(r.op);
        state_submit(tier, (struct state_client){1 + who % WORKERS, 1 + who / WORKERS % 3u}, &r,
                     done, NULL);
    }
    free(copy);
}

static void time_pass(struct state_tier *tier)
{
    while (timer_at <= gt->now) {
        timer_at = STATE_NEVER;
        state_tick(tier);
    }
}

static void event_do(struct state_tier *tier, uint8_t event)
{
    struct error e;
    if (event < 220) {
        double_step(gt);
    } else if (event < 235) {
        double_advance(gt, (event - 219) * SECOND / 4);
    } else if (event < 250) {
        state_call_ended(tier, 1 + event % WORKERS, 1 + event / WORKERS % 3u);
    } else if (event < 253) {
        gt->fail_commits = gt->fail_reads = 1;
    } else {
        uint32_t worker = 1 + event % WORKERS;
        state_worker_lost(tier, worker);
        (void)state_worker_join(tier, worker, "acme", &e);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state_tier *tier;
    struct error e;
    gt = double_create(size);
    timer_at = STATE_NEVER;
    asked = answered = 0;
    struct state_options options = {.gt = &gt->gt,
                                    .local_max = BUDGET,
                                    .now = fuzz_now,
                                    .timer = fuzz_timer,
                                    .granted = fuzz_granted};
    if (state_create(&options, &tier, &e) < 0 || state_worker_join(tier, 1, "acme", &e) < 0 ||
        state_worker_join(tier, 2, "acme", &e) < 0)
        abort();
    while (size) {
        uint8_t step = *data++;
        size--;
        if (step >= 192) {
            event_do(tier, step);
        } else if (size >= 2) {
            size_t len = load_u16(data);
            data += 2;
            size -= 2;
            len = len < size ? len : size;
            request_do(tier, step, data, len);
            data += len;
            size -= len;
        }
        time_pass(tier);
    }
    tier_check(tier);
    for (int i = 0; i < 100; i++) {
        double_advance(gt, SECOND);
        while (double_step(gt))
            time_pass(tier);
        time_pass(tier);
    }
    state_worker_lost(tier, 1);
    state_worker_lost(tier, 2);
    while (double_step(gt))
        time_pass(tier);
    if (asked != answered)
        abort();
    state_destroy(tier);
    double_destroy(gt);
    return 0;
}
