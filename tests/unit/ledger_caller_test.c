/* A client's process beside replicas that do as the test says (src/ledger/service/caller): who
 * never answers, stops in the middle of a message, or goes away. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/object/message.h"
#include "ledger/service/caller.h"
#include "ledger/service/channel.h"
#include "ledger/service/local.h"
#include "ledger_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define N         4
#define PROC_NOOP 0

static uv_loop_t loop;
static struct secret *keys[N], *members[N], *client_key;
static struct buffer genesis_bytes;
static struct ledger_genesis genesis;
static uint16_t first_port;

/* ---- replicas ---- */

/* The end of a replica, as far as the test wants it. */
struct end {
    struct channel_identity identity;
    int listener, fd;
    struct channel *channel;
    bool mute;          /* takes connections, and says nothing */
    unsigned connected; /* connections so far */
    unsigned hellos, requests, bundles;
};

static struct end ends[N];

static void end_listen(struct end *p, uint16_t number)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(first_port + number)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    *p = (struct end){.identity = {genesis.hash, &genesis.configuration, number, keys[number]},
                      .listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                      .fd = -1};
    setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->listener, 8), 0);
}

static void end_hang_up(struct end *p)
{
    channel_destroy(p->channel);
    p->channel = NULL;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static void end_close(struct end *p)
{
    end_hang_up(p);
    if (p->listener >= 0)
        close(p->listener);
    p->listener = -1;
}

static void end_hears(void *context, struct slice message)
{
    struct end *p = context;
    unsigned type = ledger_message_type(message);
    p->hellos += type == LEDGER_MESSAGE_HELLO;
    p->requests += type == LEDGER_MESSAGE_REQUEST;
    p->bundles += type == LEDGER_MESSAGE_BUNDLE;
}

static void end_accept(struct end *p)
{
    struct error e;
    int fd = p->listener >= 0 ? accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
    if (fd < 0)
        return;
    end_hang_up(p);
    p->fd = fd;
    p->connected++;
    if (!p->mute)
        assert_int_equal(channel_accept(&p->identity, &p->channel, &e), 0);
}

static void end_flush(struct end *p)
{
    const struct buffer *out = channel_outgoing(p->channel);
    ssize_t sent = out->len ? send(p->fd, out->data, out->len, MSG_NOSIGNAL) : 0;
    if (sent > 0)
        channel_sent(p->channel, (size_t)sent);
}

static void end_pump(struct end *p)
{
    static uint8_t bytes[1u << 16];
    struct error e;
    end_accept(p);
    if (p->channel == NULL)
        return;
    ssize_t got = recv(p->fd, bytes, sizeof bytes, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN) ||
        (got > 0 && channel_receive(p->channel, bytes, (size_t)got, end_hears, p, &e) != 0))
        end_hang_up(p);
    else
        end_flush(p);
}

/* ---- the client ---- */

static struct caller *caller;
static unsigned finished_count;
static int finished_result;
static bool caller_is_closed;

static void finished(void *context, const struct ledger_outcome *o)
{
    (void)context;
    finished_count++;
    finished_result = o->result;
}

static void caller_begin(uint64_t deadline_us, struct ledger_receipt_store *store)
{
    struct error e;
    const struct caller_settings settings = {.genesis = slice_of_buffer(&genesis_bytes),
                                             .identities = 1,
                                             .keys = &client_key,
                                             .store = store,
                                             .retry_us = 30000000, /* never, here */
                                             .bundle_max = 4,
                                             .deadline_us = deadline_us,
                                             .finished = finished};
    finished_count = 0;
    caller_is_closed = false;
    assert_int_equal(caller_open(&loop, &settings, &caller, &e), 0);
}

static void caller_ended(void *context)
{
    (void)context;
    caller_is_closed = true;
}

static void caller_end(void)
{
    caller_close(caller, caller_ended, NULL);
    while (!caller_is_closed)
        uv_run(&loop, UV_RUN_ONCE);
}

static int call(uint64_t *reqno)
{
    struct error e;
    return ledger_client_call(caller_client(caller), 0, PROC_NOOP, slice_of(NULL, 0), NULL, reqno,
                              &e);
}

static void turn(void)
{
    for (unsigned i = 0; i < N; i++)
        end_pump(&ends[i]);
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(1000);
}

#define UNTIL(condition) TURN_UNTIL(condition, turn())

