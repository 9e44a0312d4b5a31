/* See listen.h. */
#include "node/gateway/listen.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int listen_bad(const char *text, struct error *e)
{
    return error_set(e, ATOLL_EINVAL,
                     "cannot listen at \"%s\": write ADDRESS:PORT with a numeric address, such as "
                     "127.0.0.1:7777 or [::]:7777",
                     text);
}

int listen_parse(const char *text, struct listen_address *out, struct error *e)
{
    *out = (struct listen_address){0};
    const char *colon = strrchr(text, ':'), *port = colon ? colon + 1 : text;
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    if (*port < '0' || *port > '9' || *end != 0 || number > 65535)
        return listen_bad(text, e);
    out->port = (uint16_t)number;
    size_t len = colon ? (size_t)(colon - text) : 0;
    const char *host = text;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host++;
        len -= 2;
        out->ipv6 = true;
    }
    if (len >= sizeof out->host)
        return listen_bad(text, e);
    snprintf(out->host, sizeof out->host, "%.*s",
             len     ? (int)len
             : colon ? 7
                     : 9,
             len     ? host
             : colon ? "0.0.0.0"
                     : "127.0.0.1");
    struct in_addr v4;
    struct in6_addr v6;
    if (out->ipv6) {
        if (inet_pton(AF_INET6, out->host, &v6) != 1)
            return listen_bad(text, e);
        out->loopback = IN6_IS_ADDR_LOOPBACK(&v6);
        return 0;
    }
    if (inet_pton(AF_INET, out->host, &v4) != 1)
        return listen_bad(text, e);
    out->loopback = ntohl(v4.s_addr) >> 24 == 127;
    return 0;
}

void listen_url(const struct listen_address *a, uint16_t port, bool tls, char *out, size_t size)
{
    const char *host = strcmp(a->host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(a->host, "::") == 0    ? "::1"
                                                       : a->host;
    snprintf(out, size, "%s://%s%s%s:%u", tls ? "https" : "http", a->ipv6 ? "[" : "", host,
             a->ipv6 ? "]" : "", port);
}
