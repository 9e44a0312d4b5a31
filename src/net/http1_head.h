/*
 * The head of a message: which lines are allowed, and what they mean together. Part of http1; its
 * machine collects the lines and asks here.
 */
#ifndef NET_HTTP1_HEAD_H
#define NET_HTTP1_HEAD_H

#include "net/http.h"

/* Why a message is refused; without a reason nothing is wrong. */
struct http1_refusal {
    unsigned status;
    const char *reason;
};
static const struct http1_refusal http1_accept = {0};

static inline struct http1_refusal http1_refuse(unsigned status, const char *reason)
{
    return (struct http1_refusal){status, reason};
}

/* Each of these gets a line without its CR LF. */
struct http1_refusal http1_request_line(const char *line, size_t len);
struct http1_refusal http1_status_line(const char *line, size_t len);
struct http1_refusal http1_header_line(const char *line, size_t len);

/* Takes a whole head of checked lines apart: text gets NULs behind its parts, headers (room for
 * header_lines) and head are filled. */
struct http1_refusal http1_head_read(bool response, char *text, size_t len,
                                     struct http_header *headers, uint32_t header_lines,
                                     struct http_head *head);

#endif
