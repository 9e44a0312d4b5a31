/*
 * Hostile strangers, clients and a hostile replica against a ledger of processes, one kind of
 * attack after the other. While each goes on and after it an honest client must be served, every
 * honest replica must run, and none may have grown beyond a bound.
 *
 *   ledger-hostile ATOLL DIRECTORY [MIB]
 *
 * Replica 3 of four is never started: the hostile one has its key and connects in its place. MIB:
 * the bound of every replica's memory (default 768).
 */
#define _GNU_SOURCE
#include "base/random.h"
#include "cli/ledger/cluster.h"
#include "cli/ledger/load.h"
#include "ledger/object/message.h"
#include "ledger/object/request.h"
#include "ledger/service/address.h"
#include "ledger/service/channel.h"
#include "net/http_client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPLICAS 4u
#define HONEST   3u
#define CROWD    2000u
#define SERVED   200u /* calls that the honest clients must get answered after an attack */

struct stage {
    struct cluster cluster;
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    struct channel_identity as_client, as_replica;
    struct secret *replica_key, *client_key;
    struct load *load;
    uint64_t memory_max_kib;
    unsigned test;
    bool failed;
};

static void nap_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* ---- a connection that does as we like ---- */

struct intruder {
    int fd;
    struct channel *channel;
    bool ended; /* the replica closed it */
};

static int dial(const struct stage *t, uint16_t to)
{
    struct sockaddr_storage at;
    struct error e;
    const struct slice *text = &t->genesis.configuration.replicas[to].address;
    if (address_parse((const char *)text->data, text->len, &at, &e) != 0)
        return -1;
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = 2};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (struct sockaddr *)&at, sizeof(struct sockaddr_in)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void message_ignore(void *context, struct slice message)
{
    (void)context;
    (void)message;
}

/* Takes what has come, for `ms`, so that the replica can go on sending. */
static void intruder_drain(struct intruder *i, int ms)
{
    uint8_t room[65536];
    struct error e;
    struct pollfd p = {.fd = i->fd, .events = POLLIN};
    while (!i->ended && poll(&p, 1, ms) > 0) {
        ssize_t got = recv(i->fd, room, sizeof room, MSG_DONTWAIT);
        if (got <= 0 ||
            channel_receive(i->channel, room, (size_t)got, message_ignore, NULL, &e) != 0)
            i->ended = true;
        ms = 0;
    }
}

static void intruder_flush(struct intruder *i)
{
    const struct buffer *out = channel_outgoing(i->channel);
    while (!i->ended && out->len > 0) {
        ssize_t sent = send(i->fd, out->data, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            channel_sent(i->channel, (size_t)sent);
            continue;
        }
        if (sent < 0 && errno != EAGAIN) {
            i->ended = true;
            return;
        }
        struct pollfd p = {.fd = i->fd, .events = POLLOUT | POLLIN};
        if (poll(&p, 1, 2000) <= 0) {
            i->ended = true; /* it does not read any more */
            return;
        }
        intruder_drain(i, 0);
    }
}

static bool intruder_open(const struct stage *t, uint16_t to, bool as_replica, struct intruder *i)
{
    struct error e;
    *i = (struct intruder){.fd = dial(t, to)};
    if (i->fd < 0)
        return false;
    if (channel_connect(as_replica ? &t->as_replica : &t->as_client, to, &i->channel, &e) != 0) {
        close(i->fd);
        return false;
    }
    intruder_flush(i);
    for (int k = 0; k < 50 && !i->ended && !channel_ready(i->channel); k++)
        intruder_drain(i, 100);
    intruder_flush(i);
    if (!i->ended && channel_ready(i->channel))
        return true;
    channel_destroy(i->channel);
    close(i->fd);
    return false;
}

static void intruder_close(struct intruder *i)
{
    intruder_drain(i, 50);
    channel_destroy(i->channel);
    close(i->fd);
}

/* Sends a message, as long as the replica has not had enough of us. */
static void intruder_say(struct intruder *i, struct slice message)
{
    struct error e;
    if (i->ended || channel_send(i->channel, &message, 1, &e) != 0)
        return;
    if (channel_outgoing(i->channel)->len > (256u << 10))
        intruder_flush(i);
}

/* ---- what must hold after every attack ---- */

