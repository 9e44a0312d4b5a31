/*
 * Many clients of a node at once, all asking the function "acts" for random things: calls of every
 * kind, deadlines of a few milliseconds, clients that go away, asynchronous calls that are
 * cancelled. Whatever else happens, a call is answered by its deadline, and rightly.
 *
 *   node-stress PORT CLIENTS SECONDS SEED [chaos]
 *
 * chaos: workers may die meanwhile, so that calls may end as lost. Prints what was counted; ends
 * with 1 when an answer was late, wrong or missing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 256
#define TIMEOUT_MS  20000 /* of calls that have no reason to be late */
#define GRACE_MS    5000  /* an answer that comes so much behind the deadline has not come */
#define ANSWER_MAX  (1u << 20)

struct act {
    const char *text;   /* body of the request */
    int status;         /* that it ends with */
    const char *answer; /* NULL: not looked at */
    size_t length;      /* of the answer, 0: not looked at */
};

static const struct act acts[] = {
    {"echo hello", 200, "echo hello", 0},
    {"fib 7", 200, "13", 0},
    {"fan 100", 200, "100", 0},
    {"deep 10", 200, "10", 0},
    {"park 8", 200, "8", 0},
    {"sleep 3", 200, NULL, 0},
    {"out 100000", 200, NULL, 100000},
    {"trap", 500, NULL, 0},
    {"fail 3", 502, NULL, 0},
    {"mark", 200, "0", 0},
    {"log 20", 200, NULL, 0},
    {"eat 2", 200, "2", 0},
    {"leave 2", 200, NULL, 0},
    {"deep 3", 200, "3", 0},
};
#define ACTS (sizeof acts / sizeof *acts)

struct client {
    pthread_t thread;
    unsigned short port;
    uint64_t seed;
    int socket;
    uint64_t answered, timed_out, rejected, lost, left, cancelled, wrong;
    char answer[ANSWER_MAX];
};

static bool chaos;
static int64_t end_ms;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint32_t any(struct client *c, uint32_t below)
{
    c->seed = c->seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(c->seed >> 33) % below;
}

static void wrong(struct client *c, const char *what, const char *detail)
{
    c->wrong++;
    fprintf(stderr, "%s: %s\n", what, detail);
}

/* ---- HTTP, as little as a test needs ---- */

static bool connected(struct client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    const int one = 1;
    if (c->socket >= 0)
        return true;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->socket, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    close(c->socket);
    c->socket = -1;
    return false;
}

static void disconnect(struct client *c)
{
    if (c->socket >= 0)
        close(c->socket);
    c->socket = -1;
}

static bool request_send(struct client *c, const char *method, const char *path, const char *fields,
                         const char *body)
{
    char text[2048];
    int len = snprintf(text, sizeof text,
                       "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %zu\r\n\r\n%s",
                       method, path, fields, strlen(body), body);
    return connected(c) && send(c->socket, text, (size_t)len, MSG_NOSIGNAL) == len;
}

/* Reads until the answer is whole; its status, -1 when the connection ended, -2 when it is late. */
static int answer_read(struct client *c, int64_t until_ms, char **body, size_t *body_len)
{
    size_t have = 0;
    for (;;) {
        c->answer[have] = 0;
        char *end = strstr(c->answer, "\r\n\r\n");
        char *field = end ? strcasestr(c->answer, "\r\ncontent-length:") : NULL;
        size_t wanted = field && field < end ? strtoull(field + 17, NULL, 10) : 0;
        *body = end ? end + 4 : NULL;
        *body_len = wanted;
        if (end && have >= (size_t)(end + 4 - c->answer) + wanted) {
            (*body)[wanted] = 0;
            return atoi(c->answer + 9);
        }
        struct pollfd p = {.fd = c->socket, .events = POLLIN};
        int64_t left = until_ms - now_ms();
        if (left <= 0 || poll(&p, 1, (int)left) == 0)
            return -2;
        ssize_t got = recv(c->socket, c->answer + have, sizeof c->answer - 1 - have, 0);
        if (got <= 0)
            return -1;
        have += (size_t)got;
    }
}

/* ---- what clients do ---- */

static void answer_check(struct client *c, const struct act *a, int status, bool brief,
                         const char *body, size_t len)
{
    char detail[256];
    snprintf(detail, sizeof detail, "%s ended with %d: %.150s", a->text, status, body ? body : "");
    if (status == 429) {
        c->rejected++;
    } else if (status == 503 && chaos) {
        c->lost++;
    } else if (status == 504 && brief) {
        c->timed_out++;
    } else if (chaos && status == 502) {
        c->lost++; /* a parent whose child was lost says so with a code */
    } else if (status != a->status) {
        wrong(c, "another status", detail);
    } else {
        c->answered++;
        if ((a->answer && strcmp(a->answer, body) != 0) || (a->length && a->length != len))
            wrong(c, "another answer", detail);
    }
}

