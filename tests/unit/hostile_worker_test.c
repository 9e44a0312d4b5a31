/*
 * A real supervisor with hostile workers: this program is the supervisor's executable, so it is
 * also what the supervisor starts as a worker. A worker serves calls well until a call's input
 * names one of the misdeeds below. Nothing but that worker may be harmed: after each misdeed the
 * node and another tenant's function answer.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "own_address.h"

#include "base/clock.h"
#include "node/config.h"
#include "node/link.h"
#include "node/node.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSIONS    16u /* numbers that the node's versions have */
#define FOREIGN_APP 0xdeadbeefull
#define FLOOD       200000u
#define HUGE_BYTES  (1ull << 42)
#define ANSWER_MAX  (1u << 20)
#define GROWTH_MAX  (256u << 10) /* KiB that a misdeed may cost the supervisor */
#define FILES_MAX   10000u       /* descriptors that it may cost it */
#define SOCKETS     30000u
#define LINK_FIRST  3
#define PATIENCE_MS 20000

/* ---- the worker ---- */

static struct link line;
static uint32_t own_version; /* of the tenant's function */
static uint64_t random_state = 88172645463325252ull;

static uint64_t any(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void say(struct message *m, const int *fds, uint32_t count)
{
    struct error e;
    if (link_send_wait(&line, m, fds, count, &e) < 0)
        exit(3);
}

static int sealed_file(uint64_t size, unsigned seals)
{
    int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ftruncate(fd, (off_t)size) < 0)
        exit(4);
    fcntl(fd, F_ADD_SEALS, seals);
    return fd;
}

static void result_say(uint64_t id, const char *output)
{
    struct message m = {.header = {.kind = MESSAGE_RESULT, .id = id},
                        .result.status = CALL_OK,
                        .parts = {NULL, NULL, (const uint8_t *)output},
                        .part_len = {0, 0, (uint32_t)strlen(output)}};
    say(&m, NULL, 0);
}

static void result_by_file(uint64_t id, int fd, uint64_t len)
{
    struct message m = {
        .header = {.kind = MESSAGE_RESULT, .id = id},
        .result = {.status = CALL_OK, .output_fd = 1, .output_len = len},
    };
    say(&m, &fd, 1);
    close(fd);
}

static void request_say(uint64_t id, uint32_t kind, uint64_t call, const void *payload,
                        uint32_t len)
{
    struct message m = {.header = {.kind = MESSAGE_REQUEST, .id = id},
                        .request = {.kind = kind, .call = call, .version = own_version},
                        .parts = {payload},
                        .part_len = {len}};
    say(&m, NULL, 0);
}

static void garbage(uint64_t id)
{
    (void)id;
    uint64_t *record = ring_reserve(&line.out, 256);
    for (int k = 0; k < 32; k++)
        record[k] = any();
    ring_publish(&line.out);
}

static void counters(uint64_t id)
{
    (void)id;
    atomic_store(&line.out.header->head, 12345);
    ring_wake(&line.out);
}

