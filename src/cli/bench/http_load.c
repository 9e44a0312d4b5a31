/* The load generator of http_load.h: one epoll loop; a request is written when the answer before it
 * is complete. */
#define _GNU_SOURCE
#include "cli/bench/http_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct line {
    int fd;
    const void *request;
    size_t request_len;
    size_t sent, got; /* of the request; of the answer */
    size_t expected;  /* bytes of the answer, 0 while its head is not there */
    int64_t begun_ns;
    char *answer;
};

struct load {
    const struct http_load_options *options;
    struct http_load_result *result;
    struct line *lines;
    int epoll;
};

static struct sockaddr_in address_of(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

static int line_connect(uint16_t port)
{
    struct sockaddr_in to = address_of(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    close(fd);
    return -1;
}

bool http_load_wait(uint16_t port)
{
    for (int i = 0; i < 1000; i++) {
        int fd = line_connect(port);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        usleep(10000);
    }
    return false;
}

uint16_t http_load_free_port(void)
{
    struct sockaddr_in own = address_of(0);
    socklen_t len = sizeof own;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) < 0 ||
        getsockname(fd, (struct sockaddr *)&own, &len) < 0)
        bench_fail(1, "no free port: %s", strerror(errno));
    close(fd);
    return ntohs(own.sin_port);
}

/* CPU time of a process so far, in microseconds; NaN when it cannot be read. */
static double process_cpu_us(pid_t pid)
{
    char path[64], text[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = pid > 0 ? fopen(path, "r") : NULL;
    size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[len] = 0;
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                         &system) != 2)
        return NAN;
    return (double)(user + system) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void request_send(struct load *l, struct line *line)
{
    while (line->sent < line->request_len) {
        ssize_t sent = send(line->fd, (const char *)line->request + line->sent,
                            line->request_len - line->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            bench_fail(1, "the server closed a connection: %s", strerror(errno));
        line->sent += (size_t)sent;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
    if (line->sent < line->request_len)
        event.events |= EPOLLOUT;
    if (line->request_len > 16384) /* only then it may not fit */
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, line->fd, &event);
}

static void request_begin(struct load *l, struct line *line)
{
    const struct http_load_options *o = l->options;
    line->sent = line->got = line->expected = 0;
    line->request = o->request;
    line->request_len = o->request_len;
    if (o->next)
        line->request = o->next(o->context, &line->request_len);
    line->begun_ns = clock_monotonic_ns();
    request_send(l, line);
}

/* Length of the whole answer once its head is there, 0 before. */
static size_t answer_length(const char *text, size_t len)
{
    const char *end = memmem(text, len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    const char *length = strcasestr(text, "\r\ncontent-length:");
    if (!length || length > end)
        bench_fail(1, "an answer without a Content-Length");
    return (size_t)(end - text) + 4 + strtoul(length + 17, NULL, 10);
}

static void answer_read(struct load *l, struct line *line, int64_t now_ns)
{
    ssize_t got = recv(line->fd, line->answer + line->got, HTTP_LOAD_RESPONSE - line->got, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        bench_fail(1, "the server closed a connection");
    line->got += (size_t)got;
    line->answer[line->got] = 0;
    if (line->expected == 0)
        line->expected = answer_length(line->answer, line->got);
    if (line->expected == 0 || line->got < line->expected)
        return;
    if (line->got > line->expected || line->expected > HTTP_LOAD_RESPONSE)
        bench_fail(1, "an answer of another length than it says");
    if (line->got < 12 || strtoul(line->answer + 9, NULL, 10) != l->options->status)
        l->result->errors++;
    l->result->answers++;
    samples_add(&l->result->latency_us, (double)(now_ns - line->begun_ns) / 1e3);
    request_begin(l, line);
}

static void lines_open(struct load *l)
{
    for (unsigned i = 0; i < l->options->connections; i++) {
        struct line *line = &l->lines[i];
        line->fd = line_connect(l->options->port);
        line->answer = malloc(HTTP_LOAD_RESPONSE + 1);
        if (line->fd < 0 || !line->answer)
            bench_fail(1, "cannot connect to port %u", l->options->port);
        fcntl(line->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = line};
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, line->fd, &event);
    }
}

static void loop_run(struct load *l, int64_t end_ns)
{
    struct epoll_event events[64];
    int64_t now_ns;
    do {
        int count = epoll_wait(l->epoll, events, 64, 100);
        now_ns = clock_monotonic_ns();
        for (int i = 0; i < count; i++) {
            struct line *line = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                request_send(l, line);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                answer_read(l, line, clock_monotonic_ns());
        }
    } while (now_ns < end_ns);
}

void http_load_run(const struct http_load_options *options, pid_t server_pid,
                   struct http_load_result *result)
{
    struct load l = {.options = options, .result = result};
    if (options->connections == 0 || options->connections > HTTP_LOAD_CONNECTIONS)
        bench_fail(2, "1 to %d connections", HTTP_LOAD_CONNECTIONS);
    *result = (struct http_load_result){0};
    l.lines = calloc(options->connections, sizeof *l.lines);
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!l.lines || l.epoll < 0)
        bench_fail(1, "no memory or descriptors for the load");
    lines_open(&l);
    double cpu_us = process_cpu_us(server_pid);
    int64_t begin_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < options->connections; i++)
        request_begin(&l, &l.lines[i]);
    loop_run(&l, begin_ns + (int64_t)(options->seconds * 1e9));
    result->seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    result->server_cpu_us = (process_cpu_us(server_pid) - cpu_us) / (double)result->answers;
    for (unsigned i = 0; i < options->connections; i++) {
        close(l.lines[i].fd);
        free(l.lines[i].answer);
    }
    close(l.epoll);
    free(l.lines);
}
