/*
 * Reading the HTTP request of a call.
 *
 *     static struct atoll_http_request request;
 *     if (atoll_http_request_read(&request) < 0)
 *         return 1;                                   // did not come over HTTP
 *     if (atoll_http_is(request.method, "POST")) …
 */
#ifndef ATOLL_HTTP_H
#define ATOLL_HTTP_H

#include <atoll.h>
#include <stdbool.h>
#include <string.h>

/* A piece of the request: no NUL follows it. */
struct atoll_http_text {
    const char *text;
    uint32_t len;
};

struct atoll_http_request {
    struct atoll_http_text method, path, query; /* as sent; query without its '?', maybe empty */
    struct atoll_http_text headers;             /* lines "name: value\n" */
    char head[ATOLL_HTTP_HEAD_MAX];
};

static inline bool atoll_http_is(struct atoll_http_text text, const char *string)
{
    return strlen(string) == text.len && memcmp(text.text, string, text.len) == 0;
}

/* Takes what stands before the first `end` off `rest`, and `end` as well. All, if there is none. */
static inline struct atoll_http_text atoll_http_take(struct atoll_http_text *rest, char end)
{
    struct atoll_http_text piece = *rest;
    const char *at = rest->len ? memchr(rest->text, end, rest->len) : NULL;
    if (at)
        piece.len = (uint32_t)(at - rest->text);
    rest->text += piece.len + (at != NULL);
    rest->len -= piece.len + (at != NULL);
    return piece;
}

/* 0; -ATOLL_ENOENT when the call did not come over HTTP. */
static inline int32_t atoll_http_request_read(struct atoll_http_request *request)
{
    int64_t len = atoll_http_head(request->head, sizeof request->head);
    struct atoll_http_text rest, line;
    if (len < 0)
        return (int32_t)len;
    if (len > (int64_t)sizeof request->head)
        return -ATOLL_ESIZE;
    rest = (struct atoll_http_text){request->head, (uint32_t)len};
    line = atoll_http_take(&rest, '\n');
    request->headers = rest;
    request->method = atoll_http_take(&line, ' ');
    request->path = atoll_http_take(&line, '?');
    request->query = line;
    return 0;
}

/* Whether a header's name is `name`, which is in lower case. */
static inline bool atoll_http_name_is(struct atoll_http_text text, const char *name)
{
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.text[i];
        if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != name[i])
            return false;
    }
    return name[text.len] == 0;
}

/* The value of the first header of this name (given in lower case); text NULL when there is none.
 */
static inline struct atoll_http_text atoll_http_header(const struct atoll_http_request *request,
                                                       const char *name)
{
    struct atoll_http_text rest = request->headers;
    while (rest.len > 0) {
        struct atoll_http_text line = atoll_http_take(&rest, '\n');
        struct atoll_http_text found = atoll_http_take(&line, ':');
        if (!atoll_http_name_is(found, name))
            continue;
        while (line.len > 0 && (*line.text == ' ' || *line.text == '\t')) {
            line.text++;
            line.len--;
        }
        return line;
    }
    return (struct atoll_http_text){NULL, 0};
}

#endif
