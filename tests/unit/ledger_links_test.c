/* The connections of replicas over the loopback: who is let in, who is put out, what arrives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/service/admission.h"
#include "ledger/service/links.h"
#include "ledger/service/local.h"
#include "ledger_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define N 4

static struct secret *secrets[N];
static uint8_t genesis[HASH_LEN] = {9};
static struct ledger_configuration configuration = {.replica_count = N};
static char addresses[N][32];
static uint16_t first_port;
static uv_loop_t loop;

/* A replica's end, and what it heard. */
struct node {
    struct channel_identity identity;
    struct links *links;
    unsigned messages, gone;
    uint16_t last_peer;
    uint64_t last_client;
    char last[64];
    const char *greeting; /* sent as soon as there is a connection to a replica; NULL: none */
    bool closed;
};

static struct node *open_nodes[N]; /* whose links are flushed when the loop has run */

static void keep(struct node *n, struct slice message)
{
    size_t len = message.len < sizeof n->last ? message.len : sizeof n->last - 1;
    memcpy(n->last, message.data, len);
    n->last[len] = 0;
    n->messages++;
}

static void peer_says(void *context, uint16_t from, struct slice message)
{
    struct node *n = context;
    n->last_peer = from;
    keep(n, message);
}

static void client_says(void *context, uint64_t connection, struct slice message)
{
    struct node *n = context;
    n->last_client = connection;
    keep(n, message);
}

static void client_leaves(void *context, uint64_t connection)
{
    struct node *n = context;
    (void)connection;
    n->gone++;
}

static void peer_comes(void *context, uint16_t number)
{
    struct node *n = context;
    struct slice part = slice_of(n->greeting, n->greeting ? strlen(n->greeting) : 0);
    if (n->greeting)
        links_send(n->links, number, &part, 1);
}

static const struct links_handler handler = {peer_says, client_says, client_leaves, peer_comes};

static int setup(void **state)
{
    struct error e;
    (void)state;
    first_port = ledger_local_ports(N);
    for (unsigned i = 0; i < N; i++) {
        if (secret_generate(&secrets[i], &e) != 0)
            return -1;
        snprintf(addresses[i], sizeof addresses[i], "127.0.0.1:%u", first_port + i);
        configuration.replicas[i] = (struct ledger_node){
            secret_public(secrets[i]), 0, slice_of(addresses[i], strlen(addresses[i]))};
    }
    return first_port == 0 ? -1 : uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N; i++)
        secret_destroy(secrets[i]);
    return uv_loop_close(&loop);
}

static void node_open(struct node *n, uint16_t number)
{
    struct error e;
    *n = (struct node){.identity = {genesis, &configuration, number, secrets[number]}};
    if (links_open(&loop, &n->identity, NULL, &handler, n, &n->links, &e) != 0)
        fail_msg("%s", e.text);
    open_nodes[number] = n;
}

static void node_closed(void *context)
{
    ((struct node *)context)->closed = true;
}

static void node_close(struct node *n)
{
    open_nodes[n->identity.role] = NULL;
    links_close(n->links, node_closed, n);
    n->links = NULL;
    while (!n->closed)
        uv_run(&loop, UV_RUN_ONCE);
}

/* ---- someone at a plain socket ---- */

struct stranger {
    struct channel_identity identity;
    struct channel *channel;
    int fd;
    unsigned heard;
    bool ended; /* the other end closed, or said what does not open */
};

static void stranger_hears(void *context, struct slice message)
{
    struct stranger *s = context;
    (void)message;
    s->heard++;
}

static void stranger_connect(struct stranger *s, uint16_t to)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(first_port + to)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *s = (struct stranger){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(connect(s->fd, (struct sockaddr *)&at, sizeof at), 0);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
}

static void stranger_introduce(struct stranger *s, uint16_t role, uint16_t to)
{
    struct error e;
    s->identity = (struct channel_identity){genesis, &configuration, role,
                                            role == CHANNEL_CLIENT ? NULL : secrets[role]};
    assert_int_equal(channel_connect(&s->identity, to, &s->channel, &e), 0);
}

static void stranger_pump(struct stranger *s)
{
    uint8_t bytes[4096];
    struct error e;
    const struct buffer *out = s->channel ? channel_outgoing(s->channel) : NULL;
    if (out && out->len) {
        ssize_t sent = send(s->fd, out->data, out->len, MSG_NOSIGNAL);
        if (sent > 0)
            channel_sent(s->channel, (size_t)sent);
    }
    ssize_t got = recv(s->fd, bytes, sizeof bytes, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        s->ended = true;
    if (got > 0 && s->channel &&
        channel_receive(s->channel, bytes, (size_t)got, stranger_hears, s, &e) != 0)
        s->ended = true;
}

static void stranger_leave(struct stranger *s)
{
    channel_destroy(s->channel);
    close(s->fd);
}

static void stranger_says(struct stranger *s, const char *text)
{
    struct error e;
    struct slice part = slice_of(text, strlen(text));
    assert_int_equal(channel_send(s->channel, &part, 1, &e), 0);
}

static void turn(struct stranger *pumped)
{
    if (pumped)
        stranger_pump(pumped);
    uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < N; i++) {
        if (open_nodes[i])
            links_flush(open_nodes[i]->links);
    }
}

