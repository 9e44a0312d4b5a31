/*
 * A server that says what it was told to say: connection number i gets answers[i], whatever it
 * asks, once its request's head has come; then it is closed, unless the answer ends with a '+':
 * then it stays open until the other side closes, and what comes on it later is answered with
 * answers[i + 1].
 */
#ifndef TESTS_HTTP_CANNED_H
#define TESTS_HTTP_CANNED_H

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct canned {
    const char *const *answers; /* NULL-terminated */
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_uint requests;
    char last[4096]; /* head of the last request */
};

/* Reads one head; false at the end of the connection. */
static inline bool canned_read(struct canned *c, int fd)
{
    size_t len = 0;
    while (len < sizeof c->last - 1) {
        if (recv(fd, c->last + len, 1, 0) != 1)
            return false;
        c->last[++len] = 0;
        if (len >= 4 && strcmp(c->last + len - 4, "\r\n\r\n") == 0)
            break;
    }
    c->requests++;
    return true;
}

static inline void *canned_run(void *context)
{
    struct canned *c = context;
    const char *const *answer = c->answers;
    while (*answer) {
        int fd = accept(c->listener, NULL, NULL);
        bool open = fd >= 0;
        while (open && *answer && canned_read(c, fd)) {
            size_t len = strlen(*answer);
            open = len > 0 && (*answer)[len - 1] == '+';
            send(fd, *answer, open ? len - 1 : len, MSG_NOSIGNAL);
            answer++;
        }
        char byte;
        while (open && recv(fd, &byte, 1, 0) == 1)
            ;
        close(fd);
    }
    return NULL;
}

static inline void canned_start(struct canned *c, const char *const *answers)
{
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t len = sizeof own;
    memset(c, 0, sizeof *c);
    c->answers = answers;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(c->listener, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(listen(c->listener, 16), 0);
    assert_int_equal(getsockname(c->listener, (struct sockaddr *)&own, &len), 0);
    c->port = ntohs(own.sin_port);
    assert_int_equal(pthread_create(&c->thread, NULL, canned_run, c), 0);
}

/* After all answers have been fetched. */
static inline void canned_stop(struct canned *c)
{
    pthread_join(c->thread, NULL);
    close(c->listener);
}

#endif
