/*
 * Heads and problem documents. A head is written into reserved room in one go; when a field turns
 * out to be unfit the buffer is cut back to where it was.
 */
#include "net/http_write.h"

#include <assert.h>
#include <stdio.h>

/* Text into room that has been checked to suffice. */
static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *put_number(char *at, uint64_t value)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    return put(at, digits + n, sizeof digits - n);
}

/* The room for fields that the caller gives, with their separators. */
static int fields_size(const struct http_header *headers, size_t count, size_t *size,
                       struct error *e)
{
    *size = 0;
    if (count > HTTP_WRITE_HEADERS_MAX)
        return error_set(e, ATOLL_ELIMIT, "a message may have %d header fields, this one has %zu",
                         HTTP_WRITE_HEADERS_MAX, count);
    for (size_t i = 0; i < count; i++) {
        *size += (size_t)headers[i].name_len + headers[i].value_len + 4;
        if (*size > HTTP_WRITE_HEAD_BYTES)
            return error_set(e, ATOLL_ELIMIT, "the header fields are longer than %d bytes",
                             HTTP_WRITE_HEAD_BYTES);
    }
    return 0;
}

static int fields_check(const struct http_header *headers, size_t count, struct error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!http_header_valid(&headers[i]))
            return error_set(
                e, ATOLL_EINVAL,
                "header field %zu is refused: its name is no token, or its value has a "
                "line break or another control byte",
                i);
    }
    return 0;
}

static char *put_fields(char *at, const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (http_header_hop_by_hop(&headers[i]))
            continue;
        at = put(at, headers[i].name, headers[i].name_len);
        at = PUT(at, ": ");
        at = put(at, headers[i].value, headers[i].value_len);
        at = PUT(at, "\r\n");
    }
    return at;
}

static char *put_framing(char *at, const struct http_response_head *head)
{
    if (http_status_has_body(head->status)) {
        if (head->length != HTTP_LENGTH_UNKNOWN) {
            at = PUT(at, "Content-Length: ");
            at = put_number(at, head->length);
            at = PUT(at, "\r\n");
        } else if (head->minor > 0) {
            at = PUT(at, "Transfer-Encoding: chunked\r\n");
        }
    }
    if (!head->keep_alive)
        return PUT(at, "Connection: close\r\n");
    return head->minor == 0 ? PUT(at, "Connection: keep-alive\r\n") : at;
}

bool http_status_has_body(unsigned status)
{
    return status >= 200 && status != 204 && status != 304;
}

int http_response_write(struct buffer *out, const struct http_response_head *head, struct error *e)
{
    if (head->status < 200 || head->status > 599)
        return error_set(e, ATOLL_EINVAL, "%u is no status of a final response (200 to 599)",
                         head->status);
    size_t fields;
    int result = fields_size(head->headers, head->header_count, &fields, e);
    if (result == 0)
        result = fields_check(head->headers, head->header_count, e);
    if (result < 0)
        return result;
    if (!buffer_reserve(out, fields + 256))
        return error_set(e, ATOLL_ENOMEM, "out of memory for a response");
    char *at = (char *)out->data + out->len;
    const char *text = http_status_text(head->status);
    at = PUT(at, "HTTP/1.1 ");
    at = put_number(at, head->status);
    at = PUT(at, " ");
    at = put(at, text, strlen(text));
    at = PUT(at, "\r\n");
    if (head->date) {
        at = PUT(at, "Date: ");
        at = put(at, head->date, HTTP_DATE_LEN);
        at = PUT(at, "\r\n");
    }
    at = put_framing(at, head);
    at = put_fields(at, head->headers, head->header_count);
    at = PUT(at, "\r\n");
    out->len = (size_t)(at - (char *)out->data);
    assert(out->len <= out->capacity);
    return 0;
}