static uint64_t memory_kib(pid_t pid)
{
    char path[64], line[256];
    uint64_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %" SCNu64, &kib);
    if (f)
        fclose(f);
    return kib;
}

static bool served(struct stage *t)
{
    struct load_counts before, now;
    load_counts(t->load, &before);
    for (int i = 0; i < 300; i++) {
        load_counts(t->load, &now);
        if (now.done >= before.done + SERVED)
            return true;
        nap_ms(100);
    }
    return false;
}

static void verdict(struct stage *t, const char *what)
{
    const char *wrong = NULL;
    uint64_t most = 0;
    if (!served(t))
        wrong = "the honest client is not served";
    for (uint32_t i = 0; i < HONEST; i++) {
        pid_t pid = t->cluster.replicas[i];
        uint64_t kib = memory_kib(pid);
        most = kib > most ? kib : most;
        if (waitpid(pid, NULL, WNOHANG) != 0 || kib == 0)
            wrong = "a replica has ended";
        else if (kib > t->memory_max_kib)
            wrong = "a replica has grown too large";
    }
    printf("%sok %u - the service stands %s\n", wrong ? "not " : "", ++t->test, what);
    printf("# most memory of a replica: %" PRIu64 " MiB%s%s\n", most / 1024, wrong ? "; " : "",
           wrong ? wrong : "");
    fflush(stdout);
    t->failed = t->failed || wrong;
}

/* ---- strangers ---- */

static void attack_garbage(struct stage *t)
{
    uint8_t junk[4096];
    for (unsigned i = 0; i < 300; i++) {
        int fd = dial(t, (uint16_t)(i % HONEST));
        if (fd < 0)
            continue;
        random_bytes(junk, sizeof junk);
        if (i % 3 == 0)
            memcpy(junk, "ATOLLNK1", 8);
        send(fd, junk, 1 + (i * 37) % sizeof junk, MSG_NOSIGNAL);
        close(fd);
    }
    verdict(t, "garbage at its ports");
}

