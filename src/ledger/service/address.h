/*
 * Addresses as people write them into a genesis: HOST:PORT, the host numeric or a name. Names are
 * looked up whenever they are needed, so a name that is not known for a while stops nobody, and one
 * that moves is followed.
 */
#ifndef LEDGER_SERVICE_ADDRESS_H
#define LEDGER_SERVICE_ADDRESS_H

#include "base/error.h"

#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

/* "127.0.0.1:7100", "[::1]:7100", "replica-1.example:7100". A name is looked up, which may take
 * seconds. ATOLL_EINVAL with what is wrong. */
int address_parse(const char *text, size_t len, struct sockaddr_storage *, struct error *);
/* The same without looking up: ATOLL_ENOENT when the host is a name. */
int address_numeric(const char *text, size_t len, struct sockaddr_storage *, struct error *);

/* A look-up under way. Its memory is the loop's from a begin that went well until `found`. */
struct address_lookup {
    uv_getaddrinfo_t request;
    /* Once, on the loop's thread. NULL: not known, or cancelled. */
    void (*found)(struct address_lookup *, const struct sockaddr *);
};

/* ATOLL_EINVAL: it is no address. ATOLL_EUNAVAIL. */
int address_look_up(uv_loop_t *, struct address_lookup *, const char *text, size_t len,
                    void (*found)(struct address_lookup *, const struct sockaddr *),
                    struct error *);
/* `found` still comes. */
void address_lookup_cancel(struct address_lookup *);

#endif
