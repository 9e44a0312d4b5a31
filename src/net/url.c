/* URLs, paths and queries. Everything is judged on the encoded text first and decoded once. */
#include "net/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool unreserved(char c)
{
    return letter(c) || digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

static int hex_value(char c)
{
    if (digit(c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the escape at text (of len bytes, '%' first) stands for; 0 when it is none. */
static uint8_t escape_value(const char *text, size_t len)
{
    int high = len >= 3 ? hex_value(text[1]) : -1, low = high >= 0 ? hex_value(text[2]) : -1;
    return low < 0 ? 0 : (uint8_t)(high << 4 | low);
}

int url_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t cap,
               struct error *e)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            c = (char)escape_value(text + i, len - i);
            i += 2;
            if (c == 0)
                return error_set_at(e, ATOLL_EINVAL, i - 2, UINT32_MAX,
                                    "a %% is not followed by two hexadecimal digits, or is %%00");
        } else if (c == 0) {
            return error_set_at(e, ATOLL_EINVAL, i, UINT32_MAX, "a NUL in a URL");
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (used + 1 >= cap || used >= INT32_MAX)
            return error_set(e, ATOLL_ESIZE, "a part of the URL is longer than %zu bytes",
                             cap ? cap - 1 : 0);
        out[used++] = c;
    }
    if (used >= cap)
        return error_set(e, ATOLL_ESIZE, "no room for a part of the URL");
    out[used] = 0;
    return (int)used;
}

int url_encode(const void *data, size_t len, bool keep_slash, char *out, size_t cap,
               struct error *e)
{
    static const char hex[] = "0123456789ABCDEF";
    const uint8_t *bytes = data;
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        bool plain = unreserved((char)bytes[i]) || (keep_slash && bytes[i] == '/');
        if (used + (plain ? 1 : 3) >= cap || used >= INT32_MAX - 3)
            return error_set(e, ATOLL_ESIZE, "the encoded text does not fit in %zu bytes", cap);
        if (plain) {
            out[used++] = (char)bytes[i];
        } else {
            out[used++] = '%';
            out[used++] = hex[bytes[i] >> 4];
            out[used++] = hex[bytes[i] & 15];
        }
    }
    if (used >= cap)
        return error_set(e, ATOLL_ESIZE, "no room for the encoded text");
    out[used] = 0;
    return (int)used;
}

/* ---- absolute URLs ---- */

static int port_parse(const char *text, size_t len, uint16_t *port, struct error *e)
{
    uint32_t value = 0;
    for (size_t i = 0; i < len && i < 6; i++)
        value = digit(text[i]) ? value * 10 + (uint32_t)(text[i] - '0') : UINT16_MAX + 1u;
    if (len == 0 || len > 5 || value == 0 || value > UINT16_MAX)
        return error_set(e, ATOLL_EINVAL, "the port in the URL is not one of 1 to 65535");
    *port = (uint16_t)value;
    return 0;
}

static int host_parse(const char *text, size_t len, struct url *u, struct error *e)
{
    if (len == 0 || len > URL_HOST_MAX)
        return error_set(e, ATOLL_EINVAL, "the URL has no host, or one longer than %d bytes",
                         URL_HOST_MAX);
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!letter(c) && !digit(c) && c != '-' && c != '.' && c != '_')
            return error_set(e, ATOLL_EINVAL,
                             "the URL's host has a byte that is no letter, digit, '-', '.' or '_'");
        u->host[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    u->host[len] = 0;
    return 0;
}

static int address_parse(const char *text, size_t len, struct url *u, struct error *e)
{
    struct in6_addr address;
    char copy[INET6_ADDRSTRLEN];
    if (len >= sizeof copy)
        return error_set(e, ATOLL_EINVAL, "the URL's IPv6 address is too long");
    memcpy(copy, text, len);
    copy[len] = 0;
    if (strlen(copy) != len || inet_pton(AF_INET6, copy, &address) != 1)
        return error_set(e, ATOLL_EINVAL, "the URL's brackets hold no IPv6 address");
    memcpy(u->host, copy, len + 1);
    u->ipv6 = true;
    return 0;
}

