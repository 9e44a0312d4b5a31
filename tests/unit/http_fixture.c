/* The server and the raw connections of http_fixture.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_fixture.h"

#include "net/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a request's handler keeps. */
struct work {
    struct fixture *fixture;
    uint64_t bytes, left;
    uv_timer_t timer;
    bool endless;
};

static void respond_text(struct http_request *request, unsigned status, const char *text)
{
    struct error e;
    struct http_header type = http_header_text("Content-Type", "text/plain");
    struct http_response r = {.status = status,
                              .headers = &type,
                              .header_count = 1,
                              .body = text,
                              .body_len = strlen(text)};
    http_respond(request, &r, &e);
}

static uint64_t query_number(const struct http_request *request, const char *name)
{
    char text[32];
    struct error e;
    int len = url_query_value(request->head->query, name, text, sizeof text, &e);
    return len > 0 ? strtoull(text, NULL, 10) : 0;
}

static void big_release(void *context, const void *data, size_t len)
{
    struct fixture *f = context;
    (void)len;
    f->released++;
    free((void *)data);
}

static void respond_big(struct fixture *f, struct http_request *request)
{
    struct error e;
    size_t len = query_number(request, "bytes");
    uint8_t *body = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 13 + i / 251);
    struct http_response r = {
        .status = 200, .body = body, .body_len = len, .release = big_release, .release_context = f};
    http_respond(request, &r, &e);
}

static void stream_go_on(struct http_request *request)
{
    struct work *w = request->user;
    char piece[1000];
    memset(piece, 's', sizeof piece);
    while (w->left > 0) {
        int status = http_stream_write(request, piece, sizeof piece);
        if (status == -ATOLL_EAGAIN)
            return;
        if (status < 0)
            break;
        w->left -= !w->endless;
    }
    if (w->left > 0 && w->endless)
        return; /* gone ends it */
    free(w);
    http_stream_end(request);
}

static void stream_start(struct fixture *f, struct http_request *request, uint64_t pieces,
                         bool endless)
{
    struct error e;
    struct http_response r = {.status = 200};
    struct work *w = calloc(1, sizeof *w);
    w->fixture = f;
    w->left = pieces;
    w->endless = endless;
    request->user = w;
    if (http_stream_begin(request, &r, &e) == 0) {
        stream_go_on(request);
    } else {
        free(w);
        http_request_drop(request);
    }
}

static void on_work_closed(uv_handle_t *handle)
{
    free((char *)handle - offsetof(struct work, timer));
}

static void on_later(uv_timer_t *timer)
{
    respond_text(timer->data, 200, "later");
    uv_close((uv_handle_t *)timer, on_work_closed);
}

static void respond_later(struct fixture *f, struct http_request *request)
{
    struct work *w = calloc(1, sizeof *w);
    uv_timer_init(&f->loop, &w->timer);
    w->timer.data = request;
    uv_timer_start(&w->timer, on_later, f->requests % 2, 0);
}

static enum http_body_mode on_head(void *context, struct http_request *request)
{
    struct fixture *f = context;
    if (strcmp(request->head->path, "/deny") == 0)
        http_respond_problem(request, &(struct http_problem){.status = 403});
    if (strcmp(request->head->path, "/small") == 0)
        http_request_body_max(request, 10);
    if (strcmp(request->head->path, "/upload") != 0)
        return HTTP_BODY_COLLECT;
    struct work *w = calloc(1, sizeof *w);
    w->fixture = f;
    request->user = w;
    return HTTP_BODY_STREAM;
}

static void on_resume(uv_timer_t *timer)
{
    http_request_resume(timer->data);
}

static bool on_body(void *context, struct http_request *request, const uint8_t *data, size_t len)
{
    struct fixture *f = context;
    struct work *w = request->user;
    (void)data;
    if (w->bytes == 0) {
        uv_timer_init(&f->loop, &w->timer);
        w->timer.data = request;
    }
    w->bytes += len;
    uv_timer_start(&w->timer, on_resume, 0, 0);
    return false;
}

static void upload_free(struct work *w)
{
    if (w->bytes > 0)
        uv_close((uv_handle_t *)&w->timer, on_work_closed);
    else
        free(w);
}

static void on_request(void *context, struct http_request *request)
{
    struct fixture *f = context;
    const char *path = request->head->path;
    char text[64];
    unsigned number = f->requests++;
    if (strcmp(path, "/hello") == 0) {
        respond_text(request, 200, "hello");
    } else if (strcmp(path, "/number") == 0) {
        snprintf(text, sizeof text, "%u", number);
        respond_text(request, 200, text);
    } else if (strcmp(path, "/echo") == 0 || strcmp(path, "/small") == 0) {
        struct error e;
        struct http_response r = {
            .status = 200, .body = request->body, .body_len = request->body_len};
        http_respond(request, &r, &e);
    } else if (strcmp(path, "/hold") == 0) {
        pthread_mutex_lock(&f->lock);
        f->held[f->held_count++] = request;
        pthread_cond_broadcast(&f->turn);
        pthread_mutex_unlock(&f->lock);
    } else if (strcmp(path, "/later") == 0) {
        respond_later(f, request);
    } else if (strcmp(path, "/big") == 0) {
        respond_big(f, request);
    } else if (strcmp(path, "/stream") == 0) {
        stream_start(f, request, query_number(request, "pieces"), false);
    } else if (strcmp(path, "/endless") == 0) {
        stream_start(f, request, 1, true);
    } else if (strcmp(path, "/upload") == 0) {
        struct work *w = request->user;
        snprintf(text, sizeof text, "%llu bytes", (unsigned long long)w->bytes);
        upload_free(w);
        respond_text(request, 200, text);
    } else if (strcmp(path, "/drop") == 0) {
        http_request_drop(request);
    } else if (strcmp(path, "/last") == 0) {
        struct error e;
        struct http_response r = {.status = 200, .body = "last", .body_len = 4, .close = true};
        http_respond(request, &r, &e);
    } else if (strcmp(path, "/split") == 0) {
        struct error e;
        struct http_header bad = http_header_text("X", "a\r\nSet-Cookie: b");
        struct http_response r = {.status = 200, .headers = &bad, .header_count = 1};
        http_respond(request, &r, &e);
    } else {
        http_respond_problem(request, &(struct http_problem){.status = 404});
    }
}

