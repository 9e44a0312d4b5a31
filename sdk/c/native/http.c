/*
 * The head of an HTTP request, and the head of its response, checked as a node checks it.
 */
#define _GNU_SOURCE
#include "node.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int64_t atoll_http_head(atoll_out buf, uint64_t cap)
{
    struct native_call *call = call_enter();
    if (!call)
        return -ATOLL_EPERM;
    const struct buffer *head = &call->http_head;
    if (!head->data)
        return call_leave(call, -ATOLL_ENOENT);
    if (head->len > 0 && cap > 0)
        memcpy(buf, head->data, head->len < cap ? head->len : cap);
    return call_leave(call, (int64_t)head->len);
}

static bool token_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

/* The length of the name before ": ", or 0 when the line is malformed. */
static size_t header_name(const char *line, size_t len)
{
    size_t name = 0;
    while (name < len && token_character(line[name]))
        name++;
    if (name == 0 || name == len || line[name] != ':')
        return 0;
    for (size_t i = name + 1; i < len; i++) {
        if (line[i] != '\t' && (line[i] < 0x20 || line[i] > 0x7e))
            return 0;
    }
    return name;
}

static bool of_connection(const char *name, size_t len)
{
    static const char *const names[] = {
        "connection", "content-length", "keep-alive",        "proxy-connection",
        "te",         "trailer",        "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
            return true;
    }
    return false;
}

static int headers_keep(struct buffer *kept, const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t line = end ? (size_t)(end - text) : 0;
        size_t name = header_name(text, line);
        if (name == 0)
            return -ATOLL_EINVAL;
        if (!of_connection(text, name) && !buffer_add(kept, text, line + 1))
            return -ATOLL_ENOMEM;
        text += line + 1;
        len -= line + 1;
    }
    return 0;
}

int32_t atoll_http_reply(uint32_t status, atoll_in headers, uint32_t len)
{
    struct native_call *call = call_enter();
    struct buffer kept = {0};
    if (!call)
        return -ATOLL_EPERM;
    if (!call->http_head.data)
        return (int32_t)call_leave(call, -ATOLL_ENOENT);
    int error = status < 200 || status > 599 ? -ATOLL_EINVAL
                : len > ATOLL_HTTP_REPLY_MAX ? -ATOLL_ESIZE
                                             : headers_keep(&kept, headers, len);
    if (!error) {
        struct buffer before = call->http_headers;
        call->http_headers = kept;
        call->http_status = status;
        kept = before;
    }
    free(kept.data);
    return (int32_t)call_leave(call, error);
}
