/* See address.h. */
#define _GNU_SOURCE
#include "ledger/service/address.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int address_parse(const char *text, size_t len, struct sockaddr_storage *out, struct error *e)
{
    char copy[512];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    if (len >= sizeof copy)
        return error_set(e, ATOLL_EINVAL, "an address of %zu bytes is too long", len);
    memcpy(copy, text, len);
    copy[len] = 0;
    char *colon = strrchr(copy, ':'), *host = copy, *end;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (colon == NULL || colon == copy || colon[1] < '0' || colon[1] > '9' || *end != 0 ||
        port > 65535)
        return error_set(e, ATOLL_EINVAL, "\"%s\" is no address: write HOST:PORT", copy);
    *colon = 0;
    if (host[0] == '[' && colon[-1] == ']') {
        host++;
        colon[-1] = 0;
    }
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0)
        return error_set(e, ATOLL_EINVAL, "the host \"%s\" is not known: %s", host,
                         gai_strerror(rc));
    memset(out, 0, sizeof *out);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}
