/*
 * URLs, strictly (RFC 3986): absolute http and https URLs for clients, and the path and query of
 * requests for the gateway.
 *
 * Decoded bytes may be anything but NUL, since keys may be: %00, a '%' without two digits and dot
 * segments ("." and "..", also spelled %2e) are refused, never repaired. A '/' within a key that
 * stands beside dots is sent as %2F.
 */
#ifndef NET_URL_H
#define NET_URL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URL_HOST_MAX       253  /* bytes of a host name */
#define URL_TARGET_MAX     8000 /* bytes of path and query: fits a request line */
#define URL_PARAMETERS_MAX 64   /* of a query: ATOLL_ELIMIT beyond */

struct url {
    bool tls;  /* https */
    bool ipv6; /* host is an IPv6 address, kept without brackets */
    uint16_t port;
    char host[URL_HOST_MAX + 1];     /* lower case */
    char target[URL_TARGET_MAX + 1]; /* path and query, as they were given; at least "/" */
};

/* A URL with user information or a fragment is refused: the first would be sent to whoever answers,
 * the second never is. */
int url_parse(const char *text, struct url *, struct error *);
/* "host" or "host:port" or "[host]:port" for the Host field. */
#define URL_AUTHORITY_MAX (URL_HOST_MAX + 8)
void url_authority(const struct url *, char out[static URL_AUTHORITY_MAX + 1]);

/* Percent-decodes len bytes into out and adds a NUL; plus_is_space for queries. Returns the length,
 * or ATOLL_EINVAL, ATOLL_ESIZE (does not fit in cap with its NUL). */
int url_decode(const char *text, size_t len, bool plus_is_space, char *out, size_t cap,
               struct error *);
/* Percent-encodes all but unreserved bytes; '/' stays when keep_slash. Returns the length, or
 * ATOLL_ESIZE. Three bytes for each and a NUL always suffice. */
int url_encode(const void *data, size_t len, bool keep_slash, char *out, size_t cap,
               struct error *);

/* Walks a path: *cursor stands on the '/' before the next segment. Decodes it into out and moves
 * the cursor behind it. Returns its length; ATOLL_ENOENT at the end of the path; ATOLL_EINVAL for
 * an empty or dot segment or a bad escape; ATOLL_ESIZE. */
int url_path_next(const char **cursor, char *out, size_t cap, struct error *);
/* Decodes all that is left, without the first '/': a key, with its slashes. Errors as above, except
 * that empty segments are bytes of the key; ATOLL_ENOENT when nothing is left. */
int url_path_rest(const char *cursor, char *out, size_t cap, struct error *);

/* The decoded value of the query's parameter of that name (query may be NULL); a parameter without
 * '=' has the value "". Returns its length; ATOLL_ENOENT when there is none; ATOLL_EINVAL when the
 * query is malformed or has the name twice; ATOLL_ELIMIT; ATOLL_ESIZE. */
int url_query_value(const char *query, const char *name, char *out, size_t cap, struct error *);
/* The first parameter whose name is none of these (NULL-terminated): a request with unknown
 * parameters is refused. Returns its name's length in out, or ATOLL_ENOENT when all are known. */
int url_query_unknown(const char *query, const char *const *names, char *out, size_t cap,
                      struct error *);

/* True when a Host field names this machine's loopback: localhost, 127.0.0.0/8, [::1], with any
 * port. A gateway without authentication refuses others, since a page from elsewhere can make a
 * browser send requests here under a name of its own (DNS rebinding). */
bool url_host_loopback(const char *host);

#endif