int http_request_write(struct buffer *out, const struct http_request_head *head, struct error *e)
{
    size_t fields, target_len = strlen(head->target), host_len = strlen(head->host);
    int result = fields_size(head->headers, head->header_count, &fields, e);
    if (result == 0)
        result = fields_check(head->headers, head->header_count, e);
    if (result < 0)
        return result;
    const struct http_header host = http_header_text("Host", head->host);
    const struct http_header *own_host =
        http_header_find(head->headers, head->header_count, "host");
    if (own_host || !http_header_valid(&host) || target_len == 0 || target_len > 8192)
        return error_set(e, ATOLL_EINVAL, "the request's host or target cannot be sent");
    for (size_t i = 0; i < target_len; i++) {
        if (head->target[i] <= ' ' || head->target[i] > '~')
            return error_set(e, ATOLL_EINVAL,
                             "the request's target has a byte that must be "
                             "percent-encoded");
    }
    if (!buffer_reserve(out, fields + target_len + host_len + 128))
        return error_set(e, ATOLL_ENOMEM, "out of memory for a request");
    const char *method = http_method_name(head->method);
    char *at = (char *)out->data + out->len;
    at = put(at, method, strlen(method));
    at = PUT(at, " ");
    at = put(at, head->target, target_len);
    at = PUT(at, " HTTP/1.1\r\nHost: ");
    at = put(at, head->host, host_len);
    at = PUT(at, "\r\n");
    if (head->length > 0 || head->method == HTTP_POST || head->method == HTTP_PUT ||
        head->method == HTTP_PATCH) {
        at = PUT(at, "Content-Length: ");
        at = put_number(at, head->length);
        at = PUT(at, "\r\n");
    }
    if (!head->keep_alive)
        at = PUT(at, "Connection: close\r\n");
    at = put_fields(at, head->headers, head->header_count);
    at = PUT(at, "\r\n");
    out->len = (size_t)(at - (char *)out->data);
    assert(out->len <= out->capacity);
    return 0;
}

size_t http_chunk_head(uint64_t len, char out[static HTTP_CHUNK_HEAD_MAX])
{
    static const char hex[] = "0123456789abcdef";
    assert(len > 0);
    size_t digits = 1;
    while (digits < 16 && len >> (4 * digits))
        digits++;
    for (size_t i = 0; i < digits; i++)
        out[i] = hex[len >> (4 * (digits - 1 - i)) & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

/* ---- problem documents ---- */

/* Length of the well-formed UTF-8 sequence at text (Unicode table 3-7), 0 when there is none. */
static size_t utf8_sequence(const uint8_t *text, size_t len)
{
    uint8_t first = text[0], low = 0x80, high = 0xbf;
    size_t more;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        more = 1;
    else if (first >= 0xe0 && first <= 0xef)
        more = 2;
    else if (first >= 0xf0 && first <= 0xf4)
        more = 3;
    else
        return 0;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    if (more >= len || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i <= more; i++) {
        if (text[i] < 0x80 || text[i] > 0xbf)
            return 0;
    }
    return more + 1;
}

static bool json_escape(struct buffer *out, uint8_t c)
{
    char text[8];
    switch (c) {
    case '"':
    case '\\': snprintf(text, sizeof text, "\\%c", c); break;
    case '\n': snprintf(text, sizeof text, "\\n"); break;
    case '\r': snprintf(text, sizeof text, "\\r"); break;
    case '\t': snprintf(text, sizeof text, "\\t"); break;
    default: snprintf(text, sizeof text, "\\u%04x", c); break;
    }
    return buffer_append(out, text, strlen(text));
}

bool http_json_string(struct buffer *out, const char *bytes, size_t len)
{
    const uint8_t *text = (const uint8_t *)bytes;
    bool good = buffer_append(out, "\"", 1);
    size_t at = 0;
    while (good && at < len) {
        size_t plain = at, step = 1;
        while (plain < len && text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\' &&
               (step = utf8_sequence(text + plain, len - plain)) > 0)
            plain += step;
        if (plain > at)
            good = buffer_append(out, text + at, plain - at);
        at = plain;
        if (!good || at == len)
            break;
        good = step == 0 && text[at] >= 0x80 ? buffer_append(out, "\xef\xbf\xbd", 3)
                                             : json_escape(out, text[at]);
        at++;
    }
    return good && buffer_append(out, "\"", 1);
}

static bool member_write(struct buffer *out, const char *name, const char *value)
{
    return !value || (buffer_append(out, ",\"", 2) && buffer_append(out, name, strlen(name)) &&
                      buffer_append(out, "\":", 2) && http_json_string(out, value, strlen(value)));
}

bool http_problem_write(struct buffer *out, const struct http_problem *p)
{
    char status[32];
    snprintf(status, sizeof status, ",\"status\":%u", p->status);
    const char *type = p->type ? p->type : "about:blank";
    return buffer_append(out, "{\"type\":", 8) && http_json_string(out, type, strlen(type)) &&
           member_write(out, "title", p->title ? p->title : http_status_text(p->status)) &&
           buffer_append(out, status, strlen(status)) && member_write(out, "detail", p->detail) &&
           member_write(out, "call", p->call) && buffer_append(out, "}\n", 2);
}
