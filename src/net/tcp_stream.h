/*
 * A TCP connection on a libuv loop, with or without TLS: plain bytes in, plain bytes out. The
 * server and the client of this room speak through it.
 *
 * Whatever ends it (an error of the socket or of TLS, or tcp_stream_close) ends in one `closed`,
 * which always comes from the loop and never from within a call of the owner; until then the stream
 * may be asked and told anything, to no effect. All on the loop's thread.
 */
#ifndef NET_TCP_STREAM_H
#define NET_TCP_STREAM_H

#include "base/error.h"
#include "net/output.h"

struct tls_session;

#define TCP_STREAM_INPUT_BYTES  65536 /* the most one read brings */
#define TCP_STREAM_CIPHER_BYTES 65536 /* encrypted ahead of what the socket takes */
#define TCP_STREAM_PIECES       16    /* of one write */

/* What the streams of one loop share. tcp_pool_init (which makes the process ignore SIGPIPE, unless
 * it is handled), and tcp_pool_free after the last `closed`. */
struct tcp_pool {
    uv_loop_t *loop;
    struct output_pool blocks;
    uint8_t *input; /* TCP_STREAM_INPUT_BYTES, used from a read until its bytes are handed on */
    uint8_t *plain; /* the same for decrypted bytes: one record; made for the first TLS stream */
};
int tcp_pool_init(struct tcp_pool *, uv_loop_t *, struct error *);
void tcp_pool_free(struct tcp_pool *);

struct tcp_stream_events {
    /* Bytes from the peer; also up to TCP_STREAM_INPUT_BYTES after reading was stopped. */
    void (*input)(void *owner, const uint8_t *data, size_t len);
    /* The peer sends no more. */
    void (*ended)(void *owner);
    /* Some of the output has left after it had to wait. */
    void (*drained)(void *owner);
    /* The last event; why has code 0 when the owner closed it. */
    void (*closed)(void *owner, const struct error *why);
};

/* Fields but output and the counts are private. */
struct tcp_stream {
    struct output output; /* plain bytes to send: append, then tcp_stream_flush */
    uint64_t bytes_in, bytes_out;
    uv_tcp_t handle;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct tcp_pool *pool;
    struct tls_session *tls;
    const struct tcp_stream_events *events;
    void *owner;
    struct output cipher; /* with TLS: encrypted bytes to send */
    size_t writing;       /* bytes handed to the loop */
    bool reading, ending, ended, closing;
    struct error why;
};

/* Takes the session over. After this, tcp_stream_close and its event end it, whatever happened. */
int tcp_stream_init(struct tcp_stream *, struct tcp_pool *, struct tls_session *tls,
                    const struct tcp_stream_events *, void *owner, struct error *);
/* Once the handle is connected. */
void tcp_stream_read_start(struct tcp_stream *);
void tcp_stream_read_stop(struct tcp_stream *);
/* Sends what can be sent now; the rest follows by itself. */
void tcp_stream_flush(struct tcp_stream *);
/* After all output: the other side sees the end (with TLS, a goodbye first). */
void tcp_stream_end(struct tcp_stream *);
void tcp_stream_close(struct tcp_stream *);
/* Output that has not left this process. */
size_t tcp_stream_unsent(const struct tcp_stream *);
/* Grows when anything leaves. */
uint64_t tcp_stream_progress(const struct tcp_stream *);

#endif