static void images_of_others(uint64_t id)
{
    for (uint64_t v = 0; v < VERSIONS; v++) {
        int fd = sealed_file(4096, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
        struct message m = {
            .header = {.kind = MESSAGE_LOADED, .id = v},
            .loaded = {.image_bytes = 4096, .has_image = 1, .stage = v % 2 ? LOAD_IMAGE : LOAD_OK}};
        say(&m, &fd, 1);
        close(fd);
    }
    result_say(id, "done");
}

static void tales_of_others(uint64_t id)
{
    for (uint32_t v = 0; v < VERSIONS; v++) {
        struct message child = {
            .header = {.kind = MESSAGE_CHILD, .id = any()},
            .child = {.app = FOREIGN_APP, .version = v, .status = CALL_OK, .queue_ns = UINT64_MAX}};
        struct message metric = {.header = {.kind = MESSAGE_METRIC},
                                 .metric = {.value = 1, .version = v},
                                 .parts = {(const uint8_t *)"evil"},
                                 .part_len = {4}};
        struct message log = {.header = {.kind = MESSAGE_LOG, .id = any()},
                              .log = {.version = v},
                              .parts = {(const uint8_t *)"\0\xff\n"},
                              .part_len = {3}};
        struct message tally = {.header = {.kind = MESSAGE_TALLY, .id = v},
                                .tally = {.active = UINT32_MAX, .queue_ns = UINT64_MAX}};
        say(&child, NULL, 0);
        say(&metric, NULL, 0);
        say(&log, NULL, 0);
        say(&tally, NULL, 0);
    }
    for (uint64_t other = id - 64; other < id; other++)
        result_say(other, "forged");
    result_say(id, "done");
}

static void fifo_as_output(uint64_t id)
{
    int ends[2];
    if (pipe(ends) == 0)
        result_by_file(id, ends[0], 100000);
}

static void file_that_shrinks(uint64_t id)
{
    int fd = sealed_file(1 << 20, 0), same = dup(fd);
    result_by_file(id, fd, 1 << 20);
    (void)!ftruncate(same, 0);
}

static void endless_output(uint64_t id)
{
    result_by_file(id, sealed_file(HUGE_BYTES, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW),
                   HUGE_BYTES);
}

static void flood(uint32_t kind, const char *payload)
{
    for (uint32_t k = 0; k < FLOOD; k++)
        request_say(k + 1, kind, 1, payload, (uint32_t)strlen(payload));
}

static void answers_never_read(uint64_t id)
{
    flood(REQUEST_FILE_LIST, "");
    flood(REQUEST_RESOLVE, "bad/function");
    result_say(id, "done");
}

static void names_of_hosts(uint64_t id)
{
    for (uint32_t k = 0; k < 2000; k++)
        request_say(k + 1, REQUEST_LOOKUP, 1, "localhost", 9);
    result_say(id, "done");
}

static void names_of_others(uint64_t id)
{
    flood(REQUEST_RESOLVE, "good/function");
    result_say(id, "done");
}

static void calls_of_others(uint64_t id)
{
    for (uint32_t v = 0; v < VERSIONS; v++) {
        struct message_call call = {.version = v, .depth = UINT32_MAX, .deadline_ns = INT64_MIN};
        request_say(v + 1, REQUEST_CALL, id, &call, sizeof call);
        request_say(v + 1, REQUEST_CALL_ENDED, any(), NULL, 0);
        uint64_t wild = any();
        request_say(0, REQUEST_CANCEL, id, &wild, sizeof wild);
    }
    result_say(id, "done");
}

/* Well-formed heads with any operation, slots never opened, and numbers from anywhere. */
static void state_of_nobody(uint64_t id)
{
    uint8_t request[80 + 16];
    static const uint64_t edges[] = {0, 1, 4095, 65536, UINT32_MAX, 1ull << 63, UINT64_MAX};
    for (uint32_t k = 0; k < 20000; k++) {
        memset(request, 0, sizeof request);
        request[0] = (uint8_t)(1 + any() % 19);
        uint32_t key = any() % 2 ? 8 : 0;
        request[2] = (uint8_t)key;
        store_u32(request + 4, (uint32_t)(any() % 2 ? any() & 255 : 0));
        store_u32(request + 8, (uint32_t)edges[any() % 7]);
        store_u32(request + 12, (uint32_t)edges[any() % 7]);
        for (uint32_t at = 16; at < 64; at += 8)
            store_u64(request + at, any() % 2 ? edges[any() % 7] : 0);
        memcpy(request + 80, any() % 2 ? "@good/xy" : "anything", 8);
        /* Nonsense is met with death; this worker means to live, so half of the fields are zero. */
        request_say(k + 1, REQUEST_STATE, 1 + any() % 8, request, 80 + key);
    }
    result_say(id, "done");
}

/* ---- the network ---- */

struct target {
    uint32_t version;
    uint8_t payload[MESSAGE_CONNECT_LEN];
    uint32_t len;
};

static struct target target_of(const char *host, unsigned to_port)
{
    struct target t = {.version = own_version,
                       .payload = {4, 1, (uint8_t)to_port, (uint8_t)(to_port >> 8)},
                       .len = MESSAGE_CONNECT_LEN};
    inet_pton(AF_INET, host, t.payload + 4);
    return t;
}

static void target_ask(uint64_t id, const struct target *t)
{
    struct message m = {
        .header = {.kind = MESSAGE_REQUEST, .id = id},
        .request = {.kind = REQUEST_CONNECT, .call = 1, .version = t->version},
        .parts = {t->payload},
        .part_len = {t->len},
    };
    say(&m, NULL, 0);
}

/* What the supervisor says to it; *fd is -1 or the socket. */
static int64_t target_try(const struct target *t, int *fd)
{
    struct error e;
    struct message m;
    int fds[MESSAGE_FDS_MAX], rc;
    target_ask(77, t);
    for (;;) {
        uint32_t seen = ring_signal(&line.in);
        while ((rc = link_receive(&line, &m, fds, &e)) > 0) {
            bool ours = m.header.kind == MESSAGE_ANSWER && m.header.id == 77;
            *fd = ours && m.header.fds ? fds[0] : -1;
            for (uint32_t k = ours; k < m.header.fds; k++)
                close(fds[k]);
            if (ours)
                return m.answer.result;
        }
        if (rc < 0)
            exit(7);
        ring_wait(&line.in, seen, 100000000);
    }
}

/* Whether the peer greets. */
static bool socket_greeted(int fd)
{
    char byte = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PATIENCE_MS) == 1 && recv(fd, &byte, 1, 0) == 1 && byte == '!';
}

