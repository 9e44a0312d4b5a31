/*
 * Bytes from a stranger to either end of a channel, in pieces of any size, before and after a good
 * handshake: nothing but what the other end sealed ever becomes a message.
 */
#include "ledger/service/channel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define N 4

static struct ledger_configuration configuration = {.replica_count = N};
static struct secret *secrets[N];
static const uint8_t genesis[HASH_LEN] = {1};

static void keys_make(void)
{
    struct error e;
    for (uint8_t i = 0; i < N && !secrets[i]; i++) {
        uint8_t seed[SECRET_SEED_LEN] = {i};
        if (secret_from_seed(seed, &secrets[i], &e) != 0)
            abort();
        configuration.replicas[i].public_key = secret_public(secrets[i]);
    }
}

struct heard {
    const uint8_t *sent;
    size_t len;
    unsigned count;
};

static void hear(void *context, struct slice message)
{
    struct heard *h = context;
    /* Only what was sealed by the other end. */
    assert(h->sent && message.len == h->len && memcmp(message.data, h->sent, h->len) == 0);
    h->count++;
}

/* All that `from` has to say, changed by `flip` at byte `at` when that is among it. */
static int carry(struct channel *from, struct channel *to, size_t at, uint8_t flip, struct heard *h)
{
    struct error e;
    struct buffer bytes = {0};
    const struct buffer *out = channel_outgoing(from);
    if (!buffer_append(&bytes, out->data, out->len))
        abort();
    if (at < bytes.len)
        bytes.data[at] ^= flip;
    channel_sent(from, out->len);
    int rc = channel_receive(to, bytes.data, bytes.len, hear, h, &e);
    buffer_free(&bytes);
    return rc;
}

/* The rest of the input, as it is, in pieces. */
static void feed(struct channel *c, const uint8_t *data, size_t size, size_t piece)
{
    struct heard nothing = {0};
    struct error e;
    while (size > 0) {
        size_t len = size < piece ? size : piece;
        if (channel_receive(c, data, len, hear, &nothing, &e) != 0)
            return;
        data += len;
        size -= len;
    }
    assert(nothing.count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel *a, *b;
    struct error e;
    struct heard heard = {0};
    if (size < 4)
        return 0;
    keys_make();
    uint16_t role = data[0] & 1 ? CHANNEL_CLIENT : 2;
    struct channel_identity initiator = {genesis, &configuration, role,
                                         role == 2 ? secrets[2] : NULL},
                            responder = {genesis, &configuration, 1, secrets[1]};
    unsigned mode = data[0] >> 1 & 3;
    size_t piece = data[1] + 1u, at = (size_t)data[2] << 8 | data[3];
    data += 4;
    size -= 4;
    if (channel_connect(&initiator, 1, &a, &e) != 0 || channel_accept(&responder, &b, &e) != 0)
        abort();
    if (mode == 0) {
        feed(b, data, size, piece);
    } else if (mode == 1) {
        feed(a, data, size, piece);
    } else {
        /* A handshake; in mode 3 one of its bytes, or of the message behind it, is changed. */
        uint8_t flip = mode == 3 && size > 0 ? data[0] | 1 : 0;
        struct slice message = slice_of(data, size);
        int rc = carry(a, b, at, flip, &heard);
        rc = rc ? rc : carry(b, a, at - 76, flip, &heard);
        rc = rc ? rc : carry(a, b, at - 200, flip, &heard);
        if (rc == 0 && channel_ready(a) && channel_ready(b)) {
            heard = (struct heard){data, size, 0};
            if (channel_send(a, &message, 1, &e) != 0)
                abort();
            rc = carry(a, b, at - 300, flip, &heard);
            assert(flip || (rc == 0 && heard.count == 1));
            feed(a, data, size, piece);
        }
    }
    channel_destroy(a);
    channel_destroy(b);
    return 0;
}