static int group_setup(void **state)
{
    struct ledger_local_settings s;
    struct genesis_draft *draft;
    struct error e;
    (void)state;
    ledger_local_defaults(&s);
    first_port = ledger_local_ports(N);
    if (first_port == 0 || uv_loop_init(&loop) != 0 || secret_generate(&client_key, &e) != 0 ||
        genesis_draft_create(&s.terms, &draft, &e) != 0)
        return -1;
    for (unsigned i = 0; i < N; i++) {
        char address[32];
        snprintf(address, sizeof address, "127.0.0.1:%u", first_port + i);
        if (secret_generate(&keys[i], &e) != 0 || secret_generate(&members[i], &e) != 0 ||
            genesis_draft_add(draft, slice_of(address, strlen(address)), secret_public(keys[i]),
                              slice_of("m", 1), secret_public(members[i]), &e) != 0)
            return -1;
    }
    int rc = genesis_draft_encode(draft, &genesis_bytes, &e);
    genesis_draft_destroy(draft);
    return rc ? rc : ledger_genesis_decode(slice_of_buffer(&genesis_bytes), &genesis, &e);
}

static int group_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++) {
        secret_destroy(keys[i]);
        secret_destroy(members[i]);
    }
    secret_destroy(client_key);
    buffer_free(&genesis_bytes);
    return uv_loop_close(&loop);
}

static int setup(void **state)
{
    (void)state;
    for (uint16_t i = 0; i < N; i++)
        end_listen(&ends[i], i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++)
        end_close(&ends[i]);
    return 0;
}

/* ---- the tests ---- */

static void calls_made_before_a_connection_stands_are_sent_once_it_does(void **state)
{
    (void)state;
    uint64_t reqno;
    caller_begin(0, NULL);
    assert_int_equal(call(&reqno), 0);
    assert_int_equal(caller_connected(caller), 0);
    UNTIL(caller_connected(caller) == N);
    UNTIL(ends[0].requests == 1);
    for (unsigned i = 0; i < N; i++)
        UNTIL(ends[i].hellos == 1);
    for (unsigned i = 1; i < N; i++)
        assert_int_equal(ends[i].requests, 0); /* they only listen */
    caller_end();
}

static void a_call_that_no_replica_answers_ends_at_its_deadline(void **state)
{
    (void)state;
    uint64_t reqno;
    caller_begin(200000, NULL);
    assert_int_equal(call(&reqno), 0);
    UNTIL(finished_count == 1);
    assert_int_equal(finished_result, -ATOLL_ETIMEDOUT);
    caller_end();
}

static void replicas_that_take_connections_and_say_nothing_hold_up_only_themselves(void **state)
{
    (void)state;
    uint64_t reqno;
    ends[1].mute = ends[2].mute = true;
    caller_begin(300000, NULL);
    UNTIL(caller_connected(caller) == 2);
    assert_int_equal(call(&reqno), 0);
    UNTIL(ends[0].requests == 1);
    UNTIL(finished_count == 1);
    assert_int_equal(finished_result, -ATOLL_ETIMEDOUT);
    caller_end();
}

static void a_client_of_a_ledger_that_is_not_there_can_be_closed(void **state)
{
    (void)state;
    uint64_t reqno;
    for (unsigned i = 0; i < N; i++)
        end_close(&ends[i]);
    caller_begin(0, NULL);
    assert_int_equal(call(&reqno), 0);
    for (unsigned i = 0; i < 100; i++)
        turn();
    assert_int_equal(caller_connected(caller), 0);
    caller_end();
    assert_int_equal(finished_count, 0); /* forgotten without a word */
}

static void a_replica_that_stops_in_the_middle_of_a_message_is_connected_to_anew(void **state)
{
    (void)state;
    static const uint8_t text[100];
    struct slice part = slice_of(text, sizeof text);
    struct error e;
    uint64_t reqno;
    caller_begin(0, NULL);
    UNTIL(caller_connected(caller) == N);
    assert_int_equal(call(&reqno), 0);
    UNTIL(ends[0].requests == 1);
    assert_int_equal(channel_send(ends[0].channel, &part, 1, &e), 0);
    const struct buffer *out = channel_outgoing(ends[0].channel);
    assert_int_equal(send(ends[0].fd, out->data, out->len / 2, 0), out->len / 2);
    end_hang_up(&ends[0]);
    UNTIL(caller_connected(caller) == N - 1);
    UNTIL(ends[0].connected == 2 && caller_connected(caller) == N);
    UNTIL(ends[0].requests == 2); /* what was on its way comes again */
    assert_int_equal(finished_count, 0);
    caller_end();
}

static void a_replica_whose_bytes_do_not_open_is_left(void **state)
{
    (void)state;
    uint8_t noise[64] = {16};
    caller_begin(0, NULL);
    UNTIL(caller_connected(caller) == N);
    assert_int_equal(send(ends[3].fd, noise, sizeof noise, 0), sizeof noise);
    UNTIL(ends[3].connected == 2);
    caller_end();
}

