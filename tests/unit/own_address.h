/* An address of this machine that functions may be allowed to reach: not loopback. */
#ifndef TESTS_OWN_ADDRESS_H
#define TESTS_OWN_ADDRESS_H

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdbool.h>

/* False when there is none. */
static bool own_address(char text[static INET_ADDRSTRLEN])
{
    struct ifaddrs *all, *at;
    bool found = false;
    if (getifaddrs(&all) != 0)
        return false;
    for (at = all; at && !found; at = at->ifa_next) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)at->ifa_addr;
        found = in && in->sin_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 != 127 &&
                inet_ntop(AF_INET, &in->sin_addr, text, INET_ADDRSTRLEN);
    }
    freeifaddrs(all);
    return found;
}

#endif
