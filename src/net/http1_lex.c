/*
 * A head taken apart by libhttp-parser. The whole head is handed over at once, so that the library
 * calls back once for each span; a span in two parts is refused, it cannot happen otherwise.
 */
#include "net/http1_lex.h"

#include <http_parser.h>

struct lex {
    struct http_header *headers;
    uint32_t capacity;
    bool complete;
    struct http1_lexed *out;
};

static int lex_target(http_parser *parser, const char *at, size_t len)
{
    struct lex *l = parser->data;
    if (l->out->target)
        return 1;
    l->out->target = at;
    l->out->target_len = (uint32_t)len;
    return 0;
}

static int lex_name(http_parser *parser, const char *at, size_t len)
{
    struct lex *l = parser->data;
    if (l->out->header_count == l->capacity)
        return 1;
    l->headers[l->out->header_count++] = (struct http_header){at, NULL, (uint32_t)len, 0};
    return 0;
}

static int lex_value(http_parser *parser, const char *at, size_t len)
{
    struct lex *l = parser->data;
    struct http_header *h = l->out->header_count ? &l->headers[l->out->header_count - 1] : NULL;
    if (!h || h->value)
        return 1;
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
        len--;
    /* Of an empty value the library points into the next line; the colon's place is free. */
    h->value = len ? at : h->name + h->name_len;
    h->value_len = (uint32_t)len;
    return 0;
}

static int lex_complete(http_parser *parser)
{
    struct lex *l = parser->data;
    struct http1_lexed *out = l->out;
    out->status = parser->status_code;
    out->major = parser->http_major;
    out->minor = parser->http_minor;
    out->chunked = (parser->flags & F_CHUNKED) != 0;
    out->has_length = (parser->flags & F_CONTENTLENGTH) != 0;
    out->content_length = out->has_length ? parser->content_length : 0;
    l->complete = true;
    return 2; /* neither a body nor anything behind it is the library's business */
}

const char *http1_lex(bool response, const char *text, size_t len, struct http_header *headers,
                      uint32_t capacity, struct http1_lexed *out)
{
    static const http_parser_settings settings = {
        .on_url = lex_target,
        .on_header_field = lex_name,
        .on_header_value = lex_value,
        .on_headers_complete = lex_complete,
    };
    *out = (struct http1_lexed){0};
    struct lex l = {headers, capacity, false, out};
    http_parser parser;
    http_parser_init(&parser, response ? HTTP_RESPONSE : HTTP_REQUEST);
    parser.data = &l;
    size_t used = http_parser_execute(&parser, &settings, text, len);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        return http_errno_description(HTTP_PARSER_ERRNO(&parser));
    if (!l.complete || used != len)
        return "the head ends elsewhere than its empty line";
    for (uint32_t i = 0; i < out->header_count; i++) {
        if (!headers[i].value)
            return "a header field without a value";
    }
    return NULL;
}
