/*
 * An HTTP server for tests, on a thread and a loop of its own, and raw connections to it.
 *
 *   /hello           "hello", at once            /echo     the body, at once
 *   /hold            once fixture_answer is called          /number   how many requests came before
 *   /big?bytes=N     N bytes, lent               /stream?pieces=N   N pieces of 1,000 bytes
 *   /upload          (streamed) how many bytes came; pauses after each piece
 *   /small           bodies of 10 bytes at most  /deny     403 before the body is read
 *   /drop            no answer                   /split    a head that may not be sent
 *   /last            "last", and the connection closes      /endless  a stream without end
 *   /later           "later", in one of the loop's next turns
 */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include "net/http_server.h"

#include <pthread.h>
#include <stdatomic.h>

#define FIXTURE_HELD_MAX 64

struct fixture {
    uv_loop_t loop;
    uv_async_t async;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    void (*job)(struct fixture *); /* to be done on the loop's thread */
    struct http_server *server;
    struct http_server_options options;
    uint16_t port;
    struct http_request *held[FIXTURE_HELD_MAX];
    unsigned held_count;
    atomic_uint requests, gone, drained, released, ended;
    atomic_uint expected_drain;
};

/* options may be NULL; the handler is the fixture's. */
void fixture_start(struct fixture *, const struct http_server_options *options,
                   struct tls_context *tls);
void fixture_stop(struct fixture *);
/* Does something on the loop's thread and waits until it is done. */
void fixture_do(struct fixture *, void (*job)(struct fixture *));
/* Answers the requests held, the latest first. */
void fixture_answer(struct fixture *);
/* Waits until so many requests are held. */
void fixture_wait_held(struct fixture *, unsigned count);
struct http_server_counts fixture_counts(struct fixture *);
/* Waits until a counter has reached a number; fails the test after ten seconds. */
void wait_until(const atomic_uint *counter, unsigned number);

/* A connection; reading gives up after ten seconds. */
int raw_open(const struct fixture *);
void raw_send(int fd, const char *text);
/* Reads until the text is complete, then compares; Date fields are cut out first. */
void raw_expect(int fd, const char *expected);
/* The other side has closed (or reset) the connection; nothing more has come. */
void raw_expect_end(int fd);
/* Reads exactly len bytes, or fewer when the connection ends; returns how many. */
size_t raw_read(int fd, void *out, size_t len);

#endif
