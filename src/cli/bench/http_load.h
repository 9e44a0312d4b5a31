/*
 * A load generator for HTTP/1.1 servers on this machine: kept connections, each with one request at
 * a time (closed loop), all served by the calling thread. Reusable by every benchmark that asks a
 * gateway; the answer must have a Content-Length.
 */
#ifndef CLI_BENCH_HTTP_LOAD_H
#define CLI_BENCH_HTTP_LOAD_H

#include "cli/bench/measure.h"

#include <sys/types.h>

#define HTTP_LOAD_CONNECTIONS 1024
#define HTTP_LOAD_RESPONSE    (1u << 20) /* the largest answer, head included */

struct http_load_options {
    uint16_t port;       /* on 127.0.0.1 */
    const void *request; /* whole, as it is sent */
    size_t request_len;
    /* Instead: the next one, valid until the connection's answer is there. NULL: request. */
    const void *(*next)(void *context, size_t *len);
    void *context;
    unsigned connections;
    unsigned status; /* expected; an answer with another counts as an error */
    double seconds;
};

struct http_load_result {
    uint64_t answers, errors;
    double seconds;
    double server_cpu_us;      /* of the process server_pid, per answer; NaN when unknown */
    struct samples latency_us; /* of every answer; samples_free */
};

/* Runs the load; server_pid may be 0. Ends the program when the server cannot be reached. */
void http_load_run(const struct http_load_options *, pid_t server_pid, struct http_load_result *);

/* Waits until something listens on the port, at most ten seconds. False when nothing does. */
bool http_load_wait(uint16_t port);
/* A port nobody listens on at the moment. */
uint16_t http_load_free_port(void);

#endif