static void attack_half_handshakes(struct stage *t)
{
    static int fds[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = dial(t, (uint16_t)(i % HONEST));
        if (fds[i] >= 0)
            send(fds[i], "ATOLLNK1", i % 9, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    verdict(t, "a crowd that never finishes its handshakes");
    for (unsigned i = 0; i < CROWD; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- clients ---- */

static void attack_announced(struct stage *t)
{
    static struct intruder crowd[96];
    static uint8_t part[6u << 20];
    unsigned count = 0;
    uint32_t announced = LEDGER_MESSAGE_MAX;
    memcpy(part, &announced, sizeof announced);
    for (; count < 96 && intruder_open(t, 0, false, &crowd[count]); count++)
        for (size_t at = 0; at < sizeof part;) {
            ssize_t sent = send(crowd[count].fd, part + at, sizeof part - at, MSG_NOSIGNAL);
            if (sent <= 0)
                break;
            at += (size_t)sent;
        }
    verdict(t, "clients that announce long messages and do not end them");
    while (count > 0)
        intruder_close(&crowd[--count]);
}

static void attack_client_types(struct stage *t)
{
    struct intruder i;
    uint8_t junk[2048];
    if (!intruder_open(t, 0, false, &i))
        return;
    for (unsigned k = 0; k < 4096; k++) {
        random_bytes(junk, sizeof junk);
        junk[0] = (uint8_t)k;
        if (k >= 1024) /* lists of a plausible length */
            memcpy(junk + 1, &(uint32_t){k % 70}, 4);
        intruder_say(&i, slice_of(junk, k % 17 ? k % sizeof junk : 0));
    }
    intruder_flush(&i);
    intruder_close(&i);
    verdict(t, "messages of every type with random bytes, from a client");
}

static void attack_hello(struct stage *t)
{
    static uint8_t keys[LEDGER_HELLO_MAX][ED25519_KEY_LEN];
    struct buffer message = {0};
    for (unsigned c = 0; c < 24; c++) {
        struct intruder i;
        if (!intruder_open(t, 0, false, &i))
            break;
        for (unsigned k = 0; k < 16; k++) {
            random_bytes(keys, sizeof keys);
            message.len = 0;
            ledger_hello_write(&message, keys, LEDGER_HELLO_MAX);
            intruder_say(&i, slice_of_buffer(&message));
        }
        intruder_flush(&i);
        intruder_close(&i);
    }
    buffer_free(&message);
    verdict(t, "clients that listen for keys without end");
}

/* A request, signed unless `forged`. */
static void request_make(const struct stage *t, uint64_t reqno, uint64_t min_index, bool forged,
                         struct buffer *message)
{
    struct buffer fields = {0}, body = {0};
    struct ledger_message_writer w;
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];
    struct ledger_request q = {.reqno = reqno, .min_index = min_index};
    memcpy(q.genesis, t->genesis.hash, HASH_LEN);
    memcpy(q.client, secret_public(t->client_key), ED25519_KEY_LEN);
    ledger_request_encode(&q, &fields);
    ledger_request_hash(slice_of_buffer(&fields), hash);
    secret_sign(t->client_key, hash, sizeof hash, signature);
    signature[forged ? 40 : 63] ^= forged;
    ledger_body_encode_alone(slice_of_buffer(&fields), signature, &body);
    message->len = 0;
    ledger_bodies_begin(&w, message, LEDGER_MESSAGE_REQUEST);
    ledger_bodies_body(&w, slice_of_buffer(&body));
    ledger_message_end(&w);
    buffer_free(&fields);
    buffer_free(&body);
}

static void attack_requests(struct stage *t, const char *what, bool forged, uint64_t min_index,
                            bool replayed)
{
    struct buffer message = {0};
    struct intruder i;
    static uint64_t reqno = 1;
    if (!intruder_open(t, 0, false, &i))
        return;
    for (unsigned k = 0; k < 5000 && !i.ended; k++) {
        reqno += !replayed || k == 0;
        request_make(t, reqno, min_index, forged, &message);
        intruder_say(&i, slice_of_buffer(&message));
        if (k % 100 == 0)
            intruder_drain(&i, 0);
    }
    intruder_flush(&i);
    intruder_close(&i);
    buffer_free(&message);
    verdict(t, what);
}

static void attack_two_signatures(struct stage *t)
{
    struct buffer good = {0}, bad = {0};
    struct intruder i, k;
    bool both = intruder_open(t, 0, false, &i);
    both = both && intruder_open(t, 1, false, &k);
    for (unsigned n = 0; both && n < 1000; n++) {
        request_make(t, 1000000 + n, 0, false, &good);
        request_make(t, 1000000 + n, 0, true, &bad);
        intruder_say(&i, slice_of_buffer(n % 2 ? &good : &bad));
        intruder_say(&i, slice_of_buffer(n % 2 ? &bad : &good));
        intruder_say(&k, slice_of_buffer(&good));
    }
    if (both) {
        intruder_flush(&i);
        intruder_flush(&k);
        intruder_close(&i);
        intruder_close(&k);
    }
    buffer_free(&good);
    buffer_free(&bad);
    verdict(t, "requests with a true and a false signature");
}

/* ---- a replica ---- */

static void attack_peer_types(struct stage *t)
{
    static uint8_t junk[LEDGER_MESSAGE_MAX];
    for (uint16_t to = 0; to < HONEST; to++) {
        struct intruder i;
        if (!intruder_open(t, to, true, &i))
            continue;
        for (unsigned k = 0; k < 4000 && !i.ended; k++) {
            random_bytes(junk, 1024);
            junk[0] = (uint8_t)(k % 64);
            if (k % 2) /* numbers that are small, or nearly 2^64 */
                memset(junk + 1 + k % 8, k % 4 == 1 ? 0 : 255, 64);
            intruder_say(&i, slice_of(junk, k % 1024));
        }
        for (uint8_t type = 0; type < 20 && !i.ended; type++) {
            memset(junk, type % 2 ? 0 : 255, sizeof junk);
            junk[0] = type;
            intruder_say(&i, slice_of(junk, sizeof junk));
        }
        intruder_flush(&i);
        intruder_close(&i);
    }
    verdict(t, "frames of every type with random bytes and of the largest size, from a replica");
}

static void attack_far_future(struct stage *t)
{
    struct buffer message = {0};
    for (uint16_t to = 0; to < HONEST; to++) {
        struct intruder i;
        if (!intruder_open(t, to, true, &i))
            continue;
        for (uint64_t k = 0; k < 20000 && !i.ended; k++) {
            struct ledger_prepare p = {.view = k % 3 ? UINT64_MAX - k : 0,
                                       .seqno = k % 2 ? UINT64_MAX - k : k,
                                       .replica = (uint16_t)(k % 5)};
            struct ledger_commit c = {.view = p.view, .seqno = p.seqno, .replica = p.replica};
            random_bytes(p.signature, sizeof p.signature);
            message.len = 0;
            ledger_prepare_write(&message, &p);
            intruder_say(&i, slice_of_buffer(&message));
            message.len = 0;
            ledger_commit_write(&message, &c);
            intruder_say(&i, slice_of_buffer(&message));
        }
        intruder_flush(&i);
        intruder_close(&i);
    }
    buffer_free(&message);
    verdict(t, "votes of the far future and in others' names, from a replica");
}

static void attack_fetches(struct stage *t)
{
    static const uint64_t numbers[] = {
        0, 1, 2, 1000, UINT64_MAX / 2, UINT64_MAX - 4, UINT64_MAX - 2, UINT64_MAX - 1, UINT64_MAX};
    struct buffer message = {0};
    for (uint16_t to = 0; to < HONEST; to++) {
        struct intruder i;
        if (!intruder_open(t, to, true, &i))
            continue;
        for (unsigned k = 0; k < 30000 && !i.ended; k++) {
            struct ledger_fetch f = {.type = LEDGER_MESSAGE_FETCH_BATCH + k % 6,
                                     .seqno = numbers[k / 6 % 9],
                                     .view = numbers[k / 6 % 9],
                                     .from = k / 6 % 9 == 8 ? 0 : numbers[k / 6 % 9],
                                     .until = UINT64_MAX,
                                     .max_bytes = UINT32_MAX,
                                     .chunk = k};
            message.len = 0;
            ledger_fetch_write(&message, &f);
            intruder_say(&i, slice_of_buffer(&message));
        }
        intruder_flush(&i);
        intruder_close(&i);
    }
    buffer_free(&message);
    verdict(t, "a flood of fetches, from a replica");
}

static void attack_status(struct stage *t)
{
    struct buffer message = {0};
    struct intruder i;
    if (!intruder_open(t, 0, true, &i))
        return;
    for (unsigned k = 0; k < 20000 && !i.ended; k++) {
        uint64_t far = k % 2 ? UINT64_MAX : UINT64_MAX / 2 + k;
        struct ledger_status_message m = {
            .view = far, .vc_sent = far, .last = far, .committed = far, .final_position = far};
        message.len = 0;
        ledger_status_write(&message, &m);
        intruder_say(&i, slice_of_buffer(&message));
    }
    intruder_flush(&i);
    intruder_close(&i);
    buffer_free(&message);
    verdict(t, "a replica that says it is far ahead");
}

/* Two votes of one replica for each of the batches to come. */
static void prepares_contradict(struct stage *t, uint16_t to, const struct cluster_status *status)
{
    struct buffer message = {0};
    struct intruder i;
    uint8_t hash[HASH_LEN];
    if (!intruder_open(t, to, true, &i))
        return;
    for (uint64_t k = 0; k < 1000 && !i.ended; k++) {
        struct ledger_prepare p = {
            .view = status->view, .seqno = status->batch_committed + k / 2, .replica = HONEST};
        memset(p.pp_hash, (int)(1 + k % 2), sizeof p.pp_hash);
        ledger_prepare_hash(&p, hash);
        secret_sign(t->replica_key, hash, HASH_LEN, p.signature);
        message.len = 0;
        ledger_prepare_write(&message, &p);
        intruder_say(&i, slice_of_buffer(&message));
    }
    intruder_flush(&i);
    intruder_close(&i);
    buffer_free(&message);
}

/* What a replica's view answers to a path is 200 and has these words in it. */
static bool view_says(const struct stage *t, uint16_t replica, const char *path, const char *words)
{
    struct http_client *client;
    struct http_client_response response = {0};
    struct url url;
    struct error e;
    char text[128];
    snprintf(text, sizeof text, "http://127.0.0.1:%u%s", t->cluster.http_ports[replica], path);
    if (url_parse(text, &url, &e) != 0 ||
        http_client_create(&(struct http_client_options){.body_max = 1u << 16}, &client, &e) != 0)
        return false;
    const struct http_client_request request = {.method = HTTP_GET, .url = &url};
    bool says = http_client_request(client, &request, &response, &e) == 0 &&
                response.status == 200 &&
                memmem(response.body.data, response.body.len, words, strlen(words)) != NULL;
    http_client_response_free(&response);
    http_client_destroy(client);
    return says;
}

static void attack_two_votes(struct stage *t)
{
    struct cluster_status status;
    struct error e;
    bool kept = view_says(t, 1, "/v1/proofs", "{\"proofs\":[]}"), shown = false;
    for (unsigned i = 0; i < 50 && kept && !shown; i++) {
        if (cluster_status(&t->cluster, 1, &status, &e) == 0)
            prepares_contradict(t, 1, &status);
        shown = view_says(t, 1, "/v1/proofs", "\"name\":\"EQUIV_PREPARE-3.pom\"") &&
                view_says(t, 1, "/v1/proofs/EQUIV_PREPARE-3.pom", "\"blamed\":3");
    }
    shown = shown && !view_says(t, 1, "/v1/proofs/EQUIV_PP-3.pom", "") &&
            !view_says(t, 1, "/v1/proofs/..%2f..%2fgenesis", "");
    verdict(t, "a replica that votes for two things");
    printf("%sok %u - and whoever asks is shown the proof\n", shown ? "" : "not ", ++t->test);
    t->failed = t->failed || !shown;
}

/* ---- all ---- */

static bool stage_open(struct stage *t, const char *program, const char *directory, struct error *e)
{
    char path[640];
    struct ledger_local_settings settings;
    ledger_local_defaults(&settings);
    settings.terms.accounts = 1000;
    settings.terms.checkpoint_interval = 100;
    settings.terms.view_timeout_us = 1000000;
    if (cluster_start(&t->cluster, program, directory, &settings, LEDGER_LOG_ASYNC, e) != 0)
        return false;
    cluster_replica_kill(&t->cluster, HONEST);
    snprintf(path, sizeof path, "%s/replica-%u/replica.key", t->cluster.directory, HONEST);
    if (!buffer_append(&t->genesis_bytes, t->cluster.genesis.data, t->cluster.genesis.len) ||
        ledger_genesis_decode(slice_of_buffer(&t->genesis_bytes), &t->genesis, e) != 0 ||
        secret_read(path, NULL, &t->replica_key, e) != 0 || secret_generate(&t->client_key, e) != 0)
        return false;
    t->as_client = (struct channel_identity){.genesis = t->genesis.hash,
                                             .configuration = &t->genesis.configuration,
                                             .role = CHANNEL_CLIENT};
    t->as_replica = t->as_client;
    t->as_replica.role = HONEST;
    t->as_replica.secret = t->replica_key;
    const struct load_settings wanted = {.genesis = slice_of_buffer(&t->cluster.genesis),
                                         .clients = 2,
                                         .bundle = 1,
                                         .in_flight = 20,
                                         .accounts = 1000,
                                         .seed = 1};
    return load_start(&wanted, &t->load, e) == 0;
}

int main(int argc, char **argv)
{
    static struct stage t;
    struct error e = {0};
    struct rlimit files;
    if (argc < 3)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    t.memory_max_kib = (argc > 3 ? (uint64_t)atoi(argv[3]) : 768) << 10;
    if (!stage_open(&t, argv[1], argv[2], &e)) {
        printf("not ok 1 - three replicas start\n# %s\n", e.text);
        cluster_stop(&t.cluster, false);
        return 1;
    }
    verdict(&t, "three replicas of four");
    attack_garbage(&t);
    attack_half_handshakes(&t);
    attack_announced(&t);
    attack_client_types(&t);
    attack_hello(&t);
    attack_requests(&t, "a flood of false signatures", true, 0, false);
    attack_requests(&t, "a flood of requests for the far future", false, UINT64_MAX, false);
    attack_requests(&t, "one request, sent again and again", false, 0, true);
    attack_two_signatures(&t);
    attack_peer_types(&t);
    attack_far_future(&t);
    attack_two_votes(&t);
    attack_status(&t);
    attack_fetches(&t);
    uint64_t left = load_stop(t.load, 20000, NULL);
    printf("%sok %u - every honest call was answered\n1..%u\n", left ? "not " : "", t.test + 1,
           t.test + 1);
    cluster_stop(&t.cluster, false);
    buffer_free(&t.genesis_bytes);
    secret_destroy(t.replica_key);
    secret_destroy(t.client_key);
    return t.failed || left;
}