#define UNTIL(condition, pumped) TURN_UNTIL(condition, (turn(pumped), usleep(1000)))

static void say(struct node *n, uint16_t to, const char *text)
{
    struct slice parts[2] = {slice_of(text, 1), slice_of(text + 1, strlen(text) - 1)};
    links_send(n->links, to, parts, 2);
    links_flush(n->links);
}

static unsigned peers(const struct node *n)
{
    return links_counts(n->links).peers;
}

/* ---- the tests ---- */

static void replicas_find_each_other_and_talk(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 0);
    node_open(&b, 2);
    UNTIL(peers(&a) == 1 && peers(&b) == 1, NULL);
    say(&a, 2, "from a");
    UNTIL(b.messages == 1, NULL);
    assert_string_equal(b.last, "from a");
    assert_int_equal(b.last_peer, 0);
    say(&b, 0, "from b");
    UNTIL(a.messages == 1, NULL);
    assert_int_equal(a.last_peer, 2);
    say(&a, 1, "nobody is there");
    say(&a, 77, "nobody ever is");
    assert_int_equal(links_counts(a.links).dropped, 2);
    node_close(&a);
    node_close(&b);
}

static void what_is_sent_to_a_replica_that_has_just_come_is_the_first_that_it_hears(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 0);
    node_open(&b, 2);
    a.greeting = "first of a";
    b.greeting = "first of b";
    UNTIL(a.messages == 1 && b.messages == 1, NULL);
    assert_string_equal(a.last, "first of b");
    assert_string_equal(b.last, "first of a");
    say(&a, 2, "second");
    UNTIL(b.messages == 2, NULL);
    assert_string_equal(b.last, "second");
    node_close(&a);
    node_close(&b);
}

static void a_replica_that_comes_back_is_connected_to_anew(void **state)
{
    (void)state;
    struct node a, b;
    node_open(&a, 0);
    node_open(&b, 1);
    UNTIL(peers(&a) == 1 && peers(&b) == 1, NULL);
    node_close(&a); /* the one that is dialled */
    UNTIL(peers(&b) == 0, NULL);
    node_open(&a, 0);
    UNTIL(peers(&a) == 1 && peers(&b) == 1, NULL);
    node_close(&b); /* the one that dials */
    UNTIL(peers(&a) == 0, NULL);
    node_open(&b, 1);
    UNTIL(peers(&a) == 1, NULL);
    say(&a, 1, "again");
    UNTIL(b.messages == 1, NULL);
    node_close(&a);
    node_close(&b);
}

static void a_second_connection_of_a_replica_replaces_the_first(void **state)
{
    (void)state;
    struct node a;
    struct stranger first, second;
    node_open(&a, 0);
    stranger_connect(&first, 0);
    stranger_introduce(&first, 3, 0);
    UNTIL(peers(&a) == 1, &first);
    stranger_connect(&second, 0);
    stranger_introduce(&second, 3, 0);
    UNTIL(channel_ready(second.channel) && channel_outgoing(second.channel)->len == 0, &second);
    UNTIL(first.ended, &first);
    assert_int_equal(peers(&a), 1);
    say(&a, 3, "to the second");
    UNTIL(second.heard == 1, &second);
    stranger_leave(&first);
    stranger_leave(&second);
    UNTIL(peers(&a) == 0, NULL);
    node_close(&a);
}

static void a_replica_does_not_let_in_whom_it_should_dial(void **state)
{
    (void)state;
    struct node b;
    struct stranger lower, itself;
    node_open(&b, 1);
    stranger_connect(&lower, 1);
    stranger_introduce(&lower, 0, 1);
    UNTIL(lower.ended, &lower);
    stranger_connect(&itself, 1);
    stranger_introduce(&itself, 1, 1);
    UNTIL(itself.ended, &itself);
    assert_int_equal(peers(&b), 0);
    assert_int_equal(links_counts(b.links).refused, 2);
    stranger_leave(&lower);
    stranger_leave(&itself);
    node_close(&b);
}