static void what_a_lost_primary_owes_is_told_to_the_others_at_once(void **state)
{
    (void)state;
    uint64_t reqno;
    caller_begin(0, NULL);
    UNTIL(caller_connected(caller) == N);
    assert_int_equal(call(&reqno), 0);
    UNTIL(ends[0].requests == 1);
    end_close(&ends[0]);
    for (unsigned i = 1; i < N; i++)
        UNTIL(ends[i].requests == 1);
    /* And so is what is signed from then on. */
    assert_int_equal(call(&reqno), 0);
    for (unsigned i = 1; i < N; i++)
        UNTIL(ends[i].requests == 2);
    assert_int_equal(finished_count, 0);
    caller_end();
}

static void calls_of_one_turn_share_a_signature_as_the_bundle_allows(void **state)
{
    (void)state;
    uint64_t reqno;
    caller_begin(0, NULL);
    UNTIL(caller_connected(caller) == N);
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(call(&reqno), 0);
    UNTIL(ends[0].bundles == 2 && ends[0].requests == 1); /* 4, 4, 1 */
    caller_end();
}

static void a_full_queue_says_so_and_closing_drops_it(void **state)
{
    (void)state;
    uint64_t reqno;
    unsigned taken = 0;
    caller_begin(0, NULL);
    while (taken <= LEDGER_CLIENT_QUEUE_MAX && call(&reqno) == 0)
        taken++;
    assert_int_equal(taken, LEDGER_CLIENT_QUEUE_MAX);
    caller_end();
    assert_int_equal(finished_count, 0);
}

static void numbers_go_on_where_the_store_says_they_ended(void **state)
{
    (void)state;
    char path[] = "/tmp/ledger-caller-XXXXXX";
    struct ledger_receipt_store *store;
    struct error e;
    uint64_t first, second;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    assert_int_equal(ledger_receipt_store_open(path, genesis.hash, &store, &e), 0);
    caller_begin(0, store);
    assert_int_equal(call(&first), 0);
    assert_true(first > UINT64_C(1600000000000000)); /* microseconds since 1970 */
    caller_end();
    ledger_receipt_store_close(store); /* without a sync: the reservation was durable before */
    assert_int_equal(ledger_receipt_store_open(path, genesis.hash, &store, &e), 0);
    uint64_t next = ledger_receipt_store_next(store, secret_public(client_key));
    assert_true(next > first);
    /* The clock does not count where it is behind. */
    next += UINT64_C(1000000000000);
    assert_int_equal(ledger_receipt_store_reserve(store, secret_public(client_key), next, &e), 0);
    caller_begin(0, store);
    assert_int_equal(call(&second), 0);
    assert_int_equal(second, next);
    caller_end();
    ledger_receipt_store_close(store);
    unlink(path);
}

static void settings_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct error e;
    struct caller_settings settings = {.genesis = slice_of_buffer(&genesis_bytes),
                                       .identities = 0,
                                       .keys = &client_key,
                                       .finished = finished};
    assert_int_equal(caller_open(&loop, &settings, &caller, &e), -ATOLL_EINVAL);
    settings.identities = LEDGER_CLIENT_IDENTITIES_MAX + 1;
    assert_int_equal(caller_open(&loop, &settings, &caller, &e), -ATOLL_EINVAL);
    settings.identities = 1;
    settings.bundle_max = LEDGER_CLIENT_WINDOW + 1;
    assert_int_equal(caller_open(&loop, &settings, &caller, &e), -ATOLL_EINVAL);
    settings.bundle_max = 1;
    settings.genesis.len--;
    assert_int_not_equal(caller_open(&loop, &settings, &caller, &e), 0);
    assert_null(caller);
    uv_run(&loop, UV_RUN_DEFAULT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_made_before_a_connection_stands_are_sent_once_it_does),
        TEST(a_call_that_no_replica_answers_ends_at_its_deadline),
        TEST(replicas_that_take_connections_and_say_nothing_hold_up_only_themselves),
        TEST(a_client_of_a_ledger_that_is_not_there_can_be_closed),
        TEST(a_replica_that_stops_in_the_middle_of_a_message_is_connected_to_anew),
        TEST(a_replica_whose_bytes_do_not_open_is_left),
        TEST(what_a_lost_primary_owes_is_told_to_the_others_at_once),
        TEST(calls_of_one_turn_share_a_signature_as_the_bundle_allows),
        TEST(a_full_queue_says_so_and_closing_drops_it),
        TEST(numbers_go_on_where_the_store_says_they_ended),
        cmocka_unit_test(settings_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