static void call(struct client *c, const struct act *a, int timeout_ms)
{
    char path[128], *body;
    size_t len;
    snprintf(path, sizeof path, "/v1/fn/default/acts?timeout=%dms", timeout_ms);
    int64_t begun = now_ms();
    if (!request_send(c, "POST", path, "", a->text)) {
        disconnect(c);
        return;
    }
    if (any(c, 20) == 0) { /* the client goes away */
        usleep(any(c, 3000));
        disconnect(c);
        c->left++;
        return;
    }
    int status = answer_read(c, begun + timeout_ms + GRACE_MS, &body, &len);
    if (status == -2)
        wrong(c, "no answer by the deadline", a->text);
    if (status < 0)
        disconnect(c);
    if (status == -1)
        wrong(c, "the node hung up on", a->text);
    if (status > 0)
        answer_check(c, a, status, timeout_ms < TIMEOUT_MS, body, len);
}

/* An endless call, without waiting, and its cancellation. */
static void cancel(struct client *c)
{
    char id[17] = "", path[128], *body;
    size_t len;
    if (!request_send(c, "POST", "/v1/fn/default/acts?timeout=20s", "Prefer: respond-async\r\n",
                      any(c, 2) ? "spin" : "park 3") ||
        answer_read(c, now_ms() + GRACE_MS, &body, &len) != 202) {
        disconnect(c);
        return;
    }
    const char *at = strcasestr(c->answer, "/v1/calls/");
    if (at)
        memcpy(id, at + 10, 16);
    usleep(any(c, 4000));
    snprintf(path, sizeof path, "/v1/calls/%s", id);
    if (!request_send(c, "DELETE", path, "", "") ||
        answer_read(c, now_ms() + GRACE_MS, &body, &len) < 0) {
        wrong(c, "no answer to a cancellation", path);
        disconnect(c);
        return;
    }
    snprintf(path, sizeof path, "/v1/calls/%s?wait=4s", id);
    int status = request_send(c, "GET", path, "", "")
                     ? answer_read(c, now_ms() + 2 * GRACE_MS, &body, &len)
                     : -1;
    if (status != 200 || strstr(body, "\"running\"") || strstr(body, "\"pending\"")) {
        wrong(c, "a cancelled call does not end", status > 0 ? body : id);
        disconnect(c);
        return;
    }
    c->cancelled++;
}

static void *client_main(void *context)
{
    static const struct act spin = {"spin", 504, NULL, 0};
    struct client *c = context;
    while (now_ms() < end_ms) {
        uint32_t dice = any(c, 16);
        if (dice == 0)
            call(c, &spin, 1 + (int)any(c, 50));
        else if (dice == 1)
            cancel(c);
        else if (dice < 5)
            call(c, &acts[any(c, ACTS)], 1 + (int)any(c, 50));
        else
            call(c, &acts[any(c, ACTS)], TIMEOUT_MS);
    }
    disconnect(c);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct client *clients[CLIENTS_MAX];
    struct client sum = {0};
    if (argc < 5) {
        fprintf(stderr, "usage: node-stress PORT CLIENTS SECONDS SEED [chaos]\n");
        return 2;
    }
    unsigned count = (unsigned)atoi(argv[2]);
    chaos = argc > 5;
    end_ms = now_ms() + 1000ll * atoi(argv[3]);
    for (unsigned k = 0; k < count && k < CLIENTS_MAX; k++) {
        clients[k] = calloc(1, sizeof *clients[k]);
        if (!clients[k])
            return 2;
        clients[k]->port = (unsigned short)atoi(argv[1]);
        clients[k]->seed = strtoull(argv[4], NULL, 10) * 1000 + k;
        clients[k]->socket = -1;
        pthread_create(&clients[k]->thread, NULL, client_main, clients[k]);
    }
    for (unsigned k = 0; k < count && k < CLIENTS_MAX; k++) {
        const struct client *c = clients[k];
        pthread_join(c->thread, NULL);
        sum.answered += c->answered;
        sum.timed_out += c->timed_out;
        sum.rejected += c->rejected;
        sum.lost += c->lost;
        sum.left += c->left;
        sum.cancelled += c->cancelled;
        sum.wrong += c->wrong;
        free(clients[k]);
    }
    printf("answered %llu, timed out %llu, rejected %llu, lost %llu, left %llu, cancelled %llu, "
           "wrong %llu\n",
           (unsigned long long)sum.answered, (unsigned long long)sum.timed_out,
           (unsigned long long)sum.rejected, (unsigned long long)sum.lost,
           (unsigned long long)sum.left, (unsigned long long)sum.cancelled,
           (unsigned long long)sum.wrong);
    return sum.wrong > 0;
}
