/* See address.h. */
#define _GNU_SOURCE
#include "node/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROBE_PORT 9 /* nothing is sent there */

/* Prefixes behind which 4 bytes are an IPv4 address: mapped, compatible, translated (NAT64). */
static const struct {
    uint8_t prefix[12];
} embedded[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}},
    {{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}},
    {{0}},
};

bool address_from(const uint8_t *bytes, uint32_t len, struct address *out)
{
    *out = (struct address){.family = len == 4 ? 4 : 6};
    if (len != 4 && len != 16)
        return false;
    memcpy(out->bytes, bytes, len);
    for (size_t k = 0; len == 16 && k < sizeof embedded / sizeof *embedded; k++) {
        if (memcmp(bytes, embedded[k].prefix, 12) != 0)
            continue;
        *out = (struct address){.family = 4};
        memcpy(out->bytes, bytes + 12, 4);
        break;
    }
    return true;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Whether the first `bits` bits of both agree. */
static bool prefix_equal(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool address_forbidden(const struct address *a)
{
    static const struct {
        uint32_t family, bits;
        uint8_t bytes[16];
    } never[] = {
        {4, 8, {0}},             /* this network */
        {4, 8, {127}},           /* loopback */
        {4, 16, {169, 254}},     /* link-local: also where clouds keep their secrets */
        {4, 4, {224}},           /* multicast */
        {4, 4, {240}},           /* reserved, broadcast */
        {6, 127, {0}},           /* unspecified, loopback */
        {6, 10, {0xfe, 0x80}},   /* link-local */
        {6, 8, {0xff}},          /* multicast */
        {6, 16, {0x20, 0x02, 0}} /* 6to4: an IPv4 address in disguise */
    };
    for (size_t k = 0; k < sizeof never / sizeof *never; k++)
        if (never[k].family == a->family && prefix_equal(a->bytes, never[k].bytes, never[k].bits))
            return true;
    return false;
}

bool address_in(const struct address *a, const char *host)
{
    char text[INET6_ADDRSTRLEN + 4];
    uint8_t bytes[16] = {0};
    size_t len = strcspn(host, "/");
    if (len >= sizeof text)
        return false;
    memcpy(text, host, len);
    text[len] = 0;
    uint32_t family = strchr(text, ':') ? 6 : 4, bits = family == 4 ? 32 : 128;
    if (family != a->family || inet_pton(family == 4 ? AF_INET : AF_INET6, text, bytes) != 1)
        return false;
    if (host[len] == '/') {
        char *end;
        unsigned long given = strtoul(host + len + 1, &end, 10);
        if (*end || end == host + len + 1 || given > bits)
            return false;
        bits = (uint32_t)given;
    }
    return prefix_equal(a->bytes, bytes, bits);
}

socklen_t address_to_socket(const struct address *a, uint16_t port, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, a->bytes, 4);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, a->bytes, 16);
    return sizeof *in6;
}

/* The kernel chooses the destination itself as the source of what goes to its own address. */
bool address_is_own(const struct address *a)
{
    struct sockaddr_storage to, from = {0};
    socklen_t to_len = address_to_socket(a, PROBE_PORT, &to), from_len = sizeof from;
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool own = false;
    if (connect(fd, (struct sockaddr *)&to, to_len) == 0 &&
        getsockname(fd, (struct sockaddr *)&from, &from_len) == 0) {
        const void *source = a->family == 4
                                 ? (void *)&((struct sockaddr_in *)(void *)&from)->sin_addr
                                 : (void *)&((struct sockaddr_in6 *)(void *)&from)->sin6_addr;
        own = memcmp(source, a->bytes, a->family == 4 ? 4 : 16) == 0;
    }
    close(fd);
    return own;
}
