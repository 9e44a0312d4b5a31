/*
 * What an HTTP/1.1 machine makes of some bytes, as text, so that a test can compare readings:
 *
 *   "GET /path?query; POST /x [body]; !400"
 *
 * One item for each message, "!status" for a refusal (which ends the reading), "..." for a message
 * that is not complete.
 */
#ifndef TESTS_HTTP_TRACE_H
#define TESTS_HTTP_TRACE_H

#include "net/http1.h"

#include <stdio.h>
#include <stdlib.h>

struct http_trace {
    char text[8192];
    size_t len;
};

static inline void trace_add(struct http_trace *t, const char *text, size_t len)
{
    if (len > sizeof t->text - 1 - t->len)
        len = sizeof t->text - 1 - t->len;
    memcpy(t->text + t->len, text, len);
    t->len += len;
    t->text[t->len] = 0;
}

static inline void trace_begin(struct http_trace *t, const struct http1 *m)
{
    const struct http_head *head = http1_head(m);
    char line[256];
    if (m->role == HTTP1_CLIENT)
        snprintf(line, sizeof line, "%s%u", t->len ? "; " : "", head->status);
    else
        snprintf(line, sizeof line, "%s%s %.100s%s%.100s", t->len ? "; " : "",
                 http_method_name(head->method), head->path, head->query ? "?" : "",
                 head->query ? head->query : "");
    trace_add(t, line, strlen(line));
}

/* The next events of the machine, fed with data; *open says whether a body is being traced. False
 * after a refusal. */
static inline bool trace_feed(struct http_trace *t, struct http1 *m, const uint8_t *data,
                              size_t len, uint64_t body_max, bool *open)
{
    struct http1_event event = {.kind = HTTP1_HEAD};
    size_t used = 0;
    char line[32];
    while (event.kind != HTTP1_NONE) {
        used += http1_read(m, data + used, len - used, &event);
        switch (event.kind) {
        case HTTP1_HEAD:
            http1_body_max_set(m, body_max);
            trace_begin(t, m);
            break;
        case HTTP1_BODY:
            if (!*open)
                trace_add(t, " [", 2);
            *open = true;
            trace_add(t, (const char *)event.data, event.len);
            break;
        case HTTP1_END:
            if (*open)
                trace_add(t, "]", 1);
            *open = false;
            if (m->role == HTTP1_SERVER && !http1_head(m)->keep_alive)
                trace_add(t, " close", 6);
            http1_next(m);
            break;
        case HTTP1_ERROR:
            if (*open)
                trace_add(t, "]", 1);
            snprintf(line, sizeof line, "%s!%u", t->len ? "; " : "", event.status);
            trace_add(t, line, strlen(line));
            return false;
        default: break;
        }
    }
    return true;
}

/* Reads bytes cut into two at `cut`, and into pieces of `step` bytes. A copy of each piece is read,
 * so that a machine that looks behind it is noticed by the sanitizers. */
static inline void trace_read(struct http_trace *t, enum http1_role role, const void *bytes,
                              size_t len, size_t cut, size_t step, uint64_t body_max)
{
    struct http1 m;
    bool open = false, good = true;
    const uint8_t *data = bytes;
    t->len = 0;
    t->text[0] = 0;
    http1_init(&m, role);
    for (size_t at = 0; at < len && good;) {
        size_t piece = len - at < step ? len - at : step;
        if (at < cut && piece > cut - at)
            piece = cut - at;
        uint8_t *copy = malloc(piece);
        memcpy(copy, data + at, piece);
        good = trace_feed(t, &m, copy, piece, body_max, &open);
        free(copy);
        at += piece;
    }
    if (good) {
        struct http1_event event;
        http1_read_end(&m, &event);
        if (open)
            trace_add(t, "]", 1);
        if (event.kind == HTTP1_ERROR)
            trace_add(t, t->len ? " ..." : "...", t->len ? 4 : 3);
        else if (event.kind == HTTP1_END)
            trace_add(t, " until close", 12);
    }
    http1_free(&m);
}

#endif
