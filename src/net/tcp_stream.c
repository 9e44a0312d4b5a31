/*
 * The stream of tcp_stream.h. Writes are tried directly first; only what the socket does not take
 * is handed to the loop, one write at a time. With TLS, plain output is encrypted in records just
 * ahead of the socket, so a slow reader holds a bounded number of encrypted bytes.
 */
#include "net/tcp_stream.h"

#include "crypto/tls.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

int tcp_pool_init(struct tcp_pool *pool, uv_loop_t *loop, struct error *e)
{
    struct sigaction action;
    *pool = (struct tcp_pool){.loop = loop};
    /* A write to a peer that has gone must fail, not end the process; libuv leaves that to us. */
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
    pool->input = malloc(TCP_STREAM_INPUT_BYTES);
    return pool->input ? 0 : error_set(e, ATOLL_ENOMEM, "out of memory for network input");
}

void tcp_pool_free(struct tcp_pool *pool)
{
    output_pool_free(&pool->blocks);
    free(pool->input);
    free(pool->plain);
    *pool = (struct tcp_pool){0};
}

int tcp_stream_init(struct tcp_stream *s, struct tcp_pool *pool, struct tls_session *tls,
                    const struct tcp_stream_events *events, void *owner, struct error *e)
{
    *s = (struct tcp_stream){
        .output.pool = &pool->blocks,
        .cipher.pool = &pool->blocks,
        .pool = pool,
        .tls = tls,
        .events = events,
        .owner = owner,
    };
    s->handle.data = s;
    uv_tcp_init(pool->loop, &s->handle);
    if (tls && !pool->plain && !(pool->plain = malloc(TLS_RECORD_MAX)))
        return error_set(e, ATOLL_ENOMEM, "out of memory for a TLS connection");
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct tcp_stream *s = handle->data;
    output_clear(&s->output);
    output_clear(&s->cipher);
    tls_session_destroy(s->tls);
    s->tls = NULL;
    s->events->closed(s->owner, &s->why);
}

void tcp_stream_close(struct tcp_stream *s)
{
    if (s->closing)
        return;
    s->closing = true;
    uv_close((uv_handle_t *)&s->handle, on_closed);
}

static void fail(struct tcp_stream *s, int uv_code, const char *doing)
{
    if (!s->closing)
        error_set(&s->why, ATOLL_EIO, "%s: %s", doing, uv_strerror(uv_code));
    tcp_stream_close(s);
}

/* ---- out ---- */

static bool outgoing_move(struct tcp_stream *s)
{
    uint8_t piece[4096];
    size_t len;
    while ((len = tls_outgoing_take(s->tls, piece, sizeof piece)) > 0) {
        if (!output_append(&s->cipher, piece, len))
            return false;
    }
    return true;
}

/* Plain output becomes encrypted output, as far as the handshake and the bound allow. */
static int output_encrypt(struct tcp_stream *s)
{
    uv_buf_t piece;
    int result = 0;
    while (s->cipher.len < TCP_STREAM_CIPHER_BYTES && output_peek(&s->output, &piece, 1) == 1) {
        size_t len = piece.len < TLS_RECORD_MAX ? piece.len : TLS_RECORD_MAX;
        result = tls_write(s->tls, piece.base, len, &s->why);
        if (result < 0)
            break;
        output_advance(&s->output, len);
        if (!outgoing_move(s))
            return error_set(&s->why, ATOLL_ENOMEM, "out of memory for a TLS connection");
    }
    if (!outgoing_move(s))
        return error_set(&s->why, ATOLL_ENOMEM, "out of memory for a TLS connection");
    if (result == -ATOLL_EAGAIN)
        s->why.code = result = 0;
    return result;
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status; /* a peer that has gone shows in reading or writing */
}

static void on_written(uv_write_t *request, int status)
{
    struct tcp_stream *s = request->data;
    size_t len = s->writing;
    s->writing = 0;
    if (s->closing)
        return;
    if (status < 0) {
        fail(s, status, "cannot send");
        return;
    }
    s->bytes_out += len;
    output_advance(s->tls ? &s->cipher : &s->output, len);
    tcp_stream_flush(s);
    if (!s->closing)
        s->events->drained(s->owner);
}