static void connections(uint64_t id)
{
    const char *host = getenv("HOSTILE_HOST");
    unsigned open_port = (unsigned)atoi(getenv("HOSTILE_PORT")), refused = 0, tried = 0;
    int fd;
    struct target good = target_of(host, open_port);
    struct target bad[VERSIONS + 12] = {
        target_of("127.0.0.1", open_port), /* though the manifest names it */
        target_of("169.254.169.254", 80),
        target_of("0.0.0.0", open_port),
        target_of("8.8.8.8", open_port),
        target_of(host, open_port + 1),
        target_of(host, 0),
    };
    uint32_t count = 6;
    bad[count] = good;
    bad[count++].len--;
    bad[count] = good;
    bad[count++].payload[0] = 9;
    bad[count] = good;
    bad[count++].payload[1] = 3;
    bad[count] = good;
    bad[count++].version = UINT32_MAX;
    for (uint32_t v = 0; v < VERSIONS; v++) { /* another tenant's manifest allows everything */
        bad[count] = target_of("8.8.8.8", open_port);
        bad[count++].version = v;
    }
    for (; tried < count; tried++) {
        refused += target_try(&bad[tried], &fd) < 0 && fd < 0;
        if (fd >= 0)
            close(fd);
    }
    int64_t rc = target_try(&good, &fd);
    result_say(id, refused != tried      ? "reached what it may not"
                   : rc != 0 || fd < 0   ? "did not reach what it may"
                   : !socket_greeted(fd) ? "was given another socket"
                                         : "as it should be");
    close(fd);
}

/* Sockets that it does not take. */
static void sockets_unread(uint64_t id)
{
    struct target t = target_of(getenv("HOSTILE_HOST"), (unsigned)atoi(getenv("HOSTILE_PORT")));
    t.payload[1] = 2;
    for (uint32_t k = 0; k < SOCKETS; k++)
        target_ask(k + 1, &t);
    result_say(id, "done");
}

static void death(uint64_t id)
{
    (void)id;
    kill(getpid(), SIGSEGV);
}

