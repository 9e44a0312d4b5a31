/* Channels between the processes of a ledger: who gets one, and that nobody in between matters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/service/channel.h"

#include <string.h>

#define N 4

static struct ledger_configuration configuration = {.replica_count = N};
static struct secret *secrets[N], *stranger;
static uint8_t genesis[HASH_LEN] = {1, 2, 3}, other_genesis[HASH_LEN] = {1, 2, 4};

static int keys_make(void **state)
{
    (void)state;
    struct error e;
    for (int i = 0; i < N; i++) {
        if (secret_generate(&secrets[i], &e) != 0)
            return -1;
        configuration.replicas[i].public_key = secret_public(secrets[i]);
    }
    return secret_generate(&stranger, &e);
}

static int keys_drop(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++)
        secret_destroy(secrets[i]);
    secret_destroy(stranger);
    return 0;
}

static struct channel_identity identity(uint16_t role)
{
    return (struct channel_identity){.genesis = genesis,
                                     .configuration = &configuration,
                                     .role = role,
                                     .secret = role == CHANNEL_CLIENT ? NULL : secrets[role]};
}

struct heard {
    unsigned count;
    size_t len;
    uint8_t last[64];
};

static void hear(void *context, struct slice message)
{
    struct heard *h = context;
    h->count++;
    h->len = message.len;
    memcpy(h->last, message.data, message.len < sizeof h->last ? message.len : sizeof h->last);
}

/* Carries what one end has to say to the other, `piece` bytes at a time. */
static int carry(struct channel *from, struct channel *to, size_t piece, struct heard *heard)
{
    struct error e;
    while (channel_outgoing(from)->len > 0) {
        const struct buffer *out = channel_outgoing(from);
        size_t len = out->len < piece ? out->len : piece;
        int rc = channel_receive(to, out->data, len, hear, heard, &e);
        channel_sent(from, len);
        if (rc != 0)
            return rc;
    }
    return 0;
}

struct pair {
    struct channel_identity a, b;
    struct channel *initiator, *responder;
    struct heard at_initiator, at_responder;
};

static void pair_open(struct pair *p, uint16_t initiator, uint16_t responder, uint16_t expected)
{
    struct error e;
    *p = (struct pair){.a = identity(initiator), .b = identity(responder)};
    assert_int_equal(channel_connect(&p->a, expected, &p->initiator, &e), 0);
    assert_int_equal(channel_accept(&p->b, &p->responder, &e), 0);
}

static void pair_close(struct pair *p)
{
    channel_destroy(p->initiator);
    channel_destroy(p->responder);
}

/* Both directions until nothing is left to say; the first refusal. */
static int shake(struct pair *p, size_t piece)
{
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        rc = carry(p->initiator, p->responder, piece, &p->at_responder);
        if (rc == 0)
            rc = carry(p->responder, p->initiator, piece, &p->at_initiator);
    }
    return rc;
}

static int say(struct channel *c, const char *text)
{
    struct error e;
    struct slice parts[2] = {slice_of(text, 1), slice_of(text + 1, strlen(text) - 1)};
    return channel_send(c, parts, 2, &e);
}

static void replicas_and_clients_talk_both_ways_in_pieces_of_any_size(void **state)
{
    (void)state;
    const uint16_t initiators[] = {2, CHANNEL_CLIENT};
    for (int kind = 0; kind < 2; kind++) {
        for (size_t piece = 1; piece < 300; piece += 7) {
            struct pair p;
            pair_open(&p, initiators[kind], 1, 1);
            assert_int_equal(say(p.initiator, "early"), -ATOLL_EAGAIN);
            assert_int_equal(shake(&p, piece), 0);
            assert_true(channel_ready(p.initiator) && channel_ready(p.responder));
            assert_int_equal(channel_peer(p.initiator), 1);
            assert_int_equal(channel_peer(p.responder), initiators[kind]);
            for (unsigned i = 1; i <= 3; i++) {
                assert_int_equal(say(p.initiator, "question"), 0);
                assert_int_equal(say(p.responder, "answer"), 0);
                assert_int_equal(shake(&p, piece), 0);
                assert_int_equal(p.at_responder.count, i);
                assert_memory_equal(p.at_responder.last, "question", 8);
                assert_int_equal(p.at_initiator.len, 6);
            }
            pair_close(&p);
        }
    }
}