static int authority_parse(const char *text, size_t len, struct url *u, struct error *e)
{
    size_t host_len = len;
    int result;
    if (memchr(text, '@', len))
        return error_set(e, ATOLL_EINVAL,
                         "a user name in a URL is refused: it would be sent to "
                         "whoever answers; use a token instead");
    u->port = u->tls ? 443 : 80;
    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        if (!end)
            return error_set(e, ATOLL_EINVAL, "the URL has '[' without ']'");
        host_len = (size_t)(end - text) + 1;
        result = address_parse(text + 1, host_len - 2, u, e);
        if (result == 0 && host_len < len && text[host_len] != ':')
            return error_set(e, ATOLL_EINVAL, "the URL has text between its address and its port");
    } else {
        const char *colon = memchr(text, ':', len);
        host_len = colon ? (size_t)(colon - text) : len;
        result = host_parse(text, host_len, u, e);
    }
    if (result < 0 || host_len == len)
        return result;
    return port_parse(text + host_len + 1, len - host_len - 1, &u->port, e);
}

static int target_parse(const char *text, struct url *u, struct error *e)
{
    size_t len = strlen(text);
    const char *slash = *text == '/' ? "" : "/";
    if (len + strlen(slash) > URL_TARGET_MAX)
        return error_set(e, ATOLL_EINVAL, "the URL's path and query are longer than %d bytes",
                         URL_TARGET_MAX);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '#')
            return error_set(e, ATOLL_EINVAL,
                             "a fragment (#) in a URL is never sent: leave it out");
        if (text[i] == '%' ? escape_value(text + i, len - i) == 0
                           : !unreserved(text[i]) && !strchr(":/?[]@!$&'()*+,;=", text[i]))
            return error_set(e, ATOLL_EINVAL,
                             "byte %zu of the URL's path must be percent-encoded, or is a broken "
                             "escape",
                             i);
    }
    snprintf(u->target, sizeof u->target, "%s%s", slash, text);
    return 0;
}

int url_parse(const char *text, struct url *u, struct error *e)
{
    size_t scheme_len = strcspn(text, ":");
    memset(u, 0, sizeof *u);
    if (scheme_len == 5 && strncasecmp(text, "https", 5) == 0)
        u->tls = true;
    else if (scheme_len != 4 || strncasecmp(text, "http", 4) != 0)
        return error_set(e, ATOLL_EINVAL, "a URL begins with http:// or https://");
    if (strncmp(text + scheme_len, "://", 3) != 0)
        return error_set(e, ATOLL_EINVAL, "a URL begins with http:// or https://");
    const char *authority = text + scheme_len + 3;
    size_t authority_len = strcspn(authority, "/?#");
    int result = authority_parse(authority, authority_len, u, e);
    return result < 0 ? result : target_parse(authority + authority_len, u, e);
}

void url_authority(const struct url *u, char out[static URL_AUTHORITY_MAX + 1])
{
    const char *open = u->ipv6 ? "[" : "", *close = u->ipv6 ? "]" : "";
    if (u->port == (u->tls ? 443 : 80))
        snprintf(out, URL_AUTHORITY_MAX + 1, "%s%s%s", open, u->host, close);
    else
        snprintf(out, URL_AUTHORITY_MAX + 1, "%s%s%s:%u", open, u->host, close, u->port);
}

/* ---- paths ---- */

/* Whether the encoded segment is "." or ".." in any spelling: clients fold such segments away, each
 * in its own way, so that they name different things to different readers. */
static bool dot_segment(const char *text, size_t len)
{
    size_t dots = 0, at = 0;
    while (at < len && dots <= 2) {
        if (text[at] == '.')
            at++;
        else if (escape_value(text + at, len - at) == '.' && text[at] == '%')
            at += 3;
        else
            return false;
        dots++;
    }
    return at == len && (dots == 1 || dots == 2);
}

static int dots_refused(struct error *e)
{
    return error_set(e, ATOLL_EINVAL,
                     "the path has a segment \".\" or \"..\"; within a key, send "
                     "the '/' beside it as %%2F");
}

int url_path_next(const char **cursor, char *out, size_t cap, struct error *e)
{
    const char *at = *cursor;
    if (*at == 0)
        return error_set(e, ATOLL_ENOENT, "the path ends here");
    if (*at++ != '/')
        return error_set(e, ATOLL_EINVAL, "the path does not begin with '/'");
    size_t len = strcspn(at, "/");
    if (len == 0)
        return error_set(e, ATOLL_EINVAL, "the path has an empty segment");
    if (dot_segment(at, len))
        return dots_refused(e);
    int decoded = url_decode(at, len, false, out, cap, e);
    if (decoded >= 0)
        *cursor = at + len;
    return decoded;
}

