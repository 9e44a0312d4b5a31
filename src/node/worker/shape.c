/* See shape.h. */
#include "node/worker/shape.h"

#define SECOND_NS 1000000000

void bucket_begin(struct bucket *b, uint64_t rate, uint64_t burst, int64_t now_ns)
{
    *b = (struct bucket){
        .rate = rate ? rate : 1, .burst = burst, .tokens = (int64_t)burst, .at_ns = now_ns};
}

/* Adds what came in since, and keeps the fraction of a byte that did not come for the next time. */
static void fill(struct bucket *b, int64_t now_ns)
{
    if (now_ns <= b->at_ns)
        return;
    unsigned __int128 grown = (unsigned __int128)(now_ns - b->at_ns) * b->rate;
    uint64_t bytes = (uint64_t)(grown / SECOND_NS);
    if (b->tokens + (int64_t)bytes >= (int64_t)b->burst) {
        b->tokens = (int64_t)b->burst;
        b->at_ns = now_ns;
        return;
    }
    b->tokens += (int64_t)bytes;
    b->at_ns += (int64_t)((unsigned __int128)bytes * SECOND_NS / b->rate);
}

int64_t bucket_wait(struct bucket *b, int64_t now_ns)
{
    fill(b, now_ns);
    if (b->tokens > 0)
        return 0;
    unsigned __int128 owed = (unsigned __int128)(1 - b->tokens) * SECOND_NS;
    return b->at_ns + (int64_t)(owed / b->rate) + 1;
}

void bucket_charge(struct bucket *b, uint64_t bytes, int64_t now_ns)
{
    fill(b, now_ns);
    b->tokens -= (int64_t)bytes;
}
