/* See network.h. */
#define _GNU_SOURCE
#include "node/network.h"

#include "node/node.h"
#include "node/pins.h"
#include "node/registry.h"
#include "node/workers.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define LOOKUP_ADDRESSES 16u
#define ADDRESS_BYTES    17u
#define HOST_MAX         253u
#define LOOKUPS_MAX      64u /* of the whole node at a time; they share few threads */

struct network {
    struct pins *pins;
    uint32_t lookups; /* under way */
};

struct lookup {
    uv_getaddrinfo_t request;
    struct node *node;
    uint32_t worker;
    uint64_t asked; /* the worker's request */
    char host[HOST_MAX + 1];
};

int network_create(struct network **out, struct error *e)
{
    struct network *w = *out = calloc(1, sizeof *w);
    if (w && (w->pins = pins_create()))
        return 0;
    return error_set(e, ATOLL_ENOMEM, "no memory for the network of functions");
}

void network_destroy(struct network *w)
{
    if (w)
        pins_destroy(w->pins);
    free(w);
}

static void refuse(struct node *n, uint32_t worker, const struct message *m, int code)
{
    workers_answer(n->workers, worker, m->header.id, code, NULL, 0, -1);
}

/* Of the version on whose behalf the worker asks; NULL when that is none of its tenant's. */
static const struct manifest *manifest_of(const struct node *n, const char *tenant,
                                          const struct message *m)
{
    const struct function_version *v = registry_by_number(n->registry, m->request.version);
    return v && strcmp(v->manifest.tenant, tenant) == 0 ? &v->manifest : NULL;
}

/* ---- names ---- */

static bool found_address(const struct addrinfo *at, struct address *out)
{
    if (at->ai_family == AF_INET)
        return address_from((const uint8_t *)&((struct sockaddr_in *)(void *)at->ai_addr)->sin_addr,
                            4, out);
    return at->ai_family == AF_INET6 &&
           address_from((const uint8_t *)&((struct sockaddr_in6 *)(void *)at->ai_addr)->sin6_addr,
                        16, out);
}

static void lookup_done(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *l = request->data;
    struct network *network = l->node->network;
    uint8_t payload[LOOKUP_ADDRESSES * ADDRESS_BYTES] = {0};
    uint32_t count = 0;
    struct address a;
    network->lookups--;
    l->node->disk_jobs--;
    for (struct addrinfo *at = status == 0 ? found : NULL; at && count < LOOKUP_ADDRESSES;
         at = at->ai_next) {
        if (!found_address(at, &a))
            continue;
        uint8_t *to = payload + (size_t)count++ * ADDRESS_BYTES;
        to[0] = (uint8_t)a.family;
        memcpy(to + 1, a.bytes, sizeof a.bytes);
        pins_add(network->pins, l->host, &a);
    }
    uv_freeaddrinfo(found);
    workers_answer(l->node->workers, l->worker, l->asked, count ? count : -ATOLL_ENOENT, payload,
                   count * ADDRESS_BYTES, -1);
    workers_unasked(l->node->workers, l->worker);
    free(l);
}

static bool names_host(const struct manifest *m, const uint8_t *host, uint32_t len)
{
    for (uint32_t k = 0; m && k < m->net_count; k++)
        if (strlen(m->net[k].host) == len &&
            strncasecmp(m->net[k].host, (const char *)host, len) == 0)
            return true;
    return false;
}

void network_lookup(struct node *n, uint32_t worker, const char *tenant, const struct message *m)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const uint8_t *host = m->parts[0];
    uint32_t len = m->part_len[0];
    if (len == 0 || len > HOST_MAX || memchr(host, 0, len)) {
        refuse(n, worker, m, -ATOLL_EINVAL);
        return;
    }
    if (!names_host(manifest_of(n, tenant, m), host, len)) {
        refuse(n, worker, m, -ATOLL_EPERM);
        return;
    }
    struct lookup *l = n->network->lookups < LOOKUPS_MAX && workers_asked(n->workers, worker)
                           ? calloc(1, sizeof *l)
                           : NULL;
    if (!l) {
        refuse(n, worker, m, -ATOLL_EAGAIN);
        return;
    }
    l->request.data = l;
    l->node = n;
    l->worker = worker;
    l->asked = m->header.id;
    memcpy(l->host, host, len);
    if (uv_getaddrinfo(n->loop, &l->request, lookup_done, l->host, NULL, &hints) == 0) {
        n->network->lookups++;
        n->disk_jobs++;
        return;
    }
    workers_unasked(n->workers, worker);
    free(l);
    refuse(n, worker, m, -ATOLL_EINVAL);
}

/* ---- connections ---- */

static bool manifest_allows(const struct network *w, const struct manifest *m,
                            const struct address *a, uint16_t port)
{
    for (uint32_t k = 0; k < m->net_count; k++)
        if ((m->net[k].port == 0 || m->net[k].port == port) &&
            (address_in(a, m->net[k].host) || pins_have(w->pins, m->net[k].host, a)))
            return true;
    return false;
}

/* The node itself is nobody's to reach. */
static bool is_node(const struct node *n, const struct address *a, uint16_t port)
{
    return (port == n->port || port == n->metrics_port) && address_is_own(a);
}

/* A socket that is connected or connecting, or a negative code. */
static int connection_begin(const struct address *a, uint16_t port, int type)
{
    struct sockaddr_storage to;
    socklen_t len = address_to_socket(a, port, &to);
    int fd = socket(to.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE ? -ATOLL_ELIMIT : -ATOLL_EIO;
    if (connect(fd, (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -ATOLL_EIO;
}

void network_connect(struct node *n, uint32_t worker, const char *tenant, const struct message *m)
{
    const uint8_t *asked = m->parts[0];
    struct address a;
    if (m->part_len[0] != MESSAGE_CONNECT_LEN || (asked[0] != 4 && asked[0] != 6) ||
        (asked[1] != 1 && asked[1] != 2) || load_u16(asked + 2) == 0) {
        refuse(n, worker, m, -ATOLL_EINVAL);
        return;
    }
    uint16_t port = load_u16(asked + 2);
    address_from(asked + 4, asked[0] == 4 ? 4 : 16, &a);
    const struct manifest *manifest = manifest_of(n, tenant, m);
    bool allowed = manifest && !address_forbidden(&a) &&
                   manifest_allows(n->network, manifest, &a, port) && !is_node(n, &a, port);
    int fd = allowed ? connection_begin(&a, port, asked[1] == 1 ? SOCK_STREAM : SOCK_DGRAM)
                     : -ATOLL_EPERM;
    workers_answer(n->workers, worker, m->header.id, fd < 0 ? fd : 0, NULL, 0, fd);
    if (fd >= 0)
        close(fd);
}