static const struct misdeed {
    const char *name;
    void (*commit)(uint64_t call);
} misdeeds[] = {
    {"garbage", garbage},
    {"counters", counters},
    {"images of others", images_of_others},
    {"tales of others", tales_of_others},
    {"fifo as output", fifo_as_output},
    {"file that shrinks", file_that_shrinks},
    {"endless output", endless_output},
    {"answers never read", answers_never_read},
    {"names of hosts", names_of_hosts},
    {"names of others", names_of_others},
    {"calls of others", calls_of_others},
    {"state of nobody", state_of_nobody},
    {"connections", connections},
    {"sockets unread", sockets_unread},
    {"death", death},
};
#define MISDEEDS (sizeof misdeeds / sizeof *misdeeds)

static void call_serve(const struct message *m)
{
    for (size_t k = 0; k < MISDEEDS; k++) {
        size_t len = strlen(misdeeds[k].name);
        if (m->part_len[2] == len && memcmp(m->parts[2], misdeeds[k].name, len) == 0) {
            misdeeds[k].commit(m->header.id);
            return;
        }
    }
    result_say(m->header.id, "served");
}

static int worker_serve(void)
{
    struct error e;
    struct message m;
    int descriptors[LINK_DESCRIPTORS], fds[MESSAGE_FDS_MAX], rc;
    struct message hello = {.header.kind = MESSAGE_HELLO,
                            .hello = {.threads = 1, .instances_max = 1000}};
    for (int k = 0; k < LINK_DESCRIPTORS; k++)
        descriptors[k] = LINK_FIRST + k;
    if (link_adopt(descriptors, &line, &e) < 0)
        return 5;
    say(&hello, NULL, 0);
    for (;;) {
        uint32_t seen = ring_signal(&line.in);
        while ((rc = link_receive(&line, &m, fds, &e)) > 0) {
            for (uint32_t k = 0; k < m.header.fds; k++)
                close(fds[k]);
            struct message loaded = {.header = {.kind = MESSAGE_LOADED, .id = m.header.id}};
            if (m.header.kind == MESSAGE_LOAD) {
                own_version = (uint32_t)m.header.id;
                say(&loaded, NULL, 0);
            }
            if (m.header.kind == MESSAGE_CALL)
                call_serve(&m);
            else if (m.header.kind == MESSAGE_STOP)
                return 0;
        }
        struct pollfd gone = {.fd = line.socket, .events = POLLRDHUP};
        if (rc < 0 || poll(&gone, 1, 0) > 0)
            return 6;
        ring_wait(&line.in, seen, 100000000);
    }
}

/* ---- the node ---- */

static char data[] = "/tmp/hostile-XXXXXX";
static pid_t node;
static uint16_t port;

static void node_serve(int url)
{
    static struct node_config config;
    struct node *n;
    struct error e;
    config_default(&config);
    if (config_set(&config, "data", data, &e) < 0 ||
        config_set(&config, "listen", "127.0.0.1:0", &e) < 0 || node_create(&config, &n, &e) < 0) {
        fprintf(stderr, "node: %s\n", e.text);
        _exit(1);
    }
    dprintf(url, "%s\n", node_url(n));
    close(url);
    int status = node_run(n);
    node_destroy(n);
    _exit(status);
}

static char answer[ANSWER_MAX];

/* The status of the answer, whose text is in `answer`; 0 when there is none. */
static int ask(const char *method, const char *path, const char *type, const void *body, size_t len)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char head[512];
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int64_t until = clock_monotonic_ns() + PATIENCE_MS * 1000000ll;
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    int head_len = snprintf(head, sizeof head,
                            "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                            "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                            method, path, type, len);
    assert_int_equal(send(s, head, (size_t)head_len, MSG_NOSIGNAL), head_len);
    if (len)
        assert_int_equal(send(s, body, len, MSG_NOSIGNAL), len);
    size_t have = 0;
    for (ssize_t got = 1; got > 0 && have < sizeof answer - 1;
         have += (size_t)(got > 0 ? got : 0)) {
        struct pollfd p = {.fd = s, .events = POLLIN};
        int64_t left = (until - clock_monotonic_ns()) / 1000000;
        if (left <= 0 || poll(&p, 1, (int)left) <= 0)
            break;
        got = recv(s, answer + have, sizeof answer - 1 - have, 0);
    }
    close(s);
    answer[have] = 0;
    return have > 12 ? atoi(answer + 9) : 0;
}

