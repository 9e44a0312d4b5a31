/*
 * Which addresses guests may reach: what the manifest names, less what is never allowed. A worker
 * looks before it asks; the supervisor, which makes the connections, decides (network.h).
 *
 * Never: loopback, unspecified, link-local, multicast and broadcast addresses, in whatever form (an
 * IPv4 address inside an IPv6 one is that IPv4 address), and the node's own ports at any address of
 * this machine. Pure functions on copies.
 */
#ifndef NODE_ADDRESS_H
#define NODE_ADDRESS_H

#include "node/manifest.h"

#include <sys/socket.h>

struct address {
    uint32_t family; /* 4 or 6 */
    uint8_t bytes[16];
};

/* 4 or 16 bytes; IPv6 forms of IPv4 addresses become these. False for other lengths. */
bool address_from(const uint8_t *bytes, uint32_t len, struct address *out);
bool address_equal(const struct address *, const struct address *);
/* Whether no manifest can allow it. */
bool address_forbidden(const struct address *);
/* Whether the manifest's host, if it is an address or CIDR, covers it. */
bool address_in(const struct address *, const char *host);
/* Whether packets to it stay on this machine. Makes a socket: the supervisor's alone. */
bool address_is_own(const struct address *);
/* The length of the socket address written. */
socklen_t address_to_socket(const struct address *, uint16_t port, struct sockaddr_storage *out);

#endif
