/*
 * How many handshakes strangers may cost a replica. Each takes an exchange of keys and a signature,
 * some 0.15 ms, and whoever connects needs no key for it; so they are counted, per source and in
 * all, by leaky buckets: so many at once, and so many a second from then on.
 *
 *   a source                            an IPv4 address, or the /64 of an IPv6 address
 *   the addresses of other replicas     have buckets of their own, and are not counted in all: no
 *                                       crowd of strangers keeps replicas from one another
 *
 * The table of sources is a cache of bounded size. An entry that has drained says no more than
 * none, so it gives way first; when an attacker has so many addresses that all are filled, the
 * bucket for all of them is what holds.
 *
 * Pure: no clock, no socket. One thread.
 */
#ifndef LEDGER_SERVICE_ADMISSION_H
#define LEDGER_SERVICE_ADMISSION_H

#include "base/error.h"
#include "crypto/siphash.h"

#include <stdbool.h>
#include <sys/socket.h>

#define ADMISSION_SOURCES      4096 /* remembered */
#define ADMISSION_SOURCE_BURST 256  /* handshakes of one source at once … */
#define ADMISSION_SOURCE_RATE  64   /* … and a second */
#define ADMISSION_ALL_BURST    1024 /* of all sources together */
#define ADMISSION_ALL_RATE     512

struct admission_source {
    uint64_t name;     /* of the source, under our key */
    uint64_t until_us; /* when its bucket will have drained; 0: free */
};

struct admission {
    uint8_t key[SIPHASH_KEY_LEN]; /* sources can be chosen to meet in one bucket of the table */
    uint64_t all_until_us;
    struct admission_source sources[ADMISSION_SOURCES];
};

/* ATOLL_EUNAVAIL: no random bytes. */
int admission_init(struct admission *, struct error *);
/* Whether one more may be served now. `replica`: it comes from an address of another replica. Times
 * never descend. */
bool admission_ask(struct admission *, const struct sockaddr *from, bool replica, uint64_t now_us);

/* Whether two addresses are of one source. */
bool admission_same_source(const struct sockaddr *, const struct sockaddr *);

#endif