static void the_largest_message_passes_and_a_larger_one_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[LEDGER_MESSAGE_MAX + 1];
    struct pair p;
    struct error e;
    pair_open(&p, 0, 1, 1);
    assert_int_equal(shake(&p, SIZE_MAX), 0);
    struct slice whole = slice_of(bytes, LEDGER_MESSAGE_MAX);
    assert_int_equal(channel_send(p.initiator, &whole, 1, &e), 0);
    assert_int_equal(shake(&p, 1 << 16), 0);
    assert_int_equal(p.at_responder.len, LEDGER_MESSAGE_MAX);
    whole.len++;
    assert_int_equal(channel_send(p.initiator, &whole, 1, &e), -ATOLL_ESIZE);
    assert_int_equal(channel_send(p.initiator, NULL, 0, &e), 0); /* an empty one */
    assert_int_equal(shake(&p, 1 << 16), 0);
    assert_int_equal(p.at_responder.count, 2);
    pair_close(&p);
}

static void who_is_not_the_replica_it_says_is_refused(void **state)
{
    (void)state;
    struct pair p;
    /* A stranger answers for replica 1. */
    pair_open(&p, 0, 1, 1);
    p.b.secret = stranger;
    assert_int_equal(shake(&p, SIZE_MAX), -ATOLL_ESIGNATURE);
    assert_false(channel_ready(p.initiator));
    pair_close(&p);
    /* A stranger calls as replica 0. */
    pair_open(&p, 0, 1, 1);
    p.a.secret = stranger;
    assert_int_equal(shake(&p, SIZE_MAX), -ATOLL_ESIGNATURE);
    assert_false(channel_ready(p.responder));
    pair_close(&p);
    /* Replica 2 answers where 1 was expected. */
    pair_open(&p, 0, 2, 1);
    assert_int_equal(shake(&p, SIZE_MAX), -ATOLL_ESIGNATURE);
    pair_close(&p);
    /* Numbers that no replica has, and its own. */
    const uint16_t odd[] = {N, 1000, 1};
    for (int i = 0; i < 3; i++) {
        pair_open(&p, 0, 1, 1);
        channel_destroy(p.initiator);
        p.a.role = odd[i];
        struct error e;
        assert_int_equal(channel_connect(&p.a, 1, &p.initiator, &e), 0);
        assert_int_equal(shake(&p, SIZE_MAX), -ATOLL_ESIGNATURE);
        pair_close(&p);
    }
}

static void another_ledger_is_told_apart(void **state)
{
    (void)state;
    struct pair p;
    struct error e;
    pair_open(&p, 0, 1, 1);
    channel_destroy(p.initiator);
    p.a.genesis = other_genesis;
    assert_int_equal(channel_connect(&p.a, 1, &p.initiator, &e), 0);
    assert_int_equal(shake(&p, SIZE_MAX), -ATOLL_EINVAL);
    pair_close(&p);
}

static void every_bit_of_a_handshake_counts(void **state)
{
    (void)state;
    /* 0: the first bytes; 1: the answer; 2: the initiator's signature. */
    for (int step = 0; step < 3; step++) {
        for (size_t bit = 0;; bit++) {
            struct pair p;
            struct heard none = {0};
            struct error e;
            pair_open(&p, 0, 1, 1);
            struct channel *from = step == 1 ? p.responder : p.initiator;
            struct channel *to = step == 1 ? p.initiator : p.responder;
            if (step > 0)
                assert_int_equal(carry(p.initiator, p.responder, SIZE_MAX, &none), 0);
            if (step > 1)
                assert_int_equal(carry(p.responder, p.initiator, SIZE_MAX, &none), 0);
            uint8_t bytes[256];
            size_t len = channel_outgoing(from)->len;
            assert_true(len <= sizeof bytes);
            if (bit == 8 * len) {
                pair_close(&p);
                break;
            }
            memcpy(bytes, channel_outgoing(from)->data, len);
            channel_sent(from, len);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            bool refused =
                channel_receive(to, bytes, len, hear, &none, &e) != 0 || shake(&p, SIZE_MAX) != 0;
            assert_true(refused);
            assert_false(channel_ready(p.initiator) && channel_ready(p.responder));
            pair_close(&p);
        }
    }
}