static void whoever_speaks_another_protocol_is_put_out(void **state)
{
    (void)state;
    struct node a;
    struct stranger s;
    char request[200];
    node_open(&a, 0);
    memset(request, 'x', sizeof request);
    memcpy(request, "GET / HTTP/1.1\r\n", 16);
    stranger_connect(&s, 0);
    assert_int_equal(send(s.fd, request, sizeof request, 0), sizeof request);
    UNTIL(s.ended, &s);
    assert_int_equal(links_counts(a.links).refused, 1);
    stranger_leave(&s);

    genesis[0] ^= 1; /* of another ledger */
    stranger_connect(&s, 0);
    stranger_introduce(&s, CHANNEL_CLIENT, 0);
    UNTIL(channel_outgoing(s.channel)->len == 0, &s);
    genesis[0] ^= 1;
    UNTIL(s.ended, &s);
    stranger_leave(&s);

    stranger_connect(&s, 0); /* bytes that do not open, behind a good handshake */
    stranger_introduce(&s, CHANNEL_CLIENT, 0);
    UNTIL(links_counts(a.links).clients == 1, &s);
    memset(request, 0, sizeof request);
    request[0] = 10;
    assert_int_equal(send(s.fd, request, sizeof request, 0), sizeof request);
    UNTIL(s.ended, &s);
    assert_int_equal(links_counts(a.links).refused, 3);
    assert_int_equal(links_counts(a.links).clients, 0);
    assert_int_equal(a.gone, 1);
    assert_int_equal(a.messages, 0);
    stranger_leave(&s);
    node_close(&a);
}

static void clients_are_told_apart_and_their_leaving_is_told(void **state)
{
    (void)state;
    struct node a;
    struct stranger one, two;
    node_open(&a, 0);
    stranger_connect(&one, 0);
    stranger_introduce(&one, CHANNEL_CLIENT, 0);
    UNTIL(channel_ready(one.channel), &one);
    stranger_says(&one, "one");
    UNTIL(a.messages == 1, &one);
    uint64_t first = a.last_client;
    stranger_connect(&two, 0);
    stranger_introduce(&two, CHANNEL_CLIENT, 0);
    UNTIL(channel_ready(two.channel), &two);
    stranger_says(&two, "two");
    UNTIL(a.messages == 2, &two);
    assert_int_not_equal(a.last_client, first);
    struct slice answer = slice_of("yes", 3);
    links_reply(a.links, first, &answer, 1);
    links_flush(a.links);
    UNTIL(one.heard == 1, &one);
    assert_int_equal(two.heard, 0);
    stranger_leave(&one);
    UNTIL(a.gone == 1, NULL);
    links_reply(a.links, first, &answer, 1); /* to nobody */
    assert_int_equal(links_counts(a.links).dropped, 1);
    stranger_connect(&one, 0);
    stranger_introduce(&one, CHANNEL_CLIENT, 0);
    UNTIL(channel_ready(one.channel), &one);
    stranger_says(&one, "one is back");
    UNTIL(a.messages == 3, &one);
    assert_int_not_equal(a.last_client, first);
    stranger_leave(&one);
    stranger_leave(&two);
    UNTIL(a.gone == 3, NULL);
    node_close(&a);
}

static void a_client_that_does_not_read_is_put_out(void **state)
{
    (void)state;
    struct node a;
    struct stranger s;
    uint8_t *much = calloc(1, 1u << 20);
    assert_non_null(much);
    struct slice part = slice_of(much, 1u << 20);
    node_open(&a, 0);
    stranger_connect(&s, 0);
    stranger_introduce(&s, CHANNEL_CLIENT, 0);
    UNTIL(channel_ready(s.channel), &s);
    stranger_says(&s, "tell me all");
    UNTIL(a.messages == 1, &s);
    for (int i = 0; i < 64 && a.gone == 0; i++) {
        links_reply(a.links, a.last_client, &part, 1);
        links_flush(a.links);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    UNTIL(a.gone == 1, NULL);
    assert_true(links_counts(a.links).dropped > 0);
    stranger_leave(&s);
    free(much);
    node_close(&a);
}

static void who_connects_too_often_is_turned_away_and_who_is_connected_stays(void **state)
{
    (void)state;
    static int fds[2 * ADMISSION_SOURCE_BURST];
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(first_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct node a, b;
    node_open(&a, 0);
    node_open(&b, 1);
    UNTIL(peers(&a) == 1, NULL);
    for (unsigned i = 0; i < 2 * ADMISSION_SOURCE_BURST; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&at, sizeof at), 0);
        turn(NULL);
    }
    UNTIL(links_counts(a.links).turned_away > 0, NULL);
    say(&b, 0, "still here");
    UNTIL(a.messages == 1, NULL);
    assert_int_equal(peers(&a), 1);
    for (unsigned i = 0; i < 2 * ADMISSION_SOURCE_BURST; i++)
        close(fds[i]);
    node_close(&a);
    node_close(&b);
}

