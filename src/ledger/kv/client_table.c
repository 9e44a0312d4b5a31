/* The window of executed requests: a highest number and a bit for each of the last CLIENT_WINDOW.
 */
#include "ledger/kv/client_table.h"

#include "base/bytes.h"

#include <assert.h>
#include <string.h>

#define WORDS     (CLIENT_WINDOW / 64)
#define VALUE_LEN (8 + CLIENT_WINDOW / 8)

struct window {
    uint64_t highest;
    uint64_t executed[WORDS]; /* bit i of word w: highest - 64 w - i */
};

_Static_assert(sizeof(struct window) == VALUE_LEN, "the window is stored as it is");

static bool window_load(const struct kv *kv, const uint8_t *client, struct window *w)
{
    struct kv_value value;
    if (!kv_get(kv, KV_TABLE_CLIENTS, client, CLIENT_KEY_LEN, &value))
        return false;
    assert(value.len == VALUE_LEN);
    memcpy(w, value.data, VALUE_LEN);
    return true;
}

enum client_verdict client_table_check(const struct kv *kv,
                                       const uint8_t client[static CLIENT_KEY_LEN], uint64_t reqno)
{
    struct window w;
    if (!window_load(kv, client, &w) || reqno > w.highest)
        return CLIENT_NEW;
    uint64_t back = w.highest - reqno;
    if (back >= CLIENT_WINDOW)
        return CLIENT_TOO_OLD;
    return w.executed[back / 64] >> back % 64 & 1 ? CLIENT_DUPLICATE : CLIENT_NEW;
}

/* Makes `reqno` the highest. */
static void window_advance(struct window *w, uint64_t reqno)
{
    uint64_t by = reqno - w->highest;
    uint64_t words = by / 64 < WORDS ? by / 64 : WORDS, bits = by % 64;
    memmove(w->executed + words, w->executed, (WORDS - words) * 8);
    memset(w->executed, 0, words * 8);
    for (size_t i = WORDS; bits > 0 && i-- > 0;)
        w->executed[i] = w->executed[i] << bits | (i > 0 ? w->executed[i - 1] >> (64 - bits) : 0);
    w->highest = reqno;
}

int client_table_insert(struct kv *kv, const uint8_t client[static CLIENT_KEY_LEN], uint64_t reqno,
                        struct error *e)
{
    struct window w;
    if (!window_load(kv, client, &w))
        w = (struct window){.highest = reqno};
    if (reqno > w.highest)
        window_advance(&w, reqno);
    uint64_t back = w.highest - reqno;
    assert(back < CLIENT_WINDOW && !(w.executed[back / 64] >> back % 64 & 1));
    w.executed[back / 64] |= UINT64_C(1) << back % 64;
    return kv_system_put(kv, KV_TABLE_CLIENTS, client, CLIENT_KEY_LEN, &w, VALUE_LEN, e);
}
