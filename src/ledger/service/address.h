/* Addresses as people write them into a genesis: HOST:PORT, the host numeric or a name. */
#ifndef LEDGER_SERVICE_ADDRESS_H
#define LEDGER_SERVICE_ADDRESS_H

#include "base/error.h"

#include <stddef.h>
#include <sys/socket.h>

/* "127.0.0.1:7100", "[::1]:7100", "replica-1.example:7100". Names are looked up, which may take
 * seconds. ATOLL_EINVAL with what is wrong. */
int address_parse(const char *text, size_t len, struct sockaddr_storage *, struct error *);

#endif