static int call(const char *tenant, const char *input)
{
    char path[128];
    snprintf(path, sizeof path, "/v1/fn/%s/function?timeout=2s", tenant);
    return ask("POST", path, "application/octet-stream", input, strlen(input));
}

static void deploy(const char *tenant, const char *net)
{
    /* (module (memory 1) (func (export "atoll_main") (result i32) i32.const 0)) */
    static const uint8_t module[] = "\0asm\1\0\0\0\1\5\1\x60\0\1\x7f\3\2\1\0\5\3\1\0\1\7\x0e\1\x0a"
                                    "atoll_main\0\0\x0a\6\1\4\0\x41\0\x0b";
    char path[128], form[1024];
    int len = snprintf(form, sizeof form,
                       "--b\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n"
                       "{\"name\":\"%s/function\",\"net\":[%s]}\r\n"
                       "--b\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\n",
                       tenant, net);
    memcpy(form + len, module, sizeof module - 1);
    len += (int)sizeof module - 1;
    len += snprintf(form + len, sizeof form - (size_t)len, "\r\n--b--\r\n");
    snprintf(path, sizeof path, "/v1/functions/%s/function", tenant);
    int status = ask("PUT", path, "multipart/form-data; boundary=b", form, (size_t)len);
    if (status != 201)
        fail_msg("deploying for %s: %s", tenant, answer);
}

static uint64_t resident_kib(void)
{
    char path[64], text[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", node);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(text, sizeof text, file))
        (void)!sscanf(text, "VmRSS: %lu", &kib);
    fclose(file);
    return kib;
}

/* ---- somebody on the network ---- */

static int listener = -1;
static atomic_uint visitors;

static void *listener_run(void *unused)
{
    (void)unused;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        atomic_fetch_add(&visitors, 1);
        (void)!send(fd, "!", 1, MSG_NOSIGNAL);
        close(fd);
    }
}

/* At all addresses of this machine; tells workers where by their environment. */
static void listener_start(void)
{
    static pthread_t thread;
    struct sockaddr_in any = {.sin_family = AF_INET};
    socklen_t len = sizeof any;
    char host[INET_ADDRSTRLEN] = "10.0.0.1", text[16];
    (void)own_address(host); /* where there is none, the test that needs it is left out */
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&any, len) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&any, &len) < 0)
        exit(8);
    snprintf(text, sizeof text, "%u", ntohs(any.sin_port));
    setenv("HOSTILE_HOST", host, 1);
    setenv("HOSTILE_PORT", text, 1);
    pthread_create(&thread, NULL, listener_run, NULL);
}

static int node_start(void **state)
{
    (void)state;
    int ends[2];
    char url[128] = "", net[512];
    listener_start();
    if (!mkdtemp(data) || pipe(ends) < 0)
        return -1;
    node = fork();
    if (node == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[0]);
        int log = open("/dev/null", O_WRONLY);
        dup2(log, 2);
        node_serve(ends[1]);
    }
    close(ends[1]);
    (void)!read(ends[0], url, sizeof url - 1);
    close(ends[0]);
    const char *colon = strrchr(url, ':');
    port = (uint16_t)(colon ? atoi(colon + 1) : 0);
    if (!port)
        return -1;
    deploy("good", "{\"host\":\"0.0.0.0/0\"}");
    snprintf(net, sizeof net,
             "{\"host\":\"%s\",\"port\":%s},{\"host\":\"127.0.0.1\"},{\"host\":\"localhost\"},"
             "{\"host\":\"0.0.0.0\"},{\"host\":\"169.254.169.254\"}",
             getenv("HOSTILE_HOST"), getenv("HOSTILE_PORT"));
    deploy("bad", net);
    return 0;
}

static int node_end(void **state)
{
    (void)state;
    int status = -1;
    char command[128];
    kill(node, SIGTERM);
    waitpid(node, &status, 0);
    snprintf(command, sizeof command, "rm -rf %s", data);
    (void)!system(command);
    return status;
}

