/*
 * The head of a message, line by line and then as a whole.
 *
 * The lines are checked here on their raw bytes, because the parser library as it is packaged takes
 * more than the standard allows (a line end without CR, folded lines, bytes above 0x7f in targets).
 * After that the library takes the head apart, this file gives the fields their meaning, and where
 * both have an opinion about the framing they must be of the same one.
 */
#include "net/http1_head.h"

#include "net/http1_lex.h"

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/" digit "." digit. */
static struct http1_refusal version_check(const char *text, size_t len)
{
    if (len != 8 || memcmp(text, "HTTP/", 5) != 0 || !digit(text[5]) || text[6] != '.' ||
        !digit(text[7]))
        return http1_refuse(400, "the first line has no HTTP version");
    if (text[5] != '1' || text[7] > '1')
        return http1_refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    return http1_accept;
}

static struct http1_refusal target_check(enum http_method method, const char *target, size_t len)
{
    if (target[0] == '*' && len == 1) {
        if (method != HTTP_OPTIONS)
            return http1_refuse(400, "only OPTIONS may have the target *");
        return http1_accept;
    }
    if (target[0] != '/')
        return http1_refuse(
            400, "the request target must be a path that begins with /; this is no proxy");
    return http1_accept;
}

struct http1_refusal http1_request_line(const char *line, size_t len)
{
    size_t method_len = 0;
    while (method_len < len && http_token_byte((uint8_t)line[method_len]))
        method_len++;
    if (method_len == 0 || method_len == len || line[method_len] != ' ')
        return http1_refuse(400, "the request line does not begin with a method and one space");
    const char *target = line + method_len + 1;
    size_t rest = len - method_len - 1, target_len = 0;
    while (target_len < rest && http_target_byte((uint8_t)target[target_len]))
        target_len++;
    if (target_len == 0 || target_len == rest || target[target_len] != ' ')
        return http1_refuse(
            400, "the request target is empty, or has a byte that must be percent-encoded, or is "
                 "not followed by one space and the HTTP version");
    const struct http1_refusal refusal =
        version_check(target + target_len + 1, rest - target_len - 1);
    if (refusal.reason)
        return refusal;
    enum http_method method;
    if (!http_method_find(line, method_len, &method))
        return http1_refuse(501, "this method is not known here");
    return target_check(method, target, target_len);
}

struct http1_refusal http1_status_line(const char *line, size_t len)
{
    if (len < 12 || line[8] != ' ' || !digit(line[9]) || !digit(line[10]) || !digit(line[11]) ||
        (len > 12 && line[12] != ' '))
        return http1_refuse(400, "the response does not begin with an HTTP status line");
    if (line[9] == '0' || line[9] > '5')
        return http1_refuse(400, "the response's status is not one of 100 to 599");
    for (size_t i = 12; i < len; i++) {
        if (!http_value_byte((uint8_t)line[i]))
            return http1_refuse(400, "control byte in the status line");
    }
    return version_check(line, 8);
}

struct http1_refusal http1_header_line(const char *line, size_t len)
{
    if (line[0] == ' ' || line[0] == '\t')
        return http1_refuse(400, "a header line begins with white space: folded lines are refused");
    size_t name_len = 0;
    while (name_len < len && http_token_byte((uint8_t)line[name_len]))
        name_len++;
    if (name_len == 0 || name_len == len || line[name_len] != ':')
        return http1_refuse(
            400, "a header line does not begin with a name and, directly behind it, a colon");
    for (size_t i = name_len + 1; i < len; i++) {
        if (!http_value_byte((uint8_t)line[i]))
            return http1_refuse(400, "control byte in a header field");
    }
    return http1_accept;
}

/* What the fields that steer the message say. */
struct meaning {
    unsigned hosts, lengths, codings;
    bool close, keep_alive;
};

static struct http1_refusal length_read(const struct http_header *h, struct http_head *head,
                                        struct meaning *m)
{
    if (m->lengths++)
        return http1_refuse(400, "Content-Length is given twice");
    /* 19 digits stay below 2^64. */
    if (h->value_len == 0 || h->value_len > 19)
        return http1_refuse(400, "Content-Length is not a number of bytes");
    uint64_t length = 0;
    for (uint32_t i = 0; i < h->value_len; i++) {
        if (!digit(h->value[i]))
            return http1_refuse(400, "Content-Length is not a number of bytes");
        length = length * 10 + (uint64_t)(h->value[i] - '0');
    }
    head->has_length = true;
    head->content_length = length;
    return http1_accept;
}

static struct http1_refusal coding_read(const struct http_header *h, struct http_head *head,
                                        struct meaning *m)
{
    if (m->codings++)
        return http1_refuse(400, "Transfer-Encoding is given twice");
    if (!http_text_is(h->value, h->value_len, "chunked"))
        return http1_refuse(400, "the only transfer coding taken here is chunked");
    head->chunked = true;
    return http1_accept;
}