static void on_gone(void *context, struct http_request *request)
{
    struct fixture *f = context;
    struct work *w = request->user;
    f->gone++;
    if (strcmp(request->head->path, "/upload") == 0) {
        upload_free(w);
        http_request_drop(request);
    } else if (strcmp(request->head->path, "/endless") == 0 ||
               strcmp(request->head->path, "/stream") == 0) {
        free(w);
        http_stream_end(request);
    }
}

static void on_drained(void *context, struct http_request *request)
{
    struct fixture *f = context;
    f->drained++;
    stream_go_on(request);
}

static const struct http_handler handler = {on_head, on_body, on_request, on_gone, on_drained};

/* ---- its thread ---- */

static void on_async(uv_async_t *async)
{
    struct fixture *f = async->data;
    pthread_mutex_lock(&f->lock);
    void (*job)(struct fixture *) = f->job;
    pthread_mutex_unlock(&f->lock);
    if (!job)
        return;
    job(f);
    pthread_mutex_lock(&f->lock);
    f->job = NULL;
    pthread_cond_broadcast(&f->turn);
    pthread_mutex_unlock(&f->lock);
}

void fixture_do(struct fixture *f, void (*job)(struct fixture *))
{
    pthread_mutex_lock(&f->lock);
    f->job = job;
    uv_async_send(&f->async);
    while (f->job)
        pthread_cond_wait(&f->turn, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void *fixture_run(void *context)
{
    struct fixture *f = context;
    uv_run(&f->loop, UV_RUN_DEFAULT);
    return NULL;
}

void fixture_start(struct fixture *f, const struct http_server_options *options,
                   struct tls_context *tls)
{
    struct error e;
    memset(f, 0, sizeof *f);
    if (options)
        f->options = *options;
    f->options.handler = &handler;
    f->options.context = f;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->turn, NULL);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    uv_async_init(&f->loop, &f->async, on_async);
    f->async.data = f;
    assert_int_equal(http_server_create(&f->loop, &f->options, &f->server, &e), 0);
    assert_int_equal(http_server_listen(f->server, NULL, 0, tls, &f->port, &e), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, fixture_run, f), 0);
}

static void on_server_closed(void *context)
{
    struct fixture *f = context;
    f->server = NULL;
}

static void job_answer(struct fixture *f)
{
    while (f->held_count > 0)
        respond_text(f->held[--f->held_count], 200, "held");
}

static void job_stop(struct fixture *f)
{
    http_server_close(f->server, on_server_closed, f);
    job_answer(f);
    uv_close((uv_handle_t *)&f->async, NULL);
}

void fixture_stop(struct fixture *f)
{
    fixture_do(f, job_stop);
    pthread_join(f->thread, NULL);
    assert_null(f->server);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->turn);
}

void fixture_answer(struct fixture *f)
{
    fixture_do(f, job_answer);
}

void fixture_wait_held(struct fixture *f, unsigned count)
{
    pthread_mutex_lock(&f->lock);
    while (f->held_count < count)
        pthread_cond_wait(&f->turn, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static struct http_server_counts counts;

static void job_counts(struct fixture *f)
{
    counts = http_server_counts(f->server);
}

struct http_server_counts fixture_counts(struct fixture *f)
{
    fixture_do(f, job_counts);
    return counts;
}

void wait_until(const atomic_uint *counter, unsigned number)
{
    for (int i = 0; i < 10000 && *counter < number; i++)
        usleep(1000);
    assert_int_equal(*counter, number);
}

/* ---- raw connections ---- */

int raw_open(const struct fixture *f)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    struct timeval limit = {10, 0};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

void raw_send(int fd, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

void raw_expect(int fd, const char *expected)
{
    static const char date[] = "Date: ";
    static char text[65536], line[256]; /* what came, without Date fields; perhaps one of them */
    size_t len = 0, line_len = 0;
    text[0] = 0;
    while (len < strlen(expected)) {
        ssize_t got = recv(fd, line + line_len, 1, 0);
        if (got <= 0)
            fail_msg("got \"%s\" and then %s, not \"%s\"", text, got ? strerror(errno) : "the end",
                     expected);
        bool begins = len == 0 || text[len - 1] == '\n';
        size_t compared = line_len + 1 < sizeof date - 1 ? line_len + 1 : sizeof date - 1;
        if (begins && memcmp(line, date, compared) == 0) {
            line_len = line[line_len] == '\n' ? 0 : line_len + 1;
            continue;
        }
        memcpy(text + len, line, line_len + 1);
        len += line_len + 1;
        text[len] = 0;
        line_len = 0;
    }
    if (strcmp(text, expected) != 0)
        fail_msg("got \"%s\", not \"%s\"", text, expected);
}

void raw_expect_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    if (got > 0)
        fail_msg("got a byte more: 0x%02x", byte);
    assert_true(got == 0 || errno == ECONNRESET);
    close(fd);
}

size_t raw_read(int fd, void *out, size_t len)
{
    size_t used = 0;
    ssize_t got;
    while (used < len && (got = recv(fd, (char *)out + used, len - used, 0)) > 0)
        used += (size_t)got;
    return used;
}