/* ---- the tests ---- */

static void nothing_but_the_worker_is_harmed(void **state)
{
    (void)state;
    for (size_t k = 0; k < MISDEEDS; k++) {
        uint64_t before = resident_kib();
        int status = call("bad", misdeeds[k].name);
        if (status == 0)
            fail_msg("%s: the call was not answered", misdeeds[k].name);
        if (call("good", "x") != 200 || !strstr(answer, "served"))
            fail_msg("after %s: %s", misdeeds[k].name, answer);
        if (resident_kib() > before + GROWTH_MAX)
            fail_msg("%s cost %u MiB", misdeeds[k].name,
                     (unsigned)((resident_kib() - before) >> 10));
        int64_t until = clock_monotonic_ns() + PATIENCE_MS * 1000000ll;
        while (call("bad", "x") != 200) { /* it is started again, after a while */
            if (clock_monotonic_ns() > until)
                fail_msg("after %s its tenant has no worker: %s", misdeeds[k].name, answer);
            usleep(100000);
        }
    }
}

static void a_worker_makes_no_images_for_others(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "%s/images", data);
    call("bad", "images of others");
    usleep(200000);
    unsigned found = 0;
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        found += entry->d_name[0] != '.';
    if (folder)
        closedir(folder);
    assert_in_range(found, 0, 1); /* of its own function it may */
}

static void a_worker_tells_nothing_about_others(void **state)
{
    (void)state;
    char path[64];
    call("bad", "tales of others");
    snprintf(path, sizeof path, "/v1/calls/%016llx/graph", (unsigned long long)FOREIGN_APP);
    assert_int_equal(ask("GET", path, "text/plain", "", 0), 404);
    assert_int_equal(ask("GET", "/metrics", "text/plain", "", 0), 200);
    for (char *at = answer; (at = strstr(at, "evil")); at++) {
        char *end = strchr(at, '\n');
        if (end)
            *end = 0;
        assert_null(strstr(at, "good"));
        if (end)
            *end = '\n';
    }
}

static void a_worker_reaches_what_functions_of_its_tenant_may_and_nothing_else(void **state)
{
    (void)state;
    char host[INET_ADDRSTRLEN];
    if (!own_address(host))
        skip();
    unsigned before = atomic_load(&visitors);
    assert_int_equal(call("bad", "connections"), 200);
    if (!strstr(answer, "as it should be"))
        fail_msg("the worker %s", strstr(answer, "\r\n\r\n"));
    assert_int_equal(atomic_load(&visitors), before + 1);
}

/* ---- descriptors ---- */

static atomic_bool counting;

static void *files_count(void *most)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", node);
    while (atomic_load(&counting)) {
        unsigned found = 0;
        DIR *folder = opendir(path);
        while (folder && readdir(folder))
            found++;
        if (folder)
            closedir(folder);
        if (found > *(unsigned *)most)
            *(unsigned *)most = found;
        usleep(1000);
    }
    return NULL;
}

static void sockets_that_a_worker_does_not_take_are_limited(void **state)
{
    (void)state;
    pthread_t thread;
    unsigned most = 0;
    atomic_store(&counting, true);
    pthread_create(&thread, NULL, files_count, &most);
    call("bad", "sockets unread");
    usleep(200000);
    atomic_store(&counting, false);
    pthread_join(thread, NULL);
    assert_in_range(most, 1, FILES_MAX);
    assert_int_equal(call("good", "x"), 200);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_but_the_worker_is_harmed),
        cmocka_unit_test(a_worker_makes_no_images_for_others),
        cmocka_unit_test(a_worker_tells_nothing_about_others),
        cmocka_unit_test(a_worker_reaches_what_functions_of_its_tenant_may_and_nothing_else),
        cmocka_unit_test(sockets_that_a_worker_does_not_take_are_limited),
    };
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return worker_serve();
    setenv("ATOLL_CC", ATOLL_CC, 0);
    return cmocka_run_group_tests(tests, node_start, node_end);
}
