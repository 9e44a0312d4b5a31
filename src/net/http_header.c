/* Header fields: byte classes as tables, look-ups as linear scans (a message has at most a hundred,
 * usually ten). */
#include "net/http_header.h"

enum { TOKEN = HTTP_BYTE_TOKEN, VALUE = HTTP_BYTE_VALUE, TARGET = HTTP_BYTE_TARGET };
const uint8_t http_byte_class[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TOKEN | VALUE | TARGET,
    ['"'] = VALUE,
    ['#'] = TOKEN | VALUE,
    ['$' ... '\''] = TOKEN | VALUE | TARGET,
    ['(' ... ')'] = VALUE | TARGET,
    ['*' ... '+'] = TOKEN | VALUE | TARGET,
    [','] = VALUE | TARGET,
    ['-' ... '.'] = TOKEN | VALUE | TARGET,
    ['/'] = VALUE | TARGET,
    ['0' ... '9'] = TOKEN | VALUE | TARGET,
    [':' ... ';'] = VALUE | TARGET,
    ['<'] = VALUE,
    ['='] = VALUE | TARGET,
    ['>'] = VALUE,
    ['?' ... '@'] = VALUE | TARGET,
    ['A' ... 'Z'] = TOKEN | VALUE | TARGET,
    ['['] = VALUE | TARGET,
    ['\\'] = VALUE,
    [']'] = VALUE | TARGET,
    ['^'] = TOKEN | VALUE,
    ['_'] = TOKEN | VALUE | TARGET,
    ['`'] = TOKEN | VALUE,
    ['a' ... 'z'] = TOKEN | VALUE | TARGET,
    ['{'] = VALUE,
    ['|'] = TOKEN | VALUE,
    ['}'] = VALUE,
    ['~'] = TOKEN | VALUE | TARGET,
    [0x80 ... 0xff] = VALUE,
};

bool http_header_valid(const struct http_header *h)
{
    if (h->name_len == 0)
        return false;
    for (uint32_t i = 0; i < h->name_len; i++) {
        if (!http_token_byte((uint8_t)h->name[i]))
            return false;
    }
    for (uint32_t i = 0; i < h->value_len; i++) {
        if (!http_value_byte((uint8_t)h->value[i]))
            return false;
    }
    return true;
}

bool http_text_is(const char *text, size_t len, const char *lower)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (lower[i] == 0 || c != lower[i])
            return false;
    }
    return lower[len] == 0;
}

const struct http_header *http_header_find(const struct http_header *headers, size_t count,
                                           const char *lower)
{
    size_t len = strlen(lower);
    for (size_t i = 0; i < count; i++) {
        if (headers[i].name_len == len && http_text_is(headers[i].name, len, lower))
            return &headers[i];
    }
    return NULL;
}

bool http_list_has(const char *value, size_t len, const char *lower)
{
    size_t at = 0;
    while (at < len) {
        size_t end = at;
        while (end < len && value[end] != ',')
            end++;
        size_t from = at, to = end;
        while (from < to && (value[from] == ' ' || value[from] == '\t'))
            from++;
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t'))
            to--;
        if (http_text_is(value + from, to - from, lower))
            return true;
        at = end + 1;
    }
    return false;
}

bool http_header_hop_by_hop(const struct http_header *h)
{
    static const char *const names[] = {
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "content-length",
        "date",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (http_text_is(h->name, h->name_len, names[i]))
            return true;
    }
    return false;
}
