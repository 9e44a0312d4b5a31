/* The uniform mix: SplitMix64 (Steele, Lea and Flood) drives every choice. */
#include "ledger/kv/smallbank.h"

#include <assert.h>

void smallbank_mix_start(struct smallbank_mix *mix, uint64_t seed, uint64_t accounts)
{
    assert(accounts >= 2);
    *mix = (struct smallbank_mix){seed, accounts};
}

static uint64_t mix_next(struct smallbank_mix *mix)
{
    uint64_t z = mix->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 … below - 1, as evenly as 64 bits allow. */
static uint64_t mix_below(struct smallbank_mix *mix, uint64_t below)
{
    return (uint64_t)((unsigned __int128)mix_next(mix) * below >> 64);
}

struct smallbank_call smallbank_mix_next(struct smallbank_mix *mix)
{
    struct smallbank_call call = {
        .proc = (enum smallbank_procedure)(SMALLBANK_BALANCE + mix_below(mix, 6))};
    call.customer = mix_below(mix, mix->accounts);
    /* Of the others, one. */
    call.to = (call.customer + 1 + mix_below(mix, mix->accounts - 1)) % mix->accounts;
    call.amount = (int64_t)(1 + mix_below(mix, 100));
    return call;
}