int url_path_rest(const char *cursor, char *out, size_t cap, struct error *e)
{
    if (cursor[0] == 0 || (cursor[0] == '/' && cursor[1] == 0))
        return error_set(e, ATOLL_ENOENT, "the path ends here");
    if (*cursor++ != '/')
        return error_set(e, ATOLL_EINVAL, "the path does not begin with '/'");
    for (const char *at = cursor;; at++) {
        size_t len = strcspn(at, "/");
        if (dot_segment(at, len))
            return dots_refused(e);
        at += len;
        if (*at == 0)
            break;
    }
    return url_decode(cursor, strlen(cursor), false, out, cap, e);
}

/* ---- queries ---- */

#define NAME_MAX_BYTES 256

struct parameter {
    char name[NAME_MAX_BYTES];
    const char *value; /* encoded */
    size_t value_len;
};

/* The parameter at *at, which moves behind it; ATOLL_ENOENT at the end. */
static int parameter_next(const char **at, unsigned *count, struct parameter *p, struct error *e)
{
    if (!*at || **at == 0)
        return error_set(e, ATOLL_ENOENT, "the query has no more parameters");
    if (++*count > URL_PARAMETERS_MAX)
        return error_set(e, ATOLL_ELIMIT, "a query may have %d parameters", URL_PARAMETERS_MAX);
    size_t len = strcspn(*at, "&"), name_len = 0;
    const char *equals = memchr(*at, '=', len);
    name_len = equals ? (size_t)(equals - *at) : len;
    if (name_len == 0)
        return error_set(e, ATOLL_EINVAL, "the query has a parameter without a name");
    p->value = equals ? equals + 1 : *at + len;
    p->value_len = equals ? len - name_len - 1 : 0;
    int result = url_decode(*at, name_len, true, p->name, sizeof p->name, e);
    *at += len;
    if (**at == '&' && *++*at == 0)
        return error_set(e, ATOLL_EINVAL, "the query ends with '&'");
    return result < 0 ? result : 0;
}

int url_query_value(const char *query, const char *name, char *out, size_t cap, struct error *e)
{
    struct parameter p;
    unsigned count = 0;
    int result, found = -1;
    while ((result = parameter_next(&query, &count, &p, e)) == 0) {
        if (strcmp(p.name, name) != 0)
            continue;
        if (found >= 0)
            return error_set(e, ATOLL_EINVAL, "the query has the parameter %s twice", name);
        found = url_decode(p.value, p.value_len, true, out, cap, e);
        if (found < 0)
            return error_prefix(e, "query parameter %s", name);
    }
    if (result != -ATOLL_ENOENT)
        return result;
    return found >= 0 ? found : error_set(e, ATOLL_ENOENT, "the query has no parameter %s", name);
}

int url_query_unknown(const char *query, const char *const *names, char *out, size_t cap,
                      struct error *e)
{
    struct parameter p;
    unsigned count = 0;
    int result;
    while ((result = parameter_next(&query, &count, &p, e)) == 0) {
        const char *const *known = names;
        while (*known && strcmp(*known, p.name) != 0)
            known++;
        if (*known)
            continue;
        size_t len = strlen(p.name);
        if (len >= cap)
            return error_set(e, ATOLL_ESIZE, "no room for the parameter's name");
        memcpy(out, p.name, len + 1);
        return (int)len;
    }
    return result;
}

/* ---- hosts ---- */

bool url_host_loopback(const char *host)
{
    char name[64];
    size_t len = host[0] == '[' ? strcspn(host, "]") : strcspn(host, ":");
    if (len >= sizeof name)
        return false;
    const char *from = host;
    const char *port = host + len;
    if (host[0] == '[') {
        if (*port != ']')
            return false;
        port++;
        from++;
        len--;
    }
    if (*port &&
        (*port != ':' || port[1] == 0 || strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    memcpy(name, from, len);
    name[len] = 0;
    if (host[0] == '[') {
        struct in6_addr v6;
        return inet_pton(AF_INET6, name, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    }
    struct in_addr v4;
    return strcasecmp(name, "localhost") == 0 ||
           (inet_pton(AF_INET, name, &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127);
}