/* With few descriptors there are few places; who was silent longest gives way. */
static void crowds_leave_descriptors_for_replicas_and_files(void **state)
{
    (void)state;
    enum { CLIENTS = 40, PLACES = 24 }; /* 32, of which 8 are for strangers */
    static struct stranger crowd[CLIENTS];
    struct rlimit was, few;
    struct node a, b;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    few = (struct rlimit){LINKS_DESCRIPTORS_KEPT, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    node_open(&a, 0);
    node_open(&b, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    UNTIL(peers(&a) == 1, NULL);
    for (unsigned i = 0; i < CLIENTS; i++) {
        stranger_connect(&crowd[i], 0);
        stranger_introduce(&crowd[i], CHANNEL_CLIENT, 0);
        UNTIL(channel_ready(crowd[i].channel), &crowd[i]);
        assert_true(links_counts(a.links).clients <= PLACES);
    }
    assert_int_equal(links_counts(a.links).clients, PLACES);
    UNTIL(crowd[0].ended, &crowd[0]);
    say(&b, 0, "still here");
    UNTIL(a.messages == 1, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        stranger_leave(&crowd[i]);
    UNTIL(links_counts(a.links).clients == 0, NULL);
    for (unsigned i = 0; i < CLIENTS; i++) /* who says nothing takes no place of a client */
        stranger_connect(&crowd[i], 0);
    for (unsigned i = 0; i < CLIENTS - 8; i++)
        UNTIL(crowd[i].ended, &crowd[i]);
    for (unsigned i = 0; i < CLIENTS; i++)
        stranger_leave(&crowd[i]);
    node_close(&b);
    node_close(&a);
}

/* A name that no look-up knows, without asking anybody: a label of 70 letters is none. */
#define UNKNOWN_HOST "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void a_peer_whose_name_is_not_known_yet_stops_nobody(void **state)
{
    (void)state;
    static const char unknown[] = UNKNOWN_HOST ":7100";
    char named[32];
    struct slice first = configuration.replicas[0].address,
                 second = configuration.replicas[1].address;
    struct node a, c;
    snprintf(named, sizeof named, "localhost:%u", first_port);
    configuration.replicas[0].address = slice_of(named, strlen(named));
    configuration.replicas[1].address = slice_of(unknown, strlen(unknown));
    node_open(&a, 0);
    node_open(&c, 2); /* looks both up */
    UNTIL(peers(&a) == 1 && peers(&c) == 1, NULL);
    say(&c, 0, "found");
    UNTIL(a.messages == 1, NULL);
    node_close(&c); /* in the middle of looking up, perhaps */
    node_close(&a);
    configuration.replicas[0].address = first;
    configuration.replicas[1].address = second;
}

static void an_address_in_use_or_none_at_all_is_refused(void **state)
{
    (void)state;
    struct node a;
    struct links *links;
    struct error e;
    node_open(&a, 0);
    assert_int_equal(links_open(&loop, &a.identity, NULL, &handler, &a, &links, &e),
                     -ATOLL_EUNAVAIL);
    assert_int_equal(links_open(&loop, &a.identity, "nowhere", &handler, &a, &links, &e),
                     -ATOLL_EINVAL);
    assert_int_equal(links_open(&loop, &a.identity, UNKNOWN_HOST ":1", &handler, &a, &links, &e),
                     -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, "is not known"));
    struct slice peer = configuration.replicas[3].address;
    configuration.replicas[3].address = slice_of("nowhere", 7); /* no port: nothing to look up */
    assert_int_equal(links_open(&loop, &a.identity, "127.0.0.1:0", &handler, &a, &links, &e),
                     -ATOLL_EINVAL);
    configuration.replicas[3].address = peer;
    node_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_find_each_other_and_talk),
        cmocka_unit_test(what_is_sent_to_a_replica_that_has_just_come_is_the_first_that_it_hears),
        cmocka_unit_test(a_replica_that_comes_back_is_connected_to_anew),
        cmocka_unit_test(a_second_connection_of_a_replica_replaces_the_first),
        cmocka_unit_test(a_replica_does_not_let_in_whom_it_should_dial),
        cmocka_unit_test(whoever_speaks_another_protocol_is_put_out),
        cmocka_unit_test(clients_are_told_apart_and_their_leaving_is_told),
        cmocka_unit_test(a_client_that_does_not_read_is_put_out),
        cmocka_unit_test(who_connects_too_often_is_turned_away_and_who_is_connected_stays),
        cmocka_unit_test(crowds_leave_descriptors_for_replicas_and_files),
        cmocka_unit_test(a_peer_whose_name_is_not_known_yet_stops_nobody),
        cmocka_unit_test(an_address_in_use_or_none_at_all_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