static void a_message_that_was_touched_left_out_or_repeated_ends_the_channel(void **state)
{
    (void)state;
    for (int what = 0; what < 8 * (4 + 5 + 16) + 2; what++) {
        struct pair p;
        struct error e;
        uint8_t bytes[64];
        pair_open(&p, 0, 1, 1);
        assert_int_equal(shake(&p, SIZE_MAX), 0);
        assert_int_equal(say(p.initiator, "hello"), 0);
        size_t len = channel_outgoing(p.initiator)->len;
        assert_int_equal(len, 4 + 5 + 16);
        memcpy(bytes, channel_outgoing(p.initiator)->data, len);
        channel_sent(p.initiator, len);
        if (what == 8 * (int)len) { /* repeated */
            assert_int_equal(channel_receive(p.responder, bytes, len, hear, &p.at_responder, &e),
                             0);
        } else if (what == 8 * (int)len + 1) { /* left out */
            assert_int_equal(say(p.initiator, "hello"), 0);
            memcpy(bytes, channel_outgoing(p.initiator)->data, len);
        } else {
            bytes[what / 8] ^= (uint8_t)(1u << what % 8);
        }
        unsigned before = p.at_responder.count;
        int rc = channel_receive(p.responder, bytes, len, hear, &p.at_responder, &e);
        /* A longer length waits for more, which then does not open. */
        static uint8_t rest[LEDGER_MESSAGE_MAX];
        if (rc == 0)
            rc = channel_receive(p.responder, rest, sizeof rest, hear, &p.at_responder, &e);
        assert_true(rc == -ATOLL_ESIGNATURE || rc == -ATOLL_ELIMIT);
        assert_int_equal(p.at_responder.count, before);
        assert_int_equal(channel_receive(p.responder, bytes, 1, hear, &p.at_responder, &e),
                         -ATOLL_ESIGNATURE);
        pair_close(&p);
    }
}

static void room_for_large_messages_is_given_back(void **state)
{
    (void)state;
    static const uint8_t large[LEDGER_MESSAGE_MAX];
    const uint16_t roles[] = {CHANNEL_CLIENT, 0};
    for (int k = 0; k < 2; k++) {
        size_t spare = 2 * (k == 0 ? CHANNEL_SPARE : CHANNEL_SPARE_REPLICA);
        struct pair p;
        struct error e;
        struct slice part = slice_of(large, sizeof large);
        pair_open(&p, roles[k], 1, 1);
        assert_int_equal(shake(&p, SIZE_MAX), 0);
        assert_int_equal(channel_send(p.initiator, &part, 1, &e), 0);
        /* What waits counts, sent or half received. */
        assert_true(channel_held(p.initiator) >= sizeof large);
        const struct buffer *out = channel_outgoing(p.initiator);
        size_t half = out->len / 2;
        assert_int_equal(channel_receive(p.responder, out->data, half, hear, &p.at_responder, &e),
                         0);
        assert_true(channel_held(p.responder) >= half);
        channel_sent(p.initiator, half);
        assert_int_equal(carry(p.initiator, p.responder, SIZE_MAX, &p.at_responder), 0);
        assert_int_equal(p.at_responder.count, 1);
        assert_true(channel_held(p.responder) <= spare);
        assert_true(channel_held(p.initiator) <= 2 * CHANNEL_SPARE_REPLICA);
        pair_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_and_clients_talk_both_ways_in_pieces_of_any_size),
        cmocka_unit_test(the_largest_message_passes_and_a_larger_one_is_refused),
        cmocka_unit_test(who_is_not_the_replica_it_says_is_refused),
        cmocka_unit_test(another_ledger_is_told_apart),
        cmocka_unit_test(every_bit_of_a_handshake_counts),
        cmocka_unit_test(a_message_that_was_touched_left_out_or_repeated_ends_the_channel),
        cmocka_unit_test(room_for_large_messages_is_given_back),
    };
    return cmocka_run_group_tests_name("ledger_channel", tests, keys_make, keys_drop);
}
