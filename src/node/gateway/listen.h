/* The address a node listens at: "127.0.0.1:7777", "[::1]:7777", ":7777" (all addresses), "7777".
 */
#ifndef NODE_GATEWAY_LISTEN_H
#define NODE_GATEWAY_LISTEN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct listen_address {
    char host[64]; /* numeric */
    uint16_t port;
    bool loopback, ipv6;
};

int listen_parse(const char *text, struct listen_address *out, struct error *);
/* "http://127.0.0.1:7777"; an address that means "all" is written as the loopback one. */
void listen_url(const struct listen_address *, uint16_t port, bool tls, char *out, size_t size);

#endif