/* Hands what the socket did not take to the loop. */
static void write_begin(struct tcp_stream *s, const uv_buf_t *pieces, unsigned count)
{
    size_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += pieces[i].len;
    s->write.data = s;
    int status = uv_write(&s->write, (uv_stream_t *)&s->handle, pieces, count, on_written);
    if (status < 0)
        fail(s, status, "cannot send");
    else
        s->writing = total;
}

void tcp_stream_flush(struct tcp_stream *s)
{
    uv_buf_t pieces[TCP_STREAM_PIECES];
    struct output *queue = s->tls ? &s->cipher : &s->output;
    while (!s->closing && s->writing == 0) {
        if (s->tls && output_encrypt(s) < 0) {
            tcp_stream_close(s);
            return;
        }
        unsigned count = output_peek(queue, pieces, TCP_STREAM_PIECES);
        if (count == 0)
            break;
        int sent = uv_try_write((uv_stream_t *)&s->handle, pieces, count);
        if (sent == UV_EAGAIN) {
            write_begin(s, pieces, count);
        } else if (sent < 0) {
            fail(s, sent, "cannot send");
        } else {
            s->bytes_out += (uint64_t)sent;
            output_advance(queue, (size_t)sent);
        }
    }
    if (s->ending && !s->ended && !s->closing && tcp_stream_unsent(s) == 0) {
        s->ended = true;
        if (s->tls) {
            tls_close(s->tls);
            tcp_stream_flush(s);
            if (s->closing)
                return;
        }
        uv_shutdown(&s->shutdown, (uv_stream_t *)&s->handle, on_shutdown);
    }
}

void tcp_stream_end(struct tcp_stream *s)
{
    s->ending = true;
    tcp_stream_flush(s);
}

size_t tcp_stream_unsent(const struct tcp_stream *s)
{
    return s->output.len + s->cipher.len;
}

uint64_t tcp_stream_progress(const struct tcp_stream *s)
{
    return s->bytes_out + s->writing - uv_stream_get_write_queue_size((uv_stream_t *)&s->handle);
}

/* ---- in ---- */

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct tcp_stream *s = handle->data;
    *out = uv_buf_init((char *)s->pool->input, TCP_STREAM_INPUT_BYTES);
}

/* Gives the owner all that can be decrypted. */
static void input_decrypt(struct tcp_stream *s, const uint8_t *data, size_t len)
{
    if (tls_receive(s->tls, data, len, &s->why) < 0) {
        tcp_stream_close(s);
        return;
    }
    struct error why;
    int64_t got = -ATOLL_EAGAIN;
    while (!s->closing && (got = tls_read(s->tls, s->pool->plain, TLS_RECORD_MAX, &why)) > 0)
        s->events->input(s->owner, s->pool->plain, (size_t)got);
    if (s->closing)
        return;
    tcp_stream_flush(s);
    if (got < 0 && got != -ATOLL_EAGAIN && !s->closing) {
        s->why = why;
        tcp_stream_close(s);
    } else if (got == 0 && !s->closing) {
        tcp_stream_read_stop(s);
        s->events->ended(s->owner);
    }
}

static void on_read(uv_stream_t *handle, ssize_t got, const uv_buf_t *buffer)
{
    struct tcp_stream *s = handle->data;
    if (got == 0 || s->closing)
        return;
    if (got == UV_EOF) {
        s->reading = false;
        s->events->ended(s->owner);
    } else if (got < 0) {
        fail(s, (int)got, "cannot receive");
    } else {
        s->bytes_in += (uint64_t)got;
        if (s->tls)
            input_decrypt(s, (const uint8_t *)buffer->base, (size_t)got);
        else
            s->events->input(s->owner, (const uint8_t *)buffer->base, (size_t)got);
    }
}

void tcp_stream_read_start(struct tcp_stream *s)
{
    if (s->reading || s->closing)
        return;
    int status = uv_read_start((uv_stream_t *)&s->handle, on_allocate, on_read);
    if (status < 0)
        fail(s, status, "cannot receive");
    else
        s->reading = true;
}

void tcp_stream_read_stop(struct tcp_stream *s)
{
    if (!s->reading || s->closing)
        return;
    uv_read_stop((uv_stream_t *)&s->handle);
    s->reading = false;
}
