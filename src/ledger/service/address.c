/* See address.h. */
#define _GNU_SOURCE
#include "ledger/service/address.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX 512

struct parts {
    char text[HOST_MAX];
    const char *host, *port; /* in it */
};

static int parts_take(const char *text, size_t len, struct parts *out, struct error *e)
{
    if (len >= sizeof out->text)
        return error_set(e, ATOLL_EINVAL, "an address of %zu bytes is too long", len);
    memcpy(out->text, text, len);
    out->text[len] = 0;
    char *colon = strrchr(out->text, ':'), *host = out->text, *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (colon == NULL || colon == host || colon[1] < '0' || colon[1] > '9' || *end != 0 ||
        port > 65535)
        return error_set(e, ATOLL_EINVAL, "\"%s\" is no address: write HOST:PORT", out->text);
    *colon = 0;
    if (host[0] == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = 0;
    }
    out->host = host;
    out->port = colon + 1;
    return 0;
}

static int parts_find(const struct parts *p, int flags, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags}, *found;
    int rc = getaddrinfo(p->host, p->port, &hints, &found);
    if (rc != 0)
        return rc;
    memset(out, 0, sizeof *out);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

int address_parse(const char *text, size_t len, struct sockaddr_storage *out, struct error *e)
{
    struct parts p;
    int rc = parts_take(text, len, &p, e);
    if (rc != 0)
        return rc;
    rc = parts_find(&p, 0, out);
    return rc == 0 ? 0
                   : error_set(e, ATOLL_EINVAL, "the host \"%s\" is not known: %s", p.host,
                               gai_strerror(rc));
}

int address_numeric(const char *text, size_t len, struct sockaddr_storage *out, struct error *e)
{
    struct parts p;
    int rc = parts_take(text, len, &p, e);
    if (rc == 0 && parts_find(&p, AI_NUMERICHOST, out) != 0)
        rc = error_set(e, ATOLL_ENOENT, "the host \"%s\" is a name", p.host);
    return rc;
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct address_lookup *l = request->data;
    l->found(l, status == 0 && found ? found->ai_addr : NULL);
    uv_freeaddrinfo(found);
}

int address_look_up(uv_loop_t *loop, struct address_lookup *l, const char *text, size_t len,
                    void (*found)(struct address_lookup *, const struct sockaddr *),
                    struct error *e)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct parts p;
    int rc = parts_take(text, len, &p, e);
    if (rc != 0)
        return rc;
    l->request.data = l;
    l->found = found;
    rc = uv_getaddrinfo(loop, &l->request, looked_up, p.host, p.port, &hints);
    return rc == 0
               ? 0
               : error_set(e, ATOLL_EUNAVAIL, "cannot look up \"%s\": %s", p.host, uv_strerror(rc));
}

void address_lookup_cancel(struct address_lookup *l)
{
    uv_cancel((uv_req_t *)&l->request);
}
