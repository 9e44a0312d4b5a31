/*
 * The standard streams of a call: bytes in, bytes out, lines of the log. No system call is made.
 *
 * They behave like pipes: no position, no size. Output goes through a buffer on the stack, because
 * guest memory may not be handed on. A line of standard error that is not finished yet is kept
 * until it is, or until the call ends (wasi_flush).
 */
#define _GNU_SOURCE
#include "sandbox/wasi/back_end.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK 8192u /* of output at a time */

enum { STREAM_IN, STREAM_OUT, STREAM_LOG };

static ssize_t stream_read(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    struct wasi *w = call_world(call);
    const struct wasi_streams *s = &w->streams;
    ssize_t done = 0;
    (void)d;
    for (int i = 0; i < v->count && w->input_at < s->input_len; i++) {
        uint64_t left = s->input_len - w->input_at;
        size_t len = v->list[i].iov_len < left ? v->list[i].iov_len : (size_t)left;
        const uint8_t *from = (const uint8_t *)s->input + w->input_at;
        if (len > 0 && guest_write(call->arena, v->addresses[i], from, len) != 0) {
            return done > 0 ? done : -EFAULT;
        }
        w->input_at += len;
        done += (ssize_t)len;
    }
    return done;
}

/* ---- lines ---- */

/* A call may bring fewer streams than the image has descriptors: what is written there is lost. */
static void line_give(const struct wasi *w, const char *line, size_t len)
{
    if (w->streams.log != NULL) {
        w->streams.log(w->streams.context, line, len);
    }
}

void wasi_flush(struct wasi *w)
{
    if (w->line_len > 0) {
        line_give(w, w->line, w->line_len);
        w->line_len = 0;
    }
}

/* Adds bytes that have no newline in them, and hands on what fills a line. */
static int line_extend(struct wasi *w, const char *bytes, size_t len)
{
    if (w->line == NULL && (w->line = malloc(WASI_MAX_LINE)) == NULL) {
        return -ENOMEM;
    }
    while (len > 0) {
        if (w->line_len == WASI_MAX_LINE) {
            wasi_flush(w);
        }
        size_t room = WASI_MAX_LINE - w->line_len, part = len < room ? len : room;
        memcpy(w->line + w->line_len, bytes, part);
        w->line_len += (uint32_t)part;
        bytes += part;
        len -= part;
    }
    return 0;
}

/* A whole line goes on at once, without being copied, when nothing came before it. */
static int line_end(struct wasi *w, const char *bytes, size_t len)
{
    if (w->line_len == 0 && len <= WASI_MAX_LINE) {
        line_give(w, bytes, len);
        return 0;
    }
    int result = line_extend(w, bytes, len);
    wasi_flush(w);
    return result;
}

static ssize_t lines_write(struct wasi *w, const char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char *newline = memchr(bytes + at, '\n', len - at);
        size_t part = newline != NULL ? (size_t)(newline - bytes) - at : len - at;
        int result =
            newline != NULL ? line_end(w, bytes + at, part) : line_extend(w, bytes + at, part);
        if (result != 0) {
            return result;
        }
        at += part + (newline != NULL);
    }
    return (ssize_t)len;
}

/* ---- writing ---- */

static ssize_t bytes_write(struct wasi *w, uint32_t source, const char *bytes, size_t len)
{
    if (source == STREAM_LOG) {
        return lines_write(w, bytes, len);
    }
    if (w->streams.output == NULL) {
        return (ssize_t)len;
    }
    ssize_t taken = w->streams.output(w->streams.context, bytes, len);
    return taken > (ssize_t)len || taken == 0 ? -EIO : taken;
}

static ssize_t stretch_write(struct host_call *call, uint32_t source, uint32_t address, size_t len)
{
    char chunk[CHUNK];
    size_t done = 0;
    while (done < len) {
        size_t part = len - done < CHUNK ? len - done : CHUNK;
        if (guest_read(call->arena, chunk, address + (uint32_t)done, part) != 0) {
            return done > 0 ? (ssize_t)done : -EFAULT;
        }
        ssize_t taken = bytes_write(call_world(call), source, chunk, part);
        if (taken < 0) {
            return done > 0 ? (ssize_t)done : taken;
        }
        done += (size_t)taken;
        if ((size_t)taken < part) {
            break;
        }
    }
    return (ssize_t)done;
}

static ssize_t stream_write(struct host_call *call, struct descriptor *d, struct vectors *v)
{
    ssize_t done = 0;
    for (int i = 0; i < v->count; i++) {
        ssize_t written = stretch_write(call, d->source, v->addresses[i], v->list[i].iov_len);
        if (written < 0) {
            return done > 0 ? done : written;
        }
        done += written;
        if ((size_t)written < v->list[i].iov_len) {
            break;
        }
    }
    return done;
}

/* ---- the rest ---- */

static uint64_t stream_ready(const struct wasi *w, const struct descriptor *d, bool reads)
{
    (void)d;
    return reads ? w->streams.input_len - w->input_at : 1;
}

static int stream_look(struct wasi *w, const struct descriptor *d, struct filestat *out)
{
    (void)w;
    *out = (struct filestat){.inode = d->source, .links = 1, .filetype = WASI_FILETYPE_UNKNOWN};
    return 0;
}

static int stream_set_times(struct wasi *w, struct descriptor *d, const struct timespec times[2])
{
    (void)w, (void)d, (void)times;
    return 0;
}

/* As with a pipe. */
static int stream_sync(struct descriptor *d, bool data_only)
{
    (void)d, (void)data_only;
    return -EINVAL;
}

static void stream_close(struct wasi *w, struct descriptor *d)
{
    (void)w, (void)d;
}

const struct back_end back_end_stream = {
    .read = stream_read,
    .write = stream_write,
    .ready = stream_ready,
    .sync = stream_sync,
    .look = stream_look,
    .set_times = stream_set_times,
    .close = stream_close,
};

int stream_add(struct wasi *w, uint32_t number, uint32_t source, struct error *e)
{
    struct descriptor made = {.back_end = &back_end_stream,
                              .kind = DESCRIPTOR_STANDARD,
                              .filetype = WASI_FILETYPE_UNKNOWN,
                              .source = source};
    bool there = source == STREAM_IN ||
                 (source == STREAM_OUT ? w->streams.output != NULL : w->streams.log != NULL);
    if (!there) {
        return 0;
    }
    made.base = descriptor_rights(&made) &
                ~(source == STREAM_IN ? WASI_RIGHT_FD_WRITE : WASI_RIGHT_FD_READ);
    return descriptor_put(w, &made, number) == WASI_SUCCESS
               ? 0
               : error_set(e, ATOLL_ENOMEM, "no memory for the guest's descriptors");
}
