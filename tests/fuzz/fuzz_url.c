/*
 * Takes bytes for a URL, a path and a query. What is accepted must be sound: a URL that is written
 * out again reads the same, decoded text has no NUL and no dot segments survive, and encoding what
 * was decoded gives a text that decodes to the same.
 */
#include "net/url.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void url_check(const char *text)
{
    static struct url u, again;
    static char written[URL_AUTHORITY_MAX + URL_TARGET_MAX + 16];
    char authority[URL_AUTHORITY_MAX + 1];
    struct error e = {0};
    if (url_parse(text, &u, &e) < 0) {
        assert(e.code == -ATOLL_EINVAL && strlen(e.text) > 10);
        return;
    }
    assert(u.host[0] && u.port > 0 && (u.target[0] == '/'));
    assert(!strpbrk(u.target, " \r\n#\\") && !strpbrk(u.host, "/@?# "));
    url_authority(&u, authority);
    snprintf(written, sizeof written, "http%s://%s%s", u.tls ? "s" : "", authority, u.target);
    assert(url_parse(written, &again, &e) == 0);
    assert(strcmp(u.host, again.host) == 0 && strcmp(u.target, again.target) == 0);
    assert(u.port == again.port && u.tls == again.tls && u.ipv6 == again.ipv6);
}

static void decoded_check(const char *decoded, size_t len)
{
    static char encoded[3 * 4096 + 1], back[4096 + 1];
    struct error e;
    assert(strlen(decoded) == len);
    int encoded_len = url_encode(decoded, len, true, encoded, sizeof encoded, &e);
    assert(encoded_len >= 0);
    assert(url_decode(encoded, (size_t)encoded_len, false, back, sizeof back, &e) == (int)len);
    assert(memcmp(back, decoded, len) == 0);
}

static void path_check(const char *text)
{
    static char out[4096];
    struct error e;
    const char *at = text;
    int len;
    while ((len = url_path_next(&at, out, sizeof out, &e)) >= 0) {
        assert(len > 0 && strcmp(out, ".") != 0 && strcmp(out, "..") != 0);
        decoded_check(out, (size_t)len);
    }
    len = url_path_rest(text, out, sizeof out, &e);
    if (len >= 0)
        decoded_check(out, (size_t)len);
}

static void query_check(const char *text)
{
    static const char *const names[] = {"alias", "version", NULL};
    static char out[4096];
    struct error e;
    int len = url_query_value(text, "alias", out, sizeof out, &e);
    if (len >= 0)
        decoded_check(out, (size_t)len);
    len = url_query_unknown(text, names, out, sizeof out, &e);
    assert(len < 0 || strlen(out) == (size_t)len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4000)
        return 0;
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    url_check(text);
    path_check(text);
    query_check(text);
    url_host_loopback(text);
    free(text);
    return 0;
}