/* uri-host [":" port] (RFC 9110 §7.2), of the names and addresses that exist. */
static bool host_valid(const char *host, size_t len)
{
    size_t at = 0;
    if (len > 0 && host[0] == '[') {
        at = 1;
        while (at < len &&
               (digit(host[at]) || host[at] == ':' || host[at] == '.' ||
                (host[at] >= 'a' && host[at] <= 'f') || (host[at] >= 'A' && host[at] <= 'F')))
            at++;
        if (at < 3 || at == len || host[at] != ']')
            return false;
        at++;
    } else {
        while (at < len &&
               (digit(host[at]) || (host[at] >= 'a' && host[at] <= 'z') ||
                (host[at] >= 'A' && host[at] <= 'Z') || (host[at] && strchr("-._~", host[at]))))
            at++;
        if (at == 0)
            return false;
    }
    if (at == len)
        return true;
    if (host[at] != ':' || len - at < 2 || len - at > 6)
        return false;
    while (++at < len) {
        if (!digit(host[at]))
            return false;
    }
    return true;
}

static struct http1_refusal host_read(const struct http_header *h, struct http_head *head,
                                      struct meaning *m)
{
    if (m->hosts++)
        return http1_refuse(400, "Host is given twice");
    if (!host_valid(h->value, h->value_len))
        return http1_refuse(400, "Host is not a name or address with an optional port");
    head->host = h->value;
    return http1_accept;
}

static struct http1_refusal header_read(const struct http_header *h, bool response,
                                        struct http_head *head, struct meaning *m)
{
    switch (h->name_len) {
    case 4:
        if (!response && http_text_is(h->name, 4, "host"))
            return host_read(h, head, m);
        break;
    case 6:
        if (!response && head->minor > 0 && http_text_is(h->name, 6, "expect")) {
            if (!http_text_is(h->value, h->value_len, "100-continue"))
                return http1_refuse(417, "the only expectation met here is 100-continue");
            head->expect_continue = true;
        }
        break;
    case 10:
        if (http_text_is(h->name, 10, "connection")) {
            m->close |= http_list_has(h->value, h->value_len, "close");
            m->keep_alive |= http_list_has(h->value, h->value_len, "keep-alive");
        }
        break;
    case 14:
        if (http_text_is(h->name, 14, "content-length"))
            return length_read(h, head, m);
        break;
    case 17:
        if (http_text_is(h->name, 17, "transfer-encoding"))
            return coding_read(h, head, m);
        break;
    default: break;
    }
    return http1_accept;
}

static struct http1_refusal headers_read(bool response, struct http_head *head)
{
    struct meaning m = {0};
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http1_refusal refusal = header_read(&head->headers[i], response, head, &m);
        if (refusal.reason)
            return refusal;
    }
    if (m.codings && m.lengths)
        return http1_refuse(400, "Transfer-Encoding and Content-Length are both given");
    if (m.codings && head->minor == 0)
        return http1_refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    if (!response && head->minor > 0 && m.hosts == 0)
        return http1_refuse(400, "the Host field is missing");
    head->keep_alive = !m.close && (head->minor > 0 || m.keep_alive);
    return http1_accept;
}

static void strings_end(struct http_header *headers, uint32_t count)
{
    /* Behind a name stands its colon, behind a value white space or CR. */
    for (uint32_t i = 0; i < count; i++) {
        ((char *)headers[i].name)[headers[i].name_len] = 0;
        ((char *)headers[i].value)[headers[i].value_len] = 0;
    }
}

static void target_split(char *target, uint32_t len, struct http_head *head)
{
    char *mark = memchr(target, '?', len);
    target[len] = 0;
    head->path = target;
    head->path_len = len;
    if (mark) {
        *mark = 0;
        head->path_len = (uint32_t)(mark - target);
        head->query = mark + 1;
        head->query_len = len - head->path_len - 1;
    }
}

struct http1_refusal http1_head_read(bool response, char *text, size_t len,
                                     struct http_header *headers, uint32_t header_lines,
                                     struct http_head *head)
{
    struct http1_lexed lexed;
    const char *reason = http1_lex(response, text, len, headers, header_lines, &lexed);
    *head = (struct http_head){.host = "", .headers = headers, .header_count = lexed.header_count};
    if (reason)
        return http1_refuse(400, reason);
    if (lexed.header_count != header_lines)
        return http1_refuse(400, "the header lines can be understood in two ways");
    head->minor = (uint8_t)lexed.minor;
    const struct http1_refusal refusal = headers_read(response, head);
    if (refusal.reason)
        return refusal;
    if (lexed.chunked != head->chunked || lexed.has_length != head->has_length ||
        lexed.content_length != head->content_length)
        return http1_refuse(400, "the length of the body can be understood in two ways");
    strings_end(headers, header_lines);
    if (response) {
        head->status = lexed.status;
        return http1_accept;
    }
    char *target = text + (lexed.target - text);
    http_method_find(text, (size_t)(target - 1 - text), &head->method);
    target_split(target, lexed.target_len, head);
    return http1_accept;
}
