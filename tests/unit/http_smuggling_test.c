/*
 * Requests made to be understood differently by two readers, or to exhaust one: each is refused
 * with the status the table says, or read in the one way the standard has, however its bytes are
 * cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http_trace.h"

#define BODY_MAX 1000

#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define GET  "GET / HTTP/1.1\r\nHost: a\r\n"
#define NEXT "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
#define TE   "Transfer-Encoding: chunked\r\n"

struct attack {
    const char *name, *bytes;
    size_t len;
    const char *reading;
};
#define ATTACK(name, bytes, reading) {name, bytes, sizeof(bytes) - 1, reading}

static const struct attack attacks[] = {
    /* Two lengths. */
    ATTACK("CL.TE", POST "Content-Length: 6\r\n" TE "\r\n0\r\n\r\nG", "!400"),
    ATTACK("TE.CL", POST TE "Content-Length: 4\r\n\r\n5c\r\nGPOST", "!400"),
    ATTACK("CL.TE in lower case",
           POST "content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("CL.CL different", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "!400"),
    ATTACK("CL.CL equal", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "!400"),
    ATTACK("CL.CL, one zero", POST "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" NEXT, "!400"),
    ATTACK("list of equal lengths", POST "Content-Length: 5, 5\r\n\r\nhello", "!400"),
    ATTACK("list of lengths", POST "Content-Length: 5, 6\r\n\r\nhello!", "!400"),
    ATTACK("TE twice", POST TE TE "\r\n0\r\n\r\n", "!400"),
    ATTACK("GET with both", GET "Content-Length: 5\r\n" TE "\r\n0\r\n\r\n", "!400"),

    /* Lengths that are not numbers. */
    ATTACK("length with plus", POST "Content-Length: +5\r\n\r\nhello", "!400"),
    ATTACK("length with minus", POST "Content-Length: -5\r\n\r\nhello", "!400"),
    ATTACK("minus zero", POST "Content-Length: -0\r\n\r\n", "!400"),
    ATTACK("hexadecimal length", POST "Content-Length: 0x5\r\n\r\nhello", "!400"),
    ATTACK("length with a letter", POST "Content-Length: 5a\r\n\r\nhello", "!400"),
    ATTACK("length with a fraction", POST "Content-Length: 5.0\r\n\r\nhello", "!400"),
    ATTACK("length with a space within", POST "Content-Length: 1 0\r\n\r\n0123456789", "!400"),
    ATTACK("length with an underscore", POST "Content-Length: 1_0\r\n\r\n0123456789", "!400"),
    ATTACK("empty length", POST "Content-Length: \r\n\r\n", "!400"),
    ATTACK("length of only commas", POST "Content-Length: ,,\r\n\r\n", "!400"),
    ATTACK("length beyond 64 bits", POST "Content-Length: 18446744073709551621\r\n\r\nhello",
           "!400"),
    ATTACK("length of 40 digits",
           POST "Content-Length: 1000000000000000000000000000000000000000\r\n\r\n", "!400"),
    ATTACK("length of many zeros",
           POST "Content-Length: 00000000000000000000000000000005\r\n\r\nhello", "!400"),
    ATTACK("largest length", POST "Content-Length: 9223372036854775807\r\n\r\n", "POST /; !413"),
    ATTACK("length above the limit", POST "Content-Length: 1001\r\n\r\n", "POST /; !413"),
    ATTACK("quoted length", POST "Content-Length: \"5\"\r\n\r\nhello", "!400"),
    ATTACK("length with a vertical tab", POST "Content-Length: \v5\r\n\r\nhello", "!400"),
    ATTACK("length with spaces around", POST "Content-Length:   5  \r\n\r\nhello" NEXT,
           "POST / [hello]; GET /next"),
    ATTACK("length with a tab behind it", POST "Content-Length: 5\t\r\n\r\nhello", "!400"),
    ATTACK("length with leading zeros", POST "Content-Length: 005\r\n\r\nhello" NEXT,
           "POST / [hello]; GET /next"),

    /* Codings in disguise. */
    ATTACK("unknown coding", POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("identity", POST "Transfer-Encoding: identity\r\n\r\n", "!400"),
    ATTACK("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("chunked, identity", POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
           "!400"),
    ATTACK("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("chunked with a parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
           "!400"),
    ATTACK("quoted chunked", POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("chunked with a vertical tab", POST "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
           "!400"),
    ATTACK("chunked with a form feed", POST "Transfer-Encoding: chunked\f\r\n\r\n0\r\n\r\n",
           "!400"),
    ATTACK("chunked with NUL", POST "Transfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("chunked with 0x80", POST "Transfer-Encoding: chunked\x80\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("empty coding", POST "Transfer-Encoding:\r\n\r\n", "!400"),
    ATTACK("comma before chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE name with a space", POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE name with a tab", POST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE after a folded line", POST "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "!400"),
    ATTACK("TE value folded", POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE behind a bare CR", POST "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE behind a bare LF", POST "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"),
    ATTACK("TE with an underscore is another field",
           POST "Transfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nab" NEXT,
           "POST / [ab]; GET /next"),
    ATTACK("TE in 1.0", "POST / HTTP/1.0\r\n" TE "\r\n0\r\n\r\n", "!400"),
    ATTACK("chunked in mixed case",
           POST "tRANSFER-eNCODING: ChUnKeD\r\n\r\n2\r\nab\r\n0\r\n\r\n" NEXT,
           "POST / [ab]; GET /next"),

    /* Chunks. */
    ATTACK("chunk size beyond 64 bits", POST TE "\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
           "POST /; !400"),
    ATTACK("chunk size that wraps around", POST TE "\r\nffffffffffffffff\r\nhello\r\n0\r\n\r\n",
           "POST /; !413"),
    ATTACK("second chunk that wraps the sum",
           POST TE "\r\n5\r\nhello\r\nfffffffffffffffb\r\n0\r\n\r\n", "POST / [hello]; !413"),
    ATTACK("chunks above the limit", POST TE "\r\n3e9\r\n", "POST /; !413"),
    ATTACK("negative chunk size", POST TE "\r\n-5\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk size with plus", POST TE "\r\n+5\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk size with 0x", POST TE "\r\n0x5\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk size with a space before", POST TE "\r\n 5\r\nhello\r\n0\r\n\r\n",
           "POST /; !400"),
    ATTACK("chunk size with a space behind", POST TE "\r\n5 \r\nhello\r\n0\r\n\r\n",
           "POST /; !400"),
    ATTACK("empty chunk size", POST TE "\r\n\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk extension without a size", POST TE "\r\n;a=b\r\nhello\r\n0\r\n\r\n",
           "POST /; !400"),
    ATTACK("chunk size line with a bare LF", POST TE "\r\n5\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk size line with a bare CR", POST TE "\r\n5\rhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("bare LF in an extension", POST TE "\r\n5;a\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("bare CR in an extension", POST TE "\r\n5;a\rb\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("NUL in an extension", POST TE "\r\n5;a\0\r\nhello\r\n0\r\n\r\n", "POST /; !400"),
    ATTACK("chunk longer than its size", POST TE "\r\n4\r\nhello\r\n0\r\n\r\n",
           "POST / [hell]; !400"),
    ATTACK("chunk shorter than its size", POST TE "\r\n6\r\nhello\r\n0\r\n\r\n",
           "POST / [hello\r]; !400"),
    ATTACK("chunk data ended by LF", POST TE "\r\n5\r\nhello\n0\r\n\r\n", "POST / [hello]; !400"),
    ATTACK("chunk data ended by CR CR", POST TE "\r\n5\r\nhello\r\r0\r\n\r\n",
           "POST / [hello]; !400"),
    ATTACK("chunk data ended by nothing", POST TE "\r\n5\r\nhello0\r\n\r\n",
           "POST / [hello]; !400"),
    ATTACK("chunks ended by bare LFs", POST TE "\r\n0\n\n", "POST /; !400"),
    ATTACK("last chunk of many zeros", POST TE "\r\n0000000000000000\r\n\r\n" NEXT,
           "POST /; GET /next"),
    ATTACK("last chunk of too many zeros", POST TE "\r\n00000000000000000\r\n\r\n", "POST /; !400"),
    ATTACK("extensions are dropped", POST TE "\r\n5;a=\"b;c\";d\r\nhello\r\n0;e\r\n\r\n" NEXT,
           "POST / [hello]; GET /next"),
    ATTACK("request behind the last chunk", POST TE "\r\n5\r\nhello\r\n0\r\n\r\n" NEXT,
           "POST / [hello]; GET /next"),

    /* Trailers. */
    ATTACK("trailers are dropped", POST TE "\r\n0\r\nContent-Length: 100\r\nHost: b\r\n\r\n" NEXT,
           "POST /; GET /next"),
    ATTACK("folded trailer", POST TE "\r\n0\r\nX: a\r\n b\r\n\r\n", "POST /; !400"),
    ATTACK("trailer with a space before its colon", POST TE "\r\n0\r\nX : a\r\n\r\n",
           "POST /; !400"),
    ATTACK("trailer without a colon", POST TE "\r\n0\r\nX\r\n\r\n", "POST /; !400"),
    ATTACK("trailer with a bare LF", POST TE "\r\n0\r\nX: a\n\r\n", "POST /; !400"),
    ATTACK("request in place of trailers",
           POST TE "\r\n0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n", "POST /; !400"),

    /* Header lines. */
    ATTACK("bare LF ends a header line", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "!400"),
    ATTACK("bare LFs only", "GET / HTTP/1.1\nHost: a\n\n", "!400"),
    ATTACK("bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", "!400"),
    ATTACK("bare CR in a value", GET "X: a\rb\r\n\r\n", "!400"),
    ATTACK("CR CR LF", GET "X: a\r\r\n\r\n", "!400"),
    ATTACK("NUL in a name", GET "X\0Y: a\r\n\r\n", "!400"),
    ATTACK("NUL in a value", GET "X: a\0b\r\n\r\n", "!400"),
    ATTACK("DEL in a value", GET "X: a\x7f\r\n\r\n", "!400"),
    ATTACK("escape in a value", GET "X: \x1b[0m\r\n\r\n", "!400"),
    ATTACK("high byte in a name", GET "X\xc3\xa9: a\r\n\r\n", "!400"),
    ATTACK("no colon", GET "X\r\n\r\n", "!400"),
    ATTACK("no name", GET ": a\r\n\r\n", "!400"),
    ATTACK("space before the colon", GET "X : a\r\n\r\n", "!400"),
    ATTACK("folded line", GET "X: a\r\n b\r\n\r\n", "!400"),
    ATTACK("folded line with a tab", GET "X: a\r\n\tb\r\n\r\n", "!400"),
    ATTACK("first header line folded", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "!400"),
    ATTACK("line of blanks ends no head", GET " \r\n\r\n", "!400"),
    ATTACK("parenthesis in a name", GET "X(y): a\r\n\r\n", "!400"),
    ATTACK("empty value, bytes above 0x7f, tabs", GET "X:\r\nY: \xc3\xa9\tb\r\n\r\n" NEXT,
           "GET /; GET /next"),

    /* Host. */
    ATTACK("no Host", "GET / HTTP/1.1\r\n\r\n", "!400"),
    ATTACK("Host twice", GET "Host: a\r\n\r\n", "!400"),
    ATTACK("two Hosts", GET "Host: b\r\n\r\n", "!400"),
    ATTACK("empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "!400"),
    ATTACK("Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "!400"),
    ATTACK("Host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "!400"),
    ATTACK("Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "!400"),
    ATTACK("Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "!400"),
    ATTACK("Host with a bad port", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", "!400"),
    ATTACK("Host with half an address", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "!400"),
    ATTACK("Host with an address and port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /"),
    ATTACK("1.0 needs no Host", "GET / HTTP/1.0\r\n\r\n", "GET / close"),
    ATTACK("1.0 with two Hosts", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "!400"),

    /* Request lines. */
    ATTACK("bare LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "!400"),
    ATTACK("two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("two spaces behind the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("space at the beginning", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "!400"),
    ATTACK("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("HTTP/0.9", "GET /\r\n", "!400"),
    ATTACK("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("high byte in the target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("fragment in the target", "GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("backslash in the target", "GET /\\x HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("absolute target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("asterisk for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("asterisk for OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *"),
    ATTACK("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "!501"),
    ATTACK("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "!501"),
    ATTACK("method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "!501"),
    ATTACK("unknown method", "GPOST / HTTP/1.1\r\nHost: a\r\n\r\n", "!501"),
    ATTACK("method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("protocol in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("another protocol", "GET / HTCPCP/1.0\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("version with two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("version without a minor", "GET / HTTP/1\r\nHost: a\r\n\r\n", "!400"),
    ATTACK("HTTP/0.9 spelled out", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", "!505"),
    ATTACK("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "!505"),
    ATTACK("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "!505"),
    ATTACK("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505"),
    ATTACK("TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "!400"),
    ATTACK("empty line before the request", "\r\n" NEXT, "GET /next"),
    ATTACK("two empty lines before the request", "\r\n\r\n" NEXT, "!400"),
    ATTACK("bare LF before the request", "\n" NEXT, "!400"),
    ATTACK("empty line between requests", POST "Content-Length: 2\r\n\r\nab\r\n" NEXT,
           "POST / [ab]; GET /next"),
    ATTACK("response in place of a request", "HTTP/1.1 200 OK\r\n\r\n", "!400"),

    /* What may follow. */
    ATTACK("unknown expectation", POST "Expect: 200-ok\r\nContent-Length: 2\r\n\r\nab", "!417"),
    ATTACK("expectation in 1.0 is nothing",
           "POST / HTTP/1.0\r\nExpect: x\r\nContent-Length: 2\r\n\r\nab", "POST / [ab] close"),
    ATTACK("close", GET "Connection: close\r\n\r\n", "GET / close"),
    ATTACK("close in a list", GET "Connection: x, Close\r\n\r\n", "GET / close"),
    ATTACK("close beats keep-alive", GET "Connection: keep-alive\r\nConnection: close\r\n\r\n",
           "GET / close"),
    ATTACK("1.0 kept alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /"),
    ATTACK("upgrade is not taken up", GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" NEXT,
           "GET /; GET /next"),
    ATTACK("Content-Length named by Connection still counts",
           POST "Connection: Content-Length\r\nContent-Length: 2\r\n\r\nab" NEXT,
           "POST / [ab]; GET /next"),
    ATTACK("GET with a body", GET "Content-Length: 2\r\n\r\nab" NEXT, "GET / [ab]; GET /next"),
    ATTACK("cut off in a body", POST "Content-Length: 5\r\n\r\nab", "POST / [ab] ..."),
    ATTACK("cut off in a head", "GET / HTTP/1.1\r\nHost: a\r\n", "..."),
    ATTACK("cut off before the last chunk", POST TE "\r\n2\r\nab\r\n", "POST / [ab] ..."),
};

static void every_attack_has_its_one_reading(void **state)
{
    (void)state;
    struct http_trace t;
    assert_true(sizeof attacks / sizeof *attacks >= 60);
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        const struct attack *a = &attacks[i];
        trace_read(&t, HTTP1_SERVER, a->bytes, a->len, 0, SIZE_MAX, BODY_MAX);
        if (strcmp(t.text, a->reading) != 0)
            fail_msg("%s: read as \"%s\", not \"%s\"", a->name, t.text, a->reading);
    }
}

static void the_reading_does_not_depend_on_where_the_bytes_are_cut(void **state)
{
    (void)state;
    struct http_trace t;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        const struct attack *a = &attacks[i];
        for (size_t cut = 0; cut <= a->len; cut++) {
            trace_read(&t, HTTP1_SERVER, a->bytes, a->len, cut, SIZE_MAX, BODY_MAX);
            if (strcmp(t.text, a->reading) != 0)
                fail_msg("%s, cut at %zu: read as \"%s\", not \"%s\"", a->name, cut, t.text,
                         a->reading);
        }
        for (size_t step = 1; step <= 3; step++) {
            trace_read(&t, HTTP1_SERVER, a->bytes, a->len, 0, step, BODY_MAX);
            if (strcmp(t.text, a->reading) != 0)
                fail_msg("%s, in pieces of %zu: read as \"%s\", not \"%s\"", a->name, step, t.text,
                         a->reading);
        }
    }
}

/* Builds "before" + count times "piece" + "after". */
struct text {
    char *data;
    size_t len;
};

static struct text repeated(const char *before, const char *piece, size_t count, const char *after)
{
    size_t before_len = strlen(before), piece_len = strlen(piece), after_len = strlen(after);
    struct text t = {malloc(before_len + count * piece_len + after_len + 1), 0};
    memcpy(t.data, before, before_len);
    t.len = before_len;
    for (size_t i = 0; i < count; i++, t.len += piece_len)
        memcpy(t.data + t.len, piece, piece_len);
    memcpy(t.data + t.len, after, after_len);
    t.len += after_len;
    return t;
}

static void reads_as(struct text input, const char *reading)
{
    static const size_t steps[] = {SIZE_MAX, 1, 7, 100, 4096, 8193};
    struct http_trace t;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        trace_read(&t, HTTP1_SERVER, input.data, input.len, 0, steps[i], BODY_MAX);
        const char *last = strrchr(t.text, '/');
        if (strcmp(t.text, reading) != 0 && (!last || strcmp(last, reading) != 0))
            fail_msg("read as \"%.80s…\", not \"%s\", in pieces of %zu", t.text, reading, steps[i]);
    }
    free(input.data);
}

static void a_request_line_of_the_limit_is_read_and_a_longer_one_refused(void **state)
{
    (void)state;
    size_t fixed = strlen("GET /") + strlen(" HTTP/1.1");
    struct text fits =
        repeated("GET /", "a", HTTP1_LINE_MAX - fixed, " HTTP/1.1\r\nHost: a\r\n\r\n");
    struct http_trace t;
    trace_read(&t, HTTP1_SERVER, fits.data, fits.len, 0, SIZE_MAX, BODY_MAX);
    assert_memory_equal(t.text, "GET /aaa", 8);
    free(fits.data);
    reads_as(repeated("GET /", "a", HTTP1_LINE_MAX - fixed + 1, " HTTP/1.1\r\nHost: a\r\n\r\n"),
             "!414");
    reads_as(repeated("GET /", "a", 100000, ""), "!414");
    reads_as(repeated("", "a", 100000, ""), "!414");
}

static void header_lines_of_the_limit_are_read_and_longer_ones_refused(void **state)
{
    (void)state;
    /* "Host: a", CR, LF: 9 bytes; "X: …", CR, LF: 5 bytes more than the value. */
    size_t room = HTTP1_HEADERS_BYTES - 9 - 5;
    reads_as(repeated(GET "X: ", "a", room, "\r\n\r\n"), "GET /");
    reads_as(repeated(GET "X: ", "a", room + 1, "\r\n\r\n"), "!431");
    reads_as(repeated(GET, "X: 0123456789\r\n", 99, "\r\n"), "GET /");
    reads_as(repeated(GET, "X: 0123456789\r\n", 100, "\r\n"), "!431");
    reads_as(repeated(GET "X: ", "a", 100000, ""), "!431");
    reads_as(repeated(GET, "X: y\r\n", 100000, ""), "!431");
}

static void chunk_extensions_and_trailers_end_at_their_limits(void **state)
{
    (void)state;
    /* The line's size, its ';' and its CR count. */
    reads_as(repeated(POST TE "\r\n0;", "a", HTTP1_CHUNK_LINE - 3, "\r\n\r\n"), "POST /");
    reads_as(repeated(POST TE "\r\n0;", "a", HTTP1_CHUNK_LINE - 2, "\r\n\r\n"), "POST /; !400");
    /* One byte of body with 201 bytes of extension, over and over. */
    char chunk[256] = "1;", *end = chunk + 2;
    memset(end, 'x', 200);
    strcpy(end + 200, "\r\na\r\n");
    struct text amplified = repeated(POST TE "\r\n", chunk, 100, "0\r\n\r\n");
    struct http_trace t;
    trace_read(&t, HTTP1_SERVER, amplified.data, amplified.len, 0, SIZE_MAX, BODY_MAX);
    assert_non_null(strstr(t.text, "]; !400"));
    free(amplified.data);
    reads_as(repeated(POST TE "\r\n0\r\n", "X: y\r\n", 1000, "\r\n"), "POST /");
    reads_as(repeated(POST TE "\r\n0\r\n", "X: y\r\n", 2000, "\r\n"), "POST /; !431");
    reads_as(repeated(POST TE "\r\n0\r\nX: ", "y", 100000, ""), "POST /; !431");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attack_has_its_one_reading),
        cmocka_unit_test(the_reading_does_not_depend_on_where_the_bytes_are_cut),
        cmocka_unit_test(a_request_line_of_the_limit_is_read_and_a_longer_one_refused),
        cmocka_unit_test(header_lines_of_the_limit_are_read_and_longer_ones_refused),
        cmocka_unit_test(chunk_extensions_and_trailers_end_at_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
